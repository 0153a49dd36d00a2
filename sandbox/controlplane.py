"""Start, inspect and stop sandboxes: whole Kubernetes control planes of local processes."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from sandbox import daemon, network, nodes, parts
from sandbox.api import ApiError, Client
from sandbox.node import cluster, plan
from sandbox.parts import Layout, Part
from sandbox.state import STATE_FILE, State, StateError, data_folder
from toolchain import tools

_START_TIMEOUT = 120.0
_POLL = 0.05
_NODE_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
# In the environment of every part: the data folder of its sandbox.
_MARK = "ML_PLATFORM_SANDBOX"
_WEBHOOK_PORT_HINT = (
    "the sandbox's webhooks listen on port 443 of loopback addresses, and this user may not; "
    "allow it until the next boot: sudo sysctl net.ipv4.ip_unprivileged_port_start=443"
)


class SandboxError(RuntimeError):
    """A sandbox can't be started, or a part of it died; the message names the part and the fix."""


@dataclass(frozen=True)
class SandboxOptions:
    """What a sandbox is started with.

    `nodes` simulated nodes; `admission_delay` seconds between a webhook's Deployment being ready
    and its server answering; `data_dir` the folder that holds everything (default:
    $XDG_STATE_HOME or ~/.local/state, then ml-platform/sandbox/<name>); `real_nodes` nodes that
    run containers, which needs root.
    """

    name: str = "default"
    nodes: int = 3
    admission_delay: float = 0.0
    data_dir: Path | None = None
    real_nodes: int = 0


@dataclass(frozen=True)
class RunningSandbox:
    """A sandbox that answers. `kubeconfig` is that of the user `deployer`."""

    name: str
    data_dir: Path

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the user `deployer`, self-contained."""
        return Layout(self.data_dir).kubeconfig(parts.DEPLOYER)

    @property
    def admin_kubeconfig(self) -> Path:
        """Kubeconfig of the user `admin`, for people: the audit log tells them apart."""
        return Layout(self.data_dir).kubeconfig(parts.ADMIN)

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, JSON lines; read it with `sandbox.audit`."""
        return Layout(self.data_dir).audit_log

    @property
    def admission_log(self) -> Path:
        """What the simulated webhooks were asked, JSON lines."""
        return Layout(self.data_dir).admission_log

    def stop(self) -> None:
        """End its processes and remove its data folder."""
        stop(self.name, self.data_dir)


@dataclass(frozen=True)
class PartStatus:
    """One process: `pid` is None when it never started; `hint` is a dead one's last line."""

    name: str
    running: bool
    pid: int | None
    log: Path
    hint: str = ""


@dataclass(frozen=True)
class Status:
    """A sandbox's processes; `parts` is empty when there is no such sandbox.

    `restart` is the command that starts its dead parts again, with the options it has.
    """

    name: str
    data_dir: Path
    parts: tuple[PartStatus, ...] = ()
    restart: str = ""

    @property
    def exists(self) -> bool:
        """Whether the sandbox was started, and its data not removed since."""
        return bool(self.parts)

    @property
    def healthy(self) -> bool:
        """Whether every part runs."""
        return self.exists and all(part.running for part in self.parts)

    @property
    def stopped(self) -> bool:
        """Whether it is there and no part of it runs."""
        return self.exists and not any(part.running for part in self.parts)

    @property
    def dead(self) -> tuple[PartStatus, ...]:
        """Parts that do not run."""
        return tuple(part for part in self.parts if not part.running)


def start(
    options: SandboxOptions, progress: Callable[[str], None] = lambda _: None
) -> RunningSandbox:
    """Start a sandbox, or the dead parts of one, and wait until its nodes are Ready.

    Idempotent. Raises SandboxError when a part dies or is not ready within two minutes, StateError
    when the name or the data folder is unusable, NetworkError when no address range is free, and
    toolchain.tools.ToolMissing or sandbox.node.commands.NodeError before anything is created; the
    latter also when the machines of real nodes can't be set up.
    """
    folder = data_folder(options.name, options.data_dir)
    _preflight(options, folder)
    layout = Layout(folder)
    with network.lock(str(folder)):
        state = State.load(folder)
        fresh = state is None
        if state is None:
            cluster.check_new(options.real_nodes)
            state = _create(options, layout, progress)
        else:
            _check_same(options, state)
        running = RunningSandbox(state.name, folder)
        if cluster.ensure_machines(layout, state):
            # Whatever ran on the machines is gone with them.
            state.processes = {
                part.name: state.processes[part.name]
                for part in parts.PARTS
                if part.name in state.processes
            }
        dead = [part for part in all_parts(layout, state) if not _alive(state, part)]
        if not dead:
            return running
        for part in dead:
            if part.name in state.processes:
                progress(_died(layout, state, part))
        daemon.terminate(_unknown(folder, state))
        try:
            _launch(layout, state, _with_dependents(layout, state, dead), progress)
        except BaseException:
            # A half of a sandbox helps nobody; the folder stays, for its logs.
            if fresh:
                daemon.terminate(list(state.processes.values()))
                cluster.remove_machines(layout, state)
            raise
        return running


