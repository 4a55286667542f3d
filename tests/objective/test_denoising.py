"""One regression, every loss of the papers."""

import math

import pytest
import torch

import undrift as ud
from conftest import mixture
from undrift import target
from undrift.objective.denoising import WEIGHTS
from undrift.objective.quantile import by_mass, lognormal, snr, uniform
from undrift.process import expand

TARGETS = {
    "data": target.data, "noise": target.noise, "score": target.score,
    "v": target.v, "velocity": target.velocity, "karras": target.karras(0.5),
}  # fmt: skip
PROCESSES = {"VP": ud.VP(t_min=1e-3), "VE": ud.VE(), "Rectified": ud.Rectified(t_min=1e-3, t_max=0.999), "Karras": ud.Karras()}


class Net(torch.nn.Module):
    def forward(self, x, level, cond):
        return torch.sin(2 * x) + level.reshape(-1, *[1] * (x.ndim - 1))


def batch(process, n=16):
    x0, noise = torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)), ud.Noise(range(n))
    t = uniform(process, noise.fold("t").uniform((n,)).double())
    return x0, t, noise.fold("e").normal(x0)


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("space", TARGETS)
@pytest.mark.parametrize("output", TARGETS)
def test_loss_in_any_space_from_any_output(output, space, name):
    """The error in `space` of the prediction itself, for each of the 36 pairs."""
    process = PROCESSES[name]
    denoiser = ud.Denoiser(Net(), process, TARGETS[output], sigma_data=0.5)
    x0, t, eps = batch(process)
    prediction = denoiser(process.perturb(x0, t, eps), t)
    a, b = (expand(c, x0) for c in TARGETS[space](process, t))
    direct = (a * (prediction.data - x0) + b * (prediction.noise - eps)).square().mean(1)
    loss = ud.DenoisingScoreMatching(space=TARGETS[space]).at(denoiser, x0, t, eps)
    torch.testing.assert_close(loss, direct, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("output", TARGETS)
@pytest.mark.parametrize("name", PROCESSES)
def test_named_weights_are_those_of_the_papers(name, output):
    process = PROCESSES[name]
    denoiser = ud.Denoiser(Net(), process, TARGETS[output], sigma_data=0.5)
    x0, t, eps = batch(process)
    prediction = denoiser(process.perturb(x0, t, eps), t)
    noise_error = (prediction.noise - eps).square().mean(1)
    score_error, ratio = noise_error / process.sigma(t) ** 2, snr(process, t)
    printed = {
        "sigma2": noise_error,  # L_simple = sigma^2-weighted DSM (001 eq. 5.1, O12)
        "likelihood": process.diffusion(t) ** 2 * score_error,  # lambda = g^2 (004; Song et al. 2021)
        "bound": process.diffusion(t) ** 2 * score_error / 2,
        "min_snr": torch.minimum(ratio, torch.full_like(ratio, 5.0)) / ratio * noise_error,
    }
    for weight, value in printed.items():
        loss = ud.DenoisingScoreMatching(weight=weight).at(denoiser, x0, t, eps)
        torch.testing.assert_close(loss, value, rtol=1e-6, atol=1e-12)


def test_simple_loss_of_a_chain_is_ddpm():
    """L_simple with i uniform on 1..N, written out as 002 Algorithm 1 does."""
    process = ud.DDPM(100)
    denoiser, noise = ud.Denoiser(Net(), process, target.noise), ud.Noise(range(64)).fold("step", 3)
    x0 = torch.randn(64, 3, dtype=torch.float64)
    objective = ud.DenoisingScoreMatching()
    t, _ = objective.draw_times(denoiser, noise)
    i = (t * 100).round()
    assert ((t * 100 - i).abs() < 1e-9).all() and i.min() >= 1 and i.max() <= 100
    bar = (1 - torch.linspace(1e-4, 0.02, 100, dtype=torch.float64)).cumprod(0)[i.long() - 1][:, None]
    eps = noise.fold("eps").normal(x0)
    x = bar.sqrt() * x0 + (1 - bar).sqrt() * eps
    level = ((1 - bar) / bar).sqrt().log()[:, 0] / 4
    direct = (Net()(x, level, None) - eps).square().mean(1)
    torch.testing.assert_close(objective(denoiser, x0, noise), direct, rtol=1e-6, atol=1e-9)


def test_bound_weight_of_a_chain_is_the_kl_weight():
    """beta^2 / (2 sigma^2 alpha (1 - bar)) with sigma^2 = beta-tilde (001 eq. 4.10), times N, for every level above 1."""
    process, n = ud.DDPM(20, 1e-2, 0.3), 20
    betas = torch.linspace(1e-2, 0.3, n, dtype=torch.float64)
    bars = (1 - betas).cumprod(0)
    t = torch.arange(2, n + 1, dtype=torch.float64) / n
    tilde = betas[1:] * (1 - bars[:-1]) / (1 - bars[1:])
    printed = betas[1:] ** 2 / (2 * tilde * (1 - betas[1:]) * (1 - bars[1:]))
    torch.testing.assert_close(WEIGHTS["bound"](process, t) / snr(process, t), n * printed)


def test_importance_and_low_discrepancy_keep_the_expectation_and_lower_the_variance():
    """The likelihood-weighted loss of a wrong denoiser, 400 batches of 256: equal means (5 standard errors), less variance."""
    process = ud.VP(t_min=1e-3)

    class Wrong(torch.nn.Module):
        def forward(self, x, level, cond):
            return 0.5 * x

    denoiser = ud.Denoiser(Wrong(), process, target.noise)
    x0 = mixture().sample(256, ud.Noise(range(256)))
    losses = {}
    for times in ("uniform", "low_discrepancy", "importance"):
        objective = ud.DenoisingScoreMatching(weight="likelihood", times=times)
        losses[times] = torch.stack([objective(denoiser, x0, ud.Noise(range(256)).fold(k)).mean() for k in range(400)])
    base = losses["uniform"]
    for times in ("low_discrepancy", "importance"):
        standard_error = ((base.var() + losses[times].var()) / 400).sqrt()
        assert abs(losses[times].mean() - base.mean()) < 5 * standard_error
    assert losses["importance"].var() < base.var() / 10
    assert losses["low_discrepancy"].var() < base.var() / 1.2


def test_lognormal_times():
    process, u = ud.Karras(), ud.Noise(range(100_000)).uniform((100_000,)).double()
    log_sigma = lognormal(-1.2, 1.2)(process, u).log()
    assert log_sigma.mean() == pytest.approx(-1.2, abs=0.02) and log_sigma.std() == pytest.approx(1.2, abs=0.02)
    logit = torch.logit(lognormal(0.0, 0.5)(ud.Rectified(), u))  # logit-normal
    assert logit.std() == pytest.approx(1.0 / 2, abs=0.01)


def test_the_exact_denoiser_is_the_minimum():
    """The gradient of the loss vanishes at the truth: scale the exact prediction by c and the loss is smallest at c = 1."""
    m = mixture(ud.VP())

    class Exact(torch.nn.Module):
        c = 1.0

        def forward(self, x, level, cond):
            t = m.process.time(-8 * level)
            scale = expand((m.process.sigma(t) ** 2 + m.process.alpha(t) ** 2).sqrt(), x)
            return self.c * m(x * scale, t).noise

    net, noise = Exact(), ud.Noise(range(4000))
    denoiser, x0 = ud.Denoiser(net, m.process, target.noise), m.sample(4000, ud.Noise(range(4000)))
    losses = []
    for net.c in (0.9, 1.0, 1.1):
        losses.append(ud.DenoisingScoreMatching()(denoiser, x0, noise).mean().item())
    assert losses[1] < min(losses[0], losses[2])


def test_loss_of_a_sample_does_not_depend_on_the_batch():
    denoiser, x0, noise = ud.Denoiser(Net(), ud.VP()), torch.randn(64, 3), ud.Noise(range(64))
    for times in ("uniform", "low_discrepancy", "lognormal"):
        objective = ud.DenoisingScoreMatching(times=times)
        whole = objective(denoiser, x0, noise)
        for size in (1, 7):
            parts = [objective(denoiser, x0[i : i + size], noise[i : i + size]) for i in range(0, 64, size)]
            torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", TARGETS)
def test_a_small_network_learns_the_score(name):
    """Training on any target lowers the excess error against the exact denoiser by far: a sanity check of signs."""
    torch.manual_seed(0)
    m = ud.GaussianMixture([[0.8], [-0.8]], 0.2, None, ud.VP(t_min=0.1))

    class Mlp(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(2, 64), torch.nn.SiLU(), torch.nn.Linear(64, 64), torch.nn.SiLU(), torch.nn.Linear(64, 1)
            )

        def forward(self, x, level, cond):
            return self.layers(torch.cat([x, level[:, None]], 1))

    denoiser = ud.Denoiser(Mlp(), m.process, {**TARGETS, "karras": target.karras(1.0)}[name])
    optimizer = torch.optim.Adam(denoiser.parameters(), 5e-3)
    objective = ud.DenoisingScoreMatching(space=target.noise)
    for step in range(400):
        noise = ud.Noise(range(256)).fold("train", step)
        loss = objective(denoiser, m.sample(256, noise.fold("x0")).float(), noise).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    noise = ud.Noise(range(2000)).fold("test")
    t = uniform(m.process, noise.uniform((2000,)).double())
    x = m.process.perturb(m.sample(2000, noise), t, noise.fold("eps").normal((2000, 1)).double())
    with torch.no_grad():
        excess = (denoiser(x.float(), t).noise - m(x, t).noise).square().mean()
    assert excess < 0.05


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ud.DenoisingScoreMatching(weight="square"), "is not one of simple"),
        (lambda: ud.DenoisingScoreMatching(times="now"), "is not one of uniform"),
        (lambda: lognormal(0, -1), "positive std"),
        (
            lambda: ud.DenoisingScoreMatching(weight="likelihood", times="importance")(
                ud.Denoiser(Net(), ud.VP()), torch.zeros(2, 3), ud.Noise(range(2))
            ),
            "Give the process a t_min",
        ),
    ],
)
def test_illegal_objectives(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bound_is_half_the_log_snr_rate():
    t = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    for process in (ud.VP(), ud.Rectified(), ud.VE()):
        rate = (process.log_snr(t - 1e-6) - process.log_snr(t + 1e-6)) / 2e-6
        torch.testing.assert_close(WEIGHTS["bound"](process, t) / snr(process, t), rate / 2, rtol=1e-6, atol=0)
    assert math.isfinite(WEIGHTS["bound"](ud.Rectified(), torch.tensor(1.0).double()))


def test_uniform_times_of_a_chain_are_its_noisy_levels():
    u = (torch.arange(100, dtype=torch.float64) + 0.5) / 100
    for process in (ud.DDPM(10), ud.SMLD(10)):
        times, counts = uniform(process, u).unique(return_counts=True)
        torch.testing.assert_close(times, torch.arange(1, 11, dtype=torch.float64) / 10)
        assert (counts == 10).all()


def test_the_first_level_of_a_chain_is_weighted_as_the_reconstruction():
    """1/(2 sigma_1^2) on the data error times alpha^2, N levels: the misprint of 001 eq. 4.11 mended."""
    process, t = ud.DDPM(20, 1e-2, 0.3), torch.tensor([1 / 20], dtype=torch.float64)
    torch.testing.assert_close(WEIGHTS["bound"](process, t), 20 * snr(process, t) / 2)


@pytest.mark.parametrize(
    "process", [ud.Karras(), ud.VE(), ud.DDPM(10), ud.SMLD(10), ud.VP(t_min=1e-3)], ids=lambda p: type(p).__name__
)
@pytest.mark.parametrize("weight", ["likelihood"])
def test_importance_times_stand_for_uniform_ones(process, weight):
    """Expectations of 1 and of t under importance times, divided out, are those under uniform times (quasi-random u, 1 %)."""
    u = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    objective = ud.DenoisingScoreMatching(weight=weight, times="importance")
    t, ratio = by_mass(process, objective._noise_weight, u)
    plain = uniform(process, u)
    assert ratio.mean() == pytest.approx(1.0, rel=0.01)
    assert (ratio * t).mean() == pytest.approx(plain.mean().item(), rel=0.02)
