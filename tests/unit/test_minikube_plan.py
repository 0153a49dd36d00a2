"""From settings and what is there to minikube's command lines, and to what may not happen."""

import dataclasses
import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.cluster import minikube_commands as commands
from components.cluster import minikube_plan
from components.cluster.base import ClusterError
from components.cluster.minikube_plan import Made, MinikubeArgs, Node, Observed, Plan, Ran

FOLDER = Path("/state/it's a folder")
ARGS = MinikubeArgs(profile="ml-platform")
MADE = Made("first", "docker", 8, 16384, 60, "v1.34.4", "containerd")
RAN = Ran(run="ran", started="started", nodes=1)


def node(name: str = "ml-platform", **changes: str) -> Node:
    running = Node(name, "Running", "Running", "Running", "Configured")
    return dataclasses.replace(running, **changes)


def worker(index: int) -> Node:
    return node(f"ml-platform-m{index:02}", api_server="Irrelevant", kubeconfig="Irrelevant")


RUNNING = Observed(exists=True, nodes=(node(),), made=MADE, ran=RAN)
STOPPED = dataclasses.replace(
    RUNNING, nodes=(Node("ml-platform", "Stopped", "Stopped", "Stopped", "Stopped"),)
)
NOTHING = Observed(exists=False)


def plan(
    args: MinikubeArgs = ARGS,
    observed: Observed = RUNNING,
    driver: str = "docker",
    *,
    own_kernel: bool = False,
) -> Plan:
    return minikube_plan.plan(args, FOLDER, driver, observed, "new", own_kernel=own_kernel)


def changed(**changes: object) -> MinikubeArgs:
    return dataclasses.replace(ARGS, **changes)


# --- command lines -------------------------------------------------------------------------------


def start(driver: str) -> list[str]:
    return commands.start(
        "ml-platform",
        driver=driver,
        cpus=8,
        memory_mib=16384,
        disk_gib=60,
        kubernetes_version="v1.34.4",
        container_runtime="containerd",
    )


def test_command_lines():
    assert start("docker") == [
        "minikube",
        "start",
        "--profile=ml-platform",
        "--driver=docker",
        "--cpus=8",
        "--memory=16384mb",
        "--disk-size=60gb",
        "--kubernetes-version=v1.34.4",
        "--container-runtime=containerd",
        "--cni=kindnet",
        "--embed-certs",
        "--wait=all",
        "--interactive=false",
    ]
    assert commands.list_profiles() == ["minikube", "profile", "list", "--output=json", "--light"]
    assert commands.status("p") == ["minikube", "status", "--profile=p", "--output=json"]
    assert commands.stop("p") == ["minikube", "stop", "--profile=p", "--keep-context-active"]
    assert commands.delete("p") == ["minikube", "delete", "--profile=p"]
    assert commands.list_nodes("p") == ["minikube", "node", "list", "--profile=p"]
    assert commands.add_node("p") == ["minikube", "node", "add", "--profile=p"]


def test_a_driver_without_machines_gets_no_sizes():
    assert not [w for w in start("none") if w.startswith(("--cpus", "--memory", "--disk-size"))]


def test_every_command_has_a_kubeconfig_of_its_own():
    assert commands.environment(FOLDER)["KUBECONFIG"] == f"{FOLDER}/kubeconfig"
    assert plan().environment["KUBECONFIG"] == f"{FOLDER}/kubeconfig"


# --- nothing to do, and what there is to do ------------------------------------------------------


def test_a_cluster_as_wanted_keeps_all_its_marks():
    assert (plan().identity, plan().run, plan().started) == ("first", "ran", "started")


def test_the_same_is_planned_before_and_after_it_is_done():
    before = plan(observed=NOTHING)
    after = Observed(
        exists=True,
        nodes=(node(),),
        made=dataclasses.replace(MADE, identity=before.identity),
        ran=Ran(before.run, before.started, 1),
    )
    assert plan(observed=after) == before


