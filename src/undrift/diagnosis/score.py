"""The score: how much more the denoiser errs than it must, at each noise level, in nats.

By Girsanov's theorem the law of the reverse SDE with this score, from the true p_T, is no further from the data than

    KL <= 1/2 int g^2 E|s - grad log p_t|^2 dt  =  1/2 int E|noise(x_t) - E[eps | x_t]|^2 d log_snr

(Song et al. 2021b, theorem 1; Chen et al. 2023; the change of variables is g^2 dt = sigma^2 d log_snr). The integrand
is the *excess* of the denoising loss over its floor: by Pythagoras `E|eps - noise|^2 = floor + E|noise - E[eps | x_t]|^2`. So a bin of
log-SNR has its share of the bound. The floor is

    known        if the law is: the difference to the exact denoiser, without subtraction;
    at most      the loss on held-out data of any other denoiser: the posterior mean under the training points (`Empirical`, what a
                 network that memorises becomes) or under Gaussians with the moments of each class (Wiener's filter). The excess is
                 at least what is lost against the best of these. Which one is best is chosen on the other half of the examples;
    at least     in expectation over training sets, the loss of `Empirical` on its own points: no function has a smaller one there.
                 The excess is at most what is lost against it. At low noise that loss is zero, and this says little;
    extrapolated over runs of other sizes, where there are some: see `extrapolate`.

The range is from t_max to sigma/alpha = 0.02, where samplers stop asking (see `times`); beyond sigma/alpha = 150 nothing is left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from undrift import condition
from undrift.denoiser import LEVEL_LIMITS, AnyDenoiser, exactly, numbers_like
from undrift.diagnosis import field
from undrift.diagnosis.extrapolate import Extrapolation, Sized, extrapolate
from undrift.diagnosis.measure import Nats, Number
from undrift.exact import Empirical, GaussianMixture
from undrift.likelihood.density import batches
from undrift.noise import Noise
from undrift.process import Process
from undrift.reverse import half_noise_error

BINS = 12
LOWEST = 0.02  # sigma/alpha
PROBED = 64  # examples for the properties of the field, at each level
_BATCH = 128
_MEMORY = 2**26  # numbers that the Wiener filter of one batch may hold


@dataclass(frozen=True)
class Examples:
    """Clean data `(n, *D)` in model space with what the denoiser is told of them."""

    x: Tensor
    cond: condition.Condition | Tensor | None = None

    def to(self, device: torch.device) -> Examples:
        """The same on a device."""
        return Examples(self.x.to(device), condition.for_samples(self.cond, len(self.x), device))


@dataclass(frozen=True)
class Bin:
    """A range of noise levels, log-SNR from `low` to `high`.

    Attributes:
        nats: Its share of the bound.
        asymmetry, residual: See `field`; None where not measured.
        beyond: Its share above the extrapolated floor, if there is one.
    """

    low: float
    high: float
    nats: Nats
    asymmetry: Number
    residual: Number | None
    beyond: Number | None = None

    @property
    def levels(self) -> tuple[float, float]:
        """sigma/alpha at both ends, the smaller one first."""
        return math.exp(-self.high / 2), math.exp(-self.low / 2)

    @property
    def best(self) -> Nats:
        """Over the best known floor."""
        return self.nats.over(self.beyond)


@dataclass(frozen=True)
class ScoreError:
    """All bins, from noise to data; the sum; how much worse held-out than training examples are denoised; what was extrapolated."""

    bins: tuple[Bin, ...]
    nats: Nats
    memorised: Number | None = None
    extrapolation: Extrapolation | None = None

    @property
    def best(self) -> Nats:
        """The sum, over the best known floor."""
        return self.nats.over(None if self.extrapolation is None else self.extrapolation.total)


def edges(process: Process, bins: int = BINS) -> Tensor:
    """`(bins + 1,)` increasing log-SNRs that bound the bins: those that samplers ask about."""
    ends = process.log_snr(torch.tensor([process.t_max, process.t_min], dtype=torch.float64))
    low, high = ends.clamp(LEVEL_LIMITS[0], -2 * math.log(LOWEST)).tolist()
    return torch.linspace(low, high, bins + 1, dtype=torch.float64)


def score_error(
    denoiser: AnyDenoiser,
    held_out: Examples,
    noise: Noise,
    exact: AnyDenoiser | None = None,
    train: Examples | None = None,
    size: float = 1.0,
    smaller: Sequence[Sized] = (),
) -> ScoreError:
    """The excess loss of a denoiser, bin by bin.

    Args:
        denoiser: Without guidance.
        held_out: Fresh examples, of which it is measured.
        noise: As many addresses.
        exact: The exact denoiser, where it is known.
        train: What the denoiser was trained on (some of it will do), where it is not.
        size: Of the denoiser's training, where there are others:
        smaller: Two or more, to extrapolate over.

    Raises:
        ValueError: neither `exact` nor `train`.
    """
    if exact is None and train is None:
        raise ValueError("a score is measured against the exact one or against the training data: give either.")
    limits = edges(denoiser.process)
    memorised = None
    if exact is not None:
        share = losses(denoiser, held_out, noise, limits, exact)
        ends = [(Number.mean(row), Number.mean(row)) for row in share]
        total = (Number.mean(share.sum(0)),) * 2
    else:
        assert train is not None
        ends, total, memorised = _between(denoiser, held_out, noise, limits, train)
    told = [_told(denoiser, held_out, noise, limits, i) for i in range(len(ends))]
    beyond = None
    if smaller:
        each = [losses(d, held_out, noise, limits) for d in (denoiser, *(s.denoiser for s in smaller))]
        beyond = extrapolate(torch.stack(each), [size, *(s.size for s in smaller)])
    over = [None] * len(ends) if beyond is None else beyond.excess
    span = limits.tolist()
    bins = [Bin(a, b, Nats(*nats), *said, e) for a, b, nats, said, e in zip(span[:-1], span[1:], ends, told, over, strict=True)]
    return ScoreError(tuple(bins), Nats(*total), memorised, beyond)


def losses(denoiser: AnyDenoiser, data: Examples, noise: Noise, limits: Tensor, truth: AnyDenoiser | None = None) -> Tensor:
    """`(bins, n)` nats: the integral of `|noise - truth|^2 / 2` over each bin, one draw for each example.

    Args:
        truth: A denoiser; None for the noise that was added.
    """
    columns, data = [], data.to(numbers_like(denoiser).device)
    with exactly(denoiser):
        for rows, bound in batches(denoiser, data.x, data.cond, _BATCH):
            x0, cond = data.x[rows], condition.rows(data.cond, rows) if data.cond is not None else None
            each = [_loss(bound, x0, cond, noise[rows], limits, i, truth) for i in range(len(limits) - 1)]
            columns.append(torch.stack(each).cpu())
    return torch.cat(columns, 1)


@torch.no_grad()
def _loss(
    bound: AnyDenoiser,
    x0: Tensor,
    cond: condition.Condition | Tensor | None,
    noise: Noise,
    limits: Tensor,
    i: int,
    truth: AnyDenoiser | None,
) -> Tensor:
    process = bound.process
    x, t, eps = _noised(process, x0, noise, limits, i)
    aim = (x0, eps)
    if truth is not None:  # a law is computed where its numbers are, on the CPU
        aim = tuple(part.to(x) for part in truth(x.cpu(), t, condition.for_samples(cond, len(x), "cpu")))
    return float(limits[i + 1] - limits[i]) * half_noise_error(process, aim[0], t, aim[1], bound(x, t))


def _noised(process: Process, x0: Tensor, noise: Noise, limits: Tensor, i: int) -> tuple[Tensor, Tensor, Tensor]:
    """x_t, t and eps at log-SNRs spread evenly over bin i."""
    here = noise.fold("bin", i)
    t = process.time(torch.lerp(limits[i], limits[i + 1], here.fold("level").low_discrepancy()))
    eps = here.fold("eps").normal(x0)
    return process.perturb(x0, t, eps), t, eps


def _between(
    denoiser: AnyDenoiser, held_out: Examples, noise: Noise, limits: Tensor, train: Examples
) -> tuple[list[tuple[Number, Number]], tuple[Number, Number], Number]:
    """Both ends of every bin and of the sum, and the price of held-out examples over training ones."""
    process, n = denoiser.process, len(held_out.x)
    mine = losses(denoiser, held_out, noise, limits)
    others = torch.stack([losses(d, held_out, noise, limits) for d in rivals(process, train)])  # (rivals, bins, n)
    saved = torch.cat([torch.zeros_like(mine)[None], mine - others])
    half = torch.arange(n) % 2 == 0
    least = torch.empty_like(mine)
    for rows, chosen in ((half, ~half), (~half, half)):
        best = saved[:, :, chosen].mean(2).argmax(0)  # (bins,)
        least[:, rows] = saved[best, torch.arange(len(best))][:, rows]
    some = Examples(train.x[:n], None if train.cond is None else condition.rows(train.cond, slice(0, n)))
    address = noise[: len(some.x)]
    empirical, _ = _empirical(process, train)
    lowest, own = losses(empirical, some, address, limits), losses(denoiser, some, address, limits)
    ends = [(Number.mean(a), _minus(Number.mean(b), Number.mean(c))) for a, b, c in zip(least, mine, lowest, strict=True)]
    total = Number.mean(least.sum(0)), _minus(Number.mean(mine.sum(0)), Number.mean(lowest.sum(0)))
    return ends, total, _minus(Number.mean(mine.sum(0)), Number.mean(own.sum(0)))


def _minus(a: Number, b: Number) -> Number:
    """Of independent ones."""
    return Number(a.value - b.value, math.hypot(a.error, b.error))


def _empirical(process: Process, train: Examples) -> tuple[AnyDenoiser, Tensor | None]:
    """The posterior mean under the training points; and their labels, where every class is among them."""
    labels = train.cond if isinstance(train.cond, Tensor) else None
    if labels is not None and bool((labels.bincount() == 0).any()):
        labels = None
    law = Empirical(train.x, process, labels)
    return (law if labels is not None else law.given(None)), labels


def rivals(process: Process, train: Examples) -> list[AnyDenoiser]:
    """Denoisers that need no training: the posterior means under the training points and, if not too large, under Gaussians."""
    empirical, labels = _empirical(process, train)
    d = train.x[0].numel()
    classes = torch.zeros(len(train.x), dtype=torch.int64) if labels is None else labels
    if int(classes.max() + 1) * d**2 * _BATCH > _MEMORY:
        classes = torch.zeros_like(classes)
    parts = [train.x[classes == k].flatten(1).double() for k in range(int(classes.max()) + 1)]
    if d**2 * _BATCH > _MEMORY or min(map(len, parts)) < 2:
        return [empirical]
    covs = torch.stack([_shrunk(part) for part in parts])
    means = torch.stack([part.mean(0).view(train.x.shape[1:]) for part in parts])
    gaussians = GaussianMixture(means, covs, [float(len(part)) for part in parts], process)
    return [empirical, gaussians if len(parts) > 1 else gaussians.given(None)]


def _shrunk(x: Tensor) -> Tensor:
    """The covariance of `(n, d)`, drawn to a multiple of the identity the more, the fewer examples there are."""
    n, d = x.shape
    cov, weight = x.T.cov().reshape(d, d), d / (d + n)
    return (1 - weight) * cov + weight * (cov.trace() / d + 1e-6) * torch.eye(d, dtype=x.dtype)


def _told(denoiser: AnyDenoiser, data: Examples, noise: Noise, limits: Tensor, i: int) -> tuple[Number, Number | None]:
    """Asymmetry and residual in bin i."""
    rows = slice(0, min(PROBED, len(data.x)))
    cond = None if data.cond is None else condition.rows(data.cond, rows)
    some = Examples(data.x[rows], cond).to(numbers_like(denoiser).device)
    x, t, _ = _noised(denoiser.process, some.x, noise[rows].fold("field"), limits, i)
    bound = denoiser if some.cond is None else denoiser.given(some.cond)
    with exactly(denoiser):
        skew = field.asymmetry(bound, x, t, noise[rows].fold("field"))
        return skew, field.residual(bound, x, t) if x[0].numel() <= field.AFFORDABLE else None
