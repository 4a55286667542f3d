"""Verdicts on made numbers: of the right ones every claim holds, and for each claim there are wrong ones of which it does not."""

import pytest

from study.made import MADE, est
from undrift.study.base import below, share
from undrift.study.catalogue import STUDIES


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


def test_a_share_is_within_error_where_its_interval_reaches():
    assert [share(seen, n, low=0.95)[1] for seen, n in ((0.97, 100), (0.93, 100), (0.93, 10_000))] == [True, None, False]
    assert share(0.5, 100)[0] == "50.0 % (40.4 to 59.6)"


def test_a_difference_counts_from_two_standard_errors():
    a, near, far = est(1.0, 0.1, 1), est(1.2, 0.1, 2), est(1.5, 0.1, 3)
    assert [below(a, near, False), below(a, far, False), below(far, a, False)] == [None, True, False]
    shared = est(1.1, 0.1, 1)  # the same noise: what it does to both cancels
    assert below(a, shared) is True and below(a, shared, False) is None
