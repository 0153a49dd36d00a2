"""A backup of a running platform, and its restore after all is lost, on real nodes.

The database is Katib's own manifest. One restore is killed in the middle of a volume, and the next
in the middle of a database.
"""

import gzip
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from backup import cli, folder, pods
from backup.select import REPLICAS, cleaned
from sandbox.controlplane import RunningSandbox
from sandbox.images.recipes import LOAD, MYSQL
from tests.support.kube import Kubectl, eventually

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT.parent / "shared/sources/kubeflow-manifests/v1.10.2/applications/katib/upstream"
KUBEFLOW, ALICE = "kubeflow", "alice"
RECORD = ("configmap", "ml-platform-restore", "-n", KUBEFLOW)
REAL = {"ml-platform/node": "real"}
# As many bytes as a kill in the middle needs, and every byte; a row that ends a string, a quote, a
# line; text beyond the Basic Multilingual Plane.
ROWS = f"""\
CREATE TABLE a_small (id INT PRIMARY KEY, note TEXT, odd VARBINARY(300), at DATETIME(6));
INSERT INTO a_small VALUES
  (1, 'plain', '', '2026-01-02 03:04:05.678901'), (2, NULL, NULL, NULL),
  (3, 'quote '' back\\\\\\\\slash\\nline\\r\\t 😀 é', UNHEX('{bytes(range(256)).hex()}'), NULL);
CREATE TABLE runs (id INT AUTO_INCREMENT PRIMARY KEY, payload MEDIUMBLOB, small INT,
  FOREIGN KEY (small) REFERENCES a_small (id));
INSERT INTO runs (payload, small)
  SELECT RANDOM_BYTES(1024), 1 + seq MOD 3 FROM seq_1_to_3000;
CREATE TRIGGER stamp BEFORE INSERT ON a_small FOR EACH ROW SET NEW.note = CONCAT(NEW.note, ';');
CREATE PROCEDURE twice(n INT) SELECT 2 * n;
CREATE VIEW joined AS SELECT r.id, a.note FROM runs r JOIN a_small a ON a.id = r.small;
CREATE DATABASE `other-db`;
CREATE TABLE `other-db`.`t` (v INT);
INSERT INTO `other-db`.`t` VALUES (7);
"""
DIGEST = """\
SELECT id, HEX(note), HEX(odd), at FROM a_small ORDER BY id;
SELECT COUNT(*), BIT_XOR(CRC32(CONCAT(id, payload, small))), MAX(id) FROM runs;
SELECT COUNT(*) FROM joined; CALL twice(21); SELECT v FROM `other-db`.`t`;
SELECT trigger_name, action_statement FROM information_schema.triggers
  WHERE trigger_schema = 'katib';
SELECT auto_increment FROM information_schema.tables WHERE table_name = 'runs';
"""
# Names of any bytes, modes, links, a hole, owners where the pod may change them, a few MB.
FILL = """\
import os
os.chdir("/data")
os.makedirs("sub/deep", exist_ok=True)
names = b"-rf", b"--exclude", b".hidden", b"a b", b"new\\nline", b"*", b"\\xff\\xfe", b"sub/..x"
for name in names:
    open(name, "wb").write(name * 9)
open("random", "wb").write(os.urandom(3_000_000))
open("sparse", "wb").truncate(50_000_000)
os.symlink("../../etc/passwd", "link")
os.link("random", "hard")
os.chmod("-rf", 0o4750)
os.chmod("*", 0o600)
os.utime("a b", ns=(1, 1_000_000_007))
if os.getuid() == 0:
    os.chown("*", 1234, 5678)
    os.chown("sub", 1234, 5678)
    os.chmod("sub", 0o700)
    os.chmod(".", 0o751)
os.chmod("sub/deep", 0o500)
"""
WIPE = """\
import os
for base, folders, files in os.walk("/data", topdown=False):
    for name in folders + files:
        path = os.path.join(base, name)
        os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
"""
TREE = """\
import hashlib, json, os
found = []
for base, folders, files in os.walk(b"/data"):
    for name in [b"."] * (base == b"/data") + folders + files:
        path = os.path.join(base, name)
        info = os.lstat(path)
        link = os.readlink(path).hex() if os.path.islink(path) else ""
        plain = not link and not os.path.isdir(path)
        content = hashlib.sha256(open(path, "rb").read()).hexdigest() if plain else ""
        when = 0 if name == b"." else info.st_mtime_ns
        found.append([path.hex(), info.st_mode, info.st_uid, info.st_gid, when, link, content,
                      info.st_blocks < 2000 if name == b"sparse" else None])
print(json.dumps(sorted(found)))
"""
# Stops for ever in the middle of what it sends into the container of that name.
HALFWAY = """\
import sys, time
from backup import cluster
from backup.cli import main
class Half:
    def __init__(self, source):
        self.source, self.left = source, 12
    def read(self, size):
        self.left -= 1
        if self.left < 0:
            print("halfway", flush=True)
            time.sleep(600)
        return self.source.read(1 << 17)
whole = cluster.Cluster.write
def write(self, where, command, source):
    return whole(self, where, command, Half(source) if sys.argv[1] in where else source)
cluster.Cluster.write = write
sys.exit(main(sys.argv[2:]))
"""


