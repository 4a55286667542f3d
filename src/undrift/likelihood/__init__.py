"""Likelihood and latents: what the flow says about given data. Read `flow` for the coordinates, then `density`, `latent`."""

from undrift.likelihood.density import Dequantize, LikelihoodResult, bits_per_dim, log_likelihood
from undrift.likelihood.latent import decode, encode, interpolate, round_trip
from undrift.solver import BOSH3, DOPRI5, HEUN, RK4, SOLVERS, Solver, Tableau

__all__ = [
    "BOSH3",
    "DOPRI5",
    "HEUN",
    "RK4",
    "SOLVERS",
    "Dequantize",
    "LikelihoodResult",
    "Solver",
    "Tableau",
    "bits_per_dim",
    "decode",
    "encode",
    "interpolate",
    "log_likelihood",
    "round_trip",
]
