"""undrift: score-based diffusion models. One Gaussian process, one denoiser, every view of it.

The names below are the public ones, in the order in which to read about them. They are imported when first used, so that
the command line can answer `--help` without loading torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from undrift import (
        bound as bound,
        cascade as cascade,
        condition as condition,
        data as data,
        denoiser as denoiser,
        diagnosis as diagnosis,
        error as error,
        evaluation as evaluation,
        exact as exact,
        formats as formats,
        guidance as guidance,
        imputation as imputation,
        inverse as inverse,
        likelihood as likelihood,
        metrics as metrics,
        model as model,
        nn as nn,
        noise as noise,
        objective as objective,
        plot as plot,
        process as process,
        recipe as recipe,
        reverse as reverse,
        run as run,
        sampler as sampler,
        solver as solver,
        study as study,
        target as target,
        times as times,
        training as training,
        tuning as tuning,
    )
    from undrift.asked import (
        Guidance as Guidance,
        Sampling as Sampling,
    )
    from undrift.bound import (
        Bins as Bins,
        Bound as Bound,
        variational_bound as variational_bound,
    )
    from undrift.cascade import (
        Cascade as Cascade,
        load_cascade as load_cascade,
    )
    from undrift.condition import (
        Condition as Condition,
    )
    from undrift.denoiser import (
        AnyDenoiser as AnyDenoiser,
        Counted as Counted,
        Denoiser as Denoiser,
        Given as Given,
        Prediction as Prediction,
        Rescaled as Rescaled,
        score_at as score_at,
        velocity_at as velocity_at,
    )
    from undrift.diagnosis import (
        Budget as Budget,
        diagnose as diagnose,
    )
    from undrift.error import (
        UndriftError as UndriftError,
    )
    from undrift.evaluation.evaluate import evaluate as evaluate
    from undrift.evaluation.judgement import Judgement as Judgement
    from undrift.exact import (
        Empirical as Empirical,
        GaussianMixture as GaussianMixture,
    )
    from undrift.formats.export import export as export
    from undrift.guidance import (
        Compose as Compose,
        Edit as Edit,
        Interval as Interval,
        Mix as Mix,
        NoisyClassifier as NoisyClassifier,
        Tilt as Tilt,
        class_log_prob as class_log_prob,
        clip as clip,
        dynamic_threshold as dynamic_threshold,
    )
    from undrift.imputation import (
        Known as Known,
        impute as impute,
    )
    from undrift.inverse import (
        Posterior as Posterior,
        smc as smc,
    )
    from undrift.likelihood import (
        Dequantize as Dequantize,
        LikelihoodResult as LikelihoodResult,
        decode as decode,
        encode as encode,
        interpolate as interpolate,
        log_likelihood as log_likelihood,
    )
    from undrift.model import (
        Model as Model,
    )
    from undrift.model_file import (
        load as load,
        save as save,
    )
    from undrift.noise import (
        Noise as Noise,
    )
    from undrift.noisy_classifier import (
        load_classifier as load_classifier,
    )
    from undrift.objective import (
        DenoisingScoreMatching as DenoisingScoreMatching,
        Distillation as Distillation,
        ExplicitScoreMatching as ExplicitScoreMatching,
        HybridObjective as HybridObjective,
        ImplicitScoreMatching as ImplicitScoreMatching,
        ScheduleVariance as ScheduleVariance,
        SlicedScoreMatching as SlicedScoreMatching,
        VariationalBound as VariationalBound,
    )
    from undrift.plot.show import (
        Picture as Picture,
        Samples as Samples,
        show as show,
    )
    from undrift.process import (
        DDPM as DDPM,
        SMLD as SMLD,
        VE as VE,
        VP as VP,
        Cosine as Cosine,
        Karras as Karras,
        Learned as Learned,
        LinearSDE as LinearSDE,
        Process as Process,
        Rectified as Rectified,
        SubVP as SubVP,
    )
    from undrift.reverse import (
        AnalyticVariance as AnalyticVariance,
        analytic_variance as analytic_variance,
    )
    from undrift.sampler import (
        ABM as ABM,
        DEIS as DEIS,
        DPM2M as DPM2M,
        DPM2S as DPM2S,
        DPM3M as DPM3M,
        PLMS as PLMS,
        SDEDPM2M as SDEDPM2M,
        Adams as Adams,
        Adaptive as Adaptive,
        Ancestral as Ancestral,
        AnnealedLangevin as AnnealedLangevin,
        Churn as Churn,
        Euler as Euler,
        EulerMaruyama as EulerMaruyama,
        Heun as Heun,
        Langevin as Langevin,
        Metropolis as Metropolis,
        Midpoint as Midpoint,
        PredictorCorrector as PredictorCorrector,
        Printed as Printed,
        Renoise as Renoise,
        RePaint as RePaint,
        ReverseDiffusion as ReverseDiffusion,
        RungeKutta as RungeKutta,
        Sampler as Sampler,
        SASolver as SASolver,
        State as State,
        UniPC as UniPC,
        VelocityAB as VelocityAB,
        fit_grid as fit_grid,
        sample as sample,
    )
    from undrift.training.fit import (
        Training as Training,
        fit as fit,
    )
    from undrift.training.session import (
        train as train,
    )
    from undrift.training.settings import (
        Settings as Settings,
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
    "DPM3M UniPC DEIS PLMS VelocityAB SDEDPM2M SASolver Adams Langevin Metropolis AnnealedLangevin PredictorCorrector Printed Renoise RePaint sample fit_grid",
    "guidance": "Mix Compose Interval Tilt NoisyClassifier class_log_prob Edit clip dynamic_threshold",
    "imputation": "Known impute",
    "inverse": "Posterior smc",
    "likelihood": "log_likelihood LikelihoodResult Dequantize encode decode interpolate",
    "asked": "Guidance Sampling",
    "plot.show": "Picture Samples show",
    "model": "Model",
    "model_file": "load save",
    "formats.export": "export",
    "training.fit": "fit Training",
    "training.settings": "Settings",
    "training.session": "train",
    "noisy_classifier": "load_classifier",
    "cascade": "Cascade load_cascade",
    "evaluation.evaluate": "evaluate",
    "evaluation.judgement": "Judgement",
    "diagnosis": "diagnose Budget",
    "error": "UndriftError",
}
_HOME = {name: place for place, names in _PLACES.items() for name in names.split()}
_MODULES = (
    "process", "target", "denoiser", "times", "noise", "condition", "exact", "reverse", "objective", "bound", "solver", "sampler",
    "guidance", "imputation", "inverse", "likelihood", "nn", "data", "recipe", "model", "cascade", "run", "formats", "metrics", "evaluation",
    "tuning", "diagnosis", "training", "plot", "study", "error",
)  # fmt: skip
__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"undrift.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"undrift.{name}")
    raise AttributeError(f"module 'undrift' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
