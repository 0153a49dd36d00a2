"""How the Pulumi engine is run: the environment that makes a whole platform affordable.

Measured in docs/performance.md; a variable that the user has set is left alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

# The file back end writes the whole state at every step, so a platform of n objects costs n²
# bytes. Objects of a cluster need no checkpoint: server-side apply adopts what a killed run left
# behind, and creating a local cluster again is a no-op. Resources of a cloud would be orphaned.
SKIP_CHECKPOINTS = {"PULUMI_SKIP_CHECKPOINTS": "true"}
ENGINE = {
    # Most steps wait for the cluster, not for a core; the engine's default is four a core.
    "PULUMI_PARALLEL": "64",
    # A third of the engine's time is garbage collection at Go's default of 100.
    "GOGC": "400",
    # A whole platform's state is 4 MB of JSON, a twentieth of that compressed.
    "PULUMI_DIY_BACKEND_GZIP": "true",
    "PULUMI_SKIP_UPDATE_CHECK": "true",
}
_STACK_FLAGS = ("-s", "--stack")


def engine_environment(environ: Mapping[str, str], *, adoptable: bool) -> dict[str, str]:
    """The variables to add to `environ` for the engine.

    Args:
        environ: the environment that the engine will inherit.
        adoptable: whether everything in the stack can be created again over itself, so that
            state need only be written at the end of a run.
    """
    wanted = {**ENGINE, **(SKIP_CHECKPOINTS if adoptable else {})}
    return {key: value for key, value in wanted.items() if key not in environ}


def adoptable(project: Path, stack: str | None) -> bool:
    """Whether a stack's resources all live in or are a local cluster, as far as its file tells."""
    if not stack:
        return False
    name = stack.rpartition("/")[2]
    try:
        document = yaml.safe_load((project / f"Pulumi.{name}.yaml").read_text()) or {}
    except (OSError, yaml.YAMLError):
        return False
    cluster = (document.get("config") or {}).get("ml-platform:cluster", "minikube")
    return cluster in ("minikube", "existing", "sandbox")


def backend_url(environ: Mapping[str, str], pulumi_home: Path) -> str:
    """Where the CLI keeps state: $PULUMI_BACKEND_URL or the last login; "" if neither is there."""
    if url := environ.get("PULUMI_BACKEND_URL"):
        return url
    try:
        current = json.loads((pulumi_home / "credentials.json").read_text()).get("current")
    except (OSError, ValueError, AttributeError):
        return ""
    return current if isinstance(current, str) else ""


def selected_stack(
    arguments: Sequence[str], environ: Mapping[str, str], project: Path, pulumi_home: Path
) -> str | None:
    """The stack that a `pulumi` command line works on: flag, $PULUMI_STACK, or the selected one."""
    for here, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if here in _STACK_FLAGS:
            return following or None
        for flag in _STACK_FLAGS:
            if here.startswith(f"{flag}="):
                return here.partition("=")[2] or None
    if stack := environ.get("PULUMI_STACK"):
        return stack
    # Where `pulumi stack select` is kept: pkg/workspace of the CLI, settings.go and workspace.go.
    file = project / "Pulumi.yaml"
    digest = hashlib.sha1(str(file).encode(), usedforsecurity=False).hexdigest()
    try:
        name = yaml.safe_load(file.read_text())["name"]
        kept = json.loads(
            (pulumi_home / "workspaces" / f"{name}-{digest}-workspace.json").read_text()
        )
        stack = (kept.get("stacks") or {}).get(backend_url(environ, pulumi_home))
        stack = stack or kept.get("stack")
    except (OSError, ValueError, KeyError, AttributeError, yaml.YAMLError):
        return None
    return stack if isinstance(stack, str) else None
