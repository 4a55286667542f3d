"""Descriptions from anywhere: one line for what is wrong, and time and memory in proportion to their length."""

import time
from typing import Annotated, Literal

import pytest
from hypothesis import given, strategies as st
from pydantic import Field, ValidationError

from undrift.error import ModelError, printable, short
from undrift.schema import Facts, Unreadable, explain, parse_json, parse_yaml, read_json, read_yaml, validated


def line(read):
    """What is said of something that is no description; "" of one that is."""
    try:
        read()
    except Unreadable as error:
        return str(error)
    return ""


class Thing(Facts):
    steps: Annotated[int, Field(ge=0)]
    rate: float = 1.0
    names: list[str] = []


@pytest.mark.parametrize(("text", "message"), [
    ("{", "it is not JSON"), ("", "it is not JSON"), ('{"a": 1e999}', "1e999 is not finite"), ('{"a": NaN}', "NaN is not finite"),
    ('{"a": -Infinity}', "-Infinity is not finite"), ('{"a": 1' + "0" * 400 + "}", "is too large"), ("[" * 100_000, "nested too deeply"),
    ('{"a": ' + "9" * 100_000 + "}", "is too large"),
])  # fmt: skip
def test_json_that_is_none(text, message):
    with pytest.raises(Unreadable, match=message) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 200


def test_json_with_infinities_where_they_are_expected():
    assert parse_json('{"loss": Infinity}', finite=False) == {"loss": float("inf")}


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(("text", "message"), [
    (BOMB, "anchors and aliases"), ("&x 1", "anchors"), ("!!bool foo", "the tag"), ("!!int ''", "the tag"), ("!!timestamp x", "the tag"),
    ("!!python/object/apply:os.system [ls]", "the tag"), ("{[1]: 2}", "unhashable"), ("[1,", "on line|found"), ("9" * 30, "is too large"),
    ("9" * 5000, "limit|too large"), ("a: " + "[" * 5000, "nested too deeply"), ("\0", "not allowed|unacceptable"), ("@x", "cannot start"),
])  # fmt: skip
def test_yaml_that_is_none(text, message):
    start = time.perf_counter()
    with pytest.raises(Unreadable, match=message) as caught:
        parse_yaml(text)
    assert len(str(caught.value)) < 300 and time.perf_counter() - start < 5


def test_yaml_as_people_write_it():
    assert parse_yaml("a: [1, 2.5, x]\nb: {c: true, d: null}") == {"a": [1, 2.5, "x"], "b": {"c": True, "d": None}}
    assert parse_yaml("2020-01-01") == "2020-01-01"  # a date is text
    assert parse_yaml('"!!int"') == "!!int"


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_value_is_the_thing_or_a_line(value):
    said = line(lambda: validated(value, Thing))
    assert "\n" not in said and len(said) < 1000


@given(st.text(max_size=60))
def test_any_text_is_a_value_or_a_line(text):
    for parse in (parse_json, parse_yaml):
        assert len(line(lambda parse=parse: parse(text))) < 300


@pytest.mark.parametrize(("value", "message"), [
    ({"steps": "3"}, "steps: input should be a valid integer, not 3"), ({}, "steps is missing"), ({"steps": -1}, "steps: .*greater than"),
    ({"steps": True}, "steps: "), ({"steps": 1, "rate": float("nan")}, "rate: .*finite"), ({"steps": 1, "names": [1]}, r"names\.0: "), ([], "not \\[\\]"),
])  # fmt: skip
def test_what_is_wrong_is_named(value, message):
    with pytest.raises(Unreadable, match=message):
        validated(value, Thing)


def test_a_file_is_named_too(tmp_path):
    (tmp_path / "x.json").write_text('{"steps": null}')
    with pytest.raises(ModelError, match=r"x\.json is not a thing \(steps: .*, not None\); mend it"):
        read_json(tmp_path / "x.json", Thing, ModelError, "a thing", "mend it")
    (tmp_path / "x.yaml").write_text("[1, 2]")
    with pytest.raises(ModelError, match=r"x\.yaml is not a thing \(it is no table of names and values\); mend it"):
        read_yaml(tmp_path / "x.yaml", ModelError, "a thing", "mend it")
    (tmp_path / "x.yaml").write_text("a: " + "x" * 2**20)
    with pytest.raises(ModelError, match="more than 1,048,576 bytes"):
        read_yaml(tmp_path / "x.yaml", ModelError, "a thing", "mend it")


def test_values_in_messages_are_short_and_printable():
    assert short("a" * 1000) == "a" * 60 + "..."
    assert short("\x1b[31mred\nline") == "\\x1b[31mred\\nline"
    assert short(" x") == '" x"' and short("") == '""'
    assert len(short([[0] * 10_000] * 10_000)) < 200
    assert printable("naïve — 数\u202e") == "naïve — 数\\u202e"


def test_an_unknown_kind_is_said_in_a_few_words():
    """pydantic's own message repeats the word, however long."""

    class A(Facts):
        kind: Literal["a"]

    class B(Facts):
        kind: Literal["b"]

    class Either(Facts):
        part: A | B = Field(discriminator="kind")

    with pytest.raises(ValidationError) as caught:
        Either.model_validate({"part": {"kind": "x" * 20_000}})
    assert explain(caught.value) == f"part: kind {'x' * 60}... is unknown; it is one of a, b"
