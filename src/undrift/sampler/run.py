"""`sample`: from a denoiser to samples in one call."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from undrift import condition, times as grids
from undrift.argument import LARGEST, fits, floats, function, instance, real, said, several, tensor, whole, wholes
from undrift.denoiser import AnyDenoiser, check_denoiser, numbers_like
from undrift.distributed.processes import Processes
from undrift.noise import Noise
from undrift.process import Process
from undrift.sampler.base import PURE_NOISE, Sampler, State
from undrift.sampler.multistep import DPM2M
from undrift.storage import affordable, write_array
from undrift.synonyms import own_words
from undrift.watching import portions, tell

_FROM_PURE_NOISE = (
    " They start from pure noise, alpha = 0 at t = {t:g}, where what divides by alpha is infinite: the drift alpha'/alpha, the score's "
    "share of the data. A step of your own is finite there if it is written with `velocity_at` or with both halves of the prediction."
)


@own_words
def sample(
    denoiser: AnyDenoiser,
    n_or_shape: int | tuple[int, ...],
    sampler: Sampler | None = None,
    steps: int | Tensor = 20,
    seed: int = 0,
    cond: Any = None,
    callback: Callable[[State], None] | None = None,
    *,
    grid: grids.Grid = grids.straight,
    batch_size: int = 256,
    first: int | Tensor = 0,
    like: Tensor | None = None,
    start: Tensor | None = None,
    strength: float = 1.0,
    out: str | Path | None = None,
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
        cond: Class labels `(n,)` (or one for all), a `Condition`, or any tensor with one row per sample; bound to the denoiser.
        callback: Called with every `State` of every batch; raise `StopIteration` in it to take that batch as it is.
        batch_size: Samples per batch; only memory and speed depend on it.
        first: Number of the first sample, for drawing a set in parts; or every sample's own, `(n,)` integers.
        like: A tensor with the wanted dtype and device. Default: those of the denoiser's parameters, at least float32; else float32,
            CPU.
        start: `(n, *D)` data, model space, to start from in place of pure noise: noised to the first time of the grid and
            denoised from there, which keeps what that noise does not hide (Meng et al. 2022, SDEdit).
        strength: Share of the grid's steps that is run, its last ones, in (0, 1]. Below 1 it wants `start`.
        out: A `.npy` file that every batch is written to as it is done, so that memory does not grow with n. The samples
            returned are those of the file, mapped. The file appears when it is complete.

    Returns:
        `(n, *D)` in model space.

    Raises:
        ValueError: n, steps, seed, first, cond, start or strength that make no sense (see the message).
        TypeError: a denoiser, a sampler, a callback or a grid that is none.
        RuntimeError: samples that are not finite.
        OutputError: `out` cannot be written.
    """
    check_denoiser(denoiser)
    if isinstance(n_or_shape, (tuple, list)):
        shape = tuple(whole(size, "n_or_shape", 1) for size in n_or_shape)
        axes = None if denoiser.shape is None else len(denoiser.shape)
        if len(shape) < 2 or axes not in (None, len(shape) - 1):
            wanted = "(n, *D)" if denoiser.shape is None else f"(n, {', '.join(map(str, denoiser.shape))}), or n alone"
            raise ValueError(f"`n_or_shape` is {shape}, how many samples and the shape of one: give {wanted}.")
    elif denoiser.shape is None:
        raise ValueError("this denoiser does not know the shape of a sample: pass `(n, *D)` instead of `n`.")
    else:
        shape = (whole(n_or_shape, "n", 1), *denoiser.shape)
    if out is not None:
        instance(out, "out", (str, Path), "name a .npy file")
    else:
        affordable(f"n = {shape[0]}", shape[0], math.prod(shape[1:]))
    parts = batches(
        denoiser, shape, DPM2M() if sampler is None else sampler, steps, seed, cond, callback,
        grid=grid, batch_size=batch_size, first=first, like=like, start=start, strength=strength,
    )  # fmt: skip
    return torch.cat(list(parts)) if out is None else to_file(Path(out), shape, parts)


