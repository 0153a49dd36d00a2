"""The model of a gateway: what a file says, what it may not say, and which route takes what."""

from typing import Any

import pytest

from components.gateway.routes import RoutesError, parse
from tests.support.gateway_models import base, route


def refused(values: Any, name: str = "routes.yaml") -> list[str]:
    """The lines of the error."""
    with pytest.raises(RoutesError) as error:
        parse(values, name)
    return str(error.value).splitlines()


def test_a_file_is_read_into_the_model() -> None:
    gateway = parse(
        """
        hosts: [{name: a.example.com, tls: {type: issuer, name: letsencrypt}}]
        backends:
          - name: app
            service: {name: app, namespace: team, port: 80}
            timeouts: {read: 2m}
        policies: [{type: limits, name: small, body: 10Mi}]
        routes:
          - {name: app, hosts: [a.example.com], backends: [{name: app}], policies: [small]}
        """
    )
    assert gateway.backend("app").timeouts.read == 120_000
    assert gateway.host("a.example.com").tls is not None
    [limit] = gateway.policies_of(gateway.routes[0], "a.example.com")
    assert limit.type == "limits" and limit.body == 10 * 1024**2
    assert [one.protocol for one in gateway.listeners] == ["http", "https"]


def test_all_problems_are_told_at_once_with_their_place() -> None:
    lines = refused(
        base(
            hosts=[{"name": "A.example.com"}],
            routes=[route("app", path={"type": "prefix", "value": "/a/../b"}, colour="red")],
            listeners=[{"protocol": "https", "name": "https", "port": 0}],
        )
    )
    assert len(lines) == 4
    assert all(line.startswith("routes.yaml: ") for line in lines)
    assert any("hosts[0].name is 'A.example.com': give a DNS name in lower" in one for one in lines)
    assert any("routes[0].path is " in one and "'..'" in one for one in lines)
    assert any("routes[0].colour is 'red': there is no such key" in one for one in lines)
    assert any("listeners[0].port is 0" in one for one in lines)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("hosts: [", "is not YAML"),
        ("[]", "give a mapping"),
        ("", "holds 0 documents"),
        ("hosts: []\nhosts: []", "given twice"),
    ],
)
def test_what_is_no_file_of_routes(text: str, line: str) -> None:
    [found] = refused(text)
    assert line in found and found.startswith("routes.yaml")


def test_a_missing_key_is_named() -> None:
    lines = refused({**base(), "routes": [{"name": "app", "hosts": ["a.example.com"]}]})
    assert lines == ["routes.yaml: routes[0].backends is missing: give it"]


