"""Addressed randomness: every random number is a function of what it is for.

A number's address is (sample, path, position): which sample of which seed, for what purpose ("eps", step 7, ...), which
entry of the array. The same address gives the same number in a batch of 1 or 512, in any order, on any number of
processes, after any number of restarts; so nothing random is ever stored, and no call consumes anything.

The generator is Philox4x32-10 (`undrift.philox`), the counter-based generator of most GPU libraries: the path is hashed to the key, the sample and the position are
the counter, and ten rounds of multiply-and-xor turn each counter into four words of 32 random bits. Normals come from
uniforms in pairs by Box & Muller (1958).
"""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from undrift.argument import said, wholes
from undrift.device import onto
from undrift.philox import words_of

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # 2^64 / golden ratio, as a signed integer


@dataclass(frozen=True, eq=False)
class Noise:
    """Random numbers for a batch, one address per sample.

    Args:
        seeds: `(B,)` integers in [0, 2^63), one per sample: its global number, not its place in this batch.
        path: What the numbers are for; extended by `fold`.

    Example:
        >>> noise = Noise(range(8)).fold("demo")
        >>> a, b = noise.normal((8, 2)), noise[3:5].normal((2, 2))
        >>> bool((a[3:5] == b).all())
        True
    """

    seeds: Tensor | Sequence[int]
    path: tuple[str | int, ...] = ()
    _there: dict[torch.device, Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if getattr(self.seeds, "ndim", 1) != 1 or not hasattr(self.seeds, "__iter__"):
            raise ValueError(f"`seeds` must be one non-negative integer per sample, got {said(self.seeds)}.")
        given = self.seeds if isinstance(self.seeds, (Tensor, np.ndarray)) else list(self.seeds)
        seeds = wholes(given, "seeds") if len(given) else torch.empty(0, dtype=torch.int64)
        if seeds.ndim != 1 or (len(seeds) and bool((seeds < 0).any())):
            raise ValueError(f"`seeds` must be one non-negative integer per sample, got shape {tuple(seeds.shape)}.")
        object.__setattr__(self, "seeds", seeds)
        object.__setattr__(self, "_there", {})

    def __len__(self) -> int:
        return len(self.seeds)

    def fold(self, *label: str | int) -> Noise:
        """A new address below this one; the same labels always give the same numbers."""
        return self._at(self.seeds, self.path + tuple(p if isinstance(p, str) else operator.index(p) for p in label), self._there)

    def __getitem__(self, rows: slice | Tensor) -> Noise:
        """The noise of some of the samples: each keeps its address."""
        seeds = torch.as_tensor(self.seeds)
        return self._at(seeds[rows.to(seeds.device) if isinstance(rows, Tensor) else rows], self.path, {})

    @staticmethod
    def _at(seeds: Tensor | Sequence[int], path: tuple[str | int, ...], there: dict[torch.device, Tensor]) -> Noise:
        """An address from checked parts: checking again would make a GPU wait. `there`: the seeds by device, copied to each once."""
        noise = object.__new__(Noise)
        object.__setattr__(noise, "seeds", seeds)
        object.__setattr__(noise, "path", path)
        object.__setattr__(noise, "_there", there)
        return noise

    def normal(self, like: Tensor | Sequence[int]) -> Tensor:
        """Standard normals `(B, *D)` in the shape, dtype and device of `like` (or of a shape: float32, whatever torch makes by default).

        In float32 they are made in float32: half the time, and within 1e-7 of the float64 ones (2e-4 for the one in 10^7 whose
        pair is that near to zero).

        Raises:
            ValueError: `like` has another batch size than there are seeds.
        """
        shape, dtype, device = self._target(like)
        # A word w becomes (w + 1/2) / 2^32, above 0, so the logarithm is finite and |z| stays below 6.8.
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        words = self._words(shape, device, wide).add_(0.5).mul_(2.0**-32)
        a, b = words.chunk(2, 1)
        radius, angle = a.log().mul_(-2).sqrt_(), b.mul_(2 * math.pi)
        torch.mul(radius, angle.cos(), out=a)
        b.sin_().mul_(radius)
        return self._rows(words, shape).to(dtype)

    def uniform(self, like: Tensor | Sequence[int]) -> Tensor:
        """Uniforms in the open interval (0, 1), `(B, *D)`; otherwise as `normal`."""
        shape, dtype, device = self._target(like)
        words = self._words(shape, device, torch.float64).add_(0.5).mul_(2.0**-32)
        # Rounding to fewer digits could give 1 itself.
        return self._rows(words, shape).to(dtype).clamp(max=1 - torch.finfo(dtype).eps / 2)

    def low_discrepancy(self) -> Tensor:
        """`(B,)` float64 uniforms that fill (0, 1) evenly over consecutive seeds: `frac(shift + seed / golden ratio)`.

        A Kronecker sequence with a random shift per path: each number alone is uniform and addressed, and any run of
        consecutive seeds has discrepancy O(log B / B), like the stratified times of Kingma et al. 2021, app. I.1, but
        without knowing the batch.
        """
        shift = Noise([0], (*self.path, "shift")).uniform((1,)).double().squeeze()
        golden = torch.as_tensor(self.seeds) * _GOLDEN  # wraps: the fraction of seed * 2^64 / golden ratio
        fraction = ((golden >> 11) & (2**53 - 1)).double() * 2.0**-53
        return ((fraction + shift) % 1.0).clamp(min=2.0**-53)

    def _target(self, like: Tensor | Sequence[int]) -> tuple[tuple[int, ...], torch.dtype, torch.device]:
        tensor = isinstance(like, Tensor)
        shape = tuple(like.shape) if isinstance(like, Tensor) else tuple(like)
        if not shape or shape[0] != len(self):
            raise ValueError(
                f"the noise has {len(self)} addresses, but the batch has shape {shape}. Pass `noise[rows]` for a part of a batch."
            )
        if tensor:
            return shape, like.dtype, like.device  # type: ignore[union-attr]
        return shape, torch.float32, torch.device("cpu")

    def _words(self, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
        """Random words for `shape`, `(B, 4 blocks)` of `dtype`, at least as many per row as asked for: four per counter."""
        if device not in self._there:
            self._there[device] = onto(torch.as_tensor(self.seeds), device)
        seeds = self._there[device][:, None]
        blocks = torch.arange(-(-math.prod(shape[1:]) // 4), device=device)
        digest = hashlib.blake2b(repr(self.path).encode(), digest_size=8).digest()
        key = int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")
        words = torch.empty(len(self), 4 * len(blocks), dtype=dtype, device=device)
        for part, word in zip(words.chunk(4, 1), words_of(blocks, seeds, key), strict=True):
            part.copy_(word)
        return words

    @staticmethod
    def _rows(words: Tensor, shape: tuple[int, ...]) -> Tensor:
        """`(B, 4 blocks)` to `(B, *D)`."""
        return words[:, : math.prod(shape[1:])].reshape(shape)
