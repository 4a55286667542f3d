"""000's U-Net: the code's own sizes, and the code's own arithmetic at 28 x 28."""

import torch
from torch import nn
from torch.nn import functional as F

from undrift.condition import Condition
from undrift.nn import EncoderDecoder


def test_it_has_the_parameters_and_layers_of_000():
    net = EncoderDecoder(1, classes=10)
    assert sum(p.numel() for p in net.parameters()) == 2_364_289
    assert sum(isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)) for m in net.modules()) == 11
    assert net.beside.count + 1 == 12


def by_hand(net, x, level, label):
    """28 to 14, 7, 4 and 2 and back, with the paddings that 000's code writes out."""
    ones = torch.ones(len(x), 1, 28, 28)
    hot = F.one_hot(label + 1, 11)[:, 1:, None, None] * ones
    h = torch.cat([x, level[:, None, None, None] * ones, hot], 1)
    skips = []
    for convolution, padding in zip(net.down, (None, 0, 0, 1, 0), strict=True):
        h = h if padding is None else F.max_pool2d(h, 2, 2, padding)
        h = -F.softplus(-convolution(h))
        skips.append(h)
    assert [h.shape[2] for h in skips] == [28, 14, 7, 4, 2]
    h = skips[4]
    for convolution, more, skip in zip(net.up, (1, 0, 1, 1), skips[3::-1], strict=True):
        h = F.conv_transpose2d(h, convolution.weight, convolution.bias, stride=2, padding=1, output_padding=more)
        h = torch.cat([-F.softplus(-h), skip], 1)
    return net.head(-F.softplus(-net.last(h)))


def test_at_28_it_is_the_arithmetic_of_000():
    torch.manual_seed(0)
    net, x = EncoderDecoder(1, classes=10), torch.randn(4, 1, 28, 28)
    level, label = torch.randn(4), torch.tensor([3, -1, 0, 9])
    with torch.no_grad():
        torch.testing.assert_close(net(x, level, label), by_hand(net, x, level, label), rtol=1e-5, atol=1e-6)


def test_vector_and_picture_are_channels_too():
    torch.manual_seed(0)
    net = EncoderDecoder(1, (4, 4), vector=2, image=1)
    assert net.beside.count == 1 + 3 + 2
    x, level = torch.randn(2, 1, 5, 5), torch.zeros(2)
    told = Condition(vector=torch.randn(2, 2), image=torch.randn(2, 1, 5, 5))
    answer, nothing = net(x, level, told), net(x, level)
    assert answer.shape == x.shape and (answer - nothing).abs().max() > 1e-4
