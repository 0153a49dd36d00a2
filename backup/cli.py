"""Command line: `python -m backup`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from backup import folder
from backup.cluster import Cluster
from backup.create import Wishes, create
from backup.model import BackupError, Manifest, human
from backup.restore import Consent, Restore
from components.errors import MENDABLE
from components.kubeflow.dashboard import DashboardError, outputs
from components.settings import ROOT
from provider.rpc import PluginError

Verb = Callable[[argparse.Namespace], None]
BACKUPS: Final = Path("~/ml-platform-backups")
FAILED, INTERRUPTED = 1, 130


def build_parser() -> argparse.ArgumentParser:
    """Parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="python -m backup",
        description="Back up what a running platform holds and no program makes again: databases, "
        "volumes, and users' objects. Restore it into a platform that is up. Exit code 0: done; "
        "1: not, and standard error says why.",
    )
    verbs = parser.add_subparsers(required=True, metavar="verb")

    def add(name: str, run: Verb, summary: str) -> argparse.ArgumentParser:
        verb = verbs.add_parser(name, help=summary, description=summary)
        verb.set_defaults(run=run)
        return verb

    make = add("create", _create, "make a backup: a new folder, named after the time")
    _add_cluster(make)
    make.add_argument(
        "--to", type=Path, default=BACKUPS, metavar="FOLDER", help="(default: %(default)s)"
    )
    make.add_argument(
        "--namespace",
        action="append",
        default=[],
        dest="namespaces",
        metavar="NAME",
        help="take all of this namespace, too, as of a profile's; may be given again",
    )
    make.add_argument(
        "--without-volume",
        action="append",
        default=[],
        dest="without",
        metavar="NAMESPACE/CLAIM",
        help="leave a volume's files out; * and ? are understood; may be given again",
    )
    _add_passphrase(make, "take users' Secrets, encrypted with the passphrase in this file")

    lists = add("list", _list, "the backups in a folder, oldest first")
    lists.add_argument("folder", nargs="?", type=Path, default=BACKUPS, help="(%(default)s)")

    check = add("verify", _verify, "compare each file of a backup with its digest")
    check.add_argument("backup", type=Path, help="its folder")

    put = add("restore", _restore, "put a backup into a platform that is up; may be run again")
    put.add_argument("backup", type=Path, help="its folder")
    _add_cluster(put)
    put.add_argument(
        "--overwrite",
        action="store_true",
        help="replace databases and volumes that hold something, and objects that are there",
    )
    put.add_argument(
        "--other-release",
        action="store_true",
        help="go on though parts of the platform run in another version than they did",
    )
    _add_passphrase(put, "restore users' Secrets, too, with the passphrase in this file")
    return parser


def _add_cluster(verb: argparse.ArgumentParser) -> None:
    where = verb.add_mutually_exclusive_group()
    where.add_argument(
        "-s", "--stack", default="local", help="whose cluster, by its outputs (%(default)s)"
    )
    where.add_argument(
        "--sandbox", metavar="NAME", nargs="?", const="default", help="an embedded cluster"
    )
    where.add_argument("--kubeconfig", type=Path, metavar="FILE", help="any other cluster")
    verb.add_argument("--context", default="", help="of the kubeconfig (default: its current)")


def _add_passphrase(verb: argparse.ArgumentParser, summary: str) -> None:
    verb.add_argument("--passphrase-file", type=Path, metavar="FILE", help=summary)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; errors that the user can mend are shown as their text."""
    arguments = build_parser().parse_args(argv)
    run: Verb = arguments.run
    try:
        run(arguments)
    except (*MENDABLE, BackupError, DashboardError, PluginError) as error:
        print(f"backup: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("backup: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _create(arguments: argparse.Namespace) -> None:
    wishes = Wishes(tuple(arguments.namespaces), tuple(arguments.without), _passphrase(arguments))
    with _cluster(arguments) as cluster:
        made, manifest = create(cluster, arguments.to.expanduser(), wishes, _say)
    for what, why in manifest.left_out:
        _say(f"not in it: {what}: {why}")
    print(f"{made}  {_summary(manifest)}")


def _list(arguments: argparse.Namespace) -> None:
    for path, manifest in folder.backups(arguments.folder.expanduser()):
        print(f"{path}  {manifest.created}  {_summary(manifest)}  {manifest.server}")


def _verify(arguments: argparse.Namespace) -> None:
    print(f"{arguments.backup}  whole: {_summary(folder.verify(arguments.backup))}")


def _restore(arguments: argparse.Namespace) -> None:
    consent = Consent(arguments.overwrite, arguments.other_release, _passphrase(arguments))
    manifest = folder.verify(arguments.backup)
    _say(f"{arguments.backup} is whole: {_summary(manifest)}")
    with _cluster(arguments) as cluster:
        Restore(cluster, arguments.backup, manifest, consent, _say).run()
    print(f"restored: {arguments.backup}")


def _summary(manifest: Manifest) -> str:
    size = human(sum(item.size for item in manifest.items))
    objects = sum(item.holds for item in manifest.of("objects"))
    databases, volumes = len(manifest.of("database")), len(manifest.of("volume"))
    return f"{databases} databases, {volumes} volumes, {objects} objects, {size}"


def _passphrase(arguments: argparse.Namespace) -> str:
    file: Path | None = arguments.passphrase_file
    if file is None:
        return ""
    try:
        found = file.read_text().rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"--passphrase-file {file} can't be read: {error}") from None
    if not found:
        raise BackupError(f"--passphrase-file {file} is empty; write a passphrase into it")
    return found


@contextmanager
def _cluster(arguments: argparse.Namespace) -> Iterator[Cluster]:
    if arguments.sandbox:
        from sandbox import controlplane

        yield Cluster(str(controlplane.admin_kubeconfig(arguments.sandbox)), arguments.context)
        return
    if arguments.kubeconfig:
        yield Cluster(str(arguments.kubeconfig), arguments.context)
        return
    # The launcher beside this Python, which knows the pinned CLI and what it needs.
    pulumi = Path(sys.executable).with_name("pulumi")
    found = outputs(pulumi, arguments.stack, ROOT, ["kubeconfig"])["kubeconfig"]
    with tempfile.TemporaryDirectory(prefix="ml-platform-") as private:
        file = Path(private) / "kubeconfig"
        file.touch(mode=0o600)
        file.write_text(found)
        yield Cluster(str(file), arguments.context)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
