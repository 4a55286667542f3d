"""log p by the flow, against the closed form of mixtures."""

import math

import pytest
import torch

import undrift as ud
from conftest import PROCESSES, Counted, mixture
from undrift.likelihood import Solver, bits_per_dim, log_likelihood
from undrift.likelihood.divergence import Divergence, draw_probes

DOUBLE = torch.float64


def end(process):
    return torch.tensor(process.t_max, dtype=DOUBLE)


def exact_prior(m):
    return lambda x: m.log_prob(x, m.process.t_max)


def widened(kind, start):
    """The law of x_0 + start eps, whatever the process."""
    return lambda x: mixture(ud.Karras(t_min=0.0), kind).log_prob(x, start)


@pytest.mark.parametrize("kind", ["anisotropic", "isotropic"])
@pytest.mark.parametrize("name", PROCESSES)
def test_the_flow_gives_the_density_of_a_mixture(name, kind):
    """With the exact p_T: the closed form to 2e-5 nats at points of the law, by 64 RK4 steps or step control, and to 5e-5 far out
    (log p = -52) by step control."""
    m = mixture(PROCESSES[name], kind)
    x, far = m.sample(12, ud.Noise(range(12))), torch.tensor([[3.0, -2.0], [-3.0, 2.5]], dtype=DOUBLE)
    slow = name in ("LinearSDE", "Learned")  # they find t by bisection: once is enough
    if slow and kind == "isotropic":
        return
    for options in ({"steps": 40},) if slow else ({"steps": 64}, {}):
        x = x if options else torch.cat([x, far])
        found = log_likelihood(m, x, prior=exact_prior(m), **options)
        atol = 1e-4 if slow else 2e-5 if options else 5e-5
        torch.testing.assert_close(found.value, widened(kind, found.start)(x), atol=atol, rtol=0)
        own = torch.exp(-m.process.log_snr(torch.tensor(m.process.t_min, dtype=DOUBLE)) / 2).item()
        assert found.start == pytest.approx(max(own, 1e-4)) and (found.standard_error == 0).all()
        if own <= 1e-4:
            torch.testing.assert_close(found.value, m.log_prob(x), atol=1e-4, rtol=0)
        elif name in ("VE", "Karras"):  # it is the density at t_min, and that is not the clean one
            torch.testing.assert_close(found.value, m.log_prob(x, m.process.t_min), atol=5e-5, rtol=0)


def test_fourth_order_in_the_steps():
    m = mixture(ud.VP())
    x = m.sample(16, ud.Noise(range(16)))
    errors = [(log_likelihood(m, x, prior=exact_prior(m), steps=n).value - m.log_prob(x)).abs().mean() for n in (24, 48, 96)]
    assert 3.4 < math.log2(errors[0] / errors[1]) < 5.2 and 3.4 < math.log2(errors[1] / errors[2]) < 5.2


@pytest.mark.parametrize("start", [0.0, 1e-3, 0.05, 0.5])
@pytest.mark.parametrize("process", [ud.VP(), ud.Rectified(), ud.SubVP()], ids=repr)
def test_where_the_density_is_taken(process, start):
    """At any start level it is the density of x_0 + start eps, the scaling of VP included; 0 is the clean law itself."""
    m = mixture(process)
    x = m.sample(8, ud.Noise(range(8)))
    found = log_likelihood(m, x, prior=exact_prior(m), start=start, steps=64)
    assert found.start == pytest.approx(start, abs=1e-15)
    torch.testing.assert_close(found.value, widened("anisotropic", start)(x), atol=3e-5, rtol=0)


@pytest.mark.parametrize("name", ["VE", "VP", "Karras", "SMLD"])
def test_what_the_prior_costs(name):
    """With N(0, sigma_T^2) for p_T the mean drops by KL(p_T || prior), which the reported gap bounds (mean over the law)."""
    m = ud.GaussianMixture([[1.5, 0.5], [-1.0, -0.5]], 0.4, [0.3, 0.7], ud.VE(0.01, 1.0) if name == "VE" else PROCESSES[name])
    x = m.sample(400, ud.Noise(range(400)))
    plain, exact = (log_likelihood(m, x, prior=p, steps=20) for p in (None, exact_prior(m)))
    loss = exact.value - plain.value
    torch.testing.assert_close(loss, exact.prior - plain.prior)
    spread = 4 * loss.std() / 20
    assert -spread < loss.mean() < plain.prior_gap.mean() + spread
    torch.testing.assert_close(plain.prior_gap, x.square().sum(1) / 2 * (m.process.log_snr(end(m.process))).exp())
    if name == "VE":  # a short ladder: large enough to be seen
        assert loss.mean() > spread


