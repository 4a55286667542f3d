"""The papers' experiments, one file each: what a paper says, what we get, a verdict on each claim, and its figure.

`base` says what a study is, `context` what studies share (data, models trained once, the judge), `catalogue` lists them, `record`
keeps results, `report` shows them.
"""

from undrift.study.base import Claim, Finding, Result, Study
from undrift.study.context import StudyContext

__all__ = ["Claim", "Finding", "Result", "Study", "StudyContext"]
