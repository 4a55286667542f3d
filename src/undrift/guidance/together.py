"""One call of a network for several denoisers that differ in the condition alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from undrift.condition import cat, joinable
from undrift.denoiser import AnyDenoiser, Denoiser, Given, Prediction, check_denoiser


def together(sides: Sequence[AnyDenoiser], x: Tensor, t: Tensor | float, cond: Any = None) -> list[Prediction]:
    """The prediction of each side; k sides of one network cost one call of k times the batch.

    Args:
        sides: Denoisers of one process.
        x, t, cond: See `AnyDenoiser.forward`.
    """
    asked = [_unbind(side, cond) for side in sides]
    found: dict[int, Prediction] = {}
    for root in {id(root): root for root, _ in asked}.values():
        rows = [i for i, (other, _) in enumerate(asked) if other is root]
        conds = [asked[i][1] for i in rows]
        if len(rows) == 1 or not isinstance(root, Denoiser) or not joinable(conds, len(x)):
            found |= {i: sides[i](x, t, cond) for i in rows}
            continue
        k, time = len(rows), torch.as_tensor(t, dtype=torch.float64)
        whole = root(torch.cat([x] * k), time if time.ndim == 0 else torch.cat([time] * k), cat(conds))
        found |= {
            i: Prediction(*part) for i, part in zip(rows, zip(*(half.chunk(k) for half in whole), strict=True), strict=True)
        }
    return [found[i] for i in range(len(sides))]


def one_process(name: str, first: AnyDenoiser, *others: AnyDenoiser) -> None:
    """Constructor check: all sides are denoisers and see the same noise. Raises TypeError or ValueError if not."""
    for side in (first, *others):
        check_denoiser(side, f"a side of {name}")
    for other in others:
        if other.process != first.process:
            raise ValueError(
                f"`{name}` needs one process, got {first.process} and {other.process}; bring the second to the first's with "
                "`.using(process)`."
            )


def _unbind(denoiser: AnyDenoiser, cond: Any) -> tuple[AnyDenoiser, Any]:
    while isinstance(denoiser, Given):
        denoiser, cond = denoiser.denoiser, denoiser.cond
    return denoiser, cond
