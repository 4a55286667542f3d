"""Measurement operators: what an instrument makes of a sample, `y = A(x_0) + noise_std n`.

An operator is a function of batches, `(B, *X)` to `(B, *Y)`. Its adjoint and its slope come from automatic differentiation,
so any function that torch can differentiate will do. Linear ones are checked to be linear when they are made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from undrift.argument import floats, function, instance, real, said, tensor, whole
from undrift.noise import Noise


@dataclass(frozen=True)
class Operator:
    """A measurement of samples of one shape.

    Args:
        function: `(B, *X)` to `(B, *Y)`, row by row, differentiable.
        shape: `X`.
        linear: Whether `function(a x + b z) = a function(x) + b function(z)`; checked.
        name: For messages.

    Attributes:
        measured: `Y`.

    Raises:
        ValueError: a function that does not take `(B, *X)`, loses the batch axis, is declared linear and is not.

    Example:
        >>> halves = Operator(lambda x: x[:, :2] + x[:, 2:], (4,))
        >>> halves(torch.tensor([[1.0, 2.0, 3.0, 4.0]])).tolist(), halves.adjoint(torch.tensor([[1.0, 5.0]])).tolist()
        ([[4.0, 6.0]], [[1.0, 5.0, 1.0, 5.0]])
    """

    function: Callable[[Tensor], Tensor]
    shape: tuple[int, ...]
    linear: bool = True
    name: str = "function"
    measured: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        instance(self.linear, "linear", bool, "say True or False")
        function(self.function, "function", "give a function of (B, *X)")
        object.__setattr__(self, "shape", _shape(self.shape))
        x, z = Noise(range(4)).fold("operator").normal((4, *self.shape)).chunk(2)
        try:
            y = self.function(x)
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"{self.name} does not take (B, *{self.shape}): {str(error).splitlines()[0]}") from None
        if not isinstance(y, Tensor) or y.is_complex():
            raise ValueError(f"{self.name} must make a tensor of real numbers, but made {said(y)}.")
        if y.ndim < 2 or len(y) != 2:
            raise ValueError(f"{self.name} must map (B, *{self.shape}) to (B, *Y), but made {tuple(y.shape)} of 2 rows.")
        if not y.numel():
            raise ValueError(f"{self.name} measures nothing: of a sample it makes {tuple(y.shape[1:])}.")
        object.__setattr__(self, "measured", tuple(y.shape[1:]))
        if self.linear:
            gap = (self.function(2 * x - 3 * z) - 2 * y + 3 * self.function(z)).abs().max()
            if not gap <= 1e-4 * (1 + y.abs().max()):
                raise ValueError(f"{self.name} is declared linear but is not (off by {gap:.2g}); declare it with linear=False.")

    def __call__(self, x: Tensor) -> Tensor:
        """The measurement without noise, `(B, *X)` to `(B, *Y)`."""
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"{self.name} measures (B, *{self.shape}), got {tuple(x.shape)}.")
        return self.function(x)

    def __matmul__(self, first: Operator) -> Operator:
        """The composition: `(a @ b)(x) = a(b(x))`."""
        if first.measured != self.shape:
            raise ValueError(f"{self.name} measures {self.shape}, but {first.name} gives {first.measured}.")
        return Operator(lambda x: self(first(x)), first.shape, self.linear and first.linear, f"{self.name} of {first.name}")

    def adjoint(self, y: Tensor, at: Tensor | None = None) -> Tensor:
        """`A^T y`, `(B, *Y)` to `(B, *X)`; of the slope at the samples `at` where A is not linear."""
        if at is None and not self.linear:
            raise ValueError(f"{self.name} is not linear: say `at` which samples its slope is to be taken.")
        with torch.enable_grad():
            x = y.new_zeros(len(y), *self.shape) if at is None else at
            keep = x.requires_grad or y.requires_grad
            x = x if x.requires_grad else x.detach().requires_grad_()
            return torch.autograd.grad(self(x), x, y, create_graph=keep)[0]

    def slope(self, v: Tensor, at: Tensor) -> Tensor:
        """The derivative of A at the samples `at` in direction `v`, both `(B, *X)`, `(B, *Y)`; A v itself if A is linear."""
        return self(v) if self.linear else torch.func.jvp(self.function, (at,), (v,))[1]


def _shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a sample. Raises TypeError or ValueError."""
    if not isinstance(shape, Sequence) or isinstance(shape, str) or not len(shape):
        raise TypeError(f"`shape` is that of one sample, such as (1, 28, 28), got {said(shape)}.")
    return tuple(whole(size, "shape", 1) for size in shape)


