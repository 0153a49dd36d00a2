"""What the state keeps of an object: the live object, its inputs, and which parts are secret."""

from __future__ import annotations

from typing import Any, Final

from provider.diff import is_definition
from provider.values import Secret, has_secret, plain

INPUTS: Final = "__inputs"
INITIAL_VERSION: Final = "__initialApiVersion"
FIELD_MANAGER: Final = "__fieldManager"
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_DASHED: Final = {
    name.replace("-", "_"): name
    for name in (
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    )
}
_UNDERSCORED: Final = {dashed: name for name, dashed in _DASHED.items()}

Properties = dict[str, Any]


def _rename(value: Any, names: dict[str, str]) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {names.get(key, key): _rename(item, names) for key, item in value.items()}
    return [_rename(item, names) for item in value] if isinstance(value, list) else value


def to_object(properties: Properties) -> Properties:
    """Plain Kubernetes object of some properties: no secret marks, schema keywords with dashes."""
    obj: Properties = plain(properties)
    return _rename(obj, _DASHED) if is_definition(obj) else obj


def to_properties(obj: Properties, marked: Properties) -> Properties:
    """Properties of an object, secret where `marked` is secret; a Secret's contents always are."""
    renamed = _rename(obj, _UNDERSCORED) if is_definition(obj) else obj
    return mark(renamed, marked)


def mark(values: Properties, like: Properties) -> Properties:
    """A copy of `values` with the secrets of `like`.

    Objects are followed key by key; another value that holds a secret in `like` is secret whole.
    """
    result: Properties = {}
    for key, item in values.items():
        source = like.get(key)
        if isinstance(item, dict) and isinstance(source, dict):
            result[key] = mark(item, source)
        elif source is not None and not isinstance(item, Secret) and has_secret(source):
            result[key] = Secret(item)
        else:
            result[key] = item
    if values.get("kind") == "Secret":
        _hide_contents(result)
    return result


def _hide_contents(secret: Properties) -> None:
    for key in ("data", "stringData"):
        if key in secret:
            secret[key] = _secret(secret[key])
    metadata = secret.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if isinstance(annotations, dict) and LAST_APPLIED in annotations:
        # A copy of the contents, where kubectl made the Secret.
        hidden = {**annotations, LAST_APPLIED: _secret(annotations[LAST_APPLIED])}
        secret["metadata"] = {**secret["metadata"], "annotations": hidden}


def _secret(value: Any) -> Any:  # noqa: ANN401
    """`value` as one secret, without secrets inside."""
    return value if isinstance(value, Secret) else Secret(plain(value))


def save(
    live: Properties, inputs: Properties, marked: Properties, initial_version: str, manager: str
) -> Properties:
    """The state of a resource.

    Args:
        live: the object as the API server has it.
        inputs: what it was made from.
        marked: the inputs with their secret marks.
        initial_version: `apiVersion` that it was made with.
        manager: its field manager.
    """
    return {
        **to_properties(live, marked),
        INPUTS: to_properties(inputs, marked),
        INITIAL_VERSION: initial_version,
        FIELD_MANAGER: manager,
    }


def load(state: Properties) -> tuple[Properties, Properties]:
    """Old inputs and live object of a state, plain."""
    inputs = to_object(state[INPUTS]) if isinstance(state.get(INPUTS), dict) else {}
    own = {INPUTS, INITIAL_VERSION, FIELD_MANAGER}
    return inputs, to_object({key: value for key, value in state.items() if key not in own})


def manager_of(state: Properties) -> str:
    """The field manager of a state, empty if it has none."""
    value = plain(state.get(FIELD_MANAGER))
    return value if isinstance(value, str) else ""


def initial_version_of(state: Properties, inputs: Properties) -> str:
    """`apiVersion` that the resource was first made with."""
    value = plain(state.get(INITIAL_VERSION))
    return value if isinstance(value, str) else str(inputs.get("apiVersion") or "")
