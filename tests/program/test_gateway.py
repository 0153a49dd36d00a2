"""The gateway against Pulumi's mocks: what it registers, in which order, and what is secret."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pulumi.runtime.config as runtime_config
import pytest
import yaml

from components.cluster.base import AMD64, Capabilities, Cluster
from components.gateway.component import Gateway, GatewayArgs
from components.gateway.install import InstallArgs
from components.gateway.routes import parse
from components.gateway.workloads import NAMES
from provider.values import SECRET_MARK, SIGNATURE
from tests.support.gateway_sources import MANIFESTS, small_definitions
from tests.support.programs import existing_kubeconfig
from toolchain.tools import find

ROOT = Path(__file__).parents[2]
KUBEFLOW = ROOT.parent / "shared" / "sources" / "kubeflow-manifests" / "v1.10.2"
ACCESS = "mlplatform:gateway:Access::gateway-access"
HOST = "app.example.com"
ROUTES: dict[str, Any] = {
    "hosts": [{"name": HOST, "tls": {"type": "ownCa"}}],
    "backends": [{"name": "app", "service": {"name": "app", "namespace": "apps", "port": 80}}],
    "consumers": [{"name": "ann"}],
    "policies": [
        {"type": "apiKey", "name": "keys", "consumers": ["ann"]},
        {"type": "basic", "name": "users", "consumers": ["ann"]},
    ],
    "routes": [
        {
            "name": "api",
            "hosts": [HOST],
            "path": {"value": "/api"},
            "backends": [{"name": "app"}],
            "policies": ["keys"],
        },
        {"name": "app", "hosts": [HOST], "backends": [{"name": "app"}], "policies": ["users"]},
    ],
}


class Fixed(Cluster):
    def __init__(self, balanced: bool) -> None:
        super().__init__("Fixed", "cluster")
        self._offer("cluster", "{}", "fixed", Capabilities(balanced, "", AMD64))


@pytest.fixture
def args(tmp_path: Path) -> Callable[..., GatewayArgs]:
    definitions = small_definitions(tmp_path / "definitions")

    def of(implementation: str, routes: dict[str, Any] = ROUTES) -> GatewayArgs:
        install = InstallArgs(
            implementation,  # type: ignore[arg-type]
            find("kustomize"),
            tmp_path / "cache",
            tmp_path / "lock.json",
            MANIFESTS[implementation],
            definitions=definitions,
        )
        return GatewayArgs(install, parse(routes))

    return of


def tail(urn: str) -> str:
    _, _, types, name = urn.split("::", 3)
    return f"{types.rpartition('$')[2]}::{name}"


def named(ran: Any) -> dict[str, Any]:
    found = {f"{r.type}::{r.name}": r for r in ran.registered}
    assert len(found) == len(ran.registered)
    return found


def waits(found: dict[str, Any], name: str) -> set[str]:
    """Everything that a resource comes after."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        for urn in found[todo.pop()].request.dependencies:
            if (needed := tail(urn)) not in seen:
                seen.add(needed)
                todo.append(needed)
    return seen


@pytest.fixture
def registered(run_program, args):
    def run(implementation: str, *, balanced: bool = False):
        return named(run_program(lambda: Gateway("gateway", Fixed(balanced), args(implementation))))

    return run


def secrets_of(found: dict[str, Any], implementation: str) -> set[str]:
    prefix = f"kubernetes:core/v1:Secret::{NAMES[implementation].namespace}/"
    return {name for name in found if name.startswith(prefix)}


@pytest.mark.parametrize("implementation", ["nginx", "kong"])
def test_the_pods_come_after_all_that_they_are_started_with(registered, implementation):
    found, names = registered(implementation), NAMES[implementation]
    pods = f"kubernetes:apps/v1:Deployment::{names.namespace}/{names.deployment}"
    needed = waits(found, pods)
    certificate = f"kubernetes:core/v1:Secret::{names.namespace}/gateway-tls"
    assert {
        certificate,
        ACCESS,
        f"kubernetes:core/v1:Namespace::{names.namespace}",
        f"kubernetes:networking.k8s.io/v1:IngressClass::{names.ingress_class}",
    } <= needed
    assert any(name.startswith("kubernetes:core/v1:ServiceAccount::") for name in needed)
    assert any("ClusterRoleBinding" in name for name in needed)
    assert any(name.startswith("mlplatform:kubernetes:CustomResourceDefinition") for name in needed)


def test_routes_come_after_their_kinds_and_the_pods_that_work_on_them(registered):
    found = registered("nginx")
    customs = [name for name in found if name.startswith("kubernetes:k8s.nginx.org/")]
    assert any("VirtualServer" in name for name in customs)
    pods = "kubernetes:apps/v1:Deployment::nginx-ingress/nginx-ingress"
    for name in customs:
        needed = waits(found, name)
        assert any("CustomResourceDefinition" in entry for entry in needed), name
        if "GlobalConfiguration" not in name:
            assert pods in needed, name


