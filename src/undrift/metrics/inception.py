"""The network of published FIDs: Inception v3 as it was released for TensorFlow on 2015-12-05, in PyTorch.

The weights are the user's: the file `pt_inception-2015-12-05-6726825d.pth` that pytorch-fid and torch-fidelity distribute, or a
safetensors copy of it. Nothing in the file is executed. The names of the layers are those of the file.

It is the network of Szegedy et al. 2016 (*Rethinking the Inception architecture*), but for what that release does differently, without
which published metrics are missed: averages do not count padding, the last block takes a maximum in place of an average, there are 1,008
classes, and pictures are enlarged by TensorFlow 1's bilinear rule, which puts pixel i of n at i/n of the picture and not at
(i + 1/2)/n. Inception scores leave out the bias of the last layer (as Salimans et al. 2016 did).
"""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from undrift.error import ModelError
from undrift.nn.building import without_memory
from undrift.storage import open_file

PUBLISHED = "6726825d"  # how the SHA-256 of the file behind published FIDs begins
SIZE, FEATURES, CLASSES = 299, 2048, 1008
_FILE = f"pt_inception-2015-12-05-{PUBLISHED}.pth"
Pool = Callable[[Tensor], Tensor]


class Conv(nn.Module):
    """Convolution, batch norm, ReLU; at stride 1 it keeps the size, unless `same` is False."""

    def __init__(self, channels: int, out: int, size: int | tuple[int, int] = 1, stride: int = 1, same: bool = True) -> None:
        super().__init__()
        sides = (size, size) if isinstance(size, int) else size
        padding = (sides[0] // 2, sides[1] // 2) if same and stride == 1 else (0, 0)
        self.conv = nn.Conv2d(channels, out, sides, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, channels, H, W)` to `(B, out, H', W')`."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


def average(x: Tensor) -> Tensor:
    """The mean of 3 x 3 pixels; at the border of those there are."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def highest(x: Tensor) -> Tensor:
    """The maximum of 3 x 3 pixels."""
    return F.max_pool2d(x, 3, 1, 1)


def shrunk(x: Tensor) -> Tensor:
    """The maximum of 3 x 3 pixels at every second place."""
    return F.max_pool2d(x, 3, 2)


class Block(nn.Module):
    """Branches side by side, their channels put together.

    Args:
        branches: Each the names of its layers in order; two names in a tuple both read what came before.
        layers: By name, the arguments of `Conv`.
        pool: What the last branch sees; it is nothing else where no layer is named "branch_pool".
    """

    def __init__(self, branches: tuple[tuple[Any, ...], ...], layers: dict[str, tuple[Any, ...]], pool: Pool) -> None:
        super().__init__()
        self.branches, self.pool = branches, pool
        for name, arguments in layers.items():
            self.add_module(name, Conv(*arguments))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, C', H', W')`."""
        found = []
        for branch in self.branches:
            h = x
            for step in branch:
                h = torch.cat([getattr(self, s)(h) for s in step], 1) if isinstance(step, tuple) else getattr(self, step)(h)
            found.append(h)
        last = self.pool(x)
        return torch.cat([*found, self.get_submodule("branch_pool")(last) if hasattr(self, "branch_pool") else last], 1)


def _a(c: int, pooled: int) -> Block:
    """35 x 35: views of 1, 5 and (twice 3) pixels."""
    return Block(
        (("branch1x1",), ("branch5x5_1", "branch5x5_2"), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")),
        {"branch1x1": (c, 64), "branch5x5_1": (c, 48), "branch5x5_2": (48, 64, 5), "branch3x3dbl_1": (c, 64),
         "branch3x3dbl_2": (64, 96, 3), "branch3x3dbl_3": (96, 96, 3), "branch_pool": (c, pooled)},
        average,
    )  # fmt: skip


def _b(c: int) -> Block:
    """From 35 x 35 to 17 x 17."""
    return Block(
        (("branch3x3",), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")),
        {"branch3x3": (c, 384, 3, 2), "branch3x3dbl_1": (c, 64), "branch3x3dbl_2": (64, 96, 3), "branch3x3dbl_3": (96, 96, 3, 2)},
        shrunk,
    )  # fmt: skip


def _c(c: int, k: int) -> Block:
    """17 x 17: views of 7 pixels, in rows and columns."""
    row, column = (1, 7), (7, 1)
    twice = [f"branch7x7dbl_{i}" for i in range(1, 6)]
    return Block(
        (("branch1x1",), ("branch7x7_1", "branch7x7_2", "branch7x7_3"), tuple(twice)),
        {"branch1x1": (c, 192), "branch7x7_1": (c, k), "branch7x7_2": (k, k, row), "branch7x7_3": (k, 192, column),
         **dict(zip(twice, [(c, k), (k, k, column), (k, k, row), (k, k, column), (k, 192, row)], strict=True)),
         "branch_pool": (c, 192)},
        average,
    )  # fmt: skip


def _d(c: int) -> Block:
    """From 17 x 17 to 8 x 8."""
    names = [f"branch7x7x3_{i}" for i in range(1, 5)]
    return Block(
        (("branch3x3_1", "branch3x3_2"), tuple(names)),
        {"branch3x3_1": (c, 192), "branch3x3_2": (192, 320, 3, 2),
         **dict(zip(names, [(c, 192), (192, 192, (1, 7)), (192, 192, (7, 1)), (192, 192, 3, 2)], strict=True))},
        shrunk,
    )  # fmt: skip


def _e(c: int, pool: Pool) -> Block:
    """8 x 8: views of 3 pixels, rows and columns side by side."""
    row, column = (1, 3), (3, 1)
    return Block(
        (("branch1x1",), ("branch3x3_1", ("branch3x3_2a", "branch3x3_2b")),
         ("branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b"))),
        {"branch1x1": (c, 320), "branch3x3_1": (c, 384), "branch3x3_2a": (384, 384, row), "branch3x3_2b": (384, 384, column),
         "branch3x3dbl_1": (c, 448), "branch3x3dbl_2": (448, 384, 3), "branch3x3dbl_3a": (384, 384, row),
         "branch3x3dbl_3b": (384, 384, column), "branch_pool": (c, 192)},
        pool,
    )  # fmt: skip


class Inception(nn.Module):
    """Features and logits of 8-bit colours."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = Conv(3, 32, 3, 2), Conv(32, 32, 3, same=False)
        self.Conv2d_2b_3x3, self.Conv2d_3b_1x1 = Conv(32, 64, 3), Conv(64, 80)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3, same=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _a(192, 32), _a(256, 64), _a(288, 64)
        self.Mixed_6a, self.Mixed_6b = _b(288), _c(768, 128)
        self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = _c(768, 160), _c(768, 160), _c(768, 192)
        self.Mixed_7a, self.Mixed_7b, self.Mixed_7c = _d(768), _e(1280, average), _e(2048, highest)
        self.fc = nn.Linear(FEATURES, CLASSES)

    def features(self, pixels: Tensor) -> Tensor:
        """`(B, 2048)` of colours `(B, 3, H, W)` from 0 to 255."""
        h = (enlarged(pixels.to(self.fc.weight)) - 128) / 128
        h = shrunk(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(h))))
        h = shrunk(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(h)))
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            h = getattr(self, f"Mixed_{name}")(h)
        return h.mean((2, 3))

    def logits(self, features: Tensor) -> Tensor:
        """`(B, 1008)` of `(B, 2048)`, without the bias."""
        return features @ self.fc.weight.T


