"""Exact denoisers against brute force."""

import math

import pytest
import torch

import undrift as ud
from conftest import mixture, same_law
from undrift.process import expand

X = torch.tensor([[0.3, -0.2], [2.0, 1.0], [-1.5, 0.4]], dtype=torch.float64)


@pytest.mark.parametrize("kind", ["isotropic", "anisotropic"])
def test_density_denoiser_and_posterior_by_quadrature(kind):
    """p(x_t), E[x_0 | x_t] and p(y | x_t) by integrating over x_0 on a fine grid."""
    m = mixture(ud.VP(), kind)
    axis = torch.linspace(-6, 6, 601, dtype=torch.float64)
    x0 = torch.cartesian_prod(axis, axis)
    alpha, sigma = m.process(torch.tensor(0.3).double())
    prior = m.log_prob(x0).exp() * (axis[1] - axis[0]) ** 2
    assert prior.sum() == pytest.approx(1, abs=1e-6)
    for x in X:
        kernel = torch.exp(-((x - alpha * x0) ** 2).sum(1) / (2 * sigma**2)) / (2 * math.pi * sigma**2)
        p = (prior * kernel).sum()
        torch.testing.assert_close(m.log_prob(x[None], 0.3)[0], p.log(), rtol=1e-7, atol=1e-7)
        torch.testing.assert_close(m(x[None], 0.3).data[0], (prior * kernel)[:, None].mul(x0).sum(0) / p, rtol=1e-6, atol=1e-7)
        one = mixture(ud.VP(), kind)
        one.log_weights = torch.tensor([0.3, 1e-300]).double().log()
        share = (one.log_prob(x0).exp() * (axis[1] - axis[0]) ** 2 * kernel).sum() / p
        torch.testing.assert_close(m.posterior(x[None], 0.3)[0, 0], share, rtol=1e-6, atol=1e-8)


