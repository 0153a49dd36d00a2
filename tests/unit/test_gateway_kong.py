"""Routes as objects for Kong: golden files, the schemas of their kinds, order, and refusals."""

import base64
import re
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from components.gateway import features, kong, kong_settings, portable
from components.gateway.features import Lacking
from components.gateway.routes import Gateway, Route, parse
from tests.support.gateway_kong import (
    EXAMPLES,
    GOLDEN,
    assert_golden,
    example,
    readable,
    schemas,
    target,
)

BASE: dict[str, Any] = {
    "hosts": [{"name": "a.example.com"}],
    "backends": [{"name": "app", "service": {"name": "app", "namespace": "team", "port": 80}}],
    "routes": [{"name": "app", "hosts": ["a.example.com"], "backends": [{"name": "app"}]}],
}


def gateway(**changes: Any) -> Gateway:
    return parse({**BASE, **changes})


def with_policy(*policies: dict[str, Any], **changes: Any) -> Gateway:
    names = [policy["name"] for policy in policies]
    route = {**BASE["routes"][0], "policies": names, **changes.pop("route", {})}
    return gateway(policies=list(policies), routes=[route], **changes)


def rendered(model: Gateway, **more: Any) -> list[dict[str, Any]]:
    return kong.render(model, target(model, **more))


def of_kind(bodies: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [body for body in bodies if body["kind"] == kind]


def plugin(model: Gateway, name: str, **more: Any) -> dict[str, Any]:
    """The configuration of the only plugin of a kind."""
    plugins = of_kind(rendered(model, **more), "KongPlugin")
    [found] = [body["config"] for body in plugins if body["plugin"] == name]
    return found


# --- golden files --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_objects_are_those_of_the_golden_file(name: str) -> None:
    assert_golden(readable(rendered(example(name))), GOLDEN / f"{name}.yaml")


@pytest.mark.parametrize("layer", ["balancer", "proxy", "gateway"])
def test_layers_of_a_chain_are_those_of_the_golden_files(layer: Any) -> None:
    model = example("chain")
    bodies = rendered(model, layer=layer, upstream="next", name=layer)
    assert_golden(readable(bodies), GOLDEN / f"chain-{layer}.yaml")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_proxy_has_the_settings_of_the_golden_file(name: str) -> None:
    model = example(name)
    where = target(model, trusted=("10.0.0.0/8",))
    documents = [
        kong_settings.proxy(model, where, http=8000, https=8443),
        kong_settings.proxy_secrets(model, where),
        kong_settings.controller(model, where),
    ]
    assert_golden(readable(documents), GOLDEN / f"{name}.settings.yaml")


@pytest.mark.parametrize("name", EXAMPLES)
def test_objects_are_of_the_schemas_of_their_kinds(name: str) -> None:
    """The fields; rules in CEL are the API server's."""
    known = dict(schemas())
    bodies = rendered(example(name))
    custom = [body for body in bodies if (body["apiVersion"], body["kind"]) in known]
    assert {body["kind"] for body in bodies} - {body["kind"] for body in custom} <= {
        "Service",
        "Secret",
    }
    for body in custom:
        schema = known[body["apiVersion"], body["kind"]]
        problems = [error.message for error in Draft202012Validator(schema).iter_errors(body)]
        assert not problems, (body["kind"], body["metadata"]["name"], problems)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_name_that_is_named_is_there(name: str) -> None:
    bodies = rendered(example(name))
    plugins = {body["metadata"]["name"] for body in of_kind(bodies, "KongPlugin")}
    services = {
        (body["metadata"]["namespace"], body["metadata"]["name"])
        for body in of_kind(bodies, "Service")
    }
    sections = {
        (body["metadata"]["name"], listener["name"])
        for body in of_kind(bodies, "Gateway")
        for listener in body["spec"]["listeners"]
    }
    granted = {body["metadata"]["namespace"] for body in of_kind(bodies, "ReferenceGrant")}
    for body in bodies:
        if not body["kind"].endswith("Route"):
            continue
        asked = body["metadata"].get("annotations", {}).get("konghq.com/plugins", "")
        assert set(filter(None, asked.split(","))) <= plugins
        for one in body["spec"]["parentRefs"]:
            assert (one["name"], one["sectionName"]) in sections
        for rule in body["spec"]["rules"]:
            for one in rule.get("filters", ()):
                assert one["type"] != "ExtensionRef" or one["extensionRef"]["name"] in plugins
            for one in rule["backendRefs"]:
                assert (one["namespace"], one["name"]) in services
                assert one["namespace"] in granted | {"kong"}
    names = [(b["kind"], b["metadata"].get("namespace"), b["metadata"]["name"]) for b in bodies]
    assert len(names) == len(set(names))


# --- what can't be had ---------------------------------------------------------------------------


def key(private: Any) -> str:
    return (
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    )


RSA = key(rsa.generate_private_key(65537, 2048))
BACKEND = BASE["backends"][0]
JWT = {"type": "jwt", "name": "tokens", "issuer": "https://issuer.example.com", "publicKey": RSA}


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (with_policy({"type": "oidc", "name": "dex"}), "Kong Enterprise has it"),
        (with_policy({**JWT, "audiences": ["ml"]}), "policies[0].audiences (tokens)"),
        (
            with_policy({k: v for k, v in JWT.items() if k != "publicKey"}),
            "keys are discovered",
        ),
        (with_policy({**JWT, "publicKey": key(ec.generate_private_key(ec.SECP256K1()))}), "curve"),
        (with_policy({"type": "cache", "name": "kept", "stale": True}), "stale: false"),
        (
            with_policy({"type": "rateLimit", "name": "few", "requests": 5, "burst": 9}),
            "policies[0].burst (few)",
        ),
        (
            with_policy({"type": "rateLimit", "name": "few", "requests": 5, "scope": "divided"}),
            "scope: redis",
        ),
        (
            with_policy(
                {"type": "rateLimit", "name": "few", "requests": 5},
                route={"methods": ["GET", "PUT"]},
            ),
            "a route of each",
        ),
        (
            with_policy(
                {"type": "headers", "name": "h", "request": {"set": {"X-A": "${clientAddress}"}}}
            ),
            "X-Real-IP",
        ),
        (
            with_policy(
                {"type": "headers", "name": "h", "response": {"set": {"X-A": "${requestId}"}}}
            ),
            "variables of responses",
        ),
        (gateway(backends=[{**BACKEND, "maxConnections": 9}]), "a rateLimit policy"),
        (gateway(backends=[{**BACKEND, "slowStart": "9s"}]), "readiness probes"),
        (
            gateway(backends=[{**BACKEND, "sessionCookie": {"name": "c", "expires": "1h"}}]),
            "remove expires",
        ),
        (gateway(observability={"tracing": {"endpoint": "otel:4317"}}), "4318"),
        (
            gateway(
                routes=[
                    {
                        **BASE["routes"][0],
                        "path": {"type": "prefix", "value": "/v1.0"},
                        "rewrite": {"prefix": "/"},
                    }
                ]
            ),
            "rewrite.path with $1",
        ),
        (
            gateway(
                backends=[BACKEND, {**BACKEND, "name": "other", "timeouts": {"read": "9s"}}],
                routes=[
                    {
                        **BASE["routes"][0],
                        "backends": [
                            {"name": "app", "weight": 50},
                            {"name": "other", "weight": 50},
                        ],
                    }
                ],
            ),
            "the same of all backends",
        ),
    ],
)
def test_what_kong_lacks_is_refused_with_what_to_use(model: Gateway, told: str) -> None:
    with pytest.raises(Lacking) as refused:
        rendered(model)
    assert told in str(refused.value)
    [line] = str(refused.value).splitlines()
    assert "; use " in line


