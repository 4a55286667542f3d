"""A metric is one file and one line of the registry: then it is measured, compared by, and named in every message."""

import argparse

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import undrift as ud
from undrift.cli import options
from undrift.data import Dataset, Spec
from undrift.error import UndriftError
from undrift.metrics import reference as reference_module
from undrift.metrics.criterion import comparable, of_data
from undrift.metrics.estimate import jackknife
from undrift.metrics.metric import Measure, Metric
from undrift.metrics.recognition import read_cache, write_cache
from undrift.metrics.reference import Reference
from undrift.metrics.registry import METRICS
from undrift.recipe.tables import GRIDS
from undrift.tuning.frontier import frontier


def _against(space):
    centre = space.train.rows.double().mean(0)
    return Measure(lambda p: jackknife(lambda kept: float((p.rows[kept].double().mean(0) - centre).norm()), len(p.rows)))


NEW = Metric("means", "distance of the means", "lower", "the means and nothing else", "values", _against)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry") / "toy"
    ud.train("toy", out=folder, steps=3, **{"data.n": 600, "network.width": 8, "network.depth": 1, "sample_every": 0})
    return folder


def test_a_metric_of_ones_own_reaches_evaluate_frontier_and_diagnose(run, monkeypatch):
    monkeypatch.setitem(METRICS, "means", NEW)
    found = ud.evaluate(run, 60, sampler="ddim", steps=2)
    result = found.metrics["means"]
    assert result.verdict in ("as real data", "worse than real data", "beyond real data") and "distance of the means" in str(
        found
    )
    model = ud.load(run)
    chosen = frontier(model, 60, folder=run, samplers=["ddim"], grids=["straight"], evaluations=[2], metric="means")
    assert chosen.criterion.name == "distance of the means to training data"
    budget = ud.diagnose(model, n=60, folder=run, steps=2, metric="means")
    assert budget.task.criterion.name == chosen.criterion.name


def test_the_floor_is_what_the_metric_says_of_held_out_examples(run):
    """By hand: the held-out rows of the reference against its training rows."""
    train, held_out = ud.run.Run(run).data()
    reference = Reference(train, held_out, 60)
    space = reference.values
    wanted = METRICS["energy"].against(space).of(space.held_out)
    assert reference.spaces == (space,) and space.floor["energy"] == wanted
    assert of_data(reference).floor == wanted and of_data(reference, metric="mmd").floor == space.floor["mmd"]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("enrgy", "did you mean .energy."),
        ("recall", "cannot be compared by"),
        ("inception_frechet", "cannot be compared by"),
        ("frechet", "is of pictures of at least 8 x 8"),
        ("correlation", "one column only"),
    ],
)
def test_a_metric_that_cannot_be_compared_by_is_one_line(metric, message):
    data = Dataset(torch.randn(200, 1).numpy(), None, Spec((1,), None, None, False, 0.0, 1.0), "table")
    with pytest.raises(UndriftError, match=message) as caught:
        of_data(Reference(*data.split(0.3, 0), 50), metric=metric)
    assert "\n" not in str(caught.value)


def test_what_is_compared_by_is_less_for_what_is_better():
    assert comparable() and all(METRICS[key].better == "lower" for key in comparable())


def test_an_unknown_metric_is_said_before_anything_is_read(run, tmp_path):
    for measure in (lambda: frontier(ud.load(run), 60, folder=tmp_path / "none", metric="enrgy"),
                    lambda: ud.diagnose(ud.load(run), n=60, folder=tmp_path / "none", metric="enrgy")):  # fmt: skip
        with pytest.raises(UndriftError, match=r"did you mean .energy."):
            measure()


def test_the_help_names_every_metric_and_every_grid():
    """They stand in the help as words, since the tables themselves load torch."""
    told = {action.dest: action.help for action in _options()}
    assert set(comparable()) == set(told["metric"].partition(": ")[2].partition(" (")[0].split(", "))
    assert {*GRIDS, "fitted"} == set(told["grid"].partition(": ")[2].partition(" (")[0].split(", "))


def _options():
    parser = argparse.ArgumentParser()
    options.sampling(parser)
    options.metric(parser)
    return parser._actions


def test_the_training_examples_are_looked_at_once_for_several_runs(monkeypatch):
    """The network that judges sees every training example once, however many sets of samples are compared."""
    seen = []
    plain = reference_module.features
    monkeypatch.setattr(reference_module, "features", lambda network, y: seen.append(len(y)) or plain(network, y))
    data = Dataset(np.random.default_rng(0).integers(0, 9, (90, 1, 8, 8)).astype(np.uint8), None, spec_of_pictures(), "pictures")
    reference = Reference(*data.split(0.4, 0), 30)
    y = reference.real[0]
    first, second = reference.memories(y), reference.memories(y)
    assert seen.count(len(reference.train)) == 2  # of the space, and of all; not once more for the second
    assert first[1].likeness.equal(second[1].likeness)


def spec_of_pictures():
    return Spec.bounded((1, 8, 8), 0, 8, integer=True)


def test_a_strangers_tensors_are_not_replaced_by_a_cache(tmp_path):
    mine = tmp_path / "classifier.safetensors"
    save_file({"a": torch.ones(2)}, mine)
    before = mine.read_bytes()
    write_cache(mine, {"b": torch.zeros(3)}, "key")
    assert mine.read_bytes() == before
    mine.write_bytes(b"half of a file")  # of an earlier session, say
    write_cache(mine, {"b": torch.zeros(3)}, "key")
    assert read_cache(mine, "key")["b"].tolist() == [0, 0, 0]


def test_with_a_law_no_metric_can_be_named():
    law = ud.GaussianMixture([[-1.0], [1.0]], 0.4)
    with pytest.raises(ValueError, match="leave out `metric`"):
        frontier(law, 60, metric="mmd")
    with pytest.raises(ValueError, match="leave out `metric`"):
        ud.diagnose(law, law, 60, metric="mmd")
