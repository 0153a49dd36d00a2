"""YAML is read as Kubernetes reads it; the table is goyaml.v2's."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.kubeflow.yamljson import YamlError, dump, load_all, scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("y", True),
        ("on", True),
        ("TRUE", True),
        ("n", False),
        ("Off", False),
        ("yep", "yep"),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("nULL", "nULL"),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("0o17", 15),
        ("017", 15),
        ("0x1F", 31),
        ("-0x1F", -31),
        ("0b101", 5),
        ("1_000", 1000),
        ("018", 18.0),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551616", 2.0**64),
        ("1e+06", 1e6),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1.5E-3", -0.0015),
        ("1.2.3", "1.2.3"),
        ("v1", "v1"),
        ("1h", "1h"),
        ("12:30:45", "12:30:45"),
        ("2001-12-14", "2001-12-14"),
        ("2001-12-14T21:59:43Z", "2001-12-14T21:59:43Z"),
        ("=", "="),
        ("-", "-"),
        (".", "."),
        ("+", "+"),
        ("1e999", "1e999"),
    ],
)
def test_plain_scalars(text: str, value: object) -> None:
    found = scalar(text)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("text", [".inf", "-.INF", ".nan"])
def test_numbers_that_json_lacks(text: str) -> None:
    with pytest.raises(YamlError, match="JSON has no number"):
        scalar(text)


def test_quotes_and_blocks_make_text() -> None:
    text = "a: 'y'\nb: \"12\"\nc: |\n  true\nd: !!str 5\ne: >-\n  on\n'f':\n"
    expected = {"a": "y", "b": "12", "c": "true\n", "d": "5", "e": "on", "f": None}
    assert load_all(text) == [expected]


def test_keys_are_text() -> None:
    assert load_all("1: a\ny: b\n") == [{"1": "a", "y": "b"}]


def test_documents_without_content_are_left_out() -> None:
    assert load_all("---\n---\na: 1\n---\n# only a comment\n---\n[]\n") == [{"a": 1}, []]


def test_nesting_and_aliases() -> None:
    text = "a: &x [1, {b: [[], {}]}]\nc: *x\n"
    assert load_all(text) == [{"a": [1, {"b": [[], {}]}], "c": [1, {"b": [[], {}]}]}]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [1", "expected ',' or '\\]'"),
        ("a: 1\na: 2\n", "key 'a' is given twice, line 2, column"),
        ("a: !!binary aGk=\n", "tag tag:yaml.org,2002:binary has no meaning here, line 1"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "merge keys are not read here, line 3"),
        ("a: *x\n", "nothing is anchored as 'x', line 1"),
        ("? [a]\n: 1\n", "a key that is no scalar, line 1"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(YamlError, match=reason):
        load_all(text)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc<y1", min_size=1), inner),
    max_leaves=20,
)


@given(_JSON.filter(lambda value: value is not None))
def test_json_is_read_as_json(value: object) -> None:
    assert load_all(json.dumps(value, ensure_ascii=False)) == [value]


@given(_JSON.filter(lambda value: value is not None))
def test_what_is_written_is_read_back(value: object) -> None:
    assert load_all(dump(value)) == [value]


@pytest.mark.parametrize(
    "text",
    # PyYAML leaves all but the last four plain.
    [
        "y",
        "Y",
        "n",
        "N",
        "0o7",
        "0O7",
        "0B1",
        "0X1",
        "1e3",
        "1E3",
        "1.e5",
        "-.5",
        "09",
        "1_000e5",
        "null",
        "yes",
        "1.5",
        ".inf",
    ],
)
def test_text_that_looks_like_something_else_is_quoted(text: str) -> None:
    assert dump({text: [text]}) == f"'{text}':\n- '{text}'\n"
    assert load_all(dump({text: [text]})) == [{text: [text]}]


def test_it_is_written_in_block_style_and_in_order() -> None:
    assert dump({"b": "plain", "a": [1, 1e20, True, None]}) == (
        "b: plain\na:\n- 1\n- 1.0e+20\n- true\n- null\n"
    )


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_in_every_notation(value: float) -> None:
    for text in (repr(value), f"{value:e}", f"{value:E}"):
        assert math.isclose(float(scalar(text)), float(text), rel_tol=0, abs_tol=0)