def definition(plural: str, kind: str, group: str, scope: str, version: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {"name": version, "served": True, "storage": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "kind": kind},
            "versions": [{**served, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def claim(name: str, namespace: str) -> dict[str, Any]:
    resources = {"requests": {"storage": "1Gi"}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources},
    }


def workload(kind: str, name: str, namespace: str, of: str = "", **spec: Any) -> dict[str, Any]:
    """A workload that sleeps, with a volume at /data; in `alice` of the restricted standard."""
    container = {
        "name": "main",
        "image": LOAD,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", "import signal; signal.pause()"],
    }
    whole = {"terminationGracePeriodSeconds": 0, "nodeSelector": REAL, **spec}
    if of:
        container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        whole["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": of}}]
    if namespace == ALICE:
        drop = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        container["securityContext"] = drop
        whole["securityContext"] = {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 100,
            "fsGroup": 100,
            # Or else the kubelet changes modes at each start of a pod.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    labels = {"app": name}
    body: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {**whole, "containers": [container]},
            },
        },
    }
    return body


def katib() -> list[dict[str, Any]]:
    """Katib's database as upstream has it, but probed at once and on a real node."""
    found = []
    for name in ("mysql", "pvc", "secret", "service"):
        body = yaml.safe_load((MANIFESTS / f"components/mysql/{name}.yaml").read_text())
        body["metadata"]["namespace"] = KUBEFLOW
        if body["kind"] == "Deployment":
            spec = body["spec"]["template"]["spec"]
            [container] = spec["containers"]
            assert f"docker.io/library/{container['image']}" in MYSQL
            container["imagePullPolicy"] = "IfNotPresent"
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                container[probe] |= {
                    "initialDelaySeconds": 0,
                    "periodSeconds": 1,
                    "timeoutSeconds": 20,
                }
            spec["nodeSelector"] = REAL
        found.append(body)
    return found


