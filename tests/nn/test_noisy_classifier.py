"""The classifiers of noisy samples as networks: shapes, independence of samples, gradients, errors."""

import pytest
import torch

from undrift.nn import MLPClassifier, UNetClassifier

BUILD = {
    "unet": (lambda: UNetClassifier(2, 5, (8, 12), 2, 16), (2, 9, 7)),
    "unet-plain": (lambda: UNetClassifier(2, 5, (8,), 1, 16), (2, 1, 1)),
    "mlp": (lambda: MLPClassifier((3, 2), 5, 16, 2), (3, 2)),
}


@pytest.fixture(params=list(BUILD))
def built(request):
    torch.manual_seed(0)
    build, shape = BUILD[request.param]
    return build(), torch.randn(4, *shape)


def test_logits_of_each_sample_alone(built):
    net, x = built
    for p in net.parameters():  # what starts at zero would hide a mistake
        torch.nn.init.normal_(p, std=0.3)
    level = torch.tensor([-1.0, 0.0, 0.5, 2.0])
    out = net(x, level)
    assert out.shape == (4, 5)
    torch.testing.assert_close(net(x[2:3], level[2:3]), out[2:3], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(net(x, level + 0.3), out, atol=1e-4)


def test_gradient_reaches_every_parameter_and_the_input(built):
    net, x = built
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.3)
    x.requires_grad_()
    net(x, torch.linspace(-1, 1, 4)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    assert (x.grad.flatten(1).abs().sum(1) > 0).all()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: UNetClassifier(1, 1), "at least 2"),
    (lambda: UNetClassifier(0, 2), "at least 1"),
    (lambda: UNetClassifier(1, 2, ()), "at least 1"),
    (lambda: MLPClassifier((2,), 2, 0), "at least 1"),
    (lambda: MLPClassifier((2,), 1), "at least 2"),
    (lambda: UNetClassifier(1, 2)(torch.zeros(2, 3, 8, 8), torch.zeros(2)), "must have shape"),
    (lambda: MLPClassifier((2,), 2)(torch.zeros(2, 3), torch.zeros(2)), "must have shape"),
    (lambda: MLPClassifier((2,), 2)(torch.zeros(2, 2), torch.zeros(3)), "level"),
])  # fmt: skip
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