SERVICE = {"name": "app", "namespace": "team", "port": 80}
TCP = {"name": "db", "service": SERVICE, "protocol": "tcp"}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"hosts": [{"name": "a.example.com"}] * 2},
            "hosts[1].name is 'a.example.com', as",
        ),
        ({"routes": [route("app"), route("app")]}, "routes[1].name is 'app', as routes[0]"),
        ({"routes": [route("app", hosts=["b.example.com"])]}, "no host has that name"),
        ({"routes": [route("app", backends=[{"name": "x"}])]}, "no backend has that name"),
        ({"routes": [route("app", policies=["x"])]}, "no policy has that name"),
        (
            {"policies": [{"type": "apiKey", "name": "k", "consumers": ["eve"]}]},
            "policies[0].consumers is 'eve': no consumer",
        ),
        (
            {"routes": [route("app", canary={"backend": "x", "header": "X-A"})]},
            "canary.backend is 'x'",
        ),
        (
            {"routes": [route("app", backends=[{"name": "app", "weight": 90}])]},
            "weights that sum up to 90; make them 100",
        ),
        (
            {"listeners": [{"protocol": "http", "name": p, "port": 80} for p in ("a", "b")]},
            "listeners[1].port is 80, as listeners[0].port",
        ),
        (
            {"listeners": [{"protocol": "tcp", "name": "t", "port": 7, "backend": "app"}]},
            "listeners[0].backend is 'app', whose protocol is 'http'; make that tcp",
        ),
        (
            {
                "listeners": [{"protocol": "http", "name": "h"}],
                "hosts": [{"name": "a.example.com", "tls": {"type": "ownCa"}}],
            },
            "hosts[0].tls is set, but no listener is https",
        ),
        (
            {
                "routes": [
                    route("a", rewrite={"prefix": "/x"}, path={"type": "exact", "value": "/"})
                ]
            },
            "use rewrite.path",
        ),
        ({"routes": [route("app", rewrite={"path": "/x"})]}, "use rewrite.prefix"),
        (
            {
                "routes": [
                    route("a", path={"type": "regex", "value": "/(a)"}, rewrite={"path": "/$2"})
                ]
            },
            "the path has 1 groups",
        ),
        (
            {
                "policies": [{"type": "rateLimit", "name": "r", "requests": 1, "by": "consumer"}],
                "routes": [route("app", policies=["r"])],
            },
            "counts by consumer, but nothing at a.example.com asks who comes",
        ),
        (
            {
                "policies": [
                    {"type": "apiKey", "name": "k", "consumers": ["al"]},
                    {"type": "basic", "name": "b", "consumers": ["al"]},
                ],
                "consumers": [{"name": "al"}],
                "routes": [route("app", policies=["k", "b"])],
            },
            "asks in several ways who comes (k, b)",
        ),
        (
            {
                "policies": [{"type": "limits", "name": n, "body": "1Ki"} for n in ("k", "b")],
                "routes": [route("app", policies=["k", "b"])],
            },
            "several of the type limits (k, b)",
        ),
        ({"backends": [TCP], "routes": [route("a", backends=[{"name": "db"}])]}, "listener of tcp"),
        (
            {
                "backends": [
                    {
                        "name": "app",
                        "service": SERVICE,
                        "backup": SERVICE,
                        "balance": {"type": "hash", "by": "clientAddress"},
                    }
                ]
            },
            "backends[0].backup is set, but balance is hash",
        ),
    ],
)
def test_parts_that_do_not_go_together(changes: dict[str, Any], line: str) -> None:
    lines = refused(base(**changes))
    assert any(line in one for one in lines), lines


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ({"name": "app"}, "give either service"),
        ({"name": "app", "service": SERVICE, "external": {"host": "x.com", "port": 1}}, "either"),
        (
            {"name": "app", "service": SERVICE, "balance": {"type": "hash", "by": "cookie"}},
            "give a name with header and cookie",
        ),
        (
            {"name": "app", "service": SERVICE, "tls": {"caSecret": "a", "serverName": "b.c"}},
            "make it https or grpcs",
        ),
        ({"name": "app", "service": SERVICE, "timeouts": {"read": "soon"}}, "like 500ms, 5s"),
        ({"name": "app", "service": SERVICE, "timeouts": {"read": "25h"}}, "at most 24h"),
    ],
)
def test_backends_that_are_none(part: dict[str, Any], line: str) -> None:
    assert any(line in one for one in refused(base(backends=[part])))


def test_a_route_replaces_a_policy_of_its_host() -> None:
    gateway = parse(
        base(
            hosts=[{"name": "a.example.com", "policies": ["wide", "keys", "gzip"]}],
            policies=[
                {"type": "limits", "name": "wide", "body": "1Gi"},
                {"type": "limits", "name": "narrow", "body": "1Ki"},
                {"type": "compression", "name": "gzip"},
                {"type": "apiKey", "name": "keys", "consumers": ["al"]},
                {"type": "basic", "name": "password", "consumers": ["al"]},
            ],
            consumers=[{"name": "al"}],
            routes=[route("app", policies=["narrow", "password"])],
        )
    )
    found = gateway.policies_of(gateway.routes[0], "a.example.com")
    # Who comes is asked in one way.
    assert [one.name for one in found] == ["narrow", "password", "gzip"]


