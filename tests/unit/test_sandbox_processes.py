"""Certificates, addresses, processes and state of a sandbox."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from sandbox import daemon, network, pki
from sandbox.daemon import ProcessId
from sandbox.network import NetworkError
from sandbox.state import State, StateError, data_folder

# --- certificates --------------------------------------------------------------------------------


def test_a_leaf_names_user_groups_and_addresses_and_is_signed_by_its_authority():
    authority = pki.create_authority("test")
    pair = pki.issue(
        authority, "deployer", organizations=["system:masters"], dns=["a.b.svc"], ips=["127.0.0.1"]
    )
    leaf = x509.load_pem_x509_certificate(pair.certificate)
    ca = x509.load_pem_x509_certificate(authority.certificate)
    leaf.verify_directly_issued_by(ca)
    assert [a.value for a in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [
        "deployer"
    ]
    assert [a.value for a in leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == [
        "system:masters"
    ]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.b.svc"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_a_name_over_64_characters_is_kept_whole_in_the_alternative_names():
    name = "w" * 60 + ".namespace.svc"
    leaf = x509.load_pem_x509_certificate(
        pki.issue(pki.create_authority("test"), name, dns=[name]).certificate
    )
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [name]


def test_private_files_are_private_whatever_the_umask(tmp_path: Path):
    path = tmp_path / "key"
    path.write_text("old")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        pki.write_private(path, b"new")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


# --- addresses -----------------------------------------------------------------------------------


def test_a_range_in_which_something_listens_is_not_chosen():
    first = network.choose_range("seed")
    with socket.create_server((f"127.{first}.77.1", 0)):
        assert network.choose_range("seed") != first
        assert not network.is_claimed(first)
    with socket.create_server((network.own_address(first), 0)):
        assert network.is_claimed(first)
    assert network.choose_range("seed") == first


def test_when_all_ranges_are_taken_the_error_says_what_to_do(monkeypatch):
    taken = {network.service_range(octet)[9] for octet in range(256)}
    monkeypatch.setattr(network, "listening", lambda: taken)
    with pytest.raises(NetworkError, match="stop a sandbox"):
        network.choose_range("seed")


def test_the_own_address_is_inside_the_range_but_no_service_gets_it():
    assert network.own_address(42) == "127.42.0.2"
    assert str(network.service_range(42)) == "127.42.0.0/16"


def test_a_port_that_is_bound_or_taken_is_not_chosen(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not network.port_is_free("127.0.0.1", port)
        monkeypatch.setattr(network, "_PORTS", range(port, port + 200))
        assert network.choose_port("127.0.0.1") != port
        others = set(range(port, port + 200))
        with pytest.raises(NetworkError, match="no free port"):
            network.choose_port("127.0.0.1", others)


def test_answers_only_where_something_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert network.answers("127.0.0.1", port)
    assert not network.answers("127.0.0.1", port)


def test_the_lock_is_exclusive_and_is_freed_by_its_holders_death():
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time\nfrom sandbox import network\n"
            "with network.lock('unit'):\n print('held', flush=True)\n time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(NetworkError, match="'unit'"), network.lock("unit", timeout=0.2):
        pass
    with network.lock("another", timeout=0.2):
        pass
    holder.kill()
    holder.communicate()
    with network.lock("unit", timeout=5):
        pass


def test_the_lock_passes_on_to_whoever_waits():
    order = []

    def waiter() -> None:
        with network.lock("queue", timeout=5):
            order.append("second")

    with network.lock("queue"):
        thread = threading.Thread(target=waiter)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


# --- processes -----------------------------------------------------------------------------------


def spawn(tmp_path: Path, code: str) -> ProcessId:
    return daemon.spawn([sys.executable, "-c", code], tmp_path / "log", dict(os.environ))


def test_a_daemon_has_its_own_session_and_a_private_log(tmp_path: Path):
    process = spawn(tmp_path, "print('hello', flush=True)\nimport time\ntime.sleep(60)")
    try:
        assert daemon.alive(process)
        assert os.getsid(process.pid) == process.pid
        while not daemon.tail(tmp_path / "log"):
            pass
        assert daemon.tail(tmp_path / "log") == ["hello"]
        assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600
    finally:
        daemon.terminate([process])
    assert not daemon.alive(process)


def test_a_dead_child_is_not_alive_though_nobody_waited_for_it(tmp_path: Path):
    process = spawn(tmp_path, "pass")
    while daemon.alive(process):
        pass
    # It may have ended just after it was waited for.
    assert not daemon.alive(process)
    assert not Path(f"/proc/{process.pid}").exists()


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "another"}])
def test_a_process_that_reuses_the_number_is_neither_alive_nor_killed(tmp_path: Path, change):
    process = spawn(tmp_path, "import time\ntime.sleep(60)")
    earlier = ProcessId(**{**vars(process), **change})
    assert not daemon.alive(earlier)
    daemon.terminate([earlier])
    assert daemon.alive(process)
    daemon.terminate([process])


def test_a_daemon_that_ignores_sigterm_is_killed(tmp_path: Path):
    process = spawn(
        tmp_path,
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', flush=True)\ntime.sleep(60)",
    )
    while not daemon.tail(tmp_path / "log"):
        pass
    daemon.terminate([process], grace=0.1)
    assert not daemon.alive(process)


def test_processes_are_found_by_a_mark_without_what_they_started(tmp_path: Path):
    def spawn(mark: str) -> ProcessId:
        script = ["/bin/sh", "-c", "sleep 60 & wait"]
        return daemon.spawn(script, tmp_path / "log", {"PATH": os.defpath, "MARK": mark})

    mine, other = spawn("mine"), spawn("mine-too")
    try:
        assert daemon.leaders("MARK", "mine") == [mine]
        assert daemon.leaders("MARK", "nobody's") == []
    finally:
        for process in (mine, other):
            os.killpg(process.pid, signal.SIGKILL)
            daemon.terminate([process])
    assert daemon.leaders("MARK", "mine") == []


def test_tail_gives_the_last_lines_cut_to_width(tmp_path: Path):
    log = tmp_path / "log"
    log.write_text("".join(f"{index}{'x' * 500}\n" for index in range(1000)))
    assert daemon.tail(log, lines=2, width=4) == ["998x", "999x"]
    assert daemon.tail(tmp_path / "none") == []


# --- state ---------------------------------------------------------------------------------------


def test_state_survives_a_round_trip_and_is_private(tmp_path: Path):
    state = State("a", 20, 3, 1.5, {"etcd": 20001}, {"etcd": ProcessId(1, 2, "boot")})
    state.save(tmp_path)
    assert State.load(tmp_path) == state
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600


def test_a_folder_without_state_holds_no_sandbox(tmp_path: Path):
    assert State.load(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "message"), [("{", "not valid JSON"), ('{"format": 99}', "format 99")]
)
def test_an_unreadable_state_names_the_file(tmp_path: Path, content: str, message: str):
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(StateError, match=message):
        State.load(tmp_path)


@pytest.mark.parametrize("name", ["", "Upper", "-a", "a-", "a/b", "..", "a" * 41])
def test_a_name_that_is_no_label_is_refused(name: str):
    with pytest.raises(StateError, match="--name: found"):
        data_folder(name, None)


def test_the_default_folder_follows_xdg(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert data_folder("a", None) == tmp_path / "ml-platform" / "sandbox" / "a"
    assert data_folder("a", tmp_path / "x") == tmp_path / "x"
