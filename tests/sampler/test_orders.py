"""Orders of convergence: the global error of deterministic samplers, the weak error of stochastic ones."""

import functools
import itertools
import math
from dataclasses import replace

import pytest
import torch

import undrift as ud
from conftest import PROCESSES, SIX, mixture
from undrift import times as grids
from undrift.sampler.base import State
from undrift.sampler.multistep import COORDINATES, QUANTITIES, exponential, moments
from undrift.solver import BOSH3

DETERMINISTIC = {
    "ddim": ud.Ancestral(0),
    "euler": ud.Euler(),
    "heun": ud.Heun(),
    "midpoint": ud.Midpoint(),
    "bosh3": ud.RungeKutta(BOSH3),
    "rk4": ud.RungeKutta(),
    "dpm2s": ud.DPM2S(),
    "dpm2m": ud.DPM2M(),
    "adams1": ud.Adams(1),
    "adams2": ud.Adams(2),
    "dpm3m": ud.DPM3M(),
    "adams4": ud.Adams(4),
    "unipc1": ud.UniPC(1),
    "unipc2": ud.UniPC(2),
    "unipc3": ud.UniPC(3),
    "deis2": ud.DEIS(2),
    "deis3": ud.DEIS(3),
    "plms3": ud.PLMS(3),
    "velocity3": ud.VelocityAB(),
    "velocity3 corrected": ud.VelocityAB(corrector=True),
    "abm1": ud.ABM(1),
    "abm2 uncorrected": ud.ABM(2, corrector=False),
    "abm2": ud.ABM(2),
    "abm3": ud.ABM(3),
}


def slope(errors):
    e = torch.tensor(errors, dtype=torch.float64).log2()
    n = torch.arange(len(e), dtype=torch.float64)
    return -((n - n.mean()) * (e - e.mean())).sum() / ((n - n.mean()) ** 2).sum()


def final(sampler, denoiser, x, grid, noise=None):
    *_, last = sampler(denoiser, State(x, grid[0]), grid, noise or ud.Noise(range(len(x))))
    return last.x


_starts = {}


def start(name):
    """A mixture, noise of level 80 (or the noisiest there is), and where the flow takes it at level 0.05."""
    if name not in _starts:
        m = mixture(SIX[name])
        grid = even(m.process, 1000)
        x = m.process.sigma(grid[0]) * ud.Noise(range(64)).normal(torch.empty(64, 2, dtype=torch.float64))
        _starts[name] = m, x, final(ud.RungeKutta(), m, x, grid)
    return _starts[name]


def even(process, n):
    """Even in log-SNR between levels 80 and 0.05, or what of that the process reaches, so that every step shrinks with n."""
    ends = process.log_snr(torch.tensor([process.t_max, process.t_min], dtype=torch.float64))
    low, high = max(ends[0].item(), -2 * math.log(80)), min(ends[1].item(), -2 * math.log(0.05))
    t = process.time(torch.linspace(low, high, n + 1, dtype=torch.float64))
    return torch.cat([t[:1].clamp(max=process.t_max), t[1:]])


@pytest.mark.parametrize("name", SIX)
@pytest.mark.parametrize("kind", DETERMINISTIC)
def test_strong_order(kind, name):
    """The error against the flow falls as steps^-order."""
    sampler, (m, x, exact) = DETERMINISTIC[kind], start(name)
    errors = [(final(sampler, m, x, even(m.process, n)) - exact).abs().mean().item() for n in (32, 64, 128)]
    # The start of a run of order 4 is taken again only where its steps are short, which shows with few: 4 is seen as 3.5 or so.
    assert slope(errors) == pytest.approx(sampler.order, abs=0.3 if sampler.order < 4 else 0.65), errors


@pytest.mark.parametrize("name", SIX)
def test_euler_in_t_is_of_first_order(name):
    m, x, exact = start(name)
    noise, sampler = ud.Noise(range(64)), ud.EulerMaruyama(0)
    errors = [(final(sampler, m, x, even(m.process, n), noise) - exact).abs().mean().item() for n in (64, 128, 256, 512)]
    assert slope(errors) == pytest.approx(1, abs=0.3), errors


