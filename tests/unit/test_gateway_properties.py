"""Any valid gateway is carried out or refused by name, always in the same way, and as it says."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from components.gateway import kong, nginx
from components.gateway.features import Lacking
from components.gateway.rendering import Pods, Target
from components.gateway.routes import Gateway, Route, RoutesError, parse
from tests.support.gateway_models import directives, models, target
from tests.support.gateway_nginx import CRDS, complaints

Render = Callable[[Gateway, Target], list[dict[str, Any]]]
RENDERERS: dict[str, Render] = {"nginx": nginx.render, "kong": kong.render}
_many = settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])


def valid(body: dict[str, Any]) -> Gateway:
    try:
        return parse(body)
    except RoutesError as error:
        # All that does not go together in these models.
        assert re.search(
            r"can never be reached|nothing at .* asks who comes|asks in several ways", str(error)
        )
        assume(False)
        raise


def rendered(name: str, gateway: Gateway) -> list[dict[str, Any]] | str:
    """The objects, or what is refused."""
    pods = {
        f"{one.service.namespace}/{one.service.name}:{one.service.port}": Pods({"a": "b"}, 8080)
        for one in gateway.backends
        if one.service
    }
    try:
        return RENDERERS[name](gateway, target(gateway, pods=pods))
    except Lacking as error:
        for line in str(error).splitlines():
            # Where it is used, and what to do.
            assert re.match(r"(routes|backends|policies|hosts|listeners)\b", line)
            assert "; use " in line or "; add " in line or " use " in line, line
        return str(error)


@pytest.mark.parametrize("name", RENDERERS)
@_many
@given(body=models())
def test_any_valid_gateway_renders_or_is_refused_by_name(name: str, body: dict[str, Any]) -> None:
    found = rendered(name, valid(body))
    event("refused" if isinstance(found, str) else "rendered")


@pytest.mark.skipif(not CRDS.is_dir(), reason=f"needs {CRDS}")
@_many
@given(body=models(plain=True))
def test_whatever_renders_is_taken_by_the_controller(body: dict[str, Any]) -> None:
    found = rendered("nginx", valid(body))
    assume(not isinstance(found, str))
    for one in found:
        assert isinstance(one, dict)
        assert complaints(one) == []


@pytest.mark.parametrize("name", RENDERERS)
@_many
@given(body=models(plain=True), data=st.data())
def test_order_without_meaning_changes_nothing(
    name: str, body: dict[str, Any], data: st.DataObject
) -> None:
    gateway = valid(body)
    first = rendered(name, gateway)
    shuffled = {
        key: data.draw(st.permutations(parts)) if key != "routes" else _kept(data, parts)
        for key, parts in body.items()
    }
    shuffled["routes"] = [
        {
            **route,
            "hosts": data.draw(st.permutations(route["hosts"])),
            "methods": data.draw(st.permutations(route["methods"])),
            "backends": data.draw(st.permutations(route["backends"])),
            "policies": data.draw(st.permutations(route["policies"])),
        }
        for route in shuffled["routes"]
    ]
    second = rendered(name, valid(shuffled))
    if isinstance(first, str) or isinstance(second, str):
        # Places in the file are others.
        assert isinstance(first, str) and isinstance(second, str)
    else:
        assert _by_name(second) == _by_name(first)
        if name == "nginx":
            assert second == first


def _by_name(bodies: list[dict[str, Any]]) -> dict[tuple[str, ...], dict[str, Any]]:
    """As resources are told apart."""
    found = {}
    for one in bodies:
        where = one["metadata"]
        found[one["kind"], where.get("namespace", ""), where["name"]] = one
    assert len(found) == len(bodies)
    return found


def _kept(data: st.DataObject, routes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Routes in another order, in which those whose order has a meaning keep it."""

    def meant(route: dict[str, Any]) -> str:
        path = route["path"]
        return "" if path["type"] == "regex" else f"{path['type']} {path['value'].rstrip('/')}"

    groups: dict[str, list[dict[str, Any]]] = {}
    for route in routes:
        groups.setdefault(meant(route), []).append(route)
    order = data.draw(st.permutations([meant(route) for route in routes]))
    taken = {key: iter(group) for key, group in groups.items()}
    return [next(taken[key]) for key in order]


