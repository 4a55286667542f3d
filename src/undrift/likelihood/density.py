"""The density that a denoiser defines: noise pushed back to data along the probability flow.

    log p(x) = log N(x_T; 0, sigma_T^2 I) + integral of the divergence along the flow from x to x_T
                                                                     (Song et al. 2021, sec. 4.3, app. D.2)

This is the exact density of what the flow makes of the prior, whatever the denoiser: it integrates to one, guided or not.
Three things separate it from the law that the denoiser was trained on, all reported:

- *the prior*: samples start at `N(0, sigma_T^2 I)` and not at the noised data p_T. Averaged over the data the value is too
  low by KL(p_T || prior), at most the mean of `prior_gap = |x|^2 alpha_T^2 / (2 sigma_T^2)`. With the exact p_T as `prior`
  the closed form of a mixture is met to the tolerance of the solver.
- *the start*: it is the density of `x_0 + start eps`; see `flow`.
- *integers*: they have no density but a probability, of the unit cube around them, `log P = log int p >= mean log p`
  (Theis et al. 2016, sec. 3.1): add uniform noise (`Dequantize`). With K draws the logarithm of the mean density is a
  tighter lower bound in expectation, exact as K grows (Burda et al. 2016, eq. 8; Hoogeboom et al. 2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from undrift import condition
from undrift.argument import choice, fits, floats, function, instance, real, tensor, whole, wholes
from undrift.denoiser import AnyDenoiser, check_denoiser, exactly, numbers_like
from undrift.likelihood.divergence import draw_probes, wide
from undrift.likelihood.flow import START, Line
from undrift.noise import Noise
from undrift.solver import Solver, Tableau
from undrift.watching import portions

Unit = Literal["nats", "bits/dim"]


@dataclass(frozen=True)
class LikelihoodResult:
    """What was found for each sample.

    Attributes:
        value: `(B,)` float64. In nats log p(x), higher is better; in bits/dim -log2 p(x) / D, lower is better. Of integers
            (`dequantize`) log P and -log2 P / D.
        standard_error: `(B,)`, in the same unit, of what was drawn: probes (their spread, NaN for a single one) and, from two
            draws on, dequantisation. 0 if nothing was drawn.
        evaluations: `(B,)` int64, calls of the denoiser that the value took, over all draws.
        prior: `(B,)` nats, the part of log p that is the prior's log-density of x_T.
        prior_gap: `(B,)` nats; its mean over data bounds how much the mean of log p loses by the prior (see the module).
        start: Noise level sigma/alpha at which the density is taken.
        unit: Of `value` and `standard_error`.
    """

    value: Tensor
    standard_error: Tensor
    evaluations: Tensor
    prior: Tensor
    prior_gap: Tensor
    start: float
    unit: Unit = "nats"

    def cpu(self) -> LikelihoodResult:
        """The same on the CPU."""
        moved = {f.name: getattr(self, f.name).cpu() for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        return replace(self, **moved)


@dataclass(frozen=True)
class Dequantize:
    """The integers that data stand for: how far apart neighbours are in model space, and draws of uniform noise each.

    Args:
        step: A number, or a tensor that broadcasts against one sample; model space units per integer. `2 / 255` for 8-bit
            images in [-1, 1].
        draws: K noises per sample, in the logarithm of their mean density.

    Raises:
        ValueError: a step that is not positive, fewer than one draw.
    """

    step: float | Tensor
    draws: int = 1

    def __post_init__(self) -> None:
        step = tensor(self.step, "step", torch.float64)
        if not step.numel() or not bool(((step > 0) & torch.isfinite(step)).all()):
            raise ValueError(f"`step` is the distance between neighbouring integers and must be positive, got {self.step}.")
        whole(self.draws, "draws", 1)

    def log_volume(self, like: Tensor) -> float:
        """log of the volume of one integer's cell in model space, for samples like `like` `(B, *D)`."""
        step = torch.as_tensor(self.step, dtype=torch.float64).cpu()
        return float(step.log().expand(like.shape[1:]).sum())


def bits_per_dim(log_prob: Tensor, dims: int, step: float = 1.0) -> Tensor:
    """Nats to bits per dimension, `-(log p + D log step) / (D log 2)`, of the shape of `log_prob`.

    Args:
        log_prob: log p in nats, or log P of integers.
        dims: D, how many numbers a sample has.
        step: Distance between neighbouring integers, in the units of the density: 2/255 turns the density of 8-bit images in
            [-1, 1] into bits/dim on the scale 0..255. 1 for a density in data units, and for P.
    """
    log_prob = floats(log_prob, "log_prob")
    if whole(dims, "dims") < 1 or not real(step, "step") > 0:
        raise ValueError(f"`dims` must be at least 1 and `step` positive, got {dims} and {step}.")
    return -(log_prob / dims + math.log(step)) / math.log(2)