def batches(
    denoiser: AnyDenoiser,
    shape: tuple[int, ...],
    sampler: Sampler,
    steps: int | Tensor,
    seed: int = 0,
    cond: Any = None,
    callback: Callable[[State], None] | None = None,
    *,
    grid: grids.Grid = grids.straight,
    batch_size: int = 256,
    first: int | Tensor = 0,
    like: Tensor | None = None,
    start: Tensor | None = None,
    strength: float = 1.0,
    processes: Processes | None = None,
) -> Iterator[Tensor]:
    """The batches of `sample`, one after the other: arguments are checked at once, samples drawn as they are asked for.

    Args:
        processes: Those that run this same call, to draw a batch each at a time and give all of them to all. For a denoiser that
            treats every row alike, given its condition; one that is bound to the rows of a batch is drawn from alone. Default: alone.
    """
    n, seed, batch_size = whole(shape[0], "n", 1), whole(seed, "seed", 0), whole(batch_size, "batch_size", 1)
    if isinstance(sampler, str):
        raise TypeError(f"`sampler` is an object, such as undrift.ABM(); names like {sampler!r} are for `Model.sample`.")
    instance(sampler, "sampler", Sampler, "give a sampler, such as undrift.ABM()")
    if callback is not None:
        function(callback, "callback", "give a function of a `State`")
    numbers = numbered(first, n)
    if like is None:
        like = numbers_like(denoiser)
    elif not tensor(instance(like, "like", Tensor, "give a tensor of the wanted dtype and device"), "like").is_floating_point():
        raise ValueError(f"`like` must be of floats, got {like.dtype}.")
    if start is not None:
        start = floats(start, "start")
        if bool(torch.isfinite(start).all()):
            fits(start, like.dtype, "start")
    times = as_grid(denoiser, grid, steps)
    times = _truncated(times, strength, start, shape)
    cond = condition.for_samples(cond, n, like.device)

    if processes is None or callback is not None or (processes.in_parts and sampler.evaluations(len(times) - 1) is None):
        processes = (
            Processes()
        )  # a network in parts is asked equally often by all, so no sampler may take as many steps as it likes

    def draw(rows: slice) -> Tensor:
        noise = Noise(numbers[rows]).fold("sample", seed)
        bound = denoiser if cond is None else denoiser.given(condition.rows(cond, rows))
        x = like.new_empty(rows.stop - rows.start, *shape[1:])
        if start is None:
            x = _prior(denoiser.process, times[0], x, noise)
        else:
            x = denoiser.process.perturb(start[rows].to(x), times[0], noise.fold("prior").normal(x))
        state = State(x, times[0])
        try:
            for state in sampler(bound, state, times, noise):  # noqa: B020 (the last state is what we want)
                tell(state.index / (len(times) - 1))
                if callback is not None:
                    callback(state)
        except StopIteration:
            pass
        bad = int((~torch.isfinite(state.x.flatten(1))).any(1).sum())
        if bad:
            alpha, sigma = denoiser.process(times[0])
            pure = alpha * denoiser.unit < PURE_NOISE * sigma
            raise RuntimeError(
                f"{type(sampler).__name__} made {bad} of {len(x)} samples that are not finite; "
                "try more steps, a lower guidance scale, or check the denoiser's own output."
                f"{_FROM_PURE_NOISE.format(t=float(times[0])) if pure else ''}"
            )
        return state.x

    def drawn(low: int, high: int) -> Tensor:
        return processes.shared(high - low, lambda rows: draw(slice(low + rows.start, low + rows.stop)))

    many = batch_size * processes.size
    return (drawn(low, min(low + many, n)) for low in portions(range(0, n, many)))


def to_file(path: Path, shape: tuple[int, ...], parts: Iterable[Tensor]) -> Tensor:
    """Write batches to one `.npy` file as they come; returns it, mapped.

    In a process that does not write (`storage.writing_nothing`) what is returned has no numbers (device "meta").

    Raises:
        OutputError: it cannot be written.
    """
    array = write_array(path, shape, (part.cpu().numpy() for part in parts))
    return torch.empty(shape, device="meta") if array is None else torch.from_numpy(array)


def as_grid(denoiser: AnyDenoiser, grid: grids.Grid, steps: int | Tensor) -> Tensor:
    """The `(n + 1,)` times that `steps` stands for: a number of them, or the times themselves, also as an array or a list.

    Raises:
        ValueError: neither.
    """
    if several(steps):
        own = isinstance(steps, Tensor) and steps.is_floating_point()
        times = tensor(steps, "steps", None if own else torch.float64)
        if times.ndim != 1 or len(times) < 2 or not times.is_floating_point():
            raise ValueError(f"`steps` must be a whole number, or (n + 1,) times that decrease, got {said(steps)}.")
        return times
    return laid_out(denoiser, function(grid, "grid", "take one of undrift.times"), whole(steps, "steps", 1))


def numbered(first: int | Tensor, n: int, name: str = "first") -> Tensor:
    """The numbers `(n,)` of samples: from the first one's on, or every sample's own.

    Raises:
        ValueError: not whole, negative, above 2^63 - 1, or another number of them than there are samples.
    """
    if several(first):
        numbers = wholes(first, name)
        if numbers.shape != (n,):
            raise ValueError(f"`{name}` must be one number, or one for each of {n} samples, got shape {tuple(numbers.shape)}.")
        if bool((numbers < 0).any()):
            raise ValueError(f"`{name}` must not be negative, got {int(numbers.min())}.")
        return numbers
    low = whole(first, name, 0, LARGEST - n)
    return torch.arange(low, low + n)


def laid_out(denoiser: AnyDenoiser, grid: grids.Grid, steps: int) -> Tensor:
    """The `(n + 1,)` times of a grid for this denoiser, its noise levels in units of the data."""
    return grid(grids.in_units(denoiser.process, denoiser.unit), steps)


def _prior(process: Process, t: Tensor, like: Tensor, noise: Noise) -> Tensor:
    """Pure noise of the level at which a grid starts, which is t_max for all but `leading`."""
    x = process.prior(like, noise)
    return x if t == process.t_max else x * (process.sigma(t) / process.sigma(torch.tensor(process.t_max, dtype=torch.float64)))


def _truncated(times: Tensor, strength: float, start: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    if not 0 < real(strength, "strength", finite=False) <= 1:
        raise ValueError(f"`strength` is the share of the steps that is run, in (0, 1], got {strength}.")
    if start is None:
        if strength < 1:
            raise ValueError("`strength` below 1 starts from noised data: give them as `start`.")
        return times
    if tuple(start.shape) != shape:
        raise ValueError(f"`start` has shape {tuple(start.shape)} for samples of shape {shape}.")
    if not bool(torch.isfinite(start).all()):
        raise ValueError("`start` has entries that are not finite.")
    steps = len(times) - 1
    return times[steps - max(1, round(strength * steps)) :]
