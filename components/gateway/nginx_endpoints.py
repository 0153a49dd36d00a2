"""How NGINX Ingress Controller 5.5.4 learns that pods of another namespace came or went. Pure.

For a change of endpoints it looks for VirtualServers in the Service's own namespace only, whatever
their upstreams name (internal/k8s/reference_checkers.go, `IsReferencedByVirtualServer`; mended
after that release). It would go on sending requests to pods that are gone. It does look for
VirtualServerRoutes there, and then writes the whole host anew: so each host gets one in every
namespace that it leads to, which names the Services and routes nothing.
"""

from __future__ import annotations

from typing import Any, Final

Object = dict[str, Any]
PATH: Final = "/_gateway_endpoints/"
"""Below it nothing is found."""


def watch(server: Object) -> list[Object]:
    """The VirtualServerRoutes of a VirtualServer, which gets the routes that lead to them."""
    meta, spec = server["metadata"], server["spec"]
    services: dict[str, dict[tuple[str, int], Object]] = {}
    for upstream in spec["upstreams"]:
        namespace, _, name = upstream["service"].rpartition("/")
        if namespace not in {"", meta["namespace"]}:
            found = services.setdefault(namespace, {})
            known = {"service": name, "port": upstream["port"]}
            found.setdefault((name, upstream["port"]), {"name": f"e{len(found)}", **known})
    watching = []
    for namespace, upstreams in sorted(services.items()):
        path = f"={PATH}{namespace}"
        nothing = {"return": {"code": 404, "type": "text/plain", "body": "not found"}}
        spec["routes"].append({"path": path, "route": f"{namespace}/{meta['name']}"})
        watching.append(
            {
                "apiVersion": server["apiVersion"],
                "kind": "VirtualServerRoute",
                "metadata": {**meta, "namespace": namespace},
                "spec": {
                    "ingressClassName": spec["ingressClassName"],
                    "host": spec["host"],
                    "upstreams": list(upstreams.values()),
                    "subroutes": [{"path": path, "action": nothing}],
                },
            }
        )
    return watching
