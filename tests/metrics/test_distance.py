"""Distances against closed forms, and error bars against the spread of independent repeats."""

import math

import pytest
import torch

from undrift.metrics.energy import Energy
from undrift.metrics.estimate import Estimate, groups
from undrift.metrics.frechet import Frechet
from undrift.metrics.interval import student


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
    group, known = groups(230), groups(90)
    assert sorted(set(group.tolist())) == list(range(20))
    energy = Energy(y)
    for g in (0, 7, 19):
        assert energy(x).replicates[g] == pytest.approx(energy(x[group != g]).value, rel=1e-9)
    for g in (0, 8):
        assert energy(x).reference[g] == pytest.approx(Energy(y[known != g])(x).value, rel=1e-9)
    assert Energy(y[:19])(x).reference == ()  # too few for an error of their own: given


@pytest.mark.parametrize("kind", [Energy, Frechet])
def test_error_bars_are_as_wide_as_the_spread_of_repeats(kind):
    """120 repeats of samples and of a smaller reference: the mean error bar is within 25 % of their spread (whose own error is
    6.5 %: 4 sigma). With the reference as given it would be more than 25 % too small."""
    generator = torch.Generator().manual_seed(0)
    pairs = [[torch.randn(n, 2, generator=generator) for n in (200, 80)] for _ in range(120)]
    found = [kind(y)(0.7 + 1.3 * x) for x, y in pairs]
    spread = torch.tensor([e.value for e in found]).std().item()
    assert sum(e.standard_error for e in found) / 120 == pytest.approx(spread, rel=0.25)
    assert sum(Estimate(e.value, e.replicates).standard_error for e in found) / 120 < 0.75 * spread


@pytest.mark.parametrize("kind", [Energy, Frechet])
def test_intervals_hold_the_truth_with_a_reference_of_any_size(kind):
    """Samples 2.5 times as many as the reference, 100 repeats: at least 88 of 95 hold the truth (a false alarm in 500)."""
    generator, inside = torch.Generator().manual_seed(5), 0
    truth = energy_of_normals(0.7, 1.3, 1.0) if kind is Energy else 0.7**2 + 0.3**2
    for _ in range(100):
        x, y = torch.randn(250, 1, generator=generator), torch.randn(100, 1, generator=generator)
        low, high = student(kind(y)(0.7 + 1.3 * x))
        inside += low <= truth <= high
    assert inside >= 88


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


def test_what_the_reference_does_to_both_drops_out_of_a_difference():
    """By hand, and between samples of two laws against one reference: 80 repeats with references of their own, 25 % is 3 of their
    errors."""
    a = Estimate(3.0, (1.0, 2.0, 3.0), (0.0, 1.0, 5.0))
    b = Estimate(1.0, (2.0, 2.0, 5.0), (1.0, 2.0, 9.0))
    parts = (a.replicates, b.replicates, a.reference, a.minus(b).reference)
    own = [2 / 3 * sum((r - sum(part) / 3) ** 2 for r in part) for part in parts]
    assert a.apart(b) == pytest.approx(math.sqrt(own[0] + own[1] + own[3])) and parts[3] == (-1.0, -1.0, -4.0)
    assert a.standard_error == pytest.approx(math.sqrt(own[0] + own[2]))
    assert a.times(-2.0) == Estimate(-6.0, (-2.0, -4.0, -6.0), (-0.0, -2.0, -10.0))
    generator, gaps, errors, apart = torch.Generator().manual_seed(6), [], [], []
    for _ in range(80):
        x, y, z = (torch.randn(n, 1, generator=generator) for n in (400, 400, 50))
        distance = Energy(z)
        near, far = distance(x + 1), distance(1.5 * y + 1.2)
        gaps.append(far.value - near.value)
        errors.append(far.apart(near))
        apart.append(math.hypot(far.standard_error, near.standard_error))
    spread = torch.tensor(gaps).std().item()
    assert sum(errors) / 80 == pytest.approx(spread, rel=0.25) and sum(apart) / 80 > 1.5 * spread


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
