"""`export`: a model as a file that runs without undrift."""

from __future__ import annotations

from pathlib import Path

from undrift.argument import instance, path as place_of
from undrift.denoiser import exactly
from undrift.error import UndriftError
from undrift.formats import format_named
from undrift.model import Model
from undrift.storage import Place, write_atomically


def export(model: Model, place: str | Path | Place, to: str = "torch") -> None:
    """Write a model as a file that runs without undrift, after it was found to compute what the model computes.

    Args:
        model: As `fit`, `train` and `load` return it.
        place: The file.
        to: A format of `undrift.formats.FORMATS`: "torch", a program of `torch.export` (see `undrift.formats.torch_program`).

    Raises:
        UndriftError: an unknown format, a file of another suffix, a model that the format cannot hold.
        OutputError: the file cannot be written, or computes something else.
    """
    instance(model, "model", Model, "give a Model, as undrift.fit, train or load returns it")
    form = format_named(to)
    where = place_of(place, "place", "name a file") if isinstance(place, (str, Path)) else place
    if Path(str(where)).suffix.lower() != form.suffix:
        raise UndriftError(f"{where}: a file of format {to} is named {form.suffix}; name it so")
    with exactly(model.denoiser):
        write_atomically(where, lambda path: form.write(model, path), lambda path: form.check(model, path))
