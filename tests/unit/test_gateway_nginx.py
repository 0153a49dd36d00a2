"""Routes as objects of NGINX Ingress Controller: what they say, and that it takes them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.gateway import features, nginx
from components.gateway.features import FEATURES, Lacking, Missing
from components.gateway.nginx_global import container_port
from components.gateway.routes import Gateway, parse
from tests.support.gateway_models import base, directives, route, target
from tests.support.gateway_nginx import CRDS, complaints

pytestmark = pytest.mark.skipif(not CRDS.is_dir(), reason=f"needs {CRDS}")

EVERYTHING = Path(__file__).parents[1] / "support" / "gateway_routes.yaml"
SERVICE = {"name": "app", "namespace": "team", "port": 80}


def rendered(body: dict[str, Any] | Gateway, **more: Any) -> list[dict[str, Any]]:
    """The objects, which the controller takes."""
    gateway = body if isinstance(body, Gateway) else parse(body)
    bodies = nginx.render(gateway, target(gateway, **more))
    assert [line for one in bodies for line in complaints(one)] == []
    return bodies


def of_kind(bodies: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in bodies if one["kind"] == kind]


def server(bodies: list[dict[str, Any]], host: str = "a.example.com") -> dict[str, Any]:
    [spec] = [
        one["spec"] for one in of_kind(bodies, "VirtualServer") if one["spec"]["host"] == host
    ]
    # Without what leads to VirtualServerRoutes, of which nginx_endpoints' tests are.
    return {**spec, "routes": [one for one in spec["routes"] if "route" not in one]}


def at(bodies: list[dict[str, Any]], path: str) -> dict[str, Any]:
    [found] = [one for one in server(bodies)["routes"] if one["path"] == path]
    return found


def policy(bodies: list[dict[str, Any]], name: str) -> dict[str, Any]:
    [spec] = [one["spec"] for one in of_kind(bodies, "Policy") if one["metadata"]["name"] == name]
    return spec


def with_policies(*policies: dict[str, Any], **changes: Any) -> list[dict[str, Any]]:
    names = [one["name"] for one in policies]
    people = [{"name": "alice"}]
    body = base(policies=list(policies), consumers=people, routes=[route("app", policies=names)])
    return rendered({**body, **changes})


def lacking(body: dict[str, Any], **more: Any) -> list[str]:
    gateway = parse(body)
    with pytest.raises(Lacking) as error:
        nginx.render(gateway, target(gateway, **more))
    return str(error.value).splitlines()


def settings(bodies: list[dict[str, Any]]) -> dict[str, str]:
    [found] = of_kind(bodies, "ConfigMap")
    assert found["metadata"]["name"] == "nginx-config"
    return found["data"]


# --- everything at once --------------------------------------------------------------------------


def test_the_controller_takes_a_gateway_with_every_feature() -> None:
    gateway = parse(EVERYTHING.read_text())
    bodies = rendered(gateway)
    assert len(of_kind(bodies, "VirtualServer")) == len(gateway.hosts)
    for one in of_kind(bodies, "VirtualServer"):
        directives(one["spec"]["server-snippets"])


def test_objects_are_yaml_of_their_own() -> None:
    assert yaml.safe_load(yaml.safe_dump(rendered(parse(EVERYTHING.read_text()))))


# --- paths ---------------------------------------------------------------------------------------


def test_a_prefix_is_of_whole_segments() -> None:
    bodies = rendered(base(routes=[route("app", path={"value": "/a"}, rewrite={"prefix": "/x"})]))
    assert at(bodies, "=/a")["action"]["proxy"]["rewritePath"] == "/x"
    assert at(bodies, "/a/")["action"]["proxy"]["rewritePath"] == "/x/"


@pytest.mark.parametrize(
    ("prefix", "new", "itself", "below"),
    [("/a", "/", "/", "/"), ("/a/", "/b/", "/b", "/b/"), ("/a/b", "/c/d", "/c/d", "/c/d/")],
)
def test_a_prefix_is_replaced(prefix: str, new: str, itself: str, below: str) -> None:
    made = route("app", path={"value": prefix}, rewrite={"prefix": new})
    bodies = rendered(base(routes=[made]))
    taken = prefix.rstrip("/")
    assert at(bodies, f"={taken}")["action"]["proxy"]["rewritePath"] == itself
    assert at(bodies, f"{taken}/")["action"]["proxy"]["rewritePath"] == below


def test_the_root_is_one_location() -> None:
    bodies = rendered(base(routes=[route("app", rewrite={"prefix": "/x"})]))
    [only] = server(bodies)["routes"]
    assert only["path"] == "/" and only["action"]["proxy"]["rewritePath"] == "/x/"


def test_an_exact_path_takes_the_place_of_a_prefix_itself() -> None:
    other = {"name": "other", "service": SERVICE}
    exact = route("one", path={"type": "exact", "value": "/a"}, backends=[{"name": "other"}])
    bodies = rendered(
        base(
            backends=[*base()["backends"], other], routes=[exact, route("b", path={"value": "/a"})]
        )
    )
    assert at(bodies, "=/a")["action"] == {"pass": "other"}
    assert at(bodies, "/a/")["action"] == {"pass": "app"}


def test_expressions_stay_in_their_order_and_before_prefixes() -> None:
    routes = [
        route("prefix", path={"value": "/a"}),
        route("second", path={"type": "regex", "value": "/b[0-9]+"}),
        route("first", path={"type": "regex", "value": "/b.+"}),
        route("exact", path={"type": "exact", "value": "/z"}),
    ]
    paths = [one["path"] for one in server(rendered(base(routes=routes)))["routes"]]
    assert paths == ["=/a", "=/z", "~ ^/b[0-9]+$", "~ ^/b.+$", "/a/"]


def test_an_expression_comes_before_a_prefix_itself() -> None:
    routes = [
        route("prefix", path={"value": "/a"}),
        route("regex", path={"type": "regex", "value": "/[ab]"}),
    ]
    paths = [one["path"] for one in server(rendered(base(routes=routes)))["routes"]]
    # An exact location for the prefix itself would come first.
    assert paths == ["~ ^/[ab]$", "/a/"]


def test_an_expression_that_is_divided_is_a_word_without_quotes() -> None:
    """The controller writes it so, and nginx would end it at a brace or a space."""
    counted = route("app", path={"type": "regex", "value": "/a{2,3}"}, methods=["GET"])
    [one] = server(rendered(base(routes=[counted])))["routes"]
    assert one["path"] == "~ ^/a(?:a)?a$"
    spaced = route("app", path={"type": "regex", "value": "/a b"}, methods=["GET"])
    [line] = lacking(base(routes=[spaced]))
    assert line.startswith("routes[0].path (app) holds a space")
    [one] = server(rendered(base(routes=[{**spaced, "methods": []}])))["routes"]
    assert one["path"] == "~ ^/a b$"


def test_an_expression_leaves_the_controllers_own_locations_alone() -> None:
    bodies = rendered(base(routes=[route("app", path={"type": "regex", "value": "/[a-z_]+/.*"})]))
    [one] = server(bodies)["routes"]
    expression = one["path"].removeprefix("~ ")
    assert re.search(expression, "/team/x")
    for own in ("/internal_location_matches_0_default", "/_external_auth/oauth2/auth"):
        assert not re.search(expression, own)


# --- what methods, headers and canaries leave ----------------------------------------------------

CANARY = {"name": "canary", "service": SERVICE}
TWO = [*base()["backends"], CANARY]


def test_what_methods_leave_is_not_found() -> None:
    one = at(rendered(base(routes=[route("app", methods=["PUT", "GET"])])), "/")
    [match] = one["matches"]
    assert match["conditions"] == [{"variable": "$request_method", "value": "~^(GET|PUT)$"}]
    assert one["action"]["return"]["code"] == 404


def test_what_methods_leave_goes_on_to_the_next_prefix() -> None:
    routes = [
        route("narrow", path={"value": "/a/b"}, methods=["GET"], backends=[{"name": "canary"}]),
        route("wide", path={"value": "/a"}, rewrite={"prefix": "/x"}),
    ]
    bodies = rendered(base(backends=TWO, routes=routes))
    below = at(bodies, "/a/b/")
    assert below["matches"][0]["action"] == {"pass": "canary"}
    assert below["action"]["proxy"] == {"upstream": "app", "rewritePath": "/x/b/"}
    # Divided and rewritten: an expression in place of the exact path.
    itself = at(bodies, "~ ^/a/b$")
    assert itself["action"]["proxy"]["rewritePath"] == "/x/b"


def test_what_an_exact_path_leaves_goes_on_to_an_expression_with_its_groups() -> None:
    routes = [
        route("one", path={"type": "exact", "value": "/a/7"}, methods=["GET"]),
        route("any", path={"type": "regex", "value": "/a/([0-9]+)"}, rewrite={"path": "/n/$1"}),
    ]
    bodies = rendered(base(routes=routes))
    assert at(bodies, "~ ^/a/7$")["action"]["proxy"]["rewritePath"] == "/n/7"


def test_what_an_expression_leaves_to_others_is_told() -> None:
    routes = [route("x", path={"type": "regex", "value": "/a.*"}, methods=["GET"]), route("all")]
    [line] = lacking(base(routes=routes))
    assert line.startswith("routes[0].path (x) leaves requests to all by its methods or headers")


def test_routes_of_one_path_are_matches_the_narrowest_first() -> None:
    new = [{"name": "X-Stage", "value": "new"}]
    routes = [
        route("all"),
        route("get", methods=["GET"], backends=[{"name": "canary"}]),
        route("new", headers=new, backends=[{"name": "canary"}]),
    ]
    one = at(rendered(base(backends=TWO, routes=routes)), "/")
    assert [match["conditions"][0] for match in one["matches"]] == [
        {"header": "X-Stage", "value": "new"},
        {"variable": "$request_method", "value": "GET"},
    ]
    assert one["action"] == {"pass": "app"}


def test_weights_are_splits_and_a_canary_is_a_match() -> None:
    made = route(
        "app",
        backends=[{"name": "canary", "weight": 10}, {"name": "app", "weight": 90}],
        canary={"backend": "canary", "cookie": "canary", "value": "yes"},
    )
    one = at(rendered(base(backends=TWO, routes=[made])), "/")
    assert one["splits"] == [
        {"weight": 90, "action": {"pass": "app"}},
        {"weight": 10, "action": {"pass": "canary"}},
    ]
    assert one["matches"] == [
        {"conditions": [{"cookie": "canary", "value": "yes"}], "action": {"pass": "canary"}}
    ]


def test_a_backend_without_weight_gets_nothing() -> None:
    made = route("app", backends=[{"name": "app"}, {"name": "canary", "weight": 0}])
    assert at(rendered(base(backends=TWO, routes=[made])), "/")["action"] == {"pass": "app"}


def test_routes_of_one_path_have_one_set_of_policies() -> None:
    routes = [route("all", policies=["gzip"]), route("get", methods=["GET"])]
    policies = [{"type": "compression", "name": "gzip"}]
    [line] = lacking(base(routes=routes, policies=policies))
    assert "routes[0].policies (all, beside get) asks for different policies" in line
    assert "Kong has it" in line


def test_headers_may_differ_among_routes_of_one_path() -> None:
    headers = {"type": "headers", "name": "h", "request": {"set": {"X-A": "b"}}}
    routes = [route("all"), route("get", methods=["GET"], policies=["h"])]
    one = at(rendered(base(routes=routes, policies=[headers])), "/")
    assert "requestHeaders" in one["matches"][0]["action"]["proxy"]
    assert one["action"] == {"pass": "app"}


# --- backends ------------------------------------------------------------------------------------


def upstream(**changes: Any) -> dict[str, Any]:
    bodies = rendered(base(backends=[{"name": "app", "service": SERVICE, **changes}]))
    return server(bodies)["upstreams"][0]


@pytest.mark.parametrize(
    ("balance", "method"),
    [
        ({"type": "roundRobin"}, "round_robin"),
        ({"type": "leastConnections"}, "least_conn"),
        ({"type": "hash", "by": "clientAddress"}, "hash $binary_remote_addr consistent"),
        ({"type": "hash", "by": "header", "name": "X-User-Id"}, "hash $http_x_user_id consistent"),
        ({"type": "hash", "by": "cookie", "name": "sid"}, "hash $cookie_sid consistent"),
    ],
)
def test_load_balancing(balance: dict[str, Any], method: str) -> None:
    assert upstream(balance=balance)["lb-method"] == method


def test_an_upstream_has_what_the_backend_says() -> None:
    found = upstream(
        protocol="grpcs",
        timeouts={"connect": "1500ms", "read": "2m"},
        retries={"attempts": 3, "when": ["error", "503"], "nonIdempotent": True, "timeout": "5s"},
        passiveHealth={"failures": 1, "timeout": "2s"},
        maxConnections=7,
        sessionCookie={"name": "route", "expires": "1h"},
    )
    assert found["service"] == "team/app" and found["type"] == "grpc"
    assert found["tls"] == {"enable": True}
    assert (found["connect-timeout"], found["read-timeout"]) == ("1500ms", "120s")
    assert found["next-upstream"] == "error http_503 non_idempotent" or set(
        found["next-upstream"].split()
    ) == {"error", "http_503", "non_idempotent"}
    assert (found["next-upstream-tries"], found["next-upstream-timeout"]) == (3, "5s")
    assert (found["max-fails"], found["fail-timeout"], found["max-conns"]) == (1, "2s", 7)
    assert found["sessionCookie"]["name"] == "route"


def test_one_attempt_is_no_retry() -> None:
    assert upstream(retries={"attempts": 1})["next-upstream"] == "off"


def test_a_backup_is_a_location_of_its_own() -> None:
    backup = {"name": "spare", "namespace": "team", "port": 81}
    bodies = rendered(
        base(
            backends=[{"name": "app", "service": SERVICE, "backup": backup}],
            routes=[route("app", path={"value": "/a"}, rewrite={"prefix": "/x"})],
        )
    )
    spec = server(bodies)
    [spare] = [one for one in spec["upstreams"] if one["name"] == "app-backup"]
    assert spare["service"] == "team/spare" and spare["port"] == 81
    lines = directives(spec["server-snippets"])
    name = next(
        one for one in of_kind(bodies, "VirtualServer") if one["spec"]["host"] == "a.example.com"
    )["metadata"]["name"]
    assert ("proxy_pass", f"http://vs_nginx-ingress_{name}_app-backup") in lines
    assert ("rewrite", "^/a/(.*)$", "/x/$1", "break") in lines
    below = directives(at(bodies, "/a/")["location-snippets"])
    [page] = [one for one in below if one[0] == "error_page"]
    assert ("location", page[-1], "{") in lines


def test_a_backup_sees_what_a_backend_would_see() -> None:
    """Nobody says by a header who they are, nor where the backend has no endpoint left."""
    backup = {"name": "spare", "namespace": "team", "port": 81}
    changes = {"request": {"set": {"X-A": "b"}, "remove": ["X-Secret"]}}
    bodies = with_policies(
        {"type": "apiKey", "name": "key", "consumers": ["alice"]},
        {"type": "headers", "name": "changes", **changes},
        backends=[{"name": "app", "service": SERVICE, "backup": backup}],
    )
    lines = directives(server(bodies)["server-snippets"])
    assert ("proxy_set_header", "X-Consumer-Username", "$apikey_client_name") in lines
    assert ("proxy_set_header", "X-A", "b") in lines
    assert ("proxy_set_header", "X-Secret", "") in lines
    # What the controller itself answers without an endpoint goes there, too.
    place = directives(at(bodies, "/")["location-snippets"])
    assert ("proxy_intercept_errors", "on") in place


def test_a_backup_of_grpc_is_asked_by_grpc() -> None:
    backup = {"name": "spare", "namespace": "team", "port": 81}
    backend = {"name": "app", "service": SERVICE, "protocol": "grpc", "backup": backup}
    bodies = rendered(base(backends=[backend]))
    [asked] = [one for one in directives(server(bodies)["server-snippets"]) if "_pass" in one[0]]
    assert asked[0] == "grpc_pass" and asked[1].startswith("grpc://")


def test_a_backend_proves_its_certificate() -> None:
    tls = {"caSecret": "ca", "serverName": "app.team.svc"}
    backend = {"name": "app", "service": SERVICE, "protocol": "https", "tls": tls}
    bodies = rendered(base(backends=[backend]))
    found = policy(bodies, "gateway-app-tls")["egressMTLS"]
    assert found["trustedCertSecret"] == "ca" and found["verifyServer"] is True
    assert at(bodies, "/")["policies"] == [{"name": "gateway-app-tls"}]


# --- policies ------------------------------------------------------------------------------------


def test_networks_that_are_allowed_or_denied() -> None:
    one = with_policies({"type": "access", "name": "in", "allow": ["10.0.0.0/8", "::1"]})
    assert policy(one, "gateway-in")["accessControl"] == {"allow": ["10.0.0.0/8", "::1/128"]}
    other = with_policies({"type": "access", "name": "in", "deny": ["10.0.0.0/8"]})
    assert policy(other, "gateway-in")["accessControl"] == {"deny": ["10.0.0.0/8"]}


def test_networks_that_are_allowed_but_for_others() -> None:
    both = {"type": "access", "name": "in", "allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"]}
    bodies = with_policies(both)
    assert not of_kind(bodies, "Policy")
    lines = directives(at(bodies, "/")["location-snippets"])
    # The first that holds an address tells.
    assert lines[:3] == [("deny", "10.1.0.0/16"), ("allow", "10.0.0.0/8"), ("deny", "all")]


def test_a_limit_of_bodies_is_of_the_route() -> None:
    body = base(
        policies=[{"type": "limits", "name": "small", "body": "1Ki"}],
        routes=[route("app"), route("small", path={"value": "/s"}, policies=["small"])],
    )
    bodies = rendered(body)
    sizes = {one["name"]: one["client-max-body-size"] for one in server(bodies)["upstreams"]}
    assert sizes == {"app": "0", "app-b1024": "1024"}
    assert at(bodies, "/s/")["action"] == {"pass": "app-b1024"}


def test_requests_are_filtered() -> None:
    policy_ = {
        "type": "filter",
        "name": "f",
        "methods": ["DELETE"],
        "paths": [r"\.php$"],
        "userAgents": ["sqlmap|nikto"],
    }
    lines = directives(at(with_policies(policy_), "/")["location-snippets"])
    tests = [" ".join(line) for line in lines if line[0] == "if"]
    assert tests == [
        "if ($request_method ~ ^(DELETE)$ ) {",
        "if ($gateway_decoded_path ~ [.]php$ ) {",
        "if ($http_user_agent ~ sqlmap|nikto ) {",
    ]
    assert lines.count(("return", "403")) == 3


def test_responses_are_compressed() -> None:
    made = {"type": "compression", "name": "z", "types": ["text/html", "text/css"], "level": 9}
    lines = directives(at(with_policies(made), "/")["location-snippets"])
    # NGINX warns of text/html, which always is.
    assert ("gzip", "on") in lines and ("gzip_types", "text/css") in lines
    assert ("gzip_comp_level", "9") in lines


def test_a_cache_is_for_each_consumer_where_one_is_asked_for() -> None:
    cache = {"type": "cache", "name": "c", "time": "1500ms", "vary": ["Accept-Language"]}
    free = policy(with_policies(cache), "gateway-c-app")["cache"]
    assert free["cacheKey"] == "$scheme$host$request_uri|$http_accept_language"
    assert free["time"] == "2s" and free["maxSize"] == "100m"
    keys = {"type": "apiKey", "name": "k", "consumers": ["alice"]}
    asked = policy(with_policies(cache, keys), "gateway-c-app")["cache"]
    assert asked["cacheKey"].endswith("|$apikey_client_name")


def test_consumers_come_with_keys_or_passwords() -> None:
    keys = {"type": "apiKey", "name": "k", "consumers": ["alice"], "query": "key"}
    bodies = with_policies(keys)
    assert policy(bodies, "gateway-k")["apiKey"] == {
        "suppliedIn": {"header": ["X-API-Key"], "query": ["key"]},
        "clientSecret": "k-credentials",
    }
    lines = directives(at(bodies, "/")["location-snippets"])
    assert ("proxy_set_header", "X-Consumer-Username", "$apikey_client_name") in lines
    bodies = with_policies({"type": "basic", "name": "b", "consumers": ["alice"], "realm": "ml"})
    assert policy(bodies, "gateway-b")["basicAuth"] == {"realm": "ml", "secret": "b-credentials"}


def test_nobody_says_who_they_are_without_proof() -> None:
    lines = directives(at(rendered(base()), "/")["location-snippets"])
    assert ("proxy_set_header", "X-Consumer-Username", "") in lines


def test_browsers_sign_in_through_dex() -> None:
    bodies = with_policies({"type": "oidc", "name": "dex", "groups": ["ml", "admins"]})
    found = policy(bodies, "gateway-dex")["externalAuth"]
    assert found["authServiceName"] == "oauth2-proxy/oauth2-proxy"
    assert directives(found["authSnippets"]) == [("set", "$args", "allowed_groups=admins,ml")]
    lines = directives(at(bodies, "/")["location-snippets"])
    assert ("error_page", "401", "=", "/oauth2/start") in lines
    assert ("proxy_set_header", "X-Auth-Request-Email", "$gateway_user") in lines


def test_one_sign_in_for_a_host() -> None:
    policies = [{"type": "oidc", "name": n, "groups": [n]} for n in ("a", "b")]
    routes = [route("a", policies=["a"]), route("b", path={"value": "/b"}, policies=["b"])]
    [line] = lacking(base(policies=policies, routes=routes))
    assert "a.example.com" in line and "a, b" in line


@pytest.mark.parametrize(
    ("changes", "rate", "burst", "key"),
    [
        ({}, "10r/s", 9, "${binary_remote_addr}"),
        ({"per": "minute", "burst": 3}, "10r/m", 3, "${binary_remote_addr}"),
        ({"per": "hour", "requests": 120, "burst": 0}, "2r/m", None, "${binary_remote_addr}"),
        ({"by": "route", "requests": 1}, "1r/s", None, "route"),
        ({"by": "header", "header": "X-Tenant"}, "10r/s", 9, "${http_x_tenant}"),
        ({"by": "consumer"}, "10r/s", 9, "${apikey_client_name}"),
    ],
)
def test_rates(changes: dict[str, Any], rate: str, burst: int | None, key: str) -> None:
    made = {"type": "rateLimit", "name": "r", "requests": 10, **changes}
    keys = {"type": "apiKey", "name": "k", "consumers": ["alice"]}
    found = policy(with_policies(made, keys), "gateway-r-app")["rateLimit"]
    assert (found["rate"], found.get("burst"), found["key"]) == (rate, burst, key)
    assert found["rejectCode"] == 429 and found["noDelay"] is True


def test_rates_are_counted_for_each_route() -> None:
    made = {"type": "rateLimit", "name": "r", "requests": 10, "scope": "divided"}
    routes = [route("a", policies=["r"]), route("b", path={"value": "/b"}, policies=["r"])]
    bodies = rendered(base(policies=[made], routes=routes))
    names = [one["metadata"]["name"] for one in of_kind(bodies, "Policy")]
    assert names == ["gateway-r-a", "gateway-r-b"]
    assert policy(bodies, "gateway-r-a")["rateLimit"]["scale"] is True


def test_headers_are_changed() -> None:
    made = {
        "type": "headers",
        "name": "h",
        "request": {
            "set": {"X-A": "from ${clientAddress}", "X-Id": "${requestId}"},
            "add": {"X-B": "more"},
            "remove": ["X-C"],
        },
        "response": {"set": {"X-D": "a; b"}, "add": {"X-E": "${requestId}"}, "remove": ["X-F"]},
    }
    bodies = with_policies(made)
    one = at(bodies, "/")
    proxy = one["action"]["proxy"]
    assert proxy["requestHeaders"]["set"] == [
        {"name": "X-A", "value": "from ${remote_addr}"},
        {"name": "X-C", "value": ""},
    ]
    assert proxy["responseHeaders"] == {
        "hide": ["X-D", "X-F"],
        "add": [{"name": "X-D", "value": "a; b", "always": True}],
    }
    lines = directives(one["location-snippets"])
    assert ("proxy_set_header", "X-Id", "$gateway_request_id") in lines
    assert ("add_header", "X-E", "$gateway_request_id", "always") in lines
    [added] = [line for line in lines if line[:2] == ("proxy_set_header", "X-B")]
    assert ("map", "$http_x_b", added[2], "{") in directives(server(bodies)["http-snippets"])


def test_grpc_has_directives_of_its_own() -> None:
    backend = {"name": "app", "service": SERVICE, "protocol": "grpc"}
    one = at(rendered(base(backends=[backend])), "/")
    names = {line[0] for line in directives(one["location-snippets"])}
    assert names == {"grpc_set_header"}


def test_other_origins() -> None:
    made = {
        "type": "cors",
        "name": "c",
        "origins": ["https://b.com", "https://a.com"],
        "methods": ["GET", "HEAD", "PUT"],
        "maxAge": "10m",
        "credentials": True,
    }
    assert policy(with_policies(made), "gateway-c")["cors"] == {
        "allowOrigin": ["https://a.com", "https://b.com"],
        "allowMethods": ["GET", "PUT"],
        "maxAge": 600,
        "allowCredentials": True,
    }


# --- listeners, hosts, settings ------------------------------------------------------------------


def test_tls_is_of_the_host_and_its_versions_of_the_gateway() -> None:
    secure = {"name": "a.example.com", "tls": {"type": "ownCa"}}
    listeners = [
        {"protocol": "http", "name": "http"},
        {
            "protocol": "https",
            "name": "https",
            "minimumTls": "1.3",
            "ciphers": ["ECDHE-RSA-AES128-GCM-SHA256"],
            "http2": False,
        },
    ]
    bodies = rendered(base(hosts=[secure], listeners=listeners))
    redirect = {"enable": True, "code": 301}
    assert server(bodies)["tls"] == {"secret": "a.example.com-tls", "redirect": redirect}
    found = settings(bodies)
    assert found["ssl-protocols"] == "TLSv1.3" and found["http2"] == "False"
    assert found["ssl-ciphers"] == "ECDHE-RSA-AES128-GCM-SHA256"
    bodies = rendered(base(hosts=[{**secure, "redirect": False}]))
    assert server(bodies)["tls"] == {"secret": "a.example.com-tls"}
    assert settings(bodies)["ssl-protocols"] == "TLSv1.2 TLSv1.3"


def test_connections_go_to_a_backend_of_tcp() -> None:
    access = {"type": "access", "name": "in", "allow": ["10.0.0.0/8"]}
    db = {"name": "db", "service": {**SERVICE, "namespace": "redis"}, "protocol": "tcp"}
    listener = {"protocol": "tcp", "name": "db", "port": 6379, "backend": "db", "policies": ["in"]}
    listeners = [listener, {"protocol": "http", "name": "http"}]
    backends = [*base()["backends"], db]
    bodies = rendered(base(backends=backends, listeners=listeners, policies=[access]))
    [one] = of_kind(bodies, "GlobalConfiguration")
    assert one["spec"]["listeners"] == [{"name": "db", "port": 6379, "protocol": "TCP"}]
    [stream] = of_kind(bodies, "TransportServer")
    # The controller takes a Service of its own namespace alone.
    assert stream["metadata"]["namespace"] == "redis"
    lines = directives(stream["spec"]["serverSnippets"])
    assert lines == [("allow", "10.0.0.0/8"), ("deny", "all")]


def test_ports_that_the_controller_keeps_are_moved() -> None:
    assert container_port(6379) == 6379
    assert container_port(8080) == 28080


def test_the_log_tells_no_secrets() -> None:
    log = settings(rendered(base()))["log-format"]
    assert "$gateway_path" in log
    for secret in ("$request_uri", "$args", "$http_authorization", "$http_cookie", '"$request"'):
        assert secret not in log


def test_spans_go_to_a_collector_and_logs_nowhere() -> None:
    watched = {"accessLog": "off", "tracing": {"endpoint": "otel.monitoring:4317"}}
    found = settings(rendered(base(observability=watched)))
    assert found["otel-exporter-endpoint"] == "otel.monitoring:4317"
    assert found["access-log-off"] == "True"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"proxy_protocol": True, "trusted": ("10.0.0.0/8",)}, "proxy_protocol"),
        ({"trusted": ("10.0.0.0/8",)}, "X-Real-IP"),
        (
            {"trusted": ("10.0.0.0/8",), "client_header": "True-Client-IP"},
            "True-Client-IP",
        ),
    ],
)
def test_whose_word_is_taken_for_the_clients_address(
    changes: dict[str, Any], expected: str | None
) -> None:
    found = settings(rendered(base(), **changes))
    assert found.get("real-ip-header") == expected
    assert ("set-real-ip-from" in found) == bool(changes)


# --- a chain -------------------------------------------------------------------------------------


def chain(layer: str) -> list[dict[str, Any]]:
    policies = [
        {"type": "compression", "name": "gzip"},
        {"type": "cache", "name": "cache"},
        {"type": "limits", "name": "small", "body": "1Ki"},
        {"type": "apiKey", "name": "keys", "consumers": ["alice"]},
        {"type": "rateLimit", "name": "rate", "requests": 5},
    ]
    body = base(
        topology="chain",
        hosts=[{"name": "a.example.com", "tls": {"type": "ownCa"}}],
        policies=policies,
        consumers=[{"name": "alice"}],
        routes=[
            route("open", path={"value": "/open"}, policies=["gzip", "cache", "small", "rate"]),
            route("closed", path={"value": "/closed"}, policies=["keys", "cache"]),
        ],
    )
    return rendered(body, layer=layer, name=layer)


def test_a_balancer_passes_connections_on() -> None:
    bodies = chain("balancer")
    assert {one["kind"] for one in bodies} == {
        "ConfigMap",
        "GlobalConfiguration",
        "TransportServer",
    }
    assert {one["spec"]["upstreams"][0]["port"] for one in of_kind(bodies, "TransportServer")} == {
        80,
        443,
    }
    for one in of_kind(bodies, "TransportServer"):
        assert one["spec"]["upstreams"][0]["service"] == "next"
        assert directives(one["spec"]["serverSnippets"]) == [("proxy_protocol", "on")]


def test_a_proxy_ends_tls_and_knows_no_consumers() -> None:
    bodies = chain("proxy")
    spec = server(bodies)
    assert spec["tls"]["secret"] == "a.example.com-tls"
    assert {one["service"] for one in spec["upstreams"]} == {"next"}
    assert [one["metadata"]["name"] for one in of_kind(bodies, "Policy")] == ["proxy-cache-open"]
    assert at(bodies, "/")["action"] == {"pass": "next"}
    assert at(bodies, "/open/")["action"] == {"pass": "next-b1024"}
    assert "gzip on;" in at(bodies, "/open/")["location-snippets"]


def test_a_gateway_behind_asks_who_comes_and_caches_after_it() -> None:
    bodies = chain("gateway")
    spec = server(bodies)
    assert "tls" not in spec
    names = [one["metadata"]["name"] for one in of_kind(bodies, "Policy")]
    # What those may have who come is kept behind the question who they are.
    assert names == ["gateway-cache-closed", "gateway-keys", "gateway-rate-open"]
    sent = at(bodies, "/open/")["action"]["proxy"]["requestHeaders"]["set"]
    assert {"name": "X-Forwarded-Proto", "value": "${http_x_forwarded_proto}"} in sent


# --- what this edition lacks ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"backends": [{"name": "app", "service": SERVICE, "slowStart": "10s"}]},
            "backends[0].slowStart (app) asks for slow start, which NGINX (open source) does not "
            "have; NGINX Plus has it; use readiness probes that wait for a warm pod instead",
        ),
        (
            {"backends": [{"name": "app", "service": SERVICE, "activeHealth": {}}]},
            "backends[0].activeHealth (app) asks for active health checks",
        ),
        (
            {"backends": [{"name": "app", "external": {"host": "api.example.com", "port": 443}}]},
            "backends[0].external (app) asks for a host outside as a backend",
        ),
        (
            {
                "policies": [
                    {"type": "rateLimit", "name": "r", "requests": 1, "scope": "redis"},
                ]
            },
            "use scope: divided",
        ),
        (
            {"policies": [{"type": "jwt", "name": "j", "issuer": "https://dex.example.com"}]},
            "policies[0].issuer (j) asks for tokens of an issuer whose keys are discovered",
        ),
        (
            {
                "hosts": [{"name": "a.example.com", "tls": {"type": "ownCa"}}],
                "listeners": [
                    {"protocol": "http", "name": "http"},
                    {"protocol": "https", "name": "https", "port": 8443},
                ],
            },
            "hosts[0].redirect (a.example.com) asks for a redirect to an HTTPS port that is not",
        ),
        (
            {"routes": [route("x", path={"value": "/internal_location_x"})]},
            "which NGINX Ingress Controller keeps for itself",
        ),
    ],
)
def test_what_is_missing_is_told_with_its_place(changes: dict[str, Any], told: str) -> None:
    [line] = lacking(base(**changes))
    assert told in line


def test_all_that_is_missing_is_told_at_once() -> None:
    backend = {"name": "app", "service": SERVICE, "slowStart": "10s", "activeHealth": {}}
    assert len(lacking(base(backends=[backend]))) == 2


def test_a_layer_is_asked_for_what_it_carries() -> None:
    backend = {"name": "app", "service": SERVICE, "slowStart": "10s"}
    body = base(topology="chain", backends=[backend])
    assert rendered(body, layer="balancer") and rendered(body, layer="proxy")
    assert lacking(body, layer="gateway")


# --- the matrix ----------------------------------------------------------------------------------


def test_the_matrix_in_the_documentation_is_current() -> None:
    found = (Path(__file__).parents[2] / "docs" / "gateway-matrix.md").read_text()
    assert found == features.matrix(), (
        "python -m components.gateway.features > docs/gateway-matrix.md"
    )


def test_every_feature_has_a_name_of_its_own_and_a_way_out() -> None:
    assert len({one.name for one in FEATURES}) == len(FEATURES)
    for one in FEATURES:
        for support in (one.nginx, one.kong):
            if isinstance(support, Missing):
                assert support.edition and support.instead
