"""Functions of a user's that change objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.kubeflow.transforms import TransformError, load

BODY = {"kind": "Deployment", "metadata": {"name": "web"}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(
        "def label(body): return {**body, 'seen': True}\n"
        "def drop(body): return None\n"
        "def fail(body): return body['spec']\n"
        "def text(body): return 'x'\n"
        "number = 1\n"
    )
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    return tmp_path


def test_an_object_is_changed_or_dropped(file: Path) -> None:
    assert load("mine.py:label", file)(dict(BODY)) == {**BODY, "seen": True}
    assert load(f"{file}/mine.py:drop", file)(dict(BODY)) is None


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("none.py:label", "none.py is no file"),
        ("mine.py:other", "has no function other"),
        ("mine.py:number", "has no function number"),
        ("broken.py:label", "fails: ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_loaded_is_named(file: Path, entry: str, message: str) -> None:
    with pytest.raises(TransformError, match=f"kubeflowTransforms has '{entry}'.*{message}"):
        load(entry, file)


def test_a_failure_names_the_function_and_the_object(file: Path) -> None:
    with pytest.raises(TransformError, match=r"mine\.py:fail failed on Deployment web: KeyError"):
        load("mine.py:fail", file)(dict(BODY))
    with pytest.raises(TransformError, match="gave str for Deployment web; return the object"):
        load("mine.py:text", file)(dict(BODY))
