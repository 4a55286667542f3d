"""Five approximations of grad log p(y | x_t): what is assumed about p(x_0 | x_t), whose mean alone the denoiser knows.

With p(x_0 | x_t) = N(m, C), m the denoised mean and J its derivative, the likelihood of y = A x_0 + noise_std n is Gaussian,

    grad log p(y | x_t) = J^T A^T (noise_std^2 I + A C A^T)^-1 (y - A m),

and the methods differ in C. Where A is not linear it is replaced by its slope at m. Options that are not positive raise ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from undrift.argument import real, whole
from undrift.inverse.posterior import View
from undrift.process.base import like


@dataclass(frozen=True)
class MMPS:
    """Moment matching: C = sigma^2/alpha J, the true covariance (Tweedie); the system by minimal residuals.

    Exact where p(x_0) is Gaussian. Costs one evaluation and `iterations + 1` products with J^T. Well calibrated on mixtures: the
    central 50 and 90 % of its draws hold the truth in 43-52 and 84-90 %; 0.95 to 1.8 times the floor of exact samples away.

    Args:
        iterations: Of `minimal_residual`, at least 1; exact once there are as many as measured values. (The paper has
            conjugate gradients; a network's J is not symmetric, which they do not forgive.)

    Source: Rozet et al. 2024, eq. 15-18 and Algorithm 2.
    """

    through: ClassVar[bool] = True
    iterations: int = 5

    def __post_init__(self) -> None:
        positive("MMPS", iterations=self.iterations)

    def __call__(self, view: View) -> Tensor:
        def system(u: Tensor) -> Tensor:
            return view.noise_std**2 * u + view.covariance(u)

        return view.back(minimal_residual(system, view.residual, self.iterations))


@dataclass(frozen=True)
class TMPD:
    """Tweedie moments, projected: `A C A^T` of the true covariance is replaced by the diagonal of its row sums.

    Right where measured values are uncorrelated given x_t; row sums below zero count as zero. One evaluation, two products.
    Badly calibrated where they are correlated and the noise is low: on a blurred 8-D mixture at noise 0.05 its draws lie 9.8
    times the floor of exact samples away (random projections: 5.8); else as `MMPS`.

    Source: Boys et al. 2023, sec. 3 (DTMPD).
    """

    through: ClassVar[bool] = True

    def __call__(self, view: View) -> Tensor:
        sums = view.covariance(torch.ones_like(view.residual)).clamp(min=0)
        return view.back(view.residual / (view.noise_std**2 + sums))


@dataclass(frozen=True)
class PiGDM:
    """Pseudo-inverse guidance: C = r^2 I, r^2 = v s^2 / (v + s^2) with s = sigma/alpha.

    Exact where p(x_0) = N(mean, v I). One evaluation, one product. Well calibrated on mixtures of unit spread: the central 50
    and 90 % of its draws hold the truth in 44-52 and 84-90 %; 1.0 to 2.0 times the floor of exact samples away.

    Args:
        variance: v, of an entry of the data in model space.
        iterations: Of conjugate gradients on `noise_std^2 I + r^2 A A^T`, which need no network.

    Source: Song et al. 2023, eq. 7-8 (v = 1; the noisy case).
    """

    through: ClassVar[bool] = True
    variance: float = 1.0
    iterations: int = 20

    def __post_init__(self) -> None:
        positive("PiGDM", variance=self.variance, iterations=self.iterations)

    def __call__(self, view: View) -> Tensor:
        r2 = self.variance * view.sigma**2 / (self.variance * view.alpha**2 + view.sigma**2)

        def system(u: Tensor) -> Tensor:
            return view.noise_std**2 * u + times(r2, view.gram(u))

        return view.back(conjugate_gradients(system, view.residual, self.iterations))


@dataclass(frozen=True)
class DPS:
    """Diffusion posterior sampling: C = 0, with the step divided by the residual.

    `grad = strength J^T A^T (y - A m) / (noise_std |y - A m| / sqrt(n))` for n measured values: at strength 1 the
    gradient of log N(y; A m, noise_std^2 I) once the residual is as large as the noise, and weaker before, which is the
    paper's zeta / |y - A m| in a form that does not depend on the sampler's steps. One evaluation, one product.

    Badly calibrated, overconfident: on mixtures at noise 0.05 the central 50 and 90 % of its draws hold the truth in 21-38 and
    59-80 % only (at noise 0.5 in 36-49 and 81-85 %). Its draws are plausible; their spread is not the uncertainty.

    Args:
        strength: Positive.

    Source: Chung et al. 2023, Algorithm 1 and app. C.2 (the division by the residual).
    """

    through: ClassVar[bool] = True
    strength: float = 1.0

    def __post_init__(self) -> None:
        positive("DPS", strength=self.strength)

    def __call__(self, view: View) -> Tensor:
        flat = view.residual.flatten(1)
        rms = (flat.square().mean(1) + 1e-30).sqrt().view(-1, *[1] * (view.residual.ndim - 1))
        return view.back(self.strength * view.residual / (view.noise_std * rms))


@dataclass(frozen=True)
class DiffPIR:
    """Plug-and-play: the denoised mean is moved to where it and y agree, `argmin |y - A x|^2 / noise_std^2 + |x - m|^2 / r^2`.

    `r^2 = sigma^2 / (weight alpha^2)`; J is not used. So C = r^2 I, which knows nothing of the prior, and no network is
    differentiated: one evaluation. On mixtures the central 50 and 90 % of its draws hold the truth in 43-51 and 84-90 %, but
    they lie 1.4 to 2.6 times the floor of exact samples away (0.95 where a blur leaves little to guess).

    Args:
        weight: The paper's lambda, positive: above 1 trusts the denoiser more.
        iterations: Of conjugate gradients on the system, which need no network.

    Source: Zhu et al. 2023, eq. 12-13 and Algorithm 1.
    """

    through: ClassVar[bool] = False
    weight: float = 1.0
    iterations: int = 20

    def __post_init__(self) -> None:
        positive("DiffPIR", weight=self.weight, iterations=self.iterations)

    def __call__(self, view: View) -> Tensor:
        variance = view.sigma**2  # the system times alpha^2 weight, so that it is finite at both ends
        unit = self.weight * (view.noise_std * view.alpha) ** 2

        def system(u: Tensor) -> Tensor:
            return times(unit, u) + times(variance, view.gram(u))

        u = conjugate_gradients(system, view.residual, self.iterations)
        return view.alpha.to(view.data) * view.adjoint(u)


def positive(method: str, **options: float) -> None:
    """Raises ValueError for an option of a method that is not positive and finite."""
    for name, value in options.items():
        real(value, name, finite=False)
        if name == "iterations":
            whole(value, name)
        if not 0 < value < math.inf:
            raise ValueError(f"`{name}` of {method} must be positive and finite, got {value}.")


def times(scale: Tensor, u: Tensor) -> Tensor:
    """A coefficient, `()` or `(B, 1, ...)`, times measurements `(B, *Y)` of any number of axes."""
    return like(scale, u) * u if scale.ndim == 0 else scale.to(u).view(-1, *[1] * (u.ndim - 1)) * u


def conjugate_gradients(system: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    """`system^-1 b` for a symmetric positive definite system, row by row.

    A row stops by itself: when it is solved to rounding, or at a direction without curvature, with what it has by then.

    Args:
        system: `(B, *Y)` to `(B, *Y)`, linear, rows apart.
        b: `(B, *Y)`.
        iterations: At most.

    Source: Hestenes & Stiefel 1952.
    """
    x, rest, way = torch.zeros_like(b), b, b
    square = start = _dot(rest, rest)
    for _ in range(iterations):
        image = system(way)
        curvature = _dot(way, image)
        go = (curvature > 0) & (square > start * torch.finfo(b.dtype).eps ** 2)
        if not bool(go.any()):
            break
        length = torch.where(go, square / torch.where(go, curvature, 1.0), 0.0)
        x, rest = x + length * way, rest - length * image
        last, square = square, _dot(rest, rest)
        way = torch.where(go, rest + square / torch.where(go, last, 1.0) * way, way)
    return x


def minimal_residual(system: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    """The u of the Krylov space of `b` with the smallest `|b - system u|`, row by row, for any linear system.

    Arnoldi's basis v_0 = b/|b|, v_1, ... is orthonormal with `system V = V' H`, so the small problem is `min |H z - |b| e_0|`.

    Args:
        system: `(B, *Y)` to `(B, *Y)`, linear, rows apart.
        b: `(B, *Y)`.
        iterations: The dimension of the space; no more than entries of a row are used.

    Source: Saad & Schultz 1986 (GMRES).
    """
    iterations = min(iterations, b[0].numel())
    size = _dot(b, b).sqrt()
    basis = [b / size.clamp(min=1e-30)]
    columns = []
    for k in range(iterations):
        w = system(basis[k])
        scale, entries = _dot(w, w).sqrt(), []
        for v in basis:
            entries.append(_dot(w, v))
            w = w - entries[-1] * v
        rest = _dot(w, w).sqrt()
        rest = torch.where(rest > 10 * torch.finfo(b.dtype).eps * scale, rest, 0.0)  # the space is whole: no direction is left
        basis.append(torch.where(rest > 0, w / torch.where(rest > 0, rest, 1.0), 0.0))
        zeros = [torch.zeros_like(rest)] * (iterations - k - 1)
        columns.append(torch.stack([*entries, rest, *zeros], -1).flatten(1).double())
    h = torch.stack(columns, 2)  # (B, iterations + 1, iterations)
    normal = h.mT @ h
    ridge = 1e-14 * normal.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] + 1e-60  # columns of a whole space are zero
    right = h[:, 0, :, None] * size.flatten(1).double()[..., None]
    z = torch.linalg.solve(normal + ridge * torch.eye(iterations, dtype=h.dtype, device=h.device), right)[..., 0].to(b)
    return torch.stack([z[:, k].view_as(size) * v for k, v in enumerate(basis[:-1])]).sum(0)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """`(B, *Y)` twice to `(B, 1, ..., 1)`."""
    return (a * b).flatten(1).sum(1).view(-1, *[1] * (a.ndim - 1))