@pytest.mark.parametrize("implementation", ["nginx", "kong"])
def test_no_credential_is_in_plain(registered, implementation):
    found = registered(implementation)
    made = {"made-key-ann", "made-password-ann", "made-key", "made-certificate", "made-ca_key"}
    placed = set()
    for name in secrets_of(found, implementation):
        data = found[name].request.object.fields["stringData"].struct_value.fields
        for key, value in data.items():
            if value.HasField("struct_value"):
                assert value.struct_value.fields[SIGNATURE].string_value == SECRET_MARK, name
                placed.add((name, key))
            else:
                # Kong's groups and names of users are words of the routes' file.
                assert value.string_value in ("keys", "users", "ann"), (name, key)
    assert len(placed) >= 4
    for name, resource in found.items():
        if name.startswith("kubernetes:") and ":Secret::" not in name:
            text = json.dumps(resource.inputs, default=str)
            assert not any(word in text for word in made), name


def test_another_key_changes_no_other_secret(run_program, args):
    more = {**ROUTES, "consumers": [{"name": "ann"}, {"name": "bob"}]}
    more["policies"] = [
        {**ROUTES["policies"][0], "consumers": ["ann", "bob"]},
        ROUTES["policies"][1],
    ]
    found = [
        named(
            run_program(
                lambda routes=routes: Gateway("gateway", Fixed(False), args("kong", routes))
            )
        )
        for routes in (ROUTES, more)
    ]
    one, other = (
        {name: run[name].request.object for name in secrets_of(run, "kong")} for run in found
    )
    assert set(other) - set(one) == {"kubernetes:core/v1:Secret::kong/gateway-key-bob"}
    assert all(other[name] == one[name] for name in one)


def test_kong_is_started_anew_for_another_certificate(registered):
    pods = registered("kong")["kubernetes:apps/v1:Deployment::kong/ingress-kong"]
    annotations = pods.inputs["spec"]["template"]["metadata"]["annotations"]
    assert len(annotations["ml-platform/certificate"]) == 16


@pytest.mark.parametrize("implementation", ["nginx", "kong"])
def test_a_chain_is_three_installations_one_behind_the_other(run_program, args, implementation):
    listeners = [
        {"protocol": "http", "name": "http"},
        {"protocol": "https", "name": "https"},
        {"protocol": "tcp", "name": "tcp", "port": 9000, "backend": "tcp"},
    ]
    place = {"name": "tcp", "namespace": "apps", "port": 9000}
    backends = [*ROUTES["backends"], {"name": "tcp", "protocol": "tcp", "service": place}]
    values = {**ROUTES, "topology": "chain", "listeners": listeners, "backends": backends}
    chained = args(implementation, values)
    found = named(run_program(lambda: Gateway("gateway", Fixed(True), chained)))
    namespace = NAMES[implementation].namespace
    layers = ("balancer", "proxy", "gateway")
    for layer, before in zip(layers, (None, *layers), strict=False):
        names = chained.names_of(layer)
        pods = found[f"kubernetes:apps/v1:Deployment::{namespace}/{names.deployment}"].inputs
        labels = pods["spec"]["template"]["metadata"]["labels"]
        assert names.labels.items() <= labels.items()
        service = found[f"kubernetes:core/v1:Service::{namespace}/{names.service}"].inputs["spec"]
        assert service["selector"].items() <= labels.items()
        assert service["type"] == ("ClusterIP" if before else "LoadBalancer")
        policy = f"kubernetes:networking.k8s.io/v1:NetworkPolicy::{namespace}/gateway-{layer}"
        (first, *_) = found[policy].inputs["spec"]["ingress"]
        asked = (
            [{"podSelector": {"matchLabels": dict(chained.names_of(before).labels)}}]
            if before
            else None
        )
        assert first.get("from") == asked
        assert f"kubernetes:networking.k8s.io/v1:IngressClass::{names.ingress_class}" in found
    # Nothing leads nowhere.
    routed = [r.inputs for name, r in found.items() if "Route::" in name or "Server::" in name]
    assert routed and '"name": ""' not in json.dumps(routed)
    assert '"service": ""' not in json.dumps(routed)


@pytest.mark.parametrize(
    ("balanced", "url"), [(True, f"https://{HOST}"), (False, f"https://{HOST}:8443")]
)
def test_outputs(run_program, args, balanced: bool, url: str):
    def program():
        gateway = Gateway("gateway", Fixed(balanced), args("nginx"))
        return pulumi.Output.all(**gateway.outputs)

    values, secret = run_program(program).returned
    assert secret and values["gatewayUrl"] == url
    assert values["gatewayAddress"] == ""
    assert values["gatewayPortForward"].endswith("service/nginx-ingress 8443:443")
    assert values["gatewayCaCertificate"] == "made-ca_certificate"
    assert values["gatewayCredentials"] == {
        "key-ann": "made-key-ann",
        "password-ann": "made-password-ann",
    }


