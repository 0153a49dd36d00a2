"""The guard of what a release of Kubeflow holds that can't be made again, and of its previews."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from provider.instances import counted, instances
from provider.kind import Remembered
from provider.rpc import Call, Change, Failure, PluginError, Properties
from provider.values import UNKNOWN

if TYPE_CHECKING:
    from provider.mlplatform import MlPlatform

SETTING: Final = "kubeflowAllowDeletion"
_DEFINITION: Final = "CustomResourceDefinition/"
_TRUE: Final = "true"


class KubeflowRelease(Remembered):
    """Remembers what is deployed, and refuses a change that deletes it.

    Everything of Kubeflow depends on it, so that a refused change ends a preview, and an update
    before anything is touched. A definition without objects of others than this project may go.
    `destroy` registers nothing, so it asks nobody.

    Inputs: `holds`, {name: {lost, fixed}}, and `trials`, {name: digests}, see
    `components.kubeflow.holdings`; `allow`, names that may go. Outputs: the inputs, and `tried`,
    "true" for each of `trials`: unknown in a preview where a dry run of it is of no use, for with
    an unknown input the Kubernetes provider makes none. It makes nothing.
    """

    def check(self, inputs: Properties) -> list[Failure]:
        """The form of both."""
        return [
            Failure(name, f"{name} is {inputs.get(name)!r}; it must be a {form.__name__}")
            for name, form in (("holds", dict), ("trials", dict), ("allow", list))
            if inputs.get(name) is not UNKNOWN and not isinstance(inputs.get(name), form)
        ]

    def check_change(self, plugin: MlPlatform, olds: Properties, news: Properties) -> list[Failure]:
        """Whatever would be deleted, unless there is consent; definitions' objects are counted."""
        old, new, allowed = olds.get("holds"), news.get("holds"), news.get("allow")
        if not (isinstance(old, dict) and isinstance(new, dict) and isinstance(allowed, list)):
            return []
        going = [name for name in old if name not in allowed and _goes(name, old, new)]
        lost = [
            sentence
            for name in sorted(going, key=lambda one: (one.startswith(_DEFINITION), one))
            if (sentence := _sentence(plugin, name, old[name], replaced=name in new))
        ]
        if not lost:
            return []
        listed = "".join(f"\n  {sentence}" for sentence in lost)
        # Of no property: the engine would print its whole value before the sentence.
        return [
            Failure(
                "",
                f"this change would delete what can't be made again:{listed}\n"
                f"Back it up first. To lose it, name each in {SETTING} for this one update.",
            )
        ]

    def diff(self, olds: Properties, news: Properties) -> list[Change]:
        """What it remembers; consent alone changes nothing."""
        return [
            Change(
                f'{key}["{name}"]',
                "add" if name not in old else "update" if name in new else "delete",
            )
            for key in ("holds", "trials")
            for old, new in [(olds.get(key) or {}, news.get(key) or {})]
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        ]

    def write(self, plugin: MlPlatform, call: Call, inputs: Properties) -> tuple[str, Properties]:
        """Remember it."""
        return call.name, {"tried": dict.fromkeys(inputs["trials"], _TRUE)}

    def change(
        self, plugin: MlPlatform, call: Call, state: Properties, inputs: Properties
    ) -> Properties:
        """Remember it; a preview says which dry runs are of no use."""
        old, new = state.get("trials") or {}, inputs["trials"]
        useless = _useless(old, new) if call.preview else set()
        return {"tried": {name: UNKNOWN if name in useless else _TRUE for name in new}}


def _useless(old: Properties, new: Properties) -> set[str]:
    """Names whose digests all differ; of new ones those whose definition is not the same."""
    definitions = {digests[-1] for digests in old.values() if len(digests) > 1}
    found = set()
    for name, digests in new.items():
        if name in old:
            same = not set(digests).isdisjoint(old[name])
        else:
            same = len(digests) < 2 or digests[-1] in definitions
        if not same:
            found.add(name)
    return found


def _goes(name: str, old: Properties, new: Properties) -> bool:
    """Whether an object is deleted, be it to be made anew."""
    return name not in new or bool(
        old[name].get("fixed") and old[name]["fixed"] != new[name].get("fixed")
    )


def _sentence(plugin: MlPlatform, name: str, held: Any, *, replaced: bool) -> str:  # noqa: ANN401
    """What goes with an object; "" for nothing."""
    if not name.startswith(_DEFINITION):
        again = ", to be made anew with other settings" if replaced else ""
        return f"{name}{again}: {held.get('lost')}"
    try:
        found = instances(plugin.cluster.client, name.removeprefix(_DEFINITION))
    except PluginError as error:
        return f"{name}: all objects of its kind, which can't be counted: {error}"
    if not found.others:
        return ""
    count = sum(found.others.values())
    return f"{name}: {count} object{'s' * (count > 1)} of its kind ({counted(found.others)})"