def test_the_conditional_density_and_bayes():
    m, y = mixture(ud.Rectified()), torch.tensor([0, 1] * 4)
    x = m.sample(8, ud.Noise(range(8)))
    given = log_likelihood(m, x, cond=y, steps=64).value
    torch.testing.assert_close(given, m.log_prob(x, None, y), atol=2e-5, rtol=0)
    torch.testing.assert_close(log_likelihood(m.given(y), x, steps=64).value, given)
    torch.testing.assert_close(log_likelihood(m, x, cond=0, steps=64, batch_size=3).value[::2], given[::2])
    mix = ud.Mix(m, m.given(None), 1.0)
    torch.testing.assert_close(log_likelihood(mix, x, cond=y, steps=64).value, given)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_guided_density_integrates_to_one(scale):
    """Over a grid of the plane; at scale 3 no closed form exists, and it is sharper than at 1."""
    m = ud.GaussianMixture([[1.0, 0.3], [-0.7, -0.3]], 0.45, [0.4, 0.6], ud.VP())
    guided = ud.Mix(m, m.given(None), scale)
    side = torch.linspace(-1.6, 4.4, 61, dtype=DOUBLE)
    x = torch.cartesian_prod(side, side - 1.4)
    p = log_likelihood(guided, x, cond=0, steps=20, batch_size=4000).value.exp()
    assert p.sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=2e-3)
    assert (p.max() > 0.9) == (scale == 3.0)


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3), (1, 6, 1, 1)])
def test_any_shape_is_one_code_path(shape):
    """The same law as vectors, sequences, images, volumes: the same numbers, exact and estimated."""
    g = torch.Generator().manual_seed(0)
    means, root = torch.randn(2, 6, generator=g, dtype=DOUBLE), torch.randn(2, 6, 6, generator=g, dtype=DOUBLE) / 3
    covs = root @ root.mT + 0.05 * torch.eye(6, dtype=DOUBLE)
    flat, shaped = (ud.GaussianMixture(means.view(2, *s), covs, process=ud.Cosine()) for s in ((6,), shape))
    x = flat.sample(5, ud.Noise(range(5)))
    for options in ({}, {"divergence": "hutchinson", "probes": 3}):
        a, b = (log_likelihood(d, v, steps=24, **options) for d, v in ((flat, x), (shaped, x.view(5, *shape))))
        torch.testing.assert_close(a.value, b.value, atol=1e-10, rtol=0)
        torch.testing.assert_close(a.standard_error, b.standard_error, atol=1e-10, rtol=0)
    torch.testing.assert_close(log_likelihood(shaped, x.view(5, *shape), steps=64).value, flat.log_prob(x), atol=1e-3, rtol=0)


BATCHED = {"adaptive": {}, "fixed": {"steps": 4}, "probes": {"divergence": "hutchinson", "probes": 2}}


@pytest.mark.parametrize("options", BATCHED.values(), ids=BATCHED)
def test_a_batch_of_100_is_100_batches_of_1(options):
    m = mixture(ud.Rectified())
    x, y = m.sample(100, ud.Noise(range(100))), torch.arange(100) % 2
    whole = log_likelihood(m, x, cond=y, batch_size=100, **options)
    single = log_likelihood(m, x, cond=y, batch_size=1, **options) if "steps" in options else None
    single = single or log_likelihood(m, x[::10], cond=y[::10], batch_size=1, index=torch.arange(0, 100, 10), **options)
    rows = slice(None) if len(single.value) == 100 else slice(None, None, 10)
    torch.testing.assert_close(single.value, whole.value[rows], atol=1e-9, rtol=0)
    assert torch.equal(single.evaluations, whole.evaluations[rows])


