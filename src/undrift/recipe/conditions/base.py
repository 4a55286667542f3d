"""What a network is told besides the noise level and the class: one file for each kind, each one class."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from undrift.condition import Condition
from undrift.data import Dataset, Spec
from undrift.noise import Noise
from undrift.recipe.options import Options


class ConditionKind(Options):
    """A kind of condition: its options in a recipe, and all that depends on it.

    As described in model.json it may know more than the recipe says: what the data add is in the class `described`.

    Attributes:
        needs: What has to be given for each sample.
    """

    needs: ClassVar[str]
    kind: str

    @classmethod
    def described(cls) -> type[ConditionKind]:
        """The class of its description in model.json."""
        return cls

    def describe(self, data: Dataset) -> dict[str, Any]:
        """The part "condition" of model.json, with what the data add. Raises RecipeError for data that it cannot be trained on."""
        raise NotImplementedError

    def arguments(self, shape: tuple[int, ...]) -> dict[str, int]:
        """The arguments of a network for data of one shape that it decides."""
        raise NotImplementedError

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network with what it needs to read the condition."""
        return network

    def told(self, x0: Tensor, cond: Tensor | Condition | None, noise: Noise) -> Tensor | Condition | None:
        """What a network is told in training of the examples `x0`, `(B, *D)` in model space: `cond`, and what is made of `x0`."""
        return cond

    def reads(self, spec: Spec) -> str:
        """What the network is told, in words."""
        raise NotImplementedError

    def examples(self, spec: Spec) -> list[Any]:
        """What the model may be asked for, to show it; empty where that has to be given."""
        return []

    def check_classes(self) -> None:
        """Raise UndriftError if a class alone can never be asked for."""

    def asked(self, each: list[Any]) -> Condition:
        """What was asked for, one for each sample, as the network wants it. Raises UndriftError where it is not given in words."""
        raise NotImplementedError
