"""Samplers: from noise to data. Read `base` for the contract, then any one file."""

from undrift.sampler.ancestral import Ancestral
from undrift.sampler.base import Sampler, State
from undrift.sampler.langevin import AnnealedLangevin, Hold, Langevin, PredictorCorrector
from undrift.sampler.multistep import DPM2M
from undrift.sampler.ode import Heun
from undrift.sampler.run import sample
from undrift.sampler.sde import EulerMaruyama, ReverseDiffusion

__all__ = [
    "DPM2M",
    "Ancestral",
    "AnnealedLangevin",
    "EulerMaruyama",
    "Heun",
    "Hold",
    "Langevin",
    "PredictorCorrector",
    "ReverseDiffusion",
    "Sampler",
    "State",
    "sample",
]
