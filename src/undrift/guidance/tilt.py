"""Tilting a denoiser by a probability: classifier guidance, and any other condition that can be scored on noisy samples.

Bayes, in scores: grad log p(x_t | y) = grad log p(x_t) + grad_x log p(y | x_t) (Song et al. 2021, eq. 14; Dhariwal & Nichol
2021, eq. 2; 000 eq. 20). In the two halves of a prediction, with g = scale grad_x log p(y | x_t),

    data + (sigma^2 / alpha) g,        noise - sigma g,

which keeps x_t = alpha data + sigma noise. `log_prob` must know about the noise: p(y | x_t), not p(y | x_0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from undrift.argument import function, wholes
from undrift.denoiser import AnyDenoiser, Prediction, check_denoiser
from undrift.guidance.scale import coefficient, guidance_scale
from undrift.guidance.shift import shifted, within_reach

LogProb = Callable[[Tensor, Tensor, Any], Tensor]
FAINT = 1e-4  # alpha/sigma, in units of the data, below which the gradient, itself of order alpha, is no longer divided by alpha


class Tilt(AnyDenoiser):
    """`data + scale sigma^2/alpha grad_x log p(y | x_t)`, a denoiser.

    A class is asked for as anywhere: `Tilt(d.given(None), classifier, scale)`, then `.given(labels)` or
    `sample(..., cond=labels)`. On a conditional `d` the condition goes to both (Dhariwal & Nichol 2021 guide such a model). At
    scale 0 only `denoiser` is evaluated.

    Where there is almost no signal, alpha/sigma < 1e-4, p(y | x_t) hardly depends on x_t: its gradient vanishes like alpha, and
    the data half needs their ratio. That is bounded and by then constant, so it is taken at alpha/sigma = 1e-4 instead.

    Args:
        denoiser: Of the law to be tilted; usually the unconditional side.
        log_prob: `(x (B, *D), t () or (B,) float64, cond) -> (B,)`, log p(y | x_t) in nats up to a constant, differentiable
            in x, each row of its own row alone: a `NoisyClassifier`, `class_log_prob(...)`, or your own function.
        scale: A number, or `(B,)` one per sample of the batch: 0 is no guidance, 1 Bayes, above 1 sharpens.
        w: `scale - 1`, instead of `scale`.

    Raises:
        ValueError: both `scale` and `w`; a classifier of another process; a `log_prob` of another shape, or independent of x.
    """

    def __init__(
        self,
        denoiser: AnyDenoiser,
        log_prob: LogProb,
        scale: float | Tensor | None = None,
        *,
        w: float | Tensor | None = None,
    ) -> None:
        super().__init__()
        check_denoiser(denoiser)
        function(log_prob, "log_prob", "give a NoisyClassifier, or a function (x, t, cond) -> (B,)")
        known = getattr(log_prob, "process", denoiser.process)
        if known != denoiser.process:
            raise ValueError(
                f"`Tilt` needs one process, got {denoiser.process} and a classifier of {known}; tilt first, then "
                "`.using(process)`."
            )
        self.denoiser, self.log_prob, self.scale = denoiser, log_prob, guidance_scale(scale, w)
        self.process, self.shape, self.sigma_data = denoiser.process, denoiser.shape, denoiser.sigma_data

    def forward(self, x: Tensor, t: Tensor | float, cond: Any = None) -> Prediction:
        return self._tilted(self.denoiser(x, t, cond), x, t, cond)

    def with_fraction(self, x: Tensor, t: Tensor | float, cond: Any = None) -> tuple[Prediction, Tensor]:
        """The tilted prediction, with the learned variance of the denoiser."""
        prediction, fraction = self.denoiser.with_fraction(x, t, cond)
        return self._tilted(prediction, x, t, cond), fraction

    def _tilted(self, prediction: Prediction, x: Tensor, t: Tensor | float, cond: Any) -> Prediction:
        if isinstance(self.scale, (int, float)) and self.scale == 0:
            return prediction
        reach = self.unit / FAINT
        near_x, near_t = within_reach(self.process, x, t, reach)
        gradient = coefficient(self.scale, x) * self._gradient(near_x, near_t, cond)
        return shifted(prediction, self.process, x, t, gradient, reach)

    def _gradient(self, x: Tensor, t: Tensor, cond: Any) -> Tensor:
        """grad_x log p(y | x_t), `(B, *D)`; differentiable again wherever gradients are on, and usable under `no_grad`."""
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x if again and x.requires_grad else x.detach().requires_grad_()
            value = self.log_prob(x, t, cond)
            if value.shape != (len(x),) or not value.requires_grad:
                raise ValueError(
                    f"`log_prob` must return ({len(x)},) values that depend differentiably on x, but gave "
                    f"{tuple(value.shape)}{'' if value.requires_grad else ' without a gradient'}."
                )
            (gradient,) = torch.autograd.grad(value.sum(), x, create_graph=again)
        return gradient


def class_log_prob(logits: Callable[[Tensor, Tensor], Tensor]) -> LogProb:
    """log p(y | x_t) from a classifier of noisy samples, for `Tilt`.

    Args:
        logits: `(x (B, *D), t) -> (B, C)`, log-probabilities of the classes up to a constant.

    Returns:
        `(x, t, cond) -> (B,)`, where `cond` is `(B,)` class numbers; -1 and None are "not known": 0, without a gradient.
    """

    function(logits, "logits", "give a function (x, t) -> (B, C)")

    def log_prob(x: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        table = logits(x, t).log_softmax(1)
        cond = torch.full((len(x),), -1, device=x.device) if cond is None else wholes(cond, "cond").to(x.device)
        strange = cond.device.type == "cpu" and bool((cond >= table.shape[1]).any())  # elsewhere to look would wait
        if cond.shape != (len(x),) or cond.is_floating_point() or strange:
            raise ValueError(f"`cond` must be ({len(x)},) class numbers below {table.shape[1]}, -1 for not known.")
        chosen = table.gather(1, cond.clamp(min=0)[:, None])[:, 0]
        return torch.where(cond >= 0, chosen, 0.0)

    return log_prob
