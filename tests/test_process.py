"""Processes: the identities that tie alpha and sigma to the SDE, and the papers' tables."""

import math

import numpy as np
import pytest
import torch

import undrift as ud
from conftest import PROCESSES
from undrift.process import Process, as_time, checked, expand
from undrift.process.base import sigmoid, softplus


def numeric(f, t, h=1e-6):
    return (f(t + h) - f(t - h)) / (2 * h)


def test_drift_moves_alpha(process, times):
    torch.testing.assert_close(numeric(process.alpha, times), process.drift(times) * process.alpha(times), rtol=1e-6, atol=1e-7)


def test_drift_and_diffusion_move_the_variance(process, times):
    moved = 2 * process.drift(times) * process.sigma(times) ** 2 + process.diffusion(times) ** 2
    torch.testing.assert_close(numeric(lambda t: process.sigma(t) ** 2, times), moved, rtol=1e-5, atol=1e-6)


def test_closed_rates_are_the_automatic_ones(process, times):
    for closed, automatic in zip(process.rates(times), Process.rates(process, times), strict=True):
        torch.testing.assert_close(closed, automatic, rtol=1e-7, atol=1e-9)


def test_time_inverts_log_snr(process, times):
    torch.testing.assert_close(process.time(process.log_snr(times)), times, rtol=1e-7, atol=1e-9)


def test_closed_time_is_bisection(process, times):
    log_snr = process.log_snr(times)
    torch.testing.assert_close(process.time(log_snr), Process.time(process, log_snr), rtol=1e-7, atol=1e-9)


def test_time_clamps_to_the_ends(process):
    ends = process.time(torch.tensor([1e4, -1e4], dtype=torch.float64))
    torch.testing.assert_close(ends, torch.tensor([process.t_min, process.t_max], dtype=torch.float64), atol=1e-9, rtol=1e-6)


def test_a_value_is_bitwise_the_same_in_any_batch(process, times):
    """Times and schedules are of one sample: torch's sigmoid and softplus round the last few of a batch differently."""
    count = 19 if isinstance(process, (ud.Learned, ud.LinearSDE)) else 331  # by bisection, which takes its time
    log_snr = torch.linspace(-11.3, 12.7, count, dtype=torch.float64)
    t = process.t_min + torch.linspace(0.001, 0.999, count, dtype=torch.float64) * (process.t_max - process.t_min)
    for function, values in (
        (process.time, log_snr), (process.alpha, t), (process.sigma, t), (process.log_snr, t),
        (lambda t: torch.stack(process.rates(t), -1), t),
    ):  # fmt: skip
        whole = function(values)
        for size in (1, 3, 8):
            assert torch.equal(torch.cat([function(part) for part in values.split(size)]), whole)
        assert torch.equal(torch.stack([function(value) for value in values]), whole)


def test_softplus_and_sigmoid_are_torch_s_own():
    """To rounding, with their derivatives, at zero and at both ends too."""
    x = torch.tensor([-torch.inf, -800.0, -40.0, -1.0, 0.0, 1e-9, 2.0, 40.0, 800.0, torch.inf], dtype=torch.float64)
    torch.testing.assert_close(sigmoid(x), torch.sigmoid(x), rtol=1e-15, atol=0)
    torch.testing.assert_close(softplus(x), torch.nn.functional.softplus(x), rtol=1e-15, atol=0)
    y = x[1:-1].clone().requires_grad_()
    for ours, theirs in ((sigmoid, torch.sigmoid), (softplus, torch.nn.functional.softplus)):
        torch.testing.assert_close(torch.autograd.grad(ours(y).sum(), y), torch.autograd.grad(theirs(y).sum(), y))


class Given(Process):
    """A process of two functions."""

    def __init__(self, alpha, sigma):
        super().__init__()
        object.__setattr__(self, "functions", (alpha, sigma))

    def alpha(self, t):
        return self.functions[0](t)

    def sigma(self, t):
        return self.functions[1](t)

    def __repr__(self):
        return "Given()"


