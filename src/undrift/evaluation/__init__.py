"""Judging the samples of runs: read `evaluate` first, then `judgement`; `report` and `page` show what was found."""

from undrift.metrics.neighbours import nearest_neighbours
from undrift.metrics.recognition import Judge, train_judge

__all__ = ["Judge", "nearest_neighbours", "train_judge"]
