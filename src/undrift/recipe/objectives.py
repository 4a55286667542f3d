"""The objective of a recipe: one explicit table of kinds, their options, and what they ask of the rest of the recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from undrift import target as targets
from undrift.denoiser import AnyDenoiser
from undrift.error import RecipeError, nearest
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

TARGETS = ("data", "noise", "score", "v", "velocity", "karras")
TargetName: Any = Literal[TARGETS]


class Options(BaseModel):
    """Base of all recipe parts: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


# What each kind of objective reads besides `kind`; see the classes for the meaning.
OBJECTIVES: dict[str, tuple[str, ...]] = {
    "denoising": ("space", "weight", "times", "mean", "std"),
    "implicit": ("weight", "times", "mean", "std", "exact_up_to", "probes", "law"),
    "sliced": ("weight", "times", "mean", "std", "probes", "law", "reduced_variance"),
    "hybrid": ("space", "weight", "bound_weight", "levels"),
    "bound": ("levels", "variance"),
    "distillation": ("teacher", "guide", "scale", "interval", "space", "weight", "times", "mean", "std"),
}


class ObjectiveOptions(Options):
    """What is trained: see `undrift.objective`. `mean` and `std` belong to lognormal times, `levels` to the bound's chain.

    teacher: the run to learn from. guide: what it is guided by, as `undrift sample --guide`: another run, a step of its own, or
    "classifier"; None: itself without the class. scale, interval: how much, and where (sigma/alpha).
    """

    kind: Literal["denoising", "implicit", "sliced", "hybrid", "bound", "distillation"] = Field(
        default="denoising", description="what is trained: one of the objectives"
    )
    space: TargetName | None = Field(default=None, description="the target whose error is squared; none: the network's own")
    weight: Literal["simple", "sigma2", "likelihood", "bound", "min_snr"] = Field(
        default="simple", description="what the squared error is multiplied by at each noise level"
    )
    times: Literal["uniform", "low_discrepancy", "importance", "lognormal"] = Field(
        default="uniform", description="how noise levels are drawn"
    )
    mean: float = Field(default=-1.2, description="of log(sigma/alpha), where times are lognormal")
    std: Annotated[float, Field(gt=0)] = Field(default=1.2, description="of log(sigma/alpha), where times are lognormal")
    exact_up_to: Annotated[int, Field(ge=0, le=10**6)] = Field(
        default=32, description="samples of at most so many entries get the exact trace"
    )
    probes: Annotated[int, Field(ge=1, le=10**4)] = Field(default=1, description="random directions for each sample")
    law: Literal["rademacher", "gaussian", "sphere"] = Field(default="rademacher", description="of the random directions")
    reduced_variance: bool = Field(default=True, description="the squared score itself instead of its projection")
    bound_weight: Annotated[float, Field(gt=0)] = Field(
        default=1e-3, description="weight of the variational bound beside the simple loss"
    )
    levels: Annotated[int, Field(ge=1, le=10**6)] | None = Field(
        default=None, description="steps of the chain that the bound is of; none: those of the process"
    )
    variance: Literal["beta", "tilde", "learned"] = Field(
        default="beta", description="of the reverse step: beta, beta-tilde, or learned"
    )
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


def build_target(name: str, sigma_data: float) -> targets.Target:
    """The target of this name. Raises RecipeError for an unknown one."""
    if name not in TARGETS:
        raise RecipeError(f'target "{name}" is unknown{nearest(name, TARGETS)}')
    return targets.karras(sigma_data) if name == "karras" else getattr(targets, name)


def build_objective(options: ObjectiveOptions, sigma_data: float, teacher: AnyDenoiser | None = None) -> Callable[..., Tensor]:
    """The objective of a recipe; `teacher` is what the kind "distillation" learns from."""
    o, kind = options, options.kind
    space = None if o.space is None else build_target(o.space, sigma_data)
    when = lognormal(o.mean, o.std) if o.times == "lognormal" else o.times
    if kind == "implicit":
        return ImplicitScoreMatching(o.exact_up_to, o.probes, o.law, weight=o.weight, times=when)
    if kind == "sliced":
        return SlicedScoreMatching(o.probes, o.law, o.reduced_variance, weight=o.weight, times=when)
    if kind == "hybrid":
        return HybridObjective(o.bound_weight, o.levels, simple=DenoisingScoreMatching(space, o.weight))
    if kind == "bound":
        return VariationalBound(o.levels, o.variance)
    if kind == "distillation":
        assert teacher is not None
        return Distillation(space, o.weight, when, teacher=teacher)
    return DenoisingScoreMatching(space, o.weight, when)


def check_objective(o: ObjectiveOptions, process: str, learned: bool) -> None:
    """What an objective asks of the rest of its recipe: the kind of process, and whether the network has a variance head.

    Raises:
        RecipeError: an option that the kind does not read, or a part that it lacks.
    """
    strange = sorted(
        o.model_fields_set
        - {"kind", *OBJECTIVES[o.kind]}
        - {k for k, f in ObjectiveOptions.model_fields.items() if getattr(o, k) == f.default}
    )
    if strange:
        raise RecipeError(
            f"objective.{strange[0]} means nothing to objective.kind={o.kind}; it reads {', '.join(OBJECTIVES[o.kind])}"
        )
    if o.kind in ("implicit", "sliced") and o.times == "importance":
        raise RecipeError(
            f"objective.times=importance is for objective.kind=denoising; {o.kind} takes uniform, low_discrepancy, lognormal"
        )
    if o.kind == "distillation" and o.teacher is None:
        raise RecipeError("objective.kind=distillation learns from another run: give objective.teacher=RUN")
    if o.kind == "distillation" and o.scale == 1 and (o.interval is not None or o.guide not in (None, "classifier")):
        raise RecipeError("objective.guide and objective.interval do nothing at scale 1; give objective.scale, such as 2")
    if o.kind in ("hybrid", "bound") and o.levels is None and process not in ("ddpm", "smld"):
        raise RecipeError(f"objective.kind={o.kind} needs a chain: give objective.levels=1000, or process.kind=ddpm")
    if (o.kind == "hybrid" or o.variance == "learned") and not learned:
        raise RecipeError(f"objective.kind={o.kind} trains variances: give network.kind and network.learned_variance=true")
