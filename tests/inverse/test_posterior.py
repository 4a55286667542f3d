"""Posteriors against closed forms: where a method is exact it must be so to rounding, elsewhere it must be near."""

import math

import pytest
import torch

import undrift as ud
from conftest import PROCESSES, Counted, mixture, same_law
from undrift import inverse as inv
from undrift.guidance.shift import REACH, shifted, within_reach
from undrift.inverse.method import conjugate_gradients, minimal_residual
from undrift.process import as_time, expand

DOUBLE = torch.empty(0, dtype=torch.float64)
NOISE = ud.Noise(range(6))
A = ud.Noise(range(3)).fold("A").normal(torch.empty(3, 4).double())
Y = torch.tensor([0.7, -0.4, 1.1], dtype=torch.float64)
X = NOISE.fold("x").normal(torch.empty(6, 4).double())
STD = 0.3
ALL = [inv.MMPS(), inv.TMPD(), inv.PiGDM(), inv.DPS(), inv.DiffPIR()]


def gaussian(process=None, covariance=None):
    root = ud.Noise(range(4)).fold("root").normal(torch.empty(4, 4).double())
    return ud.GaussianMixture(
        torch.tensor([[0.5, -0.3, 0.2, 0.1]]), (root @ root.mT / 3 if covariance is None else covariance)[None], process=process
    )


def kind(method):
    return type(method).__name__


def test_the_exact_posterior_by_quadrature():
    """Weights, means and covariances of `given_observation` by Bayes on a fine grid; for full and isotropic components."""
    axis = torch.linspace(-6, 6, 801, dtype=torch.float64)
    x0 = torch.cartesian_prod(axis, axis)
    matrix, y, std = torch.tensor([[1.0, -0.7], [0.2, 0.4], [0.5, 0.0]], dtype=torch.float64), Y, 0.4
    for which in ("anisotropic", "isotropic"):
        prior = mixture(ud.VP(), which)
        weight = (prior.log_prob(x0) - 0.5 * ((y - x0 @ matrix.mT) / std).square().sum(1)).softmax(0)
        found = prior.given_observation(matrix, y, std)
        mean = weight @ x0
        torch.testing.assert_close(found(torch.zeros(1, 2).double(), 1.0).data[0], mean, atol=2e-2, rtol=0)
        exact = found.log_prob(x0).exp() * (axis[1] - axis[0]) ** 2
        torch.testing.assert_close(exact, weight, rtol=1e-6, atol=1e-12)
        first = (prior.posterior(x0)[:, 0] * weight).sum()
        torch.testing.assert_close(found.log_weights.exp()[0], first, rtol=1e-6, atol=1e-9)
    with pytest.raises(ValueError, match="must be"):
        prior.given_observation(matrix.mT, y, std)
    with pytest.raises(ValueError, match="positive"):
        prior.given_observation(matrix, y, 0.0)


def test_mmps_is_exact_for_a_gaussian_prior(process, times):
    """To 1e-6 at every time within reach, both halves; beyond, as near as a sample at REACH is to pure noise."""
    prior = gaussian(process)
    exact, guided = (prior.given_observation(A, Y, STD), ud.Posterior(prior, inv.matrix(A), Y, STD, inv.MMPS(3)))
    for t in (*times, torch.tensor(process.t_min).double(), torch.tensor(process.t_max).double()):
        alpha, sigma = process(t)
        x = alpha * X[:, :1] + (alpha + sigma) * X
        found, wanted = guided(x, t), exact(x, t)
        near = sigma <= REACH * alpha
        torch.testing.assert_close(found.data, wanted.data, rtol=0, atol=1e-6 if near else 5 / REACH)
        torch.testing.assert_close(found.noise, wanted.noise, rtol=0, atol=1e-6 if near else 5 / REACH**2)


@pytest.mark.parametrize("method", ALL, ids=kind)
def test_each_method_keeps_the_sum_and_is_finite_everywhere(method, process):
    """x_t = alpha data + sigma noise; finite at both ends, one time for all and one each, in single precision too."""
    prior = mixture(process)
    guided = ud.Posterior(prior, inv.matrix(A[:, :2]), Y, STD, method)
    ends = torch.tensor([process.t_min, process.t_max, (process.t_min + process.t_max) / 2]).double()
    for t in (*ends, ends[[0, 1, 2, 0, 1, 2]]):
        alpha, sigma = process(as_time(t, X))
        for dtype in (torch.float64, torch.float32):
            x = (process.perturb(X[:, :2], t, NOISE.fold("eps").normal(X[:, :2]))).to(dtype)
            data, noise = guided(x, t)
            assert torch.isfinite(data).all() and torch.isfinite(noise).all() and data.dtype == dtype
            assert not data.requires_grad
            rebuilt = expand(alpha, x) * data + expand(sigma, x) * noise
            torch.testing.assert_close(rebuilt, x, rtol=1e-4, atol=1e-4 * (1 + float(sigma.max())))


