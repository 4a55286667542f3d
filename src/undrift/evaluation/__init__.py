"""Judging samples: recognition by a classifier, nearest training neighbours."""

from undrift.metrics.neighbours import nearest_neighbours
from undrift.metrics.recognition import Judge, train_judge

__all__ = ["Judge", "nearest_neighbours", "train_judge"]
