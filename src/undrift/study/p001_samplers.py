"""Paper 001, Table 1: its three models (SMLD, DDPM, SDE) with their samplers, which several studies sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import undrift as ud
from undrift import times as grids
from undrift.sampler import State
from undrift.study.context import StudyContext
from undrift.study.figure import moments

# SMLD's step 2e-5 and 100 moves at each of ten levels are of the paper's code; on pictures from -1 to 1 as on those from 0 to 1.
WAYS: dict[str, tuple[str, ud.Sampler]] = {
    "SMLD": ("001-smld", ud.AnnealedLangevin(corrector=ud.Langevin(2e-5**0.5 / (2 * 0.01)), corrections=100)),
    "DDPM": ("001-ddpm", ud.Ancestral()),
    "SDE": ("001-sde", ud.Ancestral()),
}
SHARES = tuple(k / 20 for k in range(21))  # of the steps, at which states are looked at


@dataclass(frozen=True)
class Drawn:
    """Samples of one of the three.

    Attributes:
        x: `(n, *shape)` in model space, as shown.
        strip: Ten states of the first four samples, each held to the range of pictures.
        seen: For each of `SHARES`, the share of states that a classifier which knows the noise takes for what they become.
        guess: The same of the predictions of the data at those moments, by the classifier of clean digits.
        evaluations: What a sample cost.
    """

    x: Tensor
    strip: list[Tensor]
    seen: list[float]
    guess: list[float]
    evaluations: int


def drawn(context: StudyContext, name: str) -> Drawn:
    """Samples by the paper's sampler with its steps, drawn once for all studies of a context."""
    return context.once(("001", name), lambda: _drawn(context, name))


def _drawn(context: StudyContext, name: str) -> Drawn:
    recipe, sampler = WAYS[name]
    model, n = context.model(recipe), context.samples
    context.tell(f"sampling {name}")
    process = model.denoiser.process
    times = process.levels if name == "SMLD" else grids.uniform(process, context.count(1000, least=20))
    assert times is not None
    if isinstance(sampler, ud.AnnealedLangevin):
        sampler = ud.AnnealedLangevin(corrector=sampler.corrector, corrections=context.count(sampler.corrections))
    start = process.prior(torch.empty(n, *model.spec.shape, dtype=torch.float32), ud.Noise(range(n)).fold("sample", 0))
    states = [State(start, times[0], data=torch.zeros_like(start))]
    wanted = {*moments(len(times), 10), *(round(s * (len(times) - 1)) for s in SHARES)}

    def keep(state: State) -> None:
        states.append(
            state if len(states) in wanted else State(start, state.t)
        )  # the numbers of a moment that nobody looks at go

    x = context.shown(ud.sample(model.denoiser, (n, *model.spec.shape), sampler, times, callback=keep, batch_size=n))
    final, known = context.judge.classify(x), context.noisy_judge
    noisy = ud.NoisyClassifier(known.net, process, known.log_prior.exp(), known.sigma_data)  # it sees sigma/alpha, of any process
    seen, guess = list[float](), list[float]()
    for part in SHARES:
        state = states[round(part * (len(times) - 1))]
        alpha, sigma = process(state.t)
        assert state.data is not None
        clean = sigma < 0.02 * alpha  # less than the noisy one was ever shown
        with torch.no_grad():
            taken = context.judge.classify(state.x) if clean else noisy.logits(state.x, state.t).argmax(1).cpu()
        seen.append(float((taken == final).double().mean()))
        guess.append(float((context.judge.classify(state.data) == final).double().mean()))
    strip = [states[i].x[:4].clamp(-1, 1) for i in moments(len(times), 10)]
    return Drawn(x, strip, seen, guess, sampler.evaluations(len(times) - 1) or 0)