class Platform:
    """A platform's state, made, looked at and destroyed."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.kubectl = Kubectl(sandbox)
        self.where = ["--kubeconfig", str(sandbox.admin_kubeconfig)]

    def by_pulumi(self, *objects: dict[str, Any]) -> None:
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        words = ("apply", "--server-side", "--field-manager=ml-platform", "-f", "-")
        self.kubectl.run(*words, text=listed)

    def up(self) -> None:
        """What `pulumi up` makes."""
        self.by_pulumi(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": KUBEFLOW}},
            definition("profiles", "Profile", "kubeflow.org", "Cluster", "v1"),
            definition("notebooks", "Notebook", "kubeflow.org", "Namespaced", "v1"),
            definition("workflows", "Workflow", "argoproj.io", "Namespaced", "v1alpha1"),
        )
        self.by_pulumi(
            *katib(),
            claim("store", KUBEFLOW),
            workload("Deployment", "store", KUBEFLOW, "store"),
            workload("Deployment", "ml-pipeline", KUBEFLOW),
        )
        for plural in ("profiles.kubeflow.org", "notebooks.kubeflow.org", "workflows.argoproj.io"):
            words = ("--for=condition=Established", "--timeout=60s")
            self.kubectl.run("wait", f"crd/{plural}", *words)

    def use(self) -> None:
        """What users and the controllers do."""
        version = {"apiVersion": "kubeflow.org/v1"}
        self.kubectl.apply({**version, "kind": "Profile", "metadata": {"name": ALICE}})
        uid = self.kubectl.get("profile", ALICE)["metadata"]["uid"]
        owner = {**version, "kind": "Profile", "name": ALICE, "uid": uid}
        labels = {
            "app.kubernetes.io/part-of": "kubeflow-profile",
            "pod-security.kubernetes.io/enforce": "restricted",
        }
        metadata = {"name": ALICE, "labels": labels, "ownerReferences": [owner]}
        self.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        place = {"namespace": ALICE}
        template = {"spec": {"containers": [{"name": "n", "image": "i", "args": ["ü", ""]}]}}
        self.kubectl.apply(
            claim("workspace", ALICE),
            workload("StatefulSet", "nb", ALICE, "workspace"),
            {
                **version,
                "kind": "Notebook",
                "metadata": {"name": "nb", **place},
                "spec": {"template": template},
            },
            {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "Workflow",
                "metadata": {"name": "done", **place},
                "status": {"phase": "Succeeded"},
            },
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "settings", **place},
                "data": {"a": "line\nline\n"},
                "binaryData": {"b": "//79"},
            },
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "s3", **place},
                "stringData": {"key": "hush"},
            },
        )
        self.owned()
        self.ready(ALICE, "statefulset/nb")
        self.ready(KUBEFLOW, "deployment/katib-mysql", "deployment/store", "deployment/ml-pipeline")
        self.inside(KUBEFLOW, "deployment/store", FILL)
        self.inside(ALICE, "statefulset/nb", FILL)
        self.sql(ROWS)

    def owned(self) -> None:
        """The StatefulSet is the notebook controller's, so that it is not the user's."""
        uid = self.kubectl.get("notebook", "nb", "-n", ALICE)["metadata"]["uid"]
        owner = {"apiVersion": "kubeflow.org/v1", "kind": "Notebook", "name": "nb", "uid": uid}
        patch = json.dumps({"metadata": {"ownerReferences": [owner]}})
        self.kubectl.run("patch", "statefulset", "nb", "-n", ALICE, "--type=merge", "-p", patch)

    def ready(self, namespace: str, *names: str) -> None:
        for name in names:
            words = ("rollout", "status", name, "-n", namespace, "--timeout=180s")
            done = self.kubectl.try_(*words, timeout=200)
            assert done.returncode == 0, done.stderr + self.kubectl.run(
                "describe", "pods", "-n", namespace
            )

    def inside(self, namespace: str, name: str, script: str) -> str:
        return self.kubectl.run("exec", "-n", namespace, name, "--", "python3", "-c", script)

    def sql(self, statements: str) -> str:
        client = (
            'exec mysql -uroot -p"$MYSQL_ROOT_PASSWORD" -N --default-character-set=utf8mb4 "$@"'
        )
        words = ("exec", "-i", "-n", KUBEFLOW, "deployment/katib-mysql", "--", "bash", "-c")
        return self.kubectl.run(*words, client, "bash", "katib", text=statements)

    def files(self, namespace: str, name: str) -> list[Any]:
        found: list[Any] = json.loads(self.inside(namespace, name, TREE))
        return found

    def objects(self) -> dict[str, Any]:
        found = {}
        for kind in ("notebook", "configmap", "pvc"):
            for body in self.kubectl.get(kind, "-n", ALICE)["items"]:
                if body["metadata"]["name"] != "kube-root-ca.crt":
                    found[kind, body["metadata"]["name"]] = cleaned(body)
        return found

    def lose(self) -> None:
        """The user's namespace, the databases, and the files of the store are gone."""
        self.kubectl.run("delete", "profile", ALICE)
        eventually(
            lambda: self.kubectl.try_("get", "namespace", ALICE).returncode, "it is gone", 120
        )
        self.sql("DROP DATABASE katib; DROP DATABASE `other-db`;")
        self.inside(KUBEFLOW, "deployment/store", WIPE)

    def replicas(self) -> dict[str, tuple[int, str | None]]:
        return {
            body["metadata"]["name"]: (
                body["spec"]["replicas"],
                (body["metadata"].get("annotations") or {}).get(REPLICAS),
            )
            for body in self.kubectl.get("deployment", "-n", KUBEFLOW)["items"]
        }

    def down(self) -> None:
        self.kubectl.try_("delete", "profile", ALICE, timeout=180)
        self.kubectl.run("delete", "namespace", KUBEFLOW, ALICE, "--ignore-not-found", timeout=180)
        for plural in ("profiles.kubeflow.org", "notebooks.kubeflow.org", "workflows.argoproj.io"):
            self.kubectl.run("delete", "crd", plural, "--ignore-not-found")


@pytest.fixture(scope="module")
def platform(real_sandbox: RunningSandbox) -> Iterator[Platform]:
    found = Platform(real_sandbox)
    try:
        found.up()
        found.use()
        yield found
    finally:
        found.down()


def killed_halfway(container: str, words: list[str]) -> str:
    """Run a restore until it is in the middle of that container's input, and kill it."""
    command = [sys.executable, "-c", HALFWAY, container, *words]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "halfway\n", process.stderr.read()
        process.send_signal(signal.SIGKILL)
        return process.stderr.read()


