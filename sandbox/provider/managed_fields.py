"""Field managers: taking over from managers of earlier ways to write, and `ignoreChanges`.

Structure of `managedFields`: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

from typing import Any, Final

Object = dict[str, Any]

# Managers whose fields an update takes over, as the official provider does.
_TAKEN_OVER: Final = frozenset(
    {
        ("kubectl", "Apply"),
        ("kubectl", "Update"),
        ("before-first-apply", "Update"),
        ("pulumi-kubernetes", "Update"),
        ("pulumi-kubernetes.exe", "Update"),
        ("pulumi-resource-kubernetes", "Update"),
    }
)
_OWN_UPDATES: Final = frozenset(
    {"pulumi-kubernetes", "pulumi-kubernetes.exe", "pulumi-resource-kubernetes"}
)


def _entries(live: Object) -> list[Object]:
    entries: list[Object] = live.get("metadata", {}).get("managedFields") or []
    return entries


def _merge(a: Object, b: Object) -> Object:
    result = dict(a)
    for key, value in b.items():
        result[key] = _merge(result.get(key) or {}, value or {})
    return result


def take_over(live: Object, manager: str) -> list[Object]:
    """JSON patch that gives `manager` the fields of earlier managers; empty if there are none."""
    entries = _entries(live)
    earlier = [
        entry
        for entry in entries
        if (entry.get("manager"), entry.get("operation")) in _TAKEN_OVER
        and not entry.get("subresource")
        and entry.get("manager") != manager
    ]
    if not earlier:
        return []
    kept = [entry for entry in entries if entry not in earlier]
    own = next(
        (e for e in kept if e.get("manager") == manager and e.get("operation") == "Apply"), None
    )
    fields: Object = dict(own["fieldsV1"]) if own else {}
    for entry in earlier:
        fields = _merge(fields, entry.get("fieldsV1") or {})
    merged = {**(own or earlier[0]), "manager": manager, "operation": "Apply", "fieldsV1": fields}
    others = [entry for entry in kept if entry is not own]
    version = live["metadata"]["resourceVersion"]
    return [
        {"op": "replace", "path": "/metadata/managedFields", "value": [merged, *others]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
    ]


def written_by_update(live: Object) -> bool:
    """Whether this provider once wrote the object by another way than server-side apply."""
    return any(
        entry.get("operation") == "Update" and entry.get("manager") in _OWN_UPDATES
        for entry in _entries(live)
    )


def has_managers(live: Object) -> bool:
    """Whether the API server knows who manages the object's fields."""
    return bool(_entries(live))


def holds(live: Object, path: tuple[str | int, ...], manager: str, *, others: bool) -> bool:
    """Whether `manager` (with `others`: anybody else) manages the field at `path`."""
    for entry in _entries(live):
        if (entry.get("manager") == manager) == others:
            continue
        fields: Any = entry.get("fieldsV1") or {}
        for part in path:
            fields = fields.get(f"f:{part}") if isinstance(fields, dict) else None
        if fields is not None:
            return True
    return False
