"""Distances against closed forms, and error bars against the spread of independent repeats."""

import math

import pytest
import torch

from undrift.evaluate.distance import Energy, Estimate, Frechet, groups


def gaussian(n, mean, root, seed):
    """`(n, d)` draws of N(mean, root root^T), their sample moments made exact."""
    z = torch.randn(n, len(mean), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    z = z - z.mean(0)
    z = z @ torch.linalg.inv(torch.linalg.cholesky(z.T.cov())).T
    return mean + z @ root.T


def exact_moments(distance, x):
    """The distance without the correction for bias: between the sample moments themselves."""
    return distance.between(x.double(), x.double() @ distance.root)


A = torch.tensor([[1.0, 0.0], [0.4, 0.7]], dtype=torch.float64)
B = torch.tensor([[0.3, 0.0], [-0.9, 1.5]], dtype=torch.float64)


def test_frechet_between_gaussians_whose_covariances_commute():
    """|m - m'|^2 + sum (s_i - s'_i)^2 for standard deviations along the same axes."""
    a, b = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64), torch.tensor([0.5, 2.5, 0.1], dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)))[0]
    shift = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    x, y = gaussian(500, shift, turn @ a.diag(), 0), gaussian(700, torch.zeros_like(shift), turn @ b.diag(), 1)
    wanted = shift.square().sum() + (a - b).square().sum()
    assert exact_moments(Frechet(y), x) == pytest.approx(wanted.item(), abs=1e-6)


def test_frechet_between_gaussians_whose_covariances_do_not_commute():
    """In the plane tr (C C')^1/2 = sqrt(tr C C' + 2 sqrt(det C C')), for any two covariances."""
    x, y = gaussian(400, torch.zeros(2, dtype=torch.float64), A, 0), gaussian(300, torch.zeros(2, dtype=torch.float64), B, 1)
    c, d = A @ A.T, B @ B.T
    assert (c @ d - d @ c).abs().max() > 0.1
    wanted = c.trace() + d.trace() - 2 * ((c @ d).trace() + 2 * (c @ d).det().sqrt()).sqrt()
    assert exact_moments(Frechet(y), x) == pytest.approx(wanted.item(), abs=1e-6)
    assert exact_moments(Frechet(x), y) == pytest.approx(wanted.item(), abs=1e-6)  # symmetric


def test_frechet_of_fewer_samples_than_dimensions():
    """All within a plane of 100 dimensions: singular covariances, the value of the plane; a set to itself is zero."""
    x, y = gaussian(40, torch.ones(2, dtype=torch.float64), A, 0), gaussian(60, torch.zeros(2, dtype=torch.float64), B, 1)
    turn = torch.linalg.qr(torch.randn(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3)))[0]
    flat = exact_moments(Frechet(y), x)
    assert exact_moments(Frechet(y @ turn.T), x @ turn.T) == pytest.approx(flat, rel=1e-5)
    wide = torch.randn(30, 100, generator=torch.Generator().manual_seed(4))
    assert exact_moments(Frechet(wide), wide.double()) == pytest.approx(0, abs=1e-5)
    assert math.isfinite(Frechet(wide)(wide[:25]).standard_error)


def test_the_correction_takes_the_bias_out_of_frechet():
    """Real against real, 60 samples in 10 dimensions: the plain value is never below 0.2, the corrected one is zero on average.

    40 repeats with a fixed seed; 5 standard errors of their mean, a false alarm in 2 million.
    """
    generator = torch.Generator().manual_seed(0)
    distance = Frechet(torch.randn(20_000, 10, generator=generator, dtype=torch.float64))
    found = [distance(torch.randn(60, 10, generator=generator, dtype=torch.float64)) for _ in range(40)]
    plain = torch.tensor([sum(e.replicates) / len(e.replicates) for e in found])
    values = torch.tensor([e.value for e in found])
    assert plain.min() > 0.2
    assert abs(values.mean()) < 5 * values.std() / 40**0.5 < 0.15


def energy_of_normals(shift, a, b):
    """Energy distance of N(shift, a^2) and N(0, b^2): E|N(m, s^2)| is the mean of a folded normal."""

    def folded(m, s):
        return s * math.sqrt(2 / math.pi) * math.exp(-(m**2) / (2 * s**2)) + m * math.erf(m / (s * math.sqrt(2)))

    return 2 * folded(shift, math.hypot(a, b)) - folded(0, a * math.sqrt(2)) - folded(0, b * math.sqrt(2))