MIDWAY = {  # every combination of quantity and coordinate, and the members by name
    **{
        f"{quantity} in {coordinate}": ud.Adams(2, True, 0.0, quantity, coordinate)
        for quantity in QUANTITIES
        for coordinate in (*COORDINATES, "time")
    },
    "dpm2m": ud.DPM2M(),
    "dpm3m": ud.DPM3M(),
    "adams2": ud.Adams(2),
    "adams4": ud.Adams(4),
    "unipc3": ud.UniPC(3),
    "deis": ud.DEIS(),
    "deis4": ud.DEIS(4),
    "plms": ud.PLMS(),
    "abm3": ud.ABM(3),
    "velocity": ud.VelocityAB(),
    "velocity corrected": ud.VelocityAB(corrector=True),
    "velocity4 corrected": ud.VelocityAB(4, corrector=True),
}


@functools.cache
def midway(name):
    """A mixture, draws of it at noise level 1.5, where an image-to-image run might start, and where the flow takes them at 0.05."""
    m = mixture(SIX[name])
    x = m.sample(64, ud.Noise(range(64)), between(m.process, 1)[0])
    return m, x, final(ud.RungeKutta(), m, x, between(m.process, 600))


def between(process, n):
    """Even in log-SNR from level 1.5 to 0.05."""
    return process.time(torch.linspace(-2 * math.log(1.5), -2 * math.log(0.05), n + 1, dtype=torch.float64))


@pytest.mark.parametrize("name", ["VP", "Karras"])
@pytest.mark.parametrize("kind", MIDWAY)
def test_strong_order_from_a_start_that_is_no_pure_noise(kind, name):
    """The first step has one point only, and its error would stay: order 2 for all. It is taken again, at no cost."""
    sampler, (m, x, exact) = MIDWAY[kind], midway(name)
    errors = [(final(sampler, m, x, between(m.process, n)) - exact).abs().mean().item() for n in (48, 96, 192)]
    assert slope(errors) > sampler.order - 0.3, errors
    assert sampler.evaluations(7) == 7


def test_a_start_of_low_order_is_seen_by_that_test():
    class Plain(ud.DPM3M):
        def step(self, denoiser, state, s, noise):
            aged = state.memory and state.memory._replace(age=9)  # never as young as to be taken again
            return super().step(denoiser, replace(state, memory=aged), s, noise)

    m, x, exact = midway("VP")
    errors = [(final(Plain(), m, x, between(m.process, n)) - exact).abs().mean().item() for n in (48, 96, 192)]
    assert slope(errors) < 2.3, errors
    assert errors[1] > 10 * (final(ud.DPM3M(), m, x, between(m.process, 96)) - exact).abs().mean().item()


@pytest.mark.parametrize(
    "sampler", [ud.DEIS(), ud.PLMS(), ud.Adams(3, False, 0.0, "noise", "straight")], ids=["deis", "plms", "straight"]
)
def test_a_noise_prediction_far_from_the_data_is_forgotten(sampler):
    """DDPM's chain starts at sigma/alpha = 157: what the noise there says of the way is multiplied by that. Ten steps on `straight`.

    As good as from pure noise itself, where that prediction is no point at all; kept as a point, it is twice as bad.
    """

    class Kept(type(sampler)):
        def step(self, denoiser, state, s, noise):
            return super().step(denoiser, replace(state, index=1), s, noise) if state.memory is None else super().step(
                denoiser, replace(state, memory=state.memory._replace(age=9)), s, noise)  # fmt: skip

    found = []
    for process, kind in ((ud.DDPM(), sampler), (ud.Rectified(), sampler), (ud.DDPM(), Kept(sampler.points, quantity="noise"))):
        m = mixture(process)
        x = m.process.prior(torch.empty(128, 2, dtype=torch.float64), ud.Noise(range(128)))
        exact = final(ud.RungeKutta(), m, x, grids.straight(process, 200))
        found.append((final(kind, m, x, grids.straight(process, 10)) - exact).square().mean().sqrt())
    assert found[0] < 1.3 * found[1] and found[2] > 1.6 * found[0], found