def test_condition_is_the_component(process, times):
    m, x = mixture(process), torch.randn(len(times), 2, dtype=torch.float64)
    alone = ud.GaussianMixture(m.means[1:], torch.tensor([[[0.10, -0.05], [-0.05, 0.40]]]), process=process)
    y = torch.ones(len(times), dtype=torch.int64)
    for a, b in zip(m(x, times, y), alone(x, times), strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(m.log_prob(x, times, y), alone.log_prob(x, times))
    torch.testing.assert_close(m(x, times, -y).data, m(x, times).data)


def test_bayes_ties_density_posterior_and_condition(times, process):
    m, x = mixture(process), torch.randn(len(times), 2, dtype=torch.float64)
    y = torch.zeros(len(times), dtype=torch.int64)
    joint = m.log_prob(x, times, y) + math.log(0.3)
    torch.testing.assert_close(m.posterior(x, times)[:, 0], (joint - m.log_prob(x, times)).exp())


def test_labels_group_components():
    m = ud.GaussianMixture([[-2.0], [0.0], [2.0]], 0.1, [1, 2, 1], labels=[0, 1, 0])
    assert m.classes == 2
    torch.testing.assert_close(
        m.posterior(torch.tensor([[-2.0], [0.0], [2.0]])), torch.tensor([[1.0, 0], [0, 1], [1, 0]]).double()
    )
    assert m(torch.zeros(1, 1).double(), 1.0, torch.tensor([0])).data.abs() < 1e-6
    with pytest.raises(ValueError, match="class 2 is not one of the 2"):
        m(torch.zeros(1, 1), 0.5, torch.tensor([2]))


@pytest.mark.parametrize("kind", ["isotropic", "anisotropic"])
def test_samples_follow_the_law(kind):
    m = mixture(kind=kind)
    x = m.sample(4000, ud.Noise(range(4000)))
    right = (m.posterior(x)[:, 0] > 0.5).double().mean()
    assert abs(right - 0.3) < 5 * (0.21 / 4000) ** 0.5
    y = m.draw(torch.ones(4000, dtype=torch.int64), ud.Noise(range(4000)).fold("y"))
    reference = torch.tensor([[0.16, 0], [0, 0.16]]) if kind == "isotropic" else torch.tensor([[0.10, -0.05], [-0.05, 0.40]])
    torch.testing.assert_close(y.T.cov(), reference.double(), atol=0.05, rtol=0)
    assert (
        same_law(
            m.sample(800, ud.Noise(range(800)).fold("p"), 0.4),
            m.process.perturb(x[:800], 0.4, torch.randn(800, 2, generator=torch.Generator().manual_seed(3)).double()),
        )
        > 0.005
    )


def test_images_are_vectors_with_a_shape():
    means = torch.randn(3, 2, 3, 4, dtype=torch.float64)
    m, flat = ud.GaussianMixture(means, 0.2), ud.GaussianMixture(means.flatten(1), 0.2)
    x = torch.randn(5, 2, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(m(x, 0.4).data.flatten(1), flat(x.flatten(1), 0.4).data)
    with pytest.raises(ValueError, match=r"this mixture wants \(B, 2, 3, 4\)"):
        m(x.flatten(1), 0.4)


def test_empirical_is_the_weighted_training_set(process, times):
    points = torch.randn(100, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = process.perturb(points[: len(times)], times, torch.randn(len(times), 6, dtype=torch.float64))
    alpha, sigma = (expand(c, x) for c in process(times))
    weight = (-((x[:, None] - alpha[..., None] * points) ** 2).sum(-1) / (2 * sigma**2)).softmax(1)
    prediction = ud.Empirical(points, process)(x, times)
    torch.testing.assert_close(prediction.data, weight @ points, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(prediction.noise, (x - alpha * (weight @ points)) / sigma, rtol=1e-5, atol=1e-5)


def test_sampling_the_empirical_denoiser_returns_training_points():
    points = torch.randn(100, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = ud.sample(ud.Empirical(points), 64, steps=40, like=points)
    assert torch.cdist(x, points).min(1).values.max() < 1e-3


def test_empirical_conditions_on_labels():
    points = torch.tensor([[0.0], [1.0], [10.0]])
    e = ud.Empirical(points, labels=[0, 0, 1])
    assert e(torch.zeros(1, 1), 1.0, torch.tensor([1])).data.item() == pytest.approx(10)
    assert e(torch.zeros(1, 1), 1.0, torch.tensor([0])).data.item() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (([1.0, 2.0], 0.1), "at least one component"),
        (([[1.0], [2.0]], [0.1, 0.2, 0.3]), "must be a number"),
        (([[1.0]], -0.1), "must not be negative"),
        (([[1.0, 0.0]], [[[1.0, 0.9], [0.1, 1.0]]]), "symmetric"),
        (([[1.0, 0.0]], [[[1.0, 2.0], [2.0, 1.0]]]), "symmetric and positive"),
        (([[1.0], [2.0]], 0.1, [1.0, 0.0]), "2 positive numbers"),
        (([[1.0], [2.0]], 0.1, None, None, [0, -1]), "class numbers"),
    ],
)
def test_illegal_mixtures(args, message):
    with pytest.raises(ValueError, match=message):
        ud.GaussianMixture(*args)


def test_the_conditional_by_quadrature():
    """p(x_2 | x_1 = v) is p(v, x_2) over its integral, for full and isotropic covariances; the known entry may be either."""
    axis = torch.linspace(-6, 6, 1201, dtype=torch.float64)
    for kind, known in (("anisotropic", 0), ("anisotropic", 1), ("isotropic", 0)):
        m, mask = mixture(kind=kind), torch.tensor([known == 0, known == 1])
        for v in (-1.2, 0.4, 2.0):
            points = torch.full((len(axis), 2), v, dtype=torch.float64)
            points[:, 1 - known] = axis
            joint = m.log_prob(points).exp()
            exact = joint / (joint.sum() * (axis[1] - axis[0]))
            found = m.conditional(torch.full((2,), v), mask)
            assert found.shape == (1,)
            torch.testing.assert_close(found.log_prob(axis[:, None]).exp(), exact, rtol=1e-6, atol=1e-8)


def test_the_conditional_of_the_conditional_is_the_conditional():
    """Two entries known, one after the other or at once; shapes, labels and process are kept."""
    a = torch.randn(3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    m = ud.GaussianMixture(torch.randn(3, 2, 2), a @ a.mT + torch.eye(4), [1, 2, 3], ud.VE(), [0, 1, 0])
    values = torch.tensor([[0.3, -0.7], [float("nan"), float("nan")]])
    at_once = m.conditional(values, torch.tensor([[True, True], [False, False]]))
    first = m.conditional(values, torch.tensor([[True, False], [False, False]]))
    after = first.conditional(torch.tensor([-0.7, 0, 0]), torch.tensor([True, False, False]))
    x = torch.randn(5, 2, dtype=torch.float64)
    torch.testing.assert_close(at_once.log_prob(x, 0.3), after.log_prob(x, 0.3))
    torch.testing.assert_close(at_once.posterior(x), after.posterior(x))
    assert at_once.process == m.process


def test_what_cannot_be_conditioned_on():
    m, mask = mixture(), torch.tensor([True, False])
    for args in ((torch.zeros(3), mask), (torch.zeros(2), mask.double()), (torch.zeros(2), mask | True)):
        with pytest.raises(ValueError, match="bool `mask`"):
            m.conditional(*args)
    with pytest.raises(ValueError, match="without any spread"):
        ud.Empirical(torch.randn(4, 2)).conditional(torch.zeros(2), mask)
