"""Looking at samples: a picture that shows itself in a notebook, says in a line what it is, and can be written to a file."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from undrift.argument import instance, tensor, whole
from undrift.data.spec import Spec
from undrift.error import OutputError
from undrift.noise import Noise
from undrift.plot import picture
from undrift.plot.axes import drawn, panels
from undrift.process import Process
from undrift.sampler import State

MOST = 256  # pictures or curves in one, and columns of which there is a histogram


class Picture:
    """A picture of samples. In a notebook it shows itself; `save` writes it.

    Args:
        image: The picture.
        what: What it shows, in a line.

    Attributes:
        image: A PIL image.
    """

    def __init__(self, image: Image.Image, what: str) -> None:
        self.image, self.what = image, what

    def __repr__(self) -> str:
        return f'Picture of {self.what}, {self.image.width} x {self.image.height} pixels; .save("picture.png") writes it'

    def _repr_png_(self) -> bytes:
        with BytesIO() as file:
            self.image.save(file, "PNG")
            return file.getvalue()

    def save(self, path: str | Path) -> Path:
        """Write it, as the suffix says. Raises OutputError if that cannot be done, or for a name that is none of a picture."""
        if picture.kind_of(Path(path)) is None:
            raise OutputError(f"{path} is no name of a picture; end it in .png, .jpg, .webp or .pdf")
        picture.save_image(self.image, Path(path))
        return Path(path)


def show(x: Any, spec: Spec | None = None, columns: int | None = None) -> Picture:
    """A picture of samples.

    Images `(N, C, H, W)` or `(N, H, W)` become a grid, sequences `(N, C, L)` curves, volumes their middle slices, points `(N, 2)` dots,
    and tables `(N, D)` a histogram for each column. A list of `State`s, as samplers yield them, becomes a strip from noise to data.

    Args:
        x: Samples in data units, as `Model.sample` returns them: a tensor or an array; or a list of `State`s in model space.
        spec: Of the data; default: that of the samples where they know it, else 0..255 for uint8 and the range of the numbers.
        columns: Pictures in a row; default: about a square.

    Raises:
        ValueError: something that cannot be drawn.

    Example:
        >>> show(torch.rand(16, 1, 8, 8))  # doctest: +ELLIPSIS
        Picture of 16 pictures of 1 x 8 x 8 numbers...
    """
    if isinstance(x, Sequence) and len(x) and all(isinstance(each, State) for each in x):
        return _strip(list(x), spec)
    spec = getattr(x, "spec", None) if spec is None else instance(spec, "spec", Spec, "give a Spec, such as model.spec")
    y = tensor(x.as_subclass(Tensor) if isinstance(x, Tensor) else x, "x").detach().cpu()
    if columns is not None:
        whole(columns, "columns", 1)
    if spec is not None and tuple(y.shape) == spec.shape:  # one of them alone
        y = y[None]
    if y.ndim == 1:
        y = y[:, None]
    if y.ndim < 2 or y.ndim > 5 or not y.numel():
        raise ValueError(
            f"`x` has shape {tuple(y.shape)}; give samples: points (N, 2), images (N, C, H, W), sequences (N, C, L), ..."
        )
    if not bool(torch.isfinite(y.double()).all()):
        raise ValueError("`x` holds NaN or infinities, which cannot be drawn.")
    if y.ndim == 2:
        return Picture(_plane(y) if y.shape[1] == 2 else _histograms(y), said(y, spec))
    pictures = y.ndim == 3 and (spec is None or len(spec.shape) != 2) and min(y.shape[1:]) >= 8  # without an axis for channels
    y = y[:, None] if pictures else y
    what, y = said(y, spec), y[:MOST]
    given = _spec(y) if spec is None or spec.shape != tuple(y.shape[1:]) else spec
    sheet = picture.mosaic(picture.tiles(given.to_model(y), given), columns or max(1, round(len(y) ** 0.5)))
    return Picture(sheet, what)


def said(x: Tensor, spec: Spec | None = None) -> str:
    """What samples are, in a few words."""
    if spec is not None and tuple(x.shape) == spec.shape:
        x = x[None]
    if x.ndim == 0 or not len(x):
        return f"no samples, of shape {tuple(x.shape)} ({str(x.dtype).removeprefix('torch.')})"
    kind = {2: "points" if x.shape[1:] == (2,) else "rows", 3: "sequences", 4: "pictures", 5: "volumes"}.get(x.ndim, "samples")
    size = " x ".join(map(str, x.shape[1:]))
    unit = "numbers" if x.ndim != 4 or x.dtype != torch.uint8 else "pixels"
    one = len(x) == 1
    return f"{len(x):,} {kind[:-1] if one else kind} of {size} {unit} ({str(x.dtype).removeprefix('torch.')})"


def _spec(y: Tensor) -> Spec:
    """A spec for numbers of which none is known."""
    shape = tuple(y.shape[1:])
    if y.dtype == torch.uint8:
        return Spec.bounded(shape, 0, 255, integer=True)
    low, high = float(y.min()), float(y.max())
    return Spec.bounded(shape, low, high if high > low else low + 1, integer=False)


def _strip(states: list[State], spec: Spec | None) -> Picture:
    """From noise to data, left to right."""
    shape = tuple(states[0].x.shape[1:])
    given = spec or Spec.bounded(shape, -1, 1, integer=False)
    path = [state.x.detach().cpu().float()[:16] for state in states]
    image = picture.strip(path, given)
    return Picture(image, f"{len(path[0])} samples of {' x '.join(map(str, shape))} on their way from noise to data")


def _plane(y: Tensor) -> Image.Image:
    """Points in the plane."""
    with panels(width=4.0, height=4.0) as (figure, axes):
        axis = axes[0, 0]
        size = float(np.clip(4000 / len(y), 1, 16))
        axis.scatter(*y[:20_000].double().numpy().T, s=size, linewidths=0, alpha=0.7)
        axis.set_aspect("equal", "datalim")
        return drawn(figure)


def _histograms(y: Tensor) -> Image.Image:
    """A histogram for each of the first columns."""
    count = min(y.shape[1], 12)
    across = min(count, 4)
    with panels(-(-count // across), across, 2.4, 1.8) as (figure, axes):
        for i, axis in enumerate(axes.flat):
            if i >= count:
                axis.set_axis_off()
                continue
            axis.hist(y[:, i].double().numpy(), bins=40)
            axis.set_title(f"column {i}", fontsize=9)
            axis.set_yticks([])
        return drawn(figure)


def of_process(process: Process) -> Picture:
    """Signal, noise and log-SNR of a process over time."""
    t = torch.linspace(process.t_min, process.t_max, 201, dtype=torch.float64)[1:-1]
    alpha, sigma = process(t)
    with panels(1, 2, 3.2, 2.4) as (figure, axes):
        left, right = axes[0]
        left.plot(t.numpy(), alpha.detach().numpy(), label="alpha: signal")
        left.plot(t.numpy(), sigma.detach().numpy(), label="sigma: noise")
        right.plot(t.numpy(), process.log_snr(t).detach().numpy(), label="log-SNR")
        for axis in (left, right):
            axis.legend(frameon=False)
            axis.set_xlabel("time t")
        return Picture(drawn(figure), repr(process))


def of_law(law: Any) -> bytes | None:
    """A thousand draws of a law in the plane, or pictures of one of pictures; None for other laws."""
    if law.shape is None or len(law.shape) not in (1, 3) or (len(law.shape) == 1 and law.shape != (2,)):
        return None
    count = 1000 if law.shape == (2,) else 16
    return show(law.sample(count, Noise(range(count))).float())._repr_png_()


class Samples(Tensor):
    """Samples in data units: a tensor that says in a line what it holds, and shows itself as a picture in a notebook.

    Some of them, `samples[:4]` or `samples[0]`, are samples too; whatever is computed from them is a plain tensor.

    Attributes:
        spec: Of the data.
    """

    spec: Spec | None = None
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def of(cls, x: Tensor, spec: Spec | None) -> Samples:
        """A tensor `(N, *spec.shape)` as samples; nothing is copied."""
        found = x.as_subclass(cls)
        found.spec = spec
        return found

    def __getitem__(self, index: Any) -> Tensor:
        found: Tensor = super().__getitem__(index)
        shape = () if self.spec is None else self.spec.shape
        whole = not isinstance(index, tuple) or (
            Ellipsis not in index and None not in index and len(index) <= self.ndim - len(shape)
        )
        return Samples.of(found, self.spec) if shape and whole and tuple(found.shape[-len(shape) :]) == shape else found

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"Samples: {said(self, self.spec)}"

    def __str__(self) -> str:
        return str(self.as_subclass(Tensor))

    def _repr_png_(self) -> bytes | None:
        try:
            return show(self)._repr_png_()
        except ValueError:
            return None

    def detach(self) -> Samples:
        """As a tensor's, so that samples may become parameters."""
        return Samples.of(super().detach(), self.spec)

    def __reduce_ex__(self, protocol: Any) -> Any:
        plain: Any = self.as_subclass(Tensor)
        return plain.__reduce_ex__(protocol)  # in files it is a plain tensor

    def __deepcopy__(self, memo: Any) -> Samples:
        return Samples.of(self.as_subclass(Tensor).clone(), self.spec)
