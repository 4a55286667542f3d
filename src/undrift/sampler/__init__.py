"""Samplers: from noise to data. Read `base` for the contract, then any one file."""

from undrift.sampler.ancestral import Ancestral
from undrift.sampler.base import Sampler, State
from undrift.sampler.fit import fit_grid
from undrift.sampler.langevin import AnnealedLangevin, Hold, Langevin, Metropolis, PredictorCorrector
from undrift.sampler.multistep import ABM, DEIS, DPM2M, DPM3M, PLMS, SDEDPM2M, Adams, SASolver, UniPC, VelocityAB
from undrift.sampler.ode import DPM2S, Adaptive, Euler, Heun, Midpoint, RungeKutta
from undrift.sampler.printed import Printed
from undrift.sampler.renoise import Renoise
from undrift.sampler.repaint import RePaint
from undrift.sampler.run import as_grid, batches, laid_out, sample
from undrift.sampler.sde import Churn, EulerMaruyama, ReverseDiffusion

__all__ = [
    "ABM",
    "DEIS",
    "DPM2M",
    "DPM2S",
    "DPM3M",
    "PLMS",
    "SDEDPM2M",
    "Adams",
    "Adaptive",
    "Ancestral",
    "AnnealedLangevin",
    "Churn",
    "Euler",
    "EulerMaruyama",
    "Heun",
    "Hold",
    "Langevin",
    "Metropolis",
    "Midpoint",
    "PredictorCorrector",
    "Printed",
    "RePaint",
    "Renoise",
    "ReverseDiffusion",
    "RungeKutta",
    "SASolver",
    "Sampler",
    "State",
    "UniPC",
    "VelocityAB",
    "as_grid",
    "batches",
    "fit_grid",
    "laid_out",
    "sample",
]
