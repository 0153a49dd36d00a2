"""Real Redis processes on this machine, one loopback address a pod, named by a hosts file.

The scripts of `components/redis/scripts` run as they do in a pod: a mount namespace of their own
shows them the hosts file, in which a pod's name can get another address.
"""

import contextlib
import functools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from components.redis import access
from sandbox import pki
from sandbox.images.debian import Archive
from sandbox.images.recipe import ImageError
from toolchain.tools import cache_folder

SCRIPTS = Path(__file__).resolve().parents[2] / "components" / "redis" / "scripts"
PORT = 6379
USER = "admin"
PASSWORDS = {user: f"hush-{user}" for user in access.USERS}
PASSWORD = PASSWORDS[USER]
_PACKAGES = ("redis-server", "redis-tools", "rclone")
_LIBRARIES = ("libjemalloc2", "liblzf1", "libatomic1")


@functools.cache
def programs() -> Path:
    """A folder with Debian's redis-server, redis-cli and rclone, unpacked and not installed."""
    return _unpacked("bookworm", _PACKAGES, _LIBRARIES)


@functools.cache
def exporter() -> Path:
    """Debian's redis_exporter, the newest that it has."""
    package = "prometheus-redis-exporter"
    return _unpacked("trixie", (package,)) / "usr" / "bin" / package


def _unpacked(suite: str, packages: Sequence[str], libraries: Sequence[str] = ()) -> Path:
    root = cache_folder() / "debian" / f"{packages[0]}-{suite}"
    done = root / ".done"
    if not done.exists():
        try:
            found = Archive(suite, cache_folder() / "debian" / f"apt-{suite}").fetch(packages)
        except ImageError as error:
            pytest.skip(f"needs {packages[0]}: {error}")
        for package in found:
            if package.name in (*packages, *libraries):
                subprocess.run(["dpkg-deb", "-x", str(package.file), str(root)], check=True)
        done.touch()
    return root


def environment(**more: str) -> dict[str, str]:
    """Variables with which the programs are found."""
    root = programs()
    # A pod inherits nothing that this machine tells rclone of stores.
    own = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    return {
        **own,
        "PATH": f"{root / 'usr' / 'bin'}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": str(root / "usr" / "lib" / "x86_64-linux-gnu"),
        **more,
    }