def test_evaluations_are_counted_per_sample():
    m = Counted(mixture(ud.VP()))
    fixed = log_likelihood(m, torch.zeros(3, 2, dtype=DOUBLE), steps=5)
    assert fixed.evaluations.tolist() == [20] * 3 and m.calls == 20
    m.calls = 0
    x = torch.tensor([[0.0, 0.0], [30.0, -9.0]], dtype=DOUBLE)
    free = log_likelihood(m, x)
    assert m.calls == free.evaluations.max() and free.evaluations[0] != free.evaluations[1]


# The divergence


class Linear(torch.nn.Module):
    """x -> x A^T + x^3."""

    def __init__(self, n):
        super().__init__()
        self.a = torch.randn(n, n, dtype=DOUBLE, generator=torch.Generator().manual_seed(5))

    def forward(self, x):
        flat = x.flatten(1)
        return (flat @ self.a.T + flat**3).view_as(x)


@pytest.mark.parametrize("chunk", [None, 1, 2, 5, 6, 7, 100])
def test_exact_trace_in_chunks_of_any_size(chunk):
    f, x = Linear(6), torch.randn(4, 2, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(2))
    value, trace = Divergence(None, chunk)(f, x)
    torch.testing.assert_close(value, f(x))
    torch.testing.assert_close(trace[:, 0], f.a.trace() + 3 * x.flatten(1).square().sum(1))
    assert trace.shape == (4, 1) and not value.requires_grad and not trace.requires_grad


@pytest.mark.parametrize("law", ["rademacher", "gaussian"])
def test_hutchinson_is_unbiased_with_the_variance_of_its_law(law):
    """2,000 probes: mean within 4 standard errors; variance within 15 % of the closed form in the module."""
    f, x = Linear(6), 0.3 * torch.ones(3, 6, dtype=DOUBLE)
    probes = draw_probes(ud.Noise(range(3)), x, 2000, law)
    _, traces = Divergence(probes)(f, x)
    jacobian = f.a + 3 * 0.09 * torch.eye(6, dtype=DOUBLE)
    symmetric = (jacobian + jacobian.T) / 2
    square = symmetric**2
    variance = 2 * (square.sum() - (square.trace() if law == "rademacher" else 0))
    assert (traces.mean(1) - jacobian.trace()).abs().max() < 4 * (variance / 2000).sqrt()
    torch.testing.assert_close(traces.var(1), variance.expand(3), rtol=0.15, atol=0)
    assert torch.equal(traces[:, :2], Divergence(probes[:2], 1)(f, x)[1])


def test_hutchinson_agrees_with_the_closed_form_within_its_standard_error():
    """40 samples x 16 probes: t-statistics (15 degrees of freedom) of unit size, all below 5, and no bias of the mean."""
    g = torch.Generator().manual_seed(0)
    root = torch.randn(2, 5, 5, generator=g, dtype=DOUBLE) / 2
    means = torch.randn(2, 5, generator=g, dtype=DOUBLE)
    m = ud.GaussianMixture(means, root @ root.mT + 0.1 * torch.eye(5), process=ud.Rectified())
    x = m.sample(40, ud.Noise(range(40)))
    found = log_likelihood(m, x, divergence="hutchinson", probes=16, steps=48)
    exact = log_likelihood(m, x, steps=48)
    z = (found.value - exact.value) / found.standard_error
    assert z.abs().max() < 5 and 0.7 < z.square().mean().sqrt() < 1.5
    assert (z.abs() < 3).double().mean() > 0.95
    assert z.mean().abs() < 3 * 1.1 / 40**0.5
    assert (exact.value - m.log_prob(x)).abs().max() < 1e-3
    more = log_likelihood(m, x, divergence="hutchinson", probes=64, steps=24)
    assert (more.standard_error / found.standard_error).mean() == pytest.approx(0.5, abs=0.08)
    one = log_likelihood(m, x, divergence="hutchinson", steps=8)
    assert one.standard_error.isnan().all() and torch.isfinite(one.value).all()
    assert not torch.equal(one.value, log_likelihood(m, x, divergence="hutchinson", steps=8, seed=1).value)


class Convolution(torch.nn.Module):
    def __init__(self, memory):
        super().__init__()
        self.inner = ud.nn.UNet(1, widths=(8, 16), blocks=1, attention=(1,))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for p in self.inner.parameters():
                torch.nn.init.normal_(p, 0, 0.1)
        self.to(DOUBLE).to(memory_format=memory)

    def forward(self, x, level, cond):
        return self.inner(x, level, cond)


