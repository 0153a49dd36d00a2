"""Real nodes: real containers from local images, their network, names, volumes and policies."""

import json
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra

from sandbox import controlplane
from sandbox.controlplane import RunningSandbox
from sandbox.images.recipes import LOAD
from sandbox.node import plan
from tests.support.faults import Network, nodes_of
from tests.support.kube import Kubectl, eventually

NAMESPACE, STRANGER = "real", "stranger"
REAL = {"ml-platform/node": "real"}
# Answers with its own name; a client that is let in knows whom it met.
SERVER = """\
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["HOSTNAME"].encode())
print("serving", flush=True)
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
FETCH = """\
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2])).read().decode())
"""


def pod(name: str, node: str = "", **spec: Any) -> dict[str, Any]:
    """A pod that answers on port 8080 and may do nothing else."""
    container = {
        "name": "main",
        "image": LOAD,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-u", "-c", SERVER],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        **spec.pop("container", {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name, "set": "web"}},
        "spec": {
            "nodeSelector": {**REAL, **({"kubernetes.io/hostname": node} if node else {})},
            "terminationGracePeriodSeconds": 0,
            # What the restricted Pod Security Standard asks for.
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "fsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            **spec,
        },
    }


def namespace(name: str) -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def service(name: str, selector: dict[str, str], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": 8080}], **spec},
    }


@pytest.fixture(scope="module")
def kubectl(real_sandbox: RunningSandbox) -> Kubectl:
    return Kubectl(real_sandbox)


@pytest.fixture(scope="module")
def pods(kubectl: Kubectl) -> Iterator[dict[str, dict[str, Any]]]:
    """Pods `a` and `b` on nodes of their own, and `c` beside `a`."""
    kubectl.apply(namespace(NAMESPACE), namespace(STRANGER))
    eventually(
        lambda: kubectl.try_("get", "serviceaccount", "default", "-n", NAMESPACE).returncode == 0,
        "the namespace has its service account",
    )
    placed = {"a": "real-0", "b": "real-1", "c": "real-0"}
    kubectl.apply(*(pod(name, node) for name, node in placed.items()))
    ready(kubectl, *placed)
    yield {name: kubectl.get("pod", name, "-n", NAMESPACE) for name in placed}
    kubectl.run("delete", "namespace", NAMESPACE, STRANGER, "--wait=true")


def ready(kubectl: Kubectl, *names: str, within: str = NAMESPACE) -> None:
    words = [f"pod/{name}" for name in names]
    done = kubectl.try_("wait", "-n", within, "--for=condition=Ready", "--timeout=60s", *words)
    assert done.returncode == 0, kubectl.run("describe", "-n", within, *words)


def execute(kubectl: Kubectl, name: str, *words: str, within: str = NAMESPACE) -> str:
    return kubectl.run("exec", "-n", within, name, "--", *words).strip()


def fetch(
    kubectl: Kubectl, name: str, url: str, seconds: float = 3.0, within: str = NAMESPACE
) -> str:
    """What a pod gets from a URL; "" when it gets nothing in time."""
    done = kubectl.try_(
        *("exec", "-n", within, name, "--", "python3", "-c", FETCH, url, str(seconds))
    )
    return done.stdout.strip()


def address(found: dict[str, Any]) -> str:
    return str(found["status"]["podIP"])


# --- pods ----------------------------------------------------------------------------------------


def test_pods_of_a_local_image_run_as_processes_of_this_machine(
    kubectl: Kubectl, pods: dict[str, dict[str, Any]], real_sandbox: RunningSandbox
):
    nodes = {node.name: node for node in nodes_of(real_sandbox.data_dir)}
    for found in pods.values():
        node = nodes[found["spec"]["nodeName"]]
        assert found["status"]["phase"] == "Running"
        assert address(found).startswith(str(node.pods).rpartition(".")[0])
    assert "serving" in kubectl.run("logs", "-n", NAMESPACE, "a")
    assert execute(kubectl, "a", "id", "-u") == "1000"
    # Neither capabilities nor system calls beyond the default profile.
    status = execute(kubectl, "a", "cat", "/proc/self/status")
    assert re.search(r"CapEff:\s0+$", status, re.MULTILINE)
    assert re.search(r"Seccomp:\s2$", status, re.MULTILINE)


def test_pods_reach_each_other_on_one_node_and_across_nodes(
    kubectl: Kubectl, pods: dict[str, dict[str, Any]]
):
    for source in pods:
        for name, target in pods.items():
            assert fetch(kubectl, source, f"http://{address(target)}:8080") == name


def test_a_service_is_found_by_name_and_answers_from_all_pods(
    kubectl: Kubectl, pods: dict[str, dict[str, Any]]
):
    kubectl.apply(service("web", {"set": "web"}))
    url = f"http://web.{NAMESPACE}.svc.cluster.local"
    eventually(lambda: fetch(kubectl, "c", url), "the Service answers")
    assert {fetch(kubectl, "a", "http://web") for _ in range(30)} == set(pods)
    cluster_ip = kubectl.get("service", "web", "-n", NAMESPACE)["spec"]["clusterIP"]
    assert fetch(kubectl, "b", f"http://{cluster_ip}") in pods


def test_a_headless_service_names_pods_before_they_are_ready(
    kubectl: Kubectl, pods: dict[str, dict[str, Any]]
):
    never = {"readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1}}
    peers = {"clusterIP": "None", "publishNotReadyAddresses": True}
    kubectl.apply(
        service("peers", {"app": "unready"}, **peers),
        service("hidden", {"app": "unready"}, clusterIP="None"),
        pod("unready", "real-2", container=never, hostname="unready", subdomain="peers"),
    )
    eventually(
        lambda: kubectl.get("pod", "unready", "-n", NAMESPACE)["status"].get("podIP"),
        "the pod has an address",
    )
    unready = address(kubectl.get("pod", "unready", "-n", NAMESPACE))

    def resolved(name: str) -> str:
        code = f"import socket; print(socket.gethostbyname('{name}'))"
        done = kubectl.try_("exec", "-n", NAMESPACE, "a", "--", "python3", "-c", code)
        return done.stdout.strip()

    eventually(lambda: resolved("unready.peers") == unready, "the pod's own name resolves")
    assert resolved("peers") == unready
    assert resolved("hidden") == ""
    kubectl.run("delete", "pod", "unready", "-n", NAMESPACE)


def test_the_api_server_is_reached_from_a_pod_with_its_token(
    kubectl: Kubectl, pods: dict[str, dict[str, Any]]
):
    code = (
        "import ssl, urllib.request as u\n"
        "folder = '/var/run/secrets/kubernetes.io/serviceaccount/'\n"
        "token = open(folder + 'token').read()\n"
        "tls = ssl.create_default_context(cafile=folder + 'ca.crt')\n"
        "url = 'https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews'\n"
        'body = b\'{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}\'\n'
        "head = {'Authorization': 'Bearer ' + token, 'Content-Type': 'application/json'}\n"
        "print(u.urlopen(u.Request(url, body, head), context=tls).read().decode())\n"
    )
    answer = json.loads(execute(kubectl, "a", "python3", "-c", code))
    assert answer["status"]["userInfo"]["username"] == f"system:serviceaccount:{NAMESPACE}:default"


def test_a_port_is_forwarded(kubectl: Kubectl, pods: dict[str, dict[str, Any]]):
    forward = subprocess.Popen(
        kubectl.command("port-forward", "-n", NAMESPACE, "pod/b", ":8080"),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert forward.stdout
        port = int(re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            received = b""
            while chunk := connection.recv(4096):
                received += chunk
        assert received.endswith(b"\r\n\r\nb")
    finally:
        forward.send_signal(signal.SIGTERM)
        forward.wait(timeout=10)


def test_testinfra_looks_into_a_pod(
    kubectl: Kubectl, pods: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", f"{Path(kubectl.command()[0]).parent}:/usr/bin:/bin")
    host = testinfra.get_host(
        f"kubectl://a?namespace={NAMESPACE}&container=main&kubeconfig={kubectl.kubeconfig}"
    )
    assert host.file("/proc/1/cmdline").content_string.startswith("python3")
    assert host.check_output("cat /etc/hostname") == "a"
    assert host.file("/etc/hosts").contains(address(pods["a"]))
    assert not host.file("/etc/hosts").contains(address(pods["b"]))


# --- volumes -------------------------------------------------------------------------------------


def test_a_claim_keeps_its_data_over_pods_and_grows_in_place(
    kubectl: Kubectl, pods: dict[str, dict[str, Any]], real_sandbox: RunningSandbox
):
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": NAMESPACE},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    mounted = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    keeper = pod("keeper", container=mounted, volumes=[volume])
    kubectl.apply(claim, keeper)
    ready(kubectl, "keeper")
    node = kubectl.get("pod", "keeper", "-n", NAMESPACE)["spec"]["nodeName"]
    execute(kubectl, "keeper", "sh", "-c", "echo kept >/data/file; touch /data/$(id -u)")
    kubectl.run("delete", "pod", "keeper", "-n", NAMESPACE)
    kubectl.apply(keeper)
    ready(kubectl, "keeper")
    assert execute(kubectl, "keeper", "cat", "/data/file") == "kept"
    assert kubectl.get("pod", "keeper", "-n", NAMESPACE)["spec"]["nodeName"] == node

    claim["spec"]["resources"] = {"requests": {"storage": "2Gi"}}
    kubectl.apply(claim)

    def capacity() -> str:
        found = kubectl.get("pvc", "data", "-n", NAMESPACE)
        assert not found["status"].get("conditions"), found["status"]
        return str(found["status"]["capacity"]["storage"])

    eventually(lambda: capacity() == "2Gi", "the claim has its new size")
    assert execute(kubectl, "keeper", "cat", "/data/file") == "kept"

    [folder] = plan.volumes_folder(real_sandbox.data_dir).iterdir()
    assert (folder / "file").read_text() == "kept\n"
    kubectl.run("delete", "pod/keeper", "pvc/data", "-n", NAMESPACE)
    eventually(lambda: not folder.exists(), "the volume's folder is gone")


# --- policies and faults -------------------------------------------------------------------------


def test_a_network_policy_refuses_a_stranger_and_lets_in_whom_it_names(
    kubectl: Kubectl, pods: dict[str, dict[str, Any]]
):
    outsider = pod("outsider", "real-2")
    outsider["metadata"]["namespace"] = STRANGER
    kubectl.apply(outsider)
    ready(kubectl, "outsider", within=STRANGER)
    url = f"http://{address(pods['a'])}:8080"
    by_name = f"http://guarded.{NAMESPACE}.svc.cluster.local"
    kubectl.apply(service("guarded", {"app": "a"}))
    eventually(lambda: fetch(kubectl, "outsider", by_name, within=STRANGER), "it is let in")
    kubectl.apply(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "guard", "namespace": NAMESPACE},
            "spec": {
                "podSelector": {"matchLabels": {"app": "a"}},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"podSelector": {"matchLabels": {"set": "web"}}}]}],
            },
        }
    )
    eventually(
        lambda: fetch(kubectl, "outsider", url, 1.0, within=STRANGER) == "",
        "the stranger is refused",
    )
    assert fetch(kubectl, "outsider", by_name, 1.0, within=STRANGER) == ""
    for friend in ("b", "c"):
        assert fetch(kubectl, friend, url) == "a"
        assert fetch(kubectl, friend, "http://guarded") == "a"
    # The kubelet's probes are no stranger's.
    ready(kubectl, "a")
    kubectl.run("delete", "networkpolicy", "guard", "-n", NAMESPACE)
    eventually(lambda: fetch(kubectl, "outsider", url, within=STRANGER) == "a", "it is let in")


def test_a_pod_that_may_reach_the_dns_alone_reaches_it_alone(
    kubectl: Kubectl, pods: dict[str, dict[str, Any]]
):
    dns = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    kubectl.apply(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "names-only", "namespace": NAMESPACE},
            "spec": {
                "podSelector": {"matchLabels": {"app": "b"}},
                "policyTypes": ["Egress"],
                "egress": [{"to": [dns], "ports": [{"protocol": "UDP", "port": 53}]}],
            },
        }
    )
    url = f"http://{address(pods['a'])}:8080"
    eventually(lambda: fetch(kubectl, "b", url, 1.0) == "", "it reaches no pod")
    code = "import socket; print(socket.gethostbyname('kubernetes.default.svc.cluster.local'))"
    found = kubectl.get("service", "kubernetes", "-n", "default")["spec"]["clusterIP"]
    assert execute(kubectl, "b", "python3", "-c", code) == found
    kubectl.run("delete", "networkpolicy", "names-only", "-n", NAMESPACE)
    eventually(lambda: fetch(kubectl, "b", url) == "a", "it reaches pods again")


def test_a_pod_is_cut_off_and_mended(
    kubectl: Kubectl, pods: dict[str, dict[str, Any]], network: Network
):
    url = f"http://{address(pods['b'])}:8080"
    with network.pod_cut(NAMESPACE, "b"):
        assert fetch(kubectl, "a", url, 1.0) == ""
        assert fetch(kubectl, "b", f"http://{address(pods['a'])}:8080", 1.0) == ""
        assert fetch(kubectl, "c", f"http://{address(pods['a'])}:8080") == "a"
    assert fetch(kubectl, "a", url) == "b"


def test_a_node_is_cut_off_noticed_and_mended(
    kubectl: Kubectl, pods: dict[str, dict[str, Any]], network: Network
):
    def condition() -> str:
        found = kubectl.get("node", "real-1")["status"]["conditions"]
        return str(next(one["status"] for one in found if one["type"] == "Ready"))

    url = f"http://{address(pods['b'])}:8080"
    assert condition() == "True"
    with network.node_cut("real-1"):
        assert fetch(kubectl, "a", url, 1.0) == ""
        assert fetch(kubectl, "a", f"http://{address(pods['c'])}:8080") == "c"
        eventually(lambda: condition() == "Unknown", "its silence is noticed", 90)
    eventually(lambda: condition() == "True", "it is back", 60)
    assert fetch(kubectl, "a", url) == "b"


# --- beside simulated nodes ----------------------------------------------------------------------


def test_simulated_pods_go_where_they_are_tolerated_and_real_ones_stay_away(
    kubectl: Kubectl, pods: dict[str, dict[str, Any]]
):
    tolerations = [{"key": "ml-platform/node", "value": "simulated", "effect": "NoSchedule"}]
    played = pod("played", nodeSelector={"ml-platform/node": "simulated"}, tolerations=tolerations)
    played["spec"]["containers"][0]["image"] = "example.org/none"
    kubectl.apply(played, pod("free", nodeSelector={}))
    ready(kubectl, "played", "free")
    names = {
        name: kubectl.get("pod", name, "-n", NAMESPACE)["spec"]["nodeName"]
        for name in ("played", "free")
    }
    assert names["played"] == "sandbox-0"
    assert names["free"].startswith("real-")
    kubectl.run("delete", "pod", "played", "free", "-n", NAMESPACE)


def test_this_host_reaches_pods_and_services(kubectl: Kubectl, pods: dict[str, dict[str, Any]]):
    kubectl.apply(service("open", {"app": "b"}))
    cluster_ip = kubectl.get("service", "open", "-n", NAMESPACE)["spec"]["clusterIP"]

    def here(url: str) -> str:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    assert here(f"http://{address(pods['b'])}:8080") == "b"
    eventually(lambda: here(f"http://{cluster_ip}") == "b", "the Service answers this host")


def test_the_api_server_asks_a_webhook_of_a_simulated_deployment(
    kubectl: Kubectl, pods: dict[str, dict[str, Any]]
):
    hook = "played-hook"
    template = pod(hook)
    template["spec"]["nodeSelector"] = {"ml-platform/node": "simulated"}
    template["spec"]["tolerations"] = [{"operator": "Exists"}]
    kubectl.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": hook, "namespace": NAMESPACE},
            "spec": {
                "selector": {"matchLabels": {"app": hook}},
                "template": {"metadata": {"labels": {"app": hook}}, "spec": template["spec"]},
            },
        },
        service(hook, {"app": hook}, ports=[{"port": 443, "targetPort": 8443}]),
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": hook},
            "webhooks": [
                {
                    "name": "validate.example.org",
                    "clientConfig": {
                        "service": {"namespace": NAMESPACE, "name": hook, "port": 443}
                    },
                    "rules": [
                        {
                            "apiGroups": [""],
                            "apiVersions": ["v1"],
                            "operations": ["CREATE"],
                            "resources": ["configmaps"],
                        }
                    ],
                    "objectSelector": {"matchLabels": {"admitted-by": hook}},
                    "failurePolicy": "Fail",
                    "sideEffects": "None",
                    "admissionReviewVersions": ["v1"],
                }
            ],
        },
    )
    asked = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "asked", "namespace": NAMESPACE, "labels": {"admitted-by": hook}},
    }
    eventually(
        lambda: kubectl.try_("create", "-f", "-", text=json.dumps(asked)).returncode == 0,
        "the webhook answers",
    )
    kubectl.run("delete", "deployment", hook, "-n", NAMESPACE)
    asked["metadata"]["name"] = "refused"
    eventually(
        lambda: (
            "failed calling webhook"
            in kubectl.try_("create", "--dry-run=server", "-f", "-", text=json.dumps(asked)).stderr
        ),
        "the webhook is gone with its Deployment",
    )
    kubectl.run("delete", "validatingwebhookconfiguration", hook)


def test_status_names_each_part_of_a_node(real_sandbox: RunningSandbox):
    status = controlplane.status(real_sandbox.name, real_sandbox.data_dir)
    assert status.healthy
    names = {part.name for part in status.parts}
    for node in ("real-0", "real-1", "real-2"):
        assert {
            f"{part}-{node}" for part in ("containerd", "kubelet", "kube-proxy", "kube-router")
        } <= names
    assert all(part.log.exists() for part in status.parts)


def test_a_wait_for_nothing_takes_no_time(kubectl: Kubectl, pods: dict[str, dict[str, Any]]):
    """A pod starts within seconds: what Redis's failover times are measured on."""
    began = time.monotonic()
    kubectl.apply(pod("quick"))
    ready(kubectl, "quick")
    assert time.monotonic() - began < 15
    kubectl.run("delete", "pod", "quick", "-n", NAMESPACE)
