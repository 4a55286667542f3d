"""What the papers print against what holds: docs/errata.md, executable.

Each test asserts that the corrected formula holds and that the printed one does not. Expectations are integrals on a grid or
closed forms, so nothing here is random, except where a comment says so.
"""

import math
from itertools import pairwise

import pytest
import torch

import undrift as ud
from conftest import same_law
from theory.experiments import Scripted, clean_score, gaussian_bound, kl_gaussian, mixture, time
from undrift.sampler.ancestral import bridge
from undrift.sampler.base import State
from undrift.study.slide_algorithms import variance_left

DOUBLE = torch.empty(0, dtype=torch.float64)
X = torch.linspace(-6, 6, 8001, dtype=torch.float64)
LAW = ud.GaussianMixture([[1.0], [-1.0]], 0.5, [0.3, 0.7], ud.VP())
P, S = LAW.log_prob(X[:, None]).exp(), clean_score(LAW, X[:, None])[:, 0]
SCALES = torch.linspace(-2, 2, 81, dtype=torch.float64)  # the family c s(x), in which c = 1 is the truth


def mean(values, density=P):
    return torch.trapezoid(values * density, X)


def slope_of(f):
    return torch.gradient(f, spacing=(X,))[0]


def best(losses):
    return SCALES[torch.stack(list(losses)).argmin()].item()


def table(steps=1000):
    betas = torch.linspace(1e-4, 0.02, steps, dtype=torch.float64)
    return betas, (1 - betas).cumprod(0)


# 000


def test_000_eq3_implicit_score_matching_has_a_plus():
    assert best(mean((c * S) ** 2 / 2 + c * slope_of(S)) for c in SCALES) == pytest.approx(1)
    assert best(mean((c * S) ** 2 / 2 - c * slope_of(S)) for c in SCALES) == pytest.approx(-1)  # printed: learns -score


def test_000_the_square_has_twice_the_cross_term():
    model = 0.5 * S + X.sin()
    torch.testing.assert_close(S**2 - 2 * model * S + model**2, (S - model) ** 2)
    assert ((S**2 - model * S + model**2) - (S - model) ** 2).abs().max() > 1


def test_000_by_parts_leaves_the_density_and_not_its_gradient():
    model = X.sin() + 0.3 * X
    left = mean(-model * S)
    assert left.item() == pytest.approx(mean(slope_of(model)).item(), rel=1e-5)
    assert abs(left - torch.trapezoid(slope_of(model) * slope_of(P), X)) > 0.1


def test_000_the_implicit_loss_is_not_zero_at_its_minimum():
    implicit, fisher = mean(S**2 / 2 + slope_of(S)), mean((S - S) ** 2 / 2)
    assert fisher == 0
    assert implicit.item() == pytest.approx(-mean(S**2).item() / 2, rel=1e-4) and implicit < -0.5


def test_000_eq9_the_sum_starts_at_two():
    """At t = 1, q(x_0 | x_1, x_0) has no variance, so its KL would be infinite; and L_0 depends on the model."""
    process, one = ud.DDPM(20, 1e-2, 0.3), torch.ones(1, 1, dtype=torch.float64)
    spread = [
        bridge(process, ud.Prediction(0 * one, 0 * one), time(i / 20), time((i - 1) / 20), 1.0, Scripted(1.0)).item()
        for i in (1, 2)
    ]
    assert spread[0] == 0 < spread[1]
    assert kl_gaussian(one[0], torch.tensor([1e-300]).double(), one[0], one[0]) > 300
    decoder = [-torch.distributions.Normal(data, 0.1).log_prob(torch.tensor(0.5)).item() for data in (0.5, 0.6)]
    assert decoder[1] - decoder[0] == pytest.approx(0.5, rel=1e-4)  # a worse guess of x_0 from x_1 costs


def test_000_the_noise_has_one_entry_per_entry_of_the_data():
    """N(0, I), not N(0, 1): one number for all entries would make them perfectly correlated. Random: 5 standard errors."""
    n = 4000
    x = ud.VP().perturb(torch.zeros(n, 2).double(), 0.5, ud.Noise(range(n)).normal((n, 2)).double())
    shared = ud.VP().perturb(torch.zeros(n, 2).double(), 0.5, ud.Noise(range(n)).normal((n, 1)).double().expand(n, 2))
    assert abs(torch.corrcoef(x.T)[0, 1]) < 5 / n**0.5
    assert torch.corrcoef(shared.T)[0, 1] > 0.999


