"""Every kind of cluster, as resources: what is secret, what depends on what, what is replaced."""

import base64
import json
import os
import subprocess
from pathlib import Path

import pulumi
import pytest
import yaml

from components.cluster.base import Cluster, ClusterError
from components.cluster.existing import Existing, ExistingArgs
from components.cluster.minikube import Minikube
from components.cluster.preflight import PreflightError
from components.cluster.sandbox import Sandbox, SandboxArgs
from sandbox import parts, pki
from sandbox.daemon import ProcessId
from sandbox.state import State
from tests.support.minikube_world import PROFILE, USERS_OWN, World, arguments

COMMAND = "command:local:Command"
KUBERNETES, PLATFORM = "pulumi:providers:kubernetes", "pulumi:providers:mlplatform"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def minikube(**changes: object) -> Minikube:
    return Minikube("cluster", arguments(**changes))


def carry_out(world: World, script: str) -> None:
    """Do what the plugin would do with a command."""
    subprocess.run(
        ["/bin/sh", "-c", script],
        env={**os.environ, "KUBECONFIG": str(world.folder / "kubeconfig")},
        check=True,
        capture_output=True,
    )


def machine_of(ran):
    return ran.of(COMMAND, "cluster-machine")


# --- minikube ------------------------------------------------------------------------------------


def test_a_program_that_is_only_previewed_asks_minikube_nothing_but_questions(world, run_program):
    ran = run_program(minikube, preview=True)
    assert world.calls() == []
    assert world.cluster() is None
    assert not world.folder.exists()
    assert "minikube start" in machine_of(ran).inputs["create"]


def test_the_kubeconfig_is_a_secret_that_reaches_both_providers(world, run_program):
    ran = run_program(lambda: minikube().kubeconfig)
    assert ran.returned == ("stdout of cluster-kubeconfig", True)
    command = ran.of(COMMAND, "cluster-kubeconfig")
    assert list(command.request.additionalSecretOutputs) == ["stdout"]
    assert command.inputs["logging"] == "none"
    assert command.inputs["addPreviousOutputInEnv"] is False
    for provider in (ran.of(KUBERNETES), ran.of(PLATFORM)):
        kubeconfig = provider.inputs["kubeconfig"]
        assert pulumi.runtime.rpc.is_rpc_secret(kubeconfig)
        assert kubeconfig["value"] == "stdout of cluster-kubeconfig"
        assert list(provider.request.propertyDependencies["kubeconfig"].urns) == [
            urn for urn in provider.request.dependencies if urn.endswith("::cluster-kubeconfig")
        ]


def test_the_kubeconfig_is_read_once_the_machine_runs(world, run_program):
    ran = run_program(minikube)
    (needed,) = ran.of(COMMAND, "cluster-kubeconfig").request.dependencies
    assert needed.endswith("::cluster-machine")


def test_the_kubernetes_provider_adopts_what_is_there(world, run_program):
    provider = run_program(minikube).of(KUBERNETES)
    assert provider.inputs["upsertExistingObjects"] in (True, "true")
    assert provider.inputs["clusterIdentifier"].startswith(f"minikube/{PROFILE}/")


def test_all_is_below_the_component(world, run_program):
    ran = run_program(minikube)
    (component,) = [r for r in ran.registered if r.type == "mlplatform:cluster:Minikube"]
    assert component.name == "cluster"
    others = [r for r in ran.registered if r is not component]
    assert len(others) == 4
    assert {r.urn_of_parent.rpartition("::")[2] for r in others} == {"cluster"}


def test_nothing_writes_the_users_kubeconfig(world, run_program):
    ran = run_program(minikube)
    commands = [r.inputs for r in ran.registered if r.type == COMMAND]
    scripts = [c[verb] for verb in ("create", "delete") for c in commands if verb in c]
    assert len(scripts) == 3
    for script in scripts:
        assert ".kube/config" not in script
        carry_out(world, script)
    assert world.calls()[-1] == ["delete", f"--profile={PROFILE}"]
    assert machine_of(ran).inputs["environment"]["KUBECONFIG"] == str(world.folder / "kubeconfig")
    assert world.users_kubeconfig.read_text() == USERS_OWN


def test_a_change_inside_the_triggers_replaces_the_machine_in_one_go(world, run_program):
    request = machine_of(run_program(minikube)).request
    assert list(request.replaceOnChanges) == ["triggers[*]"]
    # Deleted before, what is on it would be deleted first, object by object.
    assert (request.deleteBeforeReplaceDefined, request.deleteBeforeReplace) == (True, False)


def test_other_memory_needs_leave_and_then_replaces(world, run_program):
    before = machine_of(run_program(minikube))
    carry_out(world, before.inputs["create"])
    with pytest.raises(ClusterError, match="minikubeMemory: the cluster has 4096"):
        run_program(lambda: minikube(memory_mib=8192))
    ran = run_program(lambda: minikube(memory_mib=8192, allow_data_loss=True))
    old, new = before.inputs["triggers"][0], machine_of(ran).inputs["triggers"][0]
    assert (old["memory_mib"], new["memory_mib"]) == (4096, 8192)
    assert ran.of(KUBERNETES).inputs["clusterIdentifier"].endswith(new["identity"])
    assert old["identity"] != new["identity"]


