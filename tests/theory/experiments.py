"""The experiments behind docs/theory.md: each is a function that returns numbers, which a test judges and a picture shows.

`T1` to `T9` are the statements of the papers' theory, in the order of the page. Everything here is float64 and addressed, so
the pictures of the page are the tests' own numbers. What is also an experiment of a paper lives in `undrift.study`.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

import undrift as ud
from undrift.sampler.ancestral import bridge
from undrift.sampler.base import State
from undrift.study.p001_fig3 import clean_score as clean_score, score_field as score_field
from undrift.study.p001_fig4 import langevin as langevin, slow_mixing as slow_mixing
from undrift.study.p004_langevin import digits_by_langevin as digits_by_langevin, raw_digits as raw_digits


class Scripted:
    """Noise that returns what it is told, to read off the gain and the noise of one move."""

    def __init__(self, z: float) -> None:
        self.z = z

    def fold(self, *label: str | int) -> Scripted:
        return self

    def normal(self, like: Tensor) -> Tensor:
        return torch.full_like(like, self.z)


def time(t: float) -> Tensor:
    return torch.tensor(t, dtype=torch.float64)


def mixture(process: ud.Process | None = None) -> ud.GaussianMixture:
    """Two components of unequal weight and shape in the plane."""
    covs = [[[0.30, 0.12], [0.12, 0.15]], [[0.10, -0.05], [-0.05, 0.40]]]
    return ud.GaussianMixture([[1.5, 0.5], [-1.0, -0.5]], covs, [0.3, 0.7], process)


def langevin_chain(m: ud.GaussianMixture, x: Tensor, t: float, moves: int, snr: float, noise: ud.Noise) -> Tensor:
    """T1: the library's own Langevin moves at one noise level."""
    state, corrector = State(x, time(t)), ud.Langevin(snr)
    for k in range(moves):
        state = corrector(m, state, noise.fold(k))
    return state.x


def kl_gaussian(m0: Tensor, v0: Tensor, m1: Tensor, v1: Tensor) -> Tensor:
    """KL(N(m0, v0) || N(m1, v1)) of independent coordinates, summed over the last axis."""
    return 0.5 * ((v0 + (m0 - m1) ** 2) / v1 - 1 - (v0 / v1).log()).sum(-1)