def test_routes_are_tried_from_the_narrowest_to_the_widest() -> None:
    new = [{"name": "X-Stage", "value": "new"}]
    gateway = parse(
        base(
            routes=[
                route("all"),
                route("below", path={"value": "/a/b"}),
                route("near", path={"value": "/a"}),
                route("get", path={"value": "/a"}, methods=["GET"]),
                route("new", path={"value": "/a"}, headers=new),
                route("number", path={"type": "regex", "value": "/a/[0-9]+"}),
                route("one", path={"type": "exact", "value": "/a"}),
            ]
        )
    )
    names = [one.name for one in gateway.routes_of("a.example.com")]
    assert names == ["one", "number", "below", "new", "get", "near", "all"]


def test_a_header_is_changed_once() -> None:
    changes = {"set": {"X-A": "1"}, "remove": ["x-a"]}
    [line] = refused(base(policies=[{"type": "headers", "name": "h", "request": changes}]))
    assert "policies[0].request is " in line and "names x-a twice" in line


# --- routes that nothing reaches -----------------------------------------------------------------

REGEX = "regex"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),
        ({"path": {"value": "/a"}}, {"path": {"value": "/a/"}}),
        ({"path": {"type": REGEX, "value": "/a.*"}}, {"path": {"type": REGEX, "value": "/ab+"}}),
        ({"path": {"type": REGEX, "value": "/.*"}}, {"path": {"value": "/a"}}),
        ({"methods": ["GET", "PUT"]}, {"methods": ["GET"]}),
        (
            {"path": {"type": REGEX, "value": "/a.*"}, "methods": ["GET", "PUT"]},
            {"path": {"value": "/a"}, "methods": ["PUT"]},
        ),
        (
            {"headers": [{"name": "X-A", "value": "1"}]},
            {"headers": [{"name": "x-a", "value": "1"}]},
        ),
    ],
)
def test_a_route_that_another_one_hides_is_an_error_that_names_both(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    lines = refused(base(routes=[route("one", **first), route("two", **second)]))
    [line] = lines
    assert "routes[1] (two) can never be reached at a.example.com: routes[0] (one) takes" in line


def test_methods_of_several_routes_hide_another_one_together() -> None:
    routes = [route("a", methods=["GET"]), route("b", methods=["PUT"])]
    [line] = refused(base(routes=[*routes, route("c", methods=["PUT", "GET"])]))
    assert "routes[2] (c) can never be reached" in line


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"path": {"value": "/a"}}, {"path": {"value": "/ab"}}),
        ({}, {"path": {"value": "/a"}}),
        ({"path": {"type": REGEX, "value": "/ab+"}}, {"path": {"type": REGEX, "value": "/a.*"}}),
        ({"path": {"type": REGEX, "value": "/a/.*"}}, {"path": {"value": "/a"}}),
        ({"path": {"type": REGEX, "value": "/.*"}}, {"path": {"type": "exact", "value": "/a"}}),
        ({}, {"methods": ["GET"]}),
        ({"methods": ["GET"]}, {"methods": ["GET", "PUT"]}),
        ({}, {"headers": [{"name": "X-A", "value": "1"}]}),
        (
            {"headers": [{"name": "X-A", "value": "1"}]},
            {"headers": [{"name": "X-A", "value": "2"}]},
        ),
    ],
)
def test_routes_that_leave_each_other_something(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    gateway = parse(base(routes=[route("one", **first), route("two", **second)]))
    assert len(gateway.routes) == 2


def test_routes_of_different_hosts_do_not_hide_each_other() -> None:
    hosts = [{"name": "a.example.com"}, {"name": "*.example.com"}]
    both = [route("one"), route("two", hosts=["*.example.com"])]
    assert len(parse(base(hosts=hosts, routes=both)).routes) == 2


def test_a_thousand_routes_are_checked_in_a_moment() -> None:
    routes = [route(f"r{index}", path={"value": f"/p/{index}"}) for index in range(1000)]
    assert len(parse(base(routes=routes)).routes) == 1000
