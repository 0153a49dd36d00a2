"""What is installed of a gateway: its manifests, certificates and Secrets; what is routed."""

import dataclasses
import datetime
import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.gateway import access, create, credentials, images, install, tls
from components.gateway.component import GatewayArgs, objects
from components.gateway.create import Wishes
from components.gateway.errors import GatewayError
from components.gateway.install import InstallArgs
from components.gateway.rendering import Front
from components.gateway.routes import parse
from components.gateway.workloads import NAMES, Port, Shape, image
from components.kubeflow.source import SourceError
from components.platform_provider import GatewayAccess as Resource
from provider.gateway import GatewayAccess
from tests.support.gateway_sources import MANIFESTS, small_definitions
from toolchain.tools import find

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
BACKEND = {"name": "app", "service": {"name": "app", "namespace": "apps", "port": 80}}
ROUTE = {"name": "app", "hosts": ["a.example.com"], "backends": [{"name": "app"}]}


def routes(tls_: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    host: dict[str, Any] = {"name": "a.example.com"}
    if tls_:
        host["tls"] = tls_
    return {"hosts": [host], "backends": [BACKEND], "routes": [ROUTE], **more}


# --- manifests -----------------------------------------------------------------------------------


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    return small_definitions(tmp_path / "definitions")


@pytest.fixture
def args(tmp_path: Path, definitions: Path):
    def of(implementation: str, **more: Any) -> InstallArgs:
        values = {"path": MANIFESTS[implementation], "definitions": definitions, **more}
        return InstallArgs(
            implementation,  # type: ignore[arg-type]
            find("kustomize"),
            tmp_path / "cache",
            tmp_path / "gateway.lock.json",
            **values,
        )

    return of


def shape(implementation: str, *, stream: int = 0, **more: Any) -> Shape:
    names = NAMES[implementation]
    ports = [Port("http", 80, names.http), Port("https", 443, names.https)]
    if stream:
        ports.append(Port("redis", stream, stream, stream=True))
    values = {"replicas": 2, "load_balancer": False, "certificate": "gateway-tls", **more}
    return Shape(ports=tuple(ports), **values)


def by_name(bodies: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {f"{body['kind']}/{body['metadata']['name']}": body for body in bodies}
    assert len(found) == len(bodies)
    return found


def pod_of(bodies: list[dict[str, Any]]) -> dict[str, Any]:
    (deployment,) = [body for body in bodies if body["kind"] == "Deployment"]
    return deployment["spec"]["template"]["spec"]


@pytest.mark.parametrize("implementation", ["nginx", "kong"])
def test_upstreams_manifests_with_pods_that_pass_the_restricted_standard(args, implementation):
    bodies = install.objects(args(implementation), shape(implementation))
    found, names = by_name(bodies), NAMES[implementation]
    namespace = found[f"Namespace/{names.namespace}"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {f"Deployment/{names.deployment}", f"Service/{names.service}"} <= set(found)
    assert f"IngressClass/{names.ingress_class}" in found
    assert any(name.startswith("CustomResourceDefinition/") for name in found)
    assert found[f"Deployment/{names.deployment}"]["spec"]["replicas"] == 2
    pod = pod_of(bodies)
    # https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*pod.get("initContainers", ()), *pod["containers"]]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["runAsNonRoot"] and security["readOnlyRootFilesystem"]
        assert security["capabilities"]["drop"] == ["ALL"]
        assert set(security["capabilities"].get("add", ())) <= {"NET_BIND_SERVICE"}
        assert {"requests", "limits"} <= set(container["resources"]), container["name"]
        reference = container["image"]
        assert "@sha256:" in reference or re.search(r":\d+\.\d+\.\d+$", reference), reference
    assert all("readinessProbe" in container for container in pod["containers"])
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert not [v for v in pod["volumes"] if "hostPath" in v]
    for container in pod["containers"]:
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


@pytest.mark.parametrize("implementation", ["nginx", "kong"])
def test_a_load_balancer_where_the_cluster_has_one_else_ports_of_nodes(args, implementation):
    name = f"Service/{NAMES[implementation].service}"
    for balanced, kind in ((True, "LoadBalancer"), (False, "NodePort")):
        asked = shape(implementation, load_balancer=balanced)
        service = by_name(install.objects(args(implementation), asked))[name]
        assert service["spec"]["type"] == kind
        assert [port["port"] for port in service["spec"]["ports"]] == [80, 443]
        annotations = service["metadata"].get("annotations", {})
        assert (annotations.get("pulumi.com/skipAwait") == "false") is balanced


@pytest.mark.parametrize("implementation", ["nginx", "kong"])
def test_a_port_of_tcp_is_open_from_the_service_to_the_pods(args, implementation):
    bodies = install.objects(args(implementation), shape(implementation, stream=6379))
    found, names = by_name(bodies), NAMES[implementation]
    ports = found[f"Service/{names.service}"]["spec"]["ports"]
    assert ports[-1] | {"name": "redis", "port": 6379, "targetPort": 6379} == ports[-1]
    opened = {
        port["containerPort"]
        for container in pod_of(bodies)["containers"]
        for port in container["ports"]
    }
    allowed = {
        port["port"]
        for rule in found["NetworkPolicy/gateway"]["spec"]["ingress"]
        if "from" not in rule
        for port in rule["ports"]
    }
    assert allowed == {names.http, names.https, 6379} and allowed <= opened
    if implementation == "kong":
        assert "CustomResourceDefinition/tcproutes.gateway.networking.k8s.io" in found
        environment = {e["name"]: e.get("value") for e in pod_of(bodies)["containers"][0]["env"]}
        assert environment["KONG_STREAM_LISTEN"] == "0.0.0.0:6379"


@pytest.mark.parametrize("implementation", ["nginx", "kong"])
def test_ports_of_tcp_may_be_called_as_upstreams_own(args, implementation):
    names = NAMES[implementation]
    ports = [Port(name, 9000 + i, 9000 + i, True) for i, name in enumerate(("http", "x" * 40))]
    asked = Shape(ports=tuple(ports), replicas=1, load_balancer=False, certificate="gateway-tls")
    bodies = install.objects(args(implementation), asked)
    called = [
        port["name"]
        for container in pod_of(bodies)["containers"]
        for port in container["ports"]
        if "name" in port
    ]
    assert len(called) == len(set(called)) and all(len(name) <= 15 for name in called)
    service = by_name(bodies)[f"Service/{names.service}"]
    assert [port["targetPort"] for port in service["spec"]["ports"]] == [9000, 9001]


def test_metrics_are_read_by_monitors_alone_and_one_pod_has_no_budget(args):
    many = by_name(install.objects(args("nginx"), shape("nginx", monitors=("watch",))))
    (rule,) = [r for r in many["NetworkPolicy/gateway"]["spec"]["ingress"] if "from" in r]
    assert "watch" in str(rule["from"]) and [p["port"] for p in rule["ports"]] == [9113]
    budget = many["PodDisruptionBudget/nginx-ingress"]["spec"]
    assert budget["maxUnavailable"] == 1
    one = by_name(install.objects(args("nginx"), shape("nginx", replicas=1)))
    assert "PodDisruptionBudget/nginx-ingress" not in one
    assert not [r for r in one["NetworkPolicy/gateway"]["spec"]["ingress"] if "from" in r]


def test_rendered_once_for_the_same_input(args, monkeypatch):
    first = install.objects(args("nginx"), shape("nginx"))
    monkeypatch.setattr(install.render, "build", lambda *_: pytest.fail("rendered again"))
    assert install.objects(args("nginx"), shape("nginx")) == first
    with pytest.raises(pytest.fail.Exception):
        install.objects(args("nginx"), shape("nginx", replicas=3))


def test_manifests_of_something_else_name_the_setting(args, tmp_path: Path):
    with pytest.raises(SourceError, match=r"gatewayPath is .* no copy of nginx/kubernetes-ingress"):
        install.objects(args("nginx", path=MANIFESTS["kong"]), shape("nginx"))
    with pytest.raises(SourceError, match=r"gatewayPath is .*, which is no folder"):
        install.objects(args("nginx", path=tmp_path / "none"), shape("nginx"))
    with pytest.raises(SourceError, match="gatewayRef is 'a b'"):
        install.objects(args("nginx", path=None, ref="a b"), shape("nginx"))
    with pytest.raises(SourceError, match=r"gatewayDefinitionsPath is .*kubernetes-conf"):
        install.objects(args("kong", definitions=tmp_path / "none"), shape("kong"))


def test_a_ref_is_cloned_once_and_held_to_the_lock_file(args, tmp_path: Path):
    upstream = tmp_path / "upstream"
    shutil.copytree(MANIFESTS["nginx"], upstream)

    def git(*words: str) -> None:
        who = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
        subprocess.run(["git", *who, *words], cwd=upstream, check=True, capture_output=True)

    git("init", "--quiet", "--initial-branch=main")
    git("add", "--all", "--force")
    git("commit", "--quiet", "--message", "one")
    git("tag", "v5.5.4")
    asked = args("nginx", path=None, repository=upstream.as_uri())
    first = install.objects(asked, shape("nginx"))
    assert first == install.objects(args("nginx"), shape("nginx"))
    assert f"{upstream.as_uri()}@v5.5.4" in asked.lock_file.read_text()
    # Cached and locked: the repository is not asked again.
    moved = upstream.rename(tmp_path / "moved")
    assert install.objects(asked, shape("nginx")) == first
    # Another content under the same tag is refused.
    upstream = moved.rename(tmp_path / "upstream")
    (upstream / "deployments" / "rbac" / "rbac.yaml").write_text("a: 1\n")
    git("commit", "--quiet", "--all", "--message", "two")
    git("tag", "--force", "v5.5.4")
    shutil.rmtree(asked.cache_dir)
    with pytest.raises(SourceError, match=r"is not what it was: .* set gatewayRef to its commit"):
        install.objects(asked, shape("nginx"))


def test_what_manifests_take_from_elsewhere_is_locked_too(args, tmp_path: Path, monkeypatch):
    asked: list[str] = []

    def refuse(spec, *_):
        if spec.path is None:
            asked.append(f"{spec.repository}@{spec.ref}")
            raise SourceError("no network")
        return original(spec, *_)

    original = install.source.resolve
    monkeypatch.setattr(install.source, "resolve", refuse)
    with pytest.raises(SourceError, match="no network"):
        install.objects(args("kong", definitions=None), shape("kong"))
    assert asked == ["https://github.com/kong/kubernetes-configuration@v1.5.2"]


def test_images_are_by_digest_or_by_a_whole_release():
    for reference in (images.NGINX, images.KONG, images.KONG_CONTROLLER):
        assert re.fullmatch(r"docker\.io/\S+:\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?", reference)
    assert image("kong", images.KONG)["digest"].startswith("sha256:")
    assert image("x", "docker.io/x/y:1.2.3") == {
        "name": "x",
        "newName": "docker.io/x/y",
        "newTag": "1.2.3",
    }


# --- certificates --------------------------------------------------------------------------------


def test_each_way_to_a_certificate_has_its_secret():
    for asked, secret, kinds in (
        (None, None, []),
        ({"type": "secret", "name": "mine"}, "mine", []),
        ({"type": "ownCa"}, tls.OWN_SECRET, []),
        ({"type": "issuer", "name": "theirs"}, "a-example-com-tls", ["Certificate"]),
        (
            {"type": "issuer", "kind": "Issuer", "name": tls.AUTHORITY},
            "a-example-com-tls",
            ["Certificate", "Certificate", "Issuer", "Issuer"],
        ),
        (
            {"type": "acme", "email": "me@example.com"},
            "a-example-com-tls",
            ["Certificate", "Issuer"],
        ),
    ):
        gateway = parse(routes(asked))
        assert tls.secret_names(gateway).get("a.example.com") == secret
        bodies = tls.objects(gateway, "gw", "nginx")
        assert sorted(body["kind"] for body in bodies) == kinds
        assert {body["metadata"]["namespace"] for body in bodies} <= {"gw"}
        assert bool(tls.asks_cert_manager(gateway)) == bool(kinds)
        assert tls.own_names(gateway, "gw.svc") == (
            ["a.example.com", "gw.svc"] if secret == tls.OWN_SECRET else ["gw.svc"]
        )


def test_a_wildcard_and_a_long_name_have_secrets_of_their_own():
    names = [
        "*.example.com",
        "any.example.com",
        f"{'x' * 60}.example.com",
        f"{'x' * 61}.example.com",
    ]
    hosts = [{"name": name, "tls": {"type": "issuer", "name": "i"}} for name in names]
    route = {**ROUTE, "hosts": names}
    secrets = tls.secret_names(parse({**routes(), "hosts": hosts, "routes": [route]}))
    assert all(
        re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in secrets.values()
    )
    assert len(set(secrets.values())) == len(names)


# --- credentials ---------------------------------------------------------------------------------

KEYS = {"type": "apiKey", "name": "keys", "consumers": ["ann", "bob"]}
USERS = {"type": "basic", "name": "users", "consumers": ["bob"]}
GUARDED = parse(
    routes(
        policies=[KEYS, USERS],
        consumers=[{"name": "ann"}, {"name": "bob"}],
        routes=[
            {**ROUTE, "policies": ["keys"]},
            {**ROUTE, "name": "b", "path": {"value": "/b"}, "policies": ["users"]},
        ],
    )
)


def test_a_consumer_has_one_key_and_one_password_which_are_kept():
    wanted = access.wanted(GUARDED)
    assert wanted == ["key-ann", "key-bob", "password-bob"]
    first = access.complete({}, ["gw"], wanted, NOW)
    assert len({first[name] for name in wanted}) == 3
    again = access.complete(first, ["gw"], [*wanted, "key-eve"], NOW)
    assert {name for name in again if again[name] != first.get(name)} == {"key-eve"}
    assert all(re.fullmatch(r"[a-z2-7]{32,}", first[name]) for name in wanted)


def test_secrets_are_what_each_implementation_reads():
    values = {"key-ann": "k1", "key-bob": "k2", "password-bob": "p"}
    keys, users = credentials.objects(GUARDED, "nginx", "gw", values)
    assert (keys["type"], keys["stringData"]) == ("nginx.org/apikey", {"ann": "k1", "bob": "k2"})
    assert users["type"] == "nginx.org/htpasswd"
    assert users["stringData"]["htpasswd"].startswith("bob:{SSHA}")
    assert credentials.names(GUARDED, "nginx") == {
        "keys": keys["metadata"]["name"],
        "users": users["metadata"]["name"],
    }
    found = {b["metadata"]["name"]: b for b in credentials.objects(GUARDED, "kong", "gw", values)}
    assert set(found) == {"gateway-key-ann", "gateway-key-bob", "gateway-password-bob"}
    label = "konghq.com/credential"
    assert found["gateway-key-ann"]["metadata"]["labels"][label] == "key-auth"
    assert found["gateway-key-ann"]["stringData"] == {"key": "k1"}
    assert found["gateway-password-bob"]["metadata"]["labels"][label] == "basic-auth"
    assert found["gateway-password-bob"]["stringData"] == {"username": "bob", "password": "p"}


def test_a_file_of_users_proves_the_password_and_is_the_same_each_time():
    import base64

    line = access.htpasswd({"bob": "secret"}).strip()
    assert access.htpasswd({"bob": "secret"}).strip() == line
    raw = base64.b64decode(line.removeprefix("bob:{SSHA}"))
    digest, salt = raw[:20], raw[20:]
    assert hashlib.sha1(b"secret" + salt).digest() == digest and len(salt) == 8


def test_the_resource_has_an_output_for_each_credential():
    inputs = {"installation": "gw", "names": ["gw"], "credentials": ["key-ann"]}
    assert set(GatewayAccess().fields(inputs)) == {"key-ann", *Resource.__annotations__}
    assert GatewayAccess().check(inputs) == []
    bad = GatewayAccess().check({**inputs, "credentials": "key-ann"})
    assert [failure.property for failure in bad] == ["credentials"]
    made = GatewayAccess().complete({}, inputs, datetime.datetime.now(datetime.UTC))
    state = {**inputs, **made}
    assert GatewayAccess().diff(state, inputs) == []
    more = {**inputs, "credentials": ["key-ann", "key-bob"]}
    assert [change.path for change in GatewayAccess().diff(state, more)] == ["credentials"]


# --- what the settings ask for -------------------------------------------------------------------

INGRESS = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "istio-ingressgateway", "namespace": "istio-system"},
}
CERT_MANAGER = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "certificates.cert-manager.io"},
}


