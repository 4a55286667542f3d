"""Mixing two denoisers: classifier-free guidance, anti-conditioning, autoguidance, negative conditions.

One convention everywhere: `scale` multiplies the conditional direction,

    guided = weak + scale (strong - weak),

so 0 is unconditional, 1 is Bayes, above 1 sharpens and below 0 is anti-conditional. Papers that write
`(1 + w) c - w u` (000 eq. 21, Ho & Salimans 2022 eq. 6) have w = scale - 1; give that as `w=`.

    classifier-free guidance    Mix(d, d.given(None), scale)
    negative condition          Mix(d.given(wanted), d.given(unwanted), scale)
    autoguidance                Mix(d, weaker, scale)               an earlier or smaller network (Karras et al. 2024)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from undrift.argument import real
from undrift.denoiser import AnyDenoiser, Prediction
from undrift.guidance.scale import coefficient, guidance_scale
from undrift.guidance.together import one_process, together
from undrift.process import as_time, expand
from undrift.process.base import like


class Mix(AnyDenoiser):
    """`weak + scale (strong - weak)`, a denoiser.

    Classifier-free guidance is `Mix(d, d.given(None), scale)`, then `.given(labels)` or `sample(..., cond=labels)`.
    Where both sides are one network with different conditions they share one call of twice the batch; at scale 1 (0) only the
    strong (weak) side is evaluated.

    Large scales make the data too large: colours burn. `rescale` brings each sample's standard deviation over its entries
    back to the strong side's, `data <- (1 - phi + phi std(strong) / std(data)) data` (Lin et al. 2024, eq. 14-16, there of the
    network's output), with the noise that then goes with it.

    Args:
        strong: The denoiser to lean towards.
        weak: The one to lean away from; same process.
        scale: A number, or `(B,)` one per sample of the batch (with `sample`: of one batch, `batch_size >= n`).
        w: `scale - 1`, instead of `scale`.
        rescale: phi, from 0 (none) to 1 (all).

    Raises:
        ValueError: both `scale` and `w`, two different processes, or phi outside [0, 1].
    """

    def __init__(
        self,
        strong: AnyDenoiser,
        weak: AnyDenoiser,
        scale: float | Tensor | None = None,
        *,
        w: float | Tensor | None = None,
        rescale: float = 0.0,
    ) -> None:
        super().__init__()
        one_process("Mix", strong, weak)
        if not 0 <= real(rescale, "rescale", finite=False) <= 1:
            raise ValueError(f"`rescale` is a share between 0 (none) and 1 (all), got {rescale}.")
        self.strong, self.weak, self.scale, self.rescale = strong, weak, guidance_scale(scale, w), rescale
        self.process, self.shape, self.sigma_data = strong.process, strong.shape, strong.sigma_data

    def forward(self, x: Tensor, t: Tensor | float, cond: Any = None) -> Prediction:
        if isinstance(self.scale, (int, float)) and (self.scale == 1 or (self.scale == 0 and not self.rescale)):
            return (self.strong if self.scale == 1 else self.weak)(x, t, cond)
        strong, weak = together((self.strong, self.weak), x, t, cond)
        return self._mixed(strong, weak, x, t)

    def with_fraction(self, x: Tensor, t: Tensor | float, cond: Any = None) -> tuple[Prediction, Tensor]:
        """The mixture, with the learned variance of the strong side."""
        strong, fraction = self.strong.with_fraction(x, t, cond)
        return self._mixed(strong, self.weak(x, t, cond), x, t), fraction

    def _mixed(self, strong: Prediction, weak: Prediction, x: Tensor, t: Tensor | float) -> Prediction:
        scale = coefficient(self.scale, x)
        data, noise = (torch.lerp(a, b, scale) for a, b in zip(weak, strong, strict=True))
        if not self.rescale:
            return Prediction(data, noise)
        alpha, sigma = (expand(a, x) for a in self.process(as_time(t, x)))
        wanted, found = (y.flatten(1).std(1, correction=0) for y in (strong.data, data))
        ratio = torch.where(found > 0, wanted / found, 1.0)
        excess = self.rescale * expand(1 - ratio, x) * data
        # Without noise all sides say the same, so there the excess is zero.
        return Prediction(data - excess, noise + like(alpha / torch.where(sigma > 0, sigma, 1.0), x) * excess)
