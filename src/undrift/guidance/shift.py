"""The one formula of guidance by a likelihood: how the gradient of log p(y | x_t) shifts a prediction.

Bayes adds scores, `grad log p(x_t | y) = grad log p(x_t) + grad log p(y | x_t)`. In the two halves of a prediction that is

    data + sigma^2/alpha grad,      noise - sigma grad,      with x_t = alpha data + sigma noise kept.

At pure noise (alpha = 0) the gradient vanishes and the shift does not: the limit is that of `0/0`. But a sample with
`sigma/alpha = REACH`, in units of the data (`denoiser.unit`), is told from pure noise by nothing, so gradients are taken there
instead (`within_reach`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from undrift.denoiser import Prediction
from undrift.process import Process, as_time, expand

REACH = 80.0  # sigma/alpha beyond which a sample says nothing of data of unit spread; where the time grids end too


def within_reach(process: Process, x: Tensor, t: Tensor | float, reach: float = REACH) -> tuple[Tensor, Tensor]:
    """The sample where gradients are taken: `(x, t)` itself, or beyond `reach` the same sample at `sigma/alpha = reach`.

    Args:
        process: The noise.
        x: `(B, *D)` noisy samples.
        t: `()` or `(B,)` their times.
        reach: sigma/alpha, in the units of x; a network's gradient wants less of it than an exact one's.

    Returns:
        Samples `(B, *D)` and times, `()` or `(B,)` float64.
    """
    t = as_time(t, x)
    limit = torch.full_like(t, -2 * math.log(reach))
    beyond = process.log_snr(t) < limit - 1e-9
    if not bool(beyond.any()):
        return x, t
    near = torch.where(beyond, process.time(limit), t)
    (alpha, sigma), (alpha_near, sigma_near) = process(t), process(near)
    ratio = ((alpha_near**2 + sigma_near**2) / (alpha**2 + sigma**2)).sqrt()
    return expand(ratio, x) * x, near


def shifted(
    prediction: Prediction, process: Process, x: Tensor, t: Tensor | float, grad: Tensor, reach: float = REACH
) -> Prediction:
    """The prediction given y: `data + sigma^2/alpha grad`, `noise - sigma grad`; finite at alpha = 0 and at sigma = 0.

    Args:
        prediction: Of the samples, or of those within reach.
        process: The noise.
        x: `(B, *D)` noisy samples.
        t: `()` or `(B,)` their times.
        grad: `(B, *D)`, the gradient of log p(y | x_t) at the samples within reach.
        reach: As for `within_reach`.

    Source: Dhariwal & Nichol 2021, sec. 4.2 (its DDIM form); Chung et al. 2023, eq. 6.
    """
    t = as_time(t, x)
    (alpha, sigma), (alpha_near, sigma_near) = process(t), process(within_reach(process, x, t, reach)[1])
    data = prediction.data + expand(sigma_near**2 / alpha_near, x) * grad
    # Keep the half that is better determined, and let x_t = alpha data + sigma noise give the other.
    clean = expand((alpha > sigma).to(alpha), x).bool()
    alpha, sigma = expand(alpha, x), expand(sigma, x)
    by_sigma = torch.where(clean, 1.0, sigma).to(x.dtype)
    return Prediction(data, torch.where(clean, prediction.noise - sigma * grad, (x - alpha * data) / by_sigma))