def test_000_eq11_the_score_is_of_the_log_density():
    """E sigma^2 |grad log p_t - s|^2 and E |eps + sigma s|^2 differ by a constant over all s; with grad p_t they do not."""
    t = time(0.3)
    sigma, log_p = LAW.process.sigma(t), LAW.log_prob(X[:, None], t)
    p, score = log_p.exp(), ud.score_at(LAW, X[:, None], t)[:, 0]
    gaps, printed = [], []
    for model in (0 * X, 0.5 * score, X.sin()):
        noise_form = 1 + mean(2 * sigma * model * (-sigma * score) + sigma**2 * model**2, p)  # E[eps | x] = -sigma score
        gaps.append(noise_form - mean(sigma**2 * (score - model) ** 2, p))
        printed.append(noise_form - mean(sigma**2 * (p * score - model) ** 2, p))
    assert max(gaps) - min(gaps) < 1e-9
    assert max(printed) - min(printed) > 0.1


def test_000_eq12_the_shrunken_data_is_subtracted():
    x0, eps, t = torch.randn(5, 2).double(), torch.randn(5, 2).double(), time(0.4)
    x, (alpha, sigma) = ud.DDPM().perturb(x0, t, eps), ud.DDPM()(t)
    torch.testing.assert_close((x - alpha * x0) / sigma, eps)
    assert ((x - x0) / sigma - eps).abs().max() > 0.1  # printed: right for VE only


@pytest.mark.parametrize("i", [2, 10, 500, 1000])
def test_000_two_sigmas_the_weight_has_that_of_the_reverse_step(i):
    """beta^2 / (2 sigma^2 alpha (1 - bar)) |eps error|^2 is the KL between two reverse steps if sigma is theirs."""
    betas, bars = table()
    beta, bar, before = betas[i - 1], bars[i - 1], bars[i - 2]
    reverse = beta * (1 - before) / (1 - bar)
    t, s, process = time(i / 1000), time((i - 1) / 1000), ud.DDPM()
    x, error = torch.full((1, 1), 0.7).double(), 0.01
    means = []
    for eps in (0.4, 0.4 + error):
        data = (x - process.sigma(t) * eps) / process.alpha(t)
        means.append(bridge(process, ud.Prediction(data, torch.full_like(x, eps)), t, s, 1.0, Scripted(0.0)))
    kl = ((means[1] - means[0]) ** 2 / (2 * reverse)).item()
    weight = beta**2 / (2 * reverse * (1 - beta) * (1 - bar))
    assert kl == pytest.approx((weight * error**2).item(), rel=1e-6)
    marginal = beta**2 / (2 * (1 - bar) * (1 - beta) * (1 - bar))  # were sigma_t the marginal's, as in eps = -sigma_t s
    assert abs(marginal / weight - 1) > 1e-2 or i == 1000
    assert i < 1000 or abs(marginal / weight - 1) > 0.5


def test_000_eq14_the_drift_has_a_minus():
    """Variance of x_T from data of variance 1: 1 with the minus, 4.6e4 as printed."""
    for sign, variance in ((-1, 1.0), (1, 4.6e4)):
        sde = ud.LinearSDE(lambda t, sign=sign: sign * 0.5 * (0.1 + 19.9 * t), lambda t: (0.1 + 19.9 * t).sqrt())
        alpha, sigma = sde(time(1.0))
        assert (alpha**2 + sigma**2).item() == pytest.approx(variance, rel=0.02)
    assert ud.VP().drift(time(0.5)) == -0.5 * (0.1 + 19.9 * 0.5)


def exact_step_back(x, t, gap):
    """(E[x_s | x_t = x] - x) / (t - s), exactly."""
    return (ud.Ancestral().step(LAW, State(x, t), t - gap, Scripted(0.0)).x - x) / gap


