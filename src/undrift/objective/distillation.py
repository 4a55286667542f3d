"""Distillation: a network learns what another denoiser answers, and not what the noise was.

Score matching regresses on x_0 and eps, of which only the conditional mean can be known; the rest of its loss is noise that no
network removes. Here the regression is on a teacher's prediction at the same x_t: the same minimiser if the teacher is exact, a
loss that can go to zero, and gradients without that noise (Vincent 2011's identity, read backwards). The teacher may be any
denoiser, so also a guided one, whose two evaluations become one: stage one of Meng et al. 2023, "On distillation of guided diffusion
models", for one scale.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from undrift.denoiser import AnyDenoiser, Denoiser, check_denoiser
from undrift.objective.denoising import DenoisingScoreMatching


@dataclass(frozen=True)
class Distillation(DenoisingScoreMatching):
    """`E_t w(t) |error in space|^2` per dimension, where the error is that to the teacher's prediction of data and noise.

    Args:
        teacher: What is to be learnt, of the student's process (else: `teacher.using(process)`). It is not trained.
        space, weight, times: As for `DenoisingScoreMatching`.

    Raises:
        ValueError: as there; when called, a teacher of another process.
    """

    has_floor: ClassVar[bool] = False  # a student may begin as its teacher, at zero

    teacher: AnyDenoiser = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_denoiser(self.teacher, "teacher")

    def at(self, denoiser: Denoiser, x0: Tensor, t: Tensor, eps: Tensor, cond: Any = None) -> Tensor:
        """The weighted loss `(B,)` at given times `(B,)` and noise `(B, *D)`."""
        if self.teacher.process != denoiser.process:
            raise ValueError(
                f"the teacher sees {self.teacher.process}, the student {denoiser.process}; bring it there with `.using(process)`."
            )
        x = denoiser.process.perturb(x0, t, eps)
        with torch.no_grad():
            data, noise = self.teacher(x, t, cond)
        return self.of_output(denoiser, data, t, noise, denoiser.output(x, t, cond))