def arguments(args, others: list[dict[str, Any]], **more: Any) -> GatewayArgs:
    values = {"routes": {}, "host": "kubeflow.localhost", **more}
    return create.arguments(Wishes(args("nginx"), **values), others)


def test_the_dashboard_is_routed_through_its_sign_in_with_tls(args):
    found = arguments(args, [INGRESS, CERT_MANAGER])
    assert found.host == "kubeflow.localhost"
    (host,) = found.routes.hosts
    assert host.tls is not None and (host.tls.type, host.tls.name) == ("issuer", tls.AUTHORITY)
    (backend,) = found.routes.backends
    assert backend.service is not None and backend.service.name == "istio-ingressgateway"
    # Without cert-manager the gateway's own authority signs.
    assert arguments(args, [INGRESS]).routes.hosts[0].tls.type == "ownCa"
    secret = arguments(args, [INGRESS, CERT_MANAGER], tls_secret="mine")
    assert secret.routes.hosts[0].tls.name == "mine"
    acme = arguments(args, [INGRESS, CERT_MANAGER], acme_email="me@example.com")
    assert acme.routes.hosts[0].tls.type == "acme"


def test_a_file_that_names_the_dashboards_host_has_its_way(args):
    mine = routes()
    mine["hosts"].append({"name": "kubeflow.localhost"})
    mine["routes"] = [{**ROUTE, "hosts": ["a.example.com", "kubeflow.localhost"]}]
    found = arguments(args, [INGRESS], routes=mine)
    assert [backend.name for backend in found.routes.backends] == ["app"] and found.host == ""
    both = arguments(args, [INGRESS], routes=routes())
    assert [host.name for host in both.routes.hosts] == ["a.example.com", "kubeflow.localhost"]


