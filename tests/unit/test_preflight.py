"""What a machine must have: every shortcoming is told with what was found, needed, and the fix."""

import dataclasses
import json
import platform
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.cluster import drivers, preflight
from components.cluster.drivers import AUTO, LINUX, MACOS, Answer, DriverState, Run, examine
from components.cluster.preflight import (
    INOTIFY_INSTANCES,
    INOTIFY_WATCHES,
    Found,
    Needs,
    PreflightError,
    Problem,
    check,
)

NEEDS = Needs(nodes=1, memory_mib=16384, cpus=8, disk_gib=60)
GOOD = Found(
    system=LINUX,
    machine="x86_64",
    minikube=True,
    root=False,
    driver=DriverState("docker"),
    memory_mib=16384,
    cpus=8,
    disk_gib=60,
    inotify_instances=INOTIFY_INSTANCES,
    inotify_watches=INOTIFY_WATCHES,
)


def one(needs: Needs = NEEDS, **changes: object) -> Problem:
    (problem,) = check(needs, dataclasses.replace(GOOD, **changes))
    return problem


def test_a_machine_that_has_just_enough_is_fit():
    assert check(NEEDS, GOOD) == []


def test_too_little_memory():
    assert one(memory_mib=15900) == Problem(
        "memory", "15900 MiB", "16384 MiB", "pulumi config set minikubeMemory 14876"
    )


def test_nodes_do_not_share_memory():
    problem = one(dataclasses.replace(NEEDS, nodes=3), memory_mib=30000, disk_gib=180)
    assert problem.needed == "49152 MiB (3 nodes of 16384 MiB)"
    assert problem.fix == "pulumi config set minikubeMemory 9658"


def test_a_machine_too_small_for_any_node_is_not_told_to_ask_for_less():
    assert "pulumi config set cluster existing" in one(memory_mib=2048).fix


def test_memory_of_docker_desktop_is_set_there():
    problem = one(system=MACOS, engine="Docker Desktop", memory_mib=8000)
    assert problem.what == "memory of Docker Desktop"
    assert problem.fix == (
        "more in the settings of Docker Desktop (Resources), or: "
        "pulumi config set minikubeMemory 6976"
    )


def test_memory_of_podmans_machine_is_set_by_podman():
    problem = one(system=MACOS, engine="podman", driver=DriverState("podman"), cpus=4)
    assert problem.fix == (
        "podman machine stop && podman machine set --cpus N && podman machine start, or: "
        "pulumi config set minikubeCpus 4"
    )


def test_too_few_cpus():
    assert one(cpus=4) == Problem("CPUs", "4", "8", "pulumi config set minikubeCpus 4")


def test_nodes_share_cpus():
    needs = dataclasses.replace(NEEDS, nodes=2)
    assert check(needs, dataclasses.replace(GOOD, memory_mib=32768, disk_gib=120)) == []


def test_too_little_disk():
    assert one(disk_gib=41) == Problem(
        "disk", "41 GiB free", "60 GiB", "pulumi config set minikubeDisk 41"
    )


def test_a_cluster_that_is_there_takes_no_more_disk():
    assert (
        check(dataclasses.replace(NEEDS, disk_gib=0), dataclasses.replace(GOOD, disk_gib=0)) == []
    )


@pytest.mark.parametrize(
    ("field", "name", "value", "needed"),
    [
        ("inotify_instances", "fs.inotify.max_user_instances", 128, 2280),
        ("inotify_watches", "fs.inotify.max_user_watches", 192536, 1255360),
    ],
)
def test_low_inotify_limits(field: str, name: str, value: int, needed: int):
    problem = one(**{field: value})
    assert (problem.what, problem.found, problem.needed) == (name, str(value), str(needed))
    assert problem.fix.startswith(f"sudo sysctl -w {name}={needed} ")
    assert "/etc/sysctl.d/" in problem.fix


def test_inotify_limits_of_another_kernel_are_not_this_machines():
    assert check(NEEDS, dataclasses.replace(GOOD, inotify_instances=None)) == []


