"""Inverse problems: from samples of p(x_0) to samples of p(x_0 | y), where y = A(x_0) + noise_std n was measured.

The posterior's denoiser is the prior's, shifted by the gradient of log p(y | x_t) (`guidance.shift`). That likelihood has no
closed form: the methods of `inverse.method` approximate p(x_0 | x_t) in it, and `smc` corrects what they get wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from undrift.argument import floats, function, instance, real
from undrift.denoiser import AnyDenoiser, Prediction, check_denoiser
from undrift.guidance.shift import REACH, shifted, within_reach
from undrift.inverse.operator import Operator
from undrift.process import expand
from undrift.process.base import like


@dataclass(frozen=True)
class Observation:
    """A measurement `y = operator(x_0) + noise_std n`, checked.

    Args:
        operator: A.
        y: `(B, *Y)`, one row per sample; `(1, *Y)` or `(*Y)`, one for all.
        noise_std: Standard deviation of the noise, in the units of y, positive.

    Raises:
        ValueError: y of another shape, NaN or infinite; noise that is not positive.
    """

    operator: Operator
    y: Tensor
    noise_std: float

    def __post_init__(self) -> None:
        wanted = instance(self.operator, "operator", Operator, "give an Operator, such as undrift.inverse.mask(keep)").measured
        object.__setattr__(self, "y", floats(self.y, "y"))
        if tuple(self.y.shape) == wanted:
            object.__setattr__(self, "y", self.y[None])
        if tuple(self.y.shape[1:]) != wanted or not len(self.y):
            raise ValueError(f"`y` has shape {tuple(self.y.shape)}; {self.operator.name} gives (B, *{wanted}).")
        if not bool(torch.isfinite(self.y).all()):
            raise ValueError(f"{int((~torch.isfinite(self.y)).sum())} of {self.y.numel()} values of `y` are NaN or infinite.")
        if not (real(self.noise_std, "noise_std", finite=False) > 0 and math.isfinite(self.noise_std)):
            raise ValueError(f"`noise_std` must be positive and finite, got {self.noise_std}; an exact y has a small one.")
        object.__setattr__(self, "noise_std", float(self.noise_std))

    def rows(self, x: Tensor) -> Tensor:
        """y for a batch `(B, *X)`, with its dtype and device."""
        if len(self.y) not in (1, len(x)):
            raise ValueError(f"`y` has {len(self.y)} rows for a batch of {len(x)}: pass one for all, or one each.")
        return self.y.to(x)


class View:
    """What the denoiser knows of a measurement at one noisy batch: all that a method needs.

    Attributes:
        x: `(B, *D)` noisy samples.
        prediction: Of the prior.
        residual: `y - A(data)`, `(B, *Y)`.
        noise_std: Of the measurement.
        alpha, sigma: To multiply `x`.
    """

    def __init__(self, denoiser: AnyDenoiser, observation: Observation, x: Tensor, t: Tensor, cond: Any, through: bool) -> None:
        self.operator, self.noise_std = observation.operator, observation.noise_std
        self._keep = x.requires_grad and torch.is_grad_enabled()  # for a posterior of a posterior
        with torch.set_grad_enabled(through or self._keep):
            self.x = x if x.requires_grad or not through else x.detach().requires_grad_()
            data, noise = denoiser(self.x, t, cond)
            self._value = self.operator(data)
        if not self._keep:
            data, noise = data.detach(), noise.detach()
        self.prediction, self.data = Prediction(data, noise), data
        self.residual = observation.rows(x) - (self._value if self._keep else self._value.detach())
        alpha, sigma = denoiser.process(t)
        self.alpha, self.sigma = expand(alpha, x), expand(sigma, x)

    def back(self, u: Tensor) -> Tensor:
        """`J^T A^T u`, `(B, *Y)` to `(B, *D)`: J the derivative of the denoised mean, through the network."""
        return torch.autograd.grad(self._value, self.x, u, retain_graph=True, create_graph=self._keep)[0]

    def covariance(self, u: Tensor) -> Tensor:
        """`A C A^T u`, `(B, *Y)`: C = sigma^2/alpha J is the covariance of p(x_0 | x_t) (Tweedie), symmetric, so J^T does."""
        return self.operator.slope(like(self.sigma**2 / self.alpha, self.data) * self.back(u), self.data)

    def adjoint(self, u: Tensor) -> Tensor:
        """`A^T u`, `(B, *Y)` to `(B, *X)`."""
        return self.operator.adjoint(u, None if self.operator.linear else self.data)

    def gram(self, u: Tensor) -> Tensor:
        """`A A^T u`, `(B, *Y)`."""
        return self.operator.slope(self.adjoint(u), self.data)


class Method(Protocol):
    """An approximation of the gradient of log p(y | x_t), `(B, *D)`; `through`: whether it differentiates the network."""

    through: ClassVar[bool]

    def __call__(self, view: View) -> Tensor: ...


class Posterior(AnyDenoiser):
    """The denoiser of p(x_0 | y): `data + sigma^2/alpha grad log p(y | x_t)`, up to what the method approximates.

    It goes with every sampler, process and guidance, and with itself (two measurements).

    Args:
        denoiser: Of the prior.
        operator: The measurement, of samples of `denoiser.shape`.
        y: `(B, *Y)`, one row per sample of the batch (with `sample`: of one batch, `batch_size >= n`), or one for all.
        noise_std: Standard deviation of the measurement's noise, in the units of y, positive.
        method: Of `undrift.inverse`: `MMPS()`, `TMPD()`, `PiGDM()`, `DPS()`, `DiffPIR()`.

    Raises:
        ValueError: y, operator and denoiser that do not fit each other; NaN in y; noise that is not positive.

    Source: Chung et al. 2023, eq. 6; for the methods see each.
    """

    def __init__(self, denoiser: AnyDenoiser, operator: Operator, y: Tensor, noise_std: float, method: Method) -> None:
        super().__init__()
        check_denoiser(denoiser)
        instance(operator, "operator", Operator, "give an Operator, such as undrift.inverse.mask(keep)")
        function(method, "method", "give a method of undrift.inverse, such as MMPS()")
        if isinstance(method, type) or not hasattr(method, "through"):
            raise TypeError("`method` is an object of undrift.inverse, such as MMPS(), with the brackets.")
        if denoiser.shape is not None and denoiser.shape != operator.shape:
            raise ValueError(f"{operator.name} measures samples of {operator.shape}, the denoiser's are {denoiser.shape}.")
        self.denoiser, self.method = denoiser, method
        self.observation = Observation(operator, y, noise_std)
        self.process, self.shape, self.sigma_data = denoiser.process, operator.shape, denoiser.sigma_data

    def forward(self, x: Tensor, t: Tensor | float, cond: Any = None) -> Prediction:
        view = self.view(x, t, cond)
        return shifted(view.prediction, self.process, x, t, self.method(view), REACH * self.unit)

    def view(self, x: Tensor, t: Tensor | float, cond: Any = None) -> View:
        """What the prior's denoiser knows of the measurement at `x` `(B, *D)`, within reach."""
        near = within_reach(self.process, x, t, REACH * self.unit)
        return View(self.denoiser, self.observation, *near, cond, self.method.through)
