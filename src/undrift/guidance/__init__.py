"""Guidance: denoisers made from denoisers."""

from undrift.guidance.mix import Mix, guidance_scale

__all__ = ["Mix", "guidance_scale"]
