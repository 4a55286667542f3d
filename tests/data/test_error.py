"""Errors for people."""

import pytest

from undrift import error


@pytest.mark.parametrize("kind", [error.DataError, error.ModelError, error.RecipeError, error.OutputError])
def test_one_except_clause_catches_them_all(kind):
    with pytest.raises(error.UndriftError, match="what, where, what to do"):
        raise kind("what, where, what to do")


@pytest.mark.parametrize(
    ("word", "known", "end"),
    [
        ("mnits", ["digits", "mnist"], ' — did you mean "mnist"?'),
        ("MNIST", ["digits", "mnist"], ' — did you mean "mnist"?'),
        ("dpm2m", ["Heun", "DPM2M"], ' — did you mean "DPM2M"?'),
        ("zebra", ["digits", "mnist"], " — known: digits, mnist"),
        (7, range(2), " — known: 0, 1"),
        ("zebra", [], ""),
    ],
)
def test_nearest(word, known, end):
    assert error.nearest(word, known) == end
