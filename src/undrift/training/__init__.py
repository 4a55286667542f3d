"""Training: read `fit` first, then `trainer`, which is the loop.

The loop (`trainer`), what is done after each of its steps (`watch`), and a session at the terminal (`plan`, `session`). States on
the disk (`checkpoint`), the log (`log`), averages of the weights (`ema`, `posthoc`, `averages`), a run as it was
(`earlier`). Is it learning? Looks at the held-out
loss (`monitor`), a figure of quality (`quality`), the verdict (`status`), its curves (`curves`, `boards`), and what went wrong
(`autopsy`).
"""

from undrift.run.earlier import load_earlier
from undrift.training.ema import EMA
from undrift.training.trainer import Report, Trainer

__all__ = ["EMA", "Report", "Trainer", "load_earlier"]
