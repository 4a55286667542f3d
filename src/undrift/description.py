"""model.json: what a model is, as data. It may come from a stranger, so every value is checked before anything is built from it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from undrift.data.spec import Spec
from undrift.error import ModelError, short
from undrift.recipe.build import NetworkOptions, ProcessOptions
from undrift.recipe.conditions import CONDITIONS
from undrift.recipe.limits import check_parts
from undrift.recipe.options import one_of
from undrift.recipe.recipe import SamplingOptions
from undrift.schema import Facts, Text, Unreadable, parse_json, validated
from undrift.storage import read_text, reason, write_text

FORMAT = 1
NAME = "model.json"
COUNT = 2**53  # the most of anything that is counted
CURE = "restore it, or give the command that trained it again: it writes the model anew from a state that is whole"

Count = Annotated[int, Field(ge=0, le=COUNT)]


class Trained(Facts):
    """What is known of the training. Numbers count steps, examples, seconds; hashes are hexadecimal."""

    recipe: Text = "?"
    steps: Count = 0
    seconds: Annotated[float, Field(ge=0, le=1e12)] = 0.0
    examples: Count = 0
    data: Text = "?"
    data_examples: Count | None = None
    label_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    data_hash: Text | None = None
    teacher_hash: Text | None = None
    weights_of_step: Count | None = None
    average: dict[str, float | None] | None = None


ConditionDescription: Any = one_of(kind.described() for kind in CONDITIONS.values())


class Own(Facts):
    """A part that is the user's own: the name of its class, for people to read."""

    kind: Literal["own"]
    name: Text


class Description(Facts):
    """A model: its parts, the spec of its data, how it is sampled, and its training.

    `weights` is the hash with which model.safetensors was sealed, None for a model of a version that sealed nothing.
    """

    format: Literal[1]
    network: Annotated[NetworkOptions | Own, Field(discriminator="kind")]  # type: ignore[valid-type]
    process: Annotated[ProcessOptions | Own, Field(discriminator="kind")]  # type: ignore[valid-type]
    target: Text
    sigma_data: Annotated[float, Field(gt=0, le=1e9)]
    spec: dict[str, Any]
    sampling: SamplingOptions = SamplingOptions()
    trained: Trained = Trained()
    condition: ConditionDescription | None = None
    weights: Text | None = None
    made: Text | None = None  # a hash of what it is made of, with which its weights are sealed too


_DESCRIPTION: TypeAdapter[Description] = TypeAdapter(Description)


def read_description(folder: Path) -> tuple[dict[str, Any], Spec]:
    """The parsed model.json of a run, checked, and its data spec.

    Raises:
        ModelError: no model there, or a file that does not describe one.
    """
    path = folder / NAME
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such run folder; train one with `undrift train digits --out {folder}`")
    try:
        found = parse_json(read_text(path))
    except FileNotFoundError:
        raise ModelError(_nothing(folder)) from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({reason(error)})") from None
    except ValueError as error:
        raise ModelError(f"{path} does not describe a model ({reason(error)}); {CURE}") from None
    return check_description(found, path)


def check_description(found: Any, where: Path) -> tuple[dict[str, Any], Spec]:
    """A description as it was read from somewhere, checked, and its data spec. Raises ModelError."""
    if isinstance(found, dict) and "format" in found and found["format"] != FORMAT:
        raise ModelError(f"{where} has format {short(found['format'])}, this version of undrift reads format {FORMAT}")
    try:
        described = validated(found, _DESCRIPTION)
        spec = Spec.from_json(found["spec"])
        # As they were understood: a number may be written as a text, and what the file leaves out has its default from here on.
        parts = {part: getattr(described, part).model_dump(mode="json") for part in ("network", "process", "sampling")}
        check_size(found | parts, spec)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None
    except ValueError as error:
        raise ModelError(f"{where} does not describe a model ({reason(error)}); {CURE}") from None
    return found | parts | {"trained": found.get("trained", {})}, spec


def write_description(folder: Path, description: dict[str, Any]) -> None:
    """Write model.json, whole or not at all. Raises OutputError if that cannot be done."""
    write_text(folder / NAME, json.dumps(description, indent=1) + "\n")


def _nothing(folder: Path) -> str:
    if (folder / "config.yaml").is_file():
        return f"{folder} holds no model yet: it has not reached its first checkpoint; train on with the same command"
    if (folder / "cascade.json").is_file():
        return f"{folder} holds a cascade of two models; draw from it with `undrift sample`, or load it with undrift.load_cascade"
    return f"{folder} holds no model (no model.json); is it a run's folder?"


def check_size(description: dict[str, Any], spec: Spec) -> None:
    """Refuse numbers so large that building from them would hang or fill the memory.

    Raises:
        Unreadable: there are such.
    """
    try:
        check_parts(description)
    except ValueError as error:
        raise Unreadable(str(error)) from None
    if math.prod(spec.shape) > 2**28:
        raise Unreadable("spec.shape: data of absurd size")
