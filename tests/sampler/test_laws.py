"""Every sampler on exact mixtures: the law of its samples, its order, its rules."""

import itertools
import math

import pytest
import torch

import undrift as ud
from conftest import Counted, mixture, same_law
from undrift import times as grids
from undrift.sampler.base import State

PROCESSES = {"VE": ud.VE(0.01, 30.0), "VP": ud.VP(), "Rectified": ud.Rectified()}
SAMPLERS = {
    "ancestral": (ud.Ancestral(), 200),
    "half": (ud.Ancestral(0.5), 100),
    "ddim": (ud.Ancestral(0), 100),
    "euler-maruyama": (ud.EulerMaruyama(), 300),
    "euler": (ud.EulerMaruyama(0), 500),
    "reverse-diffusion": (ud.ReverseDiffusion(), 300),
    "heun": (ud.Heun(), 40),
    "dpm2m": (ud.DPM2M(), 40),
    "predictor-corrector": (ud.PredictorCorrector(ud.Ancestral()), 100),
    "corrector-predictor": (ud.PredictorCorrector(ud.Ancestral(), corrector_first=True), 100),
    "annealed-langevin": (ud.AnnealedLangevin(ud.sampler.Hold(), ud.Langevin(0.28), 40), 60),
}
FEWER = {**SAMPLERS, "annealed-langevin": (ud.AnnealedLangevin(corrections=3), 6)}
DOUBLE = torch.empty(0, dtype=torch.float64)


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("kind", SAMPLERS)
def test_the_law_is_the_mixture(kind, name):
    """Energy two-sample test, 1,500 against 1,500, at p > 1/201; 33 fixed-seed cases. Weights within 5 standard errors."""
    m, (sampler, steps) = mixture(PROCESSES[name]), SAMPLERS[kind]
    x = ud.sample(m, 1500, sampler, grids.log_snr(m.process, steps, 0.01), seed=4, like=DOUBLE, batch_size=1500)
    assert same_law(x, m.sample(1500, ud.Noise(range(1500)).fold("truth"))) > 1 / 201
    assert abs((m.posterior(x)[:, 0] > 0.5).double().mean() - 0.3) < 5 * (0.21 / 1500) ** 0.5


def test_the_law_test_notices():
    """A law wrong by a fifth of a standard deviation, or by 7 % in the weights, is caught."""
    m, noise = mixture(), ud.Noise(range(1500))
    truth, x = m.sample(1500, noise.fold("truth")), m.sample(1500, noise.fold("x"))
    assert same_law(x, truth) > 1 / 201
    assert same_law(1.2 * x, truth) <= 1 / 201
    assert same_law(ud.GaussianMixture(m.means, 0.45, [0.37, 0.63]).sample(1500, noise), truth) <= 1 / 201


def slope(errors):
    e = torch.tensor(errors, dtype=torch.float64).log2()
    n = torch.arange(len(e), dtype=torch.float64)
    return -((n - n.mean()) * (e - e.mean())).sum() / ((n - n.mean()) ** 2).sum()


def final(sampler, denoiser, x, grid, noise=None):
    *_, last = sampler(denoiser, State(x, grid[0]), grid, noise)
    return last.x


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("sampler", [ud.Ancestral(0), ud.Heun(), ud.DPM2M(), ud.EulerMaruyama(0)], ids=lambda s: type(s).__name__)
def test_strong_order(sampler, name):
    """Deterministic samplers: the error against the flow falls as steps^-order, from t_max to a small noise level."""
    process = PROCESSES[name]
    m = mixture(process)
    x = process.prior(torch.empty(64, 2, dtype=torch.float64), ud.Noise(range(64)))

    def grid(n):
        top = min(-2 * math.log(0.05), process.log_snr(torch.tensor(process.t_min).double()).item())
        low = max(process.log_snr(torch.tensor(process.t_max).double()).item(), -2 * math.log(80))
        t = process.time(torch.linspace(low, top, n + 1, dtype=torch.float64))
        t[0] = process.t_max
        return t

    exact = final(ud.Heun(), m, x, grid(1500))
    noise = ud.Noise(range(64))
    errors = [(final(sampler, m, x, grid(n), noise) - exact).abs().mean().item() for n in (32, 64, 128, 256)]
    assert slope(errors) == pytest.approx(sampler.order, abs=0.25), errors
    assert errors[-1] < errors[0] / 4