def mask(keep: Tensor) -> Operator:
    """The entries where `keep` `(*X)` is true (not zero), `(B, n)`; the others are not measured."""
    keep = tensor(keep, "keep")
    places = keep.flatten().nonzero()[:, 0]
    if not len(places):
        raise ValueError("a mask that keeps nothing measures nothing; keep at least one entry.")
    there = {places.device: places}
    return Operator(
        lambda x: x.flatten(1)[:, there.setdefault(x.device, places if x.device in there else places.to(x.device))],
        tuple(keep.shape),
        name="mask",
    )


class Kept:
    """Numbers that are copied to a device once, and stay there."""

    def __init__(self, values: Tensor) -> None:
        self.values, self._there = values, dict[tuple[torch.device, torch.dtype], Tensor]()

    def like(self, x: Tensor) -> Tensor:
        """The numbers with the dtype and on the device of x."""
        key = x.device, x.dtype
        if key not in self._there:
            self._there[key] = self.values.to(x)
        return self._there[key]


def blur(shape: Sequence[int], std: float) -> Operator:
    """Gaussian blur of `std` pixels along every axis but the channels' (of vectors `(D,)`: along D).

    Near an edge the kernel is cut and normalised again, so that constant images stay as they are.
    """
    shape = _shape(shape)
    if not (real(std, "std", finite=False) > 0 and math.isfinite(std)):
        raise ValueError(f"blur needs a positive standard deviation in pixels, got {std}.")
    first = 1 if len(shape) > 1 else 0
    kernels: list[Kept] = []
    for size in shape[first:]:
        where = torch.arange(size, dtype=torch.float64)
        kernel = torch.exp(-0.5 * ((where[:, None] - where) / std) ** 2)
        kernels.append(Kept((kernel / kernel.sum(1, keepdim=True)).mT))

    def apply(x: Tensor) -> Tensor:
        for axis, kernel in enumerate(kernels, 1 + first):
            x = (x.movedim(axis, -1) @ kernel.like(x)).movedim(-1, axis)
        return x

    return Operator(apply, tuple(shape), name="blur")


def downsample(shape: Sequence[int], factor: int) -> Operator:
    """The mean of each block of `factor` entries along every axis but the channels' (of vectors `(D,)`: along D)."""
    shape, factor = _shape(shape), whole(factor, "factor")
    first = 1 if len(shape) > 1 else 0
    bad = [size for size in shape[first:] if factor < 1 or size % factor]
    if bad:
        raise ValueError(f"downsample:{factor} does not divide the size {bad[0]} of {tuple(shape)}.")
    blocks = [n for size in shape[first:] for n in (size // factor, factor)]
    means = list(range(first + 2, 2 + first + len(blocks), 2))
    return Operator(lambda x: x.reshape(len(x), *shape[:first], *blocks).mean(means), tuple(shape), name=f"downsample:{factor}")


def greyscale(shape: Sequence[int]) -> Operator:
    """The mean of the channels, `(B, C, ...)` to `(B, 1, ...)`."""
    shape = _shape(shape)
    if len(shape) < 2 or shape[0] < 2:
        raise ValueError(f"greyscale needs at least two channels, samples of {tuple(shape)} have none or one.")
    return Operator(lambda x: x.mean(1, keepdim=True), tuple(shape), name="greyscale")


def matrix(values: Tensor, shape: Sequence[int] | None = None) -> Operator:
    """`(n, d)` times the `d` flattened entries of a sample, `(B, n)`. `shape`: of a sample, default `(d,)`."""
    values = floats(values, "values")
    if values.ndim != 2 or not bool(torch.isfinite(values).all()):
        raise ValueError(f"a matrix operator needs finite (n, d) values, got shape {tuple(values.shape)}.")
    shape = (values.shape[1],) if shape is None else tuple(shape)
    if math.prod(shape) != values.shape[1]:
        raise ValueError(f"a matrix of {values.shape[1]} columns does not act on samples of shape {shape}.")
    kept = Kept(values.mT)
    return Operator(lambda x: x.flatten(1) @ kept.like(x), shape, name="matrix")


def project(shape: Sequence[int], share: float, seed: int = 0) -> Operator:
    """Compressed sensing: `share` of as many random projections as entries, `(B, n)`.

    Rows are `N(0, I/d)`, so a projection has the size of an entry; row i is the same whatever the share.
    """
    shape, seed = _shape(shape), whole(seed, "seed", 0)
    if not 0 < real(share, "share", finite=False) <= 1:
        raise ValueError(f"project needs a share of the entries in (0, 1], got {share}.")
    d = math.prod(shape)
    count = max(1, round(share * d))
    rows = Noise(range(count)).fold("project", seed).normal(torch.empty(count, d, dtype=torch.float32)) / math.sqrt(d)
    return Operator(matrix(rows, shape).function, tuple(shape), name="project")
