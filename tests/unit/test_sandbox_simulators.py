"""What stands for containers: webhook servers, cert-manager, the storage provisioner."""

import base64
import datetime
import http.client
import json
import socket
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from sandbox import admission, certmanager, network, pki, storage
from sandbox.admission import AdmissionSimulator, Backend, RequestLog
from sandbox.api import ApiError
from sandbox.certmanager import CertManagerSimulator
from sandbox.node import volumes
from sandbox.node.volumes import LocalVolumes
from sandbox.nodes import PROVISIONER
from sandbox.storage import StorageSimulator

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


class Api:
    """Answers requests from memory: what is patched or posted comes back; `refuse` maps paths."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict]] = []
        self.refuse: dict[str, int] = {}
        self.stored: dict[str, dict] = {}

    def request(self, method, path, body=None, content_type="application/json"):
        path = path.partition("?")[0]
        self.requests.append((method, path, body))
        if path in self.refuse:
            raise ApiError(self.refuse[path], method, path, "refused")
        if method == "PATCH":
            return merged(self.stored[path.removesuffix("/status")], body)
        return body or {}


def merged(old, patch):
    if isinstance(old, dict) and isinstance(patch, dict):
        return {**old, **{key: merged(old.get(key), value) for key, value in patch.items()}}
    if isinstance(old, list) and all("name" in item for item in old):
        by_name = {item["name"]: item for item in patch}
        return [merged(item, by_name.get(item["name"], {})) for item in old]
    return patch


@pytest.fixture
def pki_folder(tmp_path: Path) -> Path:
    authority = pki.create_authority("webhooks")
    (tmp_path / "webhook-ca.crt").write_bytes(authority.certificate)
    (tmp_path / "webhook-ca.key").write_bytes(authority.key)
    return tmp_path


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_an_admission_review_is_allowed_unchanged_in_its_own_version(version: str):
    review = {
        "apiVersion": f"admission.k8s.io/{version}",
        "kind": "AdmissionReview",
        "request": {"uid": "u"},
    }
    assert admission.answer(review) == {
        "apiVersion": f"admission.k8s.io/{version}",
        "kind": "AdmissionReview",
        "response": {"uid": "u", "allowed": True},
    }


def test_a_conversion_changes_nothing_but_the_version_and_keeps_the_order():
    review = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "ConversionReview",
        "request": {
            "uid": "u",
            "desiredAPIVersion": "g/v2",
            "objects": [{"apiVersion": "g/v1", "n": 1}, {"apiVersion": "g/v1", "n": 2}],
        },
    }
    response = admission.answer(review)["response"]
    assert response["convertedObjects"] == [
        {"apiVersion": "g/v2", "n": 1},
        {"apiVersion": "g/v2", "n": 2},
    ]
    assert response["result"] == {"status": "Success"}
    assert response["uid"] == "u"


@pytest.mark.parametrize("review", [{}, {"kind": "AdmissionReview"}, {"request": {"uid": "u"}}])
def test_anything_else_is_refused(review):
    with pytest.raises(ValueError, match=r"need"):
        admission.answer(review)


def test_the_request_log_says_what_was_admitted():
    review = {
        "kind": "AdmissionReview",
        "request": {
            "uid": "u",
            "kind": {"group": "kubeflow.org", "version": "v1", "kind": "Profile"},
            "namespace": "n",
            "name": "p",
            "operation": "CREATE",
            "dryRun": True,
            "userInfo": {"username": "deployer"},
        },
    }
    assert admission.record(review, Backend("ns", "svc", 443), "/validate", NOW) == {
        "time": "2026-01-02T03:04:05+00:00",
        "uid": "u",
        "review": "AdmissionReview",
        "service": "ns/svc",
        "port": 443,
        "path": "/validate",
        "operation": "CREATE",
        "user": "deployer",
        "dryRun": True,
        "apiVersion": "kubeflow.org/v1",
        "kind": "Profile",
        "namespace": "n",
        "name": "p",
    }


def test_an_endpoint_of_unknown_readiness_counts_as_ready():
    assert admission.has_ready_endpoint([{"endpoints": [{"addresses": ["10.0.0.1"]}]}])
    assert not admission.has_ready_endpoint([{"endpoints": [{"conditions": {"ready": False}}]}])
    assert not admission.has_ready_endpoint([{"endpoints": None}, {}])
    on_real_node = [{"endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "real-0"}]}]
    assert admission.has_ready_endpoint(on_real_node, ["real-1"])
    assert not admission.has_ready_endpoint(on_real_node, ["real-0"])


# --- when webhooks answer ------------------------------------------------------------------------


def configuration(annotations=None, bundle=None, port=None):
    client = {"service": {"namespace": "ns", "name": "svc", "path": "/validate"}}
    if bundle is not None:
        client["caBundle"] = bundle
    if port:
        client["service"]["port"] = port
    return {
        "metadata": {"name": "hook", "annotations": annotations or {}},
        "webhooks": [{"name": "a.b.c", "clientConfig": client}],
    }


def slice_(ready: bool):
    return {
        "metadata": {
            "namespace": "ns",
            "name": "svc-1",
            "labels": {"kubernetes.io/service-name": "svc"},
        },
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}],
    }


class Cluster:
    """An AdmissionSimulator whose collections are filled by hand."""

    address = "127.251.7.7"

    def __init__(self, pki_folder: Path, delay: float) -> None:
        self.api = Api()
        self.injector = True
        issued = CertManagerSimulator(self.api, lambda: None, pki_folder)
        self.secrets, self.certificates = issued.secrets, issued.certificates
        self.port = network.choose_port(self.address)
        self.authority = (pki_folder / "webhook-ca.crt").read_text()
        self.log = pki_folder / "requests.jsonl"
        self.simulator = AdmissionSimulator(
            self.api,
            lambda: None,
            pki_folder=pki_folder,
            log=RequestLog(self.log),
            delay=delay,
            secrets=self.secrets,
            certificates=self.certificates,
            injector_available=lambda: self.injector,
            addresses=self,
            real_nodes={"real-0"},
        )
        self.taken: list[str] = []

    def take(self, address: str) -> None:
        self.taken.append(address)

    def give_up(self, address: str) -> None:
        self.taken.remove(address)

    def service(self) -> None:
        self.simulator._services.put(
            {
                "metadata": {"namespace": "ns", "name": "svc"},
                "spec": {"clusterIP": self.address},
            }
        )

    def webhook(self, **arguments) -> None:
        path = f"{admission._CONFIGURATIONS['ValidatingWebhookConfiguration']}/hook"
        self.api.stored[path] = configuration(port=self.port, **arguments)
        self.simulator._configurations["ValidatingWebhookConfiguration"].put(self.api.stored[path])

    def endpoint(self, ready: bool) -> None:
        self.simulator._slices.put(slice_(ready))

    def answers(self) -> bool:
        return network.answers(self.address, self.port)

    def connect(self) -> http.client.HTTPSConnection:
        """A connection as the API server makes it: to the ClusterIP, in the Service's name."""
        context = ssl.create_default_context(cadata=self.authority)
        raw = socket.create_connection((self.address, self.port), timeout=5)
        connection = http.client.HTTPSConnection(self.address, self.port)
        connection.sock = context.wrap_socket(raw, server_hostname="svc.ns.svc")
        return connection

    def bundles(self) -> list[bytes]:
        return [
            base64.b64decode(webhook["clientConfig"]["caBundle"])
            for method, _, body in self.api.requests
            if method == "PATCH"
            for webhook in body["webhooks"]
        ]


