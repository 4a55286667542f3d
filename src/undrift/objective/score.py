"""Score matching without a regression target: explicit, implicit (Hyvarinen) and sliced.

All three measure the same distance of the model's score s to the score of the noised data, at a drawn time, in nats per unit of
time: the sum over the entries of a sample, with the factor 1/2 of the papers.

    explicit    |s - grad log p_t|^2 / 2                        Fisher divergence, p_t known          001 eq. 3.4, 003 eq. 1
    implicit    tr(grad s) + |s|^2 / 2                          explicit - E|grad log p_t|^2 / 2      Hyvarinen 2005, eq. 4
    sliced      v' grad s v + (v's)^2 / 2                       the same in expectation over v        Song et al. 2019, eq. 6
    sliced VR   v' grad s v + |s|^2 / 2                         the same with less variance           Song et al. 2019, eq. 8

The implicit form follows by parts, where p s vanishes at infinity; 000 eq. 3 prints its trace with a minus, which learns
-grad log p. Denoising score matching differs from explicit by a constant too (Vincent 2011). None of the constants depends on
the model; so the minimum of the implicit forms is not zero but -E|grad log p_t|^2 / 2.

Implicit forms differentiate the network in x, and training differentiates that once more; each projection costs one more
backward pass. They see noised data x_t like everything else; to match the score of the data themselves, look at one small
noise level, `times=at(0.01)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from undrift.argument import choice, function, whole
from undrift.denoiser import AnyDenoiser, check_denoiser, score_at
from undrift.device import onto
from undrift.noise import Noise
from undrift.objective.denoising import WEIGHTS, Weight
from undrift.objective.given import check_given
from undrift.objective.quantile import NAMES, Quantile, draw
from undrift.process import Process, expand
from undrift.process.base import like

LAWS = ("rademacher", "gaussian", "sphere")


def projections(law: str, x: Tensor, noise: Noise) -> Tensor:
    """Random directions v `(B, *D)` with `E v v' = I`: signs, normals, or the sphere of radius sqrt(d)."""
    if law == "rademacher":
        return noise.uniform(x).sub(0.5).sign()
    v = noise.normal(x)
    if law == "sphere":
        v = v * expand((v[0].numel() / v.square().flatten(1).sum(1)).sqrt(), v)
    return v


@dataclass(frozen=True)
class _ScoreObjective:
    """What the objectives here share.

    `weight`: "simple" (1), "sigma2" (sigma^2, so that all noise levels count alike), "likelihood" (g^2), "bound" (g^2/2), or a
    function (process, t) -> weight of the squared score error. `times`: as in `DenoisingScoreMatching`, without "importance".
    """

    has_floor: ClassVar[bool] = False
    second_order: ClassVar[bool] = True

    weight: str | Weight = field(default="simple", kw_only=True)
    times: str | Quantile = field(default="uniform", kw_only=True)

    def __post_init__(self) -> None:
        known = ("simple", *WEIGHTS)
        for name in ("weight", "times"):
            if not isinstance(getattr(self, name), str):
                function(getattr(self, name), name, "give a name or a function; see `DenoisingScoreMatching`")
        if isinstance(self.weight, str) and self.weight not in known:
            raise ValueError(f"`weight` {self.weight!r} is not one of {', '.join(known)}, nor a function.")
        if isinstance(self.times, str) and self.times not in NAMES:
            raise ValueError(f"`times` {self.times!r} is not one of {', '.join(NAMES)}, nor a function.")

    def __call__(self, denoiser: AnyDenoiser, x0: Tensor, noise: Noise, cond: Any = None) -> Tensor:
        """The loss of each sample; arguments as in `DenoisingScoreMatching`.

        Returns:
            `(B,)`, differentiable in the network's parameters.
        """
        check_given(denoiser, x0, noise)
        t = onto(draw(denoiser.process, self.times, noise), x0)
        x = denoiser.process.perturb(x0, t, noise.fold("eps").normal(x0))
        return self.at(denoiser, x, t, noise, cond) * like(self._weight(denoiser.process, t), x0)

    def at(self, denoiser: AnyDenoiser, x: Tensor, t: Tensor, noise: Noise, cond: Any = None) -> Tensor:
        """The loss `(B,)` at noised samples `x` `(B, *D)`, without weight."""
        raise NotImplementedError

    def _weight(self, process: Process, t: Tensor) -> Tensor:
        if callable(self.weight):
            return self.weight(process, t)
        if self.weight == "simple":
            return torch.ones_like(t)
        alpha, sigma = process(t)
        return WEIGHTS[self.weight](process, t) * (sigma**2 / alpha) ** 2  # from the data error to the score error


@dataclass(frozen=True)
class ExplicitScoreMatching(_ScoreObjective):
    """Half the squared distance to a known score (Fisher divergence).

    Args:
        exact: The denoiser whose score is the truth, such as a `GaussianMixture`; seen through the trained one's process.
        weight, times: See the other objectives here.
    """

    exact: AnyDenoiser

    def __post_init__(self) -> None:
        super().__post_init__()
        check_denoiser(self.exact, "exact")

    def at(self, denoiser: AnyDenoiser, x: Tensor, t: Tensor, noise: Noise, cond: Any = None) -> Tensor:
        exact = self.exact if self.exact.process == denoiser.process else self.exact.using(denoiser.process)
        with torch.no_grad():
            truth = score_at(exact, x, t, cond)
        return (score_at(denoiser, x, t, cond) - truth).square().flatten(1).sum(1) / 2


@dataclass(frozen=True)
class ImplicitScoreMatching(_ScoreObjective):
    """Hyvarinen's objective, with the exact trace in few dimensions and a stochastic one in many.

    Args:
        exact_up_to: Samples of at most so many entries get the exact trace, one backward pass for each entry.
        probes: Projections of the stochastic trace for larger ones (Hutchinson 1990).
        law: Of the projections: "rademacher", "gaussian" or "sphere".
        weight, times: "simple" and "uniform", or see `DenoisingScoreMatching`; weights are those of the score error.

    Raises:
        ValueError: an unknown name; no probe.
    """

    exact_up_to: int = 32
    probes: int = 1
    law: str = "rademacher"

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self.exact_up_to, "exact_up_to", 0)
        _check(self.probes, self.law)

    def at(self, denoiser: AnyDenoiser, x: Tensor, t: Tensor, noise: Noise, cond: Any = None) -> Tensor:
        size = x[0].numel()
        if size <= self.exact_up_to:
            basis = torch.eye(size, dtype=x.dtype, device=x.device).reshape(size, *x.shape[1:])
            score, curvature = _curvature(denoiser, x, t, cond, [e.expand_as(x) for e in basis])
            trace = curvature.sum(0)
        else:
            score, curvature = _curvature(denoiser, x, t, cond, _probes(self.law, self.probes, x, noise))
            trace = curvature.mean(0)
        return trace + score.square().flatten(1).sum(1) / 2


@dataclass(frozen=True)
class SlicedScoreMatching(_ScoreObjective):
    """Sliced score matching: Hyvarinen's objective along random directions.

    Args:
        probes: Directions for each sample, averaged.
        law: "rademacher", "gaussian" or "sphere"; all with `E v v' = I`, so all are unbiased.
        reduced_variance: |s|^2 itself instead of its projection (v's)^2. Less variance where all directions have one length
            ("rademacher", "sphere"); with "gaussian" the two terms of the plain form cancel in part, and it may have a little
            less. Both have far more than the others.
        weight, times: As in `ImplicitScoreMatching`.

    Raises:
        ValueError: an unknown name; no probe.
    """

    probes: int = 1
    law: str = "rademacher"
    reduced_variance: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.probes, self.law)

    def at(self, denoiser: AnyDenoiser, x: Tensor, t: Tensor, noise: Noise, cond: Any = None) -> Tensor:
        directions = _probes(self.law, self.probes, x, noise)
        score, curvature = _curvature(denoiser, x, t, cond, directions)
        if self.reduced_variance:
            return curvature.mean(0) + score.square().flatten(1).sum(1) / 2
        along = torch.stack([(v * score).flatten(1).sum(1) for v in directions])
        return (curvature + along.square() / 2).mean(0)


def _check(probes: int, law: str) -> None:
    whole(probes, "probes", 1)
    choice(law, "law", LAWS)


def _probes(law: str, count: int, x: Tensor, noise: Noise) -> list[Tensor]:
    return [projections(law, x, noise.fold("probe", k)) for k in range(count)]


def _curvature(denoiser: AnyDenoiser, x: Tensor, t: Tensor, cond: Any, directions: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The score `(B, *D)` and `v' (grad s) v` `(K, B)` for each direction."""
    training = torch.is_grad_enabled()
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        score = score_at(denoiser, x, t, cond)
        pull: Callable[[Tensor], Tensor] = lambda v: torch.autograd.grad(  # noqa: E731
            score, x, v, create_graph=training, retain_graph=True, materialize_grads=True
        )[0]
        curvature = torch.stack([(pull(v) * v).flatten(1).sum(1) for v in directions])
    return (score, curvature) if training else (score.detach(), curvature.detach())
