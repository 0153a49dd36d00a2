"""The controller sees pods of another namespace come and go, by a VirtualServerRoute there."""

from typing import Any

from components.gateway import nginx, nginx_endpoints
from components.gateway.rendering import Target
from components.gateway.routes import parse
from tests.support.gateway_nginx import complaints

TARGET = Target(namespace="nginx-ingress", ingress_class="nginx")


def rendered(**namespaces: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The routes of the VirtualServer, and all VirtualServerRoutes, for backends by namespace."""
    bodies = nginx.render(
        parse(
            {
                "hosts": [{"name": "a.test"}],
                "backends": [
                    {"name": name, "service": {"name": name, "namespace": within, "port": 80}}
                    for name, within in namespaces.items()
                ],
                "routes": [
                    {
                        "name": name,
                        "hosts": ["a.test"],
                        "path": {"value": f"/{name}"},
                        "backends": [{"name": name}],
                    }
                    for name in namespaces
                ],
            }
        ),
        TARGET,
    )
    assert [line for body in bodies for line in complaints(body)] == []
    [server] = [body for body in bodies if body["kind"] == "VirtualServer"]
    found = [body for body in bodies if body["kind"] == "VirtualServerRoute"]
    return server["spec"]["routes"], found


def test_each_namespace_has_one_that_names_all_services_there():
    routes, found = rendered(a="one", b="one", c="two")
    assert [body["metadata"]["namespace"] for body in found] == ["one", "two"]
    services = [[one["service"] for one in body["spec"]["upstreams"]] for body in found]
    assert services == [["a", "b"], ["c"]]
    led_to = [one["route"] for one in routes if "route" in one]
    assert led_to == [
        f"{body['metadata']['namespace']}/{body['metadata']['name']}" for body in found
    ]


def test_it_routes_nothing():
    routes, [one] = rendered(a="one")
    [subroute] = one["spec"]["subroutes"]
    assert subroute["action"]["return"]["code"] == 404
    # One path: the controller takes an exact one only where both are the same.
    assert subroute["path"] == f"={nginx_endpoints.PATH}one"
    assert subroute["path"] in [found["path"] for found in routes]


def test_pods_of_the_gateways_own_namespace_are_seen_without():
    routes, found = rendered(a="nginx-ingress")
    assert found == []
    assert all("route" not in one for one in routes)
