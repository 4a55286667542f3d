"""The error budget: read `budget` first, then `repair` (the metric), `prior` and `score` (nats), `field`, `report`."""

from undrift.diagnosis.budget import Budget, diagnose

__all__ = ["Budget", "diagnose"]