@pytest.fixture
def cluster(pki_folder: Path):
    made = Cluster(pki_folder, delay=30)
    yield made
    for server in made.simulator._servers.values():
        server.stop()


def test_a_webhook_answers_only_after_the_delay_and_stops_with_its_deployment(cluster: Cluster):
    cluster.webhook()
    cluster.service()
    cluster.endpoint(ready=False)
    assert cluster.simulator.reconcile(100) is None
    cluster.endpoint(ready=True)
    assert cluster.simulator.reconcile(110) == 140
    assert cluster.simulator.reconcile(139) == 140
    assert not cluster.answers()
    assert cluster.bundles() == []

    assert cluster.taken == []
    assert cluster.simulator.reconcile(140) is None
    assert cluster.answers()
    assert cluster.taken == [cluster.address]
    assert cluster.bundles() == [cluster.authority.encode()]

    cluster.endpoint(ready=False)
    cluster.simulator.reconcile(150)
    assert not cluster.answers()
    assert cluster.taken == []
    cluster.endpoint(ready=True)
    assert cluster.simulator.reconcile(160) == 190


def test_a_webhook_of_real_pods_is_left_to_them(cluster: Cluster):
    cluster.webhook()
    cluster.service()
    real = slice_(ready=True)
    for endpoint in real["endpoints"]:
        endpoint["nodeName"] = "real-0"
    cluster.simulator._slices.put(real)
    cluster.simulator.reconcile(0)
    cluster.simulator.reconcile(30)
    assert not cluster.answers()
    assert cluster.taken == []


