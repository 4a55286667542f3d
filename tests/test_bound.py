"""The variational bound: every term against the formula it stands for, and the whole against exact densities."""

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

import undrift as ud
from conftest import PROCESSES, Counted, mixture
from undrift.bound import Bins, Chain
from undrift.data.spec import Spec
from undrift.process import expand
from undrift.reverse import grid, reverse_step

CONTINUOUS = [name for name, process in PROCESSES.items() if process.levels is None and name != "LinearSDE"]
CHAINS = {"DDPM": ud.DDPM(40, 1e-3, 0.3), "DDPM-cosine": ud.DDPM(50, schedule="cosine"), "SMLD": ud.SMLD(30, 0.02, 20.0)}
ALL = {name: PROCESSES[name] for name in CONTINUOUS} | CHAINS


def default_steps(process):
    return None if process.levels is not None else 12


def scene(process, n=600, kind="anisotropic"):
    m = mixture(process, kind)
    x0 = m.sample(n, ud.Noise(range(n)))
    return m, x0, -m.log_prob(x0)


def gap(bound, truth):
    difference = bound.value - truth
    return difference.mean().item(), (difference.std() / len(truth) ** 0.5).item()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("variance", ["beta", "tilde", "own"])
def test_terms_are_the_divergence_of_posterior_and_model(name, variance):
    """Each L_{t-1} equals torch's KL of two normals: the posterior by Bayes from two forward kernels, and the model's."""
    process = ALL[name]
    m, x0, _ = scene(process, 5)
    times = grid(process, default_steps(process))
    if variance == "own":
        variance = torch.linspace(0.3, 2.0, len(times) - 1).double() * reverse_step(process, times[:-1], times[1:]).beta
    chain, noise = Chain(process, times, variance), ud.Noise(range(5))
    for i, (t, s) in enumerate(pairwise(times)):
        eps = noise.fold(i).normal(x0)
        x = process.perturb(x0, t, eps)
        prediction = m(x, t)
        term = chain.term(x0, i, eps, prediction)
        if i == len(times) - 2:
            break
        (alpha_s, sigma_s), (ratio, std) = process(s), process.step(s, t)

        def posterior(data, alpha_s=alpha_s, sigma_s=sigma_s, ratio=ratio, std=std, x=x):
            precision = 1 / sigma_s**2 + ratio**2 / std**2
            return (alpha_s * data / sigma_s**2 + ratio * x / std**2) / precision, precision**-0.5

        exact, modelled = posterior(x0), posterior(prediction.data)[0]
        v = {"beta": std**2, "tilde": exact[1] ** 2}[variance] if isinstance(variance, str) else variance[i]
        direct = torch.distributions.kl_divergence(
            torch.distributions.Normal(*exact), torch.distributions.Normal(modelled, v.sqrt())
        ).sum(1)
        torch.testing.assert_close(term, direct, rtol=1e-5, atol=1e-7)


def test_ddpm_terms_are_those_printed():
    """001 eq. 4.10: weight beta^2 / (2 sigma^2 alpha (1 - bar)) on the eps error, for both sigma^2; L_0: 1/(2 sigma_1^2)."""
    n, process = 20, ud.DDPM(20, 1e-2, 0.3)
    betas = torch.linspace(1e-2, 0.3, n, dtype=torch.float64)
    bars = (1 - betas).cumprod(0)
    m, x0, _ = scene(process, 8)
    eps = ud.Noise(range(8)).normal(x0)
    for variance in ("beta", "tilde"):
        chain = Chain(process, process.levels, variance)
        for level in range(2, n + 1):
            t, k = torch.tensor(level / n).double(), level - 1
            prediction = m(process.perturb(x0, t, eps), t)
            tilde = betas[k] * (1 - bars[k - 1]) / (1 - bars[k])
            v = betas[k] if variance == "beta" else tilde
            printed = betas[k] ** 2 / (2 * v * (1 - betas[k]) * (1 - bars[k])) * (prediction.noise - eps).square().sum(1)
            rest = torch.log(v / tilde) + tilde / v - 1  # per dimension, two of them; the constant C of 001 eq. 4.7
            torch.testing.assert_close(chain.term(x0, n - level, eps, prediction), printed + rest)
        t = torch.tensor(1 / n).double()
        prediction = m(process.perturb(x0, t, eps), t)
        square = (x0 - prediction.data).square().sum(1) / (2 * betas[0])
        constant = torch.log(2 * math.pi * betas[0])
        torch.testing.assert_close(chain.term(x0, n - 1, eps, prediction), square + constant)