def test_000_eq17_and_18_the_reverse_drift():
    """Backwards by dt the mean moves by (-f x + g^2 s) dt: minus mu, plus the score, and the x that eq. 18 lost."""
    t, x = time(0.4), torch.tensor([[-1.0], [0.4], [2.0]], dtype=torch.float64)
    beta, score = LAW.process.beta(t), ud.score_at(LAW, x, t)
    moved = exact_step_back(x, t, 1e-6)
    right = beta * (x / 2 + score)
    torch.testing.assert_close(moved, right, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ud.EulerMaruyama().step(LAW, State(x, t), t - 1e-3, Scripted(0.0)).x, x + 1e-3 * right)
    eq17 = beta * (x / 2 - score)  # x_t + mu d + sigma^2 s d near x_{t+d} puts the mean at x_{t+d} - mu d - sigma^2 s d
    eq18 = beta * (0.5 + score)
    assert (moved - eq17).abs().min() > 0.1
    assert (moved - eq18).abs().max() > 0.1


def test_000_eq20_gamma_plus_one():
    """gamma = -1 must be unconditional and eq. 20 must be eq. 21 (and ours, with scale = 1 + gamma)."""
    m, x, y = mixture(ud.VP()), torch.randn(6, 2).double(), torch.tensor([0, 1, 0, 1, 1, 0])
    leaf = x.clone().requires_grad_()
    classifier = torch.autograd.grad(m.posterior(leaf, 0.3).log()[torch.arange(6), y].sum(), leaf)[0]
    u, c = ud.score_at(m, x, 0.3), ud.score_at(m, x, 0.3, y)
    for gamma in (-4.0, -1.0, 0.0, 1.0):
        eq21 = (1 + gamma) * c - gamma * u
        torch.testing.assert_close((gamma + 1) * classifier + u, eq21)
        torch.testing.assert_close(ud.score_at(ud.Mix(m, m.given(None), w=gamma).given(y), x, 0.3), eq21)
        assert ((gamma - 1) * classifier + u - eq21).abs().max() > 0.1
    torch.testing.assert_close((-1 + 1) * classifier + u, u)


# 001


def test_001_eq36_the_network_sees_the_noisy_point():
    """Best multiple of the noised law's score: 1 when the network is given x-tilde, 0 when it is given x, as printed."""
    t = time(0.3)
    alpha, sigma = LAW.process(t)
    p, score = LAW.log_prob(X[:, None], t).exp(), ud.score_at(LAW, X[:, None], t)[:, 0]
    # E|c s + eps/sigma|^2 = c^2 E s^2 + 2 c E[s eps]/sigma + const; eps has mean -sigma s given x-tilde, and 0 given x.
    assert best(mean(c**2 * score**2 - 2 * c * score * score, p) for c in SCALES) == pytest.approx(1)
    clean = torch.stack([c**2 * mean(S**2) + 2 * c * mean(S) * 0 / sigma for c in SCALES])
    assert SCALES[clean.argmin()].item() == pytest.approx(0) and alpha > 0


def test_001_eq311_each_term_has_its_own_level():
    """1/T sum sigma_t^2 l(sigma_t): with one sigma in every l, the sum is another number."""
    sigmas, var = torch.tensor([1.0, 0.5, 0.25, 0.125], dtype=torch.float64), 0.25
    loss = 0.5 * (1 / sigmas**2 - 1 / (var + sigmas**2))  # DSM of the best score for Gaussian data, in closed form
    right, printed = (sigmas**2 * loss).mean(), (sigmas**2 * loss[0]).mean()
    assert (sigmas**2 * loss).max() / (sigmas**2 * loss).min() < 5 < loss.max() / loss.min()  # what sigma^2 is there for
    assert abs(right / printed - 1) > 0.5


def test_001_k_moves_at_each_of_t_levels():
    assert ud.AnnealedLangevin(corrections=7).evaluations(10) == 7 * 10 + 1  # and the denoised mean


def test_001_eq43_and_44_the_bound_is_above():
    """The bound on the negative log-likelihood is an upper one, and what is minimised is the negative log-likelihood."""
    for n in (30, 300):
        result = gaussian_bound(n)
        assert result["bound"] > result["entropy"]


def test_001_eq46_the_product_runs_over_i():
    betas, bars = table()
    ours = ud.DDPM().alpha(time(0.5)) ** 2
    assert ours.item() == pytest.approx(bars[499].item(), rel=1e-9)
    assert abs(((1 - betas[499]) ** 500) / bars[499] - 1) > 0.5  # printed: (1 - beta_t)^t


