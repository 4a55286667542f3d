"""Guidance for those samples alone that have a condition."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from undrift.condition import informed, rows
from undrift.denoiser import AnyDenoiser, Prediction
from undrift.guidance.together import one_process
from undrift.process import as_time


class WhereTold(AnyDenoiser):
    """`guided` for the samples whose condition says anything, `plain` for those that are told nothing.

    A student of a guided teacher learns both from one batch: what is asked for leans, what is not stays as it was. Each side is
    evaluated on its own samples only.

    Args:
        guided: The denoiser of samples with a condition.
        plain: That of samples without; same process.

    Raises:
        ValueError: different processes.
    """

    def __init__(self, guided: AnyDenoiser, plain: AnyDenoiser) -> None:
        super().__init__()
        one_process("WhereTold", guided, plain)
        self.guided, self.plain = guided, plain
        self.process, self.shape, self.sigma_data = guided.process, guided.shape, guided.sigma_data

    def forward(self, x: Tensor, t: Tensor | float, cond: Any = None) -> Prediction:
        told, t = informed(cond, len(x)), as_time(t, x)
        found = Prediction(torch.empty_like(x), torch.empty_like(x))
        for side, mine in ((self.guided, told), (self.plain, ~told)):
            if bool(mine.any()):
                asked = rows(cond, mine)
                answer = side(x[mine], t if t.ndim == 0 else t[mine], asked)
                for whole, part in zip(found, answer, strict=True):
                    whole[mine] = part.to(whole.dtype)
        return found