def log_likelihood(
    denoiser: AnyDenoiser,
    x: Tensor,
    *,
    cond: Any = None,
    divergence: Literal["exact", "hutchinson"] = "exact",
    probes: int = 1,
    law: str = "rademacher",
    solver: Solver | Tableau | str | None = None,
    steps: int | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    unit: Unit = "nats",
    dequantize: Dequantize | None = None,
    prior: Callable[[Tensor], Tensor] | None = None,
    start: float = START,
    seed: int = 0,
    index: Tensor | None = None,
    batch_size: int = 256,
    chunk: int | None = None,
) -> LikelihoodResult:
    """Log-density of data under the probability flow of a denoiser.

    Sample i's answer is the same in any batch, to rounding: its solver steps by its own clock and its random numbers are
    addressed by (seed, i).

    Args:
        denoiser: Any denoiser, guided ones included: then it is the density of the guided flow.
        x: `(B, *D)` data in model space, any number of axes.
        cond: Class labels `(B,)` (or one for all), a `Condition`, or any tensor with one row per sample; bound to the denoiser.
        divergence: "exact", D vector-Jacobian products for each evaluation, or "hutchinson", `probes` of them.
        probes: K random directions per sample, the same along its whole path. Two or more give a standard error.
        law: Of the probes: "rademacher" or "gaussian".
        solver: A `Solver`, a `Tableau` or its name. Default: `rk4` with `steps`, else `dopri5`.
        steps: That many equal steps (in the coordinate of `flow`).
        rtol, atol: Step control; default 1e-6 each, which is about 1e-5 nats on mixtures in the plane.
        unit: "nats" or "bits/dim"; see `LikelihoodResult`.
        dequantize: x stands for integers this far apart; the result is their log-probability.
        prior: Log-density of x at t_max, `(B, *D)` to `(B,)` nats. Default: `process.prior_log_prob`.
        start: Noise level sigma/alpha, in data units, at which the density is taken: the log-density of `x_0 + start eps`. A
            process that has more noise than that at t_min (VE, Karras) starts there.
        seed: Names the random numbers.
        index: `(B,)` numbers of the samples in their data set, which address their random numbers. Default: 0, 1, ...
        batch_size: Samples at a time; only memory and speed depend on it.
        chunk: Vector-Jacobian products at a time; default: what fits a fixed number of entries.

    Returns:
        `LikelihoodResult`, all tensors on the device of `x`.

    Raises:
        ValueError: data that are not finite or of the wrong shape, fewer than one probe, an unknown unit or solver, a denoiser
            without a density.
        RuntimeError: the flow or its divergence is not finite.

    Cost: `evaluations` calls of the denoiser, each with D or K vector-Jacobian products (about two calls' work each).
    Source: Chen et al. 2018, eq. 8; Grathwohl et al. 2019, sec. 3.1; Song et al. 2021, sec. 4.3.

    Example:
        >>> law = undrift.GaussianMixture([[1.0, 0.0], [-1.0, 0.0]], 0.5, process=undrift.Rectified())
        >>> found = log_likelihood(law, torch.zeros(1, 2, dtype=torch.float64)).value
        >>> bool((found - law.log_prob(torch.zeros(1, 2))).abs() < 1e-4)
        True
    """
    x = check_data(denoiser, x)
    choice(divergence, "divergence", ("exact", "hutchinson"))
    choice(unit, "unit", ("nats", "bits/dim"))
    seed, probes = whole(seed, "seed", 0), whole(probes, "probes", 1)
    if chunk is not None:
        whole(chunk, "chunk", 1)
    if prior is not None:
        function(prior, "prior", "give a function (B, *D) -> (B,)")
    if dequantize is not None:
        instance(dequantize, "dequantize", Dequantize, "say how far apart the integers are, as in Dequantize(2 / 255)")
    method, line = Solver.of(solver, steps, rtol, atol), Line(denoiser.process, start)
    noise = Noise(_numbers(index, len(x))).fold("likelihood", seed)
    draws = 1 if dequantize is None else dequantize.draws
    ask = _Question(line, method, probes if divergence == "hutchinson" else None, law, prior, chunk)
    parts = []
    for rows, bound in batches(denoiser, x, cond, batch_size):
        part, address = x[rows], noise[rows]
        directions = None if ask.probes is None else draw_probes(address, part, ask.probes, law)  # one set for all draws
        answers = []
        for k in portions(range(draws)):
            moved = part
            if dequantize is not None:
                step = torch.as_tensor(dequantize.step, dtype=torch.float64, device=x.device)
                offset = address.fold("dequantize", k).uniform(part.to(wide(part))) - 0.5
                moved = (part + step * offset).to(part.dtype)
            answers.append(ask(bound, moved, directions))
        parts.append(_pooled(answers, estimated=ask.probes is not None))
    value, error, evaluations, base = (torch.cat(column) for column in zip(*parts, strict=True))
    dims = math.prod(x.shape[1:])
    if dequantize is not None:
        value = value + dequantize.log_volume(x)
    bad = int((~torch.isfinite(value)).sum())
    if bad:
        raise RuntimeError(
            f"the log-density of {bad} of {len(x)} samples is not finite; check the denoiser's own output and its derivative, "
            "or take the density at a larger noise level (`start`)."
        )
    gap = 0.5 * line.snr * x.flatten(1).to(wide(x)).square().sum(1)
    if unit == "bits/dim":
        value, error = bits_per_dim(value, dims), error / (dims * math.log(2))
    return LikelihoodResult(value, error, evaluations, base, gap, line.start, unit)


