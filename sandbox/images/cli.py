"""Command line: `python -m sandbox.images <verb>`."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sandbox.images.load import load
from sandbox.images.recipe import ImageError, Recipe
from sandbox.images.recipes import BASE_PACKAGES, RECIPES
from sandbox.images.store import Store

Verb = Callable[[argparse.Namespace], int]
_CTR = "ctr"


def build_parser() -> argparse.ArgumentParser:
    """Parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.images",
        description="Images for real nodes: the software of the official images from Debian's "
        "packages and Go modules, under the official names.",
    )
    verbs = parser.add_subparsers(required=True, metavar="verb")
    for name, run, summary in (
        ("list", _list, "what each image is made of, its digest and its size"),
        ("build", _build, "build what is missing"),
        ("load", _load, "build what is missing, and load all into a containerd"),
    ):
        verb = verbs.add_parser(name, help=summary, description=summary)
        verb.set_defaults(run=run)
        verb.add_argument(
            "images",
            nargs="*",
            metavar="image",
            choices=[[], *(recipe.name for recipe in RECIPES)],
            help="only these, of: " + ", ".join(recipe.name for recipe in RECIPES),
        )
    verbs.choices["load"].add_argument(
        "--address", type=Path, required=True, metavar="SOCKET", help="of the containerd"
    )
    verbs.choices["load"].add_argument(
        "--ctr", type=Path, metavar="FILE", help="containerd's client (default: on PATH)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; errors that the user can mend are one line on standard error, exit code 1."""
    arguments = build_parser().parse_args(argv)
    run: Verb = arguments.run
    try:
        return run(arguments)
    except ImageError as error:
        print(f"images: {error}", file=sys.stderr)
        return 1


def _wanted(arguments: argparse.Namespace) -> list[Recipe]:
    return [recipe for recipe in RECIPES if not arguments.images or recipe.name in arguments.images]


def _list(arguments: argparse.Namespace) -> int:
    store = Store(BASE_PACKAGES)
    for recipe in _wanted(arguments):
        built = store.find(recipe)
        print(f"{recipe.name}")
        for reference in recipe.references:
            print(f"  stands for  {reference}")
        if built is None:
            print("  not built   run: python -m sandbox.images build")
            continue
        of = ", ".join(f"{name} {version}" for name, version in built.contents.items())
        print(f"  made of     {of}" + (f", on Debian {recipe.suite}" if recipe.suite else ""))
        print(f"  digest      {built.manifest.digest}")
        print(f"  size        {built.size / 1e6:.1f} MB")
    return 0


def _build(arguments: argparse.Namespace) -> int:
    Store(BASE_PACKAGES).build(_wanted(arguments), _say)
    return 0


def _load(arguments: argparse.Namespace) -> int:
    found = arguments.ctr or shutil.which(_CTR)
    if found is None:
        raise ImageError("ctr, which comes with containerd, is not on PATH; give it by --ctr")
    recipes = _wanted(arguments)
    store = Store(BASE_PACKAGES)
    built = store.build(recipes, _say)
    for name, digest in load(
        store, list(zip(recipes, built, strict=True)), Path(found), arguments.address
    ).items():
        print(f"{name}  {digest}")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