def test_001_eq411_one_half_and_it_is_l0():
    law = torch.distributions.Normal(torch.tensor(0.2).double(), 0.3)
    cost = law.log_prob(torch.tensor(0.2).double()) - law.log_prob(torch.tensor(0.7).double())
    assert cost.item() == pytest.approx(0.5**2 / (2 * 0.3**2)) and cost.item() != pytest.approx(0.5**2 / 0.3**2, rel=0.1)


def test_001_sec51_variance_and_gradient():
    """x_t has variance 1 - bar, not its root; and the score is the gradient in x-tilde, not in x_0 (another sign, a factor)."""
    process, t = ud.DDPM(), time(0.2)
    zero, one = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    bar = table()[1][199].item()
    std = process.perturb(zero, t, one).item()
    assert std**2 == pytest.approx(1 - bar) and std**2 != pytest.approx(math.sqrt(1 - bar), rel=0.1)
    x0, x = torch.tensor(0.4, requires_grad=True), torch.tensor(-0.3, requires_grad=True)
    log_p = torch.distributions.Normal(bar**0.5 * x0, (1 - bar) ** 0.5).log_prob(x)
    by_x0, by_x = torch.autograd.grad(log_p, (x0, x))
    assert by_x.item() == pytest.approx(-(-0.3 - bar**0.5 * 0.4) / (1 - bar), rel=1e-5)
    assert by_x0.item() == pytest.approx(-(bar**0.5) * by_x.item(), rel=1e-5)


def test_001_eq51_and_52_equal_up_to_known_factors():
    """Sum_t L-tilde_t = 2 T L_denoise once x is divided by sqrt(bar): the printed equals sign drops 2, T and the rescaling."""
    chain, x0, eps = ud.DDPM(50, 1e-3, 0.2), torch.randn(64, 2).double(), torch.randn(64, 2).double()
    levels = chain.levels.flip(0)[1:]
    ve, denoiser = ud.Karras(t_min=0.0, t_max=1e4), mixture(chain)
    simple, smld = [], []
    for t in levels:
        alpha, sigma = chain(t)
        simple.append((eps - denoiser(chain.perturb(x0, t, eps), t).noise).square().sum(1).mean())
        level = sigma / alpha  # the sigma of SMLD at which the rescaled point x / alpha lies
        score = ud.score_at(ud.Rescaled(denoiser, ve), x0 + level * eps, level)
        smld.append(level**2 * 0.5 * (score + eps / level).square().sum(1).mean())
    simple, smld = torch.stack(simple).sum(), torch.stack(smld).mean()
    assert simple.item() == pytest.approx((2 * 50 * smld).item(), rel=1e-6)
    assert abs(simple / smld - 1) > 10


def test_001_sec52_the_chain_uses_the_previous_state():
    process, x = ud.DDPM(), torch.full((1, 1), 2.0).double()
    beta = table()[0][99].item()
    moved = process.transition(x, 0.099, 0.1, torch.ones(1, 1).double()).item()
    assert moved == pytest.approx(math.sqrt(1 - beta) * 2 + math.sqrt(beta))


# 002


def test_002_ve_diffusion_has_a_root():
    """int g^2 dt must be sigma_max^2 - sigma_min^2 = 2500 for sigma from .01 to 50; the printed g gives 5e7."""
    ve = ud.VE(0.01, 50.0)
    t = torch.linspace(0, 1, 20001, dtype=torch.float64)
    rate = 2 * ve.sigma(t) * ve.rates(t)[1]  # d sigma^2 / dt
    assert torch.trapezoid(ve.diffusion(t) ** 2, t).item() == pytest.approx(2500, rel=1e-3)
    assert torch.trapezoid(rate**2, t).item() > 1e7


def posterior_by_bayes(i, x0, x):
    """Mean and standard deviation of q(x_{i-1} | x_i, x_0) on a grid, from the two forward kernels alone."""
    betas, bars = table()
    beta, before = betas[i - 1].item(), bars[i - 2].item()
    centre = x / math.sqrt(1 - beta)
    y = torch.linspace(centre - 2, centre + 2, 40001, dtype=torch.float64)
    log_q = -((y - before**0.5 * x0) ** 2) / (2 * (1 - before)) - (x - (1 - beta) ** 0.5 * y) ** 2 / (2 * beta)
    q = (log_q - log_q.max()).exp()
    q = q / torch.trapezoid(q, y)
    mu = torch.trapezoid(q * y, y)
    return mu.item(), torch.trapezoid(q * (y - mu) ** 2, y).sqrt().item()


