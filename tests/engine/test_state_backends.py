"""A stack's state moves from files to S3 and back: `docs/state.md`, by the real CLI."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.support.kube import eventually
from toolchain.standins import LANGUAGE

ROOT = Path(__file__).parents[2]
LAUNCH = "from toolchain.launcher import main; main()"
SECRET, TOKEN = "planted-secret-value", "planted-secret-setting"
PASSPHRASE, NEXT_PASSPHRASE = "correct horse", "battery staple"
LOCKS = ".pulumi/locks/organization/moved/dev/"
# An update goes on for as long as the file `held` is there, and says by `begun` that it runs.
PROGRAM = f"""import pathlib, time
import pulumi
pulumi.ComponentResource("test:index:Part", "part")
pulumi.export("password", pulumi.Output.secret("{SECRET}"))
if pathlib.Path("held").exists():
    pathlib.Path("begun").touch()
    while pathlib.Path("held").exists():
        time.sleep(0.05)
"""
UPDATE = ("up", "-s", "dev", "--yes", "--skip-preview")
UNCHANGED = ("preview", "-s", "dev", "--expect-no-changes")
OUTPUT = ("stack", "output", "password", "-s", "dev", "--show-secrets")

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
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_OPTION_POLICY_PACK": "",
            "PYTHONPATH": str(ROOT),
            # Where the language host of a machine with no published one is found.
            "PATH": os.pathsep.join([os.environ["PATH"], str(LANGUAGE)]),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        self.environment.pop("PULUMI_CONFIG_PASSPHRASE_FILE", None)

    def begin(self, url: str, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """Start the CLI, in a session of its own so that all of it can be killed."""
        return subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *arguments, "--non-interactive"],
            cwd=self.project,
            env={**self.environment, "PULUMI_BACKEND_URL": url, **more},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def try_run(self, url: str, *arguments: str, typed: str = "", **more: str) -> tuple[int, str]:
        process = self.begin(url, *arguments, **more)
        said, _ = process.communicate(typed, timeout=120)
        return process.returncode, said

    def run(self, url: str, *arguments: str, typed: str = "", **more: str) -> str:
        status, output = self.try_run(url, *arguments, typed=typed, **more)
        assert status == 0, output
        return output

    def urns(self, url: str) -> list[str]:
        state = json.loads(self.run(url, "stack", "export", "-s", "dev"))
        return [resource["urn"] for resource in state["deployment"]["resources"]]

    def move(self, source: str, target: str, file: Path) -> None:
        self.run(source, "stack", "export", "-s", "dev", "--file", str(file))
        assert SECRET not in file.read_text()
        self.run(target, "stack", "import", "-s", "dev", "--file", str(file))

    def begun(self, url: str) -> subprocess.Popen[str]:
        """An update that goes on until `let_go`."""
        (self.project / "held").touch()
        process = self.begin(url, *UPDATE)
        eventually(
            lambda: process.poll() is not None or (self.project / "begun").exists(), "it runs", 120
        )
        assert process.poll() is None, process.communicate()
        (self.project / "begun").unlink()
        return process

    def let_go(self) -> None:
        (self.project / "held").unlink()

    def kept(self) -> list[bytes]:
        """What lies in files, the settings among them."""
        found = [file for file in self.files.rglob("*") if file.is_file()]
        return [plain(file.read_bytes()) for file in (*found, self.project / "Pulumi.dev.yaml")]


class Bucket:
    """What lies in the bucket of the back end."""

    def __init__(self, endpoint: str) -> None:
        key = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        self.s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **key)
        self.s3.create_bucket(Bucket="state")

    def keys(self) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket="state").get("Contents", [])
        return [item["Key"].removeprefix("team/") for item in listed]

    def locks(self) -> list[str]:
        return [key for key in self.keys() if key.startswith(LOCKS)]

    def kept(self) -> list[bytes]:
        bodies = (self.s3.get_object(Bucket="state", Key=f"team/{key}") for key in self.keys())
        return [plain(body["Body"].read()) for body in bodies]


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    # All of these servers share what they keep.
    urllib.request.urlopen(f"{url}/moto-api/reset", data=b"").close()
    yield url
    server.stop()


@pytest.fixture
def bucket(endpoint: str) -> Bucket:
    return Bucket(endpoint)


@pytest.fixture
def stack(tmp_path: Path, endpoint: str) -> Stack:
    return Stack(tmp_path, endpoint)


def plain(data: bytes) -> bytes:
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def test_a_stack_moves_to_s3_and_back(tmp_path: Path, stack: Stack, bucket: Bucket) -> None:
    files, s3 = stack.file_url, stack.s3_url
    stack.run(files, "stack", "init", "dev")
    stack.run(files, *UPDATE)
    before = stack.urns(files)
    assert len(before) == 2

    stack.run(s3, "stack", "init", "dev")
    stack.move(files, s3, tmp_path / "there.json")
    assert stack.urns(s3) == before
    stack.run(s3, *UNCHANGED)
    assert stack.run(s3, *OUTPUT).strip() == SECRET

    _, said = stack.try_run(s3, *OUTPUT, PULUMI_CONFIG_PASSPHRASE="wrong")
    assert SECRET not in said, said
    status, said = stack.try_run(s3, *UPDATE, PULUMI_CONFIG_PASSPHRASE="wrong")
    assert status != 0, said
    assert "incorrect passphrase" in said, said

    stack.run(files, "stack", "rm", "dev", "--yes", "--force", "--preserve-config")
    stack.run(files, "stack", "init", "dev")
    stack.move(s3, files, tmp_path / "back.json")
    assert stack.urns(files) == before
    stack.run(files, *UNCHANGED)
    assert stack.run(files, *OUTPUT).strip() == SECRET

    names = bucket.keys()
    assert any(key.startswith(".pulumi/stacks/moved/dev.json") for key in names)
    assert [data for data in (*bucket.kept(), *stack.kept()) if SECRET.encode() in data] == []


def test_an_update_is_alone_until_it_ends_or_its_lock_is_cancelled(
    stack: Stack, bucket: Bucket
) -> None:
    s3 = stack.s3_url
    stack.run(s3, "stack", "init", "dev")
    first = stack.begun(s3)
    (lock,) = bucket.locks()

    def refused() -> None:
        status, said = stack.try_run(s3, *UPDATE)
        assert status != 0, said
        assert "the stack is currently locked by 1 lock(s)" in said
        assert f"@{socket.gethostname()} (pid {first.pid})" in said
        assert "pulumi cancel" in said

    refused()
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert bucket.locks() == [lock]
    refused()
    stack.run(s3, "cancel", "--yes", "-s", "dev")
    assert bucket.locks() == []

    # Of an update that still runs it takes the lock away, and stops nothing.
    second = stack.begun(s3)
    stack.run(s3, "cancel", "--yes", "-s", "dev")
    assert bucket.locks() == []
    assert second.poll() is None
    stack.let_go()
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 0, said
    assert bucket.locks() == []
    stack.run(s3, *UNCHANGED)


def test_another_passphrase_shuts_the_old_one_out(stack: Stack) -> None:
    files = stack.file_url
    new = {"PULUMI_CONFIG_PASSPHRASE": NEXT_PASSPHRASE}
    stack.run(files, "stack", "init", "dev")
    stack.run(files, "config", "set", "--secret", "token", "-s", "dev", typed=TOKEN)
    stack.run(files, *UPDATE)
    change = ("stack", "change-secrets-provider", "passphrase", "-s", "dev")
    stack.run(files, *change, typed=f"{NEXT_PASSPHRASE}\n")

    token = ("config", "get", "token", "-s", "dev")
    for command in (UPDATE, token):
        status, said = stack.try_run(files, *command)
        assert status != 0, said
        assert "incorrect passphrase" in said, said
        assert TOKEN not in said
    # Pulumi calls an output that it can't read null, and that a success.
    assert stack.try_run(files, *OUTPUT)[1].strip() == "null"
    stack.run(files, *UNCHANGED, **new)
    assert stack.run(files, *OUTPUT, **new).strip() == SECRET
    assert stack.run(files, *token, **new).strip() == TOKEN
    hidden = (SECRET, TOKEN, PASSPHRASE, NEXT_PASSPHRASE)
    assert [text for text in hidden for data in stack.kept() if text.encode() in data] == []
