"""Forward processes: the pair (alpha, sigma) and what follows from it. Read `base` first."""

from undrift.process.base import Process, as_time, checked, expand
from undrift.process.chain import DDPM, SMLD
from undrift.process.continuous import VE, VP, Cosine, Karras, Rectified, SubVP
from undrift.process.learned import Learned, Monotone
from undrift.process.linear_sde import LinearSDE

__all__ = [
    "DDPM",
    "SMLD",
    "VE",
    "VP",
    "Cosine",
    "Karras",
    "Learned",
    "LinearSDE",
    "Monotone",
    "Process",
    "Rectified",
    "SubVP",
    "as_time",
    "checked",
    "expand",
]
