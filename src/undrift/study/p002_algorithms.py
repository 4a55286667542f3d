"""Paper 002: its algorithms, as printed and as meant, on a Gaussian mixture whose answers are known exactly."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import undrift as ud
from undrift.metrics.energy import Energy
from undrift.study.base import MISPRINT, Claim, Measured, Seen, Study, every
from undrift.study.context import StudyContext
from undrift.study.figure import cloud, panels
from undrift.study.slide_algorithms import BAR, BETA, CHAIN, TILDE, WANTED, Step, law, posterior_mean, recovered, run, said

LADDER, KNOWN = ud.SMLD(10, 0.05, 3.0), torch.tensor([True, False])


def _slide(a: Callable[[int], Tensor], b: Callable[[int], Tensor]) -> Step:
    """A posterior mean `a x_t + b x_0`, with the right noise; both are printed over 1 - bar."""
    return lambda x, p, t: ((a(t) * x + b(t) * p.data) / (1 - BAR[t]), TILDE[t])


WAYS: dict[str, Step] = {  # Algorithm 2, and what other slides print for one of its two terms
    "Algorithm 2": lambda x, p, t: (posterior_mean(x, p, t), TILDE[t]),
    "noise, as printed": lambda x, p, t: (posterior_mean(x, p, t), (BETA[t] / (1 - BAR[t])).sqrt() * BETA[t]),
    "mean, first slide": _slide(lambda t: BETA[t].sqrt() * (1 - BAR[t - 1]), lambda t: BETA[t].sqrt() * BAR[t - 1]),
    "mean, second slide": _slide(lambda t: BAR[t].sqrt() * (1 - BAR[t - 1]), lambda t: BAR[t].sqrt() * BAR[t - 1]),
    "mean, summary": _slide(
        lambda t: (1 - BETA[t]).sqrt() * (1 - BAR[t - 1]), lambda t: (1 - BETA[t]).sqrt() * (BAR[t - 1] * BETA[t]).sqrt()
    ),
}  # fmt: skip


def trained(steps: int) -> float:
    """Algorithm 1 on draws of the law, and how far its noise is from the exact one: excess of the loss over its least value."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        denoiser = ud.Denoiser(ud.nn.MLP((2,), 64, 2), CHAIN, ud.target.noise, shape=(2,))
    exact, objective = law(CHAIN), ud.DenoisingScoreMatching()
    optimizer = torch.optim.Adam(denoiser.parameters(), 2e-3)
    for k in range(steps):
        noise = ud.Noise(range(256)).fold("train", k)
        loss = objective(denoiser, exact.sample(256, noise.fold("data")).float(), noise).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    noise, n = ud.Noise(range(4000)).fold("test"), 4000
    t = ud.DenoisingScoreMatching().draw_times(denoiser, noise)[0]
    x = CHAIN.perturb(exact.sample(n, noise), t, noise.fold("eps").normal((n, 2)).double())
    with torch.no_grad():
        gap = denoiser(x.float(), t).noise - exact(x, t).noise
    return float(gap.square().mean() / exact(x, t).noise.square().mean())


def annealed(moves: int) -> ud.AnnealedLangevin:
    """The slides' annealed Langevin, with so many moves at each of ten levels."""
    return ud.AnnealedLangevin(corrector=ud.Langevin(0.2), corrections=moves)


def inpainted(n: int, moves: int) -> tuple[Tensor, Tensor, Tensor]:
    """Algorithm 2 of inpainting with x_1 = 1 known: as printed, with the known value put back, and draws of the exact answer."""
    value, noise = torch.tensor([[1.0, 0.0]], dtype=torch.float64), ud.Noise(range(n)).fold("printed")
    fixed = ud.impute(law(LADDER), value, KNOWN, n, sampler=annealed(moves), steps=LADDER.levels, batch_size=n)[:, 0]
    last = 0.05 * noise.normal(fixed)  # y = x + z of the last level is what the slide returns where x is known
    return torch.where(KNOWN, fixed + last, fixed), fixed, law(LADDER).conditional(value[0], KNOWN).sample(n, noise.fold("exact"))


