"""Real traffic through a chain on real nodes: balancers before proxies before gateways.

As in `test_gateway_traffic`, with the stand-in for NGINX's controller and a real nginx.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.gateway_bed import NGINX
from sandbox.controlplane import RunningSandbox
from tests.support import gateway_bed
from tests.support.gateway_bed import BACKENDS, Bed
from tests.support.gateway_client import Client
from tests.support.kube import Kubectl, eventually

APP = "app.test"
ROUTES = Path(__file__).parents[1] / "support" / "gateway_chain_routes.yaml"


@pytest.fixture(scope="module")
def bed(real_sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    kubectl = Kubectl(real_sandbox)
    yield gateway_bed.bring_up(kubectl, tmp_path_factory.mktemp("chain"), ROUTES.read_text())
    gateway_bed.take_down(kubectl)


def coming_to(bed: Bed, plain: int, tls: int) -> Client:
    """Whoever comes to the balancer at ports of its Service, but past it: it would hide them."""
    name = NGINX.of("balancer").service
    ports = bed.kubectl.get("service", "-n", NGINX.namespace, name)["spec"]["ports"]
    targets = {one["port"]: int(one["targetPort"]) for one in ports}
    return replace(bed.client, ports=(targets[plain], targets[tls]))


@pytest.fixture(scope="module")
def client(bed: Bed) -> Client:
    found = coming_to(bed, 80, 443)
    eventually(lambda: found.ask("/", APP).status == 200, "the chain answers")
    return found


def lines(bed: Bed, layer: str, path: str) -> Counter[str]:
    """How many requests of a path each pod of a layer has logged."""
    [(key, value)] = NGINX.of(layer).labels.items()  # type: ignore[arg-type]
    words = ("logs", "-n", NGINX.namespace, "-l", f"{key}={value}", "--tail=-1", "--prefix")
    return Counter(line.split()[0] for line in bed.kubectl.run(*words).splitlines() if path in line)


def test_a_request_passes_proxy_and_gateway_once_and_proxies_share(bed: Bed, client: Client):
    def shared() -> bool:
        assert client.ask("/first", APP).status == 200
        return len(lines(bed, "proxy", "/first")) == 2

    eventually(shared, "the balancer knows both proxies")
    asked = 20
    for number in range(asked):
        assert client.ask(f"/passing/{number}", APP).status == 200
    eventually(lambda: lines(bed, "gateway", "/passing/").total() == asked, "the gateway's log")
    proxies = lines(bed, "proxy", "/passing/")
    assert proxies.total() == asked
    assert len(proxies) == 2
    # It passes connections on, and sees nothing of what is in them.
    assert lines(bed, "balancer", "/passing/").total() == 0


def test_the_clients_address_comes_through(bed: Bed, client: Client):
    own = client.connect(APP).getsockname()[0]
    made_up = {"X-Forwarded-For": "192.0.2.9", "X-Real-IP": "192.0.2.9"}
    answer = client.ask("/", APP, headers=made_up)
    assert answer.seen("X-Real-IP") == own
    assert answer.seen("X-Forwarded-Proto") == "https"
    assert client.ask("/elsewhere", APP, headers=made_up).status == 403
    assert client.ask("/here", APP).status == 200


def test_each_part_does_its_own(bed: Bed, client: Client):
    assert client.ask("/", APP, tls=False).status == 301
    assert client.ask("/api/x?y=1", APP).report["path"] == "/v2/x?y=1"
    text = client.ask("/gzip?size=20000&type=text/plain", APP, headers={"Accept-Encoding": "gzip"})
    assert text.header("Content-Encoding") == "gzip"
    assert client.ask("/key", APP).status == 401
    key = bed.keys["key-alice"]
    assert client.ask("/key", APP, headers={"X-API-Key": key}).status == 200
    statuses = Counter(client.ask("/few", APP).status for _ in range(12))
    assert statuses[429] >= 5
    assert statuses[200] >= 1


def test_connections_are_passed_on(bed: Bed):
    answer = coming_to(bed, 7000, 7000).ask("/plain", "whatever", tls=False)
    assert answer.pod.startswith("echo-")
    assert answer.seen("X-Forwarded-For") == ""


def test_nobody_goes_round_a_part(bed: Bed, client: Client):
    """A pod of another namespace reaches the balancer, and neither proxies nor gateways."""
    code = (
        "import socket, sys\n"
        "try:\n  socket.create_connection((sys.argv[1], int(sys.argv[2])), 3); print('open')\n"
        "except OSError as error:\n  print('closed')\n"
    )

    def seen(layer: str) -> dict[str, str]:
        [(key, value)] = NGINX.of(layer).labels.items()  # type: ignore[arg-type]
        found = bed.kubectl.get("pods", "-n", NGINX.namespace, "-l", f"{key}={value}")["items"]
        said = {}
        for pod in found:
            for port in pod["spec"]["containers"][0]["ports"]:
                if port["containerPort"] in NGINX.metrics:
                    continue  # which this namespace may read
                number = str(port["containerPort"])
                words = ("exec", "-n", BACKENDS, "echo-0", "--", "python3", "-c", code)
                address = pod["status"]["podIP"]
                said[f"{layer} {number}"] = bed.kubectl.run(*words, address, number).strip()
        return said

    assert "open" in seen("balancer").values()
    assert set(seen("proxy").values()) == {"closed"}, json.dumps(seen("proxy"))
    assert set(seen("gateway").values()) == {"closed"}