def test_all_that_is_lacking_is_told_at_once() -> None:
    model = with_policy(
        {"type": "oidc", "name": "dex"}, backends=[{**BACKEND, "maxConnections": 9}]
    )
    with pytest.raises(Lacking) as refused:
        rendered(model)
    assert len(str(refused.value).splitlines()) == 2


def test_without_the_pods_of_a_service_its_endpoints_are_refused() -> None:
    backend = {**BACKEND, "balance": {"type": "leastConnections"}}
    with pytest.raises(Lacking, match=r"backends\[0\]\.balance \(app\) asks for the endpoints"):
        rendered(gateway(backends=[backend]), pods={})
    [service] = of_kind(rendered(gateway(), pods={}), "Service")
    assert service["spec"] == {
        "type": "ExternalName",
        "externalName": "app.team.svc.cluster.local",
    }
    assert service["metadata"]["namespace"] == "kong"
    assert "konghq.com/upstream-policy" not in service["metadata"]["annotations"]


# --- details -------------------------------------------------------------------------------------


def test_tokens_of_one_issuer_have_responses_of_their_own() -> None:
    """All who come with them are one consumer to Kong, which keeps responses by consumer."""
    kept = {"type": "cache", "name": "kept", "vary": ["Accept"]}
    assert plugin(with_policy(kept, JWT), "proxy-cache")["vary_headers"] == [
        "Accept",
        "Authorization",
    ]
    assert plugin(with_policy(kept), "proxy-cache")["vary_headers"] == ["Accept"]