def test_a_review_is_answered_over_tls_in_the_services_name_and_logged(cluster: Cluster):
    cluster.webhook()
    cluster.service()
    cluster.endpoint(ready=True)
    cluster.simulator.reconcile(0)
    cluster.simulator.reconcile(30)
    connection = cluster.connect()
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    for uid in ("1", "2"):
        body = json.dumps({**review, "request": {"uid": uid}})
        connection.request("POST", "/validate?timeout=10s", body)
        response = connection.getresponse()
        assert response.status == 200
        assert json.loads(response.read())["response"] == {"uid": uid, "allowed": True}
    connection.request("POST", "/validate", "no json")
    response = connection.getresponse()
    assert response.status == 400
    response.read()
    logged = [json.loads(line) for line in cluster.log.read_text().splitlines()]
    assert [(entry["uid"], entry["path"]) for entry in logged] == [
        ("1", "/validate"),
        ("2", "/validate"),
    ]

    # The API server keeps connections; a server that is gone must not answer on them.
    cluster.endpoint(ready=False)
    cluster.simulator.reconcile(40)
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.request("POST", "/validate", "{}")
        connection.getresponse()


def test_a_webhook_without_its_service_is_closed(cluster: Cluster):
    cluster.webhook()
    cluster.endpoint(ready=True)
    assert cluster.simulator.reconcile(0) is None
    assert cluster.simulator.reconcile(1000) is None
    assert not cluster.answers()


def test_a_bundle_that_is_there_is_left_alone(cluster: Cluster):
    cluster.webhook(bundle="Zm9v")
    cluster.service()
    cluster.endpoint(ready=True)
    cluster.simulator.reconcile(0)
    cluster.simulator.reconcile(30)
    assert cluster.answers()
    assert cluster.api.requests == []


def test_a_bundle_that_somebody_emptied_is_injected_again(cluster: Cluster):
    cluster.webhook()
    cluster.service()
    cluster.endpoint(ready=True)
    cluster.simulator.reconcile(0)
    cluster.simulator.reconcile(30)
    cluster.simulator.reconcile(31)
    assert len(cluster.bundles()) == 1
    cluster.webhook(bundle="")
    cluster.simulator.reconcile(32)
    assert len(cluster.bundles()) == 2


