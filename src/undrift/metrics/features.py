"""Features of images: what a network trained on the user's own data makes of them.

Pixels are a poor measure of likeness, and the usual features (of an Inception network trained on photographs) know nothing of the
user's data: of grey, tiny or odd-sized images they see an enlarged blur. Where the data have classes, the judge of `recognition`
knows what matters in them. Where they have none, the same trunk is trained to keep, in its few numbers, what it takes to draw the
picture again: an autoencoder. The features of the denoiser itself would cost nothing, but each run would then be measured by
a criterion of its own making, and runs could not be compared; an autoencoder depends on the data alone.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from undrift.data import Dataset
from undrift.metrics.recognition import Judge, all_digits, device_of, fit, read_cache, write_cache
from undrift.nn import Classifier
from undrift.nn.building import in_float32

COARSE = 16  # pixels a side, at most, of the picture that an autoencoder draws


@torch.no_grad()
def features(seer: Judge | Encoder, y: Tensor, batch_size: int = 500) -> Tensor:
    """The activations before the last layer, `(N, d)` on the CPU, of images `(N, C, H, W)` in model space, in batches."""
    trunk = seer.classifier if isinstance(seer, Judge) else seer.trunk
    device = device_of(trunk)
    with all_digits():
        return torch.cat([trunk.features(part.to(device)).cpu() for part in torch.split(y, batch_size)])


class Encoder(nn.Module):
    """An autoencoder whose code is the features of the classifier's trunk, `(N, 4 width)`.

    Args:
        shape: `(C, H, W)`, H and W of at least 8.
        width: As of `Classifier`.
    """

    def __init__(self, shape: tuple[int, ...], width: int = 24) -> None:
        super().__init__()
        self.coarse = (shape[0], min(shape[1], COARSE), min(shape[2], COARSE))
        self.trunk = Classifier(shape[0], 2, width)
        size = self.coarse[0] * self.coarse[1] * self.coarse[2]
        self.draw = nn.Sequential(nn.Linear(4 * width, 256), nn.ReLU(), nn.Linear(256, size), nn.Unflatten(1, self.coarse))

    def target(self, x: Tensor) -> Tensor:
        """What is to be drawn: the images `(N, C, H, W)`, averaged down to at most 16 x 16."""
        return nn.functional.adaptive_avg_pool2d(x, self.coarse[1:])

    def forward(self, x: Tensor) -> Tensor:
        """The picture drawn from the features of x."""
        drawn: Tensor = self.draw(self.trunk.features(x))
        return drawn

    @torch.no_grad()
    def explained(self, data: Dataset) -> float:
        """Share of the variance of up to 1,000 examples that the drawings explain."""
        x = data.batch(torch.arange(min(len(data), 1000)))[0].to(device_of(self))
        goal = self.target(x)
        return float(1 - (self(x) - goal).square().sum() / (goal - goal.mean(0)).square().sum().clamp(min=1e-12))


@in_float32()
def train_encoder(train: Dataset, seed: int = 0, cache: Path | None = None, device: torch.device | str = "cpu") -> Encoder:
    """Train the autoencoder on `train`; a cached one of the same data is read back.

    Args:
        train: Images of at least 8 x 8; labels are not looked at.
        seed: For weights and order.
        cache: A safetensors file to keep it in.
        device: Where it is trained and stays.
    """
    key = f"autoencoder-{train.content_hash()}-{seed}"
    if cache is not None and (known := read_cache(cache, key)) is not None:
        with suppress(RuntimeError):  # of another shape: made anew
            encoder = Encoder(train.spec.shape)
            encoder.load_state_dict(known)
            return encoder.eval().to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(train.spec.shape).to(device)

        def loss(x: Tensor, labels: Tensor | None, step: int) -> Tensor:
            return (encoder(x) - encoder.target(x)).square().mean()

        fit(encoder, train, loss, 128, 3e-3, seed)
    if cache is not None:
        write_cache(cache, encoder.state_dict(), key)
    return encoder
