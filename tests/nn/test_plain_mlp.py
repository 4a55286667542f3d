"""Plain perceptrons: the papers' networks for points in the plane; and 000's classifier."""

import pytest
import torch
from torch import nn

from undrift.nn import PlainClassifier, PlainMLP


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("widths", "activation", "layer", "count"),
    [((128, 128), "relu", nn.ReLU, 17_154), ((64, 64, 64), "logsigmoid", nn.LogSigmoid, 8_642)],
)
def test_the_networks_of_the_plane(widths, activation, layer, count):
    """001's 2-128-128-2 with ReLU and the three layers of 64 with LogSigmoid of 000's tutorial, told nothing."""
    net = PlainMLP((2,), widths, activation, told=False)
    assert sum(p.numel() for p in net.parameters()) == count
    parts = [part for linear in net.layers for part in (linear, layer())][:-1]
    x = torch.randn(9, 2)
    torch.testing.assert_close(net(x, torch.randn(9)), nn.Sequential(*parts)(x))  # whatever the level


def test_what_is_told_stands_beside_the_sample():
    net = PlainMLP((2, 2), (5,), classes=3)
    assert net.layers[0].in_features == 4 + 1 + 3
    x, level, label = torch.randn(2, 2, 2), torch.tensor([0.5, -1.0]), torch.tensor([1, -1])
    seen = torch.cat([x.flatten(1), level[:, None], torch.tensor([[0.0, 1, 0], [0, 0, 0]])], 1)
    expected = net.layers[1](net.layers[0](seen).relu()).reshape(2, 2, 2)
    torch.testing.assert_close(net(x, level, label), expected)


def test_the_classifier_of_000():
    net = PlainClassifier(1, 10)
    assert sum(p.numel() for p in net.parameters()) == 421_642
    x = torch.randn(3, 1, 28, 28)
    pool = nn.MaxPool2d(2)
    plain = nn.Sequential(
        net.conv1, nn.ReLU(), pool, net.conv2, nn.ReLU(), pool, nn.Flatten(), net.hidden, nn.ReLU(), net.head
    )  # fmt: skip
    torch.testing.assert_close(net(x), plain(x))
    assert net(x).shape == (3, 10)
    torch.testing.assert_close(net(x[1:2])[0], net(x)[1], rtol=1e-4, atol=1e-5)


def test_the_classifier_learns_at_another_size():
    """Bars across against bars down, in noise, 9 x 11."""
    net = PlainClassifier(2, 2, (9, 11), (4, 8), 16)
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    bars = torch.zeros(2, 2, 9, 11)
    bars[0, :, ::2], bars[1, :, :, ::2] = 1, 1
    y = torch.arange(32) % 2
    for _ in range(30):
        loss = nn.functional.cross_entropy(net(bars[y] + 0.5 * torch.randn(32, 2, 9, 11)), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    right = net(bars[y] + 0.5 * torch.randn(32, 2, 9, 11)).argmax(1) == y
    assert right.float().mean() > 0.9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PlainClassifier(1, 1), "`classes` at least 2"),
        (lambda: PlainClassifier(1, 2, (3, 8)), "the two sides of `size` at least 4"),
        (lambda: PlainClassifier(1, 2)(torch.zeros(1, 1, 8, 8)), r"`x` must have shape \(B, 1, 28, 28\), but has \(1, 1, 8, 8\)"),
    ],
)
def test_what_the_classifier_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
