"""The small digits that come with scikit-learn: no file, no network."""

from __future__ import annotations

import numpy as np

from undrift.data.dataset import Dataset
from undrift.data.spec import Spec
from undrift.error import DataError

__all__ = ["digits"]


def digits(downsample: int = 1, labels: bool = True) -> Dataset:
    """1,797 handwritten digits of 8 x 8 pixels, or smaller.

    Args:
        downsample: 2 or 4: averages of squares of so many pixels, for the first stage of a cascade.
        labels: False: the pictures alone, for a model that knows of no classes.

    Returns:
        x: (1797, 1, 8, 8) uint8 in 0..16, background 0; classes "0" to "9", 174 to 183 of each. Averages are float32.

    Raises:
        DataError: scikit-learn is not installed, or another `downsample`.

    Source: the test part of "Optical recognition of handwritten digits" (Alpaydin & Kaynak 1998), UCI Machine
    Learning Repository, as `sklearn.datasets.load_digits`.
    """
    if downsample not in (1, 2, 4):
        raise DataError(f"digits: downsample={downsample}; give 1, 2 or 4")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError("digits: the images come with scikit-learn, run: pip install scikit-learn") from error
    found = load_digits()
    side = 8 // downsample
    classes = [str(i) for i in range(10)] if labels else []
    spec = Spec.bounded((1, side, side), 0, 16, integer=downsample == 1, classes=classes)
    x = found.images.astype(np.uint8)[:, None]
    if downsample > 1:
        x = x.reshape(-1, 1, side, downsample, side, downsample).mean((3, 5)).astype(np.float32)
    return Dataset(x, found.target if labels else None, spec, "digits")
