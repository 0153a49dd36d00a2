"""What a sandbox remembers between commands: `state.json` in its data folder."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from sandbox import pki
from sandbox.daemon import ProcessId

STATE_FILE = "state.json"
_FORMAT = 1
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


class StateError(RuntimeError):
    """The sandbox's name or its state file is not usable."""


@dataclass
class State:
    """Identity, addresses and processes of one sandbox.

    `octet` fixes the address range 127.<octet>.0.0/16, and where there are real nodes
    10.<octet>.0.0/16; `ports` and `processes` are keyed by part.
    """

    name: str
    octet: int
    nodes: int
    admission_delay: float
    ports: dict[str, int]
    processes: dict[str, ProcessId] = field(default_factory=dict)
    real_nodes: int = 0

    def save(self, folder: Path) -> None:
        """Write the state file in one step, so that a reader never sees half of it."""
        content = {"format": _FORMAT, **dataclasses.asdict(self)}
        pki.write_private(folder / STATE_FILE, json.dumps(content, indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> State | None:
        """Read the state of a data folder; None when the folder holds no sandbox."""
        path = folder / STATE_FILE
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StateError(f"{path} is not valid JSON ({error}); remove {folder}") from error
        found = content.pop("format", None)
        if found != _FORMAT:
            raise StateError(
                f"{path} has format {found}, this version reads {_FORMAT}; "
                f"stop that sandbox with the version that started it, or remove {folder}"
            )
        content["processes"] = {
            part: ProcessId(**process) for part, process in content["processes"].items()
        }
        return cls(**content)


def data_folder(name: str, data_dir: Path | None) -> Path:
    """Folder of the sandbox `name`: `data_dir`, or one below the user's XDG state folder.

    Raises StateError when the name is no DNS label of at most 40 characters.
    """
    if not _NAME.fullmatch(name):
        raise StateError(
            f"--name: found '{name}', need 1 to 40 lower-case letters, digits and '-', "
            "with a letter or digit at each end"
        )
    if data_dir is not None:
        return data_dir.expanduser().resolve()
    root = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(root) / "ml-platform" / "sandbox" / name