WRONG = {
    "noise falls": (lambda t: t, lambda t: 1 - t, "swap alpha and sigma"),
    "noise stands still": (
        lambda t: torch.ones_like(t),
        lambda t: t.clamp(max=0.5),
        "log-SNR goes from 1.386.* at t = 0.5 to 1.386",
    ),
    "noise falls for a while": (lambda t: torch.ones_like(t), lambda t: t + 0.3 * torch.sin(12 * t), "noise must grow with t"),
    "nothing is left": (lambda t: (1 - t) * (t < 0.8), lambda t: t * (t < 0.8), "both 0 at t = 0.8"),
    "negative": (lambda t: 1 - 1.2 * t, lambda t: t, "alpha is -0.0.* at t = 0.8"),
    "not a number": (lambda t: 1 - t, lambda t: (t - 0.1).sqrt(), "sigma is nan at t = 0; it must be finite and not negative"),
    "infinite": (lambda t: torch.ones_like(t), lambda t: 1 / (1 - t), "sigma is inf at t = 1"),
    "another shape": (lambda t: torch.ones(()), lambda t: t, r"alpha of times \(49,\) has to be of that shape, but is \(\)"),
    "a number": (lambda t: 1.0, lambda t: t, "but is float"),
    "one time": (lambda t: torch.ones(t.numel()), lambda t: t, r"alpha of times \(\) has to be of that shape, but is \(1,\)"),
}


