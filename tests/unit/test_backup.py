"""Backups: what is taken and in which form, what makes a folder whole, and what is refused."""

import gzip
import io
import json
import os
import subprocess
import zlib
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from backup import cli, create, folder, pods, select
from backup.cluster import Ended, _last
from backup.create import Unpacked, images_of
from backup.crypt import decrypted, encrypted
from backup.folder import backups, verify, writing
from backup.model import (
    MANIFEST,
    BackupError,
    Item,
    Manifest,
    file_name,
    human,
    other_images,
    parse,
)
from backup.restore import Consent, Restore
from backup.select import Database, Mount, World, cleaned, in_order, is_over

OURS = [{"manager": "ml-platform", "operation": "Apply"}]
PROFILE = {"app.kubernetes.io/part-of": "kubeflow-profile"}
MYSQL = {"name": "mysql", "image": "gcr.io/ml-pipeline/mysql:8.0.26"}


def body(kind, name, namespace="", version="v1", spec=None, status=None, **metadata):
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {}), **metadata},
        **({"spec": spec} if spec is not None else {}),
        **({"status": status} if status is not None else {}),
    }


def claim(name, namespace="alice", phase="Bound", **metadata):
    spec = {"accessModes": ["ReadWriteOnce"], "volumeName": f"pvc-{name}"}
    status = {"phase": phase}
    return body("PersistentVolumeClaim", name, namespace, spec=spec, status=status, **metadata)


def pod(name, namespace="alice", of="", phase="Running", labels=None, **spec):
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": of}}] if of else []
    mounts = [{"name": "v", "mountPath": "/v"}]
    container = {"name": "main", "volumeMounts": mounts, **spec.pop("container", {})}
    whole = {"volumes": volumes, "containers": [container], **spec}
    labels = {"labels": labels} if labels else {}
    return body("Pod", name, namespace, spec=whole, status={"phase": phase}, **labels)


def deployment(name, container, claims=(), namespace="kubeflow", **metadata):
    volumes = [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims]
    spec = {
        "selector": {"matchLabels": {"app": name}},
        "template": {"spec": {"containers": [container], "volumes": volumes}},
    }
    return body("Deployment", name, namespace, "apps/v1", spec, **metadata)


def database(name="mysql", variable="MYSQL_ALLOW_EMPTY_PASSWORD", claims=("mysql-pv-claim",)):
    return deployment(name, {**MYSQL, "env": [{"name": variable, "value": "true"}]}, claims)


NAMESPACES = (
    body("Namespace", "kubeflow", managedFields=OURS),
    body("Namespace", "alice", labels=PROFILE),
    body("Namespace", "team"),
)
DEFINITIONS = (
    body("CustomResourceDefinition", "notebooks.kubeflow.org", managedFields=OURS),
    body("CustomResourceDefinition", "profiles.kubeflow.org", managedFields=OURS),
    body("CustomResourceDefinition", "ippools.crd.projectcalico.org"),
)


def world(**parts):
    empty = {"objects": (), "workloads": (), "claims": (), "pods": ()}
    return World(**{"namespaces": NAMESPACES, "definitions": DEFINITIONS, **empty, **parts})


def names(bodies):
    return [f"{b['kind']}/{b['metadata']['name']}" for b in bodies]


def notebook(name, namespace="alice", **more):
    return body("Notebook", name, namespace, "kubeflow.org/v1", {}, **more)


# --- what is taken ----------------------------------------------------------------------------


def test_users_objects_are_what_no_program_and_no_controller_made():
    owner = [{"apiVersion": "kubeflow.org/v1", "kind": "Notebook", "name": "n", "uid": "1"}]
    pulumis = [{"manager": "pulumi-kubernetes-1a2b"}]
    taken = (
        notebook("mine"),
        notebook("lost", "kubeflow"),
        body("ConfigMap", "settings", "alice"),
        body("Profile", "alice", version="kubeflow.org/v1"),
    )
    passed = (
        notebook("platforms", managedFields=OURS),
        notebook("another-programs", managedFields=pulumis),
        body("StatefulSet", "mine", "alice", "apps/v1", {}, ownerReferences=owner),
        body("ConfigMap", "kube-root-ca.crt", "alice"),
        body("Pod", "alone", "alice"),
        body("Secret", "token", "alice"),
        body("ServiceAccount", "default", "alice"),
        body("IPPool", "default", version="crd.projectcalico.org/v1"),
        body("AuthCode", "c", "kubeflow", "dex.coreos.com/v1"),
        notebook("going", deletionTimestamp="2026-01-01T00:00:00Z"),
    )
    found = select.select(world(objects=(*taken, *passed)))
    assert names(found.objects) == [*names(taken), "Namespace/alice"]
    assert found.namespaces == ("alice",)


