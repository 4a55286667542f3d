"""The figures by name: what each is called, which way is better, and what it sees."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Kind:
    """What a figure is called, which way is better, and what it can and cannot see."""

    name: str
    better: Literal["lower", "higher"]
    sees: str
    least: float = -math.inf  # no interval goes beyond these
    most: float = math.inf
    independent: bool = False  # a share of answers of which each is of a sample of its own


KINDS = {
    "frechet": Kind(
        "Fréchet distance",
        "lower",
        "mean and covariance of the features; nothing beyond them. Takes 1.5 samples for each feature",
    ),
    "kernel": Kind("kernel distance (KID) x 1000", "lower", "the first three moments of the features; fair to few samples"),
    "inception": Kind(
        "inception score, by the data's classifier", "higher", "sure classes, all of them; not how samples look", 1.0
    ),
    "precision": Kind("precision", "higher", "are samples where data are? nothing of what is missing", 0.0, 1.0, True),
    "recall": Kind("recall", "higher", "are data where samples are? one outlier covers much", 0.0, 1.0),
    "density": Kind("density", "higher", "as precision, but robust against real outliers; 1 for equal laws", 0.0),
    "coverage": Kind("coverage", "higher", "is every part of the data visited? nothing of bad samples", 0.0, 1.0),
    "diversity": Kind("diversity within classes", "higher", "do samples of one class differ as data do? 1 is as much", 0.0),
    "energy": Kind("energy distance", "lower", "any difference of laws; in many columns chiefly that of means"),
    "mmd": Kind("MMD² x 1000, Gaussian kernel", "lower", "any difference at about the median distance of examples"),
    "sliced": Kind("sliced Wasserstein distance", "lower", "any difference that shows in projections on lines", 0.0),
    "marginal": Kind(
        "widest gap of a column (Kolmogorov-Smirnov)", "lower", "each column alone; nothing of how they hang together", 0.0
    ),
    "correlation": Kind("difference of correlations", "lower", "linear dependence of pairs of columns", 0.0),
    "told_apart": Kind("told apart by a classifier", "lower", "whatever a forest of trees finds; 0.5 is a coin", 0.0, 1.0, True),
}

_FEATURES = ("frechet", "kernel", "precision", "recall", "density", "coverage")
KINDS |= {f"inception_{key}": replace(KINDS[key], name=f"{KINDS[key].name}, Inception") for key in _FEATURES}
KINDS["inception_frechet"] = replace(KINDS["frechet"], name="Fréchet Inception distance (FID)")
KINDS["inception_score"] = Kind(
    "inception score, Inception", "higher", "sure classes of photographs, all of them; not how samples look", 1.0
)
