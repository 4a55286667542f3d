"""Class-conditional networks go into a graph: torch.export with any batch, and ONNX where it is installed."""

import pytest
import torch

from undrift.nn import MLP, EncoderDecoder, MLPClassifier, PlainMLP, UNet, UNetClassifier

SHAPE = (2, 8, 8)
NETWORKS = {
    "mlp": lambda: MLP(SHAPE, 16, 2, classes=3),
    "unet": lambda: UNet(2, (8, 16), classes=3, attention=(1,)),
    "ddpm": lambda: UNet(2, (8, 12), classes=3, layout="ddpm", blocks=1, embedding=16, injection="addition"),
    "encoder-decoder": lambda: EncoderDecoder(2, (6, 8), 3),
    "perceptron": lambda: PlainMLP(SHAPE, (40, 40), classes=3),
    "mlp classifier": lambda: MLPClassifier(SHAPE, 3),
    "unet classifier": lambda: UNetClassifier(2, 3, (8, 8)),
}


def awake(net):
    """Every parameter at a random value: output layers start at zero, which would hide faults."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.3)
    return net.eval()


def given(name, n):
    """Input, levels and, but for a classifier, labels from -1 to 2."""
    x = torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(n))
    told = (x, torch.linspace(-1, 1, n))
    return told if "classifier" in name else (*told, torch.arange(n) % 4 - 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_exported_network_is_the_network_for_any_batch(name):
    """A graph has no branches on values, so the labels are checked outside it, as ever."""
    net = awake(NETWORKS[name]())
    batch = torch.export.Dim.DYNAMIC
    inputs = given(name, 4)
    graph = torch.export.export(net, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs)).module()
    for n in (1, 2, 7):
        torch.testing.assert_close(graph(*given(name, n)), net(*given(name, n)))
    if "classifier" not in name:
        with pytest.raises(ValueError, match="must lie in"):
            net(*given(name, 4)[:2], torch.tensor([0, 1, 3, 0]))


def test_an_exported_network_runs_in_onnx(tmp_path):
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module)
    import onnxruntime

    net = awake(UNet(2, (8, 16), classes=3))
    path, batch = tmp_path / "net.onnx", torch.export.Dim("batch", min=1, max=64)
    torch.onnx.export(net, given("unet", 4), path, dynamo=True, dynamic_shapes=({0: batch}, {0: batch}, {0: batch}))
    session = onnxruntime.InferenceSession(path)
    feed = {i.name: v.numpy() for i, v in zip(session.get_inputs(), given("unet", 7), strict=True)}
    torch.testing.assert_close(torch.from_numpy(session.run(None, feed)[0]), net(*given("unet", 7)), rtol=1e-4, atol=1e-4)
