"""Operators against their matrices, their adjoints and their own definitions."""

import pytest
import torch

import undrift as ud
from undrift import inverse as inv

DOUBLE = torch.float64
IMAGE, VECTOR, VOLUME = (3, 8, 12), (12,), (2, 4, 6, 8)
ROWS = torch.randn(5, 12, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)


def cases():
    for shape in (IMAGE, VECTOR, VOLUME):
        keep = ud.Noise(range(1)).uniform((1, *shape))[0] > 0.6
        yield inv.mask(keep)
        yield inv.blur(shape, 1.3)
        yield inv.downsample(shape, 2)
        yield inv.project(shape, 0.25)
        if len(shape) > 1:
            yield inv.greyscale(shape)
    yield inv.matrix(ROWS)
    yield inv.matrix(ROWS, (3, 4))
    yield inv.Operator(lambda x: x.cumsum(1) - x.flip(1), (7,))
    yield inv.downsample((1, 8, 12), 4) @ inv.greyscale(IMAGE) @ inv.blur(IMAGE, 0.7)


CASES = list(cases())


def named(operator):
    return f"{operator.name}-{operator.shape}"


def normal(name, shape):
    return ud.Noise(range(shape[0])).fold(name).normal(torch.empty(shape, dtype=DOUBLE))


def as_matrix(operator):
    size = torch.Size(operator.shape).numel()
    return operator(torch.eye(size, dtype=DOUBLE).view(size, *operator.shape)).flatten(1).mT


@pytest.mark.parametrize("operator", CASES, ids=named)
def test_the_adjoint_is_the_adjoint(operator):
    x, y = normal("x", (3, *operator.shape)), normal("y", (3, *operator.measured))
    left = (operator(x) * y).flatten(1).sum(1)
    right = (x * operator.adjoint(y)).flatten(1).sum(1)
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9)
    assert left.abs().min() > 1e-6


@pytest.mark.parametrize("operator", CASES, ids=named)
def test_rows_are_apart(operator):
    x = normal("x", (3, *operator.shape))
    torch.testing.assert_close(operator(x)[1:2], operator(x[1:2]), rtol=1e-12, atol=1e-12)
    assert operator(x.float()).dtype == torch.float32


def test_what_each_measures():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert inv.downsample((1, 4, 4), 2)(x).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    keep = torch.zeros(1, 4, 4)
    keep[0, 1, 2] = keep[0, 3, 3] = 1
    assert inv.mask(keep)(x).tolist() == [[6.0, 15.0]]
    assert inv.greyscale((2, 2))(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])).tolist() == [[[2.0, 4.0]]]
    torch.testing.assert_close(inv.matrix(ROWS)(normal("x", (3, 12))), normal("x", (3, 12)) @ ROWS.mT)
    assert inv.project((100,), 0.1).measured == (10,)
    torch.testing.assert_close(as_matrix(inv.project((40,), 0.5))[:10], as_matrix(inv.project((40,), 0.25)))
    assert not torch.equal(as_matrix(inv.project((40,), 0.25, seed=1)), as_matrix(inv.project((40,), 0.25)))
    wide = as_matrix(inv.project((400,), 1.0))
    assert wide.square().sum(1).mean() == pytest.approx(1, abs=0.02)  # standard error 0.0035


def test_blur_is_the_gaussian_kernel():
    """An impulse far from the edge becomes the kernel; constants stay; channels do not mix."""
    x = torch.zeros(1, 2, 21, 21, dtype=DOUBLE)
    x[0, 0, 10, 10] = 1
    y = inv.blur((2, 21, 21), 1.5)(x)
    d = torch.arange(-10, 11, dtype=DOUBLE)
    kernel = torch.exp(-(d**2) / (2 * 1.5**2))
    kernel = kernel / kernel.sum()
    torch.testing.assert_close(y[0, 0], kernel[:, None] * kernel, rtol=0, atol=1e-7)
    assert y[0, 1].abs().max() == 0
    ones = torch.ones(1, 2, 21, 21, dtype=DOUBLE)
    torch.testing.assert_close(inv.blur((2, 21, 21), 1.5)(ones), ones)


def test_composition_is_the_product_of_the_matrices():
    a, b = inv.matrix(ROWS[:, :5]), inv.matrix(ROWS)
    torch.testing.assert_close(as_matrix(a @ b), ROWS[:, :5] @ ROWS)
    with pytest.raises(ValueError, match="matrix measures"):
        b @ b


def test_a_function_that_is_not_linear_is_found_out():
    for wrong in (lambda x: x**2, lambda x: x + 1, torch.abs, lambda x: x.clamp(-1, 1)):
        with pytest.raises(ValueError, match="declared linear but is not") as caught:
            inv.Operator(wrong, (4,))
        assert "\n" not in str(caught.value)
    curved = inv.Operator(lambda x: x**2, (4,), linear=False)
    with pytest.raises(ValueError, match="say `at`"):
        curved.adjoint(torch.ones(1, 4))


def test_slope_and_adjoint_of_a_curved_function_are_its_derivative():
    curved = inv.Operator(lambda x: torch.stack([x.prod(1), (x**2).sum(1)], 1), (3,), linear=False)
    at, v, u = normal("at", (4, 3)), normal("v", (4, 3)), normal("u", (4, 2))
    jacobian = torch.stack([torch.autograd.functional.jacobian(lambda r: curved(r[None])[0], row) for row in at])
    torch.testing.assert_close(curved.slope(v, at), (jacobian @ v[..., None])[..., 0])
    torch.testing.assert_close(curved.adjoint(u, at), (jacobian.mT @ u[..., None])[..., 0])


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: inv.downsample((1, 28, 28), 3), "downsample:3 does not divide the size 28"),
        (lambda: inv.greyscale((1, 28, 28)), "at least two channels"),
        (lambda: inv.blur((1, 8, 8), 0.0), "positive standard deviation"),
        (lambda: inv.mask(torch.zeros(4)), "keep at least one"),
        (lambda: inv.project((4,), 1.5), r"in \(0, 1\]"),
        (lambda: inv.matrix(torch.zeros(4)), "got shape"),
        (lambda: inv.matrix(torch.zeros(2, 4), (5,)), "4 columns"),
        (lambda: inv.matrix(torch.zeros(0, 4)), "measures nothing"),
        (lambda: inv.Operator(lambda x: x.sum(), (4,)), r"must map \(B"),
        (lambda: inv.Operator(lambda x: x @ torch.ones(3, 2), (4,)), "does not take"),
        (lambda: inv.blur((4,), 1.0)(torch.zeros(1, 5)), "got"),
    ],
)
def test_mistakes(make, words):
    with pytest.raises(ValueError, match=words):
        make()