def test_minikube_is_missing():
    problem = one(minikube=False)
    assert (problem.what, problem.found) == ("minikube", "not installed")
    assert "minikube-linux-amd64" in problem.fix
    assert one(minikube=False, machine="aarch64").fix.endswith(
        "minikube-linux-arm64 /usr/local/bin/minikube"
    )
    assert one(minikube=False, system=MACOS).fix == "brew install minikube"


def test_another_architecture():
    problem = one(machine="riscv64")
    assert (problem.found, problem.needed) == ("riscv64", "amd64 or arm64")


@pytest.mark.parametrize(
    ("machine", "architecture"),
    [("x86_64", "amd64"), ("AMD64", "amd64"), ("arm64", "arm64"), ("aarch64", "arm64")],
)
def test_arm_and_x86_are_told_apart(machine: str, architecture: str):
    assert dataclasses.replace(GOOD, machine=machine).architecture == architecture


def test_root():
    problem = one(root=True)
    assert (problem.what, problem.found) == ("user", "root")
    assert check(NEEDS, dataclasses.replace(GOOD, root=True, driver=DriverState("none"))) == []


def test_a_driver_that_does_not_work():
    state = DriverState("docker", "not installed", "installed and running", "install it")
    assert one(driver=state) == Problem(
        "minikubeDriver", "not installed", "installed and running", "install it"
    )


def test_more_nodes_than_a_driver_can_have():
    needs = dataclasses.replace(NEEDS, nodes=2)
    problem = one(needs, driver=DriverState("vfkit"), memory_mib=32768, disk_gib=120)
    assert (problem.found, problem.needed) == ("2", "1 with driver vfkit")


def test_every_problem_is_in_the_error():
    found = dataclasses.replace(GOOD, memory_mib=4096, cpus=2, disk_gib=20, minikube=False)
    error = PreflightError(check(NEEDS, found))
    assert [problem.what for problem in error.problems] == ["minikube", "memory", "CPUs", "disk"]
    for problem in error.problems:
        for part in dataclasses.astuple(problem):
            assert part in str(error)


@given(
    needs=st.builds(
        Needs,
        nodes=st.integers(1, 5),
        memory_mib=st.integers(1, 10_000),
        cpus=st.integers(1, 20),
        disk_gib=st.integers(0, 50),
    ),
    found=st.builds(
        Found,
        system=st.sampled_from([LINUX, MACOS]),
        machine=st.sampled_from(["x86_64", "arm64", "s390x"]),
        minikube=st.booleans(),
        root=st.booleans(),
        driver=st.sampled_from(
            [DriverState("docker"), DriverState("none"), DriverState("docker", "broken", "a", "b")]
        ),
        memory_mib=st.integers(0, 60_000),
        cpus=st.integers(0, 25),
        disk_gib=st.integers(0, 300),
        engine=st.sampled_from(["", "Docker Desktop"]),
        inotify_instances=st.none() | st.integers(INOTIFY_INSTANCES - 2, INOTIFY_INSTANCES + 2),
        inotify_watches=st.none() | st.integers(INOTIFY_WATCHES - 2, INOTIFY_WATCHES + 2),
    ),
)
def test_no_problem_exactly_if_all_that_is_found_is_enough(needs: Needs, found: Found):
    enough = (
        found.machine != "s390x"
        and found.minikube
        and found.driver.works
        and (not found.root or found.driver.name == "none")
        and (needs.nodes == 1 or found.driver.name != "none")
        and found.memory_mib >= needs.nodes * needs.memory_mib
        and found.cpus >= needs.cpus
        and found.disk_gib >= needs.nodes * needs.disk_gib
        and (found.inotify_instances is None or found.inotify_instances >= INOTIFY_INSTANCES)
        and (found.inotify_watches is None or found.inotify_watches >= INOTIFY_WATCHES)
    )
    problems = check(needs, found)
    assert (problems == []) == enough
    assert all(all(dataclasses.astuple(problem)) for problem in problems)


# --- drivers -------------------------------------------------------------------------------------

