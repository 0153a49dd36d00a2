"""How the Pulumi engine is run: the environment that makes a whole platform affordable.

Measured in docs/performance.md; a variable that the user has set is left alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

PROJECT_NAME = "ml-platform"
"""The name in Pulumi.yaml, before the colon of every setting."""

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
# The option --policy-pack of every command that has it; its value is a line of CSV.
POLICIES = {"PULUMI_OPTION_POLICY_PACK": f'"{Path(__file__).resolve().parents[1] / "policy"}"'}
_PROJECT_FILES = ("Pulumi.yaml", "Pulumi.yml", "Pulumi.json")


def engine_environment(environ: Mapping[str, str], *, adoptable: bool) -> dict[str, str]:
    """The variables to add to `environ` for the engine.

    Args:
        environ: the environment that the engine will inherit.
        adoptable: whether everything in the stack can be created again over itself, so that
            state need only be written at the end of a run.
    """
    wanted = {**ENGINE, **POLICIES, **(SKIP_CHECKPOINTS if adoptable else {})}
    return {key: value for key, value in wanted.items() if key not in environ}


def adoptable(project: Path, stack: str | None) -> bool:
    """Whether a stack's resources all live in or are a local cluster, as far as its file tells."""
    return cluster(project, stack) in ("minikube", "existing", "sandbox")


def cluster(project: Path, stack: str | None) -> str | None:
    """The setting `cluster` of a stack, as far as its file tells."""
    if not stack:
        return None
    name = stack.rpartition("/")[2]
    try:
        document = yaml.safe_load((project / f"Pulumi.{name}.yaml").read_text()) or {}
    except (OSError, yaml.YAMLError):
        return None
    # An imported environment may set what the file leaves out.
    default = None if "environment" in document else "minikube"
    found = (document.get("config") or {}).get(f"{PROJECT_NAME}:cluster", default)
    return found if isinstance(found, str) else None


def settings_on_command_line(arguments: Sequence[str]) -> bool:
    """Whether a `pulumi` command line may set what `adoptable` reads from the stack's file."""
    return bool(
        _flag_values(arguments, "c", "config") or _flag_values(arguments, "", "config-file")
    )


def project_folder(arguments: Sequence[str], here: Path) -> Path | None:
    """The folder of the project that a `pulumi` command line works on.

    None where there is none and where it can't be told for sure.

    Args:
        arguments: the command line without its first word.
        here: the folder it is run in, absolute.
    """
    moved = _flag_values(arguments, "C", "cwd")
    if "" in moved:
        return None
    folder = Path(os.path.normpath(here / moved[-1])) if moved else here
    for candidate in (folder, *folder.parents):
        if any((candidate / name).is_file() for name in _PROJECT_FILES):
            return candidate
    return None


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
    """The stack that a `pulumi` command line works on: flag, $PULUMI_STACK, or the selected one.

    None where there is none and where it can't be told for sure.
    """
    flags = set(_flag_values(arguments, "s", "stack"))
    if flags:
        return flags.pop() or None if len(flags) == 1 else None
    if "PULUMI_STACK" in environ:
        return environ["PULUMI_STACK"] or None
    # Where `pulumi stack select` is kept: pkg/workspace of the CLI, settings.go and workspace.go.
    file = project / "Pulumi.yaml"
    digest = hashlib.sha1(str(file).encode(), usedforsecurity=False).hexdigest()
    try:
        name = yaml.safe_load(file.read_text())["name"]
        kept = json.loads(
            (pulumi_home / "workspaces" / f"{name}-{digest}-workspace.json").read_text()
        )
        # Without the map, the one stack of a file that an older CLI wrote.
        stacks = kept.get("stacks")
        stack = stacks.get(backend_url(environ, pulumi_home)) if stacks else kept.get("stack")
    except (OSError, ValueError, KeyError, AttributeError, yaml.YAMLError):
        return None
    return stack if isinstance(stack, str) else None


def _flag_values(arguments: Sequence[str], short: str, long: str) -> list[str]:
    """Every value that a command line gives a flag, in order; "" for one that can't be told.

    A letter among others of one word (`-ys name`) counts as a flag whose value can't be told.
    """
    values: list[str] = []
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if word == f"--{long}" or (short and word == f"-{short}"):
            values.append(following)
        elif word.startswith(f"--{long}="):
            values.append(word.partition("=")[2])
        elif short and word.startswith(f"-{short}"):
            values.append(word[2:].removeprefix("="))
        elif short and word.startswith("-") and not word.startswith("--") and short in word:
            values.append("")
    return values
