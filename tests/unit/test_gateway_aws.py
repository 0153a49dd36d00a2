"""Hosts as HTTP APIs of Amazon API Gateway: a golden file, any gateway, and what is refused."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from components.gateway import aws, aws_features, features, kong, nginx
from components.gateway.aws import Api, Public, Throttle, behind, render
from components.gateway.errors import GatewayError
from components.gateway.routes import Gateway, RoutesError, Vouched, parse
from tests.support.gateway_kong import assert_golden, readable
from tests.support.gateway_models import base, directives, models, route, target

FILE = Path(__file__).parents[1] / "support" / "gateway_aws_routes.yaml"
GOLDEN = Path(__file__).parent / "golden" / "aws"
NETWORKS = ("10.0.192.0/22", "10.0.196.0/22")
HOST = "a.example.com"
JWT = {"type": "jwt", "name": "people", "issuer": "https://login.example.com", "audiences": ["a"]}


def public(*hosts: str) -> Public:
    return Public(hosts or (HOST,), NETWORKS)


def model(**changes: Any) -> Gateway:
    hosts = [{"name": HOST, "tls": {"type": "ownCa"}}]
    return parse(base(**{"hosts": hosts, **changes}))


def api(**changes: Any) -> Api:
    [found] = render(model(**changes), public())
    return found


def refusal(gateway: Gateway, *hosts: str) -> str:
    with pytest.raises(GatewayError) as error:
        render(gateway, public(*hosts))
    return str(error.value)


def test_apis_are_those_of_the_golden_file() -> None:
    gateway = parse(FILE.read_text())
    found = render(gateway, public("open.example.com", "models.example.com"))
    documents = [
        {
            **{
                key: list(value) if isinstance(value, tuple) else value
                for key, value in dataclasses.asdict(one).items()
            },
            "parameters": {
                policy or "none": dict(one.parameters(policy)) for policy in one.policies
            },
        }
        for one in found
    ]
    assert_golden(readable(documents), GOLDEN / "routes.yaml")


@pytest.mark.parametrize("renderer", [nginx.render, kong.render])
def test_the_example_of_the_documentation_is_carried_out(renderer: Callable[..., Any]) -> None:
    page = Path(__file__).parents[2] / "docs" / "gateway-aws.md"
    [example] = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    gateway = parse(example)
    [found] = render(gateway, public("models.example.com"))
    assert [one.name for one in found.authorizers] == ["people"]
    assert renderer(behind(gateway, public("models.example.com")), target(gateway))


# --- every feature -------------------------------------------------------------------------------


def test_every_feature_has_its_place_before_the_gateway() -> None:
    names = [feature.name for feature in features.FEATURES]
    assert set(aws_features.BEFORE) == set(names)
    assert len(names) == len(set(names))
    matrix = features.matrix()
    for limit in aws_features.LIMITS:
        assert f"| {limit.title} | {limit.instead} |" in matrix


_CHECKED = {"jwt", "cors", "rateLimit"}


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(body=models(), data=st.data())
def test_of_any_gateway_each_policy_is_carried_out_or_refused(
    body: dict[str, Any], data: st.DataObject
) -> None:
    if data.draw(st.booleans(), "tokens"):
        body["policies"].append({**JWT, "name": "tokens"})
        for one in body["routes"]:
            if data.draw(st.booleans()):
                kinds = {p["name"]: p["type"] for p in body["policies"]}
                kept = [n for n in one["policies"] if kinds[n] not in ("apiKey", "basic", "oidc")]
                one["policies"] = [*kept, "tokens"]
    try:
        gateway = parse(body)
    except RoutesError:
        assume(False)
    hosts = tuple(h.name for h in gateway.hosts if gateway.routes_of(h.name))
    assume(hosts)
    try:
        apis = render(gateway, public(*hosts))
    except GatewayError as error:
        for line in str(error).splitlines():
            assert re.match(r"(routes|backends|policies|hosts|listeners)\b.* asks for ", line)
            assert " does not have; use " in line
        event("refused")
        return
    event("rendered")
    assert [one.host for one in apis] == sorted(hosts)
    after = behind(gateway, public(*hosts))
    for one in apis:
        keys = [way.key for way in one.ways]
        assert len(keys) == len(set(keys))
        for found in gateway.routes_of(one.host):
            asked = gateway.policies_of(found, one.host)
            left = after.policies_of(found, one.host)
            tokens = next((p.name for p in asked if p.type == "jwt"), "")
            assert [p.name for p in left] == [p.name for p in asked]
            # Checked by API Gateway, and known to be; the rest is as it was.
            for before, now in zip(asked, left, strict=True):
                assert isinstance(now, Vouched) if before.name == tokens else now == before
            for way in _ways_of(one, found.path.type, found.path.value, found.methods):
                assert way.policy == tokens, (way, found.name)
            assert all(title in one.summary for title in _titles(asked)), one.summary


def _titles(policies: Any) -> list[str]:
    known = {
        "access": "allow and deny lists by network",
        "limits": "limits of bodies",
        "filter": "request filtering",
        "apiKey": "API keys",
        "rateLimit": "rate limits",
        "headers": "header transformation",
        "cors": "CORS",
        "jwt": "tokens of an issuer whose keys are discovered",
    }
    return [known[policy.type] for policy in policies if policy.type in known]


def _ways_of(found: Api, kind: str, path: str, methods: Any) -> list[aws.Way]:
    """The ways by which requests of a path come that no other route takes first."""
    if kind == "regex":
        return []
    below = path if kind == "exact" else f"{path.rstrip('/')}/{{proxy+}}"
    wanted = {f"{method} {below}" for method in methods or ("ANY",)}
    if kind == "prefix" and path == "/":
        wanted.add("$default")
    return [way for way in found.ways if way.key in wanted]


# --- routes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({}, ["$default"]),
        ({"path": {"value": "/a/"}}, ["ANY /a", "ANY /a/{proxy+}"]),
        ({"path": {"type": "exact", "value": "/a"}}, ["ANY /a"]),
        ({"path": {"type": "regex", "value": "/a/[0-9]+"}}, ["$default"]),
        ({"methods": ["POST", "GET"]}, ["GET /", "GET /{proxy+}", "POST /", "POST /{proxy+}"]),
    ],
)
def test_paths_and_methods_are_keys(changes: dict[str, Any], keys: list[str]) -> None:
    assert [way.key for way in api(routes=[route("app", **changes)]).ways] == keys


def test_the_more_special_route_decides_who_asks_for_tokens() -> None:
    found = api(
        policies=[JWT],
        routes=[
            route("all", policies=["people"]),
            route("open", path={"type": "exact", "value": "/a"}),
            route("below", path={"value": "/a"}, policies=["people"]),
        ],
    )
    asked = {way.key: way.policy for way in found.ways}
    assert asked == {"$default": "people", "ANY /a": "", "ANY /a/{proxy+}": "people"}


def test_who_comes_without_a_token_is_told_apart_from_who_was_checked() -> None:
    found = api(policies=[JWT], routes=[route("a", policies=["people"])])
    header = f"overwrite:header.{Vouched.HEADER}"
    assert found.parameters("people")[header] == "people"
    # No policy can have this name.
    assert found.parameters("")[header] == "-"
    with pytest.raises(RoutesError):
        model(policies=[{**JWT, "name": "-"}])


@pytest.mark.parametrize(
    ("policy", "throttle"),
    [
        ({"requests": 10, "by": "route"}, Throttle(10, 10)),
        ({"requests": 60, "per": "minute", "by": "route", "burst": 0}, Throttle(1, 1)),
        ({"requests": 36, "per": "hour", "by": "route", "burst": 4}, Throttle(0.01, 5)),
        # API Gateway counts a route as a whole: of each client the gateway behind it does.
        ({"requests": 10, "by": "client"}, None),
        ({"requests": 10, "by": "header", "header": "X-Team"}, None),
    ],
)
def test_rates_of_a_route_throttle(policy: dict[str, Any], throttle: Throttle | None) -> None:
    policies = [{"type": "rateLimit", "name": "rate", **policy}]
    [way] = api(policies=policies, routes=[route("a", policies=["rate"])]).ways
    assert way.throttle == throttle


def test_the_lower_of_two_rates_throttles() -> None:
    policies = [
        {"type": "rateLimit", "name": "fast", "requests": 100, "by": "route"},
        {"type": "rateLimit", "name": "slow", "requests": 60, "per": "minute", "by": "route"},
    ]
    [way] = api(policies=policies, routes=[route("a", policies=["fast", "slow"])]).ways
    assert way.throttle == Throttle(1, 60)


def test_cors_is_of_a_host_as_a_whole_or_left_behind() -> None:
    web = {"type": "cors", "name": "web", "origins": ["https://app.example.com"], "maxAge": "2h"}
    one, other = route("a", policies=["web"]), route("b", path={"value": "/b"})
    assert api(policies=[web], routes=[one]).cors == {
        "allow_origins": ["https://app.example.com"],
        "allow_methods": ["GET", "HEAD", "POST"],
        "max_age": 7200,
        "allow_credentials": False,
    }
    assert api(policies=[web], routes=[one, other]).cors is None
    below = {**web, "origins": ["https://*.example.com"]}
    assert api(policies=[below], routes=[one]).cors is None


def test_browsers_ask_before_they_have_a_token() -> None:
    web = {"type": "cors", "name": "web", "origins": ["https://app.example.com"]}
    found = api(policies=[web, JWT], routes=[route("a", policies=["web", "people"])])
    assert {way.key: way.policy for way in found.ways} == {
        "$default": "people",
        "OPTIONS /": "",
        "OPTIONS /{proxy+}": "",
    }


def test_logs_are_as_the_model_says() -> None:
    assert api().logs
    assert not api(observability={"accessLog": "off"}).logs


# --- refusals ------------------------------------------------------------------------------------

_BACKEND = base()["backends"][0]
_SECURE = {"name": HOST, "tls": {"type": "ownCa"}}
_WEB = {"type": "cors", "name": "web", "origins": ["https://*.example.com"]}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "WebSocket": (
        {"backends": [{**_BACKEND, "protocol": "websocket"}]},
        "backends[0].protocol (app) asks for WebSocket",
    ),
    "gRPC": (
        {"backends": [{**_BACKEND, "protocol": "grpc"}]},
        "backends[0].protocol (app) asks for gRPC",
    ),
    "bodies above 10 MiB": (
        {
            "policies": [{"type": "limits", "name": "big", "body": "11Mi"}],
            "routes": [route("a", policies=["big"])],
        },
        "policies[0].body (big)",
    ),
    "answers that take more than 30 s": (
        {"backends": [{**_BACKEND, "timeouts": {"read": "31s"}}]},
        "backends[0].timeouts.read (app)",
    ),
    "all names below one": (
        {
            "hosts": [{**_SECURE, "name": "*.example.com"}],
            "routes": [route("a", hosts=["*.example.com"])],
        },
        "hosts[0].name (*.example.com)",
    ),
    "plain HTTP": ({"hosts": [{"name": HOST}]}, f"hosts[0].tls ({HOST})"),
    "a certificate by ACME, whose proof comes to port 80": (
        {"hosts": [{"name": HOST, "tls": {"type": "acme", "email": "me@example.com"}}]},
        f"hosts[0].tls ({HOST})",
    ),
    "TLS 1.3 alone": (
        {"listeners": [{"protocol": "https", "name": "https", "minimumTls": "1.3"}]},
        "listeners[0].minimumTls (https)",
    ),
    "a gateway without HTTPS at port 443": (
        {"listeners": [{"protocol": "https", "name": "https", "port": 8443}]},
        "listeners asks",
    ),
    "a chain, whose first box sees no HTTP": ({"topology": "chain"}, "topology asks"),
    "tokens for any audience": (
        {
            "policies": [{k: v for k, v in JWT.items() if k != "audiences"}],
            "routes": [route("a", policies=["people"])],
        },
        "policies[0].type (people)",
    ),
    "an issuer without HTTPS": (
        {
            "policies": [{**JWT, "issuer": "http://login.example.com"}],
            "routes": [route("a", policies=["people"])],
        },
        "policies[0].type (people)",
    ),
    "tokens checked at hosts of its own and at others": (
        {
            "hosts": [_SECURE, {**_SECURE, "name": "b.example.com"}],
            "policies": [JWT],
            "routes": [route("a", hosts=[HOST, "b.example.com"], policies=["people"])],
        },
        "policies[0].type (people)",
    ),
    "routes by header or by expression beside some whose tokens it checks": (
        {
            "policies": [JWT],
            "routes": [
                route("a", policies=["people"]),
                route("b", path={"type": "regex", "value": "/b/[0-9]+"}),
            ],
        },
        "routes[1].path (b)",
    ),
    "CORS with tokens, where routes of the host differ in it or an origin has *.": (
        {"policies": [JWT, _WEB], "routes": [route("a", policies=["people", "web"])]},
        f"routes[0].policies (a at {HOST})",
    ),
}


@pytest.mark.parametrize("limit", aws_features.LIMITS, ids=lambda one: one.title)
def test_what_api_gateway_can_not_do_is_refused_by_name(limit: aws_features.Refused) -> None:
    changes, where = REFUSED[limit.title]
    gateway = model(**changes)
    host = gateway.hosts[0].name
    [line] = refusal(gateway, host).splitlines()
    assert where in line
    assert f"asks for {limit.title}, which Amazon API Gateway does not have" in line
    assert f"use {limit.instead} instead" in line


def test_every_refusal_has_its_example() -> None:
    assert set(REFUSED) == {limit.title for limit in aws_features.LIMITS}


def test_what_is_refused_at_a_public_host_may_be_at_a_private_one() -> None:
    gateway = parse(FILE.read_text())
    assert "WebSocket" in refusal(gateway, "ml.example.com")
    assert render(gateway, public("models.example.com"))


def test_the_default_time_of_backends_is_no_wish() -> None:
    assert render(model(), public())
    assert render(model(backends=[{**_BACKEND, "timeouts": {"connect": "1s"}}]), public())


def test_a_host_that_is_none_is_refused() -> None:
    assert "awsApiHosts has 'x.example.com': gatewayRoutes has no such host; it has a.example" in (
        refusal(model(), "x.example.com")
    )
    two = [_SECURE, {**_SECURE, "name": "b.example.com"}]
    assert "awsApiHosts has 'b.example.com', which has no route" in (
        refusal(model(hosts=two), "b.example.com")
    )


# --- the gateway behind it -----------------------------------------------------------------------

TOKENS: dict[str, Any] = {"policies": [JWT], "routes": [route("a", policies=["people"])]}


@pytest.mark.parametrize("renderer", [nginx.render, kong.render])
def test_without_api_gateway_nobody_would_check_the_tokens(renderer: Callable[..., Any]) -> None:
    gateway = model(**TOKENS)
    with pytest.raises(features.Lacking, match="on AWS a host of awsApiHosts"):
        renderer(gateway, target(gateway))


def test_nginx_takes_a_checked_route_from_the_link_alone() -> None:
    gateway = behind(model(**TOKENS), public())
    objects = nginx.render(gateway, target(gateway, trusted=NETWORKS))
    [server] = [one for one in objects if one["kind"] == "VirtualServer"]
    everywhere = directives(server["spec"]["http-snippets"])
    # The address of the connection: a header can't change that one.
    assert ("geo", "$realip_remote_addr", "$gateway_fronted_people", "{") in everywhere
    assert {one for one in everywhere if one[-1] == "1"} == {(one, "1") for one in NETWORKS}
    assert ("default", "0") in everywhere
    lines = server["spec"]["routes"][0]["location-snippets"].splitlines()
    assert lines[:2] == [
        "if ($gateway_fronted_people = 0) { return 401; }",
        'if ($http_x_checked_policy != "people") { return 401; }',
    ]
    [settings_] = [one["data"] for one in objects if one["kind"] == "ConfigMap"]
    assert settings_["set-real-ip-from"] == ",".join(NETWORKS)
    assert settings_["real-ip-header"] == "X-Real-IP"


def test_kong_takes_a_checked_route_from_the_link_alone() -> None:
    refuse = {"type": "filter", "name": "refuse", "methods": ["DELETE"]}
    gateway = behind(
        model(policies=[JWT, refuse], routes=[route("a", policies=["people", "refuse"])]), public()
    )
    objects = kong.render(gateway, target(gateway))
    [code] = [one for one in objects if one.get("plugin") == "pre-function"]
    # One plugin of a kind has a route, so both are in it.
    guard, asked = code["config"]["access"]
    assert "kong.client.get_ip()" in guard and "get_forwarded" not in guard
    first = (10 << 24) + (192 << 8)
    assert f"number >= {first} and number <= {first + 1023}" in guard
    assert 'get_header("X-Checked-Policy") ~= [[people]]' in guard
    assert "DELETE" in asked
    # No consumer is made of an issuer whose key Kong does not know.
    assert not [one for one in objects if one["kind"] == "KongConsumer"]


def test_a_route_has_no_other_authentication_of_its_host_beside() -> None:
    key = {"type": "apiKey", "name": "key", "consumers": ["ann"]}
    gateway = model(
        hosts=[{**_SECURE, "policies": ["key"]}],
        policies=[JWT, key],
        consumers=[{"name": "ann"}],
        routes=[route("a", policies=["people"])],
    )
    [found] = behind(gateway, public()).policies_of(gateway.routes[0], HOST)
    assert isinstance(found, Vouched)


def test_a_file_can_not_vouch() -> None:
    with pytest.raises(RoutesError, match="networks"):
        model(policies=[{**JWT, "networks": ["0.0.0.0/0"]}])
