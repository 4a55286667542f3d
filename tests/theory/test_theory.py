"""The papers' theory, T1 to T9, as tests; docs/theory.md tells the story and shows the pictures.

Statistical tests fix their seeds and state their false-alarm rate; the others are exact or measured rates.
"""

from functools import cache
from itertools import pairwise

import pytest
import torch

import undrift as ud
from conftest import same_law
from theory import experiments as ex
from undrift.sampler.base import State

DOUBLE = torch.empty(0, dtype=torch.float64)
field, mixing, learned_digits, memorised_digits = (
    cache(f) for f in (ex.score_field, ex.slow_mixing, ex.digits_by_langevin, ex.digits_by_memory)
)


def slope(x, y):
    """The exponent b of y = a x^b, by least squares."""
    x, y = (torch.as_tensor(v, dtype=torch.float64).log() for v in (x, y))
    return (((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()).item()


def points(n, seed=0):
    return 1.5 * torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# T1: Langevin dynamics reaches the law, and only the law stays.


def test_t1_langevin_reaches_the_law():
    """From one far point; energy two-sample test, 1,000 against 1,000, p > 1/201. A sign or a root too few is caught."""
    m, n = ex.mixture(ud.Karras()), 1000
    noise = ud.Noise(range(n)).fold("t1")
    far = torch.tensor([[3.0, -3.0]], dtype=torch.float64).expand(n, -1)
    truth = m.sample(n, noise.fold("truth"), 0.7)
    assert same_law(ex.langevin_chain(m, far, 0.7, 600, 0.14, noise), truth) > 1 / 201
    wrong = far
    for k in range(600):  # sqrt(delta) z instead of sqrt(2 delta) z: the law of temperature 1/2
        delta = (0.2 * 0.7) ** 2
        wrong = wrong + delta * ud.score_at(m, wrong, 0.7) + delta**0.5 * noise.fold(k).normal(wrong)
    assert same_law(wrong, truth) <= 1 / 201


def test_t1_the_law_is_the_only_stationary_one():
    """Fokker-Planck, weakly: E_rho[phi'' + s phi'] = 0 for every phi if rho = p, and not for another rho (quadrature, 1-D)."""
    m = ud.GaussianMixture([[1.0], [-1.0]], 0.4, [0.3, 0.7])
    x = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    score, p = ex.clean_score(m, x[:, None])[:, 0], m.log_prob(x[:, None]).exp()
    other = ud.GaussianMixture([[1.0], [-1.0]], 0.4, [0.4, 0.6]).log_prob(x[:, None]).exp()
    tests = {  # phi' and phi''
        "x^2": (2 * x, 2 + 0 * x), "sin": (x.cos(), -x.sin()), "tanh": (x.cosh() ** -2, -2 * x.tanh() / x.cosh() ** 2),
    }  # fmt: skip
    for first, second in tests.values():
        assert abs(torch.trapezoid(p * (second + score * first), x)) < 1e-10
    assert abs(torch.trapezoid(other * (tests["tanh"][1] + score * tests["tanh"][0]), x)) > 1e-4


def test_t1_the_bias_of_a_step_is_its_size():
    """On a Gaussian of variance v, x' = (1 - delta/v) x + sqrt(2 delta) z settles at v / (1 - delta/(2 v)), off by O(delta)."""
    m, t = ud.GaussianMixture(torch.zeros(1, 1), 0.5, None, ud.Karras()), ex.time(0.7)
    one, zero, excess = torch.ones(1, 1).double(), torch.zeros(1, 1).double(), []
    v = 0.25 + 0.49
    for snr in (0.28, 0.14, 0.07, 0.035):
        gain = ud.Langevin(snr)(m, State(one, t), ex.Scripted(0.0)).x.item()
        spread = ud.Langevin(snr)(m, State(zero, t), ex.Scripted(1.0)).x.item()
        settled = spread**2 / (1 - gain**2)
        delta = 2 * (0.7 * snr) ** 2
        assert settled == pytest.approx(v / (1 - delta / (2 * v)), rel=1e-9)
        excess.append(settled / v - 1)
    assert slope([0.28, 0.14, 0.07, 0.035], excess) == pytest.approx(2, abs=0.05)  # in snr, so 1 in delta


# T2: KL decays at the rate of the log-Sobolev constant.

TARGET, MEAN, VARIANCE = (torch.tensor(v, dtype=torch.float64) for v in ([1.0, 0.25], [1.5, -1.0], [0.2, 2.0]))
ALPHA = (1 / TARGET.max()).item()  # the log-Sobolev constant of a Gaussian: its smallest precision


def kl_at(t):
    mean, variance = ex.ou_moments(MEAN, VARIANCE, TARGET, t)
    return ex.kl_gaussian(mean, variance, torch.zeros(2).double(), TARGET)


def test_t2_kl_decays_at_the_rate_of_the_log_sobolev_constant():
    t = torch.linspace(0, 6, 200, dtype=torch.float64)
    kl = kl_at(t)
    assert (kl[1:] < torch.exp(-2 * ALPHA * t[1:]) * kl[0]).all()
    rate = -(kl[-1] / kl[-40]).log() / (t[-1] - t[-40])
    assert rate == pytest.approx(2 * ALPHA, rel=0.01)  # the bound is sharp: the slowest direction decays at 2 alpha


def test_t2_equality_for_a_shift_along_the_slowest_direction():
    t, shift = torch.linspace(0, 3, 30, dtype=torch.float64), torch.tensor([1.5, 0.0], dtype=torch.float64)
    mean, variance = ex.ou_moments(shift, TARGET, TARGET, t)
    kl = ex.kl_gaussian(mean, variance, torch.zeros(2).double(), TARGET)
    torch.testing.assert_close(kl, torch.exp(-2 * ALPHA * t) * kl[0])


def test_t2_the_derivative_is_minus_the_fisher_information():
    t = torch.linspace(0.05, 3, 30, dtype=torch.float64, requires_grad=True)
    derivative = torch.autograd.grad(kl_at(t).sum(), t)[0]
    mean, variance = ex.ou_moments(MEAN, VARIANCE, TARGET, t.detach())
    # E_rho |grad log(rho/p)|^2 with grad log(rho/p) = x/target - (x - mean)/variance
    fisher = ((mean / TARGET) ** 2 + variance * (1 / TARGET - 1 / variance) ** 2).sum(-1)
    torch.testing.assert_close(derivative, -fisher)
    assert (fisher >= 2 * ALPHA * kl_at(t.detach())).all()  # the log-Sobolev inequality itself


def test_t2_the_librarys_langevin_follows_the_curve():
    """KL of the law of `Langevin`'s own moves on a Gaussian, from its gain and noise, against the continuous curve."""
    cov = torch.diag(TARGET - 0.04)[None]
    m, t = ud.GaussianMixture(torch.zeros(1, 2), cov, None, ud.Karras()), ex.time(0.2)
    corrector = ud.Langevin(0.14)
    gain = corrector(m, State(torch.ones(1, 2).double(), t), ex.Scripted(0.0)).x[0]
    spread = corrector(m, State(torch.zeros(1, 2).double(), t), ex.Scripted(1.0)).x[0]
    delta, mean, variance = 2 * (0.14 * 0.2) ** 2, MEAN, VARIANCE
    for k in range(1, 1501):
        mean, variance = gain * mean, gain**2 * variance + spread**2
        if k % 500 == 0:
            kl = ex.kl_gaussian(mean, variance, torch.zeros(2).double(), TARGET)
            assert kl == pytest.approx(kl_at(ex.time(k * delta)).item(), rel=0.02)


# T3: sampling is as easy as learning the score: what of the theorem can be measured.


def test_t3_discretisation_error_falls_with_the_steps():
    """KL to the exact law is O(1/n^2) for Euler-Maruyama on a Gaussian: total variation O(1/n), inside the theorem's bound."""
    steps = [50, 100, 200, 400]
    assert slope(steps, [ex.reverse_gaussian(ud.VP(), 0.25, n)[0] for n in steps]) == pytest.approx(-2, abs=0.1)


@pytest.mark.parametrize("error", [-0.2, 0.05, 0.1, 0.2])
def test_t3_score_error_costs_at_most_girsanovs_integral(error):
    """KL(exact || sampled) <= 1/2 int g^2 E|s_theta - s|^2 dt, and it does grow with the square of the error."""
    kl, bound = ex.reverse_gaussian(ud.VP(), 0.25, 400, error)
    half, _ = ex.reverse_gaussian(ud.VP(), 0.25, 400, error / 2)
    assert 0 < kl < bound and 3 < kl / half < 5


# T4: the reverse SDE and the ODE share every marginal.


@pytest.mark.parametrize("name", ["VP", "VE", "SubVP", "Rectified"])
def test_t4_sde_and_flow_move_the_density_alike(name):
    """d/dt log p by differentiating the exact density, from the flow (continuity) and from the SDE (Fokker-Planck)."""
    process = {"VP": ud.VP(), "VE": ud.VE(0.01, 30.0), "SubVP": ud.SubVP(), "Rectified": ud.Rectified()}[name]
    m, x = ex.mixture(process), points(40).requires_grad_()
    t = torch.full((40,), 0.4, dtype=torch.float64, requires_grad=True)
    log_p = m.log_prob(x, t)
    moved, score = torch.autograd.grad(log_p.sum(), (t, x), create_graph=True)
    divergence_of_score = sum(torch.autograd.grad(score[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(2))
    velocity = ud.velocity_at(m, x, t)
    divergence = sum(torch.autograd.grad(velocity[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(2))
    f, g = process.drift(t), process.diffusion(t)
    flow = -(velocity * score).sum(1) - divergence
    forward = -2 * f - f * (x * score).sum(1) + g**2 / 2 * (divergence_of_score + score.square().sum(1))
    # Anderson's SDE run backwards has drift f x - g^2 s and loses g^2/2 of diffusion where the forward one gains it.
    drift = f[:, None] * x - g[:, None] ** 2 * score
    divergence_of_drift = 2 * f - g**2 * divergence_of_score
    reverse = -(drift * score).sum(1) - divergence_of_drift - g**2 / 2 * (divergence_of_score + score.square().sum(1))
    for side in (flow, forward, reverse):
        torch.testing.assert_close(side, moved, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["VP", "VE"])
@pytest.mark.parametrize("sampler", [ud.EulerMaruyama(), ud.EulerMaruyama(0.5), ud.Heun()], ids=["sde", "between", "flow"])
def test_t4_every_marginal_is_shared(sampler, name):
    """At four times of one run: energy two-sample test, 600 against 600, p > 1/201; 24 fixed-seed cases."""
    m = ex.mixture({"VP": ud.VP(), "VE": ud.VE(0.01, 30.0)}[name])
    found = ex.marginals(sampler, m, 600, 40 if sampler.order == 2 else 400, seed=1)
    assert len(found) == 4
    for t, x in found:
        assert same_law(x, m.sample(600, ud.Noise(range(600)).fold("truth"), t)) > 1 / 201


def test_t4_a_wrong_drift_does_not_share_them():
    """The flow with g^2 instead of g^2/2 of score, the commonest slip, is caught at the same size of test."""
    m, noise = ex.mixture(ud.VP()), ud.Noise(range(600))
    grid = ud.times.log_snr(m.process, 400, 0.05)[:-1]
    x = m.sample(600, noise, grid[0])
    for t, s in pairwise(grid):
        x = x - (t - s) * (m.process.drift(t) * x - m.process.diffusion(t) ** 2 * ud.score_at(m, x, t))
    assert same_law(x, m.sample(600, noise.fold("truth"), grid[-1])) <= 1 / 201


def test_t4_the_joint_law_is_not_shared():
    """Same marginals, other paths: where a sample starts decides where the flow ends, and says nothing of where the SDE does."""
    m, noise = ud.GaussianMixture(torch.zeros(1, 1), 0.5, None, ud.VP()), ud.Noise(range(2000))
    x = noise.normal((2000, 1)).double()
    grid = ud.times.log_snr(m.process, 100, 0.05)[:-1]
    ends = {}
    for sampler in (ud.Heun(), ud.Ancestral()):
        *_, last = sampler(m, State(x, grid[0]), grid, noise.fold("run"))
        ends[type(sampler).__name__] = torch.corrcoef(torch.cat([x, last.x], 1).T)[0, 1]
    assert ends["Heun"] > 0.999 and abs(ends["Ancestral"]) < 5 / 2000**0.5  # 5 standard errors


# T5: the reverse step becomes Gaussian.


def test_t5_the_reverse_step_becomes_gaussian():
    """q(x_s | x_t) of a mixture against Gaussians, as beta falls: KL to the best one ~ beta^3, to `Ancestral`'s ~ beta^2."""
    m = ud.GaussianMixture([[1.0], [-1.0]], 0.35, [0.4, 0.6], ud.VP())
    t = ex.time(0.35)
    found = [ex.reverse_kernel(m, 0.9, t, t - gap) for gap in (0.0125, 0.00625, 0.003, 0.0015)]
    beta = [k["beta"].item() for k in found]
    assert slope(beta, [k["kl_best"].item() for k in found]) == pytest.approx(3, abs=0.15)
    assert slope(beta, [k["kolmogorov"].item() for k in found]) == pytest.approx(1.5, abs=0.1)
    assert slope(beta, [k["kl_drawn"].item() for k in found]) == pytest.approx(2, abs=0.15)
    assert all(k["mean_gap"] < 1e-6 for k in found)  # and its mean is right for any beta
    assert ex.reverse_kernel(m, 0.2, t, ex.time(0.05))["kl_best"] > 0.01  # a long step is not Gaussian at all


# T6: where there is no data there is no score; plain Langevin loses the weights, annealed Langevin finds them.


def test_t6_the_learned_score_is_poor_where_there_is_no_data():
    """001's Fig. 3. Dense: above a tenth of the largest density on the grid. Empty: below a thousandth."""
    r = field()
    dense, empty = r["density"] > 0.1 * r["density"].max(), r["density"] < 1e-3 * r["density"].max()
    relative = r["error"] / r["true"].norm(dim=1)
    assert dense.sum() > 50 and empty.sum() > 100
    assert relative[dense].mean() < 0.05
    assert relative[empty].mean() > 0.25
    assert r["error"][empty].mean() > 50 * r["error"][dense].mean()


def test_t6_plain_langevin_loses_the_weights_and_annealing_recovers_them():
    """001's Fig. 4: the share of the component of weight .1, 500 samples, within 4 standard errors (false alarm 6e-5)."""
    share = {k: (x[:, 0] + x[:, 1] > 0).double().mean().item() for k, x in mixing().items()}
    margin = 4 * (0.1 * 0.9 / 500) ** 0.5
    assert abs(share["annealed"] - 0.1) < margin
    assert abs(share["truth"] - 0.1) < margin
    assert abs(share["plain"] - 0.5) < 4 * (0.25 / 500) ** 0.5  # that of its start: which side of the divide it lay on
    plain = mixing()["plain"]  # not for want of steps: within each component the law is long reached, up to the step's bias
    for side in (plain[plain[:, 0] > 0], plain[plain[:, 0] < 0]):
        assert side.var(0).mean() == pytest.approx(0.01 / 0.75, rel=0.25)


# T7: off a manifold there is no score.


def test_t7_the_score_blows_up_off_a_manifold():
    sigmas = torch.tensor([0.1, 0.03, 0.01, 0.003, 0.001], dtype=torch.float64)
    r = ex.off_manifold(sigmas)
    torch.testing.assert_close(r["at_point"][:, 1], -0.5 / sigmas**2)  # distance / sigma^2, towards the line
    torch.testing.assert_close(r["at_point"][:, 0], -0.3 / (1 + sigmas**2))  # along it: the score of the data
    # On noised data |score|^2 is codimension / sigma^2 (5 standard errors of a chi-square mean over 4,000 points) ...
    assert ((r["mean_square"] * sigmas**2 - 1).abs() < 5 * (2 / 4000) ** 0.5 + 2 * sigmas**2).all()
    assert (r["halves"] < 1.2).all()  # ... while what the library keeps, the prediction's two halves, stays of order one


def test_t7_a_curved_manifold():
    """600 points on a circle: sigma^2 score tends to the vector to the nearest point of the circle."""
    angle = 2 * torch.pi * torch.arange(600, dtype=torch.float64) / 600
    circle = ud.Empirical(torch.stack([angle.cos(), angle.sin()], 1), ud.Karras())
    x = points(30, seed=3)
    nearest = x / x.norm(dim=1, keepdim=True)
    gaps = [(s**2 * ud.score_at(circle, x, s) - (nearest - x)).norm(dim=1).max() for s in (0.4, 0.2, 0.1, 0.05)]
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] < 0.05


# T8: diffusion is a hierarchical variational autoencoder whose encoder is fixed.


def test_t8_the_bound_is_the_chain_rule():
    """log p_theta(x_0:T) / q(x_1:T | x_0) is the papers' terms T, t > 1 and 0, along every path, for right and wrong models."""
    process = ud.DDPM(20, 1e-2, 0.3)
    m, noise = ex.mixture(process), ud.Noise(range(100))
    x0 = m.sample(100, noise)
    for model in (m, ud.GaussianMixture(torch.zeros(1, 2), 2.0, None, process)):
        chain, terms = ex.path_log_ratios(model, x0, noise.fold("path"))
        torch.testing.assert_close(sum(terms.values()), chain, rtol=1e-9, atol=1e-9)
        assert terms["between"].abs().min() > 1e-3 and terms["0"].abs().min() > 1e-9  # no term is idle


def test_t8_the_encoder_has_no_parameters_and_its_code_the_size_of_the_data():
    process = ud.DDPM(20, 1e-2, 0.3)
    x0 = points(5)
    code = process.transition(x0, 0.0, 1.0, ud.Noise(range(5)).normal(x0))
    assert code.shape == x0.shape and not list(ex.mixture(process).parameters())


def test_t8_the_gap_of_the_bound():
    """KL(q(x_0:T) || p_theta) for Gaussian data, in closed form, by the variance of the reverse step.

    With beta it closes as 1/T, with the true variance it is nothing, and with beta-tilde it never closes: near clean data
    beta-tilde is too small by a factor that does not depend on T.
    """
    steps = [30, 100, 300]
    gap = {}
    for kind in ("beta", "tilde", "optimal"):
        results = [ex.gaussian_bound(n, kind) for n in steps]
        gap[kind] = [r["bound"] - r["entropy"] for r in results]
    assert slope(steps, gap["beta"]) == pytest.approx(-1, abs=0.1)
    assert max(abs(g) for g in gap["optimal"]) < 1e-9
    assert min(gap["tilde"]) > 0.3 and gap["tilde"] == sorted(gap["tilde"], reverse=True)
    assert min(gap["beta"]) > 0


# T9: plain Langevin on raw digits.


def test_t9_plain_langevin_on_raw_digits_stays_noise_and_annealed_draws_digits():
    """004's picture: two equal networks, one trained at sigma = .01 alone and one on a ladder from .1 to 6.

    Measured by the distance to the nearest digit; digits lie 2.05 from one another on average.
    """
    data, _ = ex.raw_digits()
    r = learned_digits()
    distance = {k: torch.cdist(r[k].double(), data).min(1).values.median().item() for k in ("start", "plain", "annealed")}
    assert distance["plain"] > 0.85 * distance["start"] > 7
    assert distance["annealed"] < 4


def test_t9_even_with_the_exact_score_plain_langevin_gets_the_weights_wrong():
    """Classes of 300 samples against equal shares, chi-square with 9 degrees of freedom: above 27.9 has probability 1e-3."""
    r = memorised_digits()
    chi = {}
    for kind in ("plain", "annealed"):
        count = torch.bincount(r["labels"][r[kind]], minlength=10)
        chi[kind] = ((count - 30.0) ** 2 / 30).sum().item()
    assert chi["plain"] > 27.9 > chi["annealed"]
    # Different training points among 300 draws: 276 expected of uniform ones (standard deviation 4.2).
    assert r["annealed"].unique().numel() > 276 - 5 * 4.2 > r["plain"].unique().numel()


# What memorising means: on a finite data set the minimiser of the denoising loss is `Empirical`.


def test_the_minimiser_of_the_loss_on_a_data_set_is_empirical_and_its_samples_are_the_data():
    """Loss of noise prediction on 40 training points: `Empirical` beats the true law there, and loses on fresh points."""
    process = ud.VP(t_min=0.01)
    truth, n = ex.mixture(process), 4000
    train, fresh = (truth.sample(40, ud.Noise(range(40)).fold(k)) for k in ("train", "fresh"))
    memory, noise = ud.Empirical(train, process), ud.Noise(range(n)).fold("loss")
    t = 0.01 + 0.99 * noise.uniform(torch.empty(n, dtype=torch.float64))

    def loss(denoiser, x0, shift=0.0):
        x0 = x0[torch.arange(n) % 40]
        eps = noise.fold("eps").normal(x0)
        noise_hat = denoiser(process.perturb(x0, t, eps), t).noise
        return (noise_hat * (1 + shift) - eps).square().mean().item()

    assert loss(memory, train) < loss(truth, train) - 0.02
    assert loss(truth, fresh) < loss(memory, fresh) - 0.02
    assert loss(memory, train) < min(loss(memory, train, shift) for shift in (-0.1, 0.1))
    grid = ud.times.karras(ud.VP(), 40, sigma_low=0.002)
    samples = ud.sample(ud.Empirical(train), 100, steps=grid, like=DOUBLE)
    distance, which = torch.cdist(samples, train).min(1)
    assert distance.max() < 1e-3 and len(which.unique()) > 25
