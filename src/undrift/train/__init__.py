"""Training: the loop (`trainer`), the average (`ema`), the state on disk (`checkpoint`), a terminal session (`session`)."""

from undrift.train.ema import EMA
from undrift.train.trainer import Report, Trainer

__all__ = ["EMA", "Report", "Trainer"]