class Scripted:
    """Noise that is 1 in one of its draws and 0 in the others, to read off a linear sampler's gain and noise."""

    def __init__(self, one):
        self.one, self.draws = one, 0

    def fold(self, *label):
        return self

    def normal(self, like):
        self.draws += 1
        return torch.full_like(like, float(self.draws - 1 == self.one))


def next_variance(move, variance):
    """The variance after a linear move `x' = a x + sum_k b_k z_k`, exactly: each coefficient is read off on its own."""
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    silent = Scripted(-1)
    gain = move(one, silent).item()
    return gain**2 * variance + sum(move(zero, Scripted(k)).item() ** 2 for k in range(silent.draws))


WEAK = {
    "ancestral": ud.Ancestral(),
    "between": ud.Ancestral(0.7),
    "euler-maruyama": ud.EulerMaruyama(),
    "reverse-diffusion": ud.ReverseDiffusion(),
    "predictor-corrector": ud.PredictorCorrector(ud.Ancestral(), ud.Langevin(0.014)),
    "corrector-predictor": ud.PredictorCorrector(ud.Ancestral(), ud.Langevin(0.014), corrector_first=True),
}


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("kind", WEAK)
def test_weak_order(kind, name):
    """On one Gaussian a sampler is linear, so the variance of its samples is known without sampling; its error is O(1/n).

    Euler-Maruyama on VE does better (the errors of drift and noise cancel on a Gaussian), so the order is a lower bound.
    """
    process, sampler = PROCESSES[name], WEAK[kind]
    m = ud.GaussianMixture(torch.zeros(1, 1), 0.7, None, process)

    def error(n):
        grid = grids.log_snr(process, n + 1, 0.02, 80.0)[:-1]
        variance = process.sigma(grid[0]).item() ** 2
        for t, s in itertools.pairwise(grid):
            variance = next_variance(lambda x, z, t=t, s=s: sampler.step(m, State(x, t), s, z).x, variance)
        alpha, sigma = process(grid[-1])
        return abs(variance / (alpha**2 * 0.49 + sigma**2) - 1).item()

    errors = [error(n) for n in (100, 200, 400, 800)]
    assert slope(errors) > 0.75, errors
    assert errors[-1] < 0.02


@pytest.mark.parametrize("name", PROCESSES)
def test_langevin_is_biased_in_proportion_to_snr_squared(name):
    """Annealed Langevin's order: at a fixed level the variance settles at v / (1 - delta/2v), delta = 2 (snr sigma)^2."""
    process, t = PROCESSES[name], torch.tensor(0.5, dtype=torch.float64)
    m = ud.GaussianMixture(torch.zeros(1, 1), 0.7, None, process)
    exact = (process.alpha(t) ** 2 * 0.49 + process.sigma(t) ** 2).item()

    def settled(snr):
        variance = exact
        for _ in range(int(3 / snr**2 * exact / process.sigma(t).item() ** 2)):
            variance = next_variance(lambda x, z: ud.Langevin(snr)(m, State(x, t), z).x, variance)
        return variance / exact - 1

    errors = [settled(snr) for snr in (0.3, 0.3 / 2**0.5, 0.15, 0.15 / 2**0.5)]
    assert slope(errors) == pytest.approx(1.0, abs=0.1)
    delta = 2 * (0.3 * process.sigma(t).item()) ** 2
    assert errors[0] == pytest.approx(1 / (1 - delta / (2 * exact)) - 1, rel=0.02)


@pytest.mark.parametrize("kind", FEWER)
def test_rules_of_the_house(kind):
    """No noise in the last step; evaluations as promised; any grid from 1 step on; the batch does not matter."""
    sampler, m = FEWER[kind][0], mixture(ud.Rectified())
    for steps in (1, 2, 3, 9):
        counted = Counted(m)
        x = ud.sample(counted, 8, sampler, steps, seed=1, like=DOUBLE)
        assert torch.isfinite(x).all() and counted.calls == sampler.evaluations(steps)
    uneven = torch.tensor([1.0, 0.93, 0.4, 0.39, 0.1, 0.0], dtype=torch.float64)
    assert torch.isfinite(ud.sample(m, 8, sampler, uneven, like=DOUBLE)).all()

    start = State(torch.full((4, 2), 0.3, dtype=torch.float64), uneven[-2], index=4, memory=None)
    ends = [next(sampler.__class__.__call__(sampler, m, start, uneven, ud.Noise(range(4)).fold(k))).x for k in (1, 2)]
    if not getattr(sampler, "corrector_first", False):
        torch.testing.assert_close(ends[0], m(start.x, start.t).data)
        assert torch.equal(ends[0], ends[1])


