"""Event logs of previews, as the engine writes them."""

import json
from typing import Any

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = {SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "[secret]"}
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
PROJECT = "urn:pulumi:team::ml-platform::"
KUBEFLOW = "mlplatform:kubeflow:Kubeflow$mlplatform:kubeflow:Manifests$"
REDIS = "mlplatform:redis:Redis$"

Object = dict[str, Any]


class Log:
    """Events in their order."""

    def __init__(self) -> None:
        self.events: list[Object] = []

    def add(self, kind: str, body: Object) -> "Log":
        self.events.append({"sequence": len(self.events), "timestamp": 1, kind: body})
        return self

    def step(
        self,
        op: str,
        type_: str,
        name: str,
        old: Object | None = None,
        new: Object | None = None,
        diff: dict[str, str] | None = None,
        *,
        chain: str = "",
        kind: str = "resourcePreEvent",
        by_input: bool = True,
        **state: Any,
    ) -> "Log":
        urn = f"{PROJECT}{chain}{type_}::{name}"

        def side(properties: Object | None) -> Object | None:
            if properties is None:
                return None
            both = {"inputs": properties, "outputs": properties}
            return {"type": type_, "urn": urn, "id": "id", "parent": "", **both, **state}

        metadata = {
            "op": op,
            "urn": urn,
            "type": type_,
            "old": side(old),
            "new": side(new),
            "detailedDiff": {
                path: {"diffKind": change, "inputDiff": by_input}
                for path, change in (diff or {}).items()
            }
            or None,
        }
        return self.add(kind, {"metadata": metadata, "planning": True})

    def violation(self, policy: str, message: str, level: str, urn: str = "") -> "Log":
        body = {"policyName": policy, "message": message, "enforcementLevel": level}
        return self.add("policyEvent", {**body, "resourceUrn": urn, "color": "never"})

    def says(self, severity: str, message: str, urn: str = "") -> "Log":
        body = {"severity": severity, "message": message, "urn": urn, "color": "never"}
        return self.add("diagnosticEvent", body)

    def end(self) -> "Log":
        return self.add("summaryEvent", {"maybeCorrupt": False, "resourceChanges": {}})

    @property
    def lines(self) -> list[str]:
        return [json.dumps(event) for event in self.events]


def deployment(name: str, image: str, **container: Any) -> Object:
    """A Deployment of one container."""
    pod = {"containers": [{"name": "main", "image": image, **container}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "kubeflow"},
        "spec": {"replicas": 1, "template": {"spec": pod}},
    }
