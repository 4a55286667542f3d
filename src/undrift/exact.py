"""Exact denoisers: laws whose denoiser is known in closed form, at every time, under every process.

Noised, a Gaussian mixture is a Gaussian mixture again: component k of `sum_k w_k N(m_k, C_k)` becomes
`N(alpha m_k, alpha^2 C_k + sigma^2 I)`. So data, noise, score, density and class posterior are all exact
(one Gaussian: the Wiener filter; several: weighted by their posterior probabilities). Every algorithm of the library is
tested on these before a network is trained.

A finite data set is the mixture with covariance zero, `Empirical`: the minimiser of the denoising loss over all functions,
so what a network that memorises converges to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from undrift.argument import batch, tensor, whole, wholes
from undrift.condition import labels_of
from undrift.denoiser import AnyDenoiser, Prediction, time_within
from undrift.noise import Noise
from undrift.process import VP, Process, checked, expand


class GaussianMixture(AnyDenoiser):
    """The exact denoiser of `sum_k w_k N(m_k, C_k)`.

    Args:
        means: `(K, *D)`, data units.
        covs_or_stds: A number or `(K,)` standard deviations (isotropic, zero allowed), or `(K, d, d)` covariance
            matrices over the `d` flattened entries of a sample.
        weights: `(K,)` positive, normalised here. Default: equal.
        process: The noise.
        labels: `(K,)` class of each component, 0 to C-1. Default: each component its own class.

    Raises:
        ValueError: shapes that do not fit, negative standard deviations, a covariance that is not symmetric and
            positive semi-definite, weights that are not positive, a process that is none (`process.checked`).

    Attributes:
        sigma_data: Standard deviation about the mean, over all entries: the root of the covariance's trace over d; 1 for one point.
    """

    def about(self) -> str:
        count, shape = len(self.means), " x ".join(map(str, self.shape or ()))
        what = "points" if isinstance(self, Empirical) else "component" if count == 1 else "components"
        return f"{count:,} {what} of shape {shape}, {self.process!r}"

    def _repr_png_(self) -> bytes | None:  # what a notebook shows; drawing is no part of the core
        found: bytes | None = import_module("undrift.plot.show").of_law(self)
        return found

    def __init__(
        self,
        means: Tensor | Sequence[Any],
        covs_or_stds: Tensor | Sequence[Any] | float,
        weights: Tensor | Sequence[float] | None = None,
        process: Process | None = None,
        labels: Tensor | Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        means, spread = tensor(means, "means", torch.float64), tensor(covs_or_stds, "covs_or_stds", torch.float64)
        for name, value in (("means", means), ("covs_or_stds", spread)):
            if not bool(torch.isfinite(value).all()):
                raise ValueError(f"`{name}` must be finite.")
        if means.ndim < 2 or not len(means):
            raise ValueError(f"`means` must be (K, *D) with at least one component, got shape {tuple(means.shape)}.")
        count, self.shape, means = len(means), tuple(means.shape[1:]), means.flatten(1)
        spread = spread.to(means.device)  # all on one device: that of the means
        dim = means.shape[1]
        if spread.ndim < 2 and spread.numel() in (1, count):
            if not bool((spread >= 0).all()):
                raise ValueError("standard deviations must not be negative.")
            variance, basis = spread.square().expand(count)[:, None], None
        elif spread.shape == (count, dim, dim):
            variance, basis = torch.linalg.eigh(spread)
            if not torch.allclose(spread, spread.mT) or bool((variance < -1e-9 * variance.abs().max()).any()):
                raise ValueError("covariances must be symmetric and positive semi-definite.")
            variance = variance.clamp(min=0)
        else:
            raise ValueError(
                f"`covs_or_stds` must be a number, ({count},) or ({count}, {dim}, {dim}), got shape {tuple(spread.shape)}."
            )
        weight = torch.ones(count, dtype=torch.float64) if weights is None else tensor(weights, "weights", torch.float64)
        label = torch.arange(count) if labels is None else wholes(labels, "labels")
        weight, label = weight.to(means.device), label.to(means.device)
        if weight.shape != (count,) or not bool(((weight > 0) & torch.isfinite(weight)).all()):
            raise ValueError(f"`weights` must be {count} positive numbers.")
        if label.shape != (count,) or bool((label < 0).any()):
            raise ValueError(f"`labels` must be {count} class numbers from 0.")
        if len(set(label.tolist())) <= int(label.max()):
            raise ValueError(f"`labels` must use every class from 0 to {int(label.max())}.")
        self.process = VP() if process is None else checked(process)
        self.classes = int(label.max()) + 1
        self.means: Tensor
        self.variance: Tensor  # (K, 1) isotropic, or (K, d) eigenvalues
        self.basis: Tensor | None  # (K, d, d) eigenvectors in columns
        self.log_weights: Tensor
        self.labels: Tensor
        self.register_buffer("means", means)
        self.register_buffer("variance", variance)
        self.register_buffer("basis", basis)
        self.register_buffer("log_weights", weight.log().log_softmax(0))
        self.register_buffer("labels", label)
        share = self.log_weights.exp()
        between = (share[:, None] * (means - share @ means).square()).sum() / dim
        self.sigma_data = float((between + (share * variance.mean(1)).sum()).sqrt()) or 1.0

    def forward(self, x: Tensor, t: Tensor | float, cond: Any = None) -> Prediction:
        """The exact `Prediction` at `x` `(B, *D)`; `cond` `(B,)` class numbers, -1 for any, restricts the mixture."""
        alpha, sigma = self._scales(x, t)
        joint, total, gap = self._parts(x, alpha, sigma, cond)
        share = joint.softmax(1)
        # Component k: data = m + alpha C total^-1 gap, noise = sigma total^-1 gap. Both finite for any alpha, sigma, C.
        if gap is None:
            pull = share / total
            flat = x.flatten(1).double()
            whitened = pull.sum(1, keepdim=True) * flat - alpha * _mix(pull, self.means)
            gain = (pull * self.variance[:, 0]).sum(1, keepdim=True)
            kept = share - alpha**2 * pull * self.variance[:, 0]
            data = _mix(kept, self.means) + alpha * gain * flat
        else:
            assert self.basis is not None
            scaled = gap / total
            whitened = (share[..., None] * _rotate(self.basis, scaled)).sum(1)
            shifted = self.means + alpha[..., None] * _rotate(self.basis, self.variance * scaled)
            data = (share[..., None] * shifted).sum(1)
        return Prediction(data.to(x.dtype).view_as(x), (sigma * whitened).to(x.dtype).view_as(x))

    def log_prob(self, x: Tensor, t: Tensor | float | None = None, cond: Any = None) -> Tensor:
        """log p_t(x) in nats, `(B,)` float64; `t=None` is the clean law itself."""
        return self._parts(x, *self._scales(x, t), cond)[0].logsumexp(1)

    def posterior(self, x: Tensor, t: Tensor | float | None = None) -> Tensor:
        """Class probabilities p(y | x_t), `(B, C)` float64: what an optimal noisy classifier would say."""
        share = self._parts(x, *self._scales(x, t), None)[0].softmax(1)
        return share.new_zeros(len(x), self.classes).index_add_(1, self.labels, share)

    def sample(self, n: int, noise: Noise, t: Tensor | float | None = None) -> Tensor:
        """`(n, *D)` exact draws at time `t` (None: clean data), float64, one address of `noise` each."""
        whole(n, "n", 1)
        k = torch.searchsorted(self.log_weights.exp().cumsum(0), noise.fold("component").uniform(self.log_weights.new_empty(n)))
        return self.draw(k.clamp(max=len(self.means) - 1), noise, t)

    def draw(self, k: Tensor, noise: Noise, t: Tensor | float | None = None) -> Tensor:
        """Draws from given components `k` `(n,)`; otherwise as `sample`."""
        eps = noise.fold("spread").normal(self.means.new_empty(len(k), self.means.shape[1]))
        eps = self.variance[k].sqrt() * eps
        x = (self.means[k] + (eps if self.basis is None else _rotate(self.basis[k], eps))).view(len(k), *(self.shape or ()))
        return x if t is None else self.process.perturb(x, t, noise.fold("eps").normal(x))

    def conditional(self, values: Tensor, mask: Tensor) -> GaussianMixture:
        """The law of the missing entries of clean data given the known ones, again a mixture: the textbook formulas

            mean_k = m_U + G (v - m_K),  cov_k = C_UU - G C_KU,  weight_k ~ w_k N(v; m_K, C_KK),  G = C_UK C_KK^-1.

        Args:
            values: `(*D)`; only the known entries are read.
            mask: `(*D)` bool, True where known.

        Returns:
            A mixture over the `m` missing entries, flattened: shape `(m,)`, same components, labels and process.

        Raises:
            ValueError: another shape, a mask that is not bool or leaves nothing missing, known entries without spread.
        """
        if tuple(values.shape) != self.shape or mask.shape != values.shape or mask.dtype != torch.bool or bool(mask.all()):
            raise ValueError(f"`values` and a bool `mask` must be {self.shape}, with something missing.")
        known, value = mask.flatten(), values.flatten().double()[mask.flatten()]
        basis = torch.eye(len(known), dtype=torch.float64).expand(len(self.means), -1, -1) if self.basis is None else self.basis
        cov = (basis * self.variance[:, None]) @ basis.mT
        across, within = cov[:, ~known][:, :, known], cov[:, known][:, :, known]
        if bool((torch.linalg.eigvalsh(within) <= 0).any()):
            raise ValueError("known entries without any spread have no density to condition on.")
        gain = torch.linalg.solve(within, across.mT).mT
        gap = value - self.means[:, known]
        spread = (gap * torch.linalg.solve(within, gap)).sum(1) + torch.logdet(within)
        weight = (self.log_weights - spread / 2).softmax(0).clamp(min=1e-300)
        means = self.means[:, ~known] + (gain * gap[:, None]).sum(-1)
        cov = cov[:, ~known][:, :, ~known] - gain @ across.mT
        return GaussianMixture(means, (cov + cov.mT) / 2, weight, self.process, self.labels)

    def given_observation(self, matrix: Tensor, y: Tensor, noise_std: float) -> GaussianMixture:
        """The exact posterior of `y = matrix x_0 + noise_std n`: a mixture again, each component by Kalman's formula.

            S = A C A^T + noise_std^2 I,   mean + C A^T S^-1 (y - A mean),   C - C A^T S^-1 A C,   weight N(y; A mean, S)

        Args:
            matrix: A, `(n, d)` on the `d` flattened entries of a sample.
            y: `(n,)`, one measurement.
            noise_std: Standard deviation of its noise, positive.

        Raises:
            ValueError: shapes that do not fit, noise that is not positive.
        """
        count, d = self.means.shape
        a, y = (torch.as_tensor(value, dtype=torch.float64).to(self.means) for value in (matrix, y))
        if a.ndim != 2 or a.shape[1] != d or y.shape != a.shape[:1]:
            raise ValueError(f"`matrix` must be (n, {d}) and `y` (n,), got {tuple(a.shape)} and {tuple(y.shape)}.")
        if not noise_std > 0:
            raise ValueError(f"`noise_std` must be positive, got {noise_std}.")
        basis = torch.eye(d, dtype=torch.float64).to(a) if self.basis is None else self.basis
        cov = (basis * self.variance[:, None]) @ basis.mT
        law = torch.distributions.MultivariateNormal(
            self.means @ a.mT, a @ cov @ a.mT + noise_std**2 * torch.eye(len(a), dtype=torch.float64).to(a)
        )
        gain = torch.linalg.solve(law.covariance_matrix, a @ cov).mT
        means = self.means + (gain @ (y - law.mean)[..., None])[..., 0]
        kept = torch.eye(d, dtype=torch.float64).to(a) - gain @ a
        covs = kept @ cov @ kept.mT + noise_std**2 * gain @ gain.mT  # Joseph's form: positive semi-definite to rounding
        evidence: Tensor = law.log_prob(y)  # type: ignore[no-untyped-call]
        weights = (self.log_weights + evidence).softmax(0).clamp(min=1e-300)
        return GaussianMixture(means.view(count, *(self.shape or ())), covs, weights, self.process, self.labels)

    def _scales(self, x: Tensor, t: Tensor | float | None) -> tuple[Tensor, Tensor]:
        """alpha and sigma as () or (B, 1) float64; one and zero for the clean law."""
        if tuple(batch(x).shape[1:]) != self.shape:
            raise ValueError(f"`x` has shape {tuple(x.shape)}; this mixture wants (B, {', '.join(map(str, self.shape or ()))}).")
        if t is None:
            return torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        alpha, sigma = self.process(time_within(self.process, t, x))
        like = self.means.new_empty(len(x), 1)
        return expand(alpha, like), expand(sigma, like)

    def _parts(self, x: Tensor, alpha: Tensor, sigma: Tensor, cond: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        """log w_k N(x; ...) (B, K); variance in each direction (B or 1, K[, d]); gap in the eigenbasis, if there is one."""
        flat, dim = x.flatten(1).double(), self.means.shape[1]
        if self.basis is None:
            gap = None
            total = (alpha**2 * self.variance[:, 0] + sigma**2).clamp(min=1e-60)  # a point without noise: the nearest wins
            if len(self.means) < 64:  # exact differences and no matrix product, so that row i does not depend on the batch
                squares = (flat - alpha * self.means[:, None]).square().sum(-1).mT
            else:  # in float64 the cancellation costs 1e-15 |x|^2, far below sigma^2 at any level worth sampling
                cross = alpha * (flat @ self.means.mT)
                norms = alpha**2 * self.means.square().sum(1)
                squares = (flat.square().sum(1, keepdim=True) - 2 * cross + norms).clamp(min=0)
            joint = -0.5 * (squares / total + dim * torch.log(2 * math.pi * total))
        else:
            gap = _rotate(self.basis.mT, flat[:, None] - alpha[..., None] * self.means)
            total = alpha[..., None] ** 2 * self.variance + sigma[..., None] ** 2
            joint = -0.5 * (gap**2 / total + torch.log(2 * math.pi * total)).sum(-1)
        joint = joint + self.log_weights
        cond = labels_of(cond)
        if cond is not None:
            cond = wholes(cond, "cond").to(joint.device)
            if cond.ndim and cond.shape != (len(x),):
                raise ValueError(
                    f"`cond` has shape {tuple(cond.shape)}; pass one class for all, or one for each sample ({len(x)},)."
                )
            cond = cond.expand(len(x))
            if bool((cond >= self.classes).any()):
                raise ValueError(f"class {int(cond.max())} is not one of the {self.classes} classes of this mixture.")
            joint = joint.masked_fill((cond[:, None] >= 0) & (cond[:, None] != self.labels), -math.inf)
            joint = joint - torch.where(cond >= 0, self._class_weight(cond), 0.0)[:, None]
        return joint, total, gap

    def _class_weight(self, cond: Tensor) -> Tensor:
        weight = self.log_weights.new_zeros(self.classes).index_add_(0, self.labels, self.log_weights.exp())
        return weight.log()[cond.clamp(min=0)]


def _mix(share: Tensor, means: Tensor) -> Tensor:
    """share (B, K) times means (K, d), row by row, so that row i does not depend on the batch."""
    if len(means) < 64:
        return (share.mT.contiguous()[..., None] * means[:, None]).sum(0)
    return share @ means


def _rotate(basis: Tensor, x: Tensor) -> Tensor:
    """basis (..., d, d) times x (..., d), by sums."""
    return (basis * x[..., None, :]).sum(-1)


class Empirical(GaussianMixture):
    """The exact denoiser of a finite data set: `x_0` is one of the points, all equally likely.

    Args:
        points: `(N, *D)`, model space. Memory grows with B N.
        process: The noise.
        labels: `(N,)` class of each point. Default: all of one class.
    """

    def __init__(self, points: Tensor, process: Process | None = None, labels: Tensor | Sequence[int] | None = None) -> None:
        points = tensor(points, "points", torch.float64)
        if points.ndim < 2 or not len(points):
            raise ValueError(f"`points` must be (N, *D) with at least one point, got shape {tuple(points.shape)}.")
        super().__init__(points, 0.0, None, process, torch.zeros(len(points), dtype=torch.int64) if labels is None else labels)