@pytest.mark.parametrize("name", SIX)
def test_adaptive_error_follows_the_tolerance(name):
    """Ten thousand times tighter is at least a thousand times better, and no sample's clock depends on the others'."""
    m, x, exact = start(name)
    grid = even(m.process, 2)
    errors, calls = [], []
    for tol in (1e-3, 1e-5, 1e-7):
        counted = ud.Counted(m)
        errors.append((final(ud.Adaptive(rtol=tol, atol=tol), counted, x, grid) - exact).abs().mean().item())
        calls.append(counted.calls)
    assert errors[0] > errors[1] > errors[2] and errors[0] > 1000 * errors[2], errors
    assert errors[2] < 1e-6 and calls[0] < calls[1] < calls[2]
    alone = final(ud.Adaptive(), m, x[5:6], grid)
    assert torch.equal(alone, final(ud.Adaptive(), m, x, grid)[5:6])


@pytest.mark.parametrize("name", [*SIX, "SMLD"])
def test_adaptive_error_follows_the_tolerance_to_the_end(name):
    """On the default grid too, whose last interval is a tenth of the way: the flow is followed to where noise is below the tolerance."""
    m = mixture(PROCESSES[name])
    x = m.process.prior(torch.empty(16, 2, dtype=torch.float64), ud.Noise(range(16)))
    grid = grids.straight(m.process, 10)
    exact = final(ud.Adaptive(rtol=1e-9, atol=1e-9), m, x, grid)
    denoised_at_once = (final(ud.RungeKutta(), m, x, grid) - exact).abs().mean()
    for tolerance in (1e-2, 1e-4, 1e-6):
        assert (
            (final(ud.Adaptive(rtol=tolerance, atol=tolerance), m, x, grid) - exact).abs().mean() < tolerance < denoised_at_once
        )


@pytest.mark.parametrize("name", ["Cosine", "Rectified"])
def test_from_pure_noise_abm_keeps_its_order_where_log_snr_loses_it(name):
    """In log-SNR the prediction at pure noise lies at infinity, and the next ones far apart; in ABM's clock they are near."""
    process = SIX[name]
    m, z = mixture(process), ud.Noise(range(256)).normal(torch.empty(256, 2, dtype=torch.float64))

    def grid(n):  # even in sigma/(alpha + sigma) from 1 to 0.1
        u = torch.linspace(1, 0.1, n + 1, dtype=torch.float64)
        return grids.at_levels(process, u / (1 - u))[:-1]

    exact = final(ud.RungeKutta(), m, z, grid(400))
    for sampler, low, high in ((ud.ABM(), 2.6, 3.4), (ud.UniPC(), 1.5, 2.4)):
        errors = [(final(sampler, m, z, grid(n)) - exact).abs().mean().item() for n in (32, 64, 128, 256)]
        assert low < slope(errors) < high, errors


def test_the_published_third_difference_is_of_second_order():
    """DPM-Solver++(3M) as its code weighs it, `(e^-h - 1 + h)/h^2 - 1/2`, against the integral of the parabola, twice that."""

    class Published(ud.DPM3M):
        def _take(self, process, x, t, s, clocks, values, kick):
            exact = super()._take(process, x, t, s, clocks, values, kick)
            if len(values) < 3:
                return exact
            h, h1, h2 = self.clock(process, s) - clocks[0], clocks[0] - clocks[1], clocks[1] - clocks[2]
            first, second = (values[0] - values[1]) / (h1 / h), (values[1] - values[2]) / (h2 / h)
            curve = (first - second) / ((h1 + h2) / h)
            return exact + process.alpha(s) * ((math.exp(-h) - 1 + h) / h**2 - 0.5) * curve

    m, x, exact = start("Karras")
    errors = [(final(Published(), m, x, even(m.process, n)) - exact).abs().mean().item() for n in (64, 128, 256, 512)]
    assert slope(errors) == pytest.approx(2, abs=0.25), errors