@pytest.mark.parametrize("name", ["VP", "Rectified", "Karras"])
def test_pigdm_is_exact_for_an_isotropic_prior(name):
    """N(mean, v I): r^2 = v s^2 / (v + s^2) is then the true variance, at v = 1 the paper's."""
    for v in (1.0, 0.36):
        prior = gaussian(PROCESSES[name], v * torch.eye(4).double())
        exact, guided = prior.given_observation(A, Y, STD), ud.Posterior(prior, inv.matrix(A), Y, STD, inv.PiGDM(v))
        wrong = ud.Posterior(prior, inv.matrix(A), Y, STD, inv.PiGDM(2 * v))
        for u in (0.1, 0.3, 0.6):
            t = u * prior.process.t_max
            torch.testing.assert_close(guided(X, t).data, exact(X, t).data, rtol=0, atol=1e-8)
            assert (wrong(X, t).data - exact(X, t).data).abs().max() > 1e-3


def test_tmpd_is_exact_where_measured_entries_are_independent():
    prior = gaussian(ud.VP(), torch.diag(torch.tensor([0.3, 1.0, 2.0, 0.1]).double()))
    keep = torch.tensor([1.0, 0.0, 1.0, 1.0])
    guided = ud.Posterior(prior, inv.mask(keep), Y, STD, inv.TMPD())
    exact = prior.given_observation(torch.eye(4).double()[keep.bool()], Y, STD)
    torch.testing.assert_close(guided(X, 0.4).data, exact(X, 0.4).data, rtol=0, atol=1e-8)


def test_dps_is_the_gradient_of_the_plain_likelihood_once_the_residual_is_the_noise():
    prior, operator = mixture(ud.VP()), inv.matrix(A[:, :2])
    x = X[:, :2].clone().requires_grad_()
    residual = Y - operator(prior(x, 0.4).data)
    plain = torch.autograd.grad(-0.5 * residual.square().sum() / STD**2, x)[0]
    found = ud.Posterior(prior, operator, Y, STD, inv.DPS(0.7))(x.detach(), 0.4)
    alpha, sigma = prior.process(torch.tensor(0.4).double())
    shift = (found.data - prior(x.detach(), 0.4).data) * alpha / sigma**2
    rms = residual.detach().square().mean(1, keepdim=True).sqrt()
    torch.testing.assert_close(shift, 0.7 * plain * STD / rms)


def test_diffpir_is_the_proximal_step_and_needs_no_gradient():
    prior, operator, weight = mixture(ud.Karras()), inv.matrix(A[:, :2]), 2.5

    class Blind(ud.AnyDenoiser):
        process, shape = prior.process, prior.shape

        def forward(self, x, t, cond=None):
            assert not torch.is_grad_enabled()
            return prior(x, t)

    t = torch.tensor(0.8).double()
    m = prior(X[:, :2], t).data
    r2 = t**2 / weight
    system = A[:, :2].mT @ A[:, :2] / STD**2 + torch.eye(2) / r2
    wanted = torch.linalg.solve(system, (A[:, :2].mT @ Y / STD**2 + m / r2).mT).mT
    found = ud.Posterior(Blind(), operator, Y, STD, inv.DiffPIR(weight))(X[:, :2], t)
    torch.testing.assert_close(found.data, wanted)


def test_the_shift_is_bayes():
    """With the true gradient of log p(y | x_t) the shifted prediction is the posterior's; a wrong sign or alpha is seen."""
    prior = gaussian(ud.VP())
    exact = prior.given_observation(A, Y, STD)
    t = torch.tensor(0.3).double()
    grad = ud.score_at(exact, X, t) - ud.score_at(prior, X, t)
    for half, wanted in zip(shifted(prior(X, t), prior.process, X, t, grad), exact(X, t), strict=True):
        torch.testing.assert_close(half, wanted)
    near, same = within_reach(prior.process, X, t)
    assert near is X and same == t


