"""Mixing two denoisers: classifier-free guidance, anti-conditioning, autoguidance, negative conditions.

One convention everywhere: `scale` multiplies the conditional direction,

    guided = weak + scale (strong - weak),

so 0 is unconditional, 1 is Bayes, above 1 sharpens and below 0 is anti-conditional. Papers that write
`(1 + w) c - w u` (000 eq. 21, Ho & Salimans 2022 eq. 6) have w = scale - 1; give that as `w=`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from undrift.denoiser import AnyDenoiser, Denoiser, Given, Prediction
from undrift.process import expand


def guidance_scale(scale: float | Tensor | None = None, w: float | Tensor | None = None) -> float | Tensor:
    """The guidance scale from either convention; 1 if neither is given.

    Raises:
        ValueError: both are given.
    """
    if scale is not None and w is not None:
        raise ValueError(f"give `scale` or `w` (= scale - 1), not both; got scale = {scale} and w = {w}.")
    if w is not None:
        return 1 + w
    return 1.0 if scale is None else scale


class Mix(AnyDenoiser):
    """`weak + scale (strong - weak)`, a denoiser.

    Classifier-free guidance is `Mix(d, d.given(None), scale)`, then `.given(labels)` or `sample(..., cond=labels)`.
    Where both sides are one network with different labels they share one call of twice the batch; at scale 1 (0) only the
    strong (weak) side is evaluated.

    Args:
        strong: The denoiser to lean towards.
        weak: The one to lean away from; same process.
        scale: A number, or `(B,)` one per sample of the batch (with `sample`: of one batch, `batch_size >= n`).
        w: `scale - 1`, instead of `scale`.

    Raises:
        ValueError: both `scale` and `w`, or two different processes.
    """

    def __init__(
        self,
        strong: AnyDenoiser,
        weak: AnyDenoiser,
        scale: float | Tensor | None = None,
        *,
        w: float | Tensor | None = None,
    ) -> None:
        super().__init__()
        if strong.process != weak.process:
            raise ValueError(
                f"`Mix` needs one process, got {strong.process} and {weak.process}; use `weak.using(strong.process)`."
            )
        self.strong, self.weak, self.scale = strong, weak, guidance_scale(scale, w)
        self.process, self.shape = strong.process, strong.shape

    def forward(self, x: Tensor, t: Tensor | float, cond: Any = None) -> Prediction:
        if isinstance(self.scale, (int, float)) and self.scale in (0, 1):
            return (self.strong if self.scale == 1 else self.weak)(x, t, cond)
        return self._mixed(*self._both(x, t, cond), x)

    def with_fraction(self, x: Tensor, t: Tensor | float, cond: Any = None) -> tuple[Prediction, Tensor]:
        """The mixture, with the learned variance of the strong side."""
        strong, fraction = self.strong.with_fraction(x, t, cond)
        return self._mixed(strong, self.weak(x, t, cond), x), fraction

    def _mixed(self, strong: Prediction, weak: Prediction, x: Tensor) -> Prediction:
        scale = expand(self.scale, x) if isinstance(self.scale, Tensor) else self.scale
        return Prediction(weak.data + scale * (strong.data - weak.data), weak.noise + scale * (strong.noise - weak.noise))

    def _both(self, x: Tensor, t: Tensor | float, cond: Any) -> tuple[Prediction, Prediction]:
        (a, cond_a), (b, cond_b) = _unbind(self.strong, cond), _unbind(self.weak, cond)
        labels = [_labels(c, x) for c in (cond_a, cond_b)]
        if a is not b or not isinstance(a, Denoiser) or labels[0] is None or labels[1] is None:
            return self.strong(x, t, cond), self.weak(x, t, cond)
        t = torch.as_tensor(t, dtype=torch.float64)
        both = a(torch.cat([x, x]), t if t.ndim == 0 else torch.cat([t, t]), torch.cat([labels[0], labels[1]]))
        (data, weak_data), (noise, weak_noise) = (part.chunk(2) for part in both)
        return Prediction(data, noise), Prediction(weak_data, weak_noise)


def _unbind(denoiser: AnyDenoiser, cond: Any) -> tuple[AnyDenoiser, Any]:
    while isinstance(denoiser, Given):
        denoiser, cond = denoiser.denoiser, denoiser.cond
    return denoiser, cond


def _labels(cond: Any, x: Tensor) -> Tensor | None:
    """Class labels `(B,)` if that is what the condition is (None is -1, "not known"); else None."""
    if cond is None:
        return torch.full((len(x),), -1, dtype=torch.int64, device=x.device)
    return cond if isinstance(cond, Tensor) and cond.shape == (len(x),) and not cond.is_floating_point() else None
