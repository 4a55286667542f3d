"""Imputation: filling in what is missing, with a denoiser that was never trained for it."""

from undrift.imputation.known import Known, impute
from undrift.imputation.masks import named_mask

__all__ = ["Known", "impute", "named_mask"]
