"""The Frechet distance against closed forms at any number of samples, and where there is none."""

import math

import pytest
import torch

from undrift.metrics.estimate import Estimate, groups
from undrift.metrics.frechet import Frechet, trace_root
from undrift.metrics.interval import student


def gaussian(n, mean, root, seed):
    """`(n, d)` draws of N(mean, root root^T), their sample moments made exact."""
    z = torch.randn(n, len(mean), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    z = z - z.mean(0)
    z = z @ torch.linalg.inv(torch.linalg.cholesky(z.T.cov())).T
    return mean + z @ root.T


A = torch.tensor([[1.0, 0.0], [0.4, 0.7]], dtype=torch.float64)
B = torch.tensor([[0.3, 0.0], [-0.9, 1.5]], dtype=torch.float64)


def test_plain_between_gaussians_whose_covariances_commute():
    """|m - m'|^2 + sum (s_i - s'_i)^2 for standard deviations along the same axes."""
    a, b = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64), torch.tensor([0.5, 2.5, 0.1], dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)))[0]
    shift = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    x, y = gaussian(500, shift, turn @ a.diag(), 0), gaussian(700, torch.zeros_like(shift), turn @ b.diag(), 1)
    wanted = shift.square().sum() + (a - b).square().sum()
    assert Frechet(y).plain(x) == pytest.approx(wanted.item(), abs=1e-6)


def test_frechet_between_gaussians_whose_covariances_do_not_commute():
    """In the plane tr (C C')^1/2 = sqrt(tr C C' + 2 sqrt(det C C')), for any two covariances."""
    x, y = gaussian(400, torch.zeros(2, dtype=torch.float64), A, 0), gaussian(300, torch.zeros(2, dtype=torch.float64), B, 1)
    c, d = A @ A.T, B @ B.T
    assert (c @ d - d @ c).abs().max() > 0.1
    wanted = c.trace() + d.trace() - 2 * ((c @ d).trace() + 2 * (c @ d).det().sqrt()).sqrt()
    assert Frechet(y).plain(x) == pytest.approx(wanted.item(), abs=1e-6)
    assert Frechet(x).plain(y) == pytest.approx(wanted.item(), abs=1e-6)  # symmetric
    assert Frechet(y)(x).value == pytest.approx(wanted.item(), abs=0.1)


def test_plain_of_fewer_samples_than_dimensions():
    """All within a plane of 100 dimensions: singular covariances, the value of the plane; a set to itself is zero."""
    x, y = gaussian(40, torch.ones(2, dtype=torch.float64), A, 0), gaussian(60, torch.zeros(2, dtype=torch.float64), B, 1)
    turn = torch.linalg.qr(torch.randn(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3)))[0]
    flat = Frechet(y)
    wide = Frechet(y @ turn.T)
    assert wide.plain(x @ turn.T) == pytest.approx(flat.plain(x), rel=1e-5)
    assert (wide.rank, wide.least) == (flat.rank, flat.least) == (2, 20)  # the data vary in a plane, so few samples are enough
    assert wide(x @ turn.T).value == pytest.approx(flat(x).value, rel=1e-5)
    few = torch.randn(30, 100, generator=torch.Generator().manual_seed(4))
    assert Frechet(few).plain(few) == pytest.approx(0, abs=1e-5)


def test_the_trace_of_the_root_is_the_sum_over_zeros_and_poles():
    """Of equal numbers n the contour integral has poles at the eigenvalues lam and cuts that join them to those of Lam -
    sqrt(lam) sqrt(lam)^T / n, xi: it is 2 n sum (sqrt(lam) - sqrt(xi)). Of very many samples it is the sum over theirs; it is
    symmetric, and multiplies as a root does."""
    values = torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).exp() ** 6
    root, n = values.sqrt(), 80
    rest = torch.linalg.eigvalsh(values.diag() - root[:, None] * root / n).clamp(min=0).sqrt()
    assert trace_root(values, n, n) == pytest.approx(2 * n * float((root - rest).sum()), rel=1e-8)
    assert trace_root(values, 1e12, 1e12) == pytest.approx(float(root.sum()), rel=1e-8)
    assert trace_root(values, 60, 900) == pytest.approx(trace_root(values, 900, 60), rel=1e-12)
    assert trace_root(9 * values, 60, 900) == pytest.approx(3 * trace_root(values, 60, 900), rel=1e-8)
    assert trace_root(values, 60, 900, 0.25) == pytest.approx(trace_root(values, 60, 900), rel=1e-8)
    assert trace_root(torch.cat([values, torch.zeros(7, dtype=torch.float64)]), 60, 900) == trace_root(values, 60, 900)
    assert trace_root(torch.zeros(0), 5, 5) == 0


