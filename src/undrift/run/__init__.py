"""The folder of a run: read `folder` first; `log`, states and snapshots (`groups`), and what guides its samples (`guide`)."""

from undrift.run.folder import Run

__all__ = ["Run"]
