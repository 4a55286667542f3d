"""Is the learnt field a score at all? Two properties of every exact one, measured where it is used.

*Conservative.* A score is a gradient, so its Jacobian is symmetric; that of the data prediction, `alpha/sigma^2 Cov(x_0 | x_t)`, is
too. With independent probes u, v of unit covariance, `E (u'Jv - v'Ju)^2 = |J - J'|^2` and `E |J'u|^2 = |J|^2` (Frobenius): two
vector-Jacobian products for each sample. The asymmetry `|J - J'| / (2 |J|)` is 0 for a gradient and 1 for a pure rotation.

*Of one law at all times.* The scores of noised data obey the Fokker-Planck equation (Lai et al. 2023, FP-Diffusion). Seen in y = x/alpha, at
noise level rho = sigma/alpha, it is the heat equation, and for the score s of y

    d s / d rho^2 = grad(div s + |s|^2) / 2.

The residual is the difference of the two sides over the root of the sum of their squares: 0 for a score. It takes d + 1 backward
passes, so it is left out in more than 32 dimensions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from undrift.denoiser import AnyDenoiser, score_at
from undrift.diagnosis.measure import Number
from undrift.likelihood.divergence import draw_probes
from undrift.metrics.estimate import jackknife
from undrift.noise import Noise
from undrift.process import Karras

AFFORDABLE = 32  # entries of a sample up to which the residual is measured
_STEP = 0.01  # of the central difference, relative to rho: its own error is about 1e-4


def asymmetry(denoiser: AnyDenoiser, x: Tensor, t: Tensor, noise: Noise) -> Number:
    """`|J - J'| / (2 |J|)` of the data prediction over samples `x` `(B, *D)` at times `t` `(B,)`; 0 of a field without slope."""
    u, v = draw_probes(noise, x, 2, "gaussian")
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        data = denoiser(x, t).data
        left, right = (torch.autograd.grad(data, x, w, retain_graph=True, materialize_grads=True)[0] for w in (u, v))
    skew = ((left * v).flatten(1).sum(1) - (right * u).flatten(1).sum(1)).double().square()
    size = (left.double().square() + right.double().square()).flatten(1).sum(1) / 2
    return _root(skew, 4 * size)


def residual(denoiser: AnyDenoiser, x: Tensor, t: Tensor) -> Number:
    """How far the field is from the Fokker-Planck equation, from 0 to about 1; arguments as for `asymmetry`."""
    process = denoiser.process
    alpha, sigma = process(t)
    rho = sigma / alpha
    seen = denoiser.using(Karras(t_min=float(rho.min()) / 2, t_max=2 * float(rho.max())))
    y = x / alpha.to(x).reshape(-1, *[1] * (x.ndim - 1))
    with torch.no_grad():
        ends = [score_at(seen, y, rho * (1 + h)) for h in (_STEP, -_STEP)]
    scale = (2 * rho**2).to(y).reshape(-1, *[1] * (y.ndim - 1))  # d rho^2 = 2 rho^2 d log rho
    change = (ends[0] - ends[1]) / (2 * _STEP) / scale
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        score = score_at(seen, y, rho)
        divergence = torch.zeros_like(score.flatten(1)[:, 0])
        for i, column in enumerate(score.flatten(1).unbind(1)):
            slope = torch.autograd.grad(column.sum(), y, create_graph=True, materialize_grads=True)[0]
            divergence = divergence + slope.flatten(1)[:, i]
        total = (divergence + score.square().flatten(1).sum(1)).sum()
        wanted = torch.autograd.grad(total, y, materialize_grads=True)[0].detach() / 2
    weight = rho.to(y).reshape(-1, *[1] * (y.ndim - 1)) ** 3  # makes a number of it
    parts = [(weight * a).double().square().flatten(1).sum(1) for a in (change - wanted, change, wanted)]
    return _root(parts[0], parts[1] + parts[2])


def _root(above: Tensor, below: Tensor) -> Number:
    """The root of the ratio of two sums over examples, `(B,)` each, with the error of a jackknife; 0 where there is nothing below."""

    def root(kept: Tensor) -> float:
        size = below[kept].sum()
        return float((above[kept].sum() / size).sqrt()) if size > 0 else 0.0

    if len(above) < 20:
        return Number(root(torch.arange(len(above))), math.inf)
    estimate = jackknife(root, len(above))
    return Number(estimate.value, estimate.standard_error)