def ou_moments(mean: Tensor, variance: Tensor, target: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """T2: mean and variance at time t of `dx = -x/target dt + sqrt(2) dw`, Langevin dynamics for N(0, target)."""
    decay = torch.exp(-t[..., None] / target)
    return decay * mean, target + decay**2 * (variance - target)


def reverse_gaussian(process: ud.Process, variance: float, steps: int, score_error: float = 0.0) -> tuple[float, float]:
    """T3: one Gaussian through Euler-Maruyama, without sampling: `(KL(exact || sampled) at the last level, Girsanov's bound)`.

    The denoiser's score is wrong by the factor `1 + score_error`; grid even in t, down to t = 0.1.
    """
    m = ud.GaussianMixture(torch.zeros(1, 1), variance**0.5, None, process)

    class Wrong(ud.AnyDenoiser):
        def __init__(self) -> None:
            super().__init__()
            self.process, self.shape = process, (1,)

        def forward(self, x, t, cond=None):
            alpha, sigma = process(t)
            noise = (1 + score_error) * m(x, t).noise
            return ud.Prediction((x - sigma * noise) / alpha, noise)

    denoiser, sampler = Wrong(), ud.EulerMaruyama()
    grid = torch.linspace(process.t_max, 0.1, steps + 1, dtype=torch.float64)
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    alpha, sigma = process(grid)
    law = alpha**2 * variance + sigma**2
    now = law[0].clone()  # start from the exact law: no error of the prior
    for t, s in pairwise(grid):
        gain = sampler.step(denoiser, State(one, t), s, Scripted(0.0)).x.item()
        spread = sampler.step(denoiser, State(zero, t), s, Scripted(1.0)).x.item()
        now = gain**2 * now + spread**2
    kl = kl_gaussian(zero[0], law[-1:], zero[0], now[None]).item()
    # 1/2 int g^2 E|s_theta - s|^2 dt with E|s|^2 = 1/law
    rate = process.diffusion(grid) ** 2 * score_error**2 / law / 2
    return kl, torch.trapezoid(rate.flip(0), grid.flip(0)).item()


def marginals(sampler: ud.Sampler, m: ud.GaussianMixture, n: int, steps: int, seed: int) -> list[tuple[float, Tensor]]:
    """T4: states at four times of one run from the exact law at t_max, grid even in log-SNR."""
    noise = ud.Noise(range(n)).fold("marginals", seed)
    grid = ud.times.log_snr(m.process, steps, 0.05)[:-1]  # ends at an intermediate time: no denoised mean
    x = m.sample(n, noise.fold("start"), grid[0])
    keep = {round(f * (len(grid) - 1)) for f in (0.25, 0.5, 0.75, 1.0)}
    found = []
    for state in sampler(m, State(x, grid[0]), grid, noise):
        if state.index in keep:
            found.append((float(state.t), state.x))
    return found


def reverse_kernel(m: ud.GaussianMixture, x_t: float, t: Tensor, s: Tensor) -> dict[str, Tensor]:
    """T5: the exact q(x_s | x_t) of a 1-D mixture on a grid, the Gaussian of its moments, and the one `Ancestral` draws.

    q(x_s | x_t) is p_s(x_s) N(x_t; r x_s, q^2) up to a constant (Bayes).
    """
    ratio, std = m.process.step(s, t)
    x = torch.full((1, 1), x_t, dtype=torch.float64)
    mean = ud.Ancestral().step(m, State(x, t), s, Scripted(0.0)).x.item()
    spread = ud.Ancestral().step(m, State(x, t), s, Scripted(1.0)).x.item() - mean
    # Wide enough for the exact law, which is wider than any Gaussian step when the step is long.
    half = 12 * spread + 3.0 * float(std)
    y = mean + torch.linspace(-half, half, 20001, dtype=torch.float64)
    log_q = m.log_prob(y[:, None], s) - (x_t - ratio * y) ** 2 / (2 * std**2)
    q = (log_q - log_q.max()).exp()
    q = q / torch.trapezoid(q, y)
    centre = torch.trapezoid(q * y, y)
    variance = torch.trapezoid(q * (y - centre) ** 2, y)

    def normal(mu: Tensor | float, var: Tensor | float) -> Tensor:
        return torch.exp(-((y - mu) ** 2) / (2 * var)) / math.sqrt(2 * math.pi * float(var))

    def kl(p: Tensor, r: Tensor) -> Tensor:
        return torch.trapezoid(torch.where(p > 1e-300, p * (p.clamp(min=1e-300).log() - r.clamp(min=1e-300).log()), 0.0), y)

    def kolmogorov(p: Tensor, r: Tensor) -> Tensor:
        return torch.cumulative_trapezoid(p - r, y).abs().max()

    best, drawn = normal(centre, variance), normal(mean, spread**2)
    return {
        "y": y, "exact": q, "best": best, "drawn": drawn, "beta": 1 - ratio**2,
        "kl_best": kl(q, best), "kl_drawn": kl(q, drawn), "kolmogorov": kolmogorov(q, best),
        "mean_gap": (centre - mean).abs() / spread,
    }  # fmt: skip


def off_manifold(sigmas: Tensor, n: int = 4000) -> dict[str, Tensor]:
    """T7: data on a line in the plane, seen at ever smaller noise: norms of score and of the denoiser's two halves."""
    line = ud.GaussianMixture(torch.zeros(1, 2), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), None, ud.Karras(t_min=0.0))
    fixed = torch.tensor([[0.3, 0.5]], dtype=torch.float64)
    at_point, mean_square, halves = [], [], []
    for sigma in sigmas:
        at_point.append(ud.score_at(line, fixed, sigma)[0])
        x = line.sample(n, ud.Noise(range(n)).fold("manifold"), sigma)
        prediction = line(x, sigma)
        mean_square.append(ud.score_at(line, x, sigma).square().sum(1).mean())
        halves.append(torch.stack([h.square().sum(1).mean() for h in prediction]))
    return {"at_point": torch.stack(at_point), "mean_square": torch.stack(mean_square), "halves": torch.stack(halves)}


