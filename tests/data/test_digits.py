"""The embedded digits."""

import builtins

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from undrift.data.digits import digits
from undrift.error import DataError


def test_digits_are_those_of_scikit_learn_in_0_to_16():
    data, source = digits(), load_digits()
    assert len(data) == 1797
    assert data.spec.shape == (1, 8, 8)
    assert (data.spec.low, data.spec.high, data.spec.integer) == (0, 16, True)
    assert data.spec.classes == tuple("0123456789")
    assert np.array_equal(data.raw().numpy()[:, 0], source.images)
    assert np.array_equal(data.labels, source.target)


def test_pictures_alone():
    data = digits(labels=False)
    assert data.labels is None and data.spec.classes == ()
    assert torch.equal(data.raw(), digits().raw())


def test_digits_fill_model_space_and_come_back():
    data = digits()
    x0, _ = data.batch(torch.arange(1797))
    assert (x0.min().item(), x0.max().item()) == (-1.0, 1.0)
    assert torch.equal(data.spec.from_model(x0), data.raw())


def test_without_scikit_learn(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DataError, match="the images come with scikit-learn, run: pip install scikit-learn"):
        digits()
