import math
import os
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import psutil
import pytest

from benchmarks import chart, cli, command, complete, copies, figures, growth, processes, writes
from benchmarks.command import BenchmarkError
from benchmarks.figures import Series
from benchmarks.writes import Written
from components.kubeflow.catalog import read
from components.kubeflow.objects import Kinds, Ref
from components.kubeflow.plan import plan
from components.kubeflow.source import SourceSpec, resolve

# --- figures ---------------------------------------------------------------------------------


def test_a_ratio_is_taken_round_by_round():
    quiet_then_busy = Series((10.0, 30.0, 10.0))
    base = Series((20.0, 60.0, 20.0))
    assert quiet_then_busy.over(base) == Series((0.5, 0.5, 0.5))
    assert figures.seconds(quiet_then_busy) == "10.0 s (10.0 to 30.0)"


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_law(power):
    sizes = [150, 300, 611, 1222]
    assert math.isclose(figures.exponent(sizes, [3.0 * n**power for n in sizes]), power)


def test_a_table_is_aligned_markdown():
    assert figures.table(["a", "long"], [["xyz", "1"]]).splitlines() == [
        "| a   | long |",
        "| --- | ---- |",
        "| xyz | 1    |",
    ]


def test_growth_is_judged_by_its_steepest_step():
    assert "1.00 x linear: no worse" in growth.verdict([(100, 1.0), (200, 1.5), (400, 3.0)])
    assert "from 200 to 400 objects, is 2.00 x linear: WORSE" in growth.verdict(
        [(100, 1.0), (200, 1.0), (400, 4.0), (800, 4.0)]
    )


def test_a_chart_places_points_between_its_axes():
    drawn = chart.svg({"up <1>": [(0, 0), (1000, 10)]}, {"linear": [(0, 0), (500, 5)]}, "n", "s")
    root = ET.fromstring(drawn)
    circles = [
        (float(c.get("cx", "")), float(c.get("cy", "")))
        for c in root.iter("{http://www.w3.org/2000/svg}circle")
    ]
    assert circles == [(60.0, 350.0), (620.0, 20.0)]
    assert "up <1>" in [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]


# --- platforms of other sizes ----------------------------------------------------------------


def named(kind: str, name: str, namespace: str = "", version: str = "v1", **more) -> dict:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


def definition(number: int) -> dict:
    spec = {
        "group": f"g{number}.example.com",
        "names": {"kind": "Thing", "plural": "things"},
        "scope": "Namespaced",
        "versions": [{"name": "v1", "served": True, "storage": True}],
    }
    version = "apiextensions.k8s.io/v1"
    return named(
        "CustomResourceDefinition", f"things.g{number}.example.com", version=version, spec=spec
    )


def maps(prefix: str, count: int) -> list[dict]:
    return [named("ConfigMap", f"{prefix}-{i}", "one") for i in range(count)]


def test_a_smaller_platform_is_whole_components_with_what_they_need():
    parts = {"base": maps("b", 5), "app": maps("a", 10), "big": maps("c", 80)}
    assert copies.chosen(parts, {"app": ["base"]}, 12) == ("base", "app")


def test_a_smaller_platform_has_its_share_of_definitions():
    light, heavy = maps("l", 10), [definition(i) for i in range(10)]
    mixed = [*maps("m", 5), *(definition(10 + i) for i in range(5))]
    parts = {"light": light, "heavy": heavy, "mixed": mixed}
    assert copies.chosen(parts, {}, 10) == ("mixed",)


@pytest.fixture
def platform() -> dict[str, list[dict]]:
    binding = named(
        "RoleBinding",
        "b",
        "one",
        "rbac.authorization.k8s.io/v1",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
        subjects=[
            {"kind": "ServiceAccount", "name": "sa", "namespace": "one"},
            {"kind": "Group", "name": "g"},
        ],
    )
    namespace = named("Namespace", "one")
    namespace["metadata"]["labels"] = {"istio-injection": "enabled"}
    role = named("ClusterRole", "r", version="rbac.authorization.k8s.io/v1", rules=[])
    account = named("ServiceAccount", "sa", "one")
    elsewhere = named("ConfigMap", "settings", "kube-system")
    return {"app": [binding, namespace, definition(1), role, account, elsewhere]}