def enlarged(x: Tensor) -> Tensor:
    """`(B, C, H, W)` to `(B, C, 299, 299)`: bilinear, output i reading place i n/299; the last pixel goes on to the border."""

    def weights(n: int) -> Tensor:
        place = torch.arange(SIZE, dtype=torch.float64) * n / SIZE
        low = place.floor().long()
        share, rows = place - low, torch.arange(SIZE)
        found = torch.zeros(SIZE, n, dtype=torch.float64)
        found[rows, low] += 1 - share
        found[rows, (low + 1).clamp(max=n - 1)] += share
        return found.to(x)

    return weights(x.shape[2]) @ x @ weights(x.shape[3]).T


def load_inception(path: Path) -> tuple[Inception, str]:
    """The network with the weights of a file, and the SHA-256 of the file. Executes nothing.

    Args:
        path: Plain weights by name, as `torch.save` or as safetensors wrote them.

    Raises:
        ModelError: no such file; a program (TorchScript) or another pickle; other names or shapes; weights that are not finite.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file; the weights of published FIDs are {_FILE}, of pytorch-fid or torch-fidelity")
    state = _read(path)
    with without_memory():
        network = Inception()
    for name, like in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.int64)  # not in the file, and not used
        elif name not in state:
            raise ModelError(f"{path} holds the weights of another network: {name} is missing; use {_FILE}")
        elif state[name].shape != like.shape:
            raise ModelError(
                f"{path} holds the weights of another network: {name} is {tuple(state[name].shape)} and not {tuple(like.shape)}; "
                f"use {_FILE}"
            )
        elif not state[name].is_floating_point() or not bool(torch.isfinite(state[name]).all()):
            raise ModelError(f"{path}: the weights {name} are not finite numbers; get the file again")
        else:
            state[name] = state[name].float().clone()
    if unknown := state.keys() - network.state_dict().keys():
        raise ModelError(f"{path} holds the weights of another network, with {min(unknown)}; use {_FILE}")
    network.load_state_dict(state, assign=True)
    digest = hashlib.sha256()
    with open_file(path, own=False) as file:
        while block := file.read(2**20):
            digest.update(block)
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last), digest.hexdigest()  # type: ignore[call-overload]


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors by name. A pickle is read by torch's own reader of tensors, which knows nothing else."""
    try:
        open_file(path, own=False).close()  # a pipe or a device is not handed on
        if path.suffix == ".safetensors":
            return load_file(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as parts:
                if any(name.endswith("/constants.pkl") for name in parts.namelist()):
                    raise ModelError(f"{path} is TorchScript, a program and not weights, and is not run; use {_FILE}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(path, "cpu", weights_only=True)
    except ModelError:
        raise
    except Exception as error:  # whatever a broken or a hostile file raises
        raise ModelError(
            f"{path} is not a file of plain weights ({type(error).__name__}), and nothing in it was executed; use {_FILE}, or a "
            "safetensors copy"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise ModelError(f"{path} holds no weights by name; use {_FILE}")
    return dict(state)