def spectrum(kind, d):
    """Standard deviations, of mean variance 1: all equal, or the variance falling as 1/i."""
    variance = torch.ones(d, dtype=torch.float64) if kind == "flat" else 1 / torch.arange(1, d + 1, dtype=torch.float64)
    return (variance / variance.mean()).sqrt()


def axes(d):
    """Factors from 0.7 to 1.3, in no order: another law, of the same mean."""
    return torch.linspace(0.7, 1.3, d, dtype=torch.float64)[torch.randperm(d, generator=torch.Generator().manual_seed(3))]


def repeats(kind, d, ratio, other, count, known=8.0):
    """Estimates from independent samples and references of `known` times d, and the true distance."""
    scale, generator = spectrum(kind, d), torch.Generator().manual_seed(round(1000 * ratio))
    factors = axes(d) if other else torch.ones(d, dtype=torch.float64)
    truth, found = float((scale * (factors - 1)).square().sum()), []
    for _ in range(count):
        y = torch.randn(round(known * d), d, dtype=torch.float64, generator=generator) * scale
        x = torch.randn(round(ratio * d), d, dtype=torch.float64, generator=generator) * scale * factors
        found.append((Frechet(y), x))
    return truth, found


@pytest.mark.parametrize("other", [False, True], ids=["equal", "different"])
@pytest.mark.parametrize("kind", ["flat", "falling"])
@pytest.mark.parametrize("ratio", [1.75, 2, 3, 5, 10, 20])
def test_the_estimate_has_no_bias_and_its_interval_holds_the_truth(ratio, kind, other):
    """25 repeats in 32 dimensions, for each of 24 cases: at least 20 intervals of 95 % hold the truth (a false alarm of all 24:
    0.4 %), and the mean is within 4 of its standard errors (0.3 %). Where n is small the plain distance is off by far more."""
    d = 32
    truth, pairs = repeats(kind, d, ratio, other, 25)
    found = [distance(x) for distance, x in pairs]
    inside = sum(low <= truth <= high for low, high in map(student, found))
    values = torch.tensor([e.value for e in found], dtype=torch.float64)
    error = values.std() / len(found) ** 0.5
    assert inside >= 20
    assert abs(values.mean() - truth) < 4 * error
    if ratio <= 5:
        assert min(distance.plain(x) for distance, x in pairs) > truth + 10 * error


@pytest.mark.parametrize("kind", ["flat", "falling"])
def test_below_one_and_a_half_times_there_is_no_estimate(kind):
    """From half of the dimensions to all but one and a half times."""
    for ratio in (0.5, 0.75, 1.0, 1.25, 1.45):
        _, ((distance, x),) = repeats(kind, 64, ratio, True, 1)
        assert distance.refusal(len(x)) == f"{len(x)} samples are too few for 64 dimensions; 98 are the least"
        with pytest.raises(ValueError, match=r"no Frechet distance: .* too few for 64 dimensions"):
            distance(x)
    assert distance.refusal(98) is None
    few = Frechet(torch.randn(90, 64, generator=torch.Generator().manual_seed(0)))
    assert few.refusal(500) == "90 examples of the reference are too few for 64 dimensions; 98 are the least"


def test_a_thousand_samples_are_too_few_for_inception_features():
    y = torch.randn(3100, 2048, generator=torch.Generator().manual_seed(0))
    assert Frechet(y).refusal(1000) == "1,000 samples are too few for 2,048 dimensions; 3,072 are the least"


def test_what_is_least_leaves_enough_without_any_group():
    """Few samples make few groups: of 20 samples in two groups only 10 are left without one."""
    for d in (1, 5, 9, 10, 30, 64, 128):
        least = Frechet(torch.randn(400, d, generator=torch.Generator().manual_seed(0))).least
        assert least >= max(20, 1.5 * d) and least - groups(least).bincount().max() >= 1.35 * d
        assert d > 10 or least <= 28


