"""Conditions: what is known about the samples besides their noise.

The simple case is a tensor of class labels `(B,)`. A `Condition` has up to four parts, each with one row for each sample and a
null, the value that says "not known" for that sample:

    part       what it is                             shape                   null
    label      a class                                (B,) int64              -1
    vector     numbers                                (B, K)                  NaN
    image      a picture, beside the noisy one        (B, C, H, W)            NaN, also for single pixels
    sequence   embeddings in order, or word numbers   (B, L, C) or (B, L)     `mask` False for all of the row

As the null is a value and not an absence, batches are cut, joined and moved without looking inside, some samples may know
what others do not, and the conditional and the unconditional branch of guidance are two rows of one batch (Ho & Salimans 2022).
A denoiser called with None, with a part left out and with that part's null gives one answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from undrift.argument import said, tensor
from undrift.device import onto
from undrift.noise import Noise

PARTS = ("label", "vector", "image", "sequence")
_AXES = {"label": (1,), "vector": (2,), "image": (4,), "sequence": (2, 3), "mask": (2,)}
_WHOLE = {"label": torch.int64, "sequence": torch.int64, "mask": torch.bool}
_SHAPES = {"label": "(B,)", "vector": "(B, K)", "image": "(B, C, H, W)", "sequence": "(B, L, C) or (B, L)", "mask": "(B, L)"}


@dataclass(frozen=True, eq=False)
class Condition:
    """What is known about a batch; every part is optional and has one row for each sample.

    Args:
        label: `(B,)` int64 classes, -1 for not known.
        vector: `(B, K)` numbers of about unit size; a row with a NaN is not known.
        image: `(B, C, H, W)` in model space; NaN where not known.
        sequence: `(B, L, C)` embeddings, or `(B, L)` int64 numbers of words for a network that reads them.
        mask: `(B, L)` bool, False where the sequence has nothing to say. Default: all True.

    Raises:
        ValueError: a part of another shape or type, parts of different batches, a mask without a sequence.

    Example:
        >>> both = Condition(label=torch.tensor([3, -1]), vector=torch.tensor([[0.5], [1.0]]))
        >>> len(both), both.rows(slice(1, 2)).label.tolist()
        (2, [-1])
    """

    label: Tensor | None = None
    vector: Tensor | None = None
    image: Tensor | None = None
    sequence: Tensor | None = None
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        for name, part in self.parts().items():
            if not isinstance(part, Tensor):  # an array, a list
                object.__setattr__(self, name, tensor(part, name))
        if self.mask is None and self.sequence is not None and self.sequence.ndim < 2:
            raise ValueError(f"`sequence` must be {_SHAPES['sequence']}, got shape {tuple(self.sequence.shape)}.")
        if self.mask is None and self.sequence is not None:
            object.__setattr__(self, "mask", torch.ones(self.sequence.shape[:2], dtype=torch.bool, device=self.sequence.device))
        if self.mask is not None and (self.sequence is None or self.mask.shape != self.sequence.shape[:2]):
            raise ValueError("`mask` must be (B, L), like the first two axes of `sequence`.")
        for name, part in self.parts().items():
            fits = part.is_floating_point() if name in ("vector", "image") or part.ndim == 3 else part.dtype == _WHOLE[name]
            if part.ndim not in _AXES[name] or not fits:
                kind = {"label": "int64", "mask": "bool", "sequence": "floats or int64"}.get(name, "floats")
                raise ValueError(f"`{name}` must be {kind} of shape {_SHAPES[name]}, got {part.dtype} {tuple(part.shape)}.")
        counts = [part.shape[0] for part in self.parts().values()]
        if any(count != counts[0] for count in counts):  # compared one by one: a set would fix the batch of an exported graph
            raise ValueError(f"the parts of a condition have different numbers of rows: {self}.")

    def parts(self) -> dict[str, Tensor]:
        """The parts that there are, the mask included, by name."""
        each = {name: getattr(self, name) for name in (*PARTS, "mask")}
        return {name: part for name, part in each.items() if part is not None}

    def map(self, change: Callable[[Tensor], Tensor]) -> Condition:
        """Every part changed alike."""
        return Condition(**{name: change(part) for name, part in self.parts().items()})

    def rows(self, index: slice | Tensor) -> Condition:
        """Some of the samples."""
        return self.map(lambda part: part[index])

    def to(self, device: torch.device | str | None) -> Condition:
        """On another device; None: where it is."""
        return self if device is None else self.map(lambda part: onto(part, torch.device(device)))

    def __len__(self) -> int:
        return next((len(part) for part in self.parts().values()), 0)

    def __repr__(self) -> str:
        return f"Condition({', '.join(f'{name} {tuple(part.shape)}' for name, part in self.parts().items())})"


def as_condition(cond: Tensor | Condition | None) -> Condition:
    """A tensor as the labels that it holds, None as a condition without parts."""
    if isinstance(cond, Condition):
        return cond
    return Condition() if cond is None else Condition(label=cond)


def labels_of(cond: Any) -> Any:
    """The labels of a condition, for a denoiser that can be told nothing else.

    Raises:
        ValueError: it has other parts.
    """
    if not isinstance(cond, Condition):
        return cond
    if other := sorted({*cond.parts()} - {"label"}):
        raise ValueError(f"this denoiser knows classes only, but the condition has a part {other[0]}.")
    return cond.label


def for_samples(cond: Any, n: int, device: torch.device | str | None = None) -> Any:
    """A condition for `n` samples: a single label is repeated, everything else must have `n` rows.

    Args:
        cond: None, a `Condition`, one label, or a tensor (or list) with one row per sample.
        n: How many samples.
        device: Where to put it.

    Raises:
        ValueError: another number of rows.
    """
    if cond is None:
        return None
    if isinstance(cond, Condition):
        cond = cond.to(device)
    else:
        cond = tensor(cond, "cond")
        cond = cond if device is None else onto(cond, torch.device(device))
        cond = cond.expand(n) if cond.ndim == 0 else cond
    if len(cond) != n:
        raise ValueError(f"`cond` has {len(cond)} rows for {n} samples: pass one for all, or one each.")
    return cond


def for_network(cond: Any, x: Tensor) -> Any:
    """A condition as a network wants it, for the batch `x` `(B, *D)`: numbers and lists of them become tensors.

    Raises:
        TypeError: a name or a set, which no network reads.
        ValueError: another number of rows, or complex numbers.
    """
    if cond is None or isinstance(cond, (Tensor, Condition)):
        return cond
    if isinstance(cond, (str, bytes)):
        raise TypeError(f"`cond` is {said(cond)}, but a denoiser is told class numbers (B,); names are for a `Model`.")
    if isinstance(cond, (Real, complex, np.ndarray, np.generic, list, tuple, set, frozenset)):
        return for_samples(cond, len(x), x.device)
    return cond  # a network's own affair


def rows(cond: Any, index: slice | Tensor) -> Any:
    """Some of the samples of any condition."""
    return cond.rows(index) if isinstance(cond, Condition) else None if cond is None else cond[index]


def repeat(cond: Any, n: int) -> Any:
    """A condition of one row, or a single label, for `n` samples."""
    one = for_samples(cond, 1)
    return None if one is None else rows(one, torch.zeros(n, dtype=torch.int64))


def null_like(cond: Any) -> Any:
    """The null of every part, in every row.

    Raises:
        ValueError: a bare tensor that is no labels, whose null nobody knows.
    """
    if cond is None:
        return None
    if isinstance(cond, Condition):
        return Condition(**{name: _null(name, part, len(cond)) for name, part in cond.parts().items()})
    if not _is_labels(cond):
        raise ValueError(
            f"a bare tensor {cond.dtype} {tuple(cond.shape)} has no null; say what it is, as in Condition(vector=...)."
        )
    return torch.full_like(cond, -1)


def informed(cond: Any, n: int) -> Tensor:
    """Which of `n` samples know anything: `(n,)` bool, False where every part is its null."""
    if cond is None:
        return torch.zeros(n, dtype=torch.bool)
    if not isinstance(cond, Condition):
        return cond != null_like(cond)
    parts = cond.parts()
    if "mask" in parts:
        del parts["sequence"]  # its null is the mask's
    known = {
        "label": lambda part: part >= 0,
        "vector": lambda part: ~part.isnan().any(1),
        "image": lambda part: ~part.isnan().flatten(1).all(1),
        "mask": lambda part: part.any(1),
    }
    found = [known[name](part) for name, part in parts.items()]
    return torch.stack(found).any(0) if found else torch.zeros(n, dtype=torch.bool)


def joinable(conds: Sequence[Any], n: int) -> bool:
    """Whether `cat` can make one condition of these, each for the same `n` samples: labels, `Condition`s and None can."""
    return all(c is None or ((isinstance(c, Condition) or _is_labels(c)) and len(c) == n) for c in conds)


def cat(conds: Sequence[Any]) -> Any:
    """One condition for batches end to end, as for guidance, which asks two questions in one call.

    A part that one lacks is its null there; None is the null of all parts, with as many rows as the first that is not None.
    Sequences of different lengths are filled up with masked entries.
    """
    known = [c for c in conds if c is not None]
    if not known:
        return None
    if not any(isinstance(c, Condition) for c in known):
        return torch.cat([null_like(known[0]) if c is None else c for c in conds])
    each = [Condition() if c is None else as_condition(c) for c in conds]
    counts = [len(known[0]) if c is None else len(c) for c in conds]
    length = max((c.sequence.shape[1] for c in each if c.sequence is not None), default=0)
    joined = {}
    for name in (*PARTS, "mask"):
        found = [getattr(c, name) for c in each]
        like = next((part for part in found if part is not None), None)
        if like is not None:
            parts = [_null(name, like, n) if p is None else p for p, n in zip(found, counts, strict=True)]
            joined[name] = torch.cat([_longer(p, length) for p in parts] if name in ("sequence", "mask") else parts)
    return Condition(**joined)


def drop(cond: Any, rate: float | Mapping[str, float], noise: Noise) -> Any:
    """Some samples' conditions replaced by the null, so that one network learns with and without (Ho & Salimans 2022, alg. 1).

    Args:
        cond: Labels, a `Condition`, or None.
        rate: Probability in [0, 1) that a sample loses all that is known of it; or, by the name of a part, that it loses that
            part, each independently of the others.
        noise: One address per sample.
    """
    if cond is None:
        return None
    if isinstance(rate, Mapping):
        cond = as_condition(cond)
        for name, share in rate.items():
            names = {"sequence": ("sequence", "mask")}.get(name, (name,))
            part = Condition(**{k: v for k, v in cond.parts().items() if k in names})
            cond = replace(cond, **drop(part, share, noise.fold(name)).parts()) if len(part) else cond
        return cond
    device = next(iter(cond.parts().values())).device if isinstance(cond, Condition) else cond.device
    lost = noise.uniform(torch.empty(len(cond), dtype=torch.float32, device=device)) < rate
    if not isinstance(cond, Condition):
        return torch.where(lost, null_like(cond), cond)
    null = null_like(cond).parts()
    chosen = {
        name: torch.where(lost.reshape(-1, *[1] * (part.ndim - 1)), null[name], part) for name, part in cond.parts().items()
    }
    return Condition(**chosen)


def _is_labels(cond: Any) -> bool:
    return isinstance(cond, Tensor) and cond.ndim == 1 and not cond.is_floating_point()


def _null(name: str, like: Tensor, n: int) -> Tensor:
    return like.new_full((n, *like.shape[1:]), {"label": -1, "vector": math.nan, "image": math.nan}.get(name, 0))


def _longer(part: Tensor, length: int) -> Tensor:
    missing = part.new_zeros((len(part), length - part.shape[1], *part.shape[2:]))
    return torch.cat([part, missing], 1)