class _Answer(NamedTuple):
    base: Tensor  # (B,) log prior of x_T
    gains: Tensor  # (B, 1 or K) integrals of the divergence, with the scalings at both ends
    evaluations: Tensor


@dataclass(frozen=True)
class _Question:
    """All that is the same for every batch and draw."""

    line: Line
    solver: Solver
    probes: int | None
    law: str
    prior: Callable[[Tensor], Tensor] | None
    chunk: int | None

    @torch.no_grad()
    def __call__(self, denoiser: AnyDenoiser, x: Tensor, directions: Tensor | None) -> _Answer:
        line = self.line
        field = line.velocity_and_divergence(denoiser, x.dtype, directions, self.chunk)
        y = line.from_data(x)
        with exactly(denoiser):
            (y, gains), evaluations = self.solver(field, (y, y.new_zeros(len(x), self.probes or 1)), line.low, line.high)
        x_end = line.to_noise(y)
        base = denoiser.process.prior_log_prob(x_end) if self.prior is None else self.prior(x_end).to(gains)
        if base.shape != (len(x),):
            raise ValueError(f"`prior` must return one log-density per sample, ({len(x)},), got shape {tuple(base.shape)}.")
        return _Answer(base, gains + math.prod(x.shape[1:]) * line.log_scale, evaluations.to(x.device))


def _pooled(answers: list[_Answer], estimated: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draws of one batch to (value, standard error, evaluations, prior), each (B,)."""
    base, gains = torch.stack([a.base for a in answers]), torch.stack([a.gains for a in answers])  # (K, B), (K, B, probes)
    logs = base + gains.mean(2)
    value = logs.logsumexp(0) - math.log(len(logs))
    share = logs.softmax(0)
    variance = torch.zeros_like(value)
    if estimated:
        # Probes are shared by all draws, so their errors average like the draws do, and do not inflate the mean of exponentials.
        by_probe = (share[..., None] * gains).sum(0)
        variance = variance + by_probe.var(1) / gains.shape[2] if gains.shape[2] > 1 else variance + math.nan
    if len(logs) > 1:
        variance = variance + (len(logs) * share).var(0) / len(logs)
    evaluations = torch.stack([a.evaluations for a in answers]).sum(0)
    return value, variance.sqrt(), evaluations, (share * base).sum(0)


def check_data(denoiser: AnyDenoiser, x: Tensor, name: str = "x") -> Tensor:
    """The door of every question: floats `(B, *D)`, finite, of the denoiser's shape, not too large for it. Raises ValueError."""
    check_denoiser(denoiser)
    if not isinstance(x, Tensor) or not tensor(x, name).is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"`{name}` must be a tensor of floats in model space, not {kind}; `Spec.to_model` makes one of data.")
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"`{name}` must be (B, *D) with at least one sample, got shape {tuple(x.shape)}.")
    if denoiser.shape is not None and tuple(x.shape[1:]) != tuple(denoiser.shape):
        raise ValueError(f"`{name}` has samples of shape {tuple(x.shape[1:])}, but the denoiser's have {tuple(denoiser.shape)}.")
    bad = ~torch.isfinite(x.flatten(1)).all(1)
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        raise ValueError(f"`{name}` has {int(bad.sum())} samples with NaN or infinities, the first is number {first}.")
    fits(x, numbers_like(denoiser, x).dtype, name)
    return x


def batches(denoiser: AnyDenoiser, x: Tensor, cond: Any, batch_size: int) -> Iterator[tuple[slice, AnyDenoiser]]:
    """Rows of x, and the denoiser with its condition bound for them."""
    batch_size = whole(batch_size, "batch_size", 1)
    cond = condition.for_samples(cond, len(x), x.device)
    for i in portions(range(0, len(x), batch_size)):
        rows = slice(i, min(i + batch_size, len(x)))
        yield rows, denoiser if cond is None else denoiser.given(condition.rows(cond, rows))


def _numbers(index: Tensor | None, count: int) -> Tensor:
    if index is None:
        return torch.arange(count)
    numbers = tensor(index, "index")
    if numbers.shape != (count,) or numbers.is_floating_point():
        raise ValueError(f"`index` must be one whole number per sample, ({count},), got {tuple(numbers.shape)} {numbers.dtype}.")
    if bool((numbers < 0).any()):
        raise ValueError(f"`index` must not be negative, got {int(numbers.min())}.")
    return wholes(numbers, "index")