def test_256_dimensions_and_a_reference_of_500():
    """The first-order correction alone gave 99.4 +- 1.5, 10.3 +- 1.1 and 33.2 here for 100, 200 and 500 samples. One repeat: the
    truth is within 4 standard errors (a false alarm in 15,000)."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(500, 256, dtype=torch.float64, generator=generator)
    x = 1.1 * torch.randn(2000, 256, dtype=torch.float64, generator=generator)
    distance, truth = Frechet(y), 2.56
    assert distance.refusal(100) and distance.refusal(200)
    for n in (500, 2000):
        found = distance(x[:n])
        assert abs(found.value - truth) < 4 * found.standard_error < 10
        assert distance.plain(x[:n]) > 40


def clusters(n, d, generator):
    """Ten classes, of their own means and widths: no linear image of independent numbers, so theory alone is biased."""
    fixed = torch.Generator().manual_seed(7)
    means, widths = 0.7 * torch.randn(10, d, dtype=torch.float64, generator=fixed), 0.3 + 0.8 * torch.rand(10, generator=fixed)
    k = torch.randint(10, (n,), generator=generator)
    return means[k] + widths[k, None] * torch.randn(n, d, dtype=torch.float64, generator=generator)


def test_classes_are_no_bias():
    """Equal laws of ten classes, 64 dimensions, 20 repeats: without the jackknife's correction the mean is above 1, with it zero
    within 4 of its standard errors (a false alarm in 3,000); at least 16 intervals hold zero (0.3 %)."""
    generator = torch.Generator().manual_seed(0)
    found = [Frechet(clusters(640, 64, generator))(clusters(128, 64, generator)) for _ in range(20)]
    theory = [sum(e.replicates) / len(e.replicates) for e in found]
    assert min(theory) > 1
    values = torch.tensor([e.value for e in found])
    assert abs(values.mean()) < 4 * values.std() / 20**0.5 < 0.6
    assert sum(low <= 0 <= high for low, high in map(student, found)) >= 16


def test_the_size_of_the_reference_is_no_bias():
    """Equal laws against references of 1.75 and of 20 times the dimensions, 20 repeats each: zero within 4 standard errors of the
    mean (a false alarm in 1,500 for both). Taken as given, the smaller one would be 10 away."""
    for known in (1.75, 20):
        _, pairs = repeats("flat", 32, 4, False, 20, known)
        values = torch.tensor([distance(x).value for distance, x in pairs])
        assert abs(values.mean()) < 4 * values.std() / 20**0.5 < 1


def test_replicates_are_what_theory_gives_without_a_group():
    """By brute force: moments of what is left, of samples and of the reference, and the eigenvalues of the product."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(230, 4, generator=generator).double(), 1 + 2 * torch.randn(90, 4, generator=generator).double()

    def theory(x, y):
        c, d = x.T.cov(), y.T.cov()
        values = torch.linalg.eigvals(c @ d).real
        shift = (x.mean(0) - y.mean(0)).square().sum() - c.trace() / len(x) - d.trace() / len(y)
        return float(shift + c.trace() + d.trace()) - 2 * trace_root(values, len(x) - 1, len(y) - 1)

    found, mine, known = Frechet(y)(x), groups(230), groups(90)
    for g in (0, 7, 19):
        assert found.replicates[g] == pytest.approx(theory(x[mine != g], y), rel=1e-9)
    for g in (0, 8):
        assert found.reference[g] == pytest.approx(theory(x, y[known != g]), rel=1e-9)
    whole, parts = theory(x, y), (found.replicates, found.reference)
    wanted = whole + sum((len(part) - 1) * (whole - sum(part) / len(part)) for part in parts)
    assert found.value == pytest.approx(wanted, rel=1e-9)


def test_differences_are_paired_over_samples_and_reference():
    """Two settings of one noise against one reference: 60 repeats of all three; the mean error bar has their spread, and is a
    fifth of that of either figure. 25 % is 2.7 of the spread's own errors of 9 %."""
    generator, gaps, single = torch.Generator().manual_seed(1), [], []
    for _ in range(60):
        distance, z = Frechet(torch.randn(300, 2, generator=generator)), torch.randn(200, 2, generator=generator)
        a, b = distance(0.7 + 1.3 * z), distance(0.72 + 1.31 * z)
        gaps.append(b.minus(a))
        single.append(a.standard_error)
    mean = sum(g.standard_error for g in gaps) / 60
    assert mean == pytest.approx(torch.tensor([g.value for g in gaps]).std().item(), rel=0.25)
    assert mean < 0.2 * sum(single) / 60


def test_equal_laws_are_told_apart_once_in_370():
    """Against one small reference, whose error both share: 60 pairs, at most 2 beyond three standard errors (a false alarm in
    1,500)."""
    generator = torch.Generator().manual_seed(2)
    distance = Frechet(torch.randn(60, 6, generator=generator))
    alarms = 0
    for _ in range(60):
        a, b = (distance(torch.randn(200, 6, generator=generator)) for _ in range(2))
        alarms += abs(a.value - b.value) > 3 * a.apart(b)
    assert alarms <= 2


def test_a_reference_that_does_not_vary_and_columns_that_do_not():
    still = Frechet(torch.zeros(30, 5))
    assert (still.rank, still.least) == (0, 20)
    assert still(torch.ones(20, 5)) == Estimate(5.0, (5.0, 5.0), (5.0, 5.0, 5.0))
    x, y = (torch.randn(100, 3, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    dead = torch.full((100, 2), 0.3)
    with_dead = Frechet(torch.cat([y, dead], 1))
    assert with_dead.rank == 3 and with_dead(torch.cat([x, dead], 1)).value == pytest.approx(Frechet(y)(x).value, abs=1e-9)
    same = Frechet(y)(y[:1].expand(100, 3))  # all samples alike
    assert math.isfinite(same.value) and math.isfinite(same.standard_error) and same.value > 1
