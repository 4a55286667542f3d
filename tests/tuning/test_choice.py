"""What is taken where differences may be chance: the cheapest, and what is in use."""

import math

from undrift.tuning.choice import choose, sigmas


def chosen(values, errors=None, cost=None, present=None):
    """The number of the candidate chosen among values (lower is better), with one error for each pair of them."""
    ranked = sorted(range(len(values)), key=lambda i: values[i])
    error = (lambda i, j: errors.get((i, j), errors.get((j, i), 0.0))) if isinstance(errors, dict) else (lambda i, j: errors)
    return choose(
        ranked, lambda i, j: sigmas(values[i] - values[j], error(i, j)), (lambda i: cost[i]) if cost else (lambda i: 0), present
    )


def test_a_difference_in_standard_errors():
    assert sigmas(3.0, 1.5) == 2 and sigmas(-3.0, 1.5) == -2 and sigmas(0.0, 0.0) == 0
    assert sigmas(1.0, 0.0) > 1e100  # of samples that share all of their noise: surely worse
    assert sigmas(1.0, math.nan) == 0 and sigmas(math.nan, 1.0) == math.inf and sigmas(math.inf, math.nan) == math.inf


def test_what_is_in_use_wins_a_tie_of_equal_cost():
    assert chosen([1.5, 2.7], 4.8, present=1) == 1 and chosen([1.5, 2.7], 4.8) == 0
    assert chosen([1.5, 2.7], 0.1, present=1) == 0  # clearly worse
    assert chosen([0.00003, 0.0, 0.0001], 0.00008, present=2) == 2
    assert chosen([2.0, 1.0, 1.5], 1.0, present=None) == 1


def test_the_cheaper_one_wins_a_tie_whoever_is_in_use():
    assert chosen([1.5, 2.7], 4.8, cost=[20, 10], present=0) == 1
    assert chosen([1.5, 2.7], 4.8, cost=[10, 20], present=1) == 0
    assert chosen([1.5, 2.7, 2.0], 4.8, cost=[20, 10, 10], present=0) == 2  # of the cheapest the better
    assert chosen([1.5, 2.7, 2.0], 4.8, cost=[20, 10, 10], present=1) == 1  # or that in use


def test_nothing_takes_the_place_of_what_is_clearly_better():
    """Both are within the error of the best, but the cheaper one is clearly worse than the one in use."""
    values, errors = [1.0, 1.1, 1.5], {(0, 1): 1.0, (0, 2): 1.0, (1, 2): 0.05}
    assert chosen(values, errors, cost=[20, 10, 5]) == 2
    assert chosen(values, errors, cost=[20, 10, 5], present=1) == 1
    assert chosen([1.0, 1.1, 9.0], errors, cost=[20, 10, 5], present=2) == 1


def test_a_figure_that_is_no_number_is_never_taken_for_a_tie():
    values = [1.0, math.nan]
    assert choose([0, 1], lambda i, j: sigmas(values[i] - values[j], math.nan), present=1) == 0
    assert choose([1], lambda i, j: math.inf) == 1
