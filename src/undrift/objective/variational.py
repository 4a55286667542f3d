"""Training on the variational bound: the bound itself, the hybrid loss of learned variances, a learned schedule's loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from undrift.argument import choice, instance, real
from undrift.bound import Bins, Chain
from undrift.denoiser import AnyDenoiser, Denoiser, Prediction
from undrift.device import onto
from undrift.noise import Noise
from undrift.objective.denoising import DenoisingScoreMatching
from undrift.objective.given import check_given
from undrift.process import Process
from undrift.reverse import grid, half_noise_error


@dataclass(frozen=True)
class VariationalBound:
    """The bound of a discrete chain as an objective: one step drawn for each sample, scaled up to the whole sum, plus L_T.

    Unbiased for `variational_bound(...).value` (Ho et al. 2020, eq. 5; Nichol & Dhariwal 2021, eq. 4), in nats per sample.

    Args:
        steps: None for the levels of a discrete process, else a number of steps or a grid; see `undrift.reverse.grid`.
        variance: "beta", "tilde", "learned", an `AnalyticVariance` or a tensor.
        bins: For integer data, the bins of the discretised decoder.
    """

    has_floor: ClassVar[bool] = True
    second_order: ClassVar[bool] = False

    steps: int | Tensor | None = None
    variance: Any = "beta"
    bins: Bins | None = None

    def __call__(self, denoiser: AnyDenoiser, x0: Tensor, noise: Noise, cond: Any = None) -> Tensor:
        """The loss `(B,)` of each sample; arguments as in `DenoisingScoreMatching`."""
        check_given(denoiser, x0, noise)
        chain, i, eps = self.drawn(denoiser.process, x0, noise)
        t = onto(chain.times[i], x0)
        prediction, fraction = chain.evaluate(denoiser, denoiser.process.perturb(x0, t, eps), t, cond)
        alpha, sigma = denoiser.process(chain.times[0])
        prior = (alpha / sigma * x0).square().flatten(1).sum(1, dtype=torch.float64) / 2
        return (len(chain.times) - 1) * chain.term(x0, i, eps, prediction, fraction) + prior

    def drawn(self, process: Process, x0: Tensor, noise: Noise) -> tuple[Chain, Tensor, Tensor]:
        """The chain, a step `(B,)` for each sample, and its noise `(B, *D)`."""
        chain = Chain(process, grid(process, self.steps), self.variance, self.bins)
        n = len(chain.times) - 1
        i = (noise.fold("time").low_discrepancy() * n).long().clamp(max=n - 1)
        return chain, i.cpu(), noise.fold("eps").normal(x0)


@dataclass(frozen=True)
class HybridObjective:
    """`L_simple + weight L_vlb`, which trains a variance head without disturbing the mean (Nichol & Dhariwal 2021, eq. 16).

    The bound sees the prediction behind a stop-gradient: the mean learns from L_simple only, the head from the bound only. One
    evaluation serves both. L_simple is per dimension and so is L_vlb here, in nats (the paper's is in bits: a factor ln 2).

    Args:
        weight: lambda of the paper.
        steps, bins: The chain whose variances are learned; see `VariationalBound`.
        simple: The loss of the mean. Its `times` are not used: the chain's levels are drawn evenly.

    Raises:
        ValueError: when called with a network without a variance head (`learned_variance=True`).
    """

    has_floor: ClassVar[bool] = True
    second_order: ClassVar[bool] = False

    weight: float = 1e-3
    steps: int | Tensor | None = None
    bins: Bins | None = None
    simple: DenoisingScoreMatching = field(default_factory=DenoisingScoreMatching)

    def __post_init__(self) -> None:
        instance(self.simple, "simple", DenoisingScoreMatching, "give a DenoisingScoreMatching()")
        if not real(self.weight, "weight") > 0:
            raise ValueError(f"`weight` of the bound must be positive, got {self.weight}.")

    def __call__(self, denoiser: Denoiser, x0: Tensor, noise: Noise, cond: Any = None) -> Tensor:
        """The loss `(B,)` of each sample; arguments as in `DenoisingScoreMatching`."""
        check_given(denoiser, x0, noise)
        process = denoiser.process
        chain, i, eps = VariationalBound(self.steps, "learned", self.bins).drawn(process, x0, noise)
        t = onto(chain.times[i], x0)
        x = process.perturb(x0, t, eps)
        output, fraction = denoiser.outputs(x, t, cond)
        if fraction is None:
            raise ValueError("`HybridObjective` trains a variance head; give the network one: `learned_variance=True`.")
        fixed = Prediction(*(part.detach() for part in denoiser.predict(x, t, output)))
        bound = (len(chain.times) - 1) * chain.term(x0, i, eps, fixed, fraction) / x0[0].numel()
        return self.simple.of_output(denoiser, x0, t, eps, output) + self.weight * bound.to(x0.dtype)


@dataclass(frozen=True)
class ScheduleVariance:
    """The loss of a learned noise schedule: the second moment of the continuous-time bound's integrand.

    The bound does not depend on the schedule between its ends (Kingma et al. 2021, sec. 5.1), so the schedule is free to make
    its Monte-Carlo estimate less noisy; and as the mean is fixed, minimising the mean square minimises the variance (app. I.2).
    Minimise it in the schedule's parameters only: `Learned.curve.parameters()`; the network has a loss of its own, such as
    `DenoisingScoreMatching(weight="bound")`.

    Args:
        times: Only "low_discrepancy" or "uniform": even in t, which is the point of the schedule.
    """

    times: str = "low_discrepancy"

    def __post_init__(self) -> None:
        choice(self.times, "times", ("low_discrepancy", "uniform"))

    def __call__(self, denoiser: AnyDenoiser, x0: Tensor, noise: Noise, cond: Any = None) -> Tensor:
        """The squared integrand `(B,)`, in squared nats per sample."""
        check_given(denoiser, x0, noise)
        return self.integrand(denoiser, x0, noise, cond).square()

    def integrand(self, denoiser: AnyDenoiser, x0: Tensor, noise: Noise, cond: Any = None) -> Tensor:
        """`-log_snr'(t) |eps - noise|^2 / 2` times the length of the interval at one t for each sample: its mean is the bound's
        integral over [t_min, t_max], `(B,)` nats."""
        process, address = denoiser.process, noise.fold("time")
        u = address.low_discrepancy() if self.times == "low_discrepancy" else address.uniform(x0.new_empty(len(x0)).double())
        t = onto(process.t_min + u * (process.t_max - process.t_min), x0)
        (alpha, sigma), (dalpha, dsigma) = process(t), process.rates(t)
        speed = 2 * (dsigma / sigma - dalpha / alpha) * (process.t_max - process.t_min)
        eps = noise.fold("eps").normal(x0)
        return speed * half_noise_error(process, x0, t, eps, denoiser(process.perturb(x0, t, eps), t, cond))
