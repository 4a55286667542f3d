"""Equal values, copies and the fewest samples: every figure is what it is for laws without ties, and none breaks."""

import math

import numpy as np
import pytest
import torch

from undrift.data import Dataset, Spec
from undrift.metrics import ties
from undrift.metrics.balance import balance
from undrift.metrics.diversity import Spread
from undrift.metrics.energy import Energy
from undrift.metrics.inception_score import inception_score
from undrift.metrics.interval import ahead
from undrift.metrics.kernel import bell
from undrift.metrics.manifold import Manifold
from undrift.metrics.marginal import columns
from undrift.metrics.memorization import by_cosine, by_distance
from undrift.metrics.reference import Reference
from undrift.metrics.registry import METRICS
from undrift.metrics.result import MetricResult
from undrift.metrics.ties import levelled, shaken, spread
from undrift.metrics.told_apart import told_apart

KINDS_OF_TIES = ("binary", "whole", "constant", "one column constant", "half copies")


def tied(kind, n, d, seed):
    """`(n, d)` of a law with ties, standardised as data in model space are."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2 if kind == "binary" else 4, (n, d)).astype(np.float32)
    if kind == "constant":
        x[:] = 3.0
    elif kind == "one column constant":
        x[:, 0] = 3.0
    elif kind == "half copies":
        x = np.where(rng.random((n, 1)) < 0.5, 0.25, rng.standard_normal((n, d))).astype(np.float32)
    return torch.from_numpy((x - 1.5) / 1.118)


def table(kind, n, d, seed):
    return Dataset(tied(kind, n, d, seed).numpy(), None, Spec((d,), None, None, False, 0.0, 1.0), kind)


def fresh(monkeypatch, k):
    """Noise of its own for each repeat, which a data set of a user has for all of its rows."""
    monkeypatch.setattr(ties, "stream", lambda seed, *what: np.random.default_rng([k, *map(ord, "".join(what))]))


@pytest.mark.parametrize("d", [1, 2, 5])
def test_density_and_coverage_of_whole_numbers_are_those_of_any_law(d, monkeypatch):
    """Grids of 4, 16 and 1,024 points: balls that are closed hold 6.7 times too many in the first. 40 repeats, 4.5 standard
    errors of the mean, a false alarm in 25,000 for each of six."""
    density, coverage = [], []
    for i in range(40):
        fresh(monkeypatch, i)
        found = Manifold(tied("whole", 80, d, i))(tied("whole", 40, d, 99 + i))
        density.append(found["density"].value)
        coverage.append(found["coverage"].value)
    wanted = 1 - math.prod((80 - 1 - i) / (40 + 80 - 1 - i) for i in range(5))
    for values, value in ((density, 1.0), (coverage, wanted)):
        values = torch.tensor(values, dtype=torch.float64)
        assert abs(values.mean() - value) < 4.5 * values.std() / 40**0.5 < 0.2


def test_the_noise_that_breaks_ties_changes_no_other_order_and_is_the_same_again():
    x = torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = shaken(x, spread(x), "a")
    assert 0 < (moved - x).abs().max() < 1e-5 and torch.equal(moved, shaken(x, spread(x), "a"))
    assert torch.equal(moved[:50], shaken(x[:50], spread(x), "a")) and not torch.equal(moved, shaken(x, spread(x), "b"))
    assert (moved.argsort(0) == x.argsort(0)).double().mean() > 0.99
    assert spread(torch.full((5, 2), 0.3)) == 1.0
    assert levelled(torch.tensor([0.3, 0.3 + 2e-8, 0.31]), 1.0).unique().tolist() == pytest.approx([0.3, 0.31])


@pytest.mark.parametrize("n", [20, 40])
@pytest.mark.parametrize("kind", KINDS_OF_TIES)
def test_every_figure_of_ties_and_of_the_fewest_samples_is_finite_and_as_real_data(kind, n):
    """Equal laws, in 1, 2 and 20 columns: nothing is NaN, and of all verdicts none is a false alarm (at one in 370 each by
    chance, of 160 verdicts in ten cases; the seeds are fixed)."""
    for d in (1, 2, 20):
        train, held_out = table(kind, 200, d, 0), table(kind, n, d, 1)
        reference, y = Reference(train, held_out, n), tied(kind, n, d, 2)
        (space,) = reference.spaces
        assert ("told_apart" in space.missing) == (n < 40)
        for key, own in space.estimates(y, None).items():
            found = MetricResult(METRICS[key], own, space.floor[key], METRICS[key].answers(reference.samples))
            low, high = found.interval(own)
            assert math.isfinite(own.value) and math.isfinite(own.standard_error) and low <= own.value <= high
            assert found.verdict == "as real data", (key, d)
        (memory,) = reference.memories(y)
        low, high = memory.odds_interval
        assert 0 <= low < memory.odds < high <= 1 and memory.p > 0.01 and memory.p_beyond > 0.01
        assert 0.2 < memory.drawn_to < 0.8
        assert min(c.p for c in columns(y, tied(kind, 200, d, 0))) > 0.01


def test_whole_numbers_are_not_told_apart_more_often_than_by_chance():
    """Ties make Kolmogorov & Smirnov's p larger than it need be: of 60 tables of 3 columns at level 0.05 at most 9 alarms
    (exceeded with chance 0.002). 12 pairs for the forest: the pooled share is 1/2 within 4 standard errors."""
    alarms = sum(min(c.p for c in columns(tied("whole", 60, 3, i), tied("whole", 80, 3, 500 + i))) < 0.05 for i in range(60))
    assert alarms <= 9
    found = [told_apart(tied("whole", 120, 2, i), tied("whole", 150, 2, 500 + i))[0].value for i in range(12)]
    assert abs(sum(found) / 12 - 0.5) < 4 * 0.5 / math.sqrt(12 * 120)


def test_copies_of_what_is_in_both_sets_are_ties_whatever_rounding_says():
    """Every sample is a training and a held-out example, in 40 columns far from zero, where a distance of zero may be computed as
    1e-4."""
    x = 3000 + torch.randn(30, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = by_distance("", x, torch.cat([x, x.flip(0)]), torch.cat([x.roll(7, 0), x]))
    assert found.drawn_to == 0.5 and found.odds == 0.5 and found.beyond == 0 and found.p == 1
    assert found.likeness.abs().max() == 0
    pictures = np.random.default_rng(0).integers(0, 200, (30, 1, 29, 29)).astype(np.uint8)
    data = Dataset(np.concatenate([pictures] * 2), None, Spec.bounded((1, 29, 29), 0, 200, integer=True), "copies")
    y = data.batch(torch.arange(30))[0]
    found = by_cosine(y, torch.cat([y.flip(0), y]), data)
    assert found.drawn_to == 0.5 and found.odds == 0.5 and found.beyond == 0


def test_the_width_of_the_kernel_is_that_of_rows_which_differ():
    """Of 90 % copies the median distance is zero; a kernel of width zero would see nothing but copies."""
    x = torch.randn(300, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = x * (torch.arange(300) % 10 == 0)[:, None]
    apart = torch.pdist(y)
    wide = apart[apart > 0].median()
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    assert float(bell(y)(rows[:1], rows[1:])) == pytest.approx(1 - math.exp(-25 / (2 * float(wide) ** 2)))
    assert float(bell(torch.zeros(50, 2))(rows[:1], rows[1:])) == pytest.approx(1 - math.exp(-12.5))
    same, other = (Energy(y, bell(y))(shift + y[torch.randperm(300)][:100]) for shift in (0.0, 0.5))
    assert abs(same.value) < 4 * same.standard_error and other.value > 0.1


@pytest.mark.parametrize("chance", [0.5, 0.9, 0.97, 0.995])
def test_the_chance_of_being_ahead_has_an_interval_that_holds_at_any_number(chance):
    """20 against 20 and against 100, 200 repeats each: at least 180 hold the chance (a false alarm in 500). DeLong's alone hold
    106 to 180 of 0.97 and 0.995, and are of no width where all are ahead."""
    shift = math.sqrt(2) * float(torch.special.ndtri(torch.tensor(chance, dtype=torch.float64)))
    for m in (20, 100):
        inside = 0
        for i in range(200):
            generator = torch.Generator().manual_seed(i)
            x, y = (torch.randn(n, dtype=torch.float64, generator=generator) for n in (20, m))
            low, high = ahead(x + shift, y)
            inside += low <= chance <= high
            assert high - low > 0.02
        assert inside >= 180
    assert ahead(torch.zeros(20), torch.zeros(30))[0] < 0.4 < 0.6 < ahead(torch.zeros(20), torch.zeros(30))[1]


def test_the_chance_of_being_ahead_where_samples_are_copies_or_far_away():
    """Three in four are ahead of all, the others behind: they scatter more than exponential laws do. 200 repeats of 50, at least
    180 hold the chance (a false alarm in 500); Newcombe's alone hold about 160."""
    inside, y = 0, torch.randn(1000, generator=torch.Generator().manual_seed(0))
    for i in range(200):
        ahead_of_all = torch.rand(50, generator=torch.Generator().manual_seed(i + 1)) < 0.75
        low, high = ahead(torch.where(ahead_of_all, 10.0, -10.0), y)
        inside += low <= 0.75 <= high
    assert inside >= 180