def test_code_of_a_filter_holds_an_expression_as_it_is() -> None:
    """No expression ends the text that it stands in."""
    policy = {"type": "filter", "name": "bad", "paths": ["x[ab]", "a.c"], "methods": ["PUT"]}
    [code] = plugin(with_policy(policy), "pre-function")["access"]
    texts = re.findall(r"\[(=*)\[(.*?)\]\1\]", code)
    assert [text for _, text in texts] == ["x[ab]", "a.c"]
    rest = re.sub(r"\[(=*)\[(.*?)\]\1\]", "TEXT", code)
    assert rest == (
        "if ({ PUT = true })[kong.request.get_method()]\n"
        '  or ngx.re.find(kong.request.get_path(), TEXT, "jo")\n'
        '  or ngx.re.find(kong.request.get_path(), TEXT, "jo") then\n'
        "  return kong.response.exit(403)\nend\n"
    )


def test_no_secret_is_rendered() -> None:
    """Credentials are Secrets that the component makes; what is here is public."""
    bodies = rendered(example("api"))
    secrets = of_kind(bodies, "Secret")
    assert {tuple(body["stringData"]) for body in secrets} == {
        ("group",),
        ("key", "algorithm", "rsa_public_key"),
    }
    [config] = [
        body["config"]
        for body in of_kind(bodies, "KongPlugin")
        if body["config"].get("policy") == "redis"
    ]
    assert config["redis"]["password"] == "{vault://env/gateway-redis-password}"


def test_the_last_layer_of_a_chain_is_asked_by_plain_http() -> None:
    model = gateway(
        topology="chain",
        listeners=[{"protocol": "https", "name": "https"}],
        hosts=[{"name": "a.example.com", "tls": {"type": "ownCa"}}],
    )
    bodies = rendered(model, layer="gateway")
    [listener] = of_kind(bodies, "Gateway")[0]["spec"]["listeners"]
    assert (listener["protocol"], listener["port"]) == ("HTTP", 80)
    [route] = of_kind(bodies, "HTTPRoute")
    assert [one["sectionName"] for one in route["spec"]["parentRefs"]] == ["http"]


def test_connections_pass_all_layers_of_a_chain_and_are_judged_by_the_first() -> None:
    model = example("balancer")
    backends, plugins = {}, {}
    for layer in ("balancer", "proxy", "gateway"):
        bodies = rendered(model, layer=layer, upstream="next")
        [route] = [b for b in of_kind(bodies, "TCPRoute") if b["metadata"]["name"][-5:] == "redis"]
        backends[layer] = route["spec"]["rules"][0]["backendRefs"][0]["name"]
        plugins[layer] = route["metadata"].get("annotations", {})
    assert backends == {"balancer": "next", "proxy": "next", "gateway": "gateway-redis"}
    assert [layer for layer, found in plugins.items() if found] == ["balancer"]
    behind = target(model, layer="proxy", proxy_protocol=True)
    found = kong_settings.proxy(model, behind, http=8000, https=8443)
    assert found["KONG_STREAM_LISTEN"] == "0.0.0.0:6379 proxy_protocol"
    first = kong_settings.proxy(model, target(model, layer="balancer"), http=8000, https=8443)
    assert first["KONG_NGINX_SPROXY_PROXY_PROTOCOL"] == "on"


def test_more_hosts_with_tls_than_one_gateway_has_listeners() -> None:
    hosts = [{"name": f"h{n}.example.com", "tls": {"type": "ownCa"}} for n in range(100)]
    names = [host["name"] for host in hosts]
    model = gateway(hosts=hosts, routes=[{**BASE["routes"][0], "hosts": names}])
    bodies = rendered(model)
    sizes = [len(body["spec"]["listeners"]) for body in of_kind(bodies, "Gateway")]
    assert sizes == [64, 37]
    routes = of_kind(bodies, "HTTPRoute")
    assert all(len(body["spec"]["hostnames"]) <= portable.MOST_HOSTNAMES for body in routes)
    assert sum(len(body["spec"]["hostnames"]) for body in routes) == 100


def test_every_refusal_of_kong_alone_is_in_the_matrix() -> None:
    for feature in features.FEATURES:
        if isinstance(feature.kong, features.Missing):
            assert f"| {feature.title} |" in features.matrix()


# --- the order in which routes are tried ---------------------------------------------------------

