"""What a recipe's network is told besides the class: one explicit table of kinds, and the parts of a model made of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from torch import Tensor, nn

from undrift.condition import Condition, as_condition
from undrift.data import Dataset
from undrift.data.captions import Captioned
from undrift.data.words import Vocabulary
from undrift.error import RecipeError, UndriftError
from undrift.inverse import Operator
from undrift.nn.text import Reader, TextEncoder
from undrift.noise import Noise
from undrift.recipe.objectives import Options
from undrift.recipe.operators import named_operator
from undrift.upscale import enlarging

EXAMPLES = 8  # texts that a model keeps, to show itself with


class TextOptions(Options):
    """The caption of each example is told, embedded in `width` numbers a word."""

    kind: Literal["text"] = "text"
    width: Annotated[int, Field(ge=1, le=4096)] = Field(default=64, description="numbers in which a word is embedded")


class UpscaleOptions(Options):
    """The picture itself is told, `factor` times smaller and with noise of a level up to `augment`, that level, and the class."""

    kind: Literal["upscale"] = "upscale"
    factor: Annotated[int, Field(ge=2, le=64)] = Field(
        default=2, description="how many times smaller the picture that is told is"
    )
    augment: Annotated[float, Field(ge=0, le=10)] = Field(
        default=0.5, description="largest noise that is added to it, a standard deviation"
    )


PICTURES = ("greyscale", "blur", "downsample")  # operators whose measurement is a picture, and that read no file


class MeasuredOptions(Options):
    """What an operator measures of the picture is told, and the class: colours from grey, sharp from blurred, large from small.

    `noise` is the standard deviation of what is added to it, in model space.
    """

    kind: Literal["measured"] = "measured"
    operator: str = Field(default="greyscale", description="what is measured: greyscale, blur:STD or downsample:FACTOR")
    noise: Annotated[float, Field(ge=0, le=10)] = Field(
        default=0.0, description="standard deviation of the noise that is added to it"
    )

    @field_validator("operator")
    @classmethod
    def _is_a_picture(cls, name: str) -> str:
        if name.partition(":")[0] not in PICTURES:
            raise ValueError(f'operator "{name}" makes no picture to be told; use greyscale, blur:STD or downsample:FACTOR')
        return name

    def build(self, shape: tuple[int, ...]) -> Operator:
        """The operator on samples `(B, *shape)`. Raises UndriftError if it does not fit them."""
        return _operator(self.operator, shape)


_operator = lru_cache(maxsize=8)(named_operator)
CONDITIONS: dict[str, type[Options]] = {"text": TextOptions, "upscale": UpscaleOptions, "measured": MeasuredOptions}
ConditionOptions = Annotated[TextOptions | UpscaleOptions | MeasuredOptions, Field(discriminator="kind")]


def describe_condition(options: ConditionOptions | None, data: Dataset) -> dict[str, Any] | None:
    """The part "condition" of model.json, with what the data add: the words, the longest text, and a few texts.

    Raises:
        RecipeError: data without texts, or that are no pictures of which smaller ones can be made.
    """
    if options is None:
        return None
    if isinstance(options, UpscaleOptions):
        shape, factor = data.spec.shape, options.factor
        if isinstance(data, Captioned) or len(shape) != 3 or any(side % factor for side in shape[1:]):
            raise RecipeError(
                f"condition.kind=upscale needs pictures without captions, with sides that are multiples of factor={factor}; "
                f"{data.name} have shape {shape}{' and captions' * isinstance(data, Captioned)}"
            )
        return options.model_dump(mode="json")
    if isinstance(options, MeasuredOptions):
        if isinstance(data, Captioned) or len(data.spec.shape) != 3 or isinstance(data.spec.scale, tuple):
            raise RecipeError(
                f"condition.kind=measured needs pictures of one range without captions; {data.name} are none "
                f"(shape {data.spec.shape})"
            )
        try:
            options.build(data.spec.shape)
        except UndriftError as error:
            raise RecipeError(f"condition.operator: {error}") from None
        return options.model_dump(mode="json")
    if not isinstance(data, Captioned):
        raise RecipeError(f"condition.kind=text needs data with captions; {data.name} have none (data.kind=captions has)")
    known = data.vocabulary
    examples = list(dict.fromkeys(data.texts))[:EXAMPLES]
    return {**options.model_dump(mode="json"), "words": list(known.words), "length": known.length, "examples": examples}


def vocabulary_of(condition: Mapping[str, Any] | None) -> Vocabulary | None:
    """The vocabulary of a model that reads text."""
    if condition is None or condition["kind"] != "text":
        return None
    return Vocabulary(tuple(condition["words"]), condition["length"])


def upscale_of(condition: Mapping[str, Any] | None) -> UpscaleOptions | None:
    """How a model that enlarges pictures was trained to. Raises ValueError for illegal values."""
    return None if condition is None or condition["kind"] != "upscale" else UpscaleOptions(**condition)


def measured_of(condition: Mapping[str, Any] | None) -> MeasuredOptions | None:
    """What a model is told of the picture, if it is. Raises ValueError for illegal values."""
    return None if condition is None or condition["kind"] != "measured" else MeasuredOptions(**condition)


def told(
    condition: Mapping[str, Any] | None, x0: Tensor, cond: Tensor | Condition | None, noise: Noise
) -> Tensor | Condition | None:
    """What a network is told in training of the examples `x0`, `(B, *D)` in model space: `cond`, and what is made of `x0`."""
    upscale, measured = upscale_of(condition), measured_of(condition)
    if measured is not None:
        seen = measured.build(tuple(x0.shape[1:]))(x0)
        if measured.noise:
            seen = seen + measured.noise * noise.fold("measured").normal(seen)
        return Condition(label=as_condition(cond).label, image=seen)
    if upscale is None:
        return cond
    return enlarging(x0, upscale.factor, upscale.augment, noise, as_condition(cond).label)


def sizes(condition: Mapping[str, Any] | None, shape: tuple[int, ...]) -> dict[str, int]:
    """The arguments of a network for data of one shape that the condition decides."""
    if condition is None:
        return {}
    if (measured := measured_of(condition)) is not None:
        return {"image": 1 if measured.operator == "greyscale" else shape[0]}
    return {"image": shape[0], "vector": 1} if upscale_of(condition) else {"sequence": condition["width"]}


def with_condition(network: nn.Module, condition: Mapping[str, Any] | None) -> Any:
    """The network with what it needs to read the condition."""
    if condition is None or condition["kind"] != "text":
        return network
    return Reader(network, TextEncoder(len(condition["words"]), condition["length"], condition["width"]))