def test_classes_of_which_nothing_varies():
    assert balance(torch.zeros(20, dtype=torch.int64), torch.zeros(40, dtype=torch.int64), ("a", "b")).p == 1
    assert balance(torch.ones(20, dtype=torch.int64), torch.zeros(40, dtype=torch.int64), ("a", "b")).p == 0
    assert inception_score(torch.zeros(20, 10)).standard_error == 0
    labels = torch.arange(20) % 10  # two of each: without half of them there is no pair left, so no error bar, but a figure
    found = Spread(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 10)(
        torch.zeros(20, 3), labels
    )
    assert found.value == 0 and math.isnan(found.standard_error)


def test_pictures_of_two_kinds_only(tmp_path):
    """Each class one picture: features vary along a line, nothing within a class, and all that can be measured is."""
    two = np.random.default_rng(0).integers(0, 255, (2, 1, 8, 8)).astype(np.uint8)
    spec = Spec.bounded((1, 8, 8), 0, 255, integer=True, classes=("a", "b"))
    train, held_out = (Dataset(two[np.arange(n) % 2], np.arange(n) % 2, spec, "two") for n in (60, 40))
    reference = Reference(train, held_out, 40, cache=tmp_path)
    (space,) = reference.spaces
    assert space.missing == {"diversity": "the training examples of a class are all alike"}
    own = space.estimates(held_out.batch(torch.arange(40))[0], reference.classes)
    assert own.keys() == space.floor.keys() and "frechet" in own
    for key, e in own.items():
        assert (
            math.isfinite(e.value)
            and MetricResult(METRICS[key], e, space.floor[key], METRICS[key].answers(reference.samples)).verdict == "as real data"
        )
