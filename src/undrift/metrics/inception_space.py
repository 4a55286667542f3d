"""Samples in the features of the Inception network, where the user has its weights: metrics of the kind that papers print.

Pictures are measured as the files that one would save: 8-bit colours, the data's range being 0 to 255, grey in all three. The features
of real pictures are kept in the run; on a processor without a graphics card they are what takes long.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from undrift.data import Dataset, Spec
from undrift.error import UndriftError
from undrift.metrics.inception import FEATURES, PUBLISHED, Inception, load_inception
from undrift.metrics.metric import Points, Space
from undrift.metrics.recognition import all_digits, read_cache, write_cache
from undrift.metrics.reference import KNOWN, pick
from undrift.metrics.registry import metrics_of
from undrift.metrics.strata import by_class
from undrift.plot import picture

BATCH = 32


def inception_space(
    weights: Path,
    train: Dataset,
    held_out: Dataset,
    m: int,
    seed: int = 0,
    cache: Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Space:
    """Kernel distance, precision, recall, density, coverage and inception score of `m` samples; of enough the Frechet distance.

    Args:
        weights: See `load_inception`.
        train, held_out: Pictures with a range of values.
        cache: A folder to keep the features of real pictures in.
        tell: Called with a line about the progress.

    Raises:
        UndriftError: data that are no pictures, a file that holds no such weights.
    """
    spec = train.spec
    if len(spec.shape) != 3 or spec.low is None or spec.shape[0] not in (1, 3, 4):
        raise UndriftError(
            f"{train.name}: the Inception network sees pictures of 1, 3 or 4 channels whose values have a range; leave out --inception"
        )
    network, digest = load_inception(weights)
    network.to("cuda" if torch.cuda.is_available() else "cpu")

    def kept(data: Dataset, n: int, name: str) -> tuple[Tensor, Tensor | None]:
        """Features of the first n that `pick` names, those that were kept read back; and their classes."""
        n = min(n, len(data))
        path, key = None if cache is None else cache / f"{name}.safetensors", f"{digest}-{data.content_hash()}-{seed}"
        known = ((path and read_cache(path, key)) or {}).get("features", torch.empty(0, FEATURES, dtype=torch.float32))[:n]
        pictures, labels = pick(data, n, seed)
        if len(known) == n:
            return known, labels
        rest = features(network, pictures[len(known) :], spec, lambda text: tell(f"{name}: {text}"))
        found = torch.cat([known, rest])
        if path is not None:
            write_cache(path, {"features": found}, key)
        return found, labels

    even = by_class(train, held_out)

    def points(h: Tensor, classes: Tensor | None) -> Points:
        return Points(h, classes, even, lambda: network.logits(h.to(network.fc.weight)).cpu())

    def see(y: Tensor, classes: Tensor | None) -> Points:
        return points(features(network, y, spec, lambda text: tell(f"samples in Inception features: {text}")), classes)

    name = f"features of the Inception network, {'as for published FIDs' if digest.startswith(PUBLISHED) else weights.name}"
    careful = () if digest.startswith(PUBLISHED) else (
        f"{weights.name} is not the file behind published FIDs, whose SHA-256 begins with {PUBLISHED} (it may be a copy): metrics in "
        "Inception features compare with published ones only if its weights are the same",
    )  # fmt: skip
    known, real = points(*kept(train, KNOWN, "inception-training")), points(*kept(held_out, m, "inception-held-out"))
    return Space("inception", name, known, real, see, metrics_of("inception"), careful)


@torch.no_grad()
def features(network: Inception, y: Tensor, spec: Spec, tell: Callable[[str], None] = lambda text: None) -> Tensor:
    """`(N, 2048)` of pictures `(N, C, H, W)` in model space."""
    found: list[Tensor] = []
    device = network.fc.weight.device
    for part in torch.split(y, BATCH):
        tell(f"{BATCH * len(found):,} of {len(y):,} pictures")
        pixels = torch.from_numpy(picture.tiles(part.cpu(), spec)).movedim(-1, 1)
        with all_digits():
            found.append(network.features(pixels.to(device)).cpu())
    return torch.cat(found) if found else torch.empty(0, FEATURES, dtype=torch.float32)