@pytest.mark.parametrize("name", ALL)
def test_bound_is_above_the_density_and_shrinks_with_steps(name):
    """-log p of the mixture, its exact denoiser: above within 4 standard errors; with more steps nearer, in the end equal."""
    process = ALL[name]
    m, x0, truth = scene(process)
    analytic = ud.analytic_variance(m, *_fit(m), steps=default_steps(process) and 60)
    gaps = {}
    for variance in ("tilde", "beta", analytic):
        for steps in (8, 24) if process.levels is None else (10, None):
            mean, error = gap(ud.variational_bound(m, x0, steps=steps, variance=variance), truth)
            assert mean > -4 * error
            gaps[variance if isinstance(variance, str) else "analytic", steps] = mean
        few, many = list(gaps)[-2:]
        # The levels of a chain, thinned out, are no coarser view of the same noise levels: nothing need shrink there.
        assert process.levels is not None or gaps[many] < gaps[few] + 0.05
    if process.levels is None:
        mean, error = gap(ud.variational_bound(m, x0, steps=250, variance=analytic), truth)
        assert abs(mean) < 4 * error + 0.03
    # The optimal variance is the best of the three.
    for steps in {steps for _, steps in gaps}:
        assert gaps["analytic", steps] < min(gaps["beta", steps], gaps["tilde", steps]) + 0.02


def _fit(m):
    noise = ud.Noise(range(2000)).fold("fit")
    return m.sample(2000, noise), noise


def test_analytic_variance_is_optimal_on_the_data_it_was_measured_on():
    """Any other scalar at any step is worse, on the same data and noise; and at v* the expected term is log(v*/tilde)/2 each."""
    process = ud.DDPM(20, 1e-2, 0.3)
    m, x0, _ = scene(process, 3000)
    noise = ud.Noise(range(3000))
    table = ud.analytic_variance(m, x0, noise, steps=None)
    best = table(process, process.levels[:-1], process.levels[1:])
    for i, t in enumerate(process.levels[:-1]):
        eps = noise.fold("analytic", i).normal(x0)  # the draws of the fit
        prediction = m(process.perturb(x0, t, eps), t)
        values = []
        for factor in (0.97, 1.0, 1.03):
            v = best.clone()
            v[i] *= factor
            values.append(Chain(process, process.levels, v).term(x0, i, eps, prediction).mean())
        assert values[1] < min(values[0], values[2])
        if i < 19:
            tilde = reverse_step(process, t, process.levels[i + 1]).tilde
            torch.testing.assert_close(values[1], torch.log(best[i] / tilde), rtol=1e-6, atol=1e-8)  # two dimensions


def test_analytic_variance_is_that_of_the_paper():
    """Bao et al. 2022, eq. 4-5, from E|score|^2: equal up to Monte Carlo for the exact score; exact on a Gaussian."""
    s0 = 0.6
    process, one = ud.DDPM(30, 1e-3, 0.2), ud.GaussianMixture([[0.3, -0.2]], s0, process=ud.DDPM(30, 1e-3, 0.2))
    noise = ud.Noise(range(20_000))
    x0 = one.sample(20_000, noise)
    table = ud.analytic_variance(one, x0, noise, steps=None)
    betas = torch.linspace(1e-3, 0.2, 30, dtype=torch.float64)
    bars = (1 - betas).cumprod(0)
    for level in (2, 7, 18, 30):
        k, t, s = level - 1, torch.tensor(level / 30).double(), torch.tensor((level - 1) / 30).double()
        for eta in (1.0, 0.5, 0.0):
            lam2 = eta**2 * betas[k] * (1 - bars[k - 1]) / (1 - bars[k])
            gamma = 1 / (bars[k] * s0**2 + 1 - bars[k])  # E|score|^2/d of a Gaussian
            root = ((1 - bars[k]) / (1 - betas[k])).sqrt() - (1 - bars[k - 1] - lam2).sqrt()
            paper = lam2 + root**2 * (1 - (1 - bars[k]) * gamma)
            torch.testing.assert_close(table(process, t, s, eta), paper, rtol=0.03, atol=1e-6)
    for t in (0.1, 0.5, 0.9):  # between its knots and beyond them
        t = torch.tensor(t).double()
        coarse = ud.analytic_variance(one, x0[:500], noise[:500], steps=10)
        assert coarse.at(process, t) == pytest.approx((1 / (1 / s0**2 + process.log_snr(t).exp())).item(), rel=0.15)


