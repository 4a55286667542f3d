"""The small digits that come with scikit-learn: no file, no network."""

from __future__ import annotations

import numpy as np

from undrift.data.dataset import Dataset
from undrift.data.spec import Spec
from undrift.error import DataError

__all__ = ["digits"]


def digits() -> Dataset:
    """1,797 handwritten digits of 8 x 8 pixels.

    Returns:
        x: (1797, 1, 8, 8) uint8 in 0..16, background 0; classes "0" to "9", 174 to 183 of each.

    Raises:
        DataError: scikit-learn is not installed.

    Source: the test part of "Optical recognition of handwritten digits" (Alpaydin & Kaynak 1998), UCI Machine
    Learning Repository, as `sklearn.datasets.load_digits`.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError("digits: the images come with scikit-learn, run: pip install scikit-learn") from error
    found = load_digits()
    spec = Spec.bounded((1, 8, 8), 0, 16, integer=True, classes=[str(i) for i in range(10)])
    return Dataset(found.images.astype(np.uint8)[:, None], found.target, spec, "digits")