@pytest.mark.parametrize("kind", FEWER)
def test_sample_i_is_bitwise_the_same_in_any_batch(kind):
    sampler, m = FEWER[kind][0], mixture(ud.VP())
    for dtype in (torch.float32, torch.float64):
        whole = ud.sample(m, 64, sampler, 6, seed=7, like=torch.empty(0, dtype=dtype), batch_size=64)
        for size in (1, 7):
            assert torch.equal(ud.sample(m, 64, sampler, 6, seed=7, like=torch.empty(0, dtype=dtype), batch_size=size), whole)
        assert torch.equal(ud.sample(m, 3, sampler, 6, seed=7, first=20, like=torch.empty(0, dtype=dtype)), whole[20:23])


@pytest.mark.parametrize("kind", FEWER)
def test_a_run_goes_on_where_it_stopped(kind, tmp_path):
    sampler, m = FEWER[kind][0], mixture(ud.VP())
    grid, noise = grids.karras(m.process, 8), ud.Noise(range(5)).fold("resume")
    states = list(sampler(m, State(m.process.prior((5, 2), noise), grid[0]), grid, noise))
    torch.save(states[3], tmp_path / "state")
    again = torch.load(tmp_path / "state", weights_only=False)
    *_, last = sampler(m, again, grid, noise)
    assert torch.equal(last.x, states[-1].x)


def test_ddpm_is_the_printed_algorithm():
    """Ancestral on a chain's levels against a literal loop over DDPM's Algorithm 2, same noise."""
    process = ud.DDPM(50, 1e-3, 0.2)
    m, noise = mixture(process), ud.Noise(range(6)).fold("sample", 0)
    betas = torch.linspace(1e-3, 0.2, 50, dtype=torch.float64)
    bars = (1 - betas).cumprod(0)
    x = process.prior(torch.empty(6, 2, dtype=torch.float64), noise)
    for i in range(49, -1, -1):
        eps = m(x, (i + 1) / 50).noise
        x = (x - betas[i] / (1 - bars[i]).sqrt() * eps) / (1 - betas[i]).sqrt()
        if i > 0:  # 004 prints one copy that adds noise here too
            std = (betas[i] * (1 - bars[i - 1]) / (1 - bars[i])).sqrt()
            x = x + std * noise.fold("step", 49 - i).normal(x)
    ours = ud.sample(m, 6, ud.Ancestral(), process.levels, like=DOUBLE)
    torch.testing.assert_close(ours, x, rtol=1e-9, atol=1e-9)


def test_smld_ancestral_is_the_printed_algorithm():
    process = ud.SMLD(30, 0.01, 5.0)
    m, noise = mixture(process), ud.Noise(range(6)).fold("sample", 0)
    sigmas = process.sigma(process.levels)
    x = process.prior(torch.empty(6, 2, dtype=torch.float64), noise)
    for i in range(30):
        s2, t2 = sigmas[i] ** 2, sigmas[i + 1] ** 2
        score = ud.score_at(m, x, process.levels[i])
        x = x + (s2 - t2) * score  # Song et al. 2021, app. F
        if i < 29:
            x = x + (t2 * (s2 - t2) / s2).sqrt() * noise.fold("step", i).normal(x)
    torch.testing.assert_close(ud.sample(m, 6, ud.Ancestral(), process.levels, like=DOUBLE), x, rtol=1e-9, atol=1e-9)


def test_reverse_diffusion_on_ddpm_is_the_printed_update():
    process = ud.DDPM(50, 1e-3, 0.2)
    m, t, s = mixture(process), *torch.tensor([0.5, 0.48], dtype=torch.float64)
    beta = torch.linspace(1e-3, 0.2, 50, dtype=torch.float64)[24]
    x, noise = torch.randn(4, 2, dtype=torch.float64), ud.Noise(range(4))
    printed = (2 - (1 - beta).sqrt()) * x + beta * ud.score_at(m, x, t) + beta.sqrt() * noise.normal(x)
    torch.testing.assert_close(ud.ReverseDiffusion().step(m, State(x, t), s, noise).x, printed)