@pytest.mark.parametrize("name", ["VE", "VP", "Rectified", "Karras", "Cosine"])
@pytest.mark.parametrize("times", ["low_discrepancy", "importance"])
def test_continuous_bound_is_the_density_for_the_exact_denoiser(name, times):
    """Kingma et al. 2021, eq. 17: no discretisation, so equal to -log p up to the decoder's width and Monte Carlo."""
    m, x0, truth = scene(PROCESSES[name], 2000)
    bound = ud.variational_bound(m, x0, times=times)
    mean, error = gap(bound, truth)
    assert abs(mean) < 4 * error and error < 0.1
    assert bound.evaluations == 33 and bound.transitions.shape == (32, 2000)


def test_continuous_bound_by_uniform_times_agrees():
    m, x0, _ = scene(ud.VP(t_min=1e-2), 3000)
    uniform, even = (ud.variational_bound(m, x0, times=times, seed=1) for times in ("uniform", "low_discrepancy"))
    difference = uniform.value - even.value
    assert abs(difference.mean()) < 4 * difference.std() / 3000**0.5
    assert uniform.value.std() > 1.2 * even.value.std()


def test_any_shape_alone_or_in_a_batch():
    """(B, 12), (B, 3, 2, 2), (B, 3, 4) are the same numbers; a batch is the sum of its parts; evaluations are counted."""
    flat = mixture_of_shape((12,))
    x0, noise = flat.sample(6, ud.Noise(range(6))), ud.Noise(range(6)).fold("here")
    for steps, expected in ((5, 5), (None, 9)):
        options = {"steps": steps, "points": 8, "noise": noise}
        counted = Counted(flat)
        whole = ud.variational_bound(counted, x0, **options)
        assert whole.evaluations == counted.calls == expected
        for shape in ((3, 2, 2), (3, 4)):
            other = ud.variational_bound(mixture_of_shape(shape), x0.reshape(6, *shape), **options)
            torch.testing.assert_close(other.value, whole.value, rtol=1e-12, atol=1e-12)
        parts = [ud.variational_bound(flat, x0[i : i + 1], **{**options, "noise": noise[i : i + 1]}).value for i in range(6)]
        torch.testing.assert_close(torch.cat(parts), whole.value, rtol=1e-12, atol=1e-12)
        total = whole.prior + whole.transitions.sum(0) + whole.reconstruction
        torch.testing.assert_close(total, whole.value)
        low = ud.variational_bound(flat, x0.float(), **options)
        torch.testing.assert_close(low.value, whole.value, rtol=1e-3, atol=1e-2)


def mixture_of_shape(shape):
    means = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(2, *shape)
    return ud.GaussianMixture(means, 0.5)


def test_standard_error_is_honest():
    """Over 20 seeds the spread of a sample's value is what `standard_error` says, on average within 15 %."""
    m, x0, _ = scene(ud.VP(), 200)
    runs = [ud.variational_bound(m, x0, steps=8, draws=4, seed=k) for k in range(20)]
    spread = torch.stack([run.value for run in runs]).var(0).mean().sqrt()
    stated = torch.stack([run.standard_error for run in runs]).square().mean().sqrt()
    assert stated.item() == pytest.approx(spread.item(), rel=0.15)
    assert ud.variational_bound(m, x0, steps=8).standard_error.isnan().all()