def test_002_the_posterior_mean():
    """Slides A, B and the summary print three means; Bayes on a grid, 001 eq. 4.5 and `bridge` agree on a fourth."""
    i, x0, x = 500, 0.5, 0.4
    betas, bars = (v.tolist() for v in table())
    beta, bar, before = betas[i - 1], bars[i - 1], bars[i - 2]
    alpha, kept = 1 - beta, (1 - before) / (1 - bar)
    truth, _ = posterior_by_bayes(i, x0, x)
    right = before**0.5 * beta / (1 - bar) * x0 + alpha**0.5 * kept * x
    assert right == pytest.approx(truth, rel=1e-6)
    process, t, s = ud.DDPM(), time(i / 1000), time((i - 1) / 1000)
    start = torch.full((1, 1), x0).double()
    pair = ud.Prediction(start, (x - process.alpha(t) * start) / process.sigma(t))
    assert bridge(process, pair, t, s, 1.0, Scripted(0.0)).item() == pytest.approx(right, rel=1e-9)
    printed = {
        "A": beta**0.5 * kept * x + beta**0.5 * before / (1 - bar) * x0,
        "B": bar**0.5 * kept * x + bar**0.5 * before / (1 - bar) * x0,
        "summary": alpha**0.5 * (kept * x + (before * beta) ** 0.5 / (1 - bar) * x0),
    }
    assert all(abs(value - truth) > 0.01 for value in printed.values()), printed


def test_002_the_noise_of_the_update():
    i = 500
    betas, bars = (v.tolist() for v in table())
    beta, bar, before = betas[i - 1], bars[i - 1], bars[i - 2]
    _, truth = posterior_by_bayes(i, 0.5, 0.4)
    assert math.sqrt((1 - before) / (1 - bar) * beta) == pytest.approx(truth, rel=1e-4)
    assert math.sqrt(beta / (1 - bar)) * beta < 0.02 * truth  # printed
    start = torch.zeros(1, 1).double()
    pair = ud.Prediction(start, start)
    ours = bridge(ud.DDPM(), pair, time(i / 1000), time((i - 1) / 1000), 1.0, Scripted(1.0)).item()
    assert ours == pytest.approx(truth, rel=1e-4)


def test_002_the_summary_needs_the_cumulative_product():
    betas, bars = table()
    assert ud.DDPM().alpha(time(0.5)).item() == pytest.approx(bars[499].sqrt().item())
    assert abs((1 - betas[499]).sqrt() - bars[499].sqrt()) > 0.5


def test_002_the_whole_drift_is_multiplied_by_dt():
    """(f - g^2 s) dt, not f - g^2 s dt: the mean moves by nothing as dt falls, but printed it keeps moving by f."""
    t, x = time(0.4), torch.tensor([[2.0]], dtype=torch.float64)
    f, g2, s = LAW.process.drift(t) * x, LAW.process.diffusion(t) ** 2, ud.score_at(LAW, x, t)
    for gap in (1e-3, 1e-5):
        moved = -exact_step_back(x, t, gap) * gap
        assert (moved - (f - g2 * s) * gap).abs() < 40 * gap**1.5
        assert (moved - (f - g2 * s * gap)).abs() > 0.9 * f.abs()


def test_002_the_true_posterior_has_no_parameters():
    """q(x_s | x_t, x_0) is a function of the process alone: `bridge` needs no network."""
    x0, t, s = torch.full((1, 1), 0.5).double(), time(0.5), time(0.4)
    pair = ud.Prediction(x0, x0)
    assert torch.isfinite(bridge(ud.VP(), pair, t, s, 1.0, Scripted(0.0))).all()


def inpaint(m, values, mask, noise, moves=20):
    """002's Algorithm 2, as printed: the known pixels are overwritten by noisy copies of themselves in every move."""
    levels = m.process.levels
    x = m.process.prior(values, noise)
    for i, t in enumerate(levels[:-1]):
        y = values + m.process.sigma(t) * noise.fold("known", i).normal(values)
        for j in range(moves):
            x = ud.Langevin(0.21)(m, State(x, t), noise.fold("move", i, j)).x
            x = torch.where(mask, y, x)
    return x