def test_with_a_certificate_both_server_and_bundle_wait_for_its_secret(cluster: Cluster):
    cluster.webhook(annotations={admission.INJECT_FROM_CERTIFICATE: "ns/cert"})
    cluster.service()
    cluster.endpoint(ready=True)
    assert cluster.simulator.reconcile(0) is None
    cluster.certificates.put(
        {"metadata": {"namespace": "ns", "name": "cert"}, "spec": {"secretName": "tls"}}
    )
    assert cluster.simulator.reconcile(1) is None
    assert cluster.bundles() == []
    cluster.injector = False
    cluster.secrets.put({"metadata": {"namespace": "ns", "name": "tls"}})
    assert cluster.simulator.reconcile(2) == 32
    assert cluster.bundles() == []
    cluster.injector = True
    assert cluster.simulator.reconcile(3) == 32
    assert cluster.bundles() == [cluster.authority.encode()]
    assert not cluster.answers()
    cluster.simulator.reconcile(32)
    assert cluster.answers()


def test_with_a_secret_of_its_own_the_bundle_waits_for_the_injector(cluster: Cluster):
    cluster.webhook(annotations={admission.INJECT_FROM_SECRET: "ns/ca"})
    cluster.service()
    cluster.endpoint(ready=True)
    cluster.injector = False
    cluster.simulator.reconcile(0)
    cluster.simulator.reconcile(30)
    assert cluster.answers()
    assert cluster.bundles() == []
    cluster.injector = True
    cluster.simulator.reconcile(31)
    assert len(cluster.bundles()) == 1


def test_a_crds_conversion_is_a_webhook_and_is_patched_as_one():
    definition = {
        "metadata": {"name": "a.b"},
        "spec": {
            "conversion": {
                "strategy": "Webhook",
                "webhook": {"clientConfig": {"service": {"namespace": "ns", "name": "svc"}}},
            }
        },
    }
    [webhook] = admission.webhooks("CustomResourceDefinition", definition)
    assert webhook.backend == Backend("ns", "svc", 443)
    patch, content_type = admission.bundle_patch("CustomResourceDefinition", [""], b"ca")
    assert patch["spec"]["conversion"]["webhook"]["clientConfig"] == {"caBundle": "Y2E="}
    assert content_type == "application/merge-patch+json"
    assert admission.webhooks("CustomResourceDefinition", {**definition, "spec": {}}) == []


def test_a_webhook_outside_the_cluster_is_none_of_ours():
    outside = {
        "metadata": {"name": "hook"},
        "webhooks": [{"name": "a", "clientConfig": {"url": "https://example.org"}}],
    }
    assert admission.webhooks("ValidatingWebhookConfiguration", outside) == []


# --- cert-manager --------------------------------------------------------------------------------

API = "/apis/cert-manager.io/v1"


def deployment(component: str, available: int):
    return {
        "metadata": {
            "namespace": "cert-manager",
            "name": component,
            "labels": {"app.kubernetes.io/component": component},
        },
        "status": {"availableReplicas": available},
    }


def certificate(issuer_kind: str = "Issuer"):
    return {
        "metadata": {"namespace": "ns", "name": "cert", "generation": 2},
        "spec": {
            "secretName": "tls",
            "dnsNames": ["svc.ns.svc"],
            "issuerRef": {"name": "issuer", "kind": issuer_kind},
        },
    }


class CertManager:
    def __init__(self, pki_folder: Path) -> None:
        self.api = Api()
        self.simulator = CertManagerSimulator(self.api, lambda: None, pki_folder)
        self.simulator._deployments.put(deployment("controller", 1))

    def put(self, kind: str, item: dict) -> None:
        metadata = item["metadata"]
        namespace = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
        self.api.stored[f"{API}{namespace}/{kind}/{metadata['name']}"] = item
        self.simulator._resources[kind].put(item)

    def reconcile(self) -> list[tuple[str, str]]:
        before = len(self.api.requests)
        self.simulator.reconcile(NOW)
        return [(method, path) for method, path, _ in self.api.requests[before:]]


@pytest.fixture
def cert_manager(pki_folder: Path) -> CertManager:
    return CertManager(pki_folder)


def test_nothing_is_issued_before_cert_manager_is_available(cert_manager: CertManager):
    cert_manager.simulator._deployments.put(deployment("controller", 0))
    cert_manager.put("issuers", {"metadata": {"namespace": "ns", "name": "issuer"}})
    assert cert_manager.reconcile() == []