def test_prior_term_is_a_divergence():
    for process in (ud.VP(0.1, 5.0), ud.VE(0.01, 5.0)):
        m, x0, _ = scene(process, 4)
        alpha, sigma = process(torch.tensor(1.0).double())
        direct = torch.distributions.kl_divergence(
            torch.distributions.Normal(alpha * x0, sigma), torch.distributions.Normal(torch.zeros_like(x0), sigma)
        ).sum(1)
        torch.testing.assert_close(ud.variational_bound(m, x0, steps=3).prior, direct)


# The discretised decoder.

SPECS = {
    "8-bit": Spec.bounded((3, 2, 2), 0, 255, integer=True),
    "digits": Spec.bounded((3, 2, 2), 0, 16, integer=True),
    "per channel": Spec((3, 2, 2), 0, 16, True, (8.0, 7.0, 3.0), (4.0, 8.0, 2.5)),
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("std", [1e-4, 0.01, 0.3, 5.0])
def test_probabilities_of_bins_sum_to_one(name, std):
    """Over all integers, entry by entry, with means inside and far outside the range."""
    spec, mean = SPECS[name], torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(1, 3, 2, 2)
    values = torch.arange(int(spec.low), int(spec.high) + 1)
    y = spec.to_model(values[:, None, None, None].expand(-1, 3, 2, 2)).double()
    total = Bins.of(spec).log_prob(y, mean, torch.tensor(std**2).double()).logsumexp(0)
    torch.testing.assert_close(total, torch.zeros_like(total), rtol=0, atol=1e-5)


def test_bins_are_those_of_ho_et_al():
    """Eq. 13: delta = x +- 1/255, open at -1 and 1; and far from the mean no underflow."""
    x, std = torch.tensor([[-1.0, 1 / 255, 1.0]]).double(), torch.tensor(0.1).double()
    normal = torch.distributions.Normal(torch.tensor(0.2).double(), std)
    d = 1 / 255
    printed = [normal.cdf(x[0, 0] + d), normal.cdf(x[0, 1] + d) - normal.cdf(x[0, 1] - d), 1 - normal.cdf(x[0, 2] - d)]
    torch.testing.assert_close(
        Bins().log_prob(x, torch.tensor(0.2), std**2)[0].exp(), torch.stack(printed), rtol=1e-8, atol=1e-14
    )
    assert dataclasses.astuple(Bins.of(SPECS["8-bit"])) == pytest.approx((-1.0, 1.0, 2 / 255))
    far = Bins().log_prob(x, torch.tensor(50.0), std**2)
    assert far.isfinite().all() and far[0, :2].max() < -1e4 and far[0, 2] == 0
    mean = torch.tensor([0.2, 0.2, 0.2]).double().requires_grad_()
    Bins().log_prob(x, mean, std**2).sum().backward()
    assert mean.grad.isfinite().all()


def test_discrete_and_dequantised_bits_agree():
    """Integers 0..40, each bound with the exact denoiser of what it sees: both meet the entropy, in the units they document."""
    spec, n = Spec.bounded((1,), 0, 40, integer=True), 2000
    values = torch.arange(41).double()[:, None]
    weights = torch.exp(-((values[:, 0] - 22) ** 2) / 50)
    entropy = -(weights / weights.sum()).log2()
    points, noise, process = spec.to_model(values).double(), ud.Noise(range(n)), ud.VP()
    atoms = ud.GaussianMixture(points, 0.0, weights, process)
    y = atoms.sample(n, noise)
    truth = entropy[((y[:, 0] + 1) * 20).round().long()]
    variance = ud.analytic_variance(atoms, y, noise)  # beta would be far from optimal where the noise is below a bin
    discrete = ud.variational_bound(atoms, y, steps=80, bins=Bins.of(spec), variance=variance).bits_per_dim()
    smooth = ud.GaussianMixture([[(22 - 20) / 20]], 5 / 20, process=process)  # the law of integers plus U(-1/2, 1/2), nearly
    dequantised = y + (noise.fold("u").uniform((n, 1)).double() - 0.5) / 20
    continuous = ud.variational_bound(smooth, dequantised, steps=80).bits_per_dim(spec.log_abs_det())
    for bits in (discrete, continuous):
        difference = bits - truth
        error = difference.std() / n**0.5
        assert -4 * error < difference.mean() < 0.06 + 4 * error, (difference.mean(), error)
        assert error < 0.05


def test_learned_fraction_interpolates():
    """A head that says 0 or 1 gives the bounds of the interval: tilde and beta, step by step."""

    class Headed(torch.nn.Module):
        says = 0.0

        def forward(self, x, level, cond):
            return torch.cat([0.3 * x, torch.full_like(x, self.says)], 1)

    net, process = Headed(), ud.DDPM(12, 1e-2, 0.4)
    denoiser, x0 = ud.Denoiser(net, process), torch.randn(4, 2).double()
    fixed = {v: ud.variational_bound(denoiser, x0, variance=v) for v in ("beta", "tilde")}
    for net.says, name in ((1.0, "beta"), (-1.0, "tilde")):
        learned = ud.variational_bound(denoiser, x0, variance="learned")
        torch.testing.assert_close(learned.transitions, fixed[name].transitions)
    net.says = 1.0
    learned = ud.variational_bound(denoiser.given(None), x0, variance="learned")
    torch.testing.assert_close(learned.value, fixed["beta"].value)


def test_data_error_is_exact_at_both_ends():
    """From float32 predictions: at sigma = 1e-4 the error of the data is read off the noise, not lost in x_0 - data."""
    from undrift.reverse import data_error

    process, x0 = ud.Rectified(), torch.full((1, 1), 100.0)
    eps = torch.tensor([[0.5]])
    for t in (1e-4, 0.5, 1.0):
        t = torch.tensor(t).double()
        noise = eps - 0.1
        alpha, sigma = process(t)
        data = x0 + (sigma / alpha * 0.1 if alpha > 0 else 0.25)
        error = data_error(process, x0, t, eps, ud.Prediction(data.float(), noise))
        expected = -(sigma / alpha * 0.1 if alpha > 0 else 0.25)
        assert error.item() == pytest.approx(float(expected), rel=1e-4)
    assert np.isfinite(expand(t, x0).item())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: ud.variational_bound(m, x * math.nan), "4 of 4 samples hold NaN"),
        (lambda m, x: ud.variational_bound(m, x[:, :1]), r"pass \(B, 2\)"),
        (lambda m, x: ud.variational_bound(m, x, variance="best"), "is not beta, tilde"),
        (lambda m, x: ud.variational_bound(m, x, steps=4, variance="best"), "is not one of beta, tilde"),
        (lambda m, x: ud.variational_bound(m, x, steps=4, variance=torch.ones(3)), "must be 4 positive numbers"),
        (lambda m, x: ud.variational_bound(m, x, steps=4, variance="learned"), "has no learned variance"),
        (lambda m, x: ud.variational_bound(m, x, steps=0), "whole number of at least 1"),
        (lambda m, x: ud.variational_bound(m, x, steps=torch.tensor([0.2, 0.5])), "decrease from noise to data"),
        (lambda m, x: ud.variational_bound(m, x, steps=torch.tensor([0.9, 0.5])), "end at t_min"),
        (lambda m, x: ud.variational_bound(m, x, draws=0), "`draws` must be a whole number of at least 1"),
        (lambda m, x: ud.variational_bound(m, x, times="now"), "`times` is one of low_discrepancy"),
        (lambda m, x: ud.variational_bound(m, x, ends=(1.0, 0.1)), "two noise levels"),
        (lambda m, x: ud.variational_bound(m, x, noise=ud.Noise(range(3))), "carries 3 addresses"),
        (lambda m, x: ud.variational_bound(m, x + 10, steps=4, bins=Bins()), "outside the bins"),
        (lambda m, x: Bins.of(Spec.bounded((2,), 0.0, 1.0, integer=False)), "integer data with bounds"),
        (lambda m, x: ud.VariationalBound()(m, x, ud.Noise(range(4))), "no levels of its own"),
    ],
)
def test_illegal(call, message):
    m, x0, _ = scene(ud.VP(), 4)
    with pytest.raises(ValueError, match=message):
        call(m, x0)
