"""Recognition: are the samples of a class what was asked for? Asked of a classifier trained on the real data."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from undrift.data import Dataset
from undrift.data.order import Order
from undrift.error import ModelError
from undrift.nn import Classifier
from undrift.nn.building import in_float32
from undrift.noise import Noise
from undrift.tensorfile import TensorFile, save_tensors


@dataclass(frozen=True)
class Judge:
    """A classifier with its own accuracy on real held-out data, without which its verdicts mean nothing."""

    classifier: Classifier
    accuracy: float
    held_out: int

    def classify(self, y: Tensor) -> Tensor:
        """Class numbers `(N,)` of images `(N, C, H, W)` in model space."""
        return predict(self.classifier, y).argmax(1)


def predict(classifier: nn.Module, y: Tensor, batch_size: int = 500) -> Tensor:
    """Logits `(N, C)` on the CPU, in batches that go to where the classifier is."""
    with torch.no_grad(), all_digits():
        return torch.cat([classifier(part.to(device_of(classifier))).cpu() for part in torch.split(y, batch_size)])


def device_of(network: nn.Module) -> torch.device:
    """Where a network is."""
    return next(network.parameters(), torch.empty(0)).device


def all_digits() -> Any:
    """Convolutions in all 24 bits on a GPU too: what judges is to say the same everywhere."""
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)


def accuracy(classifier: nn.Module, data: Dataset) -> float:
    """Share of a data set that is classified right."""
    right = 0
    for start in range(0, len(data), 500):
        x, labels = data.batch(torch.arange(start, min(start + 500, len(data))))
        assert labels is not None
        right += int((predict(classifier, x).argmax(1) == labels).sum())
    return right / len(data)


@in_float32()
def train_judge(
    train: Dataset, held_out: Dataset, seed: int = 0, cache: Path | None = None, device: torch.device | str = "cpu"
) -> Judge:
    """Train the classifier on `train` and measure it on `held_out`; a cached one of the same data is read back.

    Args:
        train: Labelled images of at least 8 x 8.
        held_out: Labelled images that neither the classifier nor the model was trained on.
        seed: For weights and order.
        cache: A safetensors file to keep it in.
        device: Where it is trained and stays.
    """
    if cache is not None and (known := cached_judge(train, held_out, cache, seed, device)) is not None:
        return known
    classes, (width, batch, rate) = len(train.spec.classes), _settings(train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = Classifier(train.spec.shape[0], classes, width).to(device)

        def loss(x: Tensor, labels: Tensor | None, step: int) -> Tensor:
            assert labels is not None
            return nn.functional.cross_entropy(classifier(shifted(x, Noise(range(len(x))).fold("shift", step))), labels)

        fit(classifier, train, loss, batch, rate, seed)
    share = accuracy(classifier, held_out)
    if cache is not None:
        write_cache(cache, classifier.state_dict(), _key(train, held_out, seed))
    return Judge(classifier, share, len(held_out))


@in_float32()
def cached_judge(
    train: Dataset, held_out: Dataset, cache: Path, seed: int = 0, device: torch.device | str = "cpu"
) -> Judge | None:
    """The classifier that `train_judge` kept in a file, None if there is none of these data."""
    if (known := read_cache(cache, _key(train, held_out, seed))) is None:
        return None
    classifier = Classifier(train.spec.shape[0], len(train.spec.classes), _settings(train)[0])
    with suppress(RuntimeError):  # of another shape
        classifier.load_state_dict(known)
        classifier.eval().to(device)
        return Judge(classifier, accuracy(classifier, held_out), len(held_out))  # measured, not believed
    return None


def _settings(train: Dataset) -> tuple[int, int, float]:
    """Width, batch size and learning rate for few examples, and for many; tried in bench/unet_trials.md."""
    return (32, 64, 3e-3) if len(train) < 10_000 else (24, 128, 4e-3)


def _key(train: Dataset, held_out: Dataset, seed: int) -> str:
    return f"{train.content_hash()}-{held_out.content_hash()}-{seed}"


def fit(
    network: nn.Module, data: Dataset, loss: Callable[[Tensor, Tensor | None, int], Tensor], batch: int, rate: float, seed: int
) -> None:
    """Train by AdamW over 4 to 60 passes, the fewer the larger the data; the network is in eval mode afterwards.

    Args:
        loss: Of examples `(B, *shape)` in model space, their labels, and the number of the step.
    """
    passes = min(60, max(4, 240_000 // len(data)))
    steps = max(2, passes * len(data) // batch)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps + 1, pct_start=0.2)
    order = Order(len(data), seed)
    network.train()
    device = device_of(network)
    for step in range(steps):
        x, labels = data.batch(order.rows(step, batch))
        value = loss(x.to(device), None if labels is None else labels.to(device), step)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    network.eval()


def shifted(x: Tensor, noise: Noise) -> Tensor:
    """Each image moved by up to a pixel per 14 in each direction, the border repeated."""
    reach = max(1, round(min(x.shape[2:]) / 14))
    moves = (noise.uniform(x.new_empty(len(x), 2, dtype=torch.float32)) * (2 * reach + 1)).long()
    padded = nn.functional.pad(x, [reach] * 4, mode="replicate")
    rows = moves[:, :1] + torch.arange(x.shape[2], device=x.device)
    columns = moves[:, 1:] + torch.arange(x.shape[3], device=x.device)
    batch = torch.arange(len(x), device=x.device)[:, None, None]
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def write_cache(path: Path, tensors: dict[str, Tensor], key: str) -> None:
    """Keep tensors for the next time; `key` names what they were made of. Raises OutputError.

    A whole file that is not sealed as ours are may be somebody else's, and stays: then nothing is kept.
    """
    with suppress(ModelError):
        if not TensorFile(path).mark:
            return
    save_tensors(path, tensors, key)


def read_cache(path: Path, key: str) -> dict[str, Tensor] | None:
    """The tensors that were kept, if the file is whole and of this key; None: they must be made anew."""
    with suppress(ModelError):
        file = TensorFile(path)
        if file.mark and file.facts == key:
            return {name: file.tensor(name) for name in file.shapes}
    return None