def test_what_is_elsewhere_is_said_and_can_be_taken():
    one = notebook("elsewhere", "team")
    found = select.select(world(objects=[one]))
    assert names(found.objects) == ["Namespace/alice"]
    assert found.left_out == (
        ("1 objects in the namespace team", "no profile's; take it by --namespace team"),
    )
    found = select.select(world(objects=[one]), ["team"])
    assert names(found.objects) == ["Notebook/elsewhere", "Namespace/alice", "Namespace/team"]
    with pytest.raises(BackupError, match=r"there is no namespace nowhere \(--namespace\)"):
        select.select(world(), ["nowhere"])


def test_what_has_run_to_its_end_is_kept_apart_with_its_status():
    done = body("Workflow", "run", "alice", "argoproj.io/v1alpha1", {}, {"phase": "Succeeded"})
    found = select.select(world(objects=[done]))
    assert names(found.objects) == ["Namespace/alice"]
    assert [one["status"] for one in found.over] == [{"phase": "Succeeded"}]


@pytest.mark.parametrize(
    ("status", "over"),
    [
        ({"phase": "Running"}, False),
        ({"phase": "Error"}, True),
        ({"conditions": [{"type": "Failed", "status": "True"}]}, True),
        ({"conditions": [{"type": "Succeeded", "status": "False"}]}, False),
        ({"conditions": [{"type": "Ready", "status": "True"}]}, False),
        ({}, False),
    ],
)
def test_over(status, over):
    assert is_over(body("Experiment", "e", status=status)) is over


def test_databases_are_dumped_and_their_volumes_are_not_copied():
    client = deployment("ml-pipeline", {"name": "api", "image": "api-server:2.5"})
    odd = database("no-database")
    odd["spec"]["template"]["spec"]["containers"][0]["image"] = "phpmyadmin:5"
    workloads = [database(), client, odd, database("katib-mysql", "MYSQL_ROOT_PASSWORD", ["k"])]
    claims = [claim(name, "kubeflow") for name in ("mysql-pv-claim", "k", "minio-pvc")]
    found = select.select(world(workloads=workloads, claims=claims))
    assert [one.name for one in found.databases] == ["katib-mysql", "mysql"]
    assert found.databases[1].claims == ("mysql-pv-claim",)
    assert [one.claim for one in found.volumes] == ["minio-pvc"]
    # Nobody's program makes this claim, so it goes along.
    assert names(found.objects) == ["Namespace/alice", "PersistentVolumeClaim/minio-pvc"]