def path_log_ratios(m: ud.AnyDenoiser, x0: Tensor, noise: ud.Noise, decoder_std: float = 0.3) -> tuple[Tensor, dict[str, Tensor]]:
    """T8: one path of the fixed encoder per sample, and log p_theta(x_0:T) / q(x_1:T | x_0) along it, in two ways.

    Returns the chain rule's sum `(B,)` and the papers' terms, `(B,)` each: T, between (the sum over t > 1), and 0. The
    reverse model is a Gaussian about the denoiser's posterior mean with variance beta-tilde.
    """
    process = m.process
    levels = process.levels.flip(0)
    path = [x0]
    for i in range(1, len(levels)):
        path.append(process.transition(path[-1], levels[i - 1], levels[i], noise.fold("path", i).normal(x0)))

    def log_normal(x: Tensor, mean: Tensor, std: Tensor | float) -> Tensor:
        return torch.distributions.Normal(mean, torch.as_tensor(std, dtype=torch.float64)).log_prob(x).sum(1)

    def posterior(x: Tensor, data: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = process(t)
        pair = ud.Prediction(data, (x - alpha * data) / sigma)
        mean = bridge(process, pair, t, s, 1.0, Scripted(0.0))
        return mean, (bridge(process, pair, t, s, 1.0, Scripted(1.0)) - mean).max()

    prior = process.prior_log_prob(path[-1])
    alpha, sigma = process(levels[-1])
    chain, between = prior.clone(), torch.zeros_like(prior)
    for i in range(1, len(levels)):
        s, t = levels[i - 1], levels[i]
        ratio, std = process.step(s, t)
        data = m(path[i], t).data
        if i == 1:
            log_p = last = log_normal(x0, data, decoder_std)
        else:
            mean, spread = posterior(path[i], data, t, s)
            log_p = log_normal(path[i - 1], mean, spread)
            between = between + log_p - log_normal(path[i - 1], *posterior(path[i], x0, t, s))
        chain = chain + log_p - log_normal(path[i], ratio * path[i - 1], std)
    return chain, {"T": prior - log_normal(path[-1], alpha * x0, sigma), "between": between, "0": last}


def gaussian_bound(steps: int, kind: str = "beta", variance: float = 0.25) -> dict[str, float]:
    """T8: every term of the bound in closed form for data N(0, variance), the exact denoiser and a VP chain of `steps` levels.

    In nats. `kind` is the variance of the reverse step: "tilde" (of q(x_s | x_t, x_0)), "beta" (of the forward step), or
    "optimal" (the true one, of q(x_s | x_t); Analytic-DPM). The bound minus the entropy is KL(q(x_0:T) || p_theta(x_0:T)).
    """
    process = ud.DDPM(steps, 0.1 / steps, 20 / steps)
    levels = process.levels.flip(0)
    alpha, sigma = process(levels)
    one, zero = (torch.full((1, 1), c, dtype=torch.float64) for c in (1.0, 0.0))
    spread = variance * sigma**2 / (alpha**2 * variance + sigma**2)  # Var[x_0 | x_t]
    first = 0.5 * (alpha[-1] ** 2 * variance / sigma[-1] ** 2)
    between = 0.0
    for i in range(2, len(levels)):
        t, s = levels[i], levels[i - 1]
        pull = bridge(process, ud.Prediction(one, -alpha[i] / sigma[i] * one), t, s, 1.0, Scripted(0.0)).item()
        tilde = bridge(process, ud.Prediction(zero, zero), t, s, 1.0, Scripted(1.0)).item() ** 2
        unsure = pull**2 * spread[i].item()  # of the posterior mean, because x_0 is not known
        used = {"tilde": tilde, "beta": process.step(s, t)[1].item() ** 2, "optimal": tilde + unsure}[kind]
        between += 0.5 * (tilde / used - 1 - math.log(tilde / used)) + unsure / (2 * used)
    last = 0.5 * math.log(2 * math.pi * math.e * spread[1].item())
    entropy = 0.5 * math.log(2 * math.pi * math.e * variance)
    return {"T": first.item(), "between": between, "0": last, "bound": first.item() + between + last, "entropy": entropy}


def digits_by_memory(n: int = 300, moves: int = 100) -> dict[str, Tensor]:
    """T9 without a network: the number of the training digit at which plain and annealed Langevin on the exact score end."""
    points, labels = raw_digits()
    noise = ud.Noise(range(n)).fold("t9")
    start = noise.fold("start").normal(points[:1].expand(n, -1))
    memory = ud.Empirical(points, ud.SMLD(10, 0.05, 8.0))
    levels = memory.process.levels
    plain = langevin(lambda x: ud.score_at(memory, x, levels[-2]), start, 1e-3, moves, noise)
    sampler = ud.AnnealedLangevin(corrector=ud.Langevin(0.28), corrections=15)
    *_, last = sampler(memory, State(8.0 * start, levels[0]), levels, noise)
    plain_at, annealed_at = (torch.cdist(x, points).min(1) for x in (plain, last.x))
    return {
        "plain": plain_at.indices, "annealed": annealed_at.indices, "distance": annealed_at.values, "labels": labels,
    }  # fmt: skip
