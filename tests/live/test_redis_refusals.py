"""Who is refused: a wrong password, no TLS, another namespace; and what a host check can say."""

import json
from collections.abc import Iterator

import pytest
import testinfra
from redis_faults import SOURCE

from benchmarks.redis_bed import CLIENTS, Bed
from components.redis import images, names
from components.redis.topology import Standalone
from sandbox.controlplane import RunningSandbox
from toolchain.tools import find

TOPOLOGY = Standalone(namespace="redis-alone", memory=256, storage=1, clients=(CLIENTS,))
STRANGERS = "strangers"


@pytest.fixture(scope="module")
def bed(real_sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    found = Bed(real_sandbox, tmp_path_factory.mktemp("standalone"))
    found.up(TOPOLOGY)
    found.start_clients(SOURCE)
    yield found
    found.stop_clients()
    found.destroy()


def ask(bed: Bed, **changed: str) -> str:
    """What a client in its pod gets for a PING and a write, with something changed."""
    code = (
        "import os, redis, urllib.parse as u\n"
        "url = os.environ['REDIS_WRITE_URL']\n"
        f"changed = {changed!r}\n"
        "parts = u.urlsplit(url)\n"
        "password = changed.get('password', parts.password)\n"
        "scheme = changed.get('scheme', parts.scheme)\n"
        "user = changed.get('user', parts.username)\n"
        "url = f'{scheme}://{user}:{password}@{parts.hostname}:{parts.port}/0'\n"
        "more = {} if scheme == 'redis' else {'ssl_ca_certs': os.environ['REDIS_CA']}\n"
        "if 'authority' in changed: more = {}\n"
        "try:\n"
        "    client = redis.Redis.from_url(url, socket_timeout=3, **more)\n"
        "    print('answered', client.ping(), client.set('refusal', '1', ex=60))\n"
        "except (redis.RedisError, OSError) as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    return bed.in_clients("python3", "-c", code).strip()


def test_a_client_that_the_settings_name_is_answered(bed: Bed):
    assert ask(bed) == "answered True True"


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"password": "wrong"}, "AuthenticationError"),
        ({"user": "default", "password": "wrong"}, "AuthenticationError"),
        ({"scheme": "redis"}, "ConnectionError"),
        ({"authority": "unknown"}, "CERTIFICATE_VERIFY_FAILED"),
    ],
)
def test_who_does_not_sign_in_properly_is_refused(bed: Bed, changed: dict[str, str], refusal: str):
    assert refusal in ask(bed, **changed)


def test_a_strangers_namespace_gets_no_connection(bed: Bed):
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": STRANGERS}}
    host, port = bed_host(bed)
    code = (
        f"import socket\ntry: socket.create_connection(({host!r}, {port}), 4)\n"
        "except TimeoutError: print('no answer')\nexcept OSError as error: print(error)\n"
        "else: print('connected')"
    )
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stranger", "namespace": STRANGERS},
        "spec": {
            "nodeSelector": {"ml-platform/node": "real"},
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "stranger",
                    "image": "localhost/load:1",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "infinity"],
                }
            ],
        },
    }
    listed = {"apiVersion": "v1", "kind": "List", "items": [namespace, pod]}
    bed.kubectl("apply", "-f", "-", text=json.dumps(listed))
    try:
        bed.kubectl(
            *("wait", "-n", STRANGERS, "--for=condition=Ready", "pod/stranger", "--timeout=60s")
        )
        outside = bed.kubectl("exec", "-n", STRANGERS, "stranger", "--", "python3", "-c", code)
        # The same words from a namespace that is let in, so that it is the namespace.
        inside = bed.in_clients("python3", "-c", code)
    finally:
        bed.kubectl("delete", "namespace", STRANGERS, "--wait=true")
    assert inside.strip() == "connected"
    assert outside.strip() in ("no answer", "[Errno 111] Connection refused")


def bed_host(bed: Bed) -> tuple[str, int]:
    return names.service_host(names.WRITE, bed.namespace), names.REDIS_PORT


def test_the_host_is_as_the_settings_say(bed: Bed, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KUBECONFIG", str(bed.sandbox.admin_kubeconfig))
    monkeypatch.setenv("PATH", str(find("kubectl").parent), prepend=":")
    host = testinfra.get_host(
        f"kubectl://{names.SERVER}-0?container=redis&namespace={bed.namespace}"
    )
    user = host.run("id -u && id -g").stdout.split()
    assert user == [str(images.REDIS_UID)] * 2
    assert host.file("/data").uid in (0, images.REDIS_UID)
    assert host.run("touch /data/mine && rm /data/mine").succeeded
    assert host.run("touch /usr/mine").failed
    key = host.file("/etc/redis/tls/tls.key")
    assert key.exists
    assert "BEGIN" in key.content_string
    assert host.run("cat /proc/1/status").stdout.split("CapEff:")[1].split()[0] == "0" * 16
    # Port 6379 is 18EB; nothing listens without TLS on another one.
    listening = [
        line.split()[1].rpartition(":")[2]
        for name in ("tcp", "tcp6")
        for line in host.run(f"cat /proc/net/{name}").stdout.splitlines()[1:]
        if line.split()[3] == "0A"
    ]
    assert set(listening) == {"18EB", f"{names.EXPORTER_PORT:04X}"}