DOCKER_INFO = json.dumps(
    {
        "MemTotal": 8 << 30,
        "NCPU": 4,
        "Architecture": "aarch64",
        "KernelVersion": "6.10.14-linuxkit",
        "OperatingSystem": "Docker Desktop",
        "DockerRootDir": "/var/lib/docker",
    }
)
PODMAN_INFO = json.dumps(
    {
        "host": {"memTotal": 4 << 30, "cpus": 3, "arch": "arm64", "kernel": "6.9"},
        "store": {"graphRoot": "/var/lib/containers"},
    }
)


def machine(answers: dict[str, Answer]) -> Run:
    """A machine on which the commands give these answers, by their first words; others fail."""

    def run(command):
        text = " ".join(command)
        matching = [answer for start, answer in answers.items() if text.startswith(start)]
        return matching[-1] if matching else Answer(None)

    return run


def test_auto_takes_the_first_driver_that_works():
    everything = machine({"docker": Answer(0, DOCKER_INFO), "virsh": Answer(0)})
    assert examine(AUTO, LINUX, "amd64", everything).name == "docker"
    dead = machine({"docker": Answer(1, "{}", "Cannot connect"), "virsh": Answer(0)})
    assert examine(AUTO, LINUX, "amd64", dead).name == "kvm2"
    assert examine(AUTO, LINUX, "amd64", machine({"qemu-system-x86_64": Answer(0)})).name == "qemu2"
    assert examine(AUTO, LINUX, "arm64", machine({"qemu-system-x86_64": Answer(0)})).name == AUTO
    assert examine(AUTO, MACOS, "arm64", machine({"vfkit": Answer(0)})).name == "vfkit"


def test_auto_without_any_driver_names_how_to_install_one():
    state = examine(AUTO, LINUX, "amd64", machine({}))
    assert not state.works
    assert state.found.startswith("docker: not installed; kvm2: not installed")
    assert "get.docker.com" in state.fix
    assert "brew install --cask docker" in examine(AUTO, MACOS, "arm64", machine({})).fix


def test_auto_mends_the_driver_that_is_installed():
    run = machine({"podman --version": Answer(0), "sudo": Answer(1, "", "a password is required")})
    state = examine(AUTO, LINUX, "amd64", run)
    assert "podman: does not work (a password is required)" in state.found
    assert "sudoers.d/podman" in state.fix


def test_a_daemon_that_does_not_run():
    run = machine({"docker": Answer(1, "{}", "Cannot connect to the Docker daemon")})
    state = examine("docker", LINUX, "amd64", run)
    assert "Cannot connect to the Docker daemon" in state.found
    assert state.fix.startswith("sudo systemctl start docker")
    assert examine("docker", MACOS, "arm64", run).fix == "open -a Docker"


def test_a_daemon_that_gives_no_answer():
    run = machine({"docker": Answer(None, reason="no answer within 20 s")})
    assert "no answer within 20 s" in examine("docker", LINUX, "amd64", run).found


def test_podman_itself_is_looked_for_first():
    state = examine("podman", LINUX, "amd64", machine({"sudo": Answer(1, "", "not found")}))
    assert (state.found, state.fix) == ("not installed", "sudo apt-get install podman")


@pytest.mark.parametrize(
    ("driver", "system", "architecture"),
    [("kvm2", MACOS, "arm64"), ("kvm2", LINUX, "arm64"), ("hyperkit", MACOS, "arm64")],
)
def test_a_driver_that_the_machine_can_not_have(driver: str, system: str, architecture: str):
    state = examine(driver, system, architecture, machine({}))
    assert f"minikube does not have on {system} {architecture}" in state.found
    assert "auto, docker" in state.needed
    assert state.fix == "pulumi config set minikubeDriver auto"


def test_an_unknown_driver():
    assert "one of auto, docker" in examine("dokcer", LINUX, "amd64", machine({})).needed


def test_every_driver_can_be_examined_wherever_it_is():
    for driver in drivers.DRIVERS.values():
        for system, architectures in driver.systems.items():
            for architecture in architectures:
                missing = examine(driver.name, system, architecture, machine({}))
                broken = examine(driver.name, system, architecture, lambda _: Answer(1))
                assert missing.fix and missing.found == "not installed"
                assert broken.fix and broken.needed
                assert examine(driver.name, system, architecture, lambda _: Answer(0)).works


