"""A stack's state moves from files to S3 and back: `docs/state.md`, by the real CLI."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from toolchain.standins import LANGUAGE

ROOT = Path(__file__).parents[2]
LAUNCH = "from toolchain.launcher import main; main()"
SECRET = "planted-secret-value"
LOCK = ".pulumi/locks/organization/moved/dev/other.json"
PROGRAM = f"""import pulumi
pulumi.ComponentResource("test:index:Part", "part")
pulumi.export("password", pulumi.Output.secret("{SECRET}"))
"""

pytestmark = pytest.mark.engine


class Stack:
    def __init__(self, folder: Path, endpoint: str) -> None:
        self.project, self.files = folder / "project", folder / "state"
        self.project.mkdir()
        self.files.mkdir()
        runtime = {"name": "python", "options": {"virtualenv": sys.prefix}}
        (self.project / "Pulumi.yaml").write_text(json.dumps({"name": "moved", "runtime": runtime}))
        (self.project / "__main__.py").write_text(PROGRAM)
        self.file_url = f"file://{self.files}"
        self.s3_url = f"s3://state/team?region=us-east-1&endpoint={endpoint}&s3ForcePathStyle=true"
        self.environment = {
            **os.environ,
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_CONFIG_PASSPHRASE": "correct horse",
            "PULUMI_OPTION_POLICY_PACK": "",
            "PYTHONPATH": str(ROOT),
            # Where the language host of a machine with no published one is found.
            "PATH": os.pathsep.join([os.environ["PATH"], str(LANGUAGE)]),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        self.environment.pop("PULUMI_CONFIG_PASSPHRASE_FILE", None)

    def try_run(self, url: str, *arguments: str, **more: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-c", LAUNCH, *arguments, "--non-interactive"],
            check=False,
            cwd=self.project,
            env={**self.environment, "PULUMI_BACKEND_URL": url, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout

    def run(self, url: str, *arguments: str) -> str:
        status, output = self.try_run(url, *arguments)
        assert status == 0, output
        return output

    def urns(self, url: str) -> list[str]:
        state = json.loads(self.run(url, "stack", "export", "-s", "dev"))
        return [resource["urn"] for resource in state["deployment"]["resources"]]

    def move(self, source: str, target: str, file: Path) -> None:
        self.run(source, "stack", "export", "-s", "dev", "--file", str(file))
        assert SECRET not in file.read_text()
        self.run(target, "stack", "import", "-s", "dev", "--file", str(file))


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def plain(data: bytes) -> bytes:
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def test_a_stack_moves_to_s3_and_back(tmp_path: Path, endpoint: str) -> None:
    key = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **key)
    s3.create_bucket(Bucket="state")
    stack = Stack(tmp_path, endpoint)
    files, bucket = stack.file_url, stack.s3_url
    unchanged = ("preview", "-s", "dev", "--expect-no-changes")
    output = ("stack", "output", "password", "-s", "dev", "--show-secrets")

    stack.run(files, "stack", "init", "dev")
    stack.run(files, "up", "-s", "dev", "--yes", "--skip-preview")
    before = stack.urns(files)
    assert len(before) == 2

    stack.run(bucket, "stack", "init", "dev")
    stack.move(files, bucket, tmp_path / "there.json")
    assert stack.urns(bucket) == before
    stack.run(bucket, *unchanged)
    assert stack.run(bucket, *output).strip() == SECRET

    _, said = stack.try_run(bucket, *output, PULUMI_CONFIG_PASSPHRASE="wrong")
    assert SECRET not in said, said
    update = ("up", "-s", "dev", "--yes", "--skip-preview")
    status, said = stack.try_run(bucket, *update, PULUMI_CONFIG_PASSPHRASE="wrong")
    assert status != 0, said
    assert "incorrect passphrase" in said, said

    lock = {"pid": 1, "username": "other", "hostname": "there", "timestamp": "2026-01-01T00:00:00Z"}
    s3.put_object(Bucket="state", Key=f"team/{LOCK}", Body=json.dumps(lock).encode())
    status, said = stack.try_run(bucket, *update)
    assert status != 0
    assert "currently locked" in said
    assert "other@there" in said
    stack.run(bucket, "cancel", "--yes", "-s", "dev")
    stack.run(bucket, *update)

    stack.run(files, "stack", "rm", "dev", "--yes", "--force", "--preserve-config")
    stack.run(files, "stack", "init", "dev")
    stack.move(bucket, files, tmp_path / "back.json")
    assert stack.urns(files) == before
    stack.run(files, *unchanged)
    assert stack.run(files, *output).strip() == SECRET

    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="state")["Contents"]]
    assert any(key.startswith("team/.pulumi/stacks/moved/dev.json") for key in keys)
    kept = [s3.get_object(Bucket="state", Key=key)["Body"].read() for key in keys]
    kept += [file.read_bytes() for file in stack.files.rglob("*") if file.is_file()]
    assert [data for data in kept if SECRET.encode() in plain(data)] == []
