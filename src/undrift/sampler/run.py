"""`sample`: from a denoiser to samples in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from undrift import times as grids
from undrift.denoiser import AnyDenoiser
from undrift.noise import Noise
from undrift.sampler.base import Sampler, State
from undrift.sampler.multistep import DPM2M


def sample(
    denoiser: AnyDenoiser,
    n_or_shape: int | tuple[int, ...],
    sampler: Sampler | None = None,
    steps: int | Tensor = 20,
    seed: int = 0,
    cond: Any = None,
    callback: Callable[[State], None] | None = None,
    *,
    grid: grids.Grid = grids.karras,
    batch_size: int = 256,
    first: int = 0,
    like: Tensor | None = None,
) -> Tensor:
    """Draw samples.

    Sample i of a seed is the same whatever `n` and `batch_size`, since its noise is addressed by (seed, i): bit for bit where
    the denoiser treats rows alike, to about 1e-6 for networks, whose kernels round differently for other batch sizes.

    Args:
        denoiser: Any denoiser.
        n_or_shape: How many, or `(n, *D)` for a denoiser that does not know the shape of a sample.
        sampler: Default `DPM2M()`.
        steps: How many steps, laid out by `grid`, or the `(n + 1,)` decreasing times themselves.
        seed: Names the set of samples.
        cond: Class labels `(n,)` (or one for all), or any tensor with one row per sample; bound to the denoiser.
        callback: Called with every `State` of every batch; raise `StopIteration` in it to take that batch as it is.
        batch_size: Samples per batch; only memory and speed depend on it.
        first: Number of the first sample, for drawing a set in parts.
        like: A tensor with the wanted dtype and device. Default: those of the denoiser's parameters, else float32, CPU.

    Returns:
        `(n, *D)` in model space.

    Raises:
        ValueError: n, steps, seed or cond that make no sense (see the message).
        RuntimeError: samples that are not finite.
    """
    if isinstance(n_or_shape, int):
        if denoiser.shape is None:
            raise ValueError("this denoiser does not know the shape of a sample: pass `(n, *D)` instead of `n`.")
        n_or_shape = (n_or_shape, *denoiser.shape)
    n, shape, sampler = n_or_shape[0], tuple(n_or_shape[1:]), sampler or DPM2M()
    if n < 1 or batch_size < 1:
        raise ValueError(f"`n` and `batch_size` must be at least 1, got {n} and {batch_size}.")
    if seed < 0 or first < 0:
        raise ValueError(f"`seed` and `first` must not be negative, got {seed} and {first}.")
    times = steps if isinstance(steps, Tensor) else grid(denoiser.process, steps)
    if like is None:
        like = next(denoiser.parameters(), torch.empty(0, dtype=torch.float32))
    if cond is not None:
        cond = torch.as_tensor(cond, device=like.device)
        cond = cond.expand(n) if cond.ndim == 0 else cond
        if len(cond) != n:
            raise ValueError(f"`cond` has {len(cond)} rows for {n} samples: pass one for all, or one each.")
    parts = []
    for start in range(0, n, batch_size):
        rows = range(start, min(start + batch_size, n))
        noise = Noise(range(first + rows.start, first + rows.stop)).fold("sample", seed)
        bound = denoiser if cond is None else denoiser.given(cond[rows.start : rows.stop])
        x = denoiser.process.prior(like.new_empty(len(rows), *shape), noise)
        state = State(x, times[0])
        try:
            for state in sampler(bound, state, times, noise):  # noqa: B020 (the last state is what we want)
                if callback is not None:
                    callback(state)
        except StopIteration:
            pass
        parts.append(state.x)
    x = torch.cat(parts)
    bad = int((~torch.isfinite(x.flatten(1))).any(1).sum())
    if bad:
        raise RuntimeError(
            f"{type(sampler).__name__} made {bad} of {n} samples that are not finite; "
            "try more steps, a lower guidance scale, or check the denoiser's own output."
        )
    return x
