"""The API reference, in the order in which one reads: which public name is on which page. `conf.py` writes the pages."""

from __future__ import annotations

from pathlib import Path

GROUPS: dict[str, tuple[str, str]] = {
    "Verbs": ("Train, load, save, look.", "fit train load save show sample evaluate diagnose Training Settings Picture Samples"),
    "Processes": (
        "The noise: a pair of functions alpha and sigma.",
        "Process VP VE SubVP Cosine Rectified Karras DDPM SMLD LinearSDE Learned",
    ),
    "Denoisers": (
        "From a noisy sample to what it was made of; score and velocity follow.",
        "Prediction Denoiser AnyDenoiser Given Rescaled Counted score_at velocity_at AnalyticVariance analytic_variance",
    ),
    "Exact laws": ("Laws whose denoiser is known in closed form.", "GaussianMixture Empirical"),
    "Randomness and conditions": ("Noise with addresses; what a network may be told.", "Noise Condition"),
    "Objectives": (
        "What a network is trained on.",
        "DenoisingScoreMatching Distillation ExplicitScoreMatching ImplicitScoreMatching SlicedScoreMatching VariationalBound "
        "HybridObjective ScheduleVariance",
    ),
    "Samplers": (
        "From noise to data, step by step.",
        "State Sampler Ancestral EulerMaruyama ReverseDiffusion Churn Euler Heun Midpoint RungeKutta Adaptive ABM DPM2S DPM2M DPM3M UniPC "
        "DEIS PLMS VelocityAB SDEDPM2M SASolver Adams Langevin Metropolis AnnealedLangevin PredictorCorrector Printed Renoise RePaint fit_grid",
    ),
    "Guidance": (
        "Denoisers that wrap denoisers.",
        "Mix Compose Interval Tilt NoisyClassifier class_log_prob Edit clip dynamic_threshold load_classifier",
    ),
    "Imputation and inverse problems": ("What is known of a sample, and what it may have been.", "Known impute Posterior smc"),
    "Likelihood": (
        "How likely data are, and the way to latents and back.",
        "log_likelihood LikelihoodResult Dequantize encode decode interpolate Bound Bins variational_bound",
    ),
    "Models": (
        "A denoiser with the spec of its data.",
        "Model Guidance Sampling Cascade load_cascade Judgement Budget UndriftError export",
    ),
}
MODULES = (
    "target", "times", "condition", "solver", "imputation", "inverse", "nn", "data", "recipe", "training", "metrics", "evaluation", "tuning",
    "diagnosis", "plot", "study", "error",
)  # fmt: skip


def slug(name: str) -> str:
    """The file of a group."""
    return name.lower().replace(" ", "_")


def write(folder: Path) -> None:
    """Write a page for each group, and one of them all."""
    import undrift

    folder.mkdir(exist_ok=True)
    pages = {}
    for name, (what, names) in GROUPS.items():
        parts = [name, "=" * len(name), "", what, ""]
        for each in names.split():
            thing = getattr(undrift, each)
            kind = "autoclass" if isinstance(thing, type) else "autofunction"
            parts += [each, "-" * len(each), "", f".. {kind}:: undrift.{each}", ""]
        pages[slug(name)] = "\n".join(parts)
    rest = ["Modules", "=======", "", "What else there is, module by module.", ""]
    for module in MODULES:
        first = (getattr(undrift, module).__doc__ or "").strip().splitlines()[0]
        rest += [f"``undrift.{module}``", f"    {first.replace('`', '``').replace('*', chr(92) + '*')}", ""]
    pages["modules"] = "\n".join(rest)
    listed = "\n".join(f"    {page}" for page in pages)
    pages["index"] = (
        f"API\n===\n\nEvery public name, in the order in which one reads.\n\n.. toctree::\n    :maxdepth: 2\n\n{listed}\n"
    )
    for page, text in pages.items():
        place = folder / f"{page}.rst"
        if not place.is_file() or place.read_text(encoding="utf-8") != text:
            place.write_text(text, encoding="utf-8")