def test_a_new_cluster():
    new = plan(observed=NOTHING)
    assert (new.identity, new.run, new.started) == ("new", "new", "new")
    assert "minikube start --profile=ml-platform --driver=docker" in new.apply


def test_a_cluster_deleted_by_hand_is_another_one():
    gone = dataclasses.replace(NOTHING, made=MADE, ran=RAN)
    assert plan(observed=gone).identity == "new"


@pytest.mark.parametrize(
    "nodes",
    [
        STOPPED.nodes,
        (node(kubelet="Stopped"),),
        (node(api_server="Paused"),),
        (node(kubeconfig="Misconfigured"),),
        (),
        (node(), worker(2)),
    ],
)
def test_a_cluster_that_does_not_run_as_wanted_is_started_again(nodes: tuple[Node, ...]):
    args = changed(allow_data_loss=True)
    again = plan(args, dataclasses.replace(RUNNING, nodes=nodes))
    assert (again.identity, again.run, again.started) == ("first", "new", "new")


def test_a_run_that_was_killed_before_it_ended_is_done_again():
    assert plan(observed=dataclasses.replace(RUNNING, ran=None)).run == "new"


def test_stopping_keeps_the_kubeconfig():
    stopping = plan(changed(running=False))
    assert (stopping.run, stopping.started) == ("new", "started")
    assert "minikube stop --profile=ml-platform --keep-context-active" in stopping.apply
    assert "minikube start" not in stopping.apply


def test_a_stopped_cluster_stays_stopped():
    assert plan(changed(running=False), STOPPED).run == "ran"
    half = dataclasses.replace(STOPPED, nodes=(*STOPPED.nodes, worker(2)))
    assert plan(changed(running=False), half).run == "new"


def test_more_nodes_do_not_make_another_cluster():
    more = plan(changed(nodes=3))
    assert (more.identity, more.run, more.started) == ("first", "ran", "started")
    assert more.replace_on == plan().replace_on
    assert "-lt 3 ]" in more.apply


def test_a_node_deleted_by_hand_is_added_again():
    ran = dataclasses.replace(RAN, nodes=2)
    assert plan(changed(nodes=2), dataclasses.replace(RUNNING, ran=ran)).run == "new"
    both = dataclasses.replace(RUNNING, ran=ran, nodes=(node(), worker(2)))
    assert plan(changed(nodes=2), both).run == "ran"


def test_a_newer_kubernetes_does_not_make_another_cluster():
    newer = plan(changed(kubernetes_version="v1.35.0"))
    assert newer.identity == "first"
    assert newer.replace_on == plan().replace_on
    assert "--kubernetes-version=v1.35.0" in newer.apply


def test_versions_are_compared_by_number():
    made = dataclasses.replace(MADE, kubernetes_version="v1.9.10")
    observed = dataclasses.replace(RUNNING, made=made)
    assert plan(changed(kubernetes_version="v1.10.0"), observed).identity == "first"
    assert plan(changed(kubernetes_version="1.9.10"), observed).identity == "first"


def test_limits_are_raised_in_nodes_with_a_kernel_of_their_own():
    limits = "sysctl -w fs.inotify.max_user_instances=2280 fs.inotify.max_user_watches=1255360"
    assert limits in plan(own_kernel=True).apply
    assert "sysctl" not in plan(own_kernel=False).apply


# --- what loses data -----------------------------------------------------------------------------

LOSSY = {
    "cpus": ("minikubeCpus: the cluster has 8, the settings say 4", 4),
    "memory_mib": ("minikubeMemory: the cluster has 16384, the settings say 8192", 8192),
    "disk_gib": ("minikubeDisk: the cluster has 60, the settings say 80", 80),
    "kubernetes_version": (
        "minikubeKubernetesVersion: the cluster has v1.34.4, the settings say v1.33.9",
        "v1.33.9",
    ),
    "container_runtime": (
        "minikubeContainerRuntime: the cluster has containerd, the settings say docker",
        "docker",
    ),
}


