"""Loads the Python functions by which a user changes objects."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.kubeflow.render import Transform


class TransformError(ValueError):
    """A transform that can't be loaded, or failed on an object; the message names both."""


def load(entry: str, root: Path) -> Transform:
    """The function that `path/to/file.py:function` names; the path starts at `root`.

    Raises:
        TransformError: no such file or function, or the file itself fails.
    """
    path, _, name = entry.rpartition(":")
    file = root / Path(path).expanduser()
    if not file.is_file():
        raise TransformError(f"kubeflowTransforms has {entry!r}, but {file} is no file")
    try:
        function = runpy.run_path(str(file)).get(name)
    except Exception as error:
        raise TransformError(
            f"kubeflowTransforms has {entry!r}, and {file} fails: {type(error).__name__}: {error}"
        ) from error
    if not callable(function):
        raise TransformError(f"kubeflowTransforms has {entry!r}, but {file} has no function {name}")
    return _checked(entry, function)


def _checked(entry: str, function: Callable[[dict[str, Any]], Any]) -> Transform:
    def transform(body: dict[str, Any]) -> dict[str, Any] | None:
        identity = f"{body.get('kind')} {(body.get('metadata') or {}).get('name')}"
        try:
            result = function(body)
        except Exception as error:
            raise TransformError(
                f"transform {entry} failed on {identity}: {type(error).__name__}: {error}"
            ) from error
        if result is not None and not isinstance(result, dict):
            raise TransformError(
                f"transform {entry} gave {type(result).__name__} for {identity}; "
                "return the object, or None to drop it"
            )
        return result

    return transform
