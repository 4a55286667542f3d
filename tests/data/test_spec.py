"""The map between data units and model space: exact, invertible, documented in nats; and its JSON."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch.testing import assert_close

from undrift.data.spec import Spec
from undrift.error import DataError, ModelError

BYTES = Spec.bounded((1, 16, 16), 0, 255, integer=True)
DIGITS = Spec.bounded((1, 8, 8), 0, 16, integer=True, classes=[str(i) for i in range(10)])
COLUMNS = Spec((3,), None, None, False, (1.0, -2.0, 1e4), (0.5, 4.0, 1e-3), ("cat", "dog"))


def test_every_byte_comes_back_bit_for_bit():
    x = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    y = BYTES.to_model(x)
    assert y.dtype == torch.float32
    assert (y.min().item(), y.max().item()) == (-1.0, 1.0)
    back = BYTES.from_model(y)
    assert back.dtype == torch.uint8
    assert torch.equal(back, x)


def test_every_digit_value_comes_back_and_the_middle_is_zero():
    x = (torch.arange(64, dtype=torch.uint8) % 17).reshape(1, 1, 8, 8)
    y = DIGITS.to_model(x)
    assert torch.equal(y.flatten()[:17], torch.linspace(-1, 1, 17))
    assert torch.equal(DIGITS.from_model(y), x)


def test_bytes_and_floats_of_the_same_value_go_to_the_same_place():
    x = torch.randint(0, 256, (5, 1, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for spec in (
        BYTES,
        Spec((1, 16, 16), 0, 255, True, 3.3, 71.7),
        Spec((1, 16, 16), 0, 255, True, (3.3,), 71.7),
    ):
        y = spec.to_model(x)
        assert torch.equal(y, spec.to_model(x.float()))
        assert y.is_contiguous()


@given(low=st.integers(-(10**6), 10**6), width=st.integers(1, 10**6), share=st.floats(0, 1))
def test_integers_of_any_range_come_back(low, width, share):
    spec = Spec.bounded((1,), low, low + width, integer=True)
    x = torch.tensor([low + round(share * width)])
    back = spec.from_model(spec.to_model(x))
    assert back.item() == x.item()
    assert back.dtype == (torch.uint8 if low >= 0 and low + width <= 255 else torch.int64)


@given(st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3))
def test_floats_come_back_to_rounding(unit):
    shift, scale = (torch.tensor(units, dtype=torch.float64) for units in (COLUMNS.shift, COLUMNS.scale))
    x = (shift + scale * torch.tensor(unit).double()).float()
    error = (COLUMNS.from_model(COLUMNS.to_model(x)).double() - x.double()).abs()
    assert (error <= 2**-24 * (2 * x.double().abs() + shift.abs())).all()


def test_units_of_columns_and_channels_go_to_their_own_axis():
    assert_close(COLUMNS.to_model(torch.tensor([[2.0, 2.0, 1e4]])), torch.tensor([[2.0, 1.0, 0.0]]))
    image = Spec((2, 3, 3), None, None, False, (10.0, 20.0), (1.0, 2.0))
    y = image.to_model(torch.stack([torch.full((3, 3), 11.0), torch.full((3, 3), 24.0)]))
    assert_close(y, torch.stack([torch.full((3, 3), 1.0), torch.full((3, 3), 2.0)]))


def test_from_model_clips_to_the_range_and_rounds():
    spec = Spec.bounded((4,), 0, 16, integer=True)
    assert spec.from_model(torch.tensor([-7.0, 7.0, 0.0630, 0.0620])).tolist() == [0, 16, 9, 8]
    real = Spec.bounded((2,), 0.0, 1.0, integer=False)
    assert real.from_model(torch.tensor([-1.5, 0.25])).tolist() == [0.0, 0.625]
    assert COLUMNS.from_model(torch.tensor([1e3, 0.0, 0.0]))[0] == 501.0  # no range, no clipping


def test_log_abs_det_is_the_change_of_a_log_density():
    y = torch.tensor([0.3, -1.2, 0.7], dtype=torch.float64)
    normal = torch.distributions.Normal
    in_model = normal(0.0, 1.0).log_prob(y).sum()
    shift, scale = (torch.tensor(units, dtype=torch.float64) for units in (COLUMNS.shift, COLUMNS.scale))
    in_data = normal(shift, scale).log_prob(shift + scale * y).sum()
    assert in_model.item() + COLUMNS.log_abs_det() == pytest.approx(in_data.item(), abs=1e-7)
    assert BYTES.log_abs_det() == pytest.approx(-256 * math.log(127.5))
    channels = Spec((2, 3, 3), None, None, False, 0.0, (1.0, 2.0))
    assert channels.log_abs_det() == pytest.approx(-9 * math.log(2))


def test_standardised_gives_mean_0_and_deviation_1_and_keeps_constant_columns():
    x = np.random.default_rng(0).normal([1e4, -3.0, 0.1], [2.0, 1e-3, 0.0], (500, 3)).astype(np.float32)
    spec = Spec.standardised(x)
    y = spec.to_model(torch.from_numpy(x)).double()
    assert_close(y.mean(0), torch.zeros(3).double(), atol=1e-6, rtol=0)
    assert_close(y.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]).double(), atol=1e-6, rtol=0)
    assert spec.scale[2] == 1.0
    assert torch.equal(spec.from_model(spec.to_model(torch.from_numpy(x)))[:, 2], torch.from_numpy(x)[:, 2])


def test_standardised_looks_at_the_given_rows_and_shares_units_over_grids():
    x = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    spec = Spec.standardised(x, rows=np.array([0, 2]))
    assert spec.shift == pytest.approx(x[[0, 2]].mean())
    assert spec.scale == pytest.approx(x[[0, 2]].std())


@pytest.mark.parametrize("call", ["to_model", "from_model"])
def test_wrong_shape(call):
    with pytest.raises(ValueError, match=r"expected shape \(\.\.\., 3\), but got \(5, 2\)"):
        getattr(COLUMNS, call)(torch.zeros(5, 2))


def test_nan_has_no_integer():
    y = torch.zeros(2, 1, 8, 8)
    y[0, 0, 1, 1], y[1, 0, 0, 0] = math.nan, math.inf
    with pytest.raises(ValueError, match="2 of 128 values are NaN or infinite, so they have no integer"):
        DIGITS.from_model(y)


@pytest.mark.parametrize(("name", "index"), [("dog", 1), ("cat", 0), (1, 1), ("1", 1), (np.int64(1), 1)])
def test_class_index(name, index):
    assert COLUMNS.class_index(name) == index


def test_a_class_name_wins_over_a_number():
    spec = Spec((1,), None, None, False, 0.0, 1.0, ("1", "2", "3"))
    assert spec.class_index("2") == 1
    assert spec.class_index(2) == 2
    with pytest.raises(DataError, match='class "0" is unknown — known: 1, 2, 3'):  # a wrong name, and not the first class
        spec.class_index("0")
    assert Spec((1,), None, None, False, 0.0, 1.0, ("cat", "dog")).class_index("1") == 1


@pytest.mark.parametrize(
    ("spec", "name", "message"),
    [
        (COLUMNS, "dgo", 'class "dgo" is unknown — did you mean "dog"?'),
        (COLUMNS, "zebra", 'class "zebra" is unknown — known: cat, dog'),
        (COLUMNS, 2, "class 2 is not in 0..1 — known: cat, dog"),
        (COLUMNS, -1, "class -1 is not in 0..1 — known: cat, dog"),
        (COLUMNS, "7", "class 7 is not in 0..1 — known: cat, dog"),
        (COLUMNS, True, "class True is neither a name nor a number"),
        (COLUMNS, 1.5, "class 1.5 is neither a name nor a number"),
        (BYTES, 3, "class 3: this data has no classes"),
    ],
)
def test_unknown_class(spec, name, message):
    with pytest.raises(DataError, match=message.replace("?", r"\?")):
        spec.class_index(name)


@pytest.mark.parametrize("spec", [BYTES, DIGITS, COLUMNS], ids=["bytes", "digits", "columns"])
def test_json_round_trip_through_text(spec):
    assert Spec.from_json(json.loads(json.dumps(spec.to_json(), allow_nan=False))) == spec


@given(st.floats(1e-300, 1e300), st.floats(-1e300, 1e300))
def test_json_keeps_every_bit_of_the_units(scale, shift):
    spec = Spec((1,), None, None, False, (shift,), (scale,))
    assert Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shape", []),
        ("shape", [0]),
        ("shape", [2.5]),
        ("shape", "3"),
        ("shape", [True]),
        ("low", "0"),
        ("low", math.nan),
        ("low", 0.5),
        ("high", None),
        ("high", -1),
        ("high", 16.5),
        ("integer", 1),
        ("integer", "false"),
        ("shift", None),
        ("shift", math.inf),
        ("shift", [1.0, 2.0]),
        ("shift", ["a"]),
        ("scale", 0),
        ("scale", -1.0),
        ("scale", {}),
        ("scale", [0.0]),
        ("classes", "abc"),
        ("classes", [1]),
        ("classes", ["a", "a"]),
        ("classes", [""]),
    ],
)
def test_broken_json_names_the_field(field, value):
    plain = {**DIGITS.to_json(), field: value}
    with pytest.raises(ModelError, match=f'data spec: field "{field}" must be .*, but it is .*; the model'):
        Spec.from_json(plain)


@pytest.mark.parametrize("field", [field for field in DIGITS.to_json() if field != "types"])
def test_missing_field(field):
    plain = DIGITS.to_json()
    del plain[field]
    with pytest.raises(ModelError, match=f'field "{field}" is missing'):
        Spec.from_json(plain)


def test_unknown_field_and_no_table():
    with pytest.raises(ModelError, match=r'field "shapes" is unknown — did you mean "shape"\?'):
        Spec.from_json({**DIGITS.to_json(), "shapes": [1]})
    with pytest.raises(ModelError, match="expected a table, found list"):
        Spec.from_json([1])


def test_a_spec_made_in_python_is_checked_too():
    with pytest.raises(ValueError, match=r'field "scale" must be positive, but it is -1\.0'):
        Spec((1,), None, None, False, 0.0, -1.0)
