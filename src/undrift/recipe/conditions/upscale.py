"""A condition for enlarging pictures: the picture itself, smaller and with noise."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from undrift.condition import Condition, as_condition
from undrift.data import Dataset, Spec
from undrift.data.captions import Captioned
from undrift.error import RecipeError, UndriftError
from undrift.noise import Noise
from undrift.recipe.conditions.base import ConditionKind
from undrift.upscale import enlarging

_ALONE = "this model enlarges small pictures and was given none; put it behind another: undrift.Cascade"


class UpscaleOptions(ConditionKind):
    """The picture itself is told, `factor` times smaller and with noise of a level up to `augment`, that level, and the class."""

    needs: ClassVar[str] = "a small picture"
    kind: Literal["upscale"] = "upscale"
    factor: Annotated[int, Field(ge=2, le=64)] = Field(
        default=2, description="how many times smaller the picture that is told is"
    )
    augment: Annotated[float, Field(ge=0, le=10)] = Field(
        default=0.5, description="largest noise that is added to it, a standard deviation"
    )

    def describe(self, data: Dataset) -> dict[str, Any]:
        """As the recipe says. Raises RecipeError for data of which no smaller pictures can be made."""
        shape, factor = data.spec.shape, self.factor
        if isinstance(data, Captioned) or len(shape) != 3 or any(side % factor for side in shape[1:]):
            raise RecipeError(
                f"condition.kind=upscale needs pictures without captions, with sides that are multiples of factor={factor}; "
                f"{data.name} have shape {shape}{' and captions' * isinstance(data, Captioned)}"
            )
        return self.model_dump(mode="json")

    def arguments(self, shape: tuple[int, ...]) -> dict[str, int]:
        """A picture, and the level of its noise."""
        return {"image": shape[0], "vector": 1}

    def told(self, x0: Tensor, cond: Tensor | Condition | None, noise: Noise) -> Condition:
        """The small picture with its noise, the level and the class."""
        return enlarging(x0, self.factor, self.augment, noise, as_condition(cond).label)

    def reads(self, spec: Spec) -> str:
        """How much smaller, with how much noise."""
        return f"the picture {self.factor} times smaller, with noise of up to {self.augment:g}, and the class"

    def check_classes(self) -> None:
        """A class alone is not enough."""
        raise UndriftError(_ALONE)

    def asked(self, each: list[Any]) -> Condition:
        """Raises UndriftError: a class alone is not enough."""
        raise UndriftError(_ALONE)