# --- NGINX does what the model says ---------------------------------------------------------------

requests = st.tuples(
    st.sampled_from(
        ("/", "/a", "/a/", "/a/b", "/ab", "/a/7", "/b/c", "/c/x/y", "/x", "/xx/y", "/a/x.php")
    ),
    st.sampled_from(("GET", "POST", "DELETE")),
    st.sampled_from(({}, {"X-Stage": "new"}, {"X-Stage": "old"})),
)


@_many
@given(body=models(plain=True), tried=st.lists(requests, min_size=5, max_size=15))
def test_a_request_goes_where_the_model_says(body: dict[str, Any], tried: list[Any]) -> None:
    gateway = valid(body)
    found = rendered("nginx", gateway)
    assume(not isinstance(found, str))
    for one in found:
        assert isinstance(one, dict)
        if one["kind"] != "VirtualServer":
            continue
        spec = one["spec"]
        for path, method, headers in tried:
            route = _asked(gateway, spec["host"], path, method, headers)
            expected = {share.name for share in route.backends if share.weight} if route else None
            assert _answered(spec, path, method, headers) == expected


def _asked(
    gateway: Gateway, host: str, path: str, method: str, headers: dict[str, str]
) -> Route | None:
    """The route that takes a request, by the model's own words."""
    for route in gateway.routes_of(host):
        value = route.path.value
        takes = {
            "exact": path == value,
            "prefix": f"{path}/".startswith(value.rstrip("/") + "/"),
            "regex": route.path.type == "regex" and bool(re.fullmatch(value, path)),
        }[route.path.type]
        wanted = all(headers.get(one.name) == one.value for one in route.headers)
        if takes and wanted and (not route.methods or method in route.methods):
            return route
    return None


def _answered(
    spec: dict[str, Any], path: str, method: str, headers: dict[str, str]
) -> set[str] | None:
    """Backends that NGINX would ask: its choice of a location, and the controller's of a match."""
    places = {one["path"]: one for one in spec["routes"]}
    place = places.get(f"={path}")
    if place is None:
        expressions = [one for one in spec["routes"] if one["path"].startswith("~")]
        place = next(
            (one for one in expressions if re.search(one["path"].removeprefix("~ "), path)), None
        )
    if place is None:
        prefixes = [one for one in places if one.startswith("/") and path.startswith(one)]
        place = places[max(prefixes, key=len)] if prefixes else None
    if place is None:
        return None
    for match in place.get("matches", ()):
        if all(_holds(one, method, headers) for one in match["conditions"]):
            return _backends(match)
    return _backends(place)


def _holds(condition: dict[str, str], method: str, headers: dict[str, str]) -> bool:
    if "variable" in condition:
        found: str | None = method
    else:
        found = headers.get(condition.get("header", ""))
    value = condition["value"]
    if value.startswith("~"):
        return bool(re.search(value.removeprefix("~"), found or ""))
    return found == value


def _backends(part: dict[str, Any]) -> set[str] | None:
    actions = [part["action"]] if "action" in part else [one["action"] for one in part["splits"]]
    if "return" in actions[0]:
        return None
    names = {one.get("pass") or one["proxy"]["upstream"] for one in actions}
    # What it is called with a limit of bodies.
    return {re.sub(r"-b\d+$", "", name) for name in names}


@_many
@given(body=models(plain=True))
def test_every_snippet_is_read_by_nginx(body: dict[str, Any]) -> None:
    found = rendered("nginx", valid(body))
    assume(not isinstance(found, str))
    for one in found:
        assert isinstance(one, dict)
        spec = one.get("spec", {})
        for part in (spec, *spec.get("routes", ())):
            for key, text in part.items():
                if key.endswith("snippets"):
                    opened = [line for line in directives(text) if line[-1] == "{"]
                    closed = [line for line in directives(text) if line == ("}",)]
                    assert len(opened) == len(closed)
