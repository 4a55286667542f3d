"""How good are the samples of a model? `undrift evaluate` in one call."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from undrift.argument import instance, path as place_of, whole
from undrift.asked import Guidance, Sampling
from undrift.data import Dataset
from undrift.error import UndriftError
from undrift.evaluation.judgement import Judgement, judge, reference_of
from undrift.metrics.reference import Reference
from undrift.model import Model
from undrift.model_file import load
from undrift.synonyms import in_python


@in_python
def evaluate(
    model: str | Path | Model,
    n: int = 1000,
    train: Dataset | None = None,
    held_out: Dataset | None = None,
    *,
    guidance: Guidance | None = None,
    sampling: Sampling | None = None,
    data_dir: str | Path | None = None,
    seed: int = 0,
    **words: Any,
) -> Judgement:
    """Draw samples and measure them: each metric with its error bar beside what as many held-out real examples get.

    Args:
        model: The folder of a run, whose data are read as its recipe says; or a `Model`, with its data.
        n: How many samples; metrics are of at most as many as there are held-out examples.
        train: The data that the model was trained on; with a folder left out.
        held_out: Examples of the same kind that it has not seen; `train.split(0.2, seed=0)` makes both.
        guidance, sampling: How samples are drawn; or the same in `words`, as for `Model.sample`.
        data_dir: Where the data of a run are, if no longer where they were.
        seed: Of the samples and of the networks that judge.

    Returns:
        A `Judgement`: `print` it for the report, or take `judgement.metrics["energy"].own.value`, `.floor`, `.verdict`.

    Raises:
        UndriftError: data that cannot be read, are not those of the model, or too few (20 at least); a model that draws no samples.
        ValueError: a Model without its data.
    """
    n, options = whole(n, "n", 1), {"guidance": guidance, "sampling": sampling, "seed": seed, **words}
    if sampling is not None:
        del options["seed"]
    drawn = "the options that were given" if guidance or sampling or words else "the model's own options"
    if not isinstance(model, Model):
        folder = place_of(model, "model", "give a run's folder, or a Model")
        loaded = load(folder)
        _draws(loaded)
        on = reference_of({str(folder): loaded}, [folder], n, None if data_dir is None else str(data_dir), seed)
        return judge(loaded, folder, on, n, drawn, [], **options)
    if train is None or held_out is None:
        raise ValueError(
            "a Model does not carry its data: give `train` and `held_out`, such as train.split(0.2, seed=0), or the run's folder."
        )
    for name, data in (("train", train), ("held_out", held_out)):
        instance(data, name, Dataset, "give a Dataset, as undrift.data makes them")
        if data.spec.shape != model.spec.shape or data.spec.classes != model.spec.classes:
            raise UndriftError(f"{name}: {data!r} is of other data than the model, {model!r}; give its own")
    _draws(model)
    with tempfile.TemporaryDirectory() as kept:  # of the network that judges
        on = Reference(train, held_out, n, seed, Path(kept), device=model.device)
        return judge(model, Path(kept), on, n, drawn, [], **options)


def _draws(model: Model) -> None:
    """Raise UndriftError for a model that draws nothing by itself, or only from texts."""
    if (told := model.told) is not None:
        raise UndriftError(f"this model draws only from {told.needs}; see undrift evaluate for what can be measured")