def test_a_larger_platform_copies_what_lives_in_a_namespace(platform):
    # Three live in a namespace, of which there are two: five a copy.
    parts = copies.resized(platform, {}, 6 + 2 * 5)
    assert {name: len(bodies) for name, bodies in parts.items()} == {
        "app": 6,
        "copy-1": 5,
        "copy-2": 5,
    }
    kinds = Kinds(body for bodies in parts.values() for body in bodies)
    found = {str(kinds.ref(body)): body for body in parts["copy-2"]}
    assert set(found) == {
        "Namespace/one-copy-2",
        "Namespace/kube-system-copy-2",
        "ServiceAccount/one-copy-2/sa",
        "RoleBinding/one-copy-2/b",
        "ConfigMap/kube-system-copy-2/settings",
    }
    assert found["Namespace/one-copy-2"]["metadata"]["labels"] == {"istio-injection": "enabled"}
    assert found["RoleBinding/one-copy-2/b"]["subjects"] == [
        {"kind": "ServiceAccount", "name": "sa", "namespace": "one-copy-2"},
        {"kind": "Group", "name": "g"},
    ]
    assert platform["app"][0]["subjects"][0]["namespace"] == "one"


@pytest.mark.parametrize("more", range(1, 6))
def test_a_cut_copy_lacks_nothing_that_it_needs(platform, more):
    parts = copies.resized(platform, {}, 6 + more)
    bodies = [body for part in parts.values() for body in part]
    assert len(bodies) == 6 + more
    there = {body["metadata"]["name"] for body in bodies if body["kind"] == "Namespace"}
    assert {b["metadata"].get("namespace") for b in bodies} - there <= {None, "kube-system"}
    accounts = {b["metadata"]["namespace"] for b in bodies if b["kind"] == "ServiceAccount"}
    bound = {b["subjects"][0]["namespace"] for b in bodies if b["kind"] == "RoleBinding"}
    assert bound <= accounts
    plan(bodies)


def test_nothing_is_copied_endlessly_where_nothing_lives_in_a_namespace():
    with pytest.raises(ValueError, match="no object lives in a namespace"):
        copies.resized({"app": [definition(1)]}, {}, 2)


def test_written_manifests_are_a_source_of_the_same_parts(platform, tmp_path):
    copies.write(copies.resized(platform, {}, 11), tmp_path / "made")
    found = resolve(SourceSpec(tmp_path / "made"), tmp_path, tmp_path / "lock")
    catalog = read(found.root)
    assert list(catalog.components) == ["app", "copy-1"]
    assert catalog.separable


# --- when a deployment is done -----------------------------------------------------------------


def workload(observed: int, updated: int, there: int) -> dict:
    return {
        "metadata": {"generation": 2, "namespace": "one", "name": "d"},
        "spec": {"replicas": 2},
        "status": {
            "observedGeneration": observed,
            "updatedReplicas": updated,
            "availableReplicas": there,
        },
    }


@pytest.mark.parametrize(
    ("body", "done"),
    [
        (workload(2, 2, 2), True),
        (workload(1, 2, 2), False),
        (workload(2, 1, 2), False),
        (workload(2, 2, 1), False),
        ({**workload(2, 2, 2), "status": {}}, False),
    ],
)
def test_a_deployment_is_done_with_all_pods_of_its_latest_version(body, done):
    assert complete.available("Deployment", body) is done


def test_a_daemonset_is_done_on_all_nodes():
    status = {
        "observedGeneration": 1,
        "desiredNumberScheduled": 3,
        "updatedNumberScheduled": 3,
        "numberAvailable": 2,
    }
    body = {"metadata": {"generation": 1}, "status": status}
    assert not complete.available("DaemonSet", body)
    status["numberAvailable"] = 3
    assert complete.available("DaemonSet", body)


def test_objects_are_expected_where_the_api_server_lists_them(platform):
    wanted = complete.expected([*platform["app"], named("Thing", "t", "one", "g1.example.com/v1")])
    assert wanted.count == 7
    assert wanted.collections["/apis/g1.example.com/v1/things"] == {
        Ref("Thing", "g1.example.com", "one", "t")
    }
    assert "/api/v1/serviceaccounts" in wanted.collections


# --- commands and processes --------------------------------------------------------------------