def measure(context: StudyContext) -> Measured:
    n, m, moves = context.count(2000, least=40), law(CHAIN), context.count(100)
    distance = Energy(m.sample(5 * n, ud.Noise(range(5 * n)).fold("truth")))
    clouds = {name: run(step, n) for name, step in WAYS.items()}
    clouds["annealed Langevin"] = ud.sample(law(LADDER), n, annealed(moves), LADDER.levels, like=torch.empty(0).double())
    clouds["the law"] = m.sample(n, ud.Noise(range(n)).fold("law"))
    printed, fixed, exact = inpainted(n, moves)
    return {
        "x": clouds, "energy": {k: distance(x) for k, x in clouds.items()}, "of the law": {k: recovered(x, m) for k, x in clouds.items()},
        "excess": trained(context.count(1500)), "known": (printed, fixed), "conditional": Energy(exact)(fixed[:, 1:]),
        "given": recovered(fixed[:, 1:], law(LADDER).conditional(torch.tensor([1.0, 0.0]).double(), KNOWN)),
    }  # fmt: skip


def _law(m: Measured, *names: str) -> Seen:
    text = ", ".join(f"{name}: {said(m['energy'][name])}" for name in names)
    return f"energy distance {text}; exact draws {said(m['energy']['the law'])}", every(*map(m["of the law"].get, names))


def _known(m: Measured) -> Seen:
    printed, fixed = ((x[:, 0] - 1).abs().max() for x in m["known"])
    return f"off by up to {printed:.2f} as printed, {fixed:.0f} put back at the end", float(printed) == 0


STUDY = Study(
    name="002-algorithms",
    title="The slides' algorithms on a law that is known",
    source="Algorithms 1 and 2, annealed Langevin, inpainting",
    covers=(),
    measure=measure,
    claims=(
        Claim(
            "Algorithm 1 learns the noise",
            "Algorithm 1",
            "within 5 % of the exact one, in squares",
            lambda m: (f"{100 * m['excess']:.1f} %", m["excess"] < 0.05),
        ),
        Claim("Algorithm 2 samples the data", "Algorithm 2", WANTED, lambda m: _law(m, "Algorithm 2")),
        Claim(
            "the update's noise is √(β/(1-ᾱ)) β ε",
            "two slides",
            "the same",
            lambda m: _law(m, "noise, as printed"),
            "a misprint of √((1-ᾱ(t-1)) β/(1-ᾱ)) ε: it adds next to no noise",
            MISPRINT,
        ),
        Claim(
            "the posterior mean, in three forms",
            "three slides",
            "the same",
            lambda m: _law(m, "mean, first slide", "mean, second slide", "mean, summary"),
            "three misprints of √ᾱ(t-1) β/(1-ᾱ) x_0 + √α (1-ᾱ(t-1))/(1-ᾱ) x_t",
            MISPRINT,
        ),
        Claim(
            "annealed Langevin samples the data",
            "annealed Langevin, Algorithm 1",
            "the same",
            lambda m: _law(m, "annealed Langevin"),
        ),
        Claim(
            "inpainting returns the given pixels",
            "inpainting, Algorithm 2",
            "exactly",
            _known,
            "as printed they come back with the noise of the last level",
            MISPRINT,
        ),
        Claim(
            "and fills in the rest given them",
            "inpainting, Algorithm 2",
            "the same, of the exact conditional",
            lambda m: (f"energy distance {said(m['conditional'])}", m["given"]),
            "replacement is biased: the known part is never told how the rest was filled in",
        ),
    ),
    figure=lambda m: panels({k: cloud(x, 4.0, 180) for k, x in m["x"].items()}, 4),
    caption="2,000 samples by each, beside the law.",
    toy=True,
)
