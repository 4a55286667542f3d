"""Restoring: samples of what a measurement may have been of, in data units."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from undrift.argument import instance, said, whole
from undrift.asked import Asked, Guidance, Sampling, as_numbers, as_sampler
from undrift.condition import Condition
from undrift.data.spec import Spec
from undrift.denoiser import AnyDenoiser, Denoiser, numbers_like
from undrift.error import UndriftError
from undrift.guidance import guidance_scale
from undrift.inverse import Observation, Operator, Posterior, smc
from undrift.inverse.posterior import Method
from undrift.recipe.conditions import MeasuredOptions
from undrift.recipe.operators import named_method, named_operator
from undrift.recipe.recipe import SamplingOptions
from undrift.sampler import sample
from undrift.storage import affordable


class Restorer(Protocol):
    """What is asked of a `Model` to restore with it."""

    denoiser: Denoiser
    spec: Spec
    sampling: SamplingOptions

    @property
    def measures(self) -> MeasuredOptions | None: ...

    def labels(self, n: int, cond: Asked) -> Tensor | None: ...

    def must_know_without(self) -> None: ...

    def leaning(self, scale: float | Tensor, guide: Any, interval: tuple[float, float] | None, rescale: float) -> AnyDenoiser: ...


SAMPLER, STEPS = "ancestral", 100  # if nothing is said


def restored(
    model: Restorer,
    y: Tensor,
    operator: str | Operator | None,
    noise_std: float | None,
    draws: int,
    method: str | Method,
    asked: Guidance,
    particles: int,
    walk: Sampling,
) -> Tensor:
    """`Model.restore`, which see for the arguments; `asked` and `walk` are its guidance and sampling."""
    as_sampler(SAMPLER if walk.sampler is None else walk.sampler)
    draws, particles = whole(draws, "draws"), whole(particles, "particles")
    if model.measures is not None:
        if operator not in (None, model.measures.operator) or noise_std is not None or method != "mmps" or particles:
            raise UndriftError(
                f"this model was trained to be told {model.measures.operator}; leave out another operator, the noise, the method "
                "and particles, or restore with a model that was not"
            )
        return _told(model, as_numbers(y, "y"), model.measures.build(model.spec.shape), draws, asked, walk)
    if operator is None or noise_std is None:
        raise UndriftError("an operator and the standard deviation of its noise are needed: how was it measured?")
    chosen = named_operator(operator, model.spec.shape) if isinstance(operator, str) else operator
    instance(chosen, "operator", Operator, 'give an `Operator`, or a name such as "blur:2"')
    how = named_method(method) if isinstance(method, str) else method
    if isinstance(how, type) or not hasattr(how, "through"):
        raise TypeError(f"`method` is {said(how)}: give a method of undrift.inverse, such as MMPS(), or the name of one.")
    if draws < 1 or particles < 0:
        raise UndriftError(f"ask for at least one draw and no negative number of particles, not {draws} and {particles}")
    like = numbers_like(model.denoiser)
    # What is measured keeps its digits until its shift is taken away.
    wide = as_numbers(y, "y").to(like.device, torch.float64)
    shift, scale = (model.spec.units(v, wide) for v in (model.spec.shift, model.spec.scale))

    def moved(m: Tensor) -> Tensor:
        """A measurement of model space, less that of its middle."""
        if chosen.linear:
            return chosen(scale.to(m) * m)
        return chosen((shift + scale * m.double()).to(m)) - base.to(m)

    try:
        seen = Observation(chosen, wide, noise_std)
        base = of_middle(chosen, shift)
        inner = Operator(moved, model.spec.shape, chosen.linear)
    except ValueError as error:
        raise UndriftError(str(error).rstrip(".")) from None
    rest = (seen.y - base).to(like)
    if not bool(torch.isfinite(rest).all()):
        bad = ~torch.isfinite(rest)
        raise UndriftError(
            f"{int(bad.sum()):,} of {rest.numel():,} values of `y` are too large for these data, such as {seen.y[bad][0]:g}; "
            "give it in data units"
        )
    affordable(f"draws = {draws}, particles = {particles}", draws * max(1, particles) * len(rest), model.spec.size)
    denoiser, labels = guided(model, len(rest), asked)
    if particles:
        found = smc(
            denoiser, inner, rest, noise_std, how, particles, STEPS if walk.steps is None else walk.steps, walk.seed, labels
        ).draw(draws, walk.seed)
    else:
        posterior = Posterior(denoiser, inner, rest.repeat_interleave(draws, 0), noise_std, how)
        each = None if labels is None else labels.repeat_interleave(draws)
        found = drawn(model, posterior, len(rest) * draws, walk, each, batch_size=len(rest) * draws)
    return model.spec.from_model(found.view(len(rest), draws, *model.spec.shape))


def _told(model: Restorer, y: Tensor, operator: Operator, draws: int, asked: Guidance, walk: Sampling) -> Tensor:
    """`restore` by a model that is told y: conditional samples."""
    like = numbers_like(model.denoiser)
    y = y.to(like.device, torch.float64)
    y = y[None] if y.shape == operator.measured else y
    if draws < 1 or tuple(y.shape[1:]) != operator.measured or not len(y) or not bool(torch.isfinite(y).all()):
        raise UndriftError(
            f"ask for at least one draw of finite measurements of shape (N, {', '.join(map(str, operator.measured))}), "
            f"not {draws} of {tuple(y.shape)}"
        )
    shift, scale = (model.spec.units(v, y) for v in (model.spec.shift, model.spec.scale))
    image = ((y - of_middle(operator, shift)) / scale).to(like).repeat_interleave(draws, 0)
    denoiser, labels = guided(model, len(y), asked)
    told = Condition(label=None if labels is None else labels.repeat_interleave(draws), image=image)
    found = drawn(model, denoiser, (len(image), *model.spec.shape), walk, told)
    return model.spec.from_model(found.view(len(y), draws, *model.spec.shape))


def guided(model: Restorer, n: int, asked: Guidance) -> tuple[AnyDenoiser, Tensor | None]:
    """The denoiser of a question with its guidance, and the class numbers `(n,)`; without words about guidance as it was trained.

    Raises:
        UndriftError: no class for a model that knows nothing without; guidance without a class.
    """
    labels = model.labels(n, asked.cond)
    if labels is None:
        model.must_know_without()
    if asked.scale is None and asked.w is None and asked.guide is None and asked.interval is None and not asked.rescale:
        return model.denoiser, labels
    if labels is None and not hasattr(asked.guide, "denoiser"):
        raise UndriftError("guidance (a scale, an interval) needs a class to be guided to; name one (cond, --class)")
    strength = 1.0 if asked.scale is None and asked.w is None else guidance_scale(asked.scale, asked.w)
    return model.leaning(strength, asked.guide, asked.interval, asked.rescale), labels


def drawn(model: Restorer, denoiser: AnyDenoiser, n: Any, walk: Sampling, cond: Any, **options: Any) -> Tensor:
    """Samples `n` of a denoiser, in model space, as `walk` says."""
    if walk.grid is not None:
        options["grid"] = model.sampling.layout(walk.grid)
    return sample(
        denoiser,
        n,
        as_sampler(SAMPLER if walk.sampler is None else walk.sampler),
        STEPS if walk.steps is None else walk.steps,
        walk.seed,
        cond,
        **options,
    )


def of_middle(operator: Operator, shift: Tensor) -> Tensor:
    """What is measured of the middle of model space, `(1, *Y)` float64; by operators of float32 alone as well as they can."""
    middle = shift.expand(1, *operator.shape)
    try:
        return operator(middle).double()
    except RuntimeError:
        return operator(middle.float()).double()