def test_beyond_reach_the_sample_is_taken_nearer():
    process = ud.Rectified()
    x, t = within_reach(process, X, torch.tensor([0.5, 0.9, 0.999, 1.0, 1.0, 0.2]).double())
    alpha, sigma = process(t)
    torch.testing.assert_close((sigma / alpha)[[2, 3, 4]], torch.full((3,), REACH).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(x[[0, 1, 5]], X[[0, 1, 5]])
    torch.testing.assert_close(x[3] / X[3], (alpha**2 + sigma**2).sqrt()[3].expand(4))


@pytest.mark.parametrize("sampler", [ud.Ancestral(), ud.EulerMaruyama(), ud.DPM2M(), ud.Heun()], ids=kind)
def test_samples_of_a_gaussian_posterior(sampler):
    """Two-sample tests against the exact posterior; each is a false alarm with probability 1/201."""
    prior = gaussian(ud.VP())
    exact = prior.given_observation(A, Y, STD).sample(500, ud.Noise(range(500)).fold("truth"))
    guided = ud.Posterior(prior, inv.matrix(A), Y, STD, inv.MMPS(3))
    drawn = ud.sample(guided, 500, sampler, 200 if sampler.stochastic else 40, batch_size=500, like=DOUBLE)
    assert same_law(drawn, exact) > 1 / 201
    assert same_law(drawn, prior.sample(500, ud.Noise(range(500)))) == 1 / 201


@pytest.mark.parametrize("method", ALL, ids=kind)
def test_every_method_is_nearer_to_the_posterior_than_the_prior_is(method):
    """Energy distance on a mixture, at most a fifth of the prior's; the wrong sign goes the other way."""
    prior = mixture(ud.Karras())
    operator, y, std = inv.mask(torch.tensor([1.0, 0.0])), torch.tensor([0.4]), 0.3
    exact = prior.given_observation(torch.tensor([[1.0, 0.0]]), y, std).sample(400, ud.Noise(range(400)).fold("truth"))

    def far(x):
        return (2 * torch.cdist(x, exact).mean() - torch.cdist(x, x).mean() - torch.cdist(exact, exact).mean()).item()

    class Away:
        through = method.through

        def __call__(self, view):
            return -method(view)

    def draw(how):
        return ud.sample(ud.Posterior(prior, operator, y, std, how), 400, ud.Ancestral(), 60, batch_size=400, like=DOUBLE)

    before = far(prior.sample(400, ud.Noise(range(400))))
    assert far(draw(method)) < 0.2 * before
    assert far(draw(Away())) > 0.8 * before


def test_two_measurements_are_a_posterior_of_a_posterior():
    prior, other, z = gaussian(ud.VP()), torch.tensor([[0.5, 1.0, -1.0, 0.3]]).double(), torch.tensor([0.6]).double()
    once = ud.Posterior(prior, inv.matrix(A), Y, STD, inv.MMPS(3))
    twice = ud.Posterior(once, inv.matrix(other), z, 0.2, inv.MMPS(1))
    exact = prior.given_observation(A, Y, STD).given_observation(other, z, 0.2)
    torch.testing.assert_close(twice(X, 0.4).data, exact(X, 0.4).data, rtol=0, atol=1e-6)


def test_a_curved_measurement():
    """y = |x|^2 in the plane: samples come to lie on the circle, whose radius the prior alone does not know."""
    prior = ud.GaussianMixture([[0.0, 0.0]], 1.0, process=ud.VP())
    radius = inv.Operator(lambda x: x.square().sum(1, keepdim=True), (2,), linear=False)
    for method in (inv.MMPS(), inv.PiGDM(), inv.DPS()):
        drawn = ud.sample(
            ud.Posterior(prior, radius, torch.tensor([4.0]), 0.1, method), 100, ud.Ancestral(), 80, batch_size=100, like=DOUBLE
        )
        assert (drawn.norm(dim=1) - 2).abs().mean() < 0.1
        assert drawn.mean(0).norm() < 0.6  # all around the circle


@pytest.mark.parametrize("method", ALL, ids=kind)
def test_rows_do_not_meet_and_each_may_have_its_own_y(method):
    prior, operator = mixture(ud.VP()), inv.matrix(A[:, :2])
    y = Y + NOISE.fold("y").normal(torch.empty(6, 3).double())
    together = ud.Posterior(prior, operator, y, STD, method)(X[:, :2], 0.4).data
    for i in range(6):
        alone = ud.Posterior(prior, operator, y[i], STD, method)(X[i : i + 1, :2], 0.4).data
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-12, atol=1e-12)
    one = ud.Posterior(prior, operator, y[:1], STD, method)(X[:, :2], 0.4).data
    torch.testing.assert_close(one[0], together[0])