def test_weights_integrate_polynomials():
    """Against quadrature, on both sides of the series' edge, and for the growing kernel of DEIS."""
    v = torch.linspace(0, 1, 200_001, dtype=torch.float64)
    for c in (-3.0, -1.0001, -0.5, 1e-9, 0.3, 0.9999, 1.0001, 4.0, 30.0):
        found = moments(c, 4)
        for n in range(4):
            assert found[n] == pytest.approx(torch.trapezoid(torch.exp(-c * (1 - v)) * v**n, v).item(), rel=1e-6)
        w = exponential(c, [1.0, 0.0, -0.7])
        poly = [2 - 3 * a + 0.5 * a**2 for a in (1.0, 0.0, -0.7)]
        exact = torch.trapezoid(torch.exp(-c * (1 - v)) * (2 - 3 * v + 0.5 * v**2), v).item()
        assert sum(a * b for a, b in zip(w, poly, strict=True)) == pytest.approx(exact, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("coordinate", [*COORDINATES, "time"])
@pytest.mark.parametrize(("quantity", "tau"), [("data", 0.0), ("data", 0.7), ("noise", 0.0), ("velocity", 0.0)])
def test_weights_are_the_integrals_of_the_flow(quantity, tau, coordinate):
    """Closed forms and Gauss-Legendre sums alike, against the trapezoid rule; the second step begins at pure noise where it can."""
    sampler, process = ud.Adams(3, False, tau, quantity, coordinate), ud.Cosine()
    finite = quantity != "noise" and coordinate not in ("log_snr", "ratio")
    for ends in ([0.9, 0.7, 0.4, 0.3], [1.0, 0.8, 0.6, 0.5]):
        if ends[0] == 1.0 and not finite:
            continue
        nodes, (t, s) = [sampler.clock(process, torch.tensor(e).double()) for e in ends[2::-1]], torch.tensor(ends[2:]).double()
        if ends[0] == 1.0:
            t, nodes = torch.tensor(1.0).double(), [nodes[2], nodes[1], nodes[0]]
        low = -18.0 if t == 1 else process.log_snr(t).item() / 2
        lam = torch.linspace(low, process.log_snr(s).item() / 2, 400_001, dtype=torch.float64)
        alpha, sigma = process(process.time(2 * lam))
        moved = {"data": (alpha / sigma) ** (1 + tau**2), "noise": sigma / alpha, "velocity": sigma / (alpha + sigma)}[quantity]
        at = {
            "log_snr": lam, "log_straight": (1 + alpha / sigma).log(), "straight": sigma / (alpha + sigma), "ratio": sigma / alpha,
            "time": process.time(2 * lam),
        }[coordinate]  # fmt: skip
        (alpha_s, sigma_s) = process(s)
        scale = {"data": sigma_s * (sigma_s / alpha_s) ** tau**2, "noise": alpha_s, "velocity": alpha_s + sigma_s}[quantity]
        for j, weight in enumerate(sampler.weights(process, t, s, tuple(nodes))):
            lagrange = torch.ones_like(at)
            for k, other in enumerate(nodes):
                if k != j:
                    lagrange = lagrange * (at - other) / (nodes[j] - other)
            assert weight == pytest.approx((scale * torch.trapezoid(lagrange, moved)).item(), rel=1e-5, abs=1e-7)


class Basis:
    """Noise that is 1 in one row of the batch for each of its draws and 0 in the others.

    A linear sampler's whole run, read off at once: row 0 starts at 1, every other row shows what one draw comes to.
    """

    def __init__(self, rows):
        self.rows, self.draws = rows, 0

    def fold(self, *label):
        return self

    def __len__(self):
        return self.rows

    def normal(self, like):
        self.draws += 1
        z = torch.zeros_like(like)
        if self.draws < self.rows:
            z[self.draws] = 1
        return z


def moments_of(sampler, m, grid):
    """Mean and variance of the samples on one Gaussian, exactly, from a start of the exact law.

    A linear run's value without noise, and the squares of its coefficients.
    """
    (alpha, sigma), count = m.process(grid[0]), Basis(1)
    start = torch.full((1, 1), float(alpha) * m.means.item(), dtype=torch.float64)
    mean = final(sampler, m, start, grid, count)
    x = start.repeat(count.draws + 1, 1)
    x[0] += (alpha**2 * m.variance.item() + sigma**2).sqrt()
    return mean.item(), (final(sampler, m, x, grid, Basis(len(x))) - mean).square().sum().item()


WEAK = {
    "ancestral": (ud.Ancestral(), 1),
    "between": (ud.Ancestral(0.7), 1),
    "euler-maruyama": (ud.EulerMaruyama(), 1),
    "reverse-diffusion": (ud.ReverseDiffusion(), 1),
    "predictor-corrector": (ud.PredictorCorrector(ud.Ancestral(), ud.Langevin(0.014)), 1),
    "corrector-predictor": (ud.PredictorCorrector(ud.Ancestral(), ud.Langevin(0.014), corrector_first=True), 1),
    "sde-dpm2m": (ud.SDEDPM2M(), 2),
    "sa-solver": (ud.SASolver(), 2),
    "sa-solver half": (ud.SASolver(tau=0.5), 2),
    "abm with noise": (ud.ABM(tau=1.0), 2),
    "straight with noise": (ud.Adams(2, True, 0.6, "data", "straight"), 2),
    "churn": (ud.Churn(0.02), 2),
}


@pytest.mark.parametrize("name", SIX)
@pytest.mark.parametrize("kind", WEAK)
def test_weak_order_on_a_gaussian(kind, name):
    """Mean and variance of the samples are known without sampling; their errors fall as steps^-order or faster."""
    sampler, order = WEAK[kind]
    m = ud.GaussianMixture(torch.ones(1, 1), 0.7, None, SIX[name])

    def error(n):
        grid = even(m.process, n)
        alpha, sigma = m.process(grid[-1])
        mean, variance = moments_of(sampler, m, grid)
        return abs(mean / alpha - 1).item(), abs(variance / (alpha**2 * 0.49 + sigma**2) - 1).item()

    for errors in zip(*[error(n) for n in (50, 100, 200)], strict=True):
        # Errors of either sign may cross zero, and then are small at once.
        assert slope(errors) > order - 0.3 or errors[-1] < 4e-4, errors
        assert errors[-1] < (0.06 if order == 1 else 8e-3)


@pytest.mark.parametrize("kind", ["sde-dpm2m", "sa-solver", "sa-solver half", "abm with noise"])
def test_weak_order_from_a_start_that_is_no_pure_noise(kind):
    """As above, from draws at noise level 1.5: the variance, since the mean of a linear law is exact from there."""
    m = ud.GaussianMixture(torch.ones(1, 1), 0.7, None, ud.VP())
    errors = []
    for n in (25, 50, 100, 200):
        grid = between(m.process, n)
        alpha, sigma = m.process(grid[-1])
        errors.append(abs(moments_of(WEAK[kind][0], m, grid)[1] / (alpha**2 * 0.49 + sigma**2) - 1).item())
    assert slope(errors) > 1.7, errors


@pytest.mark.parametrize("name", ["VP", "VE"])
@pytest.mark.parametrize("kind", ["ancestral", "euler-maruyama", "reverse-diffusion", "sde-dpm2m", "sa-solver", "churn"])
def test_weak_error_in_mean_variance_and_weights(kind, name):
    """On a mixture, where the denoiser is not linear: 100,000 samples, so moments are known to 0.005 and weights to 0.0015.

    From 8 to 32 steps the summed error falls at least by half of what first order would give, and ends small.
    """
    m = ud.GaussianMixture([[1.2], [-0.8]], [0.25, 0.35], [0.3, 0.7], SIX[name])
    exact = torch.tensor([0.3 * 1.2 - 0.7 * 0.8, 0.3 * (0.25**2 + 1.44) + 0.7 * (0.35**2 + 0.64), 0.3], dtype=torch.float64)

    def error(n):
        x = ud.sample(
            m, 100_000, WEAK[kind][0], n, grid=grids.log_snr, like=torch.empty(0, dtype=torch.float64), batch_size=100_000
        )
        seen = torch.stack([x.mean(), x.square().mean(), (m.posterior(x)[:, 0] > 0.5).double().mean()])
        return (seen - exact).abs().sum().item()

    coarse, fine = error(8), error(32)
    assert fine < 0.5 * coarse + 0.01 and fine < 0.17, (coarse, fine)


class Scripted:
    """Noise that is 1 in one of its draws and 0 in the others, to read off a linear move's gain and noise."""

    def __init__(self, one):
        self.one, self.draws = one, 0

    def normal(self, like):
        self.draws += 1
        return torch.full_like(like, float(self.draws - 1 == self.one))


@pytest.mark.parametrize("name", SIX)
def test_langevin_is_biased_in_proportion_to_snr_squared(name):
    """Langevin's order: at a fixed level the variance settles at v / (1 - delta/2v), delta = 2 (snr sigma)^2."""
    process, t = SIX[name], torch.tensor(0.5, dtype=torch.float64)
    m = ud.GaussianMixture(torch.zeros(1, 1), 0.7, None, process)
    exact = (process.alpha(t) ** 2 * 0.49 + process.sigma(t) ** 2).item()

    def settled(snr):
        zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
        gain = ud.Langevin(snr)(m, State(one, t), Scripted(-1)).x.item()
        fresh = ud.Langevin(snr)(m, State(zero, t), Scripted(0)).x.item()
        return fresh**2 / (1 - gain**2) / exact - 1

    errors = [settled(snr) for snr in (0.3, 0.3 / 2**0.5, 0.15, 0.15 / 2**0.5)]
    assert slope(errors) == pytest.approx(1.0, abs=0.1)
    delta = 2 * (0.3 * process.sigma(t).item()) ** 2
    assert errors[0] == pytest.approx(1 / (1 - delta / (2 * exact)) - 1, rel=0.02)


@pytest.mark.parametrize("kind", ["abm2", "unipc2", "dpm3m", "dpm2m", "heun", "rk4", "deis3", "plms3", "velocity3 corrected"])
def test_more_steps_are_better(kind):
    """1, 2, 3, ... 300 steps: finite, and the error against the flow falls along the way."""
    process = ud.Rectified()
    m, z = mixture(process), ud.Noise(range(128)).normal(torch.empty(128, 2, dtype=torch.float64))
    exact = final(ud.RungeKutta(), m, z, grids.straight(process, 300))
    errors = []
    for n in (1, 2, 3, 6, 12, 30, 100, 300):
        x = final(DETERMINISTIC[kind], m, z, grids.straight(process, n))
        assert torch.isfinite(x).all()
        errors.append((x - exact).square().mean().sqrt().item())
    assert all(b < 1.1 * a + 1e-4 for a, b in itertools.pairwise(errors)), errors  # to the error of leaving at the last level
    assert errors[-1] < 1e-2 * errors[0]


@pytest.mark.parametrize(
    "predictor",
    [ud.UniPC(), ud.ABM(), ud.DPM2M(), ud.VelocityAB(4), ud.PLMS()],
    ids=["unipc", "abm", "dpm2m", "velocity", "plms"],
)
def test_corrections_are_kept_by_solvers_that_take_their_steps_again(predictor):
    """From a start that is no sample of p_t, Langevin moves forget the start, whatever the predictor remembers."""
    m, n = mixture(ud.VP()), 300
    grid = torch.linspace(0.5, 0.35, 7, dtype=torch.float64)
    start = torch.full((n, 2), 3.0, dtype=torch.float64)
    sampler = ud.PredictorCorrector(predictor, ud.Langevin(0.3), 10)
    x = final(sampler, m, start, grid, ud.Noise(range(n)))
    truth = m.sample(n, ud.Noise(range(n)).fold("truth"), grid[-1])
    assert (x.mean(0) - truth.mean(0)).abs().max() < 0.45 and (x.std(0) / truth.std(0)).min() > 0.75
    assert sampler.order == predictor.order