def test_the_injector_is_available_by_its_own_deployment(cert_manager: CertManager):
    assert not cert_manager.simulator.injector_available()
    cert_manager.simulator._deployments.put(deployment("cainjector", 1))
    assert cert_manager.simulator.injector_available()


@pytest.mark.parametrize(
    ("kind", "path"),
    [("Issuer", "/namespaces/ns/issuers/issuer"), ("ClusterIssuer", "/clusterissuers/issuer")],
)
def test_a_certificate_is_issued_once_its_issuer_is_there(
    cert_manager: CertManager, kind: str, path: str
):
    cert_manager.put("certificates", certificate(kind))
    assert cert_manager.reconcile() == []
    metadata = {"name": "issuer"} | ({"namespace": "ns"} if kind == "Issuer" else {})
    cert_manager.put("issuers" if kind == "Issuer" else "clusterissuers", {"metadata": metadata})
    assert cert_manager.reconcile() == [
        ("PATCH", f"{API}{path}/status"),
        ("POST", "/api/v1/namespaces/ns/secrets"),
        ("PATCH", f"{API}/namespaces/ns/certificates/cert/status"),
    ]
    found = cert_manager.simulator.certificates.get("ns", "cert")
    assert certmanager.is_ready(found)
    assert found["status"]["conditions"][0]["observedGeneration"] == 2
    assert cert_manager.reconcile() == []


def test_a_namespace_that_is_going_does_not_stop_the_others(cert_manager: CertManager):
    cert_manager.put("issuers", {"metadata": {"namespace": "ns", "name": "issuer"}})
    cert_manager.put("certificates", certificate())
    cert_manager.api.refuse["/api/v1/namespaces/ns/secrets"] = 403
    cert_manager.reconcile()
    assert not certmanager.is_ready(cert_manager.simulator.certificates.get("ns", "cert"))


def test_the_secret_holds_a_chain_for_the_certificates_names(pki_folder: Path):
    authority = pki.create_authority("test")
    secret = certmanager.secret_for(certificate(), authority)
    data = {key: base64.b64decode(value) for key, value in secret["data"].items()}
    leaf = x509.load_pem_x509_certificate(data["tls.crt"])
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(data["ca.crt"]))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["svc.ns.svc"]
    assert secret["type"] == "kubernetes.io/tls"
    assert secret["metadata"]["annotations"]["cert-manager.io/certificate-name"] == "cert"


# --- storage -------------------------------------------------------------------------------------


def claim(annotations=None, **spec):
    return {
        "metadata": {
            "namespace": "ns",
            "name": "data",
            "uid": "u1",
            "resourceVersion": "5",
            "annotations": annotations or {},
        },
        "spec": {
            "storageClassName": "standard",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            **spec,
        },
    }


def storage_class(mode: str = "Immediate", provisioner: str = PROVISIONER):
    return {
        "metadata": {"name": "standard"},
        "provisioner": provisioner,
        "volumeBindingMode": mode,
        "reclaimPolicy": "Delete",
    }


def test_a_volume_is_made_at_once_or_when_a_pod_was_placed():
    assert storage.wants_volume(claim(), storage_class())
    assert not storage.wants_volume(claim(), storage_class("WaitForFirstConsumer"))
    placed = claim({"volume.kubernetes.io/selected-node": "sandbox-0"})
    assert storage.wants_volume(placed, storage_class("WaitForFirstConsumer"))


def test_claims_of_others_bound_and_leaving_ones_are_left_alone():
    assert not storage.wants_volume(claim(), None)
    assert not storage.wants_volume(claim(), storage_class(provisioner="example.org/disk"))
    assert not storage.wants_volume(claim(volumeName="pv"), storage_class())
    leaving = claim()
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not storage.wants_volume(leaving, storage_class())


