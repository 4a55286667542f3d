"""undrift: score-based diffusion models. One Gaussian process, one denoiser, every view of it.

The names below are the public ones, in the order in which to read about them. They are imported when first used, so that
the command line can answer `--help` without loading torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from undrift import data, inverse, likelihood, nn, objective, sampler, target, times
    from undrift.bound import Bins, Bound, variational_bound
    from undrift.cascade import Cascade, load_cascade
    from undrift.condition import Condition
    from undrift.denoiser import AnyDenoiser, Counted, Denoiser, Given, Prediction, Rescaled, score_at, velocity_at
    from undrift.diagnosis import Budget, diagnose
    from undrift.error import UndriftError
    from undrift.exact import Empirical, GaussianMixture
    from undrift.guidance import (
        Compose,
        Edit,
        Interval,
        Mix,
        NoisyClassifier,
        Tilt,
        class_log_prob,
        clip,
        dynamic_threshold,
    )
    from undrift.imputation import Known, impute
    from undrift.inverse import Posterior, smc
    from undrift.likelihood import Dequantize, LikelihoodResult, decode, encode, interpolate, log_likelihood
    from undrift.model import Model
    from undrift.model_file import load
    from undrift.noise import Noise
    from undrift.noisy_classifier import load_classifier
    from undrift.objective import (
        DenoisingScoreMatching,
        Distillation,
        ExplicitScoreMatching,
        HybridObjective,
        ImplicitScoreMatching,
        ScheduleVariance,
        SlicedScoreMatching,
        VariationalBound,
    )
    from undrift.process import DDPM, SMLD, VE, VP, Cosine, Karras, Learned, LinearSDE, Process, Rectified, SubVP
    from undrift.reverse import AnalyticVariance, analytic_variance
    from undrift.sampler import (
        ABM,
        DEIS,
        DPM2M,
        DPM2S,
        DPM3M,
        PLMS,
        SDEDPM2M,
        Adams,
        Adaptive,
        Ancestral,
        AnnealedLangevin,
        Churn,
        Euler,
        EulerMaruyama,
        Heun,
        Langevin,
        Metropolis,
        Midpoint,
        PredictorCorrector,
        RePaint,
        ReverseDiffusion,
        RungeKutta,
        Sampler,
        SASolver,
        State,
        UniPC,
        VelocityAB,
        fit_grid,
        sample,
    )

__version__ = "0.1.0"

_PLACES = {
    "process": "Process VP VE SubVP Cosine Rectified Karras DDPM SMLD LinearSDE Learned",
    "denoiser": "Prediction Denoiser AnyDenoiser Given Rescaled Counted score_at velocity_at",
    "exact": "GaussianMixture Empirical",
    "noise": "Noise",
    "condition": "Condition",
    "objective": "DenoisingScoreMatching Distillation ExplicitScoreMatching ImplicitScoreMatching SlicedScoreMatching VariationalBound "
    "HybridObjective ScheduleVariance",
    "reverse": "AnalyticVariance analytic_variance",
    "bound": "Bound Bins variational_bound",
    "sampler": "State Sampler Ancestral EulerMaruyama ReverseDiffusion Churn Euler Heun Midpoint RungeKutta Adaptive ABM DPM2S DPM2M "
    "DPM3M UniPC DEIS PLMS VelocityAB SDEDPM2M SASolver Adams Langevin Metropolis AnnealedLangevin PredictorCorrector RePaint sample fit_grid",
    "guidance": "Mix Compose Interval Tilt NoisyClassifier class_log_prob Edit clip dynamic_threshold",
    "imputation": "Known impute",
    "inverse": "Posterior smc",
    "likelihood": "log_likelihood LikelihoodResult Dequantize encode decode interpolate",
    "model": "Model",
    "model_file": "load",
    "noisy_classifier": "load_classifier",
    "cascade": "Cascade load_cascade",
    "diagnosis": "diagnose Budget",
    "error": "UndriftError",
}
_HOME = {name: place for place, names in _PLACES.items() for name in names.split()}
_MODULES = ("data", "inverse", "likelihood", "nn", "objective", "sampler", "target", "times")
__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"undrift.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"undrift.{name}")
    raise AttributeError(f"module 'undrift' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
