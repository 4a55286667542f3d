"""Objectives: what a network is trained to do. Each is called `(denoiser, x0, noise, cond) -> (B,)` losses."""

from undrift.objective.denoising import DenoisingScoreMatching
from undrift.objective.distillation import Distillation
from undrift.objective.quantile import at, lognormal
from undrift.objective.score import ExplicitScoreMatching, ImplicitScoreMatching, SlicedScoreMatching
from undrift.objective.variational import HybridObjective, ScheduleVariance, VariationalBound

__all__ = [
    "DenoisingScoreMatching",
    "Distillation",
    "ExplicitScoreMatching",
    "HybridObjective",
    "ImplicitScoreMatching",
    "ScheduleVariance",
    "SlicedScoreMatching",
    "VariationalBound",
    "at",
    "lognormal",
]