@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format], ids=["channels-last", "contiguous"])
def test_the_trace_of_a_network_with_every_kind_of_layer(memory):
    """vmap cannot batch channels-last convolutions: the fallback gives the same trace, that of the full Jacobian."""
    d = ud.Denoiser(Convolution(memory), ud.Rectified())
    x = torch.randn(2, 1, 6, 5, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    field = lambda v: d(v, 0.3).noise - d(v, 0.3).data  # noqa: E731
    jacobian = torch.autograd.functional.jacobian(field, x)
    full = torch.stack([jacobian[i, :, :, :, i].reshape(30, 30).trace() for i in range(2)])
    for divergence in (Divergence(), Divergence(chunk=7), Divergence(chunk=1)):
        for _ in range(2):
            torch.testing.assert_close(divergence(field, x)[1][:, 0], full)


# Integers


def interval(mean, std, k):
    normal = torch.distributions.Normal(mean, std)
    return (normal.cdf(k + 0.5) - normal.cdf(k - 0.5)).log()


def test_probability_of_integers():
    """x = integers of a Gaussian density with cells as wide as itself: P is known. One draw is a lower bound on average, many
    draws in the logarithm come to P; sum over integers is one."""
    step, mean, std = 0.3, 0.1, 0.3
    m = ud.GaussianMixture([[mean]], std, process=ud.Rectified())
    k = torch.arange(-4, 5, dtype=DOUBLE)
    truth = interval(torch.tensor(mean / step, dtype=DOUBLE), std / step, k)
    x = (k * step).repeat_interleave(40)[:, None]
    many = log_likelihood(m, x, dequantize=ud.Dequantize(step, 32), steps=12, batch_size=400).value.view(9, 40)
    assert (many.mean(1) - truth).abs().max() < 0.12 and (many.mean(1) - truth)[2:7].abs().max() < 0.05
    once = log_likelihood(m, x, dequantize=ud.Dequantize(step), steps=12, batch_size=400).value.view(9, 40)
    loss = truth - once.mean(1)  # E log p < log E p: for a Gaussian by 1/24 (cell/std)^2 up to the slope, all of it positive
    assert (loss > -4 * once.std(1) / 40**0.5).all() and loss.mean() > 0.05
    assert many.exp().mean(1).sum() == pytest.approx(1, abs=0.02)


def test_standard_error_of_dequantisation():
    """Over 60 repetitions the spread of the estimate is what one run says about itself, within a third."""
    m = ud.GaussianMixture([[0.1, 0.2]], 0.4, process=ud.Rectified())
    x = torch.tensor([[0.5, 0.0]], dtype=DOUBLE).expand(60, 2)
    for options in ({}, {"divergence": "hutchinson", "probes": 4}):
        found = log_likelihood(m, x, dequantize=ud.Dequantize(torch.tensor([0.5, 0.25]), 16), steps=12, **options)
        assert found.standard_error.mean() == pytest.approx(found.value.std().item(), rel=0.33)
        assert (found.evaluations == 16 * 48).all()


def test_units():
    log_p = torch.tensor([-784 * math.log(2) * 3.0], dtype=DOUBLE)
    assert bits_per_dim(log_p, 784).item() == pytest.approx(3)
    # the same density on another scale: images in [-1, 1] against 0..255, volume (2/255)^D
    assert bits_per_dim(log_p + 784 * math.log(127.5), 784, 2 / 255).item() == pytest.approx(3)
    m = mixture(ud.Rectified())
    x = m.sample(4, ud.Noise(range(4)))
    nats, bits = (log_likelihood(m, x, steps=16, unit=u, divergence="hutchinson", probes=2) for u in ("nats", "bits/dim"))
    torch.testing.assert_close(bits.value, -nats.value / (2 * math.log(2)))
    torch.testing.assert_close(bits.standard_error, nats.standard_error / (2 * math.log(2)))
    assert bits.unit == "bits/dim"


def test_uniform_integers_cost_their_logarithm():
    """Data uniform over 0..255 have 8 bits/dim: a mixture of narrow bumps tiles the range (the flow of a flat law)."""
    means = torch.linspace(-1, 1, 256, dtype=DOUBLE)[:, None]
    m = ud.GaussianMixture(means, 2 / 255, process=ud.Rectified())
    x = means[40:216:16]
    found = log_likelihood(m, x, dequantize=ud.Dequantize(2 / 255), unit="bits/dim", steps=48).value
    torch.testing.assert_close(found, torch.full_like(found, 8.0), atol=0.01, rtol=0)


M, X = mixture(ud.VP()), torch.zeros(3, 2, dtype=DOUBLE)


class Frozen(ud.AnyDenoiser):
    process = ud.VP()

    def forward(self, x, t, cond=None):
        return ud.Prediction(x.detach(), x.detach())


class Wild(ud.AnyDenoiser):
    process = ud.VP()

    def forward(self, x, t, cond=None):
        return ud.Prediction(x / 0, x / 0)


class Discrete(ud.AnyDenoiser):
    process = None

    def forward(self, x, t, cond=None):
        return ud.Prediction(x, x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: log_likelihood(M, X, divergence="hutchinson", probes=0), "`probes` must be a whole number of at least 1, got 0"),
        (lambda: log_likelihood(M, X, divergence="hutchinson", law="cauchy"), "cauchy"),
        (lambda: log_likelihood(M, X, divergence="trace"), "`divergence` is one of exact, hutchinson, got"),
        (lambda: log_likelihood(M, X, unit="bits"), "`unit` is one of nats, bits/dim, got"),
        (lambda: log_likelihood(M, X, steps=0), "at least 1 and at most 1,000,000, got 0"),
        (lambda: log_likelihood(M, X, seed=-1), "`seed` must be a whole number of at least 0"),
        (lambda: log_likelihood(M, X, chunk=0), "`chunk` must be a whole number of at least 1"),
        (lambda: log_likelihood(M, X, batch_size=0), "`batch_size` must be a whole number of at least 1"),
        (lambda: log_likelihood(M, X, start=-1.0), "`start` is a noise level from 0 up to"),
        (lambda: log_likelihood(M, X, start=1e9), "`start` is a noise level from 0 up to"),
        (lambda: log_likelihood(M, X, cond=torch.tensor([0, 1])), "2 rows for 3 samples"),
        (lambda: log_likelihood(M, X, index=torch.arange(2)), "`index` must be one whole number per sample"),
        (lambda: log_likelihood(M, X, prior=lambda x: x), "`prior` must return one log-density per sample"),
        (lambda: log_likelihood(M, torch.tensor([[0.0, math.nan], [0, 0]])), "1 samples with NaN or inf.* number 0"),
        (lambda: log_likelihood(M, torch.zeros(3, 5)), r"shape \(5,\), but the denoiser's have \(2,\)"),
        (lambda: log_likelihood(M, torch.zeros(3)), r"must be \(B, \*D\)"),
        (lambda: log_likelihood(M, torch.zeros(0, 2)), "at least one sample"),
        (lambda: log_likelihood(M, torch.zeros(3, 2, dtype=torch.uint8)), "floats in model space, not torch.uint8"),
        (lambda: log_likelihood(Frozen(), X), "no divergence and no density"),
        (lambda: log_likelihood(Discrete(), X), "a density needs a process"),
        (lambda: ud.Dequantize(0.0), "must be positive"),
        (lambda: ud.Dequantize(1.0, 0), "`draws` must be"),
        (lambda: bits_per_dim(X, 0), "`dims` must be at least 1"),
    ],
)
def test_what_has_no_likelihood(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_denoiser_that_is_not_finite():
    with pytest.raises(RuntimeError, match="3 of 3 samples is not finite"):
        log_likelihood(Wild(), X + 1, steps=4)
    with pytest.raises(RuntimeError, match="no step small enough"):
        log_likelihood(Wild(), X + 1)


def test_a_solver_may_be_given_as_one_object():
    a, b = log_likelihood(M, X, solver=Solver(rtol=1e-3, atol=1e-3)), log_likelihood(M, X, rtol=1e-3)
    assert torch.equal(a.value, b.value) and (a.evaluations < log_likelihood(M, X).evaluations).all()


def test_float32_data_follow_float64():
    x = M.sample(8, ud.Noise(range(8)))
    a, b = (log_likelihood(M, x.to(d), steps=32).value for d in (torch.float32, DOUBLE))
    torch.testing.assert_close(a, b, atol=2e-4, rtol=0)
