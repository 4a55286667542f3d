"""The toys have the laws they say; tolerances are five standard errors."""

import numpy as np
import pytest
import torch

from undrift.data import toys
from undrift.data.toys import TOYS, checkerboard, mixture, mixture_law, moons, swiss_roll, toy
from undrift.error import DataError

N = 20_000


@pytest.mark.parametrize("name", TOYS)
def test_a_larger_set_continues_a_smaller_one_and_another_seed_is_another_set(name):
    large, small = toy(name, 500, seed=3), toy(name, 120, seed=3)
    assert torch.equal(large.raw()[:120], small.raw())
    assert large.spec == small.spec
    if large.labels is not None:
        assert np.array_equal(large.labels[:120], small.labels)
    other = toy(name, 120, seed=4)
    assert not torch.isclose(other.raw(), small.raw(), atol=0, rtol=1e-6).any()
    assert other.spec == small.spec


@pytest.mark.parametrize("name", TOYS)
def test_units_are_the_mean_and_deviation_of_the_law(name):
    x0, _ = toy(name, N).batch(torch.arange(N))
    x0 = x0.double()
    assert (x0.mean(0).abs() < 5 / N**0.5).all()
    error = (x0**4).mean(0).sub(1).sqrt() / N**0.5  # of the mean of x0^2
    assert ((x0**2).mean(0).sub(1).abs() < 5 * error).all()


def test_mixture_follows_its_law_component_by_component():
    means, std = mixture_law()
    data = mixture(N)
    x = data.raw().double().numpy()
    counts = np.bincount(data.labels, minlength=8)
    assert np.abs(counts - N / 8).max() < 5 * (N / 8 * 7 / 8) ** 0.5
    for k in range(8):
        own = (x[data.labels == k] - means[k]) / std
        assert np.abs(own.mean(0)).max() < 5 / counts[k] ** 0.5
        assert np.abs(np.cov(own.T) - np.eye(2)).max() < 5 * (2 / counts[k]) ** 0.5
    assert np.allclose(np.hypot(*means.T), 4)
    assert data.spec.classes == tuple("01234567")


def test_mixture_units_are_one_number_so_components_stay_round():
    spec = mixture(1).spec
    assert spec.shift == (0.0, 0.0)
    assert spec.scale[0] == spec.scale[1] == pytest.approx((8 + 0.09) ** 0.5)


def test_moons_lie_on_their_half_circles():
    data = moons(2000, noise=0.0)
    x, lower = data.raw().double().numpy(), data.labels == 1
    assert np.abs(np.hypot(*x[~lower].T) - 1).max() < 1e-6
    assert np.abs(np.hypot(*(x[lower] - [1, 0.5]).T) - 1).max() < 1e-6
    assert x[~lower, 1].min() > -1e-6
    assert x[lower, 1].max() < 0.5 + 1e-6
    assert abs(lower.mean() - 0.5) < 5 * 0.5 / 2000**0.5
    assert data.spec.classes == ("upper", "lower")


def test_moons_blur_has_the_deviation_asked_for():
    blur = (moons(N, noise=0.2).raw() - moons(N, noise=0.0).raw()).double()
    assert (blur.std(0) - 0.2).abs().max() < 5 * 0.2 / (2 * N) ** 0.5


def test_swiss_roll_is_the_spiral():
    x = swiss_roll(2000, noise=0.0).raw().double().numpy()
    radius = np.hypot(*x.T)
    assert radius.min() >= 1.5 * np.pi - 1e-5
    assert radius.max() <= 4.5 * np.pi + 1e-5
    assert np.abs(x - radius[:, None] * np.stack([np.cos(radius), np.sin(radius)], 1)).max() < 1e-4
    assert abs(radius.mean() - 3 * np.pi) < 5 * 3 * np.pi / 12**0.5 / 2000**0.5


def test_checkerboard_is_uniform_on_the_dark_squares():
    x = checkerboard(N).raw().double().numpy()
    cell = np.floor(x / 2).astype(int)
    assert ((cell.sum(1) % 2) == 0).all()
    assert np.abs(x).max() <= 4
    counts = np.unique(cell, axis=0, return_counts=True)[1]
    assert len(counts) == 8
    assert np.abs(counts - N / 8).max() < 5 * (N / 8 * 7 / 8) ** 0.5
    inside = x / 2 - cell
    assert np.abs(inside.mean(0) - 0.5).max() < 5 / 12**0.5 / N**0.5
    assert abs(np.corrcoef(inside.T)[0, 1]) < 5 / N**0.5


def test_toy_passes_its_options_on():
    assert torch.equal(toy("moons", 50, 2, 0.3).raw(), moons(50, 2, 0.3).raw())
    assert toy().name == "mixture"
    assert len(toy("swiss_roll")) == 10_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "moon"}, r'toy: "moon" is unknown — did you mean "moons"\?'),
        ({"name": "xyz"}, 'toy: "xyz" is unknown — known: mixture, moons, swiss_roll, checkerboard'),
        ({"n": 0}, "mixture: `n` is the number of points and must be 1 or more, but it is 0"),
        ({"n": 10.0}, "mixture: `n` .* but it is 10.0"),
        ({"seed": -1}, "mixture: `seed` must be an integer from 0 up, but it is -1"),
        ({"name": "moons", "noise": -0.1}, "moons: `noise` is a standard deviation .* but it is -0.1"),
        ({"name": "moons", "noise": "a"}, "moons: `noise` is a standard deviation .* but it is 'a'"),
        ({"name": "mixture", "noise": 0.1}, "toy: mixture takes no `noise`; only moons and swiss_roll"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(DataError, match=message):
        toy(**options)


def test_every_toy_is_in_the_table():
    assert {*TOYS} == {"mixture", "moons", "swiss_roll", "checkerboard"} <= {*toys.__all__}