@pytest.mark.parametrize("setting", LOSSY)
def test_what_needs_a_new_cluster_is_refused(setting: str):
    message, value = LOSSY[setting]
    with pytest.raises(ClusterError) as error:
        plan(changed(**{setting: value}))
    assert message in str(error.value)
    assert "deletes the cluster and all its data" in str(error.value)
    assert "pulumi config set minikubeAllowDataLoss true" in str(error.value)


@pytest.mark.parametrize("setting", LOSSY)
def test_what_needs_a_new_cluster_makes_one_if_that_is_allowed(setting: str):
    _, value = LOSSY[setting]
    new = plan(changed(**{setting: value, "allow_data_loss": True}))
    assert (new.identity, new.started) == ("new", "new")
    assert new.replace_on != plan().replace_on


def test_another_driver_is_another_cluster():
    with pytest.raises(ClusterError, match="minikubeDriver: the cluster has docker"):
        plan(driver="kvm2")
    assert plan(changed(allow_data_loss=True), driver="kvm2").identity == "new"


def test_every_change_that_loses_data_is_told_at_once():
    with pytest.raises(ClusterError) as error:
        plan(changed(memory_mib=1, cpus=1))
    assert "minikubeMemory" in str(error.value)
    assert "minikubeCpus" in str(error.value)


def test_fewer_nodes_lose_what_is_on_them():
    observed = dataclasses.replace(RUNNING, nodes=(node(), worker(2), worker(3)))
    with pytest.raises(ClusterError, match="loses what is on the last nodes"):
        plan(observed=observed)
    fewer = plan(changed(allow_data_loss=True), observed)
    assert fewer.identity == "first"
    assert "minikube node delete" in fewer.apply
    # Stopping takes no node away.
    plan(changed(running=False), observed)


def test_a_cluster_that_is_not_ours_is_left_alone():
    with pytest.raises(ClusterError) as error:
        plan(observed=dataclasses.replace(RUNNING, made=None), args=changed(allow_data_loss=True))
    assert "minikubeProfile is 'ml-platform'" in str(error.value)
    assert "pulumi config set minikubeProfile NAME" in str(error.value)


@pytest.mark.parametrize(
    ("args", "observed"),
    [
        (changed(running=False), NOTHING),
        (changed(running=False, memory_mib=1, allow_data_loss=True), STOPPED),
    ],
)
def test_what_is_yet_to_be_created_can_not_be_stopped(args: MinikubeArgs, observed: Observed):
    with pytest.raises(ClusterError, match="pulumi config set minikubeRunning true"):
        plan(args, observed)


@given(
    allowed=st.booleans(),
    running=st.booleans(),
    sizes=st.tuples(st.sampled_from([8, 4]), st.sampled_from([16384, 1]), st.sampled_from([60, 9])),
    version=st.sampled_from(["v1.33.0", "v1.34.4", "v1.35.0"]),
    wanted=st.integers(1, 3),
    there=st.integers(0, 3),
)
def test_data_is_never_lost_unless_that_is_allowed(
    allowed: bool, running: bool, sizes: tuple[int, ...], version: str, wanted: int, there: int
):
    observed = dataclasses.replace(RUNNING, nodes=[worker(i) for i in range(there)])
    args = changed(
        **dict(zip(("cpus", "memory_mib", "disk_gib"), sizes, strict=True)),
        kubernetes_version=version,
        nodes=wanted,
        running=running,
        allow_data_loss=allowed,
    )
    whole = sizes != (8, 16384, 60) or version == "v1.33.0"
    try:
        made = plan(args, observed)
    except ClusterError:
        assert (not allowed and (whole or (running and wanted < there))) or (whole and not running)
        return
    assert (made.identity == "new") == whole
    assert allowed or not whole
    assert allowed or not running or wanted >= there


