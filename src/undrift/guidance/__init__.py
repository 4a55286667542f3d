"""Guidance: denoisers that wrap denoisers."""

from undrift.guidance.compose import Compose
from undrift.guidance.edit import DataEdit, Edit, clip, dynamic_threshold
from undrift.guidance.interval import Interval
from undrift.guidance.mix import Mix
from undrift.guidance.noisy_classifier import NoisyClassifier
from undrift.guidance.scale import guidance_scale
from undrift.guidance.tilt import Tilt, class_log_prob
from undrift.guidance.told import WhereTold

__all__ = [
    "Compose",
    "DataEdit",
    "Edit",
    "Interval",
    "Mix",
    "NoisyClassifier",
    "Tilt",
    "WhereTold",
    "class_log_prob",
    "clip",
    "dynamic_threshold",
    "guidance_scale",
]