def test_claims_of_a_stateful_set_that_was_stopped_are_still_its_own():
    spec = {
        "replicas": 0,
        "template": {"spec": {}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
    }
    one = body("StatefulSet", "db", "a", spec=spec, annotations={select.REPLICAS: "2"})
    assert list(select.claims_of(one)) == ["data-db-0", "data-db-1"]


def test_volumes_that_are_not_copied_are_told():
    owner = [{"kind": "Workflow", "name": "run", "apiVersion": "a/v1", "uid": ""}]
    claims = [
        claim("mine"),
        claim("unused", phase="Pending"),
        claim("big"),
        claim("passing", ownerReferences=owner),
        claim("others", "default"),
    ]
    found = select.select(world(claims=claims), without={("alice", "big")})
    assert [one.claim for one in found.volumes] == ["mine"]
    assert found.left_out == (
        ("volume/alice/big", "by --without-volume"),
        ("volume/alice/passing", "belongs to Workflow/run, whose controller makes it"),
        ("volume/alice/unused", "nobody has used it yet, so it has no volume"),
    )


def test_volumes_that_cannot_be_read_are_refused():
    block = claim("disk")
    block["spec"]["volumeMode"] = "Block"
    with pytest.raises(BackupError, match="alice/disk is of a block device"):
        select.select(world(claims=[block]))
    alone = claim("alone")
    alone["spec"]["accessModes"] = ["ReadWriteOncePod"]
    assert select.select(world(claims=[alone])).volumes
    with pytest.raises(BackupError, match="the pod p has it"):
        select.select(world(claims=[alone], pods=[pod("p", of="alone", nodeName="n")]))


def test_a_volume_is_mounted_beside_its_users_and_as_they_are():
    tolerations = [{"key": "gpu", "operator": "Exists"}]
    security = {"runAsUser": 1, "fsGroup": 5, "seLinuxOptions": {}}
    users = [
        pod("over", of="data", phase="Succeeded", nodeName="elsewhere"),
        pod("a-helper", of="data", nodeName="n", labels=dict([select.MADE_HERE])),
        pod("b", "bob", of="data", nodeName="elsewhere"),
        pod(
            "nb-0",
            of="data",
            nodeName="n1",
            tolerations=tolerations,
            securityContext=security,
            container={"securityContext": {"runAsUser": 1000}},
        ),
    ]
    found = select.mount_of(claim("data"), users)
    wanted = {"runAsUser": 1000, "fsGroup": 5}
    assert found == Mount("alice", "data", "n1", tuple(tolerations), wanted, ("nb-0",))
    assert select.mount_of(claim("data"), users[:3]) == Mount("alice", "data")


def test_secrets_are_the_users_own():
    secrets = [
        body("Secret", "s3", "alice"),
        body("Secret", "platforms", "alice", managedFields=OURS),
        {**body("Secret", "t", "alice"), "type": "kubernetes.io/service-account-token"},
        body("Secret", "tls", "alice", ownerReferences=[{"kind": "Certificate", "name": "c"}]),
        body("Secret", "others", "kubeflow"),
    ]
    assert names(select.secrets(secrets, ["alice"])) == ["Secret/s3"]


# --- in which form ----------------------------------------------------------------------------


def test_a_claim_forgets_its_volume():
    bound = claim(
        "data",
        uid="1",
        finalizers=["kubernetes.io/pvc-protection"],
        annotations={"pv.kubernetes.io/bind-completed": "yes", "mine": "kept"},
    )
    bound["spec"] |= {"storageClassName": "fast", "dataSource": {"kind": "VolumeSnapshot"}}
    found = cleaned(bound)
    assert found == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "alice", "annotations": {"mine": "kept"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast"},
    }
    assert bound["spec"]["volumeName"]  # what it was made of stays


def test_a_service_forgets_its_addresses_unless_it_has_none():
    ports = [{"port": 80, "nodePort": 31000}]
    spec = {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": ports}
    assert cleaned(body("Service", "s", spec=spec))["spec"] == {"ports": [{"port": 80}]}
    headless = {"clusterIP": "None", "clusterIPs": ["None"]}
    assert cleaned(body("Service", "s", spec=headless))["spec"] == headless


def test_order_of_a_restore_claims_and_their_like_first():
    owner = {"apiVersion": "kubeflow.org/v1", "kind": "Profile", "name": "alice", "uid": "9"}
    objects = [
        cleaned(one)
        for one in (
            notebook("n"),
            claim("data"),
            body("Namespace", "alice", ownerReferences=[owner], spec={"finalizers": ["k"]}),
            body("ConfigMap", "c", "alice"),
            body("Profile", "alice", version="kubeflow.org/v1", spec={}),
        )
    ]
    first, rest = in_order(objects)
    assert names(first) == ["Profile/alice", "Namespace/alice", "PersistentVolumeClaim/data"]
    assert sorted(names(rest)) == ["ConfigMap/c", "Notebook/n"]
    # The Profile that the restore makes is another object.
    assert first[1]["metadata"]["ownerReferences"] == [{**owner, "uid": ""}]


def test_a_users_own_database_comes_before_what_it_holds():
    own = database("own", claims=["own"])
    own["metadata"]["namespace"] = "alice"
    own["spec"]["template"]["spec"]["serviceAccountName"] = "runner"
    client = deployment("client", {"name": "c", "image": "c:1"}, namespace="alice")
    account = body("ServiceAccount", "runner", "alice")
    first, rest = in_order([client, own, account, claim("own")])
    assert sorted(names(first[:2])) == ["PersistentVolumeClaim/own", "ServiceAccount/runner"]
    assert (names(first[2:]), names(rest)) == (["Deployment/own"], ["Deployment/client"])


def test_a_pod_keeps_the_restricted_standard_unless_root_may():
    mount = Mount("a", "c", "n1", ({"key": "gpu"},), {"runAsUser": 7, "fsGroup": 8})
    plain = pods.pod(mount, root=False, read_only=True)["spec"]
    assert plain["securityContext"] == {
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsUser": 7,
        "runAsGroup": 100,
        "fsGroup": 8,
        "runAsNonRoot": True,
        "fsGroupChangePolicy": "OnRootMismatch",
    }
    [container] = plain["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["volumeMounts"][0]["readOnly"] is True
    term = plain["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert "n1" in json.dumps(term)
    root = pods.pod(Mount("a", "c"), root=True, read_only=False)
    assert "fsGroup" not in root["spec"]["securityContext"]
    assert "affinity" not in root["spec"]
    assert root["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"


# --- volumes' archives ------------------------------------------------------------------------


def run(script: str, at: Path, content: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    words = ["bash", "-c", script.replace("/volume", str(at))]
    return subprocess.run(words, input=content, capture_output=True, check=False)


def fill(at: Path) -> None:
    """Names that a shell or tar could take for something else, modes, links and a hole."""
    (at / "sub" / "deep").mkdir(parents=True)
    for name in (b"-rf", b"--exclude", b".hidden", b"a b", b"new\nline", b"*", b"\xff", b"sub/..x"):
        (at / os.fsdecode(name)).write_bytes(name * 3)
    (at / "-rf").chmod(0o4750)
    (at / "gone").symlink_to("../../etc/passwd")
    os.link(at / "*", at / "hard")
    with (at / "sparse").open("wb") as out:
        out.truncate(1 << 24)
    (at / "sub" / "deep").chmod(0o500)


def tree(at: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(at.rglob("*")):
        info, link = path.lstat(), path.is_symlink()
        plain = not link and path.is_file()
        found[str(path.relative_to(at))] = (
            info.st_mode,
            info.st_mtime_ns if not link else path.readlink(),
            (info.st_nlink, zlib.crc32(path.read_bytes())) if plain else None,
        )
    return found


def test_a_volume_read_and_filled_is_the_same(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    fill(source)
    (source / "lost+found").mkdir()
    (target / "old").mkdir()
    (target / "old" / "file").touch()
    (target / "old").chmod(0o500)
    done = run(pods.READ_VOLUME, source)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout) < 1 << 20
    filled = run(pods.FILL_VOLUME, target, done.stdout)
    assert (filled.returncode, filled.stderr) == (0, b"")
    (source / "lost+found").rmdir()
    assert tree(target) == tree(source)
    assert (target / "sparse").stat().st_blocks < 1000  # a hole, not zeroes
    # Again, over what is there now.
    assert run(pods.FILL_VOLUME, target, done.stdout).returncode == 0
    assert tree(target) == tree(source)


def test_half_an_archive_is_an_error_on_both_sides(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "data").write_bytes(os.urandom(100_000))
    archive = run(pods.READ_VOLUME, source).stdout
    assert run(pods.FILL_VOLUME, target, archive[:-5000]).returncode
    whole, half = Unpacked(), Unpacked()
    for start in range(0, len(archive), 1000):
        whole.take(archive[start : start + 1000])
    half.take(archive[:-1])
    assert (whole.whole, half.whole) == (True, False)
    assert whole.size == len(gzip.decompress(archive))
    with pytest.raises(BackupError, match="arrived broken"):
        Unpacked().take(b"no gzip at all")


def test_what_unpacks_to_much_is_counted():
    zeroes = gzip.compress(bytes(9_000_000))
    unpacked = Unpacked()
    unpacked.take(zeroes)
    assert (unpacked.size, unpacked.whole) == (9_000_000, True)


def test_an_empty_volume(tmp_path: Path):
    done = run(pods.READ_VOLUME, tmp_path)
    assert done.returncode == 0
    assert run(pods.FILL_VOLUME, tmp_path, done.stdout).returncode == 0


# --- the folder -------------------------------------------------------------------------------


def made(at: Path, content: bytes = b"SELECT 1") -> Path:
    with writing(at) as writer:
        item = writer.add(
            "database", "kubeflow", "mysql", lambda out: (out.write(content), ()), "Deployment"
        )
        assert item.size == len(content)
        writer.finish(
            Manifest("2026-01-01T00:00:00+00:00", "https://c", "uid", {}, tuple(writer.items))
        )
    return at


def test_a_backup_is_its_owners_alone_and_whole(tmp_path: Path):
    at = made(tmp_path / "new" / "one")
    assert [path.stat().st_mode & 0o777 for path in (at.parent, at)] == [0o700, 0o700]
    assert {path.stat().st_mode & 0o777 for path in at.iterdir()} == {0o600}
    assert [item.key for item in verify(at).items] == ["database/kubeflow/mysql"]
    assert [path for path, _ in backups(tmp_path / "new")] == [at]
    with pytest.raises(BackupError, match="never written over"), writing(at):
        pass


def test_a_backup_that_fails_is_none(tmp_path: Path):
    with pytest.raises(RuntimeError, match="lost"), writing(tmp_path / "one") as writer:
        writer.add("volume", "a", "b", lambda out: (out.write(b"x"), ()))
        raise RuntimeError("lost")
    assert list(tmp_path.iterdir()) == []


def spoil(at: Path, how: str) -> str:
    """Spoil a backup; what the error is to say."""
    file = at / "database-kubeflow-mysql.sql.gz"
    match how:
        case "changed":
            file.write_bytes(b"SELECT 2")
            return "has another digest"
        case "cut":
            file.write_bytes(b"SELECT")
            return "has 6 bytes instead of 8"
        case "gone":
            file.unlink()
            return "is not there"
        case "no manifest":
            (at / MANIFEST).unlink()
            return f"it has no {MANIFEST}"
        case "half a manifest":
            text = (at / MANIFEST).read_text()
            (at / MANIFEST).write_text(text[: len(text) // 2])
            return "is not a backup's"
    raise ValueError(how)


@pytest.mark.parametrize("how", ["changed", "cut", "gone", "no manifest", "half a manifest"])
def test_a_backup_that_is_not_whole_is_refused_before_a_cluster_is_asked(tmp_path, how, capsys):
    at = made(tmp_path / "one")
    said = spoil(at, how)
    with pytest.raises(BackupError, match=said):
        verify(at)
    # No cluster is there: it is not asked.
    assert cli.main(["restore", str(at), "--kubeconfig", str(tmp_path / "none")]) == 1
    assert said in capsys.readouterr().err
    assert cli.main(["verify", str(at)]) == 1


def document(**changes):
    item = {**vars(Item("volume", "a", "b", "b.tar.gz", 1, "0" * 64, 2)), "notes": []}
    item |= {key: value for key, value in changes.items() if key in item}
    whole = {"version": 1, "created": "", "server": "", "cluster": "", "images": {}}
    rest = {key: value for key, value in changes.items() if key not in item}
    return json.dumps({**whole, "items": [item], "left_out": [], **rest})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 2}, "of version 2, and this program reads version 1"),
        ({"file": "../../etc/passwd"}, "is not a backup's"),
        ({"file": MANIFEST}, "is not a backup's"),
        ({"sha256": "short"}, "is not a backup's"),
        ({"kind": "unknown"}, "is not a backup's"),
        ({"items": [{}]}, "is not a backup's"),
    ],
)
def test_manifests_that_are_refused(changes, said):
    assert parse(document()).items[0].file == "b.tar.gz"
    with pytest.raises(BackupError, match=said):
        parse(document(**changes))


def test_names_of_files_do_not_meet():
    taken = [file_name("volume", "a-b", "c", [])]
    assert file_name("volume", "a", "b-c", taken) == "volume-a-b-c-2.tar.gz"


def test_a_backup_keeps_its_manifest_as_it_was():
    item = Item("volume", "a", "b", "b.tar.gz", 1, "0" * 64, 2, "", ("note",))
    one = Manifest("then", "https://c", "uid", {"a/b/c": "i:1"}, (item,), (("x", "why"),))
    assert parse(one.to_json()) == one
    assert parse(replace(one, items=()).to_json()).items == ()


# --- the rest ---------------------------------------------------------------------------------


def test_another_release_is_told_by_images_whatever_the_registry():
    images = images_of([deployment("ml-pipeline", {"name": "api", "image": "ghcr.io/kf/api:2.5"})])
    assert images == {"kubeflow/ml-pipeline/api": "ghcr.io/kf/api:2.5"}
    mirrored = {"kubeflow/ml-pipeline/api": "mirror:5000/api:2.5@sha256:00"}
    assert other_images(images, {**mirrored, "kubeflow/new/c": "c:1"}) == []
    assert other_images(images, {"kubeflow/ml-pipeline/api": "ghcr.io/kf/api:2.6"}) == [
        "kubeflow/ml-pipeline/api runs api:2.6, and ran api:2.5"
    ]


def test_secrets_are_read_with_the_passphrase_only():
    file = encrypted(b"secret", "right")
    assert b"secret" not in file
    assert decrypted(file, "right") == b"secret"
    with pytest.raises(BackupError, match="the passphrase is another"):
        decrypted(file, "wrong")
    with pytest.raises(BackupError, match="can't be decrypted"):
        decrypted(file[:-1] + bytes([file[-1] ^ 1]), "right")


def test_a_passphrase_that_is_not_there(tmp_path, capsys):
    at = made(tmp_path / "one")
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for file, said in ((tmp_path / "none", "can't be read"), (empty, "is empty")):
        words = ["restore", str(at), "--kubeconfig", "none", "--passphrase-file", str(file)]
        assert cli.main(words) == 1
        assert said in capsys.readouterr().err


def test_list(tmp_path, capsys):
    made(tmp_path / "one")
    (tmp_path / "no-backup").mkdir()
    assert cli.main(["list", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("\n") == 1
    assert cli.main(["list", str(tmp_path / "nowhere")]) == 0


def test_numbers_for_people():
    assert [human(n) for n in (0, 1000, 1_500_000)] == ["0 B", "1.0 kB", "1.5 MB"]


# --- streams that end early -------------------------------------------------------------------


class Streaming:
    """A cluster whose programs print what they are given, and end with that code."""

    def __init__(self, output, code=0):
        self.output, self.code = output, code

    def database_pod(self, database):
        return "pod"

    def ask(self, where, command):
        return "katib\n"

    @contextmanager
    def volume_pod(self, mount, *, read_only):
        assert read_only
        yield "pod"

    def read(self, where, command, sink):
        for start in range(0, len(self.output), 7):
            sink(self.output[start : start + 7])
        return Ended(self.code, "the last words" if self.code else "")


def test_what_a_program_said_last_leaves_out_the_address_that_kubectl_asked():
    why = "dial tcp: lookup node-1: no such host"
    command = "&command=".join(["x" * 900] * 3)
    said = f'error: Internal error: Post "https://node-1:10250/exec?{command}": {why}\n'
    assert _last(io.BytesIO(said.encode())) == f"error: Internal error: {why}"
    assert _last(io.BytesIO(b"no\ncommand terminated with exit code 1\n")) == "no"
    assert _last(io.BytesIO(b"y" * 5000)) == "y" * 800


def dumped(at, output, code=0):
    with writing(at) as writer:
        one = Database("kubeflow", "Deployment", "mysql", "mysql", {})
        item = create._dump(Streaming(output, code), writer, one, print)
        return item, gzip.decompress(next(at.parent.glob(".*/database*")).read_bytes())


def test_a_dump_without_its_last_line_is_no_dump(tmp_path: Path):
    sql = b"CREATE TABLE t;\n-- Dump completed on 2026-01-01\n"
    item, content = dumped(tmp_path / "whole", sql)
    assert (content, item.holds, item.key) == (sql, len(sql), "database/kubeflow/mysql")
    for name, output, code, said in (
        ("cut", sql[:20], 0, "its end is missing"),
        ("followed", sql + b"more\n", 0, "its end is missing"),
        ("failed", sql, 2, "the last words"),
    ):
        with pytest.raises(BackupError, match=f"is not whole: {said}"):
            dumped(tmp_path / name, output, code)
        assert not (tmp_path / name).exists()


def archived(at, output, code=0):
    with writing(at) as writer:
        return create._archive(Streaming(output, code), writer, Mount("a", "c"), print)


def test_an_archive_without_its_end_is_none(tmp_path: Path):
    archive = gzip.compress(b"content")
    assert archived(tmp_path / "one", archive).notes == ()
    changing = archived(tmp_path / "two", archive, pods.CHANGED)
    assert changing.notes == ("files changed while they were read",)
    for name, output, code in (("a", archive[:-1], 0), ("b", archive + b"x", 0), ("c", archive, 1)):
        with pytest.raises(BackupError, match="a/c could not be read whole"):
            archived(tmp_path / name, output, code)


# --- what speaks against a restore ------------------------------------------------------------


class Absent:
    """A cluster that has the platform's namespace, and of the rest what it is given."""

    server = "https://c"

    def __init__(self, there=(), workloads=(), record=None):
        self.there, self.record = {"/api/v1/namespaces/kubeflow", *there}, record
        self._workloads = workloads
        if record:
            self.there.add("/api/v1/namespaces/kubeflow/configmaps/ml-platform-restore")
        self.client = self

    def exists(self, path):
        return path in self.there

    def request(self, method, path):
        assert method == "GET", "something was touched"
        return {"data": self.record}

    def serves(self, version, kind):
        return "/" not in version

    def workloads(self):
        return list(self._workloads)

    def claims(self):
        return []

    def pods(self, namespace=""):
        return []


def full(at: Path) -> Path:
    """A backup of a database, a volume, a claim and a Notebook."""
    of_mine = cleaned(claim("mine"))
    of_mine["spec"]["storageClassName"] = "fast"
    content = json.dumps({"objects": [of_mine, notebook("n")], "over": []}).encode()
    with writing(at) as writer:
        for kind, namespace, name in (
            ("database", "kubeflow", "mysql"),
            ("volume", "kubeflow", "minio-pvc"),
            ("volume", "alice", "mine"),
        ):
            writer.add(kind, namespace, name, lambda out: (out.write(b"x"), ()), "Deployment")
        writer.add("objects", "", "", lambda out: (out.write(gzip.compress(content)), ()))
        images = {"kubeflow/api/api": "api:2.5"}
        writer.finish(Manifest("2026", "https://c", "uid", images, tuple(writer.items)))
    return at


def problems(at: Path, cluster: Absent, **consent):
    with pytest.raises(BackupError) as refused:
        Restore(cluster, at, verify(at), Consent(**consent), print).run()
    assert "nothing was touched" in str(refused.value)
    return str(refused.value)


def test_all_that_speaks_against_a_restore_is_told_at_once(tmp_path: Path):
    at = full(tmp_path / "one")
    cluster = Absent(workloads=[deployment("api", {"name": "api", "image": "api:2.6"})])
    said = problems(at, cluster)
    assert "kubeflow/api/api runs api:2.6, and ran api:2.5" in said
    assert "objects of Notebook (kubeflow.org/v1): the cluster does not serve that kind" in said
    assert "the claim alice/mine wants the storage class fast, which is not there" in said
    assert "database/kubeflow/mysql: there is no such server of MySQL or MariaDB" in said
    assert "volume/kubeflow/minio-pvc: there is no such claim" in said
    assert "volume/alice/mine" not in said  # its claim comes with the backup
    said = problems(at, cluster, other_release=True)
    assert "ran api:2.5" not in said


def test_a_restore_does_not_take_over_what_another_has_begun(tmp_path: Path):
    at = full(tmp_path / "one")
    record = {"backup": "another", "created": "2025", "items": "{}", "begun": "then"}
    assert "of another backup, of 2025, was not brought to its end" in problems(
        at, Absent(record=record)
    )
    assert "of another backup" not in problems(at, Absent(record=record), overwrite=True)
    own = {**record, "backup": folder.manifest_digest(at)}
    assert "of another backup" not in problems(at, Absent(record=own))


def test_a_cluster_without_the_platform(tmp_path: Path):
    at, nothing = full(tmp_path / "one"), Absent()
    nothing.there.clear()
    with pytest.raises(BackupError, match="no namespace kubeflow at https://c; bring the platform"):
        Restore(nothing, at, verify(at), Consent(), print).run()
