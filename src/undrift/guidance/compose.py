"""Several conditions at once: this and that, this without that."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from undrift.argument import said
from undrift.denoiser import AnyDenoiser, Prediction
from undrift.guidance.scale import coefficient, guidance_scale
from undrift.guidance.together import one_process, together


class Compose(AnyDenoiser):
    """`base + sum_i scale_i (d_i - base)`, a denoiser (Liu et al. 2022, eq. 11).

    In terms of densities at each noise level, p_t(x) prod_i p_t(y_i | x)^scale_i: at scales of 1 the law given all y_i, if
    they are independent given x_t. A negative scale is "without". All sides of one network share one call.

        both = Compose(d.given(None), (d.given(a), 2.0), (d.given(b), 2.0))
        one_without_the_other = Compose(d.given(None), (d.given(a), 3.0), (d.given(b), -1.0))

    Args:
        base: Usually the unconditional side.
        towards: Pairs of a denoiser of the same process and its scale: a number, or `(B,)` one per sample of the batch.

    Raises:
        ValueError: different processes.
    """

    def __init__(self, base: AnyDenoiser, *towards: tuple[AnyDenoiser, float | Tensor]) -> None:
        super().__init__()
        for pair in towards:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise TypeError(
                    f"`towards` are pairs of a denoiser and its scale, such as (d.given(label), 2.0); got {said(pair)}."
                )
        one_process("Compose", base, *(side for side, _ in towards))
        self.base, self.sides, self.scales = (
            base,
            nn.ModuleList(side for side, _ in towards),
            [guidance_scale(s) for _, s in towards],
        )
        self.process, self.shape, self.sigma_data = base.process, base.shape, base.sigma_data

    def forward(self, x: Tensor, t: Tensor | float, cond: Any = None) -> Prediction:
        base, *sides = together([self.base, *self.sides], x, t, cond)
        data, noise = base
        for side, scale in zip(sides, self.scales, strict=True):
            c = coefficient(scale, x)
            data, noise = data + c * (side.data - base.data), noise + c * (side.noise - base.noise)
        return Prediction(data, noise)