def test_a_volume_is_as_large_as_asked_made_once_and_deleted_when_released(tmp_path: Path):
    api = Api()
    simulator = StorageSimulator(api, lambda: None, LocalVolumes(tmp_path, frozenset()))
    simulator._classes.put(storage_class())
    simulator._claims.put(claim())
    simulator.reconcile()
    simulator.reconcile()
    [(method, path, volume)] = api.requests
    assert (method, path) == ("POST", "/api/v1/persistentvolumes")
    assert volume["spec"]["capacity"] == {"storage": "1Gi"}
    assert volume["spec"]["claimRef"]["uid"] == "u1"
    simulator._claims.put(claim(volumeName="pvc-u1"))
    simulator._volumes.put({**volume, "status": {"phase": "Bound"}})
    simulator.reconcile()
    assert len(api.requests) == 1
    simulator._volumes.put({**volume, "status": {"phase": "Released"}})
    simulator.reconcile()
    assert api.requests[1][:2] == ("DELETE", "/api/v1/persistentvolumes/pvc-u1")


def test_a_volume_on_a_real_node_is_a_folder_that_goes_with_it(tmp_path: Path):
    api = Api()
    simulator = StorageSimulator(api, lambda: None, LocalVolumes(tmp_path, frozenset({"real-0"})))
    simulator._classes.put(storage_class("WaitForFirstConsumer"))
    simulator._claims.put(claim({"volume.kubernetes.io/selected-node": "real-0"}))
    simulator.reconcile()
    [(_, _, volume)] = api.requests
    folder = Path(volume["spec"]["local"]["path"])
    assert folder.parent == tmp_path / "volumes"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777
    assert "hostPath" not in volume["spec"]
    [term] = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["real-0"]}
    ]
    (folder / "file").touch()
    simulator._volumes.put({**volume, "status": {"phase": "Released"}})
    simulator.reconcile()
    assert not folder.exists()


def bound(wants: str, has: str) -> dict:
    found = claim(volumeName="pvc-u1")
    found["spec"]["resources"] = {"requests": {"storage": wants}}
    return {**found, "status": {"phase": "Bound", "capacity": {"storage": has}}}


def test_a_claim_that_asks_for_more_gets_it_in_place(tmp_path: Path):
    api = Api()
    simulator = StorageSimulator(api, lambda: None, LocalVolumes(tmp_path, frozenset()))
    simulator._classes.put(storage_class())
    volume = storage.volume_for(claim(), storage_class())
    simulator._volumes.put({**volume, "status": {"phase": "Bound"}})
    simulator._claims.put(bound("1Gi", "1Gi"))
    simulator.reconcile()
    assert api.requests == []
    simulator._claims.put(bound("2Gi", "1Gi"))
    claims = "/api/v1/namespaces/ns/persistentvolumeclaims/data"
    api.stored = {"/api/v1/persistentvolumes/pvc-u1": volume, claims: bound("2Gi", "1Gi")}
    simulator.reconcile()
    assert [(method, path) for method, path, _ in api.requests] == [
        ("PATCH", "/api/v1/persistentvolumes/pvc-u1"),
        ("PATCH", f"{claims}/status"),
    ]
    capacities = [
        api.requests[0][2]["spec"]["capacity"],
        api.requests[1][2]["status"]["capacity"],
    ]
    assert capacities == [{"storage": "2Gi"}] * 2
    assert api.requests[1][2]["status"]["conditions"] is None


def test_a_larger_volume_that_somebody_made_is_left_as_it_is():
    volume = storage.volume_for(claim(), storage_class())
    assert volumes.expansion(bound("1Gi", "5Gi"), volume)
    volume["metadata"]["annotations"] = {}
    assert volumes.expansion(bound("1Gi", "5Gi"), volume) is None


def test_a_volume_to_be_kept_is_kept():
    volume = storage.volume_for(claim(), {**storage_class(), "reclaimPolicy": "Retain"})
    assert not storage.is_left_over({**volume, "status": {"phase": "Released"}})
