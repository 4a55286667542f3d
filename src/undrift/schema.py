"""Descriptions: JSON and YAML that may come from anywhere, read into values that are what they should be.

A description is text with a schema. What is wrong with it, a broken bracket, a number of a thousand digits, text where a number should
be, is one line that names the place. Nothing in it is executed, and reading it takes time and memory in proportion to its length.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from undrift.error import UndriftError, printable, short
from undrift.storage import TEXT, read_text, reason

T = TypeVar("T")
LARGEST = 2**63 - 1  # of whole numbers


class Unreadable(ValueError):
    """A text that is no description of its kind; the message says why in a few words."""


def _plain(text: str) -> str:
    if printable(text) != text:
        raise ValueError("it has control characters")
    return text


Text = Annotated[str, Field(max_length=2**16), AfterValidator(_plain)]  # one line that is shown to people


class Facts(BaseModel):
    """Base of the schemas: the types are taken as they are written ("3" is no number), names that are not known are passed over."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False, extra="ignore", protected_namespaces=())


def read_json(path: Path, schema: type[T] | TypeAdapter[T], error: type[UndriftError], what: str, cure: str) -> T:
    """A run's own JSON file as a value of its schema.

    Args:
        path: The file.
        schema: A pydantic model, or a `TypeAdapter`.
        error: What to raise.
        what, cure: What it should be ("a model description"), and what to do where it is not.

    Raises:
        UndriftError: of the class `error`: it cannot be read, or holds something else.
    """
    try:
        return validated(parse_json(read_text(path)), schema)
    except (OSError, ValueError) as problem:
        raise error(f"{path} is not {what} ({reason(problem)}); {cure}") from None


def validated(value: Any, schema: type[T] | TypeAdapter[T]) -> T:
    """A value of a schema. Raises Unreadable, which names the first place that is wrong."""
    adapter: TypeAdapter[T] = schema if isinstance(schema, TypeAdapter) else TypeAdapter(schema)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise Unreadable(explain(error)) from None
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None


def explain(error: ValidationError) -> str:
    """The first thing that is wrong, in a few words."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"{place} is missing"
    if first["type"] == "value_error":
        said = str(first["ctx"]["error"]).rstrip(".") if "ctx" in first else first["msg"]
        return f"{place}: {said}" if place else said
    if first["type"] == "union_tag_invalid":  # pydantic's own message repeats the whole tag
        known = first["ctx"]["expected_tags"].replace("'", "")
        return f"{place + ': ' if place else ''}kind {short(first['ctx']['tag'])} is unknown; it is one of {known}"
    wanted = first["msg"][:1].lower() + first["msg"][1:]
    return f"{place + ': ' if place else ''}{wanted}, not {short(first['input'])}"


def parse_json(text: str, finite: bool = True) -> Any:
    """JSON as plain values.

    Args:
        text: The document.
        finite: Whether NaN and infinities, which JSON does not have, are refused.

    Raises:
        Unreadable: it is no JSON, nested too deeply, or has a number that nothing here could be.
    """

    def number(word: str) -> float:
        value = float(word)
        if finite and not math.isfinite(value):
            raise Unreadable(f"the number {short(word)} is not finite")
        return value

    try:
        return json.loads(text, parse_int=_whole, parse_float=number, parse_constant=number)
    except Unreadable:
        raise
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"it is not JSON: {short(reason(error), 80)}") from None


def _whole(word: str) -> int:
    if len(word) > 20 or abs(value := int(word)) > LARGEST:
        raise Unreadable(f"the number {short(word)} is too large")
    return value


class _Loader(yaml.SafeLoader):
    """YAML's plain values: no tags, anchors or aliases, which can make a short text stand for a huge one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise Unreadable("anchors and aliases (& and *) are not read here; write the value out, or quote it")
        if getattr(event, "tag", None) not in (None, "!"):
            raise Unreadable(f"the tag {short(event.tag)} is not read here; leave it out, or quote the value")
        return super().compose_node(parent, index)


# A date is text here.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str) -> Any:
    """YAML as plain values. Raises Unreadable."""
    try:
        value = yaml.load(text, _Loader)
    except Unreadable:
        raise
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except yaml.YAMLError as error:
        said = getattr(error, "problem", None) or reason(error)
        mark = getattr(error, "problem_mark", None)
        raise Unreadable(f"{short(said, 80)}{f' on line {mark.line + 1}' if mark is not None and mark.line else ''}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, IndexError) as error:
        raise Unreadable(short(reason(error), 80)) from None
    _check_numbers(value)
    return value


def _check_numbers(value: Any) -> None:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            waiting += each
        elif isinstance(each, int) and abs(each) > LARGEST:
            raise Unreadable(f"the number {short(each)} is too large")


def read_yaml(path: Path, error: type[UndriftError], what: str, cure: str, most: int = min(TEXT, 2**20)) -> dict[str, Any]:
    """A run's own YAML file, which must be a table. Raises UndriftError, of the class `error`."""
    try:
        tree = parse_yaml(read_text(path, most))
        if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
            raise Unreadable("it is no table of names and values")
    except (OSError, ValueError) as problem:
        raise error(f"{path} is not {what} ({reason(problem)}); {cure}") from None
    return tree
