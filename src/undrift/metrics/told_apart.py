"""Can a classifier tell samples from data? The two-sample test by a forest of trees."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from undrift.metrics.estimate import LEAST, Estimate, checked, mean
from undrift.metrics.metric import Measure, Metric, Space, Unmeasurable


def told_apart(x: Tensor, reference: Tensor, seed: int = 0) -> tuple[Estimate, int]:
    """Classifier two-sample test: the share that a forest, trained on half of both, tells right of the other half.

    1/2 for equal laws. Every second row is for training; the first rows of the longer set are used, so that both are as many.

    Args:
        x, reference: `(n, *D)` and `(M, *D)`, at least 40 rows each, in no particular order.

    Returns:
        The share, with replicates by groups of rows of `x`; and the number of examples that it is of.

    Source: Lopez-Paz & Oquab 2017, sec. 3.
    """
    from sklearn.ensemble import RandomForestClassifier  # loaded where it is needed: it takes as long as torch

    n = min(len(x), len(reference))
    sets = [checked(s)[:n] for s in (x, reference)]
    known, unknown = (torch.cat([s[start::2] for s in sets]).numpy() for start in (0, 1))
    half = [len(range(start, n, 2)) for start in (0, 1)]
    forest = RandomForestClassifier(100, min_samples_leaf=3, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forest.fit(known, np.repeat([0, 1], half[0]))
        right = forest.predict(unknown) == np.repeat([0, 1], half[1])
    both = torch.from_numpy(right).double().reshape(2, -1).mean(0)  # row i of each
    return mean(both), 2 * half[1]


def _against(space: Space) -> Measure:
    m, known = space.samples, space.train.rows[: space.samples]
    if m < 2 * LEAST:
        raise Unmeasurable(f"{m} samples are too few to train on half of them; {2 * LEAST} are the least")
    return Measure(lambda points: told_apart(points.rows, known)[0] if len(points.rows) >= 2 * LEAST else None, 2 * LEAST)


METRIC = Metric(
    "told_apart",
    "told apart by a classifier",
    "lower",
    "whatever a forest of trees finds; 0.5 is a coin",
    "values",
    _against,
    0.0,
    1.0,
    lambda samples: 2 * (samples // 2),
    True,
)
