"""The variances of the reverse step, in the ancestral sampler: laws on exact denoisers."""

import pytest
import torch

import undrift as ud
from undrift.reverse import reverse_step

S0 = 0.6


def gaussian(process):
    return ud.GaussianMixture([[0.5, -1.0]], S0, process=process)


class Fraction(ud.AnyDenoiser):
    """An exact denoiser with a variance head that always says f."""

    def __init__(self, inner, f):
        super().__init__()
        self.inner, self.f, self.process, self.shape = inner, f, inner.process, inner.shape

    def forward(self, x, t, cond=None):
        return self.inner(x, t, cond)

    def with_fraction(self, x, t, cond=None):
        return self(x, t, cond), torch.full_like(x, self.f)


def spread(m, variance, n=6000, steps=None, eta=1.0):
    times = m.process.levels if steps is None else ud.times.log_snr(m.process, steps)
    times = times[:-1]  # without the step to the denoised mean
    x = ud.sample(m, n, ud.Ancestral(eta, variance), times, like=torch.empty(0).double())
    return x.var(0).mean().item(), (m.process.alpha(times[-1]) ** 2 * S0**2 + m.process.sigma(times[-1]) ** 2).item()


@pytest.mark.parametrize("eta", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("process", [ud.DDPM(6, 0.05, 0.6), ud.VP(), ud.VE(0.01, 30.0), ud.SMLD(6, 0.1, 20.0)], ids=str)
def test_analytic_variance_is_exact_on_a_gaussian_in_few_steps(process, eta):
    """With the optimal variance the chain has the true covariance at every step count (Bao et al. 2022); tilde has less.

    Six steps, 12,000 numbers: the standard error of the variance is 1.3 %.
    """
    m = gaussian(process)
    noise = ud.Noise(range(4000))
    analytic = ud.analytic_variance(m, m.sample(4000, noise), noise, steps=None if process.levels is not None else 40)
    steps = None if process.levels is not None else 6
    got, wanted = spread(m, analytic, steps=steps, eta=eta)
    start = process.alpha(torch.tensor(1.0).double()) ** 2 * S0**2 / process.sigma(torch.tensor(1.0).double()) ** 2
    assert got == pytest.approx(wanted, rel=0.065 + float(start))
    assert spread(m, "tilde", steps=steps, eta=eta)[0] < 0.93 * wanted


def test_beta_and_learned_variances():
    """One step from fixed x_t: the variance of what comes out is beta, tilde, or between on the log scale; the mean is one."""
    m, n = gaussian(ud.DDPM(6, 0.05, 0.6)), 20_000
    t, s = m.process.levels[2], m.process.levels[3]
    bounds, noise = reverse_step(m.process, t, s), ud.Noise(range(n))
    x = torch.tensor([[0.3, 0.7]]).double().expand(n, 2)
    expected = {"beta": (m, bounds.beta), "tilde": (m, bounds.tilde)}
    for f in (0.0, 0.25, 1.0):
        expected[f] = (Fraction(m, f), bounds.beta**f * bounds.tilde ** (1 - f))
    means = []
    for name, (denoiser, variance) in expected.items():
        sampler = ud.Ancestral(variance=name if isinstance(name, str) else "learned")
        out = sampler.step(denoiser, ud.State(x, t), s, noise).x
        assert out.var(0).mean().item() == pytest.approx(variance.item(), rel=0.04)  # standard error 0.7 %
        means.append(out.mean(0))
    data = m(x[:1], t).data[0]
    for mean in means:
        torch.testing.assert_close(mean, bounds.data * data + bounds.state * x[0], rtol=0, atol=0.03)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_coefficients_are_those_of_the_bridge(eta):
    """`reverse_step`'s mean is the sampler's, for every eta; and at eta = 1 it is Ho et al. 2020, eq. 7."""
    process = ud.DDPM(20, 1e-2, 0.3)
    betas = torch.linspace(1e-2, 0.3, 20, dtype=torch.float64)
    bars = (1 - betas).cumprod(0)
    t, s = process.levels[:-2], process.levels[1:-1]
    step, (alpha_t, sigma_t), (alpha_s, sigma_s) = reverse_step(process, t, s, eta), process(t), process(s)
    torch.testing.assert_close(step.data + step.state * alpha_t, alpha_s)
    torch.testing.assert_close((step.state * sigma_t) ** 2 + eta**2 * step.tilde, sigma_s**2)
    if eta == 1:
        k = torch.arange(19, 0, -1)
        torch.testing.assert_close(step.data, bars[k - 1].sqrt() * betas[k] / (1 - bars[k]))
        torch.testing.assert_close(step.state, (1 - betas[k]).sqrt() * (1 - bars[k - 1]) / (1 - bars[k]))
        torch.testing.assert_close(step.tilde, betas[k] * (1 - bars[k - 1]) / (1 - bars[k]))
        torch.testing.assert_close(step.beta, betas[k])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variance": "best"}, "is not one of tilde, beta, learned"),
        ({"variance": "beta", "eta": 0.5}, "belongs to eta = 1"),
        ({"variance": "learned", "eta": 0.0}, "belongs to eta = 1"),
    ],
)
def test_illegal(options, message):
    with pytest.raises(ValueError, match=message):
        ud.Ancestral(**options)


def test_learned_needs_a_head():
    with pytest.raises(ValueError, match="has no learned variance"):
        ud.sample(gaussian(ud.DDPM()), 2, ud.Ancestral(variance="learned"), 5)