def test_002_inpainting_returns_the_known_pixels_with_noise():
    """As printed the known entries end at x + sigma_L z; resetting them there makes them exact. Random: factor 2 of slack."""
    m, n = mixture(ud.SMLD(6, 0.2, 3.0)), 200
    values, mask = torch.full((n, 2), 1.2).double(), torch.tensor([True, False])
    x = inpaint(m, values, mask, ud.Noise(range(n)))
    error = (x - values)[:, 0].square().mean().sqrt()
    assert 0.1 < error < 0.4  # sigma_L = 0.2
    assert torch.equal(torch.where(mask, values, x)[:, 0], values[:, 0])


# 003


def test_003_eq9_and_15_the_noise_is_multiplied_by_g():
    """One step back on a Gaussian keeps its marginal (to first order) with g dw, and not with dw."""
    m, t, gap = ud.GaussianMixture(torch.zeros(1, 1), 0.5, None, ud.VE(0.01, 30.0)), time(0.8), 1e-4
    variance = [0.25 + m.process.sigma(s) ** 2 for s in (t, t - gap)]
    one, zero = torch.ones(1, 1).double(), torch.zeros(1, 1).double()
    gain = ud.EulerMaruyama().step(m, State(one, t), t - gap, Scripted(0.0)).x.item()
    spread = ud.EulerMaruyama().step(m, State(zero, t), t - gap, Scripted(1.0)).x.item()
    assert spread == pytest.approx(m.process.diffusion(t).item() * gap**0.5, rel=1e-9)
    change = (variance[1] - variance[0]).item()
    assert (gain**2 - 1) * variance[0].item() + spread**2 == pytest.approx(change, rel=1e-2)
    assert (gain**2 - 1) * variance[0].item() + gap < 1.5 * change  # printed: shrinks twice too fast (change < 0)


def test_003_sec4_the_score_given_the_class():
    """grad log p(x | y) = grad log p(x) + grad log p(y | x); the last term alone is not it."""
    m, x, y = mixture(ud.VP()), torch.randn(6, 2).double(), torch.tensor([0, 1, 0, 1, 1, 0])
    leaf = x.clone().requires_grad_()
    classifier = torch.autograd.grad(m.posterior(leaf, 0.3).log()[torch.arange(6), y].sum(), leaf)[0]
    given = ud.score_at(m.given(y), x, 0.3)
    torch.testing.assert_close(given, ud.score_at(m, x, 0.3) + classifier)
    assert (given - classifier).abs().max() > 0.1


def test_003_alg3_either_order():
    """The text says predictor first, Algorithm 3 corrector first: an option, and two different samplers."""
    m, t, s = mixture(ud.VP()), time(0.5), time(0.4)
    x, noise = torch.randn(4, 2).double(), ud.Noise(range(4))
    first, then = (
        ud.PredictorCorrector(ud.Ancestral(), corrector_first=b).step(m, State(x, t), s, noise).x for b in (True, False)
    )
    assert (first - then).abs().max() > 1e-3


def test_003_alg4_returning_the_last_noise_is_visible():
    """Algorithm 4 returns the noisy state; its last step's noise is .234, .100, .032, .011 for 20, 50, 200, 1000 steps.

    (The numbers are those of 000's VP with even steps, where it is called grainy.) Ours end at the denoised mean.
    """
    vp = ud.VP()
    for n, printed in ((20, 0.234), (50, 0.100), (200, 0.032), (1000, 0.011)):
        assert vp.diffusion(time(1 / n)).item() * n**-0.5 == pytest.approx(printed, abs=6e-4)
    m, t = mixture(vp), time(0.05)
    x, grid = torch.randn(4, 2).double(), torch.tensor([0.05, 0.0], dtype=torch.float64)
    *_, last = ud.EulerMaruyama()(m, State(x, t), grid, ud.Noise(range(4)))
    torch.testing.assert_close(last.x, m(x, t).data)


def test_003_algs_2_to_4_their_sigma_is_the_diffusion():
    """dx = 25^t dw: the marginal variance is the integral of sigma(t)^2, not sigma(t)^2."""
    sde, t = ud.LinearSDE(lambda t: torch.zeros_like(t), lambda t: 25.0**t), time(1.0)
    assert sde.sigma(t).item() ** 2 == pytest.approx((25**2 - 1) / (2 * math.log(25)), rel=1e-9)
    assert sde.sigma(t).item() ** 2 < 0.2 * 25**2


# 004


