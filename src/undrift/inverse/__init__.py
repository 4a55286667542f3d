"""Inverse problems: measurement operators, samples given a measurement, and particles that make them exact."""

from undrift.inverse.method import DPS, MMPS, TMPD, DiffPIR, PiGDM
from undrift.inverse.operator import Operator, blur, downsample, greyscale, mask, matrix, project
from undrift.inverse.particles import Particles, smc
from undrift.inverse.posterior import Observation, Posterior

__all__ = [
    "DPS", "MMPS", "TMPD", "DiffPIR", "Observation", "Operator", "Particles", "PiGDM", "Posterior", "blur", "downsample",
    "greyscale", "mask", "matrix", "project", "smc",
]  # fmt: skip