def all_parts(layout: Layout, state: State) -> tuple[Part, ...]:
    """The parts of a sandbox: its control plane's and its real nodes'."""
    return (*parts.PARTS, *cluster.parts(layout, state))


def stop(name: str, data_dir: Path | None = None, *, keep: bool = False) -> None:
    """End exactly the processes of a sandbox and remove its folder; no-op when there is none.

    With `keep` the folder stays, and with it all objects and volumes: `start` goes on from there.
    Of what ran in containers of real nodes only volumes are kept, as after a reboot.
    """
    folder = data_folder(name, data_dir)
    with network.lock(str(folder)):
        state = State.load(folder)
        if state is None:
            return
        # Clients first, so that none logs the loss of its server. Nothing of theirs is kept, so
        # they get no time to say goodbye.
        known = list(reversed(state.processes.values()))
        kept = [state.processes[parts.ETCD]] if keep and parts.ETCD in state.processes else []
        others = [process for process in known if process not in kept]
        daemon.terminate([*others, *_unknown(folder, state)], grace=1.0)
        daemon.terminate(kept, grace=10.0)
        cluster.remove_machines(Layout(folder), state)
        if keep:
            state.processes.clear()
            state.save(folder)
        else:
            shutil.rmtree(folder)


def status(name: str, data_dir: Path | None = None) -> Status:
    """Look at each process of a sandbox. Raises StateError as `start`."""
    folder = data_folder(name, data_dir)
    layout = Layout(folder)
    state = State.load(folder)
    if state is None:
        return Status(name, folder)
    found = []
    for part in all_parts(layout, state):
        process = state.processes.get(part.name)
        running = process is not None and daemon.alive(process)
        hint = "" if running else " ".join(daemon.tail(layout.log(part.name), 1))
        found.append(
            PartStatus(
                part.name,
                running,
                process.pid if process else None,
                layout.log(part.name),
                hint,
            )
        )
    return Status(state.name, folder, tuple(found), _restart(state, data_dir))


def options_of(name: str, data_dir: Path | None = None) -> SandboxOptions | None:
    """What a sandbox was started with; None when there is none. Raises StateError as `start`."""
    state = State.load(data_folder(name, data_dir))
    if state is None:
        return None
    return SandboxOptions(name, state.nodes, state.admission_delay, data_dir, state.real_nodes)


def admin_kubeconfig(name: str) -> Path:
    """The administrator's kubeconfig of a sandbox. Raises StateError when there is none."""
    found = status(name)
    if not found.exists:
        raise StateError(f"there is no sandbox '{name}'")
    return RunningSandbox(found.name, found.data_dir).admin_kubeconfig


def _restart(state: State, data_dir: Path | None) -> str:
    defaults = SandboxOptions()
    words = ["python -m sandbox start --name", state.name]
    if data_dir is not None:
        words += ["--data-dir", shlex.quote(str(data_dir))]
    for option, found, default in (
        ("--nodes", state.nodes, defaults.nodes),
        ("--admission-delay", state.admission_delay, defaults.admission_delay),
        ("--real-nodes", state.real_nodes, defaults.real_nodes),
    ):
        if found != default:
            words += [option, str(found)]
    return " ".join(words)


def _preflight(options: SandboxOptions, folder: Path) -> None:
    if sys.platform != "linux":
        raise SandboxError(
            f"the sandbox needs Linux, whose loopback answers on all of 127.0.0.0/8; "
            f"found {sys.platform}. Use the stack `local` (minikube) there"
        )
    if not 1 <= options.nodes <= 1000:
        raise SandboxError(f"nodes: found {options.nodes}, need 1 to 1000")
    if not 0 <= options.admission_delay <= 3600:
        raise SandboxError(f"admission_delay: found {options.admission_delay}, need 0 to 3600 s")
    if not network.can_listen_below_1024():
        raise SandboxError(_WEBHOOK_PORT_HINT)
    for part in parts.PARTS:
        if part.tool is not None:
            tools.find(part.tool)
    cluster.check(options.real_nodes, folder)


