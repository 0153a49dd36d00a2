"""What every benchmark has in common: its head, its rounds and its file of results."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import machine


@dataclass
class Report:
    """Collects what is measured; `results` is written as JSON, so all in it must be plain data."""

    name: str
    file: Path
    results: dict[str, Any] = field(default_factory=dict)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=machine.describe)

    def head(self, text: str) -> None:
        """Print what is measured and on what machine."""
        show(f"## {self.name}\n\n{text}\n")
        show("".join(f"- {key}: {value}\n" for key, value in self.machine.items()))

    def each_round(self, count: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Number and record of each round, after a look at what else the machine is doing."""
        for number in range(count):
            busy, text = machine.busy()
            say(f"round {number + 1} of {count}: {text}")
            record: dict[str, Any] = {"busy_percent": busy, "load": text}
            self.rounds.append(record)
            yield number, record

    def write(self) -> None:
        """Write everything to the file, and say where it is."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "benchmark": self.name,
            "machine": self.machine,
            "results": self.results,
            "rounds": self.rounds,
        }
        self.file.write_text(json.dumps(content, indent=1, default=_plain) + "\n")
        say(f"written: {self.file}")


def say(line: str) -> None:
    """Progress, to standard error."""
    print(line, file=sys.stderr, flush=True)


def show(text: str) -> None:
    """A result, to standard output."""
    print(text, flush=True)


def _plain(value: object) -> Mapping[str, Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} is not plain data")