def test_auto_stays_with_the_driver_that_a_cluster_was_made_with():
    made = dataclasses.replace(MADE, driver="kvm2")
    observed = dataclasses.replace(RUNNING, made=made)
    assert minikube_plan.driver_of(ARGS, observed) == "kvm2"
    assert minikube_plan.driver_of(changed(driver="docker"), observed) == "docker"
    assert minikube_plan.driver_of(ARGS, NOTHING) == "auto"
    assert minikube_plan.driver_of(ARGS, dataclasses.replace(observed, exists=False)) == "auto"


# --- what minikube says --------------------------------------------------------------------------


# What minikube says in passing while it is asked for JSON.
EVENT = json.dumps({"type": "io.k8s.sigs.minikube.info", "data": {"message": "a newer one"}})


def test_profiles():
    text = json.dumps({"invalid": [{"Name": "broken"}], "valid": [{"Name": "a"}, {"Name": "b"}]})
    assert minikube_plan.parse_profiles(text) == {"a", "b"}
    assert minikube_plan.parse_profiles(f"* A notice\n{EVENT}\n{text}\n{EVENT}") == {"a", "b"}
    for other in ("", "no JSON at all", EVENT, "3", "null"):
        with pytest.raises(ValueError, match="did not give the JSON"):
            minikube_plan.parse_profiles(other)


def test_status_of_one_node_and_of_several():
    entry = {
        "Name": "ml-platform",
        "Host": "Running",
        "Kubelet": "Running",
        "APIServer": "Running",
        "Kubeconfig": "Configured",
        "Worker": False,
    }
    assert minikube_plan.parse_status(json.dumps(entry)) == (node(),)
    assert minikube_plan.parse_status(json.dumps([entry, entry])) == (node(), node())
    assert minikube_plan.parse_status(f"{EVENT}\n{json.dumps(entry)}") == (node(),)
    assert minikube_plan.parse_status("null") == ()
    for other in ("", "Profile not found", f"{EVENT}\n{EVENT}", "1"):
        with pytest.raises(ValueError, match="did not give the JSON"):
            minikube_plan.parse_status(other)


def test_files_that_are_not_understood_count_as_missing():
    assert minikube_plan.parse_made(json.dumps(vars(MADE))) == MADE
    assert minikube_plan.parse_ran(json.dumps(vars(RAN))) == RAN
    for text in ("", "{", "[]", '{"other": 1}'):
        assert minikube_plan.parse_made(text) is None
        assert minikube_plan.parse_ran(text) is None


# --- the scripts, run by a shell -----------------------------------------------------------------


@pytest.fixture
def shell(tmp_path: Path):
    """Run a script with a minikube that writes down what it is asked and lists given nodes."""
    tools = tmp_path / "bin"
    tools.mkdir()
    fake = tools / "minikube"
    fake.write_text(
        "#!/bin/sh\n"
        f'echo "$*" >> {tmp_path}/asked\n'
        f'[ "$1" != start ] || exit "${{START:-0}}"\n'
        'case "$1 $2" in "node list") printf "$LISTED" ;; esac\n'
    )
    fake.chmod(0o755)

    def run(script: str, listed: str = "p\\t10.0.0.1\\n", **variables: str):
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            env={"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "LISTED": listed, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        asked = (
            (tmp_path / "asked").read_text().splitlines() if (tmp_path / "asked").exists() else []
        )
        (tmp_path / "asked").unlink(missing_ok=True)
        return done, asked

    return run


def script(folder: Path, nodes: int = 1, *, raise_limits: bool = False) -> str:
    return commands.start_script(
        "p",
        folder,
        ["minikube", "start", "--profile=p"],
        nodes=nodes,
        raise_limits=raise_limits,
        before=vars(MADE),
        after=vars(RAN),
    )


