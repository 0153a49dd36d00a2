"""The two that are compared: this project's verbs, and upstream's loop of kubectl."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import command, complete
from benchmarks.bed import Bed
from benchmarks.command import BenchmarkError, Watch, unwatched
from benchmarks.complete import Expected
from components.kubeflow import render, source
from components.kubeflow.objects import Object
from sandbox import audit
from sandbox.engine import PROJECT
from toolchain.tools import cache_folder, find

UPSTREAM = (
    "while ! kustomize build example | kubectl apply --server-side --force-conflicts -f -; "
    "do sleep 10; done"
)
"""README.md of kubeflow/manifests at v1.10: "Install with a single command"."""


@dataclass(frozen=True)
class Measured:
    """One run: `seconds` until all was there and available, `cpu` seconds of the command.

    `writes` to the API server, of which `failed` and `repeated` as `sandbox.audit` counts them;
    `objects` written in this run. `finished` is False when the limit cut it short.
    """

    seconds: float
    cpu: float
    writes: int
    failed: int
    repeated: int
    objects: int
    finished: bool = True


@dataclass(frozen=True)
class Subject:
    """What is deployed: the folder with manifests, and what they come to."""

    folder: Path
    wanted: Expected


def subject(folder: Path, objects: Sequence[Object]) -> Subject:
    """A folder whose manifests are these objects."""
    return Subject(folder.resolve(), complete.expected(objects))


def rendered(folder: Path) -> list[Object]:
    """The objects of a folder's whole example, from the cache of this user."""
    found = source.resolve(source.SourceSpec(folder), cache_folder(), Path())
    return list(render.render(found, (), (), find("kustomize"), cache_folder()))


def verb(
    name: str,
    bed: Bed,
    what: Subject,
    limit: float,
    *,
    extra: Mapping[str, str] | None = None,
    watch: Watch = unwatched,
    may_take_longer: bool = False,
) -> Measured:
    """`python -m sandbox up`, or another verb, with its Python's start; the sandbox runs already.

    `extra` is put into the environment.

    Raises:
        BenchmarkError: it fails, ends well but something is lacking, or takes longer than `limit`
            seconds unless it may.
    """
    argv = [sys.executable, "-m", "sandbox", name, "--name", bed.sandbox.name]
    argv += ["--data-dir", str(bed.sandbox.data_dir), "--set", f"kubeflowPath={what.folder}"]
    measured = _measure(argv, bed, what, PROJECT, limit, extra, watch, deploys=name == "up")
    if not (measured.finished or may_take_longer):
        raise BenchmarkError(f"`{name}` did not end within {limit:.0f} s; give it a longer --limit")
    return measured


def upstream(bed: Bed, what: Subject, limit: float, *, watch: Watch = unwatched) -> Measured:
    """Upstream's loop, in the folder of the manifests. Raises BenchmarkError as `verb`."""
    argv = ["/bin/bash", "-c", UPSTREAM]
    measured = _measure(argv, bed, what, what.folder, limit, None, watch, deploys=True)
    if not measured.finished:
        raise BenchmarkError(
            f"upstream's loop did not end within {limit:.0f} s; give it a longer --limit"
        )
    return measured


def _measure(
    argv: Sequence[str],
    bed: Bed,
    what: Subject,
    folder: Path,
    limit: float,
    extra: Mapping[str, str] | None,
    watch: Watch,
    *,
    deploys: bool,
) -> Measured:
    since = audit_size(bed)
    done = command.run(
        argv,
        environment=bed.environment(extra),
        folder=folder,
        log=bed.root / "output.log",
        limit=limit,
        watch=watch,
    )
    later = 0.0
    if done.finished and deploys:
        try:
            later = complete.wait(bed.sandbox.admin_kubeconfig, what.wanted, limit)
        except TimeoutError as error:
            raise BenchmarkError(f"`{' '.join(argv)}` ended well, but {error}") from error
    summary = audit.summarise(audit.read(bed.sandbox.audit_log, since))
    return Measured(
        done.seconds + later,
        done.cpu,
        summary.writes,
        len(summary.failed),
        len(summary.repeated),
        len(summary.first_write),
        done.finished,
    )


def audit_size(bed: Bed) -> int:
    """Bytes of the sandbox's audit log, to read on from there later."""
    log = bed.sandbox.audit_log
    return log.stat().st_size if log.exists() else 0