def run(script: str, tmp_path: Path, limit: float = 30.0) -> command.Done:
    return command.run(
        ["/bin/sh", "-c", script],
        environment=dict(os.environ),
        folder=tmp_path,
        log=tmp_path / "log",
        limit=limit,
    )


def test_a_command_is_timed_to_its_end(tmp_path):
    began = time.monotonic()
    done = run(f"{sys.executable} -c 'sum(range(3_000_000))'", tmp_path)
    assert done.finished
    assert 0 < done.seconds <= time.monotonic() - began
    assert done.cpu > 0.01


def test_a_failing_command_is_an_error_with_its_output(tmp_path):
    with pytest.raises(BenchmarkError, match=r"code 3:\n  what went wrong"):
        run("echo what went wrong; exit 3", tmp_path)


def test_what_takes_too_long_is_ended_with_its_children(tmp_path):
    # The child survives the shell's end and ignores SIGTERM.
    child = "(trap '' TERM; exec sleep 600) & echo $! > pid; wait"
    done = run(child, tmp_path, limit=0.5)
    assert not done.finished
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(
    ("line", "name", "root", "kind"),
    [
        ("/x/python -m sandbox up", "python3.11", True, processes.PROGRAM),
        ("/bin/bash -c loop", "bash", True, processes.OTHER),
        ("pulumi up --yes", "pulumi", False, processes.ENGINE),
        ("/bin/sh /x/pulumi-resource-kubernetes 127.0.0.1:1", "sh", False, processes.KUBERNETES),
        ("/x/python -m sandbox.provider.plugin 1", "python", False, processes.KUBERNETES),
        ("/x/python -m provider.mlplatform 1", "python", False, processes.OWN),
        ("kustomize build example", "kustomize", False, "kustomize"),
    ],
)
def test_processes_are_told_apart(line, name, root, kind):
    assert processes.classify(line.split(), name, root=root) == kind


# --- bytes written -----------------------------------------------------------------------------


def replace(path: Path, size: int) -> None:
    # A name of its own each time, as the engine's file back end does.
    temporary = path.with_suffix(f".{time.monotonic_ns()}.tmp")
    temporary.write_bytes(b"x" * size)
    temporary.replace(path)


def test_every_file_that_replaces_another_counts(tmp_path):
    (tmp_path / "old").mkdir()
    replace(tmp_path / "old" / "state", 7)
    written = Written()
    with writes.counted(tmp_path, written):
        for size in range(1000, 1100):
            replace(tmp_path / "old" / "state", size)
        nested = tmp_path / "new" / "deeper"
        nested.mkdir(parents=True)
        replace(nested / "state", 10_000)
    replace(tmp_path / "old" / "state", 5_000)
    assert written.files + written.unmeasured == 101
    # A replaced file that was gone at once is measured by its successor.
    assert written.bytes == pytest.approx(sum(range(1000, 1100)) + 10_000, rel=0.02)


def test_a_file_that_is_found_under_both_of_its_names_counts_once(tmp_path):
    new = tmp_path / "new"
    written = Written()
    counter = writes._Counter(tmp_path, written)
    new.mkdir()
    (new / "state").write_bytes(b"x" * 10)  # before anybody looks into the folder
    counter._appeared(new)
    with (new / "state.tmp").open("wb") as file:
        file.write(b"x" * 200)
        counter._appeared(new)
    (new / "state.tmp").replace(new / "state")
    (new / "state").rename(new / "kept")
    counter._appeared(new)
    counter.start()
    counter.stop()
    assert written == Written(files=2, bytes=210)


def test_the_state_is_its_newest_checkpoint(tmp_path):
    stacks = tmp_path / ".pulumi" / "stacks" / "project"
    stacks.mkdir(parents=True)
    for name, size in (("s.json.gz", 100), ("s.json.gz.bak", 90), ("s.json.gz.attrs", 5)):
        (stacks / name).write_bytes(b"x" * size)
    assert writes.state(tmp_path) == 100


# --- command line --------------------------------------------------------------------------------


def test_a_source_that_is_none_is_one_clear_error(tmp_path, capsys):
    assert cli.main(["up", "--source", str(tmp_path / "nowhere")]) == 1
    assert "nowhere, which has no example" in capsys.readouterr().err


def test_no_rounds_are_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(["up", "--runs", "0"])
    assert "0 is less than 1" in capsys.readouterr().err