def test_the_folder_is_private_and_says_what_was_made(shell, tmp_path: Path):
    folder = tmp_path / "it's new" / "p"
    done, asked = shell(script(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert asked == ["start --profile=p", "node list --profile=p"]
    assert minikube_plan.parse_made((folder / "cluster.json").read_text()) == MADE
    assert minikube_plan.parse_ran((folder / "run.json").read_text()) == RAN
    assert sorted(file.name for file in folder.iterdir()) == ["cluster.json", "run.json"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_a_start_that_fails_is_known_to_be_ours_but_not_done(shell, tmp_path: Path):
    done, asked = shell(script(tmp_path / "p", nodes=3), START="80")
    assert done.returncode == 1
    assert "minikube delete --profile=p" in done.stderr
    assert asked == ["start --profile=p"]
    assert (tmp_path / "p" / "cluster.json").exists()
    assert not (tmp_path / "p" / "run.json").exists()


def test_missing_nodes_are_added(shell, tmp_path: Path):
    _, asked = shell(script(tmp_path / "p", nodes=3), listed="* notice\\np\\t1\\np-m02\\t2\\n")
    assert asked[2:] == ["node add --profile=p"]


def test_the_last_nodes_are_deleted_first(shell, tmp_path: Path):
    listed = "p\\t1\\np-m02\\t2\\np-m03\\t3\\nother-m04\\t4\\n"
    _, asked = shell(script(tmp_path / "p"), listed=listed)
    assert asked[2:] == ["node delete p-m03 --profile=p", "node delete p-m02 --profile=p"]


def test_a_list_of_nodes_that_is_not_understood_changes_nothing(shell, tmp_path: Path):
    done, asked = shell(script(tmp_path / "p", nodes=3), listed="something else\\n")
    assert done.returncode == 1
    assert "minikube lists no node of p: something else" in done.stderr
    assert asked[2:] == []


def test_limits_are_raised_in_every_node(shell, tmp_path: Path):
    listed = "p\\t1\\np-m02\\t2\\n"
    _, asked = shell(script(tmp_path / "p", nodes=2, raise_limits=True), listed=listed)
    limits = "sudo sysctl -w fs.inotify.max_user_instances=2280 fs.inotify.max_user_watches=1255360"
    assert asked[-2:] == [
        f"ssh --profile=p --node=p -- {limits}",
        f"ssh --profile=p --node=p-m02 -- {limits}",
    ]


def test_stopping_and_deleting(shell, tmp_path: Path):
    folder = tmp_path / "p"
    _, asked = shell(commands.stop_script("p", folder, vars(RAN)))
    assert asked == ["stop --profile=p --keep-context-active"]
    assert (folder / "run.json").exists()
    (folder / "kubeconfig").write_text("secret")
    _, asked = shell(commands.delete_script("p", folder, "first"))
    assert asked == ["delete --profile=p"]
    assert not folder.exists()
    done, _ = shell(commands.delete_script("p", folder, "first"))
    assert done.returncode == 0


def test_a_cluster_takes_the_place_of_another_and_is_not_deleted_in_its_stead(shell, tmp_path):
    folder = tmp_path / "p"
    shell(script(folder))
    second = commands.start_script(
        "p",
        folder,
        ["minikube", "start", "--profile=p"],
        nodes=1,
        raise_limits=False,
        before=vars(dataclasses.replace(MADE, identity="second")),
        after=vars(RAN),
    )
    _, asked = shell(second, START="80")
    assert asked == ["delete --profile=p", "start --profile=p"]
    assert not (folder / "run.json").exists()
    _, asked = shell(second)
    assert asked == ["start --profile=p", "node list --profile=p"]
    _, asked = shell(commands.delete_script("p", folder, "first"))
    assert asked == []
    _, asked = shell(commands.delete_script("p", folder, "second"))
    assert asked == ["delete --profile=p"]


def test_the_kubeconfig_alone_is_printed(shell, tmp_path: Path):
    (tmp_path / "kubeconfig").write_text("contents\n")
    done, asked = shell(commands.show_kubeconfig(tmp_path))
    assert (done.stdout, asked) == ("contents\n", [])