def test_redis_has_a_port_of_its_own_where_asked(args):
    found = arguments(args, [INGRESS], redis="cache", redis_port=6390)
    names = [(listener.name, listener.port) for listener in found.routes.listeners]
    assert names == [("http", 80), ("https", 443), ("redis", 6390)]
    assert found.routes.backend("redis").service.namespace == "cache"
    assert Wishes(args("nginx"), {}, "").client == "nginx-ingress/app=nginx-ingress"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "there is nothing to route: name a file by gatewayRoutes"),
        ({"redis_port": 6379}, "gatewayRedisPort is 6379, but redisTopology is 'none'"),
    ],
)
def test_what_leads_nowhere_is_an_error(args, more, message):
    with pytest.raises(GatewayError, match=message):
        arguments(args, [], **more)


FRONT = Front(("10.0.0.0/16",), "True-Client-IP")


@pytest.mark.parametrize("implementation", ["nginx", "kong"])
def test_a_proxy_in_front_says_who_the_client_is(args, implementation):
    """Rates and lists of addresses go by it; without a proxy nobody's word is taken."""
    found = create.arguments(
        Wishes(args(implementation), {}, "kubeflow.localhost", front=FRONT), [INGRESS]
    )
    texts = [yaml.safe_dump(body) for body in objects(found, load_balancer=False)]
    assert sum("True-Client-IP" in text for text in texts) == 1
    [told] = [text for text in texts if "True-Client-IP" in text]
    assert "10.0.0.0/16" in told
    plain = objects(dataclasses.replace(found, front=None), load_balancer=False)
    assert "True-Client-IP" not in yaml.safe_dump_all(plain)
    assert "real-ip" not in yaml.safe_dump_all(plain) and "REAL_IP" not in yaml.safe_dump_all(plain)


def test_what_a_proxy_in_front_does_not_lead_to_is_an_error(args):
    http = [{"protocol": "http", "name": "http"}]
    with pytest.raises(GatewayError, match="add a listener of the protocol https"):
        arguments(args, [], front=FRONT, host="", routes=routes(listeners=http))
    with pytest.raises(GatewayError, match="nothing reaches the listener 'redis' of TCP at 6390"):
        arguments(args, [INGRESS], front=FRONT, redis="cache", redis_port=6390)
    with pytest.raises(GatewayError, match="topology is 'chain': its balancer passes on"):
        arguments(args, [INGRESS], front=FRONT, routes={"topology": "chain"})
    with pytest.raises(GatewayError, match="Let's Encrypt can't prove kubeflow"):
        arguments(args, [INGRESS], front=FRONT, acme_email="me@example.com")
