"""What a reader must know before believing the metrics."""

from __future__ import annotations

from undrift.metrics.balance import Balance
from undrift.metrics.metric import Space
from undrift.metrics.reference import Reference


def warnings(on: Reference, n: int, balances: dict[str, Balance]) -> list[str]:
    """One line each."""
    said, m = [], on.samples
    if m < n:
        said.append(f"metrics are of the first {m:,} samples: there are only {m:,} examples to compare as many with")
    for space in on.spaces:
        said += [*space.careful, *_too_few(space, m)]
    if m < 200:
        said.append(f"{m:,} samples: too few for twenty groups, so the error bars are themselves uncertain")
    if on.train.labels is not None and len(set(on.train.labels.tolist())) < 2:
        said.append("one class only: what compares classes is not measured")
    if on.judge is not None and on.judge.accuracy < 0.9:
        said.append(
            f"the classifier is right on {100 * on.judge.accuracy:.1f} % of held-out examples only: recognition and class "
            "frequencies are not to be trusted"
        )
    for what, found in balances.items():
        if found.fewest < 5:
            said.append(f"class frequencies of {what}: a class is expected {found.fewest:.1f} times, fewer than 5; p is rough")
    return said


def _too_few(space: Space, m: int) -> list[str]:
    """Whether columns have samples enough; what takes more in features says so in its place."""
    if "energy" in space.floor and m <= space.size:
        return [
            f"{m:,} samples of {space.size:,} columns: fewer samples than columns, so only large differences between laws "
            "are seen"
        ]
    return []
