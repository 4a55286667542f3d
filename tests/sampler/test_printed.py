"""Samplers against literal transcriptions of the papers' algorithms."""

import itertools
import math

import torch

import undrift as ud
from conftest import mixture
from undrift import times as grids
from undrift.sampler.base import State
from undrift.sampler.multistep import COORDINATES, QUANTITIES

DOUBLE = torch.empty(0, dtype=torch.float64)


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


def test_edm_s_stochastic_sampler_is_the_printed_algorithm():
    """Karras et al. 2022, Algorithm 2 in its own notation, down to the last level; Heun in sigma, so on `Karras`."""

    class InSigma(ud.Heun):
        def step(self, denoiser, state, s, noise):
            t, x = state.t, state.x
            d = (x - denoiser(x, t).data) / t
            ahead = x + (s - t) * d
            return state.next(x + (s - t) * (d + (ahead - denoiser(ahead, s).data) / s) / 2, s)

    process, inflate = ud.Karras(), 1.003
    m, noise = mixture(process), ud.Noise(range(6)).fold("sample", 0)
    times = grids.karras(process, 12, sigma_low=0.002)
    gamma = 0.3
    x = process.prior(torch.empty(6, 2, dtype=torch.float64), noise)
    for i, (t, s) in enumerate(itertools.pairwise(times[:-1])):
        up = t * (1 + gamma) if 0.05 <= t <= 50 else t
        x = x + (up**2 - t**2).sqrt() * inflate * noise.fold("step", i).fold("churn").normal(x)
        d = (x - m(x, up).data) / up
        ahead = x + (s - up) * d
        x = x + (s - up) * (d + (ahead - m(ahead, s).data) / s) / 2
    *_, ours, _ = ud.Churn(gamma, 0.05, 50, inflate, InSigma())(
        m, State(process.prior(torch.empty(6, 2, dtype=torch.float64), noise), times[0]), times, noise
    )
    torch.testing.assert_close(ours.x, x, rtol=1e-8, atol=1e-8)


def test_one_formula_many_names():
    """DDIM is Euler, and the first-order member of each multistep family; the exact posterior is its stochastic one."""
    for process in (ud.VP(), ud.Rectified(), ud.Karras()):
        m = mixture(process)
        every = [ud.Adams(1, False, 0.0, q, c) for q in QUANTITIES for c in (*COORDINATES, "time")]
        for sampler in (ud.Euler(), ud.DEIS(1), ud.ABM(1, corrector=False), ud.PLMS(1), ud.VelocityAB(1), *every):
            ddim = ud.sample(m, 8, ud.Ancestral(0), 7, like=DOUBLE)
            torch.testing.assert_close(ud.sample(m, 8, sampler, 7, like=DOUBLE), ddim, rtol=1e-9, atol=1e-9)
        posterior = ud.sample(m, 8, ud.Ancestral(1), 7, like=DOUBLE)
        for coordinate in (*COORDINATES, "time"):
            stochastic = ud.sample(m, 8, ud.SASolver(1, corrector=False, coordinate=coordinate), 7, like=DOUBLE)
            torch.testing.assert_close(stochastic, posterior, rtol=1e-9, atol=1e-9)


BASHFORTH = {1: (1.0,), 2: (3 / 2, -1 / 2), 3: (23 / 12, -16 / 12, 5 / 12), 4: (55 / 24, -59 / 24, 37 / 24, -9 / 24)}