def _check_same(options: SandboxOptions, state: State) -> None:
    for setting, found, wanted in (
        ("name", state.name, options.name),
        ("nodes", state.nodes, options.nodes),
        ("admission_delay", state.admission_delay, options.admission_delay),
        ("real_nodes", state.real_nodes, options.real_nodes),
    ):
        if found != wanted:
            raise SandboxError(
                f"the sandbox was started with {setting}={found}, not {wanted}; leave "
                f"that out, or lose its data: python -m sandbox down --name {state.name}"
            )


def _create(options: SandboxOptions, layout: Layout, progress: Callable[[str], None]) -> State:
    folder = layout.root
    if folder.exists() and any(folder.iterdir()):
        raise StateError(
            f"{folder} has files but no {STATE_FILE}: not a sandbox. "
            "Empty it, or choose another with --data-dir"
        )
    progress("making certificates")
    for path in (folder, layout.logs, layout.pki, layout.config):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    with network.lock("ranges"):
        also = plan.whole_range if options.real_nodes else None
        octet = network.choose_range(str(folder), also)
        state = State(
            options.name,
            octet,
            options.nodes,
            options.admission_delay,
            {},
            real_nodes=options.real_nodes,
        )
        parts.write_credentials(layout, state)
        parts.write_config(layout, state)
        # Now, so that a stop finds the machines whatever ends this command.
        state.save(folder)
        cluster.ensure_machines(layout, state)
        _choose_ports(state, parts.PARTS)
        state.save(folder)
        _start_etcd(layout, state, time.monotonic() + _START_TIMEOUT)
    return state


def _start_etcd(layout: Layout, state: State, deadline: float) -> None:
    """Start etcd and wait until it listens, which is what claims the range: hold its lock."""
    [etcd] = [part for part in parts.PARTS if part.name == parts.ETCD]
    if network.is_claimed(state.octet):
        raise SandboxError(
            f"another sandbox took {network.service_range(state.octet)} while this one was down; "
            f"stop that one, or start afresh: python -m sandbox down --name {state.name}"
        )
    _start_part(layout, state, etcd)
    address = network.own_address(state.octet)
    try:
        _wait_for_port(layout, state, parts.ETCD, address, deadline)
    except BaseException:
        daemon.terminate([state.processes[parts.ETCD]])
        raise


def _choose_ports(state: State, of: tuple[Part, ...] | list[Part]) -> None:
    """Give each part its ports, keeping those of an earlier start that are still free."""
    for part in of:
        for port in part.ports:
            address = parts.port_address(port, state)
            known = state.ports.get(port)
            if known is None or not network.port_is_free(address, known):
                state.ports[port] = network.choose_port(address, set(state.ports.values()))


def _unknown(folder: Path, state: State) -> list[daemon.ProcessId]:
    """Parts that a start which was killed did not get to write down."""
    known = set(state.processes.values())
    return [process for process in daemon.leaders(_MARK, str(folder)) if process not in known]


def _alive(state: State, part: Part) -> bool:
    process = state.processes.get(part.name)
    return process is not None and daemon.alive(process)


def _died(layout: Layout, state: State, part: Part) -> str:
    lines = "\n  ".join(daemon.tail(layout.log(part.name)) or ["(empty)"])
    return (
        f"{part.name} (pid {state.processes[part.name].pid}) died; "
        f"last lines of {layout.log(part.name)}:\n  {lines}"
    )


def _with_dependents(layout: Layout, state: State, dead: list[Part]) -> list[Part]:
    """Parts to restart: after a loss of etcd or the API server, what follows it too.

    Clients look for a lost server ever more rarely, so they would be late by half a minute.
    """
    names = {part.name for part in dead}
    every = all_parts(layout, state)
    for index, part in enumerate(every):
        if part.name in names & {parts.ETCD, parts.API_SERVER}:
            return [other for other in every[index:] if other.follows_api or other.name in names]
    return dead


