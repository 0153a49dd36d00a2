"""Property values: the wire protocol and back, and what must never be shown."""

import base64

import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from provider.values import (
    OUTPUT_MARK,
    SIGNATURE,
    UNKNOWN,
    UNKNOWN_STRINGS,
    Secret,
    from_struct,
    has_secret,
    has_unknown,
    plain,
    redact,
    secret_strings,
    to_struct,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(
    lambda value: value not in UNKNOWN_STRINGS
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda f: not f.is_integer())
    | text
    | st.just(UNKNOWN)
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(text, inner, max_size=4)
        | inner.filter(lambda value: not isinstance(value, Secret)).map(Secret)
    ),
    max_leaves=12,
)


def struct(content):
    return to_struct(content, struct_pb2.Struct())


@given(st.dictionaries(text, values, max_size=5))
def test_values_survive_the_wire(content):
    wire = struct_pb2.Struct.FromString(struct(content).SerializeToString())
    assert from_struct(wire) == content


@given(st.dictionaries(text, values, max_size=5))
def test_plain_values_hold_no_secret_and_every_unknown(content):
    assert not has_secret(plain(content))
    assert has_unknown(plain(content)) == has_unknown(content)


def test_whole_numbers_become_integers():
    number = from_struct(struct({"replicas": 3.0}))["replicas"]
    assert number == 3
    assert isinstance(number, int)


@pytest.mark.parametrize("marker", sorted(UNKNOWN_STRINGS))
def test_every_kind_of_unknown_is_recognised(marker):
    assert from_struct(struct({"a": [marker]})) == {"a": [UNKNOWN]}


def test_output_values_become_what_they_hold():
    marked = {
        "known": {SIGNATURE: OUTPUT_MARK, "value": "x"},
        "hidden": {SIGNATURE: OUTPUT_MARK, "value": "x", "secret": True},
        "later": {SIGNATURE: OUTPUT_MARK},
    }
    assert from_struct(struct(marked)) == {"known": "x", "hidden": Secret("x"), "later": UNKNOWN}


def test_a_secret_does_not_show_its_value():
    assert "hunter2" not in repr({"password": Secret("hunter2")})


def test_redacting_finds_marked_values_and_contents_of_secrets_in_every_form():
    encoded = base64.b64encode(b"swordfish").decode()
    secret = {"kind": "Secret", "apiVersion": "v1", "data": {"key": encoded}}
    message = (
        f"bad values: hunter2, {encoded}, swordfish and {base64.b64encode(b'hunter2').decode()}"
    )
    shown = redact(message, secret, {"spec": {"env": [{"value": Secret("hunter2")}]}})
    assert shown == "bad values: [secret], [secret], [secret] and [secret]"


def test_redacting_finds_a_secret_that_is_quoted():
    secret = 'two\nlines and "quotes"'
    message = 'Invalid value: "two\\nlines and \\"quotes\\"": too long'
    assert redact(message, {"a": Secret(secret)}) == 'Invalid value: "[secret]": too long'


def test_redacting_leaves_ordinary_text_alone():
    assert redact("the Pod failed", {"a": Secret("b"), "spec": {"name": "Pod"}}) == "the Pod failed"
    assert secret_strings({"data": {"x": "a ConfigMap's data"}}) == set()
