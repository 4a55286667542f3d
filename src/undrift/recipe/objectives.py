"""The objective of a recipe: a class for each kind, with its options, what it builds, and what it asks of the rest of the recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator
from torch import Tensor

from undrift.denoiser import AnyDenoiser
from undrift.error import RecipeError
from undrift.guidance.scale import LARGEST_SCALE
from undrift.objective import (
    DenoisingScoreMatching,
    Distillation,
    HybridObjective,
    ImplicitScoreMatching,
    SlicedScoreMatching,
    VariationalBound,
    lognormal,
)
from undrift.objective.quantile import Quantile
from undrift.recipe.build import TARGETS, build_target
from undrift.recipe.options import Options, one_of
from undrift.target import Target

Objective = Callable[..., Tensor]
Weight = Literal["simple", "sigma2", "likelihood", "bound", "min_snr"]
Space: Any = Literal[TARGETS]
WEIGHT: Any = Field(default="simple", description="what the squared error is multiplied by at each noise level")
SPACE: Any = Field(default=None, description="the target whose error is squared; none: the network's own")
PROBES: Any = Field(default=1, ge=1, le=10**4, description="random directions for each sample")
LAW: Any = Field(default="rademacher", description="of the random directions")
LEVELS: Any = Field(
    default=None, ge=1, le=10**6, description="steps of the chain that the bound is of; none: those of the process"
)
Law = Literal["rademacher", "gaussian", "sphere"]


class ObjectiveKind(Options):
    """A kind of objective.

    Attributes:
        differentiates_twice: Whether the network is differentiated in its input.
    """

    differentiates_twice: ClassVar[bool] = False
    kind: str

    def build(self, sigma_data: float, teacher: AnyDenoiser | None = None) -> Objective:
        """The objective; `teacher` is what a distillation learns from."""
        raise NotImplementedError

    def check(self, process: str, learned: bool) -> None:
        """What it asks of the kind of process, and of a variance head of the network. Raises RecipeError."""


class _Timed(ObjectiveKind):
    """What draws noise levels."""

    weight: Weight = WEIGHT
    times: Literal["uniform", "low_discrepancy", "importance", "lognormal"] = Field(
        default="uniform", description="how noise levels are drawn"
    )
    mean: float = Field(default=-1.2, description="of log(sigma/alpha), where times are lognormal")
    std: Annotated[float, Field(gt=0)] = Field(default=1.2, description="of log(sigma/alpha), where times are lognormal")

    def quantile(self) -> str | Quantile:
        """The law of the noise levels."""
        return lognormal(self.mean, self.std) if self.times == "lognormal" else self.times


class DenoisingOptions(_Timed):
    """Denoising score matching: see `undrift.DenoisingScoreMatching`."""

    kind: Literal["denoising"] = "denoising"
    space: Space | None = SPACE

    def build(self, sigma_data: float, teacher: AnyDenoiser | None = None) -> Objective:
        """The regression of every paper."""
        return DenoisingScoreMatching(_space(self.space, sigma_data), self.weight, self.quantile())


class _ScoreOptions(_Timed):
    """Score matching without a regression target."""

    differentiates_twice: ClassVar[bool] = True

    def check(self, process: str, learned: bool) -> None:
        """It knows no loss by which importance could be measured."""
        if self.times == "importance":
            raise RecipeError(
                f"objective.times=importance is for objective.kind=denoising; {self.kind} takes uniform, low_discrepancy, lognormal"
            )


class ImplicitOptions(_ScoreOptions):
    """Implicit score matching (Hyvarinen): see `undrift.ImplicitScoreMatching`."""

    kind: Literal["implicit"] = "implicit"
    exact_up_to: Annotated[int, Field(ge=0, le=10**6)] = Field(
        default=32, description="samples of at most so many entries get the exact trace"
    )
    probes: int = PROBES
    law: Law = LAW

    def build(self, sigma_data: float, teacher: AnyDenoiser | None = None) -> Objective:
        """By the trace of the Jacobian."""
        return ImplicitScoreMatching(self.exact_up_to, self.probes, self.law, weight=self.weight, times=self.quantile())


class SlicedOptions(_ScoreOptions):
    """Sliced score matching: see `undrift.SlicedScoreMatching`."""

    kind: Literal["sliced"] = "sliced"
    probes: int = PROBES
    law: Law = LAW
    reduced_variance: bool = Field(default=True, description="the squared score itself instead of its projection")

    def build(self, sigma_data: float, teacher: AnyDenoiser | None = None) -> Objective:
        """By projections on random directions."""
        return SlicedScoreMatching(self.probes, self.law, self.reduced_variance, weight=self.weight, times=self.quantile())


class _ChainOptions(ObjectiveKind):
    """What trains on a chain of steps."""

    levels: int | None = LEVELS

    def check(self, process: str, learned: bool) -> None:
        """It needs a chain."""
        if self.levels is None and process not in ("ddpm", "smld"):
            raise RecipeError(f"objective.kind={self.kind} needs a chain: give objective.levels=1000, or process.kind=ddpm")

    def check_variances(self, learned: bool) -> None:
        """Raise RecipeError where the network has no variance head."""
        if not learned:
            raise RecipeError(f"objective.kind={self.kind} trains variances: give network.kind and network.learned_variance=true")


class HybridOptions(_ChainOptions):
    """The hybrid loss of learned variances: see `undrift.HybridObjective`."""

    kind: Literal["hybrid"] = "hybrid"
    space: Space | None = SPACE
    weight: Weight = WEIGHT
    bound_weight: Annotated[float, Field(gt=0)] = Field(
        default=1e-3, description="weight of the variational bound beside the simple loss"
    )

    def build(self, sigma_data: float, teacher: AnyDenoiser | None = None) -> Objective:
        """The simple loss and a little of the bound."""
        simple = DenoisingScoreMatching(_space(self.space, sigma_data), self.weight)
        return HybridObjective(self.bound_weight, self.levels, simple=simple)

    def check(self, process: str, learned: bool) -> None:
        """A chain, and a variance head."""
        super().check(process, learned)
        self.check_variances(learned)


class BoundOptions(_ChainOptions):
    """The variational bound: see `undrift.VariationalBound`."""

    kind: Literal["bound"] = "bound"
    variance: Literal["beta", "tilde", "learned"] = Field(
        default="beta", description="of the reverse step: beta, beta-tilde, or learned"
    )

    def build(self, sigma_data: float, teacher: AnyDenoiser | None = None) -> Objective:
        """The bound itself."""
        return VariationalBound(self.levels, self.variance)

    def check(self, process: str, learned: bool) -> None:
        """A chain, and a variance head where the variance is learned."""
        super().check(process, learned)
        if self.variance == "learned":
            self.check_variances(learned)


class DistillationOptions(_Timed):
    """Distillation of a guided teacher: see `undrift.Distillation`."""

    kind: Literal["distillation"] = "distillation"
    space: Space | None = SPACE
    teacher: Annotated[str, Field(min_length=1)] | None = Field(default=None, description="the run to learn from")
    guide: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="what the teacher is guided by: another run, a step of its own, or classifier; none: itself without the class",
    )
    scale: Annotated[float, Field(ge=-LARGEST_SCALE, le=LARGEST_SCALE)] = Field(
        default=1.0, description="guidance scale of the teacher"
    )
    interval: tuple[Annotated[float, Field(ge=0)], float] | None = Field(
        default=None, description="noise levels sigma/alpha between which the teacher is guided; none: all"
    )

    @field_validator("guide", mode="before")
    @classmethod
    def _step_as_text(cls, given: Any) -> Any:
        return str(given) if isinstance(given, int) else given

    @field_validator("interval")
    @classmethod
    def _in_order(cls, given: tuple[float, float] | None) -> tuple[float, float] | None:
        if given is not None and not given[0] < given[1]:
            raise ValueError(f"two noise levels sigma/alpha, the lower one first, not {given[0]:g} and {given[1]:g}")
        return given

    def build(self, sigma_data: float, teacher: AnyDenoiser | None = None) -> Objective:
        """The regression on the teacher."""
        assert teacher is not None
        return Distillation(_space(self.space, sigma_data), self.weight, self.quantile(), teacher=teacher)

    def check(self, process: str, learned: bool) -> None:
        """A teacher; and nothing that does nothing."""
        if self.teacher is None:
            raise RecipeError("objective.kind=distillation learns from another run: give objective.teacher=RUN")
        if self.scale == 1 and (self.interval is not None or self.guide not in (None, "classifier")):
            raise RecipeError("objective.guide and objective.interval do nothing at scale 1; give objective.scale, such as 2")


def _space(name: str | None, sigma_data: float) -> Target | None:
    return None if name is None else build_target(name, sigma_data)


OBJECTIVES: dict[str, type[ObjectiveKind]] = {
    "denoising": DenoisingOptions,
    "implicit": ImplicitOptions,
    "sliced": SlicedOptions,
    "hybrid": HybridOptions,
    "bound": BoundOptions,
    "distillation": DistillationOptions,
}


def options_read(kind: str) -> list[str]:
    """What a kind of objective reads besides `kind`."""
    return [name for name in OBJECTIVES[kind].model_fields if name != "kind"]


def _whole(given: Any) -> Any:
    """With its kind; and without what other kinds read where that is at its default, as recipes of earlier versions have it."""
    if not isinstance(given, dict):
        return given
    kind = given.get("kind", "denoising")
    if kind not in OBJECTIVES:
        return {**given, "kind": kind}
    others = {n: f.default for other in OBJECTIVES.values() for n, f in other.model_fields.items()}
    own = OBJECTIVES[kind].model_fields
    return {"kind": kind, **{n: v for n, v in given.items() if n in own or n not in others or v != others[n]}}


ObjectiveOptions: Any = Annotated[one_of(OBJECTIVES.values()), BeforeValidator(_whole)]
