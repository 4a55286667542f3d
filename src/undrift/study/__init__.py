"""The papers' experiments, one file each: what a paper says, what we get, a verdict on each claim, and its figure.

`base` says what a study is, `context` holds what studies share (data, models trained once, the judge), `catalogue` lists them,
`figure` draws in the papers' layouts, `record` keeps results on disk, `report` shows them.
"""

from undrift.study.base import Claim, Finding, Result, Study
from undrift.study.context import StudyContext

__all__ = ["Claim", "Finding", "Result", "Study", "StudyContext"]