def need_root() -> None:
    """Skip where no mount namespace can be made."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare, for a hosts file of the test's own")


class Pods:
    """Redis pods of one test: each a process, with an address, a name and a volume.

    Args:
        folder: for volumes, logs and the hosts file.
        tls: everything by TLS.
        extra: more of redis.conf for all.
    """

    def __init__(self, folder: Path, *, tls: bool = False, extra: Sequence[str] = ()) -> None:
        need_root()
        self.folder, self.tls, self.extra = folder, tls, list(extra)
        # Addresses that no other run on this machine uses.
        self._net = f"127.{secrets.randbelow(200) + 10}.{secrets.randbelow(250) + 1}"
        self._next = 1
        self.addresses: dict[str, str] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.hosts = folder / "hosts"
        self.hosts.write_text("")
        authority = pki.create_authority("authority")
        pair = pki.issue(authority, "redis", dns=["*.pods", "localhost"])
        (folder / "ca.crt").write_bytes(authority.certificate)
        (folder / "tls.crt").write_bytes(pair.certificate)
        (folder / "tls.key").write_bytes(pair.key)
        (folder / "users.acl").write_text(access.acl(PASSWORDS))

    def __enter__(self) -> "Pods":
        # Clients in this process find pods by name as those in pods do.
        self._resolve = socket.getaddrinfo
        socket.getaddrinfo = self._address  # type: ignore[assignment]
        return self

    def _address(self, host: Any, *more: Any, **options: Any) -> Any:
        return self._resolve(self.addresses.get(host, host), *more, **options)

    def __exit__(self, *_: object) -> None:
        socket.getaddrinfo = self._resolve
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    # --- what a pod has ----------------------------------------------------------------------

    @property
    def redis_tls_arguments(self) -> str:
        if not self.tls:
            return ""
        folder = self.folder
        return f"--tls --cacert {folder}/ca.crt --cert {folder}/tls.crt --key {folder}/tls.key"

    def variables(self, name: str = "") -> dict[str, str]:
        """What a script gets."""
        address = self.addresses.get(name, "")
        return environment(
            HOSTS=str(self.hosts),
            REDISCLI_AUTH=PASSWORD,
            REDIS_USER=USER,
            REDIS_PORT=str(PORT),
            REDIS_TLS_ARGS=self.redis_tls_arguments,
            REDIS_LOCAL_HOST=address,
            POD_NAME=name.partition(".")[0],
            POD_IP=address,
            ANNOUNCE_DOMAIN="pods",
            SCRIPTS=str(SCRIPTS),
            CONFIG=str(self.folder / name),
            DATA=str(self.folder / name),
            PATIENCE="30",
        )

    def script(self, script: str, *arguments: str) -> list[str]:
        """The command that runs a script in the mount namespace of pods."""
        inside = 'mount --bind "$HOSTS" /etc/hosts && exec "$0" "$@"'
        return ["unshare", "--mount", "sh", "-c", inside, str(SCRIPTS / script), *arguments]

    def run(
        self, script: str, *arguments: str, name: str = "", **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script to its end."""
        return subprocess.run(
            self.script(script, *arguments),
            env={**self.variables(name), **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def begin(self, script: str, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """Start a script, in a process group of its own."""
        return subprocess.Popen(
            self.script(script, *arguments),
            env={**self.variables(), **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def start(self, name: str, *options: str, script: str = "cluster-node.sh") -> None:
        """Start a pod, with its volume as it is, at a new address."""
        self.addresses[name] = f"{self._net}.{self._next}"
        self._next += 1
        # In place: a mount shows the file, not its name.
        self.hosts.write_text("".join(f"{ip} {host}\n" for host, ip in self.addresses.items()))
        volume = self.folder / name
        volume.mkdir(exist_ok=True)
        config = volume / "redis.conf"
        config.write_text("\n".join([*self._config(name, volume), *self.extra, *options]) + "\n")
        with (volume / "log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.script(script),
                env=self.variables(name),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _config(self, name: str, volume: Path) -> list[str]:
        port = ["port 0", f"tls-port {PORT}", "tls-cluster yes", "tls-replication yes"]
        files = [
            f"tls-ca-cert-file {self.folder}/ca.crt",
            f"tls-cert-file {self.folder}/tls.crt",
            f"tls-key-file {self.folder}/tls.key",
            "tls-auth-clients optional",
        ]
        return [
            f"bind {self.addresses[name]}",
            *([*port, *files] if self.tls else [f"port {PORT}"]),
            f"dir {volume}",
            f"aclfile {self.folder}/users.acl",
            "masteruser replica",
            f"masterauth {PASSWORDS['replica']}",
            "appendonly yes",
            'save ""',
            "cluster-enabled yes",
            "cluster-node-timeout 2000",
            "cluster-allow-replica-migration no",
            "cluster-require-full-coverage no",
            "cluster-preferred-endpoint-type hostname",
        ]

    def kill(self, name: str) -> None:
        """kill -9 of a pod, all of it."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def client(self, name: str, user: str = USER) -> "redis.Redis[Any]":
        more = {"ssl": True, "ssl_ca_certs": f"{self.folder}/ca.crt", "ssl_check_hostname": False}
        return redis.Redis(
            self.addresses[name],
            PORT,
            username=user,
            password=PASSWORDS[user],
            decode_responses=True,
            socket_timeout=5,
            **(more if self.tls else {}),
        )

    def cluster(self, user: str = "app") -> "redis.RedisCluster[Any]":
        """A client as an application has it: it asks any node, and follows redirections."""
        more = {"ssl": True, "ssl_ca_certs": f"{self.folder}/ca.crt", "ssl_check_hostname": False}
        nodes = [
            redis.cluster.ClusterNode(self.addresses[name], PORT) for name in list(self.processes)
        ]
        return redis.RedisCluster(
            startup_nodes=nodes,
            username=user,
            password=PASSWORDS[user],
            decode_responses=True,
            socket_timeout=5,
            **(more if self.tls else {}),
        )


def shards(count: int, replicas: int = 1) -> list[list[str]]:
    """Names of the pods of each shard."""
    return [
        [f"redis-shard-{shard}-{pod}.pods" for pod in range(replicas + 1)] for shard in range(count)
    ]


def layout(members: Sequence[Sequence[str]]) -> list[str]:
    """Arguments of cluster-layout.sh."""
    return [",".join(names) for names in members]


def eventually(check: Callable[[], object], seconds: float = 30.0) -> Any:
    """Wait until `check` gives something true; a Redis error counts as not yet."""
    end = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < end:
        try:
            last = check()
        except (redis.RedisError, OSError) as error:
            last = error
        else:
            if last:
                return last
        time.sleep(0.05)
    raise AssertionError(f"not so after {seconds} s: {last!r}")


def slots(pods: Pods, name: str) -> dict[str, int]:
    """Slots by the id of their master, as one pod sees it."""
    found: dict[str, int] = {}
    nodes: Mapping[str, Any] = pods.client(name).execute_command("CLUSTER NODES")
    for node in nodes.values():
        ranges = [r for r in node["slots"] if r and not r[0].startswith("[")]
        count = sum(int(r[-1]) - int(r[0]) + 1 for r in ranges)
        if count:
            found[node["node_id"]] = count
    return found