def test_annealed_langevin_is_the_printed_algorithm():
    """003 Algorithm 1 in its own notation (step epsilon at sigma_L), plus the denoising step at the end."""
    process, epsilon, repeats = ud.SMLD(10, 0.1, 1.0), 2e-3, 5
    m, noise = mixture(process), ud.Noise(range(4)).fold("sample", 0)
    x = process.prior(torch.empty(4, 2, dtype=torch.float64), noise)
    for i, t in enumerate(process.levels[:-1]):
        step = epsilon * process.sigma(t) ** 2 / 0.1**2
        for j in range(repeats):
            z = noise.fold("step", i).fold("correct", j).normal(x)
            x = x + step / 2 * ud.score_at(m, x, t) + step.sqrt() * z
    sampler = ud.AnnealedLangevin(corrector=ud.Langevin(epsilon**0.5 / (2 * 0.1)), corrections=repeats)
    ours = ud.sample(m, 4, sampler, process.levels, like=DOUBLE)
    torch.testing.assert_close(ours, m(x, process.levels[-2]).data, rtol=1e-9, atol=1e-9)


def test_langevin_is_song_s_corrector():
    """Song et al. 2021, Algorithm 5: epsilon = 2 (r |z|/|g|)^2; for a score of norm sqrt(D)/sigma and the mean |z|^2 = D."""
    process, t = ud.VE(), torch.tensor(0.6, dtype=torch.float64)
    m = ud.GaussianMixture(torch.zeros(1, 20_000), 0.0, None, process)  # |score| = |x| / sigma^2 = sqrt(D) / sigma
    noise = ud.Noise([7])
    x, z, r = process.sigma(t) * noise.fold("x").normal((1, 20_000)).double(), noise.fold("z"), 0.16
    g = ud.score_at(m, x, t)
    step = 2 * (r * z.normal(x).norm() / g.norm()) ** 2
    theirs = x + step * g + (2 * step).sqrt() * z.normal(x)
    torch.testing.assert_close(ud.Langevin(r)(m, State(x, t), z).x, theirs, rtol=0.03, atol=0.02)


def test_float32_follows_float64():
    m = mixture(ud.VP())
    a, b = (ud.sample(m, 32, ud.Heun(), 20, like=torch.empty(0, dtype=d)) for d in (torch.float32, torch.float64))
    torch.testing.assert_close(a.double(), b, atol=2e-5, rtol=0)


def test_previews_and_early_stop():
    m, seen = mixture(), []

    def callback(state):
        seen.append(state.data)
        if len(seen) == 3:
            raise StopIteration

    x = ud.sample(m, 4, ud.DPM2M(), 10, callback=callback)
    assert len(seen) == 3 and x.shape == (4, 2) and all(d.shape == (4, 2) for d in seen)


M = mixture()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ud.sample(M, 0), "must be at least 1"),
        (lambda: ud.sample(M, 4, steps=0), "whole number of at least 1"),
        (lambda: ud.sample(M, 4, steps=-3), "whole number of at least 1"),
        (lambda: ud.sample(M, 4, seed=-1), "must not be negative"),
        (lambda: ud.sample(M, 4, cond=torch.tensor([0, 1])), "2 rows for 4 samples"),
        (lambda: ud.sample(M, 4, steps=torch.tensor([0.1, 0.9])), "decrease from noise to data"),
        (lambda: ud.sample(M, 4, steps=torch.tensor([1.5, 0.0])), "outside"),
        (lambda: ud.sample(ud.Denoiser(torch.nn.Identity(), ud.VP()), 4), "does not know the shape"),
        (
            lambda: ud.Ancestral()(M, State(torch.zeros(2, 2), torch.tensor(1.0).double()), torch.tensor([1.0, 0.0])),
            "pass `noise`",
        ),
        (lambda: ud.Heun()(M, State(torch.zeros(2, 2), torch.tensor(0.7)), torch.tensor([1.0, 0.0])), "not on this grid"),
        (lambda: ud.Heun()(M, State(torch.zeros(2, 2), torch.tensor(1.0)), torch.tensor([1.0, 0.0]), ud.Noise([1])), "carries 1"),
        (lambda: ud.Ancestral(1.5), "share of fresh noise"),
        (lambda: ud.EulerMaruyama(-1), "must not be negative"),
        (lambda: ud.Langevin(0), "snr"),
        (lambda: ud.PredictorCorrector(corrections=0), "at least 1"),
        (lambda: grids.uniform(ud.DDPM(10), 11), "only 10 levels"),
        (lambda: grids.karras(ud.VP(), 5, sigma_low=3, sigma_high=1), "sigma_low < sigma_high"),
    ],
)
def test_what_cannot_be_sampled(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_samples_that_are_not_finite_are_not_returned():
    class Broken(torch.nn.Module):
        def forward(self, x, level, cond):
            return x / 0

    with pytest.raises(RuntimeError, match="DPM2M made 3 of 3 samples that are not finite"):
        ud.sample(ud.Denoiser(Broken(), ud.VP()), (3, 2))
