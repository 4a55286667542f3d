"""Verdicts on made numbers: of the right ones every claim holds, and for each claim there are wrong ones of which it does not."""

import math

import pytest
import torch

import undrift as ud
from study.made import MADE, est
from undrift.study.base import below, every, settled, share, within
from undrift.study.catalogue import STUDIES
from undrift.study.slide_algorithms import CHAIN, law, recovered


def test_every_study_has_made_numbers():
    assert MADE.keys() == STUDIES.keys()


@pytest.mark.parametrize("name", STUDIES)
def test_the_paper_s_numbers_hold_and_wrong_ones_do_not(name):
    study, (right, wrong) = STUDIES[name], MADE[name]
    assert [f.verdict for f in study.judge(right)] == ["holds"] * len(study.claims)
    assert len(wrong) == len(study.claims)
    for i, change in enumerate(wrong):
        found = study.judge(right | change)[i]
        assert found.verdict == "differs", (found.says, found.ours)
        assert found.why == study.claims[i].why


def test_a_share_is_settled_by_its_interval():
    """What lies in the range, but might as well lie outside, is not said to hold; nor does what nobody can tell."""
    found = [share(seen, n, low=0.95)[1] for seen, n in ((0.99, 1000), (0.97, 100), (0.93, 100), (0.93, 10_000))]
    assert found == [True, None, None, False]
    assert share(0.5, 100)[0] == "50.0 % (40.4 to 59.6)"
    assert (
        settled((math.nan, math.nan), 0, 1) is None
        and within(est(1.0, 0.1), 0.7, 1.3) is True
        and within(est(math.nan)) is not True
    )
    assert [every(*v) for v in ((True, True), (True, None), (None, False), ())] == [True, None, False, True]


def test_no_higher_than_another_by_more_than_a_margin():
    """ "Cannot tell" is not "no higher": where the error is as large as the margin, nobody knows."""
    a = est(1.0, 0.1, 1)
    gaps = [(0.0, 0.1, True), (0.6, 0.1, None), (1.2, 0.1, False), (0.0, 0.5, None)]
    assert [below(est(1.0 + gap, error, 2), a, False, margin=0.5) for gap, error, _ in gaps] == [want for *_, want in gaps]


def test_a_difference_counts_from_two_standard_errors():
    a, near, far = est(1.0, 0.1, 1), est(1.2, 0.1, 2), est(1.5, 0.1, 3)
    assert [below(a, near, False), below(a, far, False), below(far, a, False)] == [None, True, False]
    shared = est(1.1, 0.1, 1)  # the same noise: what it does to both cancels
    assert below(a, shared) is True and below(a, shared, False) is None


@pytest.mark.parametrize(
    ("change", "holds"),
    {
        "exact draws": (lambda x, m: x, True),
        "half the variance": (
            lambda x, m: m.means[m.posterior(x).argmax(1)] + 0.5**0.5 * (x - m.means[m.posterior(x).argmax(1)]),
            False,
        ),
        "a shift by .15": (lambda x, m: x + 0.15, False),
        "two fifths of one group lost to the other": (
            lambda x, m: torch.where(torch.arange(len(x))[:, None] < 800, m.means[1], x),
            False,
        ),
        "one group only": (lambda x, m: x[m.posterior(x).argmax(1) == 0], False),
        "nowhere": (lambda x, m: x * math.nan, False),
        "far": (lambda x, m: x * 1e30, False),
    }.values(),
)
def test_samples_are_of_a_law_group_by_group(change, holds):
    """2,000 draws; of exact ones a bound of three standard errors and a margin is crossed less than once in a thousand times."""
    m = law(CHAIN)
    x = change(m.sample(2000, ud.Noise(range(2000)).fold("x")), m)
    assert recovered(x, m) is holds