def _launch(
    layout: Layout, state: State, restart: list[Part], progress: Callable[[str], None]
) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    for part in restart:
        process = state.processes.pop(part.name, None)
        if process is not None:
            daemon.terminate([process])
    _choose_ports(state, restart)
    parts.write_kubeconfigs(layout, state)
    for part in restart:
        progress(f"starting {part.name}")
        if part.name == parts.ETCD:
            with network.lock("ranges"):
                _start_etcd(layout, state, deadline)
            continue
        if part.name == parts.KWOK:
            _wait_until(layout, state, deadline, "node leases are free", _leases_freed(layout))
        _start_part(layout, state, part)
        if part.name == parts.API_SERVER:
            _wait_until(layout, state, deadline, "the API server is ready", _ready(layout))
            _create_objects(layout, state)
        if node := cluster.runtime_of(layout, state, part):
            answers = cluster.runtime_answers(node)
            _wait_until(layout, state, deadline, f"{part.name} answers", answers)
            cluster.load_pause(node, progress)
    for name in (parts.CONTROLLERS, parts.SCHEDULER):
        _wait_for_port(layout, state, name, "127.0.0.1", deadline)
    count = state.nodes + state.real_nodes
    _wait_until(layout, state, deadline, f"{count} nodes are Ready", _nodes_ready(layout))
    if state.real_nodes:
        client = Client(layout.kubeconfig(parts.ADMIN))
        for what, check in cluster.readiness(client, layout, state):
            _wait_until(layout, state, deadline, what, check)


def _start_part(layout: Layout, state: State, part: Part) -> None:
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        # Nobody's settings in ~/.kwok or ~/.kube reach into a sandbox.
        "HOME": str(layout.root),
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "PYTHONUNBUFFERED": "1",
        _MARK: str(layout.root),
        **part.environment,
        **cluster.environment(layout, state, part),
    }
    argv = part.argv(tools.find, layout, state)
    state.processes[part.name] = daemon.spawn(argv, layout.log(part.name), environment)
    state.save(layout.root)


def _wait_for_port(layout: Layout, state: State, part: str, address: str, deadline: float) -> None:
    port = state.ports[part]
    _wait_until(layout, state, deadline, f"{part} listens", lambda: network.answers(address, port))


def _wait_until(
    layout: Layout, state: State, deadline: float, what: str, check: Callable[[], bool]
) -> None:
    while True:
        done = check()
        # Also when it is done: what is ready may have been another's answer.
        for part in all_parts(layout, state):
            if part.name in state.processes and not _alive(state, part):
                raise SandboxError(_died(layout, state, part))
        if done:
            return
        if time.monotonic() > deadline:
            raise SandboxError(
                f"waited {_START_TIMEOUT:.0f} s, but not yet: {what}; see the logs in {layout.logs}"
            )
        time.sleep(_POLL)


def _ready(layout: Layout) -> Callable[[], bool]:
    client = Client(layout.kubeconfig(parts.ADMIN))

    def check() -> bool:
        with contextlib.suppress(ApiError, OSError):
            client.request("GET", "/readyz", timeout=5)
            return True
        return False

    return check


def _create_objects(layout: Layout, state: State) -> None:
    client = Client(layout.kubeconfig(parts.ADMIN))
    simulated = [nodes.node(index) for index in range(state.nodes)]
    objects = [("/api/v1/nodes", node) for node in cluster.nodes(layout, state, simulated)]
    classes = nodes.storage_classes(real_nodes=state.real_nodes > 0)
    objects += [("/apis/storage.k8s.io/v1/storageclasses", o) for o in classes]
    for path, content in objects:
        try:
            client.request("POST", path, content)
        except ApiError as error:
            if error.code != HTTPStatus.CONFLICT:
                raise


def _leases_freed(layout: Layout) -> Callable[[], bool]:
    """Take the nodes from a kwok that died; a new one would wait for its leases to run out."""
    client = Client(layout.kubeconfig(parts.ADMIN))

    def check() -> bool:
        with contextlib.suppress(ApiError, OSError):
            client.request("DELETE", _NODE_LEASES, timeout=5)
            return True
        return False

    return check


def _nodes_ready(layout: Layout) -> Callable[[], bool]:
    client = Client(layout.kubeconfig(parts.ADMIN))

    def check() -> bool:
        try:
            found = client.request("GET", "/api/v1/nodes", timeout=5)["items"]
        except (ApiError, OSError):
            # The API server looks for etcd again for a second after etcd was restarted.
            return False
        return all(
            not any(
                taint["key"].startswith("node.kubernetes.io/")
                for taint in node["spec"].get("taints", ())
            )
            and any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in node["status"].get("conditions", ())
            )
            for node in found
        )

    return check