def test_other_nodes_replace_nothing_and_leave_the_kubeconfig_known(world, run_program):
    before = run_program(minikube)
    carry_out(world, machine_of(before).inputs["create"])
    after = run_program(lambda: minikube(nodes=2), preview=True)
    assert machine_of(after).inputs["create"] != machine_of(before).inputs["create"]
    assert machine_of(after).inputs["triggers"] == machine_of(before).inputs["triggers"]
    for type_ in (KUBERNETES, PLATFORM):
        assert after.of(type_).inputs == before.of(type_).inputs


def test_an_unchanged_program_registers_the_same_again(world, run_program):
    before = run_program(minikube)
    carry_out(world, machine_of(before).inputs["create"])
    after = run_program(minikube)
    assert [(r.name, r.inputs) for r in after.registered] == [
        (r.name, r.inputs) for r in before.registered
    ]


def test_what_is_on_the_cluster_goes_with_the_machine(world, run_program):
    seen = []

    def program() -> None:
        seen.append(minikube().deleted_with)

    run_program(program)
    assert seen[0]._name == "cluster-machine"


def test_the_architecture_is_that_of_the_nodes(world, run_program):
    seen = []
    run_program(lambda: seen.append(minikube().capabilities))
    world.docker(Architecture="x86_64")
    run_program(lambda: seen.append(minikube().capabilities))
    assert [found.architecture for found in seen] == ["arm64", "amd64"]
    assert not seen[0].load_balancer


def test_an_unfit_machine_is_told_before_anything_is_registered(world, run_program):
    world.docker(MemTotal=2 << 30, NCPU=1)
    world.control("fail-at", "start")
    with pytest.raises(PreflightError) as error:
        run_program(minikube)
    assert [problem.what for problem in error.value.problems] == [
        "memory of Docker Desktop",
        "CPUs of Docker Desktop",
    ]
    assert world.calls() == []


def test_a_cluster_that_is_there_needs_no_free_disk(world, run_program):
    before = run_program(minikube)
    with pytest.raises(PreflightError, match="disk"):
        run_program(lambda: minikube(disk_gib=1 << 20))
    carry_out(
        world, machine_of(before).inputs["create"].replace('"disk_gib": 1', '"disk_gib": 99999')
    )
    run_program(lambda: minikube(disk_gib=99999))


def test_somebody_elses_cluster_is_not_taken(world, run_program):
    carry_out(world, machine_of(run_program(minikube)).inputs["create"])
    (world.folder / "cluster.json").unlink()
    with pytest.raises(ClusterError, match="not made here"):
        run_program(minikube)


def test_a_machine_without_minikube(world, run_program, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(PreflightError) as error:
        run_program(minikube)
    assert error.value.problems[0].what == "minikube"


def test_a_minikube_that_gives_no_list(world, run_program, tmp_path, monkeypatch):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "minikube").write_text("#!/bin/sh\necho 'no home' >&2; exit 30\n")
    (tmp_path / "broken" / "minikube").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'broken'}:/usr/bin:/bin")
    with pytest.raises(ClusterError, match=r"doesn't tell its clusters \(no home\)"):
        run_program(minikube)


# --- existing ------------------------------------------------------------------------------------


def entry(name: str, kind: str, **values: object) -> dict[str, object]:
    return {"name": name, kind: values}


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    (folder / "pki").mkdir(parents=True)
    for name in ("ca", "cert", "key", "token"):
        (folder / "pki" / name).write_text(f"contents of {name}\n")
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "clusters": [
            entry(
                "c1", "cluster", server="https://one:6443", **{"certificate-authority": "pki/ca"}
            ),
            entry("c2", "cluster", server="https://two:6443"),
        ],
        "users": [
            entry("u1", "user", **{"client-certificate": "pki/cert", "client-key": "pki/key"}),
            entry("u2", "user", tokenFile="pki/token"),
            entry("u3", "user", exec={"command": "./login", "args": ["x"]}),
        ],
        "contexts": [
            entry("one", "context", cluster="c1", user="u1", namespace="mine"),
            entry("two", "context", cluster="c2", user="u2"),
            entry("three", "context", cluster="c2", user="u3"),
            entry("lost", "context", cluster="c9", user="u1"),
        ],
    }
    (folder / "config").write_text(yaml.safe_dump(content))
    return folder / "config"


def existing(path: Path, context: str = "") -> Cluster:
    return Existing("cluster", ExistingArgs(path, context))


