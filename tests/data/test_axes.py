"""How the axes of an array are read: said where it was guessed, refused where two readings are as likely."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from undrift import console
from undrift.data import array
from undrift.data.axes import Reading, read_axes, reading_of
from undrift.error import DataError


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """What was told before is told again."""
    monkeypatch.setattr(console, "_told", set())


GUESSED = [
    ((600, 200, 3), "f4", "NLC"), ((600, 3, 200), "f4", "NCL"), ((5, 2, 7), "f4", "NCL"), ((9, 1, 50), "f8", "NCL"),
    ((60, 28, 28), "u1", "NHW"), ((6, 5, 4), "u1", "NHW"), ((5, 64, 64, 3), "f4", "NHWC"), ((5, 16, 16, 3), "u1", "NHWC"),
    ((5, 3, 32, 32), "f4", "NCHW"), ((6, 2, 8, 8), "u1", "NCHW"), ((6, 16, 16, 2), "u1", "NHWC"), ((9, 8, 64, 64), "f4", "NCHW"),
    ((5, 24, 24, 24), "f4", "NDHW"), ((6, 2, 8, 9, 10), "f4", "NCDHW"), ((6, 8, 9, 10, 2), "f4", "NDHWC"), ((9, 1, 28, 28), "u1", "NCHW"),
]  # fmt: skip
AMBIGUOUS = [
    ((600, 28, 28), "f4", "NHW"), ((5, 3, 16, 4), "u1", "NCHW"), ((9, 20, 64, 64), "f4", "NDHW"), ((9, 200, 3), "u1", "NLC"),
    ((9, 16, 3, 64, 64), "f4", "NDCHW"), ((5, 4, 4, 4), "f4", "NCHW"),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "kind", "axes"), GUESSED)
def test_what_is_likely_is_guessed_and_told(shape, kind, axes, tmp_path, capsys):
    assert reading_of(shape, np.dtype(kind), "x") == Reading(axes, True)
    x = np.random.default_rng(0).integers(0, 200, shape).astype(kind)
    np.save(tmp_path / "x.npy", x)
    data = array(tmp_path / "x.npy")
    assert np.array_equal(data.raw().numpy(), Reading(axes).laid_out(x))
    assert f"(axes {axes}); to read it otherwise give data.axes" in capsys.readouterr().err
    array(tmp_path / "x.npy")
    assert capsys.readouterr().err == ""  # once
    array(tmp_path / "x.npy", axes=axes)
    assert capsys.readouterr().err == ""  # and not where it was said


@pytest.mark.parametrize(("shape", "kind", "axes"), AMBIGUOUS)
def test_two_readings_are_refused_and_named(shape, kind, axes, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(shape, kind))
    with pytest.raises(DataError, match=rf"can be read in several ways; say which: .*data\.axes={axes} \(") as caught:
        array(tmp_path / "x.npy")
    assert "\n" not in str(caught.value)
    assert len(array(tmp_path / "x.npy", axes=axes)) == shape[0]


def test_every_reading_by_its_name(tmp_path):
    x = np.arange(2 * 3 * 4 * 5, dtype="f4").reshape(2, 3, 4, 5)
    np.save(tmp_path / "x.npy", x)
    for axes in ("NCHW", "NHWC", "NDHW", "CNHW", "HWCN", "WHNC"):
        data = array(tmp_path / "x.npy", axes=axes)
        got, places = data.raw().numpy(), {letter: axes.index(letter) for letter in axes}
        wanted = x.transpose([places[letter] for letter in ("NCHW" if "C" in axes else "NDHW")])
        assert np.array_equal(got, wanted if "C" in axes else wanted[:, None])
    assert Reading("NLC").said((600, 200, 3)) == "600 sequences of 200 steps with 3 channels (axes NLC)"


@pytest.mark.parametrize(("axes", "message"), [
    ("NHW", "names 3 axes, but the array has 2"), ("HW", "name each axis once"), ("NN", "name each axis once"), ("N?", "name each"),
    ("NHL", "name each axis once"), ("NW", "name each axis once"), ("", "name each axis once"), (3, "name each axis once"), ("NCC", "name each"),
])  # fmt: skip
def test_names_that_make_no_sense(axes, message):
    with pytest.raises(DataError, match=message):
        read_axes(axes, (4, 5), "x.npy")


def test_axes_and_layout_say_the_same_thing(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 5), "f4"))
    with pytest.raises(DataError, match=r"data\.axes=NC and data\.layout=images both say"):
        array(tmp_path / "x.npy", layout="images", axes="NC")


@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.sampled_from(["u1", "f4"]))
def test_any_shape_is_read_or_refused_in_a_line(shape, kind):
    try:
        reading = reading_of(tuple(shape), np.dtype(kind), "x")
    except DataError as error:
        said = str(error)
    else:
        said = reading.said(tuple(shape)) if reading.axes else ""
        laid = reading.laid_out(np.empty(shape, kind))
        assert laid.shape[0] == shape[0] and laid.size == np.prod(shape)
    assert "\n" not in said
