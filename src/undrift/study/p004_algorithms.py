"""Paper 004: its algorithms, as printed and as meant, on a Gaussian mixture whose answers are known exactly."""

from __future__ import annotations

import torch
from torch import Tensor

import undrift as ud
from undrift.metrics.energy import Energy
from undrift.sampler import State
from undrift.study.base import MISPRINT, OURS, Claim, Measured, Seen, Study
from undrift.study.context import StudyContext
from undrift.study.figure import cloud, panels
from undrift.study.slide_algorithms import (
    BETA,
    CHAIN,
    TILDE,
    WANTED,
    law,
    of_first,
    posterior_mean,
    recovered,
    run,
    said,
    variance_left,
)

DOUBLE = torch.empty(0, dtype=torch.float64)
LADDER = ud.SMLD(200, 0.02, 10.0)


def renoised(n: int, wide: bool) -> Tensor:
    """Samples by re-noising the guess, from N(0, I) as printed or from as wide a start as the chain ends with."""
    m, noise = law(LADDER), ud.Noise(range(n)).fold("renoise")
    levels = LADDER.levels
    start = LADDER.prior(torch.empty(n, 2, dtype=torch.float64), noise)
    *_, last = ud.Renoise()(m, State(start if wide else start / LADDER.sigma_max, levels[0]), levels, noise)
    return last.x


def guided(n: int, scale: float) -> Tensor:
    """Algorithm 1 of classifier guidance: x_{t-1} ~ N(mu + s Sigma grad log p(y | x_t), Sigma), y = 0, the classifier exact."""
    m = law(CHAIN)

    def step(x: Tensor, p: ud.Prediction, t: int) -> tuple[Tensor, Tensor]:
        y = x.detach().requires_grad_()
        gradient = torch.autograd.grad(m.posterior(y, t / CHAIN.steps)[:, 0].clamp(min=1e-300).log().sum(), y)[0]
        return posterior_mean(x, p, t) + scale * TILDE[t] ** 2 * gradient, TILDE[t]

    return run(step, n)


def beta_step(x: Tensor, p: ud.Prediction, t: int) -> tuple[Tensor, Tensor]:
    """Algorithm 2 with sigma² = beta, as the slides have it."""
    return posterior_mean(x, p, t), BETA[t].sqrt()


def measure(context: StudyContext) -> Measured:
    n, m = context.count(2000, least=40), law(CHAIN)
    many = ud.Noise(range(5 * n)).fold("truth")
    distance, of_class = Energy(m.sample(5 * n, many)), Energy(m.draw(torch.zeros(5 * n).long(), many))
    clean, noisy = run(beta_step, n), run(beta_step, n, last_noise=True)
    labels, first = torch.zeros(n, dtype=torch.int64), of_first(m)
    tilted = ud.Tilt(m.given(None), lambda x, t, y: m.log_prob(x, t, y) - m.log_prob(x, t), 1.0)
    clouds = {
        "re-noised, N(0, I)": renoised(n, False),
        "re-noised, wide": renoised(n, True),
        "ancestral": ud.sample(law(LADDER), n, ud.Ancestral(), LADDER.levels, like=DOUBLE),
        "noise at t = 1": noisy,
        "the law": m.sample(n, ud.Noise(range(n)).fold("law")),
        "guided, s = 1": guided(n, 1.0),
        "Tilt": ud.sample(tilted, n, ud.Ancestral(), CHAIN.levels, cond=labels, like=DOUBLE),
        "the class": m.draw(labels, ud.Noise(range(n)).fold("law")),
    }
    return {
        "x": clouds, "energy": {k: (of_class if i > 4 else distance)(x) for i, (k, x) in enumerate(clouds.items())},
        "of the law": {k: recovered(x, first if i > 4 else m) for i, (k, x) in enumerate(clouds.items())},
        "last": float((noisy - clean).std()), "left": variance_left(LADDER),
    }  # fmt: skip


def _law(m: Measured, name: str, exact: str = "the law") -> Seen:
    own, floor = m["energy"][name], m["energy"][exact]
    return f"energy distance {said(own)}; exact draws {said(floor)}", m["of the law"][name]


def _renoise(m: Measured) -> Seen:
    text, holds = _law(m, "re-noised, wide")
    return (
        f"{text}, ancestral steps {said(m['energy']['ancestral'])}; of a Gaussian's variance {100 * m['left']:.0f} % are left",
        holds,
    )


def _last(m: Measured) -> Seen:
    text, holds = _law(m, "noise at t = 1")
    return f"{text}; noise of standard deviation {m['last']:.3f} is added", holds


STUDY = Study(
    name="004-algorithms",
    title="The slides' algorithms on a law that is known",
    source="simple Algorithm 2, DDPM's Algorithm 2, classifier-guided Algorithm 1",
    covers=(),
    measure=measure,
    claims=(
        Claim(
            "guessing x_0 and adding fresh noise samples the data, from N(0, I)",
            "simple Algorithm 2",
            WANTED,
            lambda m: _law(m, "re-noised, N(0, I)"),
            "the start should be N(0, σ_T² I), which fresh noise soon forgets; what it does not forgive is in the next row",
        ),
        Claim(
            "and from as wide a start as the chain ends with",
            "simple Algorithm 2, mended",
            "the same",
            _renoise,
            "the guess is a mean, and fresh noise forgets x_t: in many steps a Gaussian keeps half of its variance",
            OURS,
        ),
        Claim(
            "noise in the last step as well does no harm",
            "DDPM's Algorithm 2, one copy",
            "the same",
            _last,
            "the other copy has z = 0 at t = 1",
            MISPRINT,
        ),
        Claim(
            "classifier guidance at s = 1 samples the class",
            "Algorithm 1",
            "the same, to the class",
            lambda m: _law(m, "guided, s = 1", "the class"),
        ),
        Claim(
            "as does a tilted denoiser (ours, any sampler)",
            "sec. guidance",
            "the same, to the class",
            lambda m: _law(m, "Tilt", "the class"),
            kind=OURS,
        ),
    ),
    figure=lambda m: panels({k: cloud(x, 4.0, 180) for k, x in m["x"].items()}, 4),
    caption="2,000 samples by each, beside the law, and beside its first class.",
    toy=True,
)
