"""Figures do not depend on the dtype that the user has made torch's default."""

import numpy as np
import pytest
import torch

import undrift as ud
from conftest import mixture
from undrift.data import Dataset, Spec, digits
from undrift.diagnosis import report
from undrift.metrics.energy import Energy
from undrift.metrics.features import features, train_encoder
from undrift.metrics.frechet import Frechet
from undrift.metrics.marginal import columns
from undrift.metrics.memorization import by_cosine
from undrift.metrics.metric import Points, Space
from undrift.metrics.neighbours import nearest_neighbours
from undrift.metrics.recognition import predict, shifted, train_judge
from undrift.metrics.reference import Reference
from undrift.metrics.registry import METRICS, metrics_of
from undrift.metrics.result import MetricResult
from undrift.tuning.frontier import frontier

LAW = mixture()
OTHERS = [torch.float64, torch.bfloat16, torch.float16]


def table(n, seed):
    x = np.random.default_rng(seed).standard_normal((n, 3)).astype(np.float32)
    return Dataset(x, None, Spec((3,), None, None, False, 0.0, 1.0), "table")


def of_vectors():
    """Every figure of vectors, their verdicts, likeness to training examples, columns."""
    train, held_out, y = table(200, 0), table(60, 1), torch.from_numpy(table(60, 2).raw().numpy())
    reference = Reference(train, held_out, 60)
    (space,) = reference.spaces
    own = space.estimates(y, None)
    verdicts = [
        MetricResult(METRICS[k], e, space.floor[k], METRICS[k].answers(reference.samples)).interval(e) for k, e in own.items()
    ]
    (memory,) = reference.memories(y)
    return own, verdicts, memory.likeness.tolist(), memory.odds_interval, columns(y, train.batch(torch.arange(200))[0])


def in_features(seen, m):
    """The space of these features against `m` points of theirs."""

    def see(h, labels):
        return Points(h, labels, lambda labels: None)

    return Space("features", "", see(seen, None), see(seen[:m], None), see, metrics_of("features"))


def of_features():
    """Every figure in features, and the distances by themselves."""
    seen, h = (torch.from_numpy(np.random.default_rng(i).standard_normal((100, 4)).astype(np.float32)) for i in (0, 1))
    return in_features(seen, 100).estimates(h), Frechet(seen).plain(h), Energy(seen)(h)


def of_images():
    """A classifier and an autoencoder of a few digits, trained anew; what they see; cosines."""
    train, held_out = digits().split(0.95, 0)[0], digits().split(0.03, 0)[1]
    judge, encoder, y = train_judge(train, held_out), train_encoder(train), held_out.batch(torch.arange(20))[0]
    moved = shifted(y.repeat(200, 1, 1, 1), ud.Noise(range(4000))).sum((1, 2, 3))  # many: rounding changes one in a thousand
    found = predict(judge.classifier, y), features(encoder, y), moved, nearest_neighbours(y, train)[0]
    assert {part.dtype for part in found} == {torch.float32}
    found = (*found, by_cosine(y, y.flip(0), train).likeness)
    return judge.accuracy, *(part.tolist() for part in found)


def of_a_law():
    """A frontier and an error budget of an exact law, whose denoiser has no parameters that would say in what to sample."""
    found = frontier(LAW, 60, samplers=["dpm2m", "ancestral"], grids=["karras", "fitted"], evaluations=[3, 6])
    budget = ud.diagnose(LAW, LAW, 60, steps=4)
    return [(r.setting, r.quality, r.also) for r in found.rows], found.fitted, report.as_json(budget)["parts"]


@pytest.mark.parametrize("dtype", OTHERS, ids=str)
@pytest.mark.parametrize("measure", [of_vectors, of_features, of_images, of_a_law], ids=lambda f: f.__name__)
def test_nothing_depends_on_the_default_dtype(measure, dtype):
    wanted = measure()
    torch.set_default_dtype(dtype)
    try:
        found = measure()
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)
    assert repr(found) == repr(wanted)
