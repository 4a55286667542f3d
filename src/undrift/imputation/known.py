"""Known values: inpainting and imputation with a denoiser that was never trained for it.

`Known` tells a denoiser which entries of the data are known; every sampler then fills in the rest. What it knows it knows of
the entries alone: the data there are the values, and the others are denoised beside them. That is the replacement method of
the papers, and it is biased: at noise level t the missing entries are told what the known ones look like *at that level*, but
never hear back from how they were filled in, so the two halves fit each other less well than they should. Measured on a
Gaussian of correlation 0.8 whose first entry is known to be 1.5 (the second is then 1.2 +- 0.6):

    sampler                            evaluations   mean of the second   its std
    Ancestral, 200 steps                       200                 0.73      0.68
    DPM2M, 100 steps                           100                 0.53      0.76
    AnnealedLangevin, 20 levels x 100        2,001                 1.01      0.66
    RePaint, 50 steps x 10                     491                 1.14      0.63
    RePaint, 50 steps x 50                   2,451                 1.20      0.61

Where the first entry is 3, the central 80 % of the draws hold 51 % of the truth (Ancestral), 30 % (DPM2M), 80 % (RePaint x 10).
More steps do not help; moving back and forth does. The moves of `RePaint` and `AnnealedLangevin` at one noise level converge to
the law of the missing entries given the known ones at that level, and the last level has almost no noise. What they do not
repair in any reasonable time is the share of groups far apart, which is settled while there is much noise: where the truth is
60 : 40, RePaint x 20 draws 40 : 60 with 40 steps and 49 : 51 with 100, though each group has the right place and width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from undrift import condition, times as grids
from undrift.argument import LARGEST, fits, function, instance, tensor, whole
from undrift.denoiser import AnyDenoiser, Prediction, check_denoiser, numbers_like
from undrift.guidance.edit import noise_left
from undrift.noise import Noise
from undrift.process import as_time
from undrift.sampler import RePaint, Sampler, State, sample
from undrift.watching import portions

Method: TypeAlias = Callable[[AnyDenoiser, Tensor, Tensor, Noise], AnyDenoiser]  # (denoiser, values, mask, noise), as `Known`


class Known(AnyDenoiser):
    """A denoiser that knows some entries of the data: there `data` is the value, and `noise` is what x makes of it.

    What it shows its denoiser in the known entries, at time t, is

    - `noise=None`: what the sampler has there. Since data and noise are right, any sampler keeps the law of those entries,
      `N(alpha values, sigma^2 I)`: flows draw a straight line to the value, `Ancestral` the bridge. Smooth in x and t, so it
      works with step control and likelihoods.
    - `noise` given: `alpha values + sigma eps`, drawn anew at every t and once per t, whatever the sampler has there. These
      are the algorithms of the papers: 003 Algorithm 4 (Song et al. 2021, app. I.2) with any sampler, 002 Algorithm 2 with
      `AnnealedLangevin`, whose moves at one level all see the same noise.

    Either way a sampler that arrives at data arrives at the values, bit for bit, and the noise of 002's result is gone
    (Algorithm 2 returns `values + sigma eps`). The two differ little: see the table above (drawn anew) and the tests.
    Not the exact conditional: see above, and use it with `RePaint`.

    Args:
        denoiser: Any denoiser, guided or not.
        values: `(*D)` for all samples or `(B, *D)`, model space; what is missing may be anything, also NaN.
        mask: `(*D)` or `(B, *D)` bool, True where the value is known.
        noise: One address per sample, or None.

    Raises:
        ValueError: a mask that is not bool or does not fit, known values that are not finite.
    """

    def __init__(self, denoiser: AnyDenoiser, values: Tensor, mask: Tensor, noise: Noise | None = None) -> None:
        super().__init__()
        check_denoiser(denoiser)
        values, mask = tensor(values, "values"), tensor(mask, "mask")
        if noise is not None:
            instance(noise, "noise", Noise, "give a Noise, one address per sample")
        self.denoiser, self.noise = denoiser, noise
        self.process, self.shape, self.sigma_data = denoiser.process, denoiser.shape, denoiser.sigma_data
        self.values, self.mask = torch.where(_mask(mask, values), values, 0.0), mask

    def forward(self, x: Tensor, t: Tensor | float, cond: Any = None) -> Prediction:
        return self._filled(self.denoiser(self._seen(x, t), t, cond), x, t)

    def with_fraction(self, x: Tensor, t: Tensor | float, cond: Any = None) -> tuple[Prediction, Tensor]:
        prediction, fraction = self.denoiser.with_fraction(self._seen(x, t), t, cond)
        return self._filled(prediction, x, t), fraction

    def _seen(self, x: Tensor, t: Tensor | float) -> Tensor:
        if self.values.shape not in (x.shape, x.shape[1:]):
            raise ValueError(
                f"`values` has shape {tuple(self.values.shape)} but `x` {tuple(x.shape)}: give one row per sample of the batch, "
                "or let `impute` share them out."
            )
        if self.noise is None:
            return x
        return torch.where(self.mask, self.process.perturb(self.values.expand_as(x), t, self._eps(x, as_time(t, x))), x)

    def _eps(self, x: Tensor, t: Tensor) -> Tensor:
        assert self.noise is not None
        if t.ndim == 0:
            return self.noise.fold("known", float(t).hex()).normal(x)
        each = [self.noise[i : i + 1].fold("known", float(s).hex()).normal(x[i : i + 1]) for i, s in enumerate(t)]
        return torch.cat(each)

    def _filled(self, prediction: Prediction, x: Tensor, t: Tensor | float) -> Prediction:
        data = torch.where(self.mask, self.values, prediction.data)
        return Prediction(data, torch.where(self.mask, noise_left(self.process, x, t, data), prediction.noise))


def impute(
    denoiser: AnyDenoiser,
    values: Tensor,
    mask: Tensor,
    draws: int = 1,
    *,
    method: Method = Known,
    sampler: Sampler | None = None,
    steps: int | Tensor = 50,
    seed: int = 0,
    cond: Any = None,
    grid: grids.Grid = grids.straight,
    batch_size: int = 256,
    first: int = 0,
    callback: Callable[[State], None] | None = None,
) -> Tensor:
    """Several fillings-in of each input.

    Draw d of input i has the number `d 2^32 + first + i`, so it is the same whatever the other inputs, `draws` and
    `batch_size`. With nothing known, draw 0 of the inputs is `sample(denoiser, B, sampler, steps, seed, cond, first=first)`,
    bit for bit; with everything known the result is the input.

    Args:
        denoiser: Any denoiser.
        values: `(B, *D)` model space; what is missing may be anything, also NaN.
        mask: `(*D)` or `(B, *D)` bool, True where the value is known.
        draws: How many for each input.
        method: Makes the denoiser that knows: `(denoiser, values, mask, noise) -> denoiser`, one row per draw.
        sampler: Default `RePaint()`, the best calibrated of the methods that need no gradient.
        cond: Class labels `(B,)` (or one for all), or a `Condition` with one row per input.
        steps, seed, grid, batch_size, callback: See `undrift.sample`.
        first: Number of the first input, for imputing a set in parts.

    Returns:
        `(draws, B, *D)`, dtype and device of `values`; known entries are those of `values`, bit for bit.

    Raises:
        ValueError: a mask that is not bool or does not fit, known values that are not finite, numbers that make no sense.
        RuntimeError: samples that are not finite.
    """
    check_denoiser(denoiser)
    draws, batch_size, seed = whole(draws, "draws", 1), whole(batch_size, "batch_size", 1), whole(seed, "seed", 0)
    values, mask = tensor(values, "values"), tensor(mask, "mask")
    first = whole(first, "first", 0, LARGEST // 2)
    function(method, "method", "give `Known`, or a function like it")
    if sampler is not None:
        instance(sampler, "sampler", Sampler, "give a sampler, such as undrift.RePaint()")
    if values.ndim < 2:
        raise ValueError(f"`values` must be (B, *D) floats with B >= 1, got {tuple(values.shape)} {values.dtype}.")
    mask = _mask(mask.to(values.device), values).expand(values.shape)
    n, like = len(values), numbers_like(denoiser, values)
    if n < 1 or not values.is_floating_point():
        raise ValueError(f"`values` must be (B, *D) floats with B >= 1, got {tuple(values.shape)} {values.dtype}.")
    fits(torch.where(mask, values, 0.0), like.dtype, "values")
    x, known = values.to(like), mask.to(like.device)
    cond = condition.for_samples(cond, n, like.device)
    parts = []
    for rows in portions(torch.split(torch.arange(draws * n), batch_size)):
        each, number = rows % n, (rows // n << 32) + rows % n + first
        knowing = method(denoiser, x[each], known[each], Noise(number).fold("known", seed))
        shape, given = (len(rows), *values.shape[1:]), condition.rows(cond, each)
        options: dict[str, Any] = {"grid": grid, "batch_size": len(rows), "first": number, "like": like}
        parts.append(sample(knowing, shape, RePaint() if sampler is None else sampler, steps, seed, given, callback, **options))
    return torch.where(mask, values, torch.cat(parts).view(draws, *values.shape).to(values))


def _mask(mask: Tensor, values: Tensor) -> Tensor:
    """The mask, checked against the values."""
    if mask.dtype != torch.bool:
        raise ValueError(f"`mask` must be bool, True where the value is known, got {mask.dtype}.")
    if mask.shape not in (values.shape, values.shape[1:]):
        raise ValueError(f"`mask` has shape {tuple(mask.shape)}, which does not fit `values` {tuple(values.shape)}.")
    bad = int((~torch.isfinite(values) & mask).sum())
    if bad:
        raise ValueError(f"{bad} known values are not finite: mark them as missing in `mask`.")
    return mask
