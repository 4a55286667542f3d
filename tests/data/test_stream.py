"""Addressed random numbers: a pure function of (seed, purpose, position)."""

import numpy as np
import pytest

from undrift.data.stream import stream


def test_the_same_address_gives_the_same_numbers_and_more_of_them_start_alike():
    assert np.array_equal(stream(3, "a", "b").random(50)[:10], stream(3, "a", "b").random(10))


def test_known_values():
    """Saved data splits depend on these: a change here moves examples between training and held-out."""
    numbers = stream(0, "split").random(3).tolist()
    assert numbers == [0.5155286154925495, 0.06967287598469607, 0.6262194892978808]


@pytest.mark.parametrize("other", [(4, "a", "b"), (3, "a"), (3, "b", "a")])
def test_another_address_gives_other_numbers(other):
    assert not np.isclose(stream(3, "a", "b").random(10), stream(*other).random(10)).any()


def test_the_global_state_is_neither_read_nor_changed():
    np.random.seed(0)  # noqa: NPY002
    first = stream(0, "a").random(4)
    after = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    assert after == np.random.random()  # noqa: NPY002
    assert np.array_equal(first, stream(0, "a").random(4))


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0", None])
def test_bad_seed(seed):
    with pytest.raises(ValueError, match="`seed` must be an integer from 0 up, but it is"):
        stream(seed, "a")