def test_an_existing_cluster_gives_one_context_with_all_it_needs(kubeconfig, run_program):
    ran = run_program(lambda: existing(kubeconfig).kubeconfig)
    text, secret = ran.returned
    assert secret
    found = json.loads(text)
    assert found["current-context"] == "one"
    assert [len(found[part]) for part in ("contexts", "clusters", "users")] == [1, 1, 1]
    assert found["contexts"][0]["context"]["namespace"] == "mine"
    cluster, user = found["clusters"][0]["cluster"], found["users"][0]["user"]
    decoded = {key: base64.b64decode(value) for key, value in user.items()}
    assert base64.b64decode(cluster["certificate-authority-data"]) == b"contents of ca\n"
    assert decoded == {
        "client-certificate-data": b"contents of cert\n",
        "client-key-data": b"contents of key\n",
    }
    assert "pki/" not in text
    assert [r.type for r in ran.registered] == [
        "mlplatform:cluster:Existing",
        KUBERNETES,
        PLATFORM,
    ]
    assert ran.of(KUBERNETES).inputs["clusterIdentifier"] == "existing/https://one:6443"


def test_another_context_is_another_cluster(kubeconfig, run_program):
    ran = run_program(lambda: existing(kubeconfig, "two").kubeconfig)
    found = json.loads(ran.returned[0])
    assert found["users"][0]["user"] == {"token": "contents of token"}
    assert ran.of(KUBERNETES).inputs["clusterIdentifier"] == "existing/https://two:6443"


def test_a_login_command_is_found_from_anywhere(kubeconfig, run_program):
    found = json.loads(run_program(lambda: existing(kubeconfig, "three").kubeconfig).returned[0])
    login = found["users"][0]["user"]["exec"]
    assert login == {"command": str(kubeconfig.parent / "login"), "args": ["x"]}


def test_the_kubeconfig_is_not_written(kubeconfig, run_program):
    before = kubeconfig.read_bytes()
    run_program(lambda: existing(kubeconfig, "two"))
    assert kubeconfig.read_bytes() == before


def test_the_default_is_kubectls(kubeconfig, run_program, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    kubeconfig.parent.rename(tmp_path / ".kube")
    ran = run_program(lambda: Existing("cluster", ExistingArgs(context="two")))
    assert ran.of(KUBERNETES).inputs["clusterIdentifier"] == "existing/https://two:6443"


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ("nine", r"kubeContext is 'nine', which is no context of .*: lost, one, three, two"),
        ("lost", r"the context 'lost' names the cluster 'c9', which is not in it"),
    ],
)
def test_a_context_that_can_not_be_used(kubeconfig, run_program, context, message):
    with pytest.raises(ClusterError, match=message):
        run_program(lambda: existing(kubeconfig, context))


def test_a_file_that_the_kubeconfig_names_is_missing(kubeconfig, run_program):
    (kubeconfig.parent / "pki" / "key").unlink()
    with pytest.raises(ClusterError, match=r"client-key of the kubeconfig is .*pki/key"):
        run_program(lambda: existing(kubeconfig))


@pytest.mark.parametrize("content", [None, "a: [", "just text", "contexts: []"])
def test_a_kubeconfig_that_is_none(tmp_path, run_program, content):
    if content is not None:
        (tmp_path / "config").write_text(content)
    with pytest.raises(ClusterError, match=str(tmp_path / "config")):
        run_program(lambda: existing(tmp_path / "config"))


# --- sandbox -------------------------------------------------------------------------------------


@pytest.fixture
def sandbox(play_sandbox) -> SandboxArgs:
    """A sandbox's folder, of which this process plays every part."""
    folder = play_sandbox(b"the deployer's kubeconfig")
    return SandboxArgs("mine", folder)


def test_a_sandbox_is_taken_as_it_runs(sandbox, run_program):
    ran = run_program(lambda: Sandbox("cluster", sandbox).kubeconfig)
    assert ran.returned == ("the deployer's kubeconfig", True)
    assert [r.type for r in ran.registered] == ["mlplatform:cluster:Sandbox", KUBERNETES, PLATFORM]


def test_a_sandbox_that_was_made_anew_is_another_cluster(sandbox, run_program):
    def identifier() -> str:
        ran = run_program(lambda: Sandbox("cluster", sandbox))
        return ran.of(KUBERNETES).inputs["clusterIdentifier"]

    before = identifier()
    assert before.startswith("sandbox/mine/")
    layout = parts.Layout(sandbox.data_dir)
    pki.write_private(layout.kubeconfig(parts.DEPLOYER), b"the same at another port")
    assert identifier() == before
    pki.write_private(layout.pki / "ca.crt", b"another authority")
    assert identifier() != before


def test_a_sandbox_that_does_not_run(tmp_path, run_program):
    with pytest.raises(ClusterError, match="python -m sandbox start --name mine --data-dir"):
        run_program(lambda: Sandbox("cluster", SandboxArgs("mine", tmp_path / "none")))


def test_a_sandbox_of_which_a_part_died(sandbox, run_program):
    state = State.load(sandbox.data_dir)
    state.processes[parts.ETCD] = ProcessId(0, 0, "boot")
    state.save(sandbox.data_dir)
    with pytest.raises(ClusterError, match=r"etcd died; start what died again: python -m sandbox"):
        run_program(lambda: Sandbox("cluster", sandbox))