PATHS = st.sampled_from(
    [
        {"type": "exact", "value": "/a"},
        {"type": "prefix", "value": "/"},
        {"type": "prefix", "value": "/a"},
        {"type": "prefix", "value": "/a/b"},
        {"type": "regex", "value": "/a.*"},
        {"type": "regex", "value": "/[a-c]/b"},
        {"type": "regex", "value": "/.*"},
    ]
)
HEADERS = st.lists(st.sampled_from(["X-A", "X-B"]), unique=True)
ROUTES = st.lists(
    st.tuples(PATHS, HEADERS, st.sampled_from([[], ["GET"], ["GET", "POST"]])),
    min_size=1,
    max_size=5,
    unique_by=repr,
)
REQUESTS = [
    (path, method, headers)
    for path in ("/", "/a", "/a/b", "/ab", "/c/b")
    for method in ("GET", "POST", "PUT")
    for headers in ((), ("X-A",), ("X-B",), ("X-A", "X-B"))
]


def takes(route: Route, path: str, method: str, headers: tuple[str, ...]) -> bool:
    value = route.path.value
    below = value.rstrip("/")
    matched = {
        "exact": path == value,
        "prefix": path == below or path.startswith(f"{below}/"),
        "regex": re.fullmatch(value, path) is not None,
    }[route.path.type]
    named = not route.methods or method in route.methods
    return matched and named and all(one.name in headers for one in route.headers)


def rank(match: dict[str, Any]) -> tuple[bool, bool, int, bool, int]:
    """EncodeToPriority of the controller's httproute_atc.go, for one host."""
    path = match["path"]
    return (
        path["type"] == "Exact",
        path["type"] == "RegularExpression",
        len(path["value"]) - 1,
        "method" in match,
        len(match.get("headers", ())),
    )


def matched(match: dict[str, Any], path: str, method: str, headers: tuple[str, ...]) -> bool:
    kind, value = match["path"]["type"], match["path"]["value"]
    below = value.rstrip("/")
    taken = {
        "Exact": path == value,
        "PathPrefix": path == below or path.startswith(f"{below}/"),
        "RegularExpression": kind == "RegularExpression" and re.search(value, path) is not None,
    }[kind]
    named = match.get("method", method) == method
    return taken and named and all(one["name"] in headers for one in match.get("headers", ()))


@given(ROUTES)
@settings(max_examples=150)
def test_the_controller_tries_routes_in_the_order_of_the_model(
    drawn: list[tuple[dict[str, str], list[str], list[str]]],
) -> None:
    routes = [
        {
            "name": f"r{number}",
            "hosts": ["a.example.com"],
            "path": path,
            "headers": [{"name": name, "value": "1"} for name in headers],
            "methods": methods,
            "backends": [{"name": f"b{number}"}],
        }
        for number, (path, headers, methods) in enumerate(drawn)
    ]
    backends = [{**BACKEND, "name": f"b{number}"} for number in range(len(drawn))]
    model = Gateway.model_validate({**BASE, "routes": routes, "backends": backends})
    ranked = []
    for body in of_kind(rendered(model), "HTTPRoute"):
        for index, rule in enumerate(body["spec"]["rules"]):
            for match in rule["matches"]:
                ranked.append((rank(match), -index, match, rule["backendRefs"][0]["name"]))
    ranked.sort(key=lambda one: one[:2], reverse=True)
    for request in REQUESTS:
        wanted = next((r.name for r in model.routes_of("a.example.com") if takes(r, *request)), "")
        found = next((name for _, _, match, name in ranked if matched(match, *request)), "")
        assert found.removeprefix("gateway-b") == wanted.removeprefix("r"), request


def test_an_expression_keeps_its_meaning_with_more_anchors() -> None:
    routes = [
        {**BASE["routes"][0], "name": f"r{n}", "path": {"type": "regex", "value": value}}
        for n, value in enumerate(("/a", "/abc"))
    ]
    values = [
        body["spec"]["rules"][0]["matches"][0]["path"]["value"]
        for body in of_kind(rendered(gateway(routes=routes)), "HTTPRoute")
    ]
    assert values == ["^/a$$$$", "^/abc$"]
    assert re.search(values[0], "/a") and not re.search(values[0], "/abc")


def test_the_key_of_an_issuer_names_its_algorithm() -> None:
    elliptic = key(ec.generate_private_key(ec.SECP384R1()))
    for pem, algorithm in ((RSA, "RS256"), (elliptic, "ES384")):
        bodies = rendered(with_policy({**JWT, "publicKey": pem}))
        [secret] = [b for b in of_kind(bodies, "Secret") if "rsa_public_key" in b["stringData"]]
        assert secret["stringData"]["algorithm"] == algorithm
        body = secret["stringData"]["rsa_public_key"].split("-----")[2]
        assert base64.b64decode(body)
