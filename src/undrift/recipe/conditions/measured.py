"""A condition of measurements: what an operator measures of the picture, such as its grey or its blurred version."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator
from torch import Tensor

from undrift.condition import Condition, as_condition
from undrift.data import Dataset, Spec
from undrift.data.captions import Captioned
from undrift.error import RecipeError, UndriftError
from undrift.inverse import Operator
from undrift.noise import Noise
from undrift.recipe.conditions.base import ConditionKind
from undrift.recipe.operators import named_operator

PICTURES = ("greyscale", "blur", "downsample")  # operators whose measurement is a picture, and that read no file


class MeasuredOptions(ConditionKind):
    """What an operator measures of the picture is told, and the class: colours from grey, sharp from blurred, large from small.

    `noise` is the standard deviation of what is added to it, in model space.
    """

    needs: ClassVar[str] = "a measurement"
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

    def describe(self, data: Dataset) -> dict[str, Any]:
        """As the recipe says. Raises RecipeError for data that the operator does not fit."""
        if isinstance(data, Captioned) or len(data.spec.shape) != 3 or isinstance(data.spec.scale, tuple):
            raise RecipeError(
                f"condition.kind=measured needs pictures of one range without captions; {data.name} are none "
                f"(shape {data.spec.shape})"
            )
        try:
            self.build(data.spec.shape)
        except UndriftError as error:
            raise RecipeError(f"condition.operator: {error}") from None
        return self.model_dump(mode="json")

    def arguments(self, shape: tuple[int, ...]) -> dict[str, int]:
        """A picture, of one channel where it is grey."""
        return {"image": 1 if self.operator == "greyscale" else shape[0]}

    def told(self, x0: Tensor, cond: Tensor | Condition | None, noise: Noise) -> Condition:
        """What is measured of the pictures, with its noise, and the class."""
        seen = self.build(tuple(x0.shape[1:]))(x0)
        if self.noise:
            seen = seen + self.noise * noise.fold("measured").normal(seen)
        return Condition(label=as_condition(cond).label, image=seen)

    def reads(self, spec: Spec) -> str:
        """The operator and its noise."""
        return f"{self.operator} of the picture, with noise of {self.noise:g}{', and the class' * bool(spec.classes)}"

    def asked(self, each: list[Any]) -> Condition:
        """Raises UndriftError: a measurement is given to `restore`."""
        raise UndriftError(f"this model is told {self.operator} and not a class alone; use undrift restore")


_operator = lru_cache(maxsize=8)(named_operator)