def test_a_condition_reaches_the_prior():
    prior, labels = mixture(ud.VP()), torch.tensor([0, 1, 0, 1, 0, 1])
    operator = inv.matrix(A[:, :2])
    guided = ud.Posterior(prior, operator, Y, STD, inv.MMPS()).given(labels)(X[:, :2], 0.4).data
    for label in (0, 1):
        alone = ud.Posterior(prior.given(torch.tensor(label)), operator, Y, STD, inv.MMPS())(X[:, :2], 0.4).data
        torch.testing.assert_close(guided[labels == label], alone[labels == label])


def test_evaluations():
    for method in ALL:
        counted = Counted(mixture(ud.VP()))
        ud.Posterior(counted, inv.matrix(A[:, :2]), Y, STD, method)(X[:, :2], 0.4)
        assert counted.calls == 1


def test_conjugate_gradients_solve_and_stop_row_by_row():
    root = NOISE.fold("root").normal(torch.empty(6, 5, 5).double())
    systems, b = root @ root.mT + 0.1 * torch.eye(5), NOISE.normal(torch.empty(6, 5).double())
    solve = conjugate_gradients(lambda u: (systems @ u[..., None])[..., 0], b, 12)
    torch.testing.assert_close(solve, torch.linalg.solve(systems, b), rtol=1e-8, atol=1e-8)
    assert torch.equal(conjugate_gradients(lambda u: u, torch.zeros(2, 3), 5), torch.zeros(2, 3))
    signs = torch.tensor([[1.0, 2.0], [1.0, -2.0]])  # the second row meets negative curvature and stays where it was
    found = conjugate_gradients(lambda u: signs * u, torch.tensor([[1.0, 1.0], [1.0, 1.0]]), 5)
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.5], [0.0, 0.0]]))


def test_minimal_residuals_solve_any_system_and_never_make_it_worse():
    """Not symmetric, not definite: solved in as many iterations as unknowns, more do no harm, fewer leave no more than before."""
    systems, b = NOISE.fold("any").normal(torch.empty(6, 5, 5).double()), NOISE.normal(torch.empty(6, 5).double())

    def system(u):
        return (systems @ u[..., None])[..., 0]

    left = [b.norm(dim=1)]
    for iterations in (1, 2, 3, 4, 5):
        left.append((b - system(minimal_residual(system, b, iterations))).norm(dim=1))
        assert (left[-1] <= left[-2] * (1 + 1e-9)).all()
    assert left[-1].max() < 1e-8
    assert (b - system(minimal_residual(system, b, 9))).abs().max() < 1e-8
    torch.testing.assert_close(minimal_residual(lambda u: 3 * u, b, 4), b / 3)
    assert torch.equal(minimal_residual(lambda u: u, torch.zeros(2, 3), 5), torch.zeros(2, 3))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"y": torch.zeros(4)}, r"`y` has shape \(4,\); matrix gives"),
        ({"y": torch.tensor([0.0, math.nan, 0.0])}, "1 of 3 values of `y` are NaN"),
        ({"noise_std": 0.0}, "must be positive"),
        ({"noise_std": -1.0}, "must be positive"),
        ({"noise_std": math.inf}, "must be positive and finite"),
        ({"operator": inv.blur((5,), 1.0), "y": torch.zeros(5)}, "the denoiser's are"),
    ],
)
def test_mistakes(change, words):
    given = {"operator": inv.matrix(A), "y": Y, "noise_std": STD, "method": inv.MMPS(), **change}
    with pytest.raises(ValueError, match=words):
        ud.Posterior(gaussian(), **given)


@pytest.mark.parametrize(
    "make",
    [
        lambda: inv.MMPS(0),
        lambda: inv.PiGDM(-1.0),
        lambda: inv.PiGDM(iterations=0),
        lambda: inv.DPS(0.0),
        lambda: inv.DPS(math.nan),
        lambda: inv.DiffPIR(math.inf),
        lambda: inv.DiffPIR(iterations=0),
    ],
)
def test_options_of_methods_are_positive(make):
    with pytest.raises(ValueError, match="must be positive and finite, got"):
        make()


def test_whole_numbers_are_measurements_too():
    for draw in (
        lambda y: ud.sample(ud.Posterior(gaussian(), inv.matrix(A), y, STD, inv.MMPS()), 4, ud.Ancestral(), 3),
        lambda y: ud.smc(gaussian(), inv.matrix(A), y, STD, inv.MMPS(), 4, 3).x,
    ):
        torch.testing.assert_close(draw(torch.ones(3, dtype=torch.int64)), draw(torch.ones(3)))


def test_y_of_another_batch_size():
    with pytest.raises(ValueError, match="2 rows for a batch of 6"):
        ud.Posterior(gaussian(), inv.matrix(A), Y.expand(2, 3), STD, inv.MMPS())(X, 0.5)
