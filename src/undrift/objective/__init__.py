"""Objectives: what a network is trained to do. Each is called `(denoiser, x0, noise, cond) -> (B,)` losses."""

from undrift.objective.denoising import DenoisingScoreMatching, lognormal

__all__ = ["DenoisingScoreMatching", "lognormal"]
