"""Targets: what a network is asked to output.

A target is a pair of coefficients (a, b), functions of time; the network estimates `a x_0 + b eps`. With
`x_t = alpha x_0 + sigma eps` that is a second equation for the two unknowns, so any target gives data and noise
(`solve`), and the error of one target is the error of another times a number (`determinant`).

    target     a          b          determinant alpha b - sigma a
    data       1          0          -sigma                          blind where sigma = 0
    noise      0          1          alpha                           blind where alpha = 0
    score      0          -1/sigma   -alpha/sigma                    blind where alpha = 0
    velocity   alpha'     sigma'     alpha sigma' - sigma alpha'     the flow dx/dt
    v          -sigma     alpha      alpha^2 + sigma^2               never blind
    karras     see below             -sqrt(alpha^2 s^2 + sigma^2)/s  never blind, unit variance

"Blind" means that there the output says nothing about the data, however good the network: the reason to prefer v and
karras. Sources: Ho et al. 2020 (noise), Salimans & Ho 2022 (v), Lipman et al. 2023 (velocity), Karras et al. 2022 (karras).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from undrift.process import Process

Target = Callable[[Process, Tensor], tuple[Tensor, Tensor]]


def data(process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
    """The clean sample x_0."""
    return torch.ones_like(t), torch.zeros_like(t)


def noise(process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
    """The noise eps (Ho et al. 2020, eq. 14)."""
    return torch.zeros_like(t), torch.ones_like(t)


def score(process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
    """The score of the noised data, whose regression target is -eps/sigma (Vincent 2011, eq. 4.4)."""
    return torch.zeros_like(t), -1 / process.sigma(t)


def velocity(process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
    """The velocity of the probability flow, alpha' x_0 + sigma' eps (Lipman et al. 2023, eq. 23)."""
    return process.rates(t)


def v(process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
    """v = alpha eps - sigma x_0 (Salimans & Ho 2022, app. D)."""
    return -process.sigma(t), process.alpha(t)


def karras(sigma_data: float = 1.0) -> Target:
    """EDM's F: the unit-variance combination left when c_skip x is taken from x_0 (Karras et al. 2022, eq. 7, app. B.6).

    Args:
        sigma_data: Standard deviation of the data in model space.
    """
    if not sigma_data > 0:
        raise ValueError(f"`sigma_data` is a standard deviation and must be positive, got {sigma_data}.")
    return partial(_karras, sigma_data=float(sigma_data))


def _karras(process: Process, t: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:
    alpha, sigma = process(t)
    scale = (sigma**2 + (alpha * sigma_data) ** 2).sqrt()
    return sigma / (sigma_data * scale), -alpha * sigma_data / scale


def determinant(target: Target, process: Process, t: Tensor) -> Tensor:
    """alpha b - sigma a, of the shape of `t`: how strongly the target's output bears on the data and the noise."""
    (alpha, sigma), (a, b) = process(t), target(process, t)
    return alpha * b - sigma * a


def solve(target: Target, process: Process, t: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Coefficients that turn (x_t, output) into data and noise, each of the shape of `t`.

    Returns:
        `((p, q), (r, w))` with `data = p x_t + q output` and `noise = r x_t + w output`, the solution of
        `x_t = alpha data + sigma noise`, `output = a data + b noise`.
    """
    (alpha, sigma), (a, b) = process(t), target(process, t)
    if target is score:  # multiplied through by sigma, so that sigma = 0 gives noise 0 and not 0/0
        return (1 / alpha, sigma**2 / alpha), (torch.zeros_like(t), -sigma)
    if target is data:  # the general form has 0/0 where sigma = 0
        return (torch.zeros_like(t), torch.ones_like(t)), (1 / sigma, -alpha / sigma)
    det = alpha * b - sigma * a
    return (b / det, -sigma / det), (-a / det, alpha / det)