def test_the_credentials_are_secret_and_the_authority_is_not(run_program, args):
    for name, expected in (("credentials", True), ("ca_certificate", False), ("address", False)):
        ran = run_program(
            lambda name=name: getattr(Gateway("gateway", Fixed(False), args("nginx")), name)
        )
        assert ran.returned[1] is expected, name


def test_the_address_of_a_load_balancer_is_waited_for(registered):
    service = "kubernetes:core/v1:Service::nginx-ingress/nginx-ingress"
    for balanced, skipped in ((True, "false"), (False, "true")):
        resource = registered("nginx", balanced=balanced)[service]
        annotations = resource.inputs["metadata"]["annotations"]
        assert annotations["pulumi.com/skipAwait"] == skipped


# --- the whole program ---------------------------------------------------------------------------


@pytest.fixture
def main(run_program, tmp_path: Path):
    kubeconfig = existing_kubeconfig(tmp_path)
    definitions = small_definitions(tmp_path / "definitions")

    def run(routes: dict[str, Any] | None = None, **settings: str):
        values = {
            "cluster": "existing",
            "kubeconfig": str(kubeconfig),
            "kubeflowPath": str(KUBEFLOW),
            "gateway": "nginx",
            **settings,
        }
        if values["gateway"] in MANIFESTS:
            values["gatewayPath"] = str(MANIFESTS[values["gateway"]])
        if values["gateway"] == "kong":
            values["gatewayDefinitionsPath"] = str(definitions)
        if routes is not None:
            (tmp_path / "routes.yaml").write_text(yaml.safe_dump(routes))
            values["gatewayRoutes"] = str(tmp_path / "routes.yaml")
        runtime_config.set_all_config({f"ml-platform:{k}": v for k, v in values.items()}, [])
        return named(
            run_program(lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"))
        )

    yield run
    runtime_config.set_all_config({}, [])


COMPONENTS = '["cert-manager", "istio"]'


@pytest.mark.parametrize("implementation", ["nginx", "kong"])
def test_the_dashboard_is_routed_with_a_certificate_of_cert_manager(main, implementation):
    found = main(gateway=implementation, kubeflowComponents=COMPONENTS)
    namespace = NAMES[implementation].namespace
    certificate = f"kubernetes:cert-manager.io/v1:Certificate::{namespace}/kubeflow-localhost-tls"
    needed = waits(found, certificate)
    assert f"kubernetes:cert-manager.io/v1:Issuer::{namespace}/gateway-ca" in needed
    kind = "mlplatform:kubernetes:CustomResourceDefinition::certificates.cert-manager.io"
    assert kind in needed
    # cert-manager's webhook answers before.
    assert any(name.startswith("mlplatform:kubernetes:AdmissionReady::") for name in needed)
    mentions = [
        name
        for name, resource in found.items()
        if name.startswith("kubernetes:") and "kubeflow.localhost" in json.dumps(resource.inputs)
    ]
    assert len(mentions) >= 2
    parents = {tail(found[name].request.parent) for name in mentions}
    assert parents == {"mlplatform:kubeflow:Manifests::gateway"}
    kubeflow = [
        name
        for name, resource in found.items()
        if tail(resource.request.parent or ":::::::::") == "mlplatform:kubeflow:Manifests::kubeflow"
    ]
    own = {n for n in found if found[n].request.parent.endswith("Manifests::gateway")}
    assert kubeflow and not any(waits(found, name) & own for name in kubeflow)


def test_redis_lets_the_gateway_in_where_it_has_a_port(main):
    found = main(gatewayRedisPort="6380", redisTopology="replicated", kubeflowComponents='["dex"]')
    clients = found["kubernetes:networking.k8s.io/v1:NetworkPolicy::redis/redis-clients"]
    assert "nginx-ingress" in json.dumps(clients.inputs["spec"]["ingress"])
    service = found["kubernetes:core/v1:Service::nginx-ingress/nginx-ingress"]
    assert 6380 in [port["port"] for port in service.inputs["spec"]["ports"]]


@pytest.mark.parametrize(
    ("routes", "settings", "message"),
    [
        (None, {"gatewayHost": "x.example.com", "gateway": "none"}, "gateway is 'none'"),
        (None, {"kubeflowComponents": '["cert-manager"]'}, "there is nothing to route"),
        ({"hosts": [{"name": "a..b"}]}, {}, "gatewayRoutes|routes.yaml"),
        (None, {"gatewayRedisPort": "6379"}, "redisTopology is 'none'"),
        (
            {**ROUTES, "hosts": [{"name": HOST, "tls": {"type": "acme", "email": "a@b.example"}}]},
            {"kubeflowComponents": '["dex"]'},
            "add cert-manager",
        ),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_registered(main, routes, settings, message):
    with pytest.raises(pulumi.RunError, match=message):
        main(routes, **settings)