def test_004_the_additive_chain_starts_wide():
    """x_t = x_0 + alpha_t eps starts at N(0, alpha_T^2 I), not N(0, I). Random: two-sample test, p > 1/201, 600 samples.

    Seen by the flow, which remembers its start; re-noising at each step, as the slide does, forgives most of it.
    """
    m, n = mixture(ud.SMLD(60, 0.05, 20.0)), 600
    noise = ud.Noise(range(n))
    start, truth = m.process.prior(torch.empty(n, 2, dtype=torch.float64), noise), m.sample(n, noise.fold("truth"))
    assert abs(start.std().item() / 20 - 1) < 5 / (2 * 2 * n) ** 0.5
    ends = []
    for x in (start, start / 20):
        *_, last = ud.Ancestral(0)(m, State(x, m.process.levels[0]), m.process.levels, noise)
        ends.append(last.x)
    assert same_law(ends[0], truth) > 1 / 201
    assert same_law(ends[1], truth) <= 1 / 201  # printed


def test_004_fresh_noise_at_every_step_halves_the_variance():
    """Guess x_0, add fresh noise (printed): of N(0, v) the exact guess leaves v/2 in many steps, where the bridge leaves v. No chance."""
    variance, one, zero = 0.5, torch.ones(1, 1).double(), torch.zeros(1, 1).double()

    def left(sampler, ladder):
        m, now = ud.GaussianMixture(zero, variance**0.5, None, ladder), variance + ladder.sigma_max**2
        for t, s in pairwise(ladder.levels):
            move = sampler.step if s > 0 else sampler.finish
            gain, spread = (move(m, State(x, t), s, Scripted(z)).x.item() for x, z in ((one, 0.0), (zero, 1.0)))
            now = gain**2 * now + spread**2
        return now / variance

    ladders = [ud.SMLD(levels, 0.01, 20.0) for levels in (50, 200, 800)]
    printed = [left(ud.Renoise(), ladder) for ladder in ladders]
    assert printed == pytest.approx([variance_left(ladder, variance) for ladder in ladders])
    assert printed[-1] == pytest.approx(0.5, abs=0.01)
    assert left(ud.Ancestral(), ladders[-1]) == pytest.approx(1, abs=0.02)


def test_004_no_noise_in_the_last_step():
    process, x = ud.DDPM(20, 1e-2, 0.3), torch.randn(4, 2).double()
    m, grid = mixture(process), process.levels[-2:]
    ends = [next(ud.Ancestral()(m, State(x, grid[0]), grid, ud.Noise(range(4)).fold(k))).x for k in (1, 2)]
    assert torch.equal(*ends)


def test_004_the_score_averages_over_the_posterior():
    """grad log q(x_t) = E_{q(x_0 | x_t)} grad log q(x_t | x_0); printed with q(x_0), it is another field."""
    t, x = time(0.3), torch.tensor([-1.5, 0.2, 1.0], dtype=torch.float64)
    alpha, sigma = LAW.process(t)
    kernel = torch.exp(-((x[:, None] - alpha * X) ** 2) / (2 * sigma**2))
    conditional = -(x[:, None] - alpha * X) / sigma**2
    posterior = P * kernel / torch.trapezoid(P * kernel, X)[:, None]
    score = ud.score_at(LAW, x[:, None], t)[:, 0]
    torch.testing.assert_close(torch.trapezoid(posterior * conditional, X), score, rtol=1e-6, atol=1e-6)
    assert (torch.trapezoid(P * conditional, X) - score).abs().max() > 0.5


def test_004_one_guidance_scale():
    """(1 - gamma) u + gamma c has gamma = our scale; the trade-off slide's labels are w = scale - 1."""
    m, x, y = mixture(ud.VP()), torch.randn(6, 2).double(), torch.tensor([0, 1, 0, 1, 1, 0])
    u, c = m(x, 0.4).noise, m(x, 0.4, y).noise
    guided = ud.Mix(m, m.given(None), 3.0).given(y)(x, 0.4).noise
    torch.testing.assert_close(guided, (1 - 3) * u + 3 * c)
    torch.testing.assert_close(ud.Mix(m, m.given(None), w=2.0).given(y)(x, 0.4).noise, guided)
    assert (ud.Mix(m, m.given(None), w=3.0).given(y)(x, 0.4).noise - guided).abs().max() > 0.01
