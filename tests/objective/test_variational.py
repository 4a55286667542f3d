"""Training on the bound: unbiased, with learned variances, and with a learned schedule."""

import pytest
import torch

import undrift as ud
from conftest import mixture
from undrift import target
from undrift.bound import Bins, Chain
from undrift.process import Monotone


def test_one_drawn_step_is_unbiased_for_the_whole_bound():
    """`VariationalBound` averaged over draws against `variational_bound`, 5 standard errors, for both decoders."""
    process = ud.DDPM(10, 1e-2, 0.4)
    m = mixture(process)
    x0 = (m.sample(40, ud.Noise(range(40))) / 3).clamp(-1, 1)
    for bins in (None, Bins(-1.0, 1.0, 2 / 15)):
        y = x0 if bins is None else ((x0 + 1) * 7.5).round() / 7.5 - 1
        many = y.repeat_interleave(500, 0)
        drawn = ud.VariationalBound(bins=bins)(m, many, ud.Noise(range(len(many))))
        whole = ud.variational_bound(m, many, bins=bins)
        difference = drawn - whole.value
        assert difference.mean().abs() < 5 * difference.std() / len(many) ** 0.5
        assert drawn.std() > whole.value.std()


def test_bound_weight_of_denoising_is_the_tilde_bound():
    """DSM with weight "bound", times the dimension, is the tilde-chain's drawn step without L_T and the decoder's constant."""
    process, x0, noise = ud.DDPM(10, 1e-2, 0.4), torch.randn(64, 3).double(), ud.Noise(range(64))
    denoiser = ud.Denoiser(ud.nn.MLP((3,), 8, 1).double(), process)
    chain = Chain(process, process.levels, "tilde")
    for i in range(9):
        t = process.levels[i].expand(64)
        eps = noise.fold(i).normal(x0)
        term = chain.term(x0, i, eps, denoiser(process.perturb(x0, t, eps), t))
        weighted = ud.DenoisingScoreMatching(weight="bound").at(denoiser, x0, t, eps)
        torch.testing.assert_close(10 * term, 3 * weighted)


class Constant(torch.nn.Module):
    """The exact mean of a Gaussian, and a head of one number for each of a few noise levels."""

    def __init__(self, m):
        super().__init__()
        self.m, self.head, self.scale = (
            m,
            torch.nn.Parameter(torch.zeros(1, 9).double()),
            torch.nn.Parameter(torch.ones(()).double()),
        )
        self.register_buffer("level", -m.process.log_snr(m.process.levels[:-1]) / 8)

    def forward(self, x, level, cond):
        t = self.m.process.time(-8 * level)
        noise = self.scale * self.m(x, t).noise  # variance preserving: c_in = 1
        head = self.head[:, (self.level[:, None] - level).abs().argmin(0)].mT.expand_as(x)
        return torch.cat([noise, head], 1)


def test_hybrid_learns_the_optimal_variance_and_leaves_the_mean_alone():
    """The head finds the analytic variance of every step; the mean's gradient is that of L_simple, bit for bit."""
    m = ud.GaussianMixture([[0.2, -0.4]], 0.5, process=ud.DDPM(9, 2e-2, 0.5))
    denoiser = ud.Denoiser(Constant(m), m.process, target.noise)
    net, objective = denoiser.net, ud.HybridObjective(weight=1.0)
    x0, noise = m.sample(512, ud.Noise(range(512))), ud.Noise(range(512))
    objective(denoiser, x0, noise).mean().backward()
    _, i, eps = ud.VariationalBound().drawn(m.process, x0, noise)
    simple = ud.DenoisingScoreMatching().at(denoiser, x0, m.process.levels[i], eps).mean()
    assert torch.equal(net.scale.grad, torch.autograd.grad(simple, net.scale)[0]) and net.head.grad.abs().min() > 0
    optimizer = torch.optim.Adam([net.head], 0.1)
    for step in range(150):
        if step == 100:
            optimizer.param_groups[0]["lr"] = 0.01
        noise = ud.Noise(range(512)).fold("train", step)
        optimizer.zero_grad()
        objective(denoiser, m.sample(512, noise), noise).mean().backward()
        optimizer.step()
    noise = ud.Noise(range(20_000))
    best = ud.analytic_variance(m, m.sample(20_000, noise), noise, steps=None)
    times = m.process.levels
    chain = Chain(m.process, times, "learned")
    learned = torch.lerp(chain.log_tilde, chain.log_beta, (net.head.detach()[0] + 1) / 2)
    torch.testing.assert_close(learned, best(m.process, times[:-1], times[1:]).log(), rtol=0, atol=0.06)
    x0 = m.sample(2000, ud.Noise(range(2000)))
    values = {v: ud.variational_bound(denoiser, x0, variance=v).value.mean() for v in ("learned", "beta", "tilde")}
    assert values["learned"] < min(values["beta"], values["tilde"])


