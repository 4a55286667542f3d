"""Loops say how far they are, each share once and in order, whatever they are part of."""

import sys

import pytest
import torch

import undrift as ud
from undrift import progress
from undrift.imputation.measured import by_particles
from undrift.solver import Solver
from undrift.watching import portions, tell, watched, watching


@pytest.fixture
def seen():
    shares = []
    with watching(shares.append):
        yield shares
    assert not watched()


def test_a_part_of_a_part_is_a_share_of_the_whole(seen):
    for _ in portions(range(2)):
        for _ in portions("ab"):
            tell(0.5)
    assert seen == pytest.approx([1 / 8, 1 / 4, 3 / 8, 1 / 2, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1, 1])


def test_nobody_watches_and_nothing_happens():
    tell(0.5)
    assert list(portions([3, 4])) == [3, 4]


def test_what_is_left_half_way_is_watched_by_nobody_afterwards(seen):
    for _ in portions(range(3)):
        break
    tell(0.75)
    assert seen[-1] == 0.75


LAW = ud.GaussianMixture(torch.tensor([[-1.0], [1.0]]), 0.3)


def test_a_sampler_tells_every_step_of_every_batch(seen):
    ud.sample(LAW, (6, 1), ud.Ancestral(), 4, batch_size=3)
    told = [share for share in dict.fromkeys(seen)]
    assert told == pytest.approx([i / 8 for i in range(9)][told[0] > 0 :])


def test_a_likelihood_tells_how_far_it_is(seen):
    for how in ({"steps": 5}, {"rtol": 1e-4}):
        seen.clear()
        ud.log_likelihood(LAW, torch.zeros(4, 1), batch_size=2, **how)
        assert seen == sorted(seen) and seen[-1] == 1 and len(seen) > 8


def test_a_solver_tells_how_far_its_slowest_sample_is(seen):
    rates = torch.tensor([[1.0], [50.0]], dtype=torch.float64)
    Solver(rtol=1e-8)(lambda t, y: (-rates * y[0],), (torch.ones(2, 1, dtype=torch.float64),), 0.0, 1.0)
    assert seen == sorted(seen) and seen[0] == 0 and 0.9 < seen[-1] < 1


def test_particles_and_imputation_tell(seen):
    x = torch.tensor([[float("nan"), 0.3], [0.1, float("nan")]])
    law = ud.GaussianMixture(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), 0.3)
    for call in (
        lambda: ud.impute(law, x, ~x.isnan(), draws=2, steps=5, batch_size=2),
        lambda: by_particles(law, x, ~x.isnan(), draws=2, steps=5, particles=2),
    ):
        seen.clear()
        call()
        assert seen == sorted(seen) and seen[-1] == 1 and len(seen) > 5


def test_a_bar_in_python_where_somebody_types_and_only_there(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SHORT", 0.0)
    monkeypatch.setattr(progress, "EVERY", 0.0)

    @progress.shown("sampling")
    def work(n, *, fails=False):
        """Words."""
        for _ in portions(range(n)):
            tell(1.0)
        return n

    assert work(2) == 2 and work.__doc__ == "Words." and capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert work(2) == 2
    out, err = capsys.readouterr()
    assert out == "" and "sampling" in err and "50 %" in err
    with watching(lambda share: None):  # by an outer bar: one is enough
        work(2)
    assert capsys.readouterr().err == ""