def test_plms_is_the_printed_formula_where_steps_are_even():
    """Liu et al. 2022, eq. 12: noises averaged with Adams-Bashforth's weights, put into DDIM's formula (eq. 11).

    Exactly so under `Karras`, where sigma/alpha is t; in the limit of short steps elsewhere. (Its start is another: they pay for it.)
    """
    process = ud.Karras()
    m, times = mixture(process), torch.linspace(2.0, 0.2, 13, dtype=torch.float64)
    start = m.sample(6, ud.Noise(range(6)), times[0])
    states = [State(start, times[0]), *ud.PLMS()(m, State(start, times[0]), times)]
    noises = [m(s.x, s.t).noise for s in states]
    for i in range(5, 12):  # from where the start is behind it
        e = sum(w * n for w, n in zip(BASHFORTH[4], noises[i::-1], strict=False))
        (alpha, sigma), (alpha_s, sigma_s) = process(times[i]), process(times[i + 1])
        ddim = alpha_s * (states[i].x - sigma * e) / alpha + sigma_s * e
        torch.testing.assert_close(states[i + 1].x, ddim, rtol=1e-9, atol=1e-9)

    def gap(process, h):
        """How far the weights of even steps of length h are from theirs."""
        s, *nodes = (0.6 + h * torch.arange(5, dtype=torch.float64)).unbind()
        (alpha, sigma), (alpha_s, sigma_s) = process(nodes[0]), process(s)
        whole = alpha_s * (sigma_s / alpha_s - sigma / alpha)
        weights = ud.PLMS().weights(process, nodes[0], s, tuple(float(t) for t in nodes))
        return max(abs(w / whole - b).item() for w, b in zip(weights, BASHFORTH[4], strict=True))

    for process in (ud.VP(), ud.Cosine(), ud.Rectified()):
        assert gap(process, 1e-3) < 0.02 and gap(process, 1e-4) < 0.15 * gap(process, 1e-3)


def test_velocity_ab_is_adams_bashforth_in_t_under_rectified():
    process = ud.Rectified()
    m, times = mixture(process), torch.linspace(0.9, 0.1, 13, dtype=torch.float64)
    start = m.sample(6, ud.Noise(range(6)), times[0])
    states = [State(start, times[0]), *ud.VelocityAB()(m, State(start, times[0]), times)]
    velocities = [ud.velocity_at(m, s.x, s.t) for s in states]
    for i in range(3, 12):
        slope = sum(w * v for w, v in zip(BASHFORTH[3], velocities[i::-1], strict=False))
        torch.testing.assert_close(states[i + 1].x, states[i].x + (times[i + 1] - times[i]) * slope, rtol=1e-9, atol=1e-9)


def test_unipc_is_the_printed_algorithm():
    """Zhao et al. 2023, Algorithms 1 and 2 by their conditions `R rho B(h) = phi`, with B(h) = e^h - 1, order 3; no polynomial in sight."""
    process = ud.Karras()
    m = mixture(process)
    times = process.time(torch.linspace(-6, 6, 9, dtype=torch.float64))
    x = process.sigma(times[0]) * ud.Noise(range(5)).normal(torch.empty(5, 2, dtype=torch.float64))
    states = list(ud.UniPC(2)(m, State(x, times[0]), times))
    lam = (process.log_snr(times) / 2).tolist()

    def phi(k, h):  # phi_k(-h) by its integral
        u = torch.linspace(0, 1, 100_001, dtype=torch.float64)
        return torch.trapezoid(torch.exp(-h * (1 - u)) * u ** (k - 1) / math.factorial(k - 1), u).item()

    def take(x, i, j, data, others):
        """`x_j` from `x_i`: a first-order step and sum_m rho_m/r_m (D_m - D_i) over the other points."""
        h = lam[j] - lam[i]
        sigma_i, sigma_j, big_b = process.sigma(times[i]), process.sigma(times[j]), math.exp(h) - 1
        r = [(lam[k] - lam[i]) / h for k, _ in others]
        powers = torch.tensor([[a**n for a in r] for n in range(len(r))], dtype=torch.float64)
        # phi_(n+1)(h) h n!/B(h), for the data prediction: e^h times the integrals of the decaying kernel.
        right = [math.factorial(n + 1) * h * math.exp(h) * phi(n + 2, h) / big_b for n in range(len(r))]
        new = sigma_j / sigma_i * x + (1 - math.exp(-h)) * data
        if others:
            rho = torch.linalg.solve(powers, torch.tensor(right, dtype=torch.float64)).tolist()
            for c, a, (_, d) in zip(rho, r, others, strict=True):
                new = new + math.exp(-h) * big_b * c / a * (d - data)
        return new

    seen, start = [], x
    for i in range(len(times) - 1):
        data = m(x, times[i]).data
        if i:
            before = [(k, d) for k, d in seen[-2:]]
            x = take(start, i - 1, i, before[-1][1], [*reversed(before[:-1]), (i, data)])
        seen.append((i, data))
        start = x
        x = take(x, i, i + 1, data, [seen[-2]] if i else [])
        torch.testing.assert_close(states[i].x, x, rtol=1e-6, atol=1e-6)