@pytest.mark.parametrize("net", [ud.nn.MLP((1, 6, 5), 16, 1, 2, True), ud.nn.UNet(1, (8,), 1, classes=2, learned_variance=True)])
def test_networks_with_a_variance_head(net):
    """Both kinds train, give a bound, sample with their own variances, and serve everything else as before."""
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    denoiser, x0, noise = ud.Denoiser(net, ud.DDPM(20), shape=(1, 6, 5)), torch.randn(3, 1, 6, 5), ud.Noise(range(3))
    ud.HybridObjective()(denoiser, x0, noise).mean().backward()
    assert all(p.grad is not None for p in net.parameters())
    prediction, fraction = denoiser.with_fraction(x0, 0.5)
    assert prediction.data.shape == fraction.shape == x0.shape
    torch.testing.assert_close(prediction.data, denoiser(x0, 0.5).data)
    assert ud.variational_bound(denoiser, x0, variance="learned").value.isfinite().all()
    mixed = ud.Mix(denoiser, denoiser.given(None), 1.5)
    for any_denoiser in (denoiser, denoiser.given(None), mixed):
        assert ud.sample(any_denoiser, 2, ud.Ancestral(variance="learned"), 5).shape == (2, 1, 6, 5)
    torch.testing.assert_close(mixed.with_fraction(x0, 0.5)[0].data, mixed(x0, 0.5).data)
    assert ud.sample(denoiser, 2, steps=5).shape == (2, 1, 6, 5)


def test_hybrid_needs_a_head():
    with pytest.raises(ValueError, match="learned_variance=True"):
        ud.HybridObjective()(ud.Denoiser(ud.nn.MLP((2,)), ud.DDPM()), torch.zeros(2, 2), ud.Noise(range(2)))
    with pytest.raises(ValueError, match="must be positive"):
        ud.HybridObjective(0.0)
    with pytest.raises(ValueError, match="`times` is one of low_discrepancy"):
        ud.ScheduleVariance("importance")


# A learned schedule.


def fresh():
    torch.manual_seed(0)
    return ud.Learned(Monotone(12.0, -9.0))


def test_schedule_is_a_process():
    """Decreasing, with its ends, exact rates and inverse, and differentiable, whatever its weights."""
    process = fresh()
    for parameter in (process.curve.slope, process.curve.steepness, process.curve.height, process.curve.middle):
        torch.nn.init.normal_(parameter)
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    with torch.no_grad():
        log_snr = process.log_snr(t)
        assert (log_snr.diff() < 0).all() and log_snr[0] == 12 and log_snr[-1].item() == pytest.approx(-9)
        alpha, sigma = process(t)
        torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(t))
        torch.testing.assert_close(process.time(log_snr), t, rtol=0, atol=1e-9)
        closed = process.rates(t[1:-1])
        auto = ud.Process.rates(process, t[1:-1])
        torch.testing.assert_close(closed, auto)
    assert torch.autograd.grad(process.sigma(t).sum(), process.curve.middle)[0].abs().max() > 0
    assert process != fresh()
    with pytest.raises(ValueError, match="log_snr_min < log_snr_max"):
        Monotone(-1.0, 1.0)


def test_learning_the_schedule_lowers_the_variance_and_keeps_the_bound():
    """Kingma et al. 2021, sec. 5.1 and app. I.2, on the exact denoiser, from a straight log-SNR: two thirds of the variance at
    most (a tenth of what VP has between the same ends), the same integral."""
    process, n = fresh(), 512
    m, objective = mixture(process), ud.ScheduleVariance()
    x0 = m.sample(8000, ud.Noise(range(8000)))

    def measure():
        with torch.no_grad():
            values = ud.ScheduleVariance("uniform").integrand(m, x0, ud.Noise(range(8000)).fold("test"))
        return values.mean(), values.std()

    before, spread = measure()
    with torch.no_grad():
        bound = ud.variational_bound(m, x0[:2000]).value
    optimizer = torch.optim.Adam(process.curve.parameters(), 0.1)
    for step in range(120):
        noise = ud.Noise(range(n)).fold("train", step)
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 120)  # else the last steps are as far off as they are long
        optimizer.zero_grad()
        objective(m, m.sample(n, noise).detach(), noise).mean().backward()
        optimizer.step()
    after, less = measure()
    assert less**2 < spread**2 / 1.5, (spread, less)
    ends = ud.VP().time(torch.tensor([12.0, -9.0]).double()).tolist()
    fixed = mixture(ud.VP(t_min=ends[0], t_max=ends[1]))
    values = ud.ScheduleVariance("uniform").integrand(fixed, x0, ud.Noise(range(8000)).fold("test"))
    assert less**2 < values.var() / 10
    assert (after - values.mean()).abs() < 5 * values.std() / 8000**0.5
    assert (after - before).abs() < 5 * (spread**2 + less**2).sqrt() / 8000**0.5
    assert process.curve.ends.tolist() == [12.0, -9.0]
    difference = ud.variational_bound(m, x0[:2000]).value - bound
    assert difference.mean().abs() < 5 * difference.std() / 2000**0.5 + 1e-6


def test_a_network_does_not_own_its_schedule():
    """Training a network leaves the schedule alone: it is no parameter of the denoiser."""
    denoiser = ud.Denoiser(ud.nn.MLP((2,), 8, 1), fresh())
    assert not any(p is q for p in denoiser.parameters() for q in denoiser.process.curve.parameters())
    loss = ud.DenoisingScoreMatching(weight="bound")(denoiser, torch.randn(8, 2), ud.Noise(range(8)))
    loss.mean().backward()
    assert ud.sample(denoiser, (3, 2), steps=4).shape == (3, 2)
