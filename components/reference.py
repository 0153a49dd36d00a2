"""The reference of all settings, as Markdown, of the two places that declare them.

Descriptions and defaults are those of `Pulumi.yaml`; what a value may be is taken from `Settings`.
docs/reference/settings.md is what this prints:

    python -m components.reference > docs/reference/settings.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import yaml

from components.settings import ROOT, Settings

_GROUPS = {
    "cluster": "Where the platform runs",
    "kube": "An existing cluster",
    "minikube": "minikube",
    "aws": "AWS",
    "eks": "The cluster on Amazon EKS",
    "sandbox": "The embedded sandbox",
    "kubeflow": "Kubeflow",
    "redis": "Redis",
    "gateway": "The gateway",
    "signIn": "Sign-in",
    "oidc": "Sign-in by a provider",
    "": "User, policies and time",
}
_HEAD = """# Settings

All settings of a stack, with their defaults. Set one with `pulumi config set NAME VALUE`, an
element of an array with `pulumi config set --path 'NAME[0]' VALUE`, a secret with `--secret`; for
the sandbox also with `make up SET="NAME=VALUE"`. All are checked together before anything is
created.

This page is generated: `python -m components.reference > docs/reference/settings.md`.
"""


def render() -> str:
    """The page: a table for each group of settings, each in the order of `Pulumi.yaml`."""
    declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    schema = Settings.model_json_schema(by_alias=True)["properties"]
    rows: dict[str, list[str]] = {group: [] for group in _GROUPS}
    for name, entry in declared.items():
        cells = (
            f"`{name}`",
            _kind(entry["type"], schema[name]),
            _default(entry["default"]),
            entry["description"].replace("|", "\\|"),
        )
        rows[_group(name)].append("| " + " | ".join(cells) + " |")
    pages = [_HEAD]
    for group, title in _GROUPS.items():
        table = [
            "| setting | type | default | what it is |",
            "| --- | --- | --- | --- |",
            *rows[group],
        ]
        pages.append(f"## {title}\n\n" + "\n".join(table) + "\n")
    return "\n".join(pages)


def _group(name: str) -> str:
    # "kubeflow" begins with "kube".
    return max((group for group in _GROUPS if name.startswith(group)), key=len)


def _kind(kind: str, schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if kind == "array":
        return "strings"
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f"{kind}, {least} to {most}"
    return kind if least is None else f"{kind}, {least} or more"


def _default(value: object) -> str:
    if value in ("", []):
        return "none"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


if __name__ == "__main__":
    sys.stdout.write(render())