def test_all_that_is_lost_comes_back(
    platform: Platform, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    secret = tmp_path / "passphrase"
    secret.write_text("open sesame\n")
    passphrase = ["--passphrase-file", str(secret)]
    rows = platform.sql(DIGEST)
    files = {
        KUBEFLOW: platform.files(KUBEFLOW, "deployment/store"),
        ALICE: platform.files(ALICE, "statefulset/nb"),
    }
    objects = platform.objects()

    words = ["create", *platform.where, "--to", str(tmp_path / "to"), *passphrase]
    assert cli.main(words) == 0, capsys.readouterr().err
    [(at, manifest)] = folder.backups(tmp_path / "to")
    assert sorted(item.key for item in manifest.items) == [
        "database/kubeflow/katib-mysql",
        "objects",
        "secrets",
        "volume/alice/workspace",
        "volume/kubeflow/store",
    ]
    assert sum(item.size for item in manifest.items) < 20_000_000  # the holes are none
    assert b"hush" not in gzip.decompress((at / "objects.json.gz").read_bytes())
    assert b"hush" not in (at / "secrets.enc").read_bytes()
    # Nobody was stopped, and nothing is left behind.
    assert platform.files(ALICE, "statefulset/nb") == files[ALICE]
    assert left_over(platform) == []

    # What was changed since, and what would be lost.
    restore = ["restore", str(at), *platform.where, *passphrase]
    spoiled = shutil.copytree(at, tmp_path / "spoiled")
    archive = spoiled / "volume-alice-workspace.tar.gz"
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    assert cli.main([*restore[:1], str(spoiled), *restore[2:], "--overwrite"]) == 1
    assert "volume-alice-workspace.tar.gz (volume/alice/workspace) has another digest" in (
        capsys.readouterr().err
    )
    assert cli.main(restore) == 1
    said = capsys.readouterr().err
    assert "nothing was touched" in said
    assert "database/kubeflow/katib-mysql holds 4 tables" in said
    assert "volume/kubeflow/store holds files" in said
    assert "volume/alice/workspace holds files" in said
    assert platform.sql(DIGEST) == rows
    assert platform.files(ALICE, "statefulset/nb") == files[ALICE]

    platform.lose()
    said = killed_halfway(pods.CONTAINER, restore)
    assert "volume/alice/workspace" in said and "volume/kubeflow/store" not in said
    assert progress(platform) == {"volume/alice/workspace": "begun"}
    said = killed_halfway("katib-mysql", restore)
    assert "goes on with the restore" in said
    assert progress(platform)["database/kubeflow/katib-mysql"] == "begun"
    assert platform.replicas() == {
        "katib-mysql": (1, None),
        "ml-pipeline": (0, "1"),
        "store": (0, "1"),
    }
    if "runs" in platform.sql("SHOW TABLES"):
        assert int(platform.sql("SELECT COUNT(*) FROM runs")) < 3000

    assert cli.main(restore) == 0, capsys.readouterr().err
    said = capsys.readouterr().err
    assert "volume/kubeflow/store: done" not in said  # it had been
    assert set(platform.replicas().values()) == {(1, None)}
    assert platform.sql(DIGEST) == rows
    assert platform.files(KUBEFLOW, "deployment/store") == files[KUBEFLOW]
    platform.kubectl.apply(workload("StatefulSet", "nb", ALICE, "workspace"))
    platform.ready(ALICE, "statefulset/nb")
    assert platform.files(ALICE, "statefulset/nb") == files[ALICE]
    assert platform.objects() == objects
    # A run that is over does not run again; a Secret is back; the namespace goes with its Profile.
    assert platform.kubectl.get("workflow", "-n", ALICE)["items"] == []
    assert platform.kubectl.get("secret", "s3", "-n", ALICE)["data"] == {"key": "aHVzaA=="}
    [owner] = platform.kubectl.get("namespace", ALICE)["metadata"]["ownerReferences"]
    assert owner["uid"] == platform.kubectl.get("profile", ALICE)["metadata"]["uid"]
    assert left_over(platform) == []
    assert platform.kubectl.try_("get", *RECORD).returncode == 1

    # With consent, over what is there; the notebook that has the volume is stopped meanwhile.
    platform.owned()
    platform.sql("DELETE FROM runs; CREATE TABLE a_new (id INT)")
    platform.inside(ALICE, "statefulset/nb", "open('/data/new', 'w')")
    assert cli.main(["restore", str(at), *platform.where, "--overwrite"]) == 0
    assert "stops StatefulSet/alice/nb" in capsys.readouterr().err
    assert platform.sql(DIGEST) == rows
    assert "a_new" not in platform.sql("SHOW TABLES")
    assert platform.files(ALICE, "statefulset/nb") == files[ALICE]
    assert platform.objects() == objects  # without an annotation that stops it


def progress(platform: Platform) -> dict[str, str]:
    found: dict[str, str] = json.loads(platform.kubectl.get(*RECORD)["data"]["items"])
    return found


def left_over(platform: Platform) -> list[str]:
    """Pods of backups that are still there."""
    found = platform.kubectl.get("pods", "-A", "-l", "=".join(pods.MADE_HERE))
    return [body["metadata"]["name"] for body in found["items"]]
