"""Each figure against a closed form, or against the value that equal laws have."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binom, ks_2samp

from undrift.metrics.balance import balance
from undrift.metrics.correlation import Correlations
from undrift.metrics.diversity import Spread
from undrift.metrics.energy import Energy
from undrift.metrics.estimate import Estimate, checked, groups, jackknife, mean
from undrift.metrics.inception_score import inception_score
from undrift.metrics.interval import ahead, median, student, wilson
from undrift.metrics.kernel import bell, cubic
from undrift.metrics.manifold import Manifold
from undrift.metrics.marginal import columns, widest_gap
from undrift.metrics.sliced_wasserstein import SlicedWasserstein, on_a_line
from undrift.metrics.told_apart import told_apart


def normal(n, d, seed, dtype=torch.float64):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_kid_of_gaussians_by_moments():
    """In one dimension E (xy + 1)^3 is a polynomial in moments. 400 x 4,000 draws, 4 jackknife errors: false alarm 1 in 15,000."""

    def moments(m, s):
        return m, m * m + s * s, m**3 + 3 * m * s * s

    def k(a, b):
        return 1 + 3 * a[0] * b[0] + 3 * a[1] * b[1] + a[2] * b[2]

    a, b = moments(0.4, 0.7), moments(0.0, 1.0)
    wanted = k(a, a) + k(b, b) - 2 * k(a, b)
    found = Energy(normal(4000, 1, 0), cubic)(0.4 + 0.7 * normal(4000, 1, 1))
    assert abs(found.value - wanted) < 4 * found.standard_error < 0.5 * wanted


def test_kernel_distances_by_brute_force():
    """The U-statistic of Gretton et al. 2012, eq. 3, pair by pair."""
    x, y = 0.5 + normal(40, 3, 0), normal(60, 3, 1)
    h2 = torch.pdist(y).median() ** 2
    for far, k in (
        (cubic, lambda a, b: (a @ b / 3 + 1) ** 3),
        (bell(y), lambda a, b: torch.exp(-(a - b).square().sum() / (2 * h2))),
    ):
        xx = sum(k(x[i], x[j]) for i in range(40) for j in range(40) if i != j) / (40 * 39)
        yy = sum(k(y[i], y[j]) for i in range(60) for j in range(60) if i != j) / (60 * 59)
        xy = sum(k(a, b) for a in x for b in y) / 2400
        assert Energy(y, far)(x).value == pytest.approx(float(xx + yy - 2 * xy), rel=1e-9)


@pytest.mark.parametrize("kernel", ["cubic", "bell"])
def test_kernel_distance_of_equal_laws_is_zero_on_average(kernel):
    """40 repeats of 50 samples, 5 standard errors of their mean: a false alarm in 2 million. A biased one would be far above."""
    y = normal(5000, 4, 0)
    distance = Energy(y, cubic if kernel == "cubic" else bell(y))
    values = torch.tensor([distance(normal(50, 4, 1 + i)).value for i in range(40)])
    biased = 2 / 50 * (1 - math.exp(-0.5)) if kernel == "bell" else 0.1
    assert abs(values.mean()) < 5 * values.std() / 40**0.5 < biased


def test_coverage_of_equal_laws_is_known_in_any_dimension():
    """1 - prod_{i<k} (M - 1 - i)/(n + M - 1 - i): 30 repeats, 5 standard errors, a false alarm in 2 million."""
    for d in (1, 7):
        found = torch.tensor([Manifold(normal(80, d, i), 3)(normal(40, d, 99 + i))["coverage"].value for i in range(30)])
        wanted = 1 - math.prod((80 - 1 - i) / (40 + 80 - 1 - i) for i in range(3))
        assert abs(found.mean() - wanted) < 5 * found.std() / 30**0.5 < 0.1


def test_density_of_equal_laws_is_one():
    """E density = M/k P(x in ball) = M/k k/M = 1: of M reference points, a new one is within k-th reach with chance k/M."""
    found = torch.tensor([Manifold(normal(80, 3, i), 4)(normal(40, 3, 99 + i))["density"].value for i in range(40)])
    assert abs(found.mean() - 1) < 5 * found.std() / 40**0.5 < 0.15


def test_the_four_figures_of_points_on_a_line_by_hand():
    """Real 0, 1, 3, 7 (k = 1): reaches 1, 1, 2, 4. Samples at 0.5, half of them, and at 20 are in the balls of 0 and 1 or none."""
    real = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    x = torch.where(torch.arange(40) % 2 == 0, 0.5, 20.0)[:, None]
    found = {name: e.value for name, e in Manifold(real, 1)(x).items()}
    assert found == {
        "precision": 0.5,
        "density": 1.0,
        "coverage": 0.5,
        "recall": 0.0,
    }  # samples reach 0: others are at the same place
    spaced = 9.9 + 0.5 * torch.arange(40.0)[:, None]
    spaced[0] = 6.6
    assert Manifold(real, 1)(spaced)["recall"].value == 0.5  # 6.6 reaches 3.8 far, to 10.4: over 3 and 7
    assert Manifold(real, 1)(spaced)["precision"].value == pytest.approx(3 / 40)  # 6.6, 10.4 and 10.9 are in the ball of 7


def test_replicates_of_the_four_are_the_figures_without_a_group():
    x, y = normal(100, 2, 0), normal(90, 2, 1) * 0.8
    manifold, group = Manifold(y), groups(100)
    whole = manifold(x)
    for g in (0, 9):
        rest = manifold(x[group != g])
        for name, e in whole.items():
            assert e.replicates[g] == pytest.approx(rest[name].value, abs=1e-12)
    for size in (1, 700, 10**6):  # distances held at once
        assert Manifold(y, block=size)(x) == whole


def test_wasserstein_on_a_line_is_exact():
    """By hand, and by brute force: each value of n repeated m times and of m repeated n times, in order, are pairs."""
    x, y = torch.tensor([[0.0], [1.0]]).double(), torch.tensor([[0.0], [0.0], [3.0]]).double()
    assert on_a_line(x, y).item() == pytest.approx((0.5 - 1 / 3 - 1 / 6) * 0 + (2 / 3 - 1 / 2) * 1 + (1 - 2 / 3) * 4)
    for n, m in ((1, 1), (4, 6), (7, 5), (30, 1), (12, 12)):
        a, b = normal(n, 3, n).sort(0).values, normal(m, 3, m + 100).sort(0).values
        pairs = a.repeat_interleave(m, 0) - b.repeat_interleave(n, 0)
        assert on_a_line(a, b) == pytest.approx(pairs.square().mean(0))


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 2.0), (1.0, 1.0), (0.5, 0.7), (0.0, 1.0)])
def test_wasserstein_between_normals_on_a_line(shift, scale):
    """W_2^2 = m^2 + (s - 1)^2. Evenly spaced quantiles in place of draws, of different numbers, so that nothing is random; the
    tails that these leave out cost 0.3 %, those beyond 200 quantiles would cost 2 %."""

    def quantiles(n):
        return torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)[:, None]

    found = SlicedWasserstein(quantiles(3000))(shift + scale * quantiles(2000)[torch.randperm(2000)])
    assert found.value == pytest.approx(math.hypot(shift, scale - 1), rel=5e-3, abs=0.02)


def test_sliced_wasserstein_of_shifted_and_scaled_normals():
    """On every line through normals |m . u|^2 + (s - 1)^2, whose mean over directions is |m|^2/d + (s - 1)^2."""
    y = normal(500, 3, 0)
    y = (y - y.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(y.T.cov())).T
    shift = torch.tensor([0.6, 0.0, -0.3], dtype=torch.float64)
    distance = SlicedWasserstein(y, 300)
    assert distance(y + shift).value == pytest.approx(math.sqrt(0.45 / 3), rel=0.1)  # 300 directions: 5 %
    assert distance(1.5 * y).value == pytest.approx(0.5, rel=0.02)
    assert distance(y[torch.randperm(500)]).value == pytest.approx(0, abs=1e-9)


def test_correlations_of_gaussians():
    """Rows with correlation r exactly, against none: of three pairs one differs by r."""
    z = normal(400, 3, 0)
    z = z - z.mean(0)
    white = z @ torch.linalg.inv(torch.linalg.cholesky(z.T.cov())).T
    mixed = torch.stack([white[:, 0], 0.6 * white[:, 0] + 0.8 * white[:, 1], white[:, 2]], 1)
    assert Correlations(white)(3 * mixed + 7).value == pytest.approx(0.6 / math.sqrt(3), abs=1e-9)


def test_columns_are_kolmogorov_smirnov_with_holm():
    x, y = normal(150, 4, 0), normal(200, 4, 1)
    x[:, 2] += 1.0
    found = columns(x, y)
    direct = [ks_2samp(x[:, j].numpy(), y[:, j].numpy()) for j in range(4)]
    assert found[0].number == 2 and found[0].p == pytest.approx(4 * direct[2].pvalue)
    assert widest_gap(x, y).value == pytest.approx(direct[2].statistic)
    assert max(c.p for c in found) <= 1
    assert [c.gap.value for c in found] == pytest.approx(sorted((t.statistic for t in direct), reverse=True))
    assert all(0 <= c.interval[0] <= c.gap.value <= c.interval[1] for c in found)
    kept = groups(150) != 3
    assert found[0].gap.replicates[3] == pytest.approx(ks_2samp(x[kept, 2].numpy(), y[:, 2].numpy()).statistic)


def test_one_column_in_twenty_tables_is_found_wrong_by_chance():
    """60 tables of equal laws, 5 columns: at level 0.05 at most 9 alarms (binomial: exceeded with chance 0.002)."""
    alarms = sum(min(c.p for c in columns(normal(60, 5, i), normal(80, 5, 500 + i))) < 0.05 for i in range(60))
    assert alarms <= 9


def test_nothing_is_told_apart_where_laws_are_equal():
    """12 pairs of equal laws: the pooled share is 1/2 within 4 standard errors, and Wilson's interval leaves 1/2 out at most 4 times
    (of a 5 % level: by chance 2 in 1,000)."""
    found = [told_apart(normal(120, 2, i, torch.float32), normal(150, 2, 500 + i, torch.float32)) for i in range(12)]
    share = sum(e.value for e, _ in found) / 12
    assert {of for _, of in found} == {120}
    assert abs(share - 0.5) < 4 * 0.5 / math.sqrt(12 * 120)
    assert sum(not wilson(e.value, of)[0] <= 0.5 <= wilson(e.value, of)[1] for e, of in found) <= 4


def test_laws_of_equal_columns_are_told_apart():
    """Correlation 0.95 against none, every column normal: Bayes is right on 81 %, the forest on 70 % or more."""
    z, y = normal(600, 2, 0), normal(600, 2, 1)
    z[:, 1] = 0.95 * z[:, 0] + math.sqrt(1 - 0.95**2) * z[:, 1]
    share, _ = told_apart(z, y)
    assert 0.7 < share.value < 0.87


def test_inception_score_at_its_ends():
    sure = 50.0 * torch.nn.functional.one_hot(torch.arange(200) % 10, 10)
    assert inception_score(sure).value == pytest.approx(10)
    assert inception_score(torch.zeros(200, 10)).value == pytest.approx(1)
    assert inception_score(1000 * torch.nn.functional.one_hot(torch.zeros(200).long(), 10).float()).value == pytest.approx(1)


def test_diversity_is_the_ratio_of_variances_within_classes():
    labels = torch.arange(400) % 2
    y = normal(400, 3, 0) + 100.0 * labels[:, None]
    spread = Spread(y, labels)
    assert spread(y, labels).value == pytest.approx(1)
    assert spread(0.5 * y, labels).value == pytest.approx(0.25)
    copies = y[:2].repeat(200, 1)
    assert spread(copies, labels).value == pytest.approx(0, abs=1e-12)


def test_balance_by_hand_and_its_false_alarms():
    """Pearson by hand; of 400 sets of the training law at most 36 have p < 0.05 (20 expected; exceeded with chance 3 in 10,000)."""
    train = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    found = balance(torch.tensor([0] * 40 + [1] * 40 + [2] * 20), train, ("a", "b", "c"))
    assert found.p == pytest.approx(math.exp(-(10**2 / 50 + 10**2 / 30) / 2))  # 2 degrees: p = exp(-x/2)
    assert balance(torch.tensor([0, 3] * 9), torch.cat([train, train]), ("a", "b", "c", "d")).p == 0  # d is not in the data
    generator = torch.Generator().manual_seed(0)
    alarms = sum(
        balance(train[torch.randint(100, (200,), generator=generator)], train, ("a", "b", "c")).p < 0.05 for _ in range(400)
    )
    assert 6 <= alarms <= 36


def test_wilson_is_the_root_of_its_equation_and_holds_95_percent():
    """|p_hat - p| = z sqrt(p(1 - p)/n) at both ends; exactly, it covers 95 % of binomials of 80 on average over p."""
    for share, n in ((0.3, 50), (0.0, 20), (1.0, 7), (0.98, 1000)):
        for end in wilson(share, n):
            assert abs(share - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / n), abs=1e-6)
    ends = [wilson(k / 80, 80) for k in range(81)]
    covered = [sum(binom.pmf(k, 80, p) for k in range(81) if ends[k][0] <= p <= ends[k][1]) for p in np.linspace(0.02, 0.98, 97)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.005)
    with pytest.raises(ValueError, match="share"):
        wilson(1.2, 10)


def test_the_jackknife_covers_95_percent():
    """A skewed statistic, exp of a mean, of 200 samples; 400 repeats: 4 errors are 4.4 %."""
    inside = 0
    for i in range(400):
        x = normal(200, 1, i)[:, 0]
        low, high = student(jackknife(lambda kept, x=x: float(x[kept].mean().exp()), 200))
        inside += low <= 1 <= high
    assert abs(inside / 400 - 0.95) < 0.045


def test_mean_is_the_jackknife_of_a_mean():
    x = normal(137, 1, 0)[:, 0]
    direct = jackknife(lambda kept: float(x[kept].mean()), 137)
    assert mean(x).value == pytest.approx(direct.value) and mean(x).replicates == pytest.approx(direct.replicates)
    assert math.isnan(student(Estimate(1.0))[0]) and checked(x).shape == (137, 1)


def test_intervals_by_ranks_hold_95_percent():
    """400 pairs of sets, one of them skewed: 4 errors of 95 % are 4.4 %. The chance that N(0.5, 1) is above N(0, 1) is known."""
    inside = [0, 0]
    chance = 0.5 * (1 + math.erf(0.5 / 2))
    for i in range(400):
        x, y = 0.5 + normal(60, 1, 2 * i)[:, 0], normal(90, 1, 2 * i + 1)[:, 0]
        low, high = median(y.exp())
        inside[0] += low <= 1 <= high
        low, high = ahead(x, y)
        inside[1] += low <= chance <= high
    assert all(abs(count / 400 - 0.95) < 0.044 for count in inside)


def test_intervals_by_ranks_by_hand():
    """Of six throws all are heads one time in 64, so 6 values hold the median with 97 %; of five one time in 32: 94 %, their ends."""
    assert median(torch.tensor([3.0, 1.0, 2.0, 6.0, 5.0, 4.0])) == (1.0, 6.0)
    assert median(torch.tensor([1.0, 2.0])) == (1.0, 2.0)
    low, high = ahead(torch.tensor([1.0, 2.0]), torch.tensor([5.0, 6.0, 7.0]))
    assert low == 0 and 1.96**2 * high * (1 - high) * (
        1 + 1.5 * ((1 - high) / (2 - high) + high / (1 + high))
    ) / 6 == pytest.approx(high**2, rel=1e-3)  # the chance of which two and three would scatter as far as zero is
    assert sum(ahead(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]))) / 2 == pytest.approx(
        0.5
    )  # of four one is above, two tied