# --- the machine that this is --------------------------------------------------------------------


@pytest.fixture
def limits(tmp_path: Path) -> Path:
    (tmp_path / "max_user_instances").write_text("128\n")
    (tmp_path / "max_user_watches").write_text("65536\n")
    return tmp_path


def read(
    monkeypatch: pytest.MonkeyPatch, system: str, driver: str, run: Run, limits: Path
) -> Found:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "release", lambda: "6.1.0-42")
    return preflight.read(driver, run, {"MINIKUBE_HOME": "/does/not/exist"}, limits)


def test_docker_in_a_virtual_machine_has_its_own_memory_and_kernel(monkeypatch, limits):
    run = machine({"docker": Answer(0, DOCKER_INFO), "minikube": Answer(0)})
    found = read(monkeypatch, LINUX, AUTO, run, limits)
    assert (found.driver.name, found.engine) == ("docker", "Docker Desktop")
    assert (found.memory_mib, found.cpus, found.architecture) == (8192, 4, "arm64")
    assert found.own_kernel
    assert (found.inotify_instances, found.inotify_watches) == (None, None)
    assert found.minikube


def test_docker_on_this_kernel_has_this_kernels_limits(monkeypatch, limits):
    info = json.loads(DOCKER_INFO) | {"KernelVersion": "6.1.0-42", "OperatingSystem": "Debian"}
    found = read(
        monkeypatch, LINUX, "docker", machine({"docker": Answer(0, json.dumps(info))}), limits
    )
    assert not found.own_kernel
    assert (found.inotify_instances, found.inotify_watches) == (128, 65536)
    assert found.engine == ""
    assert not found.minikube


def test_limits_are_checked_while_docker_is_down(monkeypatch, limits):
    found = read(monkeypatch, LINUX, AUTO, machine({"docker": Answer(1)}), limits)
    assert found.inotify_instances == 128


def test_a_virtual_machine_has_its_own_kernel(monkeypatch, limits):
    found = read(monkeypatch, LINUX, "kvm2", machine({"virsh": Answer(0)}), limits)
    assert found.own_kernel
    assert found.inotify_instances is None
    assert found.memory_mib > 0 and found.cpus > 0


def test_podman_tells_what_its_machine_has(monkeypatch, limits):
    run = machine({"podman": Answer(0, PODMAN_INFO)})
    found = read(monkeypatch, MACOS, "podman", run, limits)
    assert (found.memory_mib, found.cpus, found.architecture) == (4096, 3, "arm64")
    assert found.own_kernel


def test_an_engine_that_speaks_another_language_is_not_believed(monkeypatch, limits):
    found = read(monkeypatch, LINUX, "docker", machine({"docker": Answer(0, "hello")}), limits)
    assert found.driver.works
    assert found.memory_mib > 0


def test_apple_silicon_is_seen_through_an_interpreter_for_intel(monkeypatch, limits):
    run = machine({"sysctl": Answer(0, "1\n"), "vfkit": Answer(0)})
    assert read(monkeypatch, MACOS, "vfkit", run, limits).architecture == "arm64"
    run = machine({"sysctl": Answer(1), "vfkit": Answer(0)})
    assert read(monkeypatch, MACOS, "vfkit", run, limits).architecture == "amd64"


def test_this_very_machine_can_be_read():
    found = preflight.read("docker")
    assert found.architecture in ("amd64", "arm64")
    assert found.memory_mib > 0 and found.cpus > 0 and found.disk_gib >= 0


def test_commands_are_run_and_time_limited():
    assert drivers.run_command(["sh", "-c", "echo $WORD"], {"WORD": "hello"}).stdout == "hello\n"
    failed = drivers.run_command(["sh", "-c", "echo first >&2; echo last >&2; exit 3"])
    assert (failed.code, failed.reason, failed.missing) == (3, "last", False)
    assert drivers.run_command(["no-such-command-anywhere"]).missing
    slow = drivers.run_command(["sleep", "60"], patience=0.1)
    assert (slow.code, slow.missing) == (None, False)
