"""Which stacks a change touches: `python -m review.stacks BASE HEAD` prints them.

Needs the standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

_RULES: Final = tuple(
    (re.compile(pattern), stack)
    for pattern, stack in (
        # What no stack runs. Documents of a component lie beside no program.
        (r"(docs|tests|benchmarks|doctor|review|dist)/.*", ""),
        (r"\.(github|ci)/.*|\.gitlab-ci\.yml|\.gitignore|Makefile|LICENSE", ""),
        (r"[^/]+\.(md|svg)", ""),
        (r"Pulumi\.(?P<stack>[^/]+)\.yaml", r"\g<stack>"),
        # What one stack runs.
        (r"components/cluster/(minikube\w*|drivers)\.py", "local"),
        (r"components/cluster/sandbox\.py|sandbox/.*", "sandbox"),
        (r"components/(cluster/eks\w*\.py|aws/.*|gateway/aws\w*\.py)", "aws"),
    )
)


def touched(files: Iterable[str], stacks: Sequence[str]) -> list[str]:
    """The stacks for which a preview can be another one.

    Args:
        files: paths in the repository that were added, changed or removed.
        stacks: all stacks. A file that no rule knows touches each of them.
    """
    found: set[str] = set()
    for file in files:
        for pattern, stack in _RULES:
            if match := pattern.fullmatch(file):
                found.add(match.expand(stack))
                break
        else:
            return list(stacks)
    return [stack for stack in stacks if stack in found]


def changed_files(base: str, head: str, folder: Path) -> list[str]:
    """What differs between where `head` left `base` and `head`; of a rename both names.

    Raises:
        subprocess.CalledProcessError: git does not know them.
    """
    command = ["git", "diff", "--name-only", "--no-renames", "-z", f"{base}...{head}", "--"]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return [name for name in done.stdout.split("\0") if name]


def stacks_in(folder: Path) -> list[str]:
    """The stacks that have a file."""
    return sorted(path.name.split(".")[1] for path in folder.glob("Pulumi.*.yaml"))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the stacks in two JSON lists: `credentials=[...]` and `sandbox=[...]`."""
    parser = argparse.ArgumentParser(prog="python -m review.stacks", description=__doc__)
    parser.add_argument("base", help="commit that the change is for; all zeros for none")
    parser.add_argument("head", help="commit with the change")
    parser.add_argument(
        "--credentials", default="[]", metavar="JSON", help="stacks for which credentials are there"
    )
    arguments = parser.parse_args(argv)
    folder = Path(__file__).resolve().parents[1]
    stacks = stacks_in(folder)
    try:
        cloud = json.loads(arguments.credentials or "[]")
        files = (
            changed_files(arguments.base, arguments.head, folder)
            if arguments.base.strip("0")
            else [""]
        )
    except subprocess.CalledProcessError as error:
        print(f"review: git: {error.stderr.strip()}", file=sys.stderr)
        return 1
    except ValueError:
        print(
            f'review: --credentials {arguments.credentials}: give a JSON list, like ["aws"]',
            file=sys.stderr,
        )
        return 1
    found = touched(files, stacks)
    print(f"credentials={json.dumps([stack for stack in found if stack in cloud])}")
    print(f"sandbox={json.dumps([stack for stack in found if stack not in cloud])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