@pytest.mark.parametrize(("shift", "a", "b"), [(0.0, 1.0, 1.0), (0.5, 1.0, 1.0), (0.0, 1.0, 2.0), (1.0, 0.5, 1.5)])
def test_energy_between_normals_on_a_line(shift, a, b):
    """Evenly spaced quantiles in place of draws, so that nothing is random; the error is O(1/n)."""

    def quantiles(n):
        return torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)

    order = torch.randperm(2000, generator=torch.Generator().manual_seed(0))
    x, y = shift + a * quantiles(2000)[order], b * quantiles(3000)
    found = Energy(y[:, None])(x[:, None])
    assert found.value == pytest.approx(energy_of_normals(shift, a, b), abs=2.5e-3)


def test_energy_of_two_points_by_hand():
    """Samples at 0 and 1 in equal number against a reference at 0: 2 * 1/2 - 2 * 1/4 n/(n - 1) - 0."""
    x = (torch.arange(40) % 2).double()[:, None]
    assert Energy(torch.zeros(7, 1))(x).value == pytest.approx(1 - 0.5 * 40 / 39)


def test_replicates_are_the_distance_without_a_group():
    """Each by brute force: the same samples with the group taken out."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(230, 3, generator=generator), torch.randn(90, 3, generator=generator) * 2
    group = groups(230)
    assert sorted(set(group.tolist())) == list(range(20))
    energy, frechet = Energy(y), Frechet(y)
    for g in (0, 7, 19):
        rest = x[group != g]
        assert energy(x).replicates[g] == pytest.approx(energy(rest).value, rel=1e-9)
        assert frechet(x).replicates[g] == pytest.approx(exact_moments(frechet, rest.double()), rel=1e-9)


@pytest.mark.parametrize("kind", [Energy, Frechet])
def test_error_bars_are_as_wide_as_the_spread_of_repeats(kind):
    """120 independent repeats: the mean error bar is within 25 % of their spread (whose own error is 6.5 %: 4 sigma)."""
    generator = torch.Generator().manual_seed(0)
    distance = kind(torch.randn(1000, 2, generator=generator))
    found = [distance(0.7 + 1.3 * torch.randn(200, 2, generator=generator)) for _ in range(120)]
    spread = torch.tensor([e.value for e in found]).std().item()
    assert sum(e.standard_error for e in found) / 120 == pytest.approx(spread, rel=0.25)


@pytest.mark.parametrize("kind", [Energy, Frechet])
def test_paired_error_bars_see_what_noise_does_to_both(kind):
    """Two settings of the same noise: the bar of the difference has the spread of repeats, far below that of either figure."""
    generator = torch.Generator().manual_seed(1)
    distance = kind(torch.randn(1000, 2, generator=generator))
    gaps, single = [], []
    for _ in range(120):
        z = torch.randn(200, 2, generator=generator)
        a, b = distance(0.7 + 1.3 * z), distance(0.72 + 1.31 * z)
        gaps.append(b.minus(a))
        single.append(a.standard_error)
    spread = torch.tensor([g.value for g in gaps]).std().item()
    mean = sum(g.standard_error for g in gaps) / 120
    assert mean == pytest.approx(spread, rel=0.25)
    assert mean < 0.2 * sum(single) / 120


def test_the_jackknife_of_a_mean_is_its_standard_error():
    """Of a mean the jackknife is known: s / sqrt(n) over the groups."""
    x = torch.randn(20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    replicates = tuple(((x.sum() - x) / 19).tolist())
    assert Estimate(x.mean().item(), replicates).standard_error == pytest.approx((x.std() / 20**0.5).item())


def test_groups_are_blocks_of_nearly_equal_size():
    for n, count in ((20, 2), (50, 5), (199, 19), (1000, 20), (1013, 20)):
        sizes = torch.bincount(groups(n))
        assert len(sizes) == count
        assert sizes.max() - sizes.min() <= 1
        assert (groups(n).diff() >= 0).all()
    with pytest.raises(ValueError, match="too few"):
        groups(19)


def test_what_is_refused():
    with pytest.raises(ValueError, match="rows of 3 numbers"):
        Energy(torch.zeros(4, 3))(torch.zeros(30, 2))
    with pytest.raises(ValueError, match="finite"):
        Frechet(torch.tensor([[0.0], [math.nan]]))
    with pytest.raises(ValueError, match="two rows"):
        Energy(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="zip"):
        Estimate(0.0, (1.0, 2.0)).minus(Estimate(0.0, (1.0,)))