@pytest.mark.parametrize("why", WRONG)
def test_a_process_is_looked_at_where_it_enters_a_denoiser(why):
    """One boundary, one error: noise that falls with t made all samples one without a word."""
    *functions, message = WRONG[why]
    process = Given(*functions)
    law = ud.GaussianMixture(torch.zeros(1, 2), 1.0)
    for enter in (
        lambda: ud.Denoiser(torch.nn.Identity(), process, ud.target.data), lambda: ud.GaussianMixture(torch.zeros(1, 2), 1.0, None, process),
        lambda: ud.Empirical(torch.zeros(2, 2), process), lambda: law.using(process),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            enter()


def test_a_learned_schedule_is_looked_at_too():
    curve = ud.Learned().curve
    with torch.no_grad():
        curve.ends.copy_(curve.ends.flip(0))
    with pytest.raises(ValueError, match="noise must grow with t"):
        ud.GaussianMixture(torch.zeros(1, 2), 1.0, None, ud.Learned(curve))


def test_all_processes_are_processes(process):
    assert checked(process) is process


def test_log_snr_decreases(process):
    t = torch.linspace(process.t_min, process.t_max, 200, dtype=torch.float64)[1:-1]
    assert (process.log_snr(t).diff() < 0).all()


def test_transitions_compose(process, times):
    t, u, s = times[1], times[3], times[5]
    (r1, q1), (r2, q2), (r, q) = process.step(t, u), process.step(u, s), process.step(t, s)
    torch.testing.assert_close(r1 * r2, r)
    torch.testing.assert_close((r2 * q1) ** 2 + q2**2, q**2)


def test_transition_from_clean_data_is_the_marginal(process, times):
    if process.t_min > 0 or process.sigma(torch.zeros((), dtype=torch.float64)) > 0:
        pytest.skip("this process never reaches clean data")
    x0, eps = torch.ones(1, 3, dtype=torch.float64), torch.full((1, 3), 0.7, dtype=torch.float64)
    torch.testing.assert_close(process.transition(x0, 0.0, times[4], eps), process.perturb(x0, times[4], eps))


def test_transition_draws_the_kernel():
    process, noise = ud.VP(), ud.Noise(range(40_000))
    x = process.transition(torch.full((40_000, 1), 2.0).double(), 0.2, 0.5, noise.normal((40_000, 1)).double())
    ratio, std = process.step(*torch.tensor([0.2, 0.5], dtype=torch.float64))
    assert abs(x.mean() - 2 * ratio) < 5 * std / 200  # 5 standard errors: false alarm 6e-7
    assert abs(x.std() / std - 1) < 5 / math.sqrt(2 * 40_000)


def test_no_transition_back():
    with pytest.raises(ValueError, match="must not lie before"):
        ud.VP().transition(torch.zeros(1, 1), 0.5, 0.4, torch.zeros(1, 1))


@pytest.mark.parametrize("name", ["VP", "Cosine", "DDPM", "DDPM-cosine", "DDPM-sigmoid"])
def test_variance_preserving(name):
    process, t = PROCESSES[name], torch.linspace(0, 1, 57, dtype=torch.float64)
    torch.testing.assert_close(process.alpha(t) ** 2 + process.sigma(t) ** 2, torch.ones_like(t))


def test_known_formulas():
    t = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    torch.testing.assert_close(ud.VE(0.01, 50).sigma(t), 0.01 * 5000**t)
    torch.testing.assert_close(ud.SubVP().sigma(t), ud.VP().sigma(t) ** 2)
    torch.testing.assert_close(ud.VP().diffusion(t[1:]), (0.1 + 19.9 * t[1:]).sqrt())
    torch.testing.assert_close(ud.VE().diffusion(t[1:]), ud.VE().sigma(t[1:]) * math.sqrt(2 * math.log(5000)))  # 002: root!
    torch.testing.assert_close(ud.Rectified().alpha(t), 1 - t)
    assert ud.Cosine().alpha(t[2]) == 0 and ud.Rectified().log_snr(t[2]) == -math.inf


def test_ddpm_is_its_published_table():
    betas = np.linspace(1e-4, 0.02, 1000)
    table = torch.from_numpy(np.cumprod(1 - betas))
    i = torch.arange(1, 1001, dtype=torch.float64)
    torch.testing.assert_close(ud.DDPM().alpha(i / 1000) ** 2, table)
    assert ud.DDPM().alpha(torch.tensor(1.0).double()) ** 2 == pytest.approx(4.0e-5, rel=0.02)  # 001, F3
    assert ud.DDPM(2000).alpha(torch.tensor(1.0).double()) ** 2 == pytest.approx(1.6e-9, rel=0.03)  # 002, F3


def test_ddpm_cosine_is_its_published_table():
    def f(t):
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    product, process = 1.0, ud.DDPM(1000, schedule="cosine")
    for i in range(1, 1001):
        product *= 1 - min(1 - f(i / 1000) / f((i - 1) / 1000), 0.999)
        if i % 100 == 0:
            assert process.alpha(torch.tensor(i / 1000, dtype=torch.float64)) ** 2 == pytest.approx(product, rel=1e-9)


def test_ddpm_sigmoid_betas():
    process = ud.DDPM(100, schedule="sigmoid")
    ratio, _ = process.step(*torch.tensor([0.0, 0.01], dtype=torch.float64))
    assert 1 - ratio**2 == pytest.approx(1e-4 + 0.0199 / (1 + math.exp(6)), rel=1e-9)


@pytest.mark.parametrize("n", [50, 200, 800])
def test_ddpm_tends_to_vp(n):
    chain, t = ud.DDPM(n, 0.1 / n, 20 / n), torch.tensor([0.1, 0.4, 0.7], dtype=torch.float64)
    gap = (chain.log_snr(t) - ud.VP().log_snr(t)).abs().max()
    assert gap < 250 / n  # first order in 1/N


@pytest.mark.parametrize("n", [50, 200, 800])
def test_smld_tends_to_ve(n):
    chain, t = ud.SMLD(n, 0.01, 50), torch.tensor([0.1, 0.4, 0.7], dtype=torch.float64)
    gap = (chain.sigma(t).log() - ud.VE(0.01, 50).sigma(t).log()).abs().max()
    assert gap < 20 / n


def test_smld_ladder():
    ladder = ud.SMLD(10, 0.01, 1.0)
    sigmas = ladder.sigma(ladder.levels)
    torch.testing.assert_close(sigmas[:-1], torch.logspace(0, -2, 10, dtype=torch.float64))
    assert sigmas[-1] == 0 and len(ladder.levels) == 11


def test_ddpm_posterior_is_that_of_the_paper():
    """mu-tilde and beta-tilde (001 eq. 4.5-4.6; the three versions printed in 002 are wrong) from the general bridge."""
    process, i = ud.DDPM(), 500
    beta = 1e-4 + (0.02 - 1e-4) * (i - 1) / 999
    t, s = torch.tensor([i / 1000, (i - 1) / 1000], dtype=torch.float64)
    bar_t, bar_s = process.alpha(t) ** 2, process.alpha(s) ** 2
    x0, x = torch.full((1, 1), 0.3).double(), torch.full((1, 1), -0.8).double()
    mean = bar_s.sqrt() * beta / (1 - bar_t) * x0 + (1 - beta) ** 0.5 * (1 - bar_s) / (1 - bar_t) * x
    std = ((1 - bar_s) / (1 - bar_t) * beta).sqrt()
    from undrift.sampler.ancestral import bridge

    class Fixed:
        def __init__(self, z):
            self.z = z

        def normal(self, like):
            return torch.full_like(like, self.z)

    prediction = ud.Prediction(x0, (x - process.alpha(t) * x0) / process.sigma(t))
    at = [bridge(process, prediction, t, s, 1.0, Fixed(z)) for z in (0.0, 1.0)]
    torch.testing.assert_close(at[0], mean)
    torch.testing.assert_close(at[1] - at[0], std.reshape(1, 1))


def test_linear_sde_is_vp():
    sde, t = (
        ud.LinearSDE(lambda t: -0.5 * (0.1 + 19.9 * t), lambda t: (0.1 + 19.9 * t).sqrt()),
        torch.linspace(0.01, 1, 33).double(),
    )
    for name in ("alpha", "sigma", "log_snr", "drift", "diffusion"):
        torch.testing.assert_close(getattr(sde, name)(t), getattr(ud.VP(), name)(t), rtol=1e-10, atol=1e-12)


def test_the_papers_ve_sde():
    """003: dx = s^t dw has marginal variance (s^2t - 1) / (2 log s), the integral of g^2, not g^2 itself."""
    sde, t = ud.LinearSDE(lambda t: torch.zeros_like(t), lambda t: 25.0**t), torch.tensor([0.3, 1.0], dtype=torch.float64)
    torch.testing.assert_close(sde.sigma(t) ** 2, (25 ** (2 * t) - 1) / (2 * math.log(25)))


def test_prior_and_its_density():
    process, noise = ud.VE(0.01, 5.0), ud.Noise(range(2000))
    x = process.prior(torch.empty(2000, 4, dtype=torch.float64), noise)
    assert abs(x.std() / 5 - 1) < 5 / math.sqrt(2 * 8000)  # 5 standard errors
    reference = torch.distributions.Normal(0.0, 5.0).log_prob(x).sum(1)
    torch.testing.assert_close(process.prior_log_prob(x), reference)


def test_expand_never_broadcasts_silently():
    x = torch.zeros(4, 4)
    assert expand(torch.arange(4.0), x).shape == (4, 1)
    with pytest.raises(ValueError, match="pass one time"):
        as_time(torch.zeros(3), x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ud.VP(3, 1), "0 < beta_min < beta_max"),
        (lambda: ud.VE(0, 1), "0 < sigma_min < sigma_max"),
        (lambda: ud.VE(1, math.inf), "0 < sigma_min"),
        (lambda: ud.Karras(80, 0.002), "t_min < t_max"),
        (lambda: ud.Rectified(t_max=1.5), "ends at t = 1"),
        (lambda: ud.Cosine(2), "offset"),
        (lambda: ud.DDPM(1), "steps >= 2"),
        (lambda: ud.DDPM(beta_max=1.5), "beta_max < 1"),
        (lambda: ud.DDPM(schedule="square"), "linear, cosine and sigmoid"),
        (lambda: ud.SMLD(1), "at least 2 levels"),
        (lambda: ud.LinearSDE(lambda t: -1 / (1 - t) ** 2, lambda t: t / 0), "finite"),
    ],
)
def test_illegal_processes(make, message):
    with pytest.raises(ValueError, match=message):
        make()
