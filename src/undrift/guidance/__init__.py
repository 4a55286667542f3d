"""Guidance: denoisers that wrap denoisers."""

from undrift.guidance.edit import DataEdit, Edit, clip, dynamic_threshold
from undrift.guidance.mix import Mix, guidance_scale

__all__ = ["DataEdit", "Edit", "Mix", "clip", "dynamic_threshold", "guidance_scale"]
