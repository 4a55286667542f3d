"""Training from Python: a network of anybody's, on data that are at hand, without a recipe.

    model = undrift.fit(Net(), x, steps=2000, folder="runs/mine")

`Training` is the same step by step, for a loop of one's own.
"""

from __future__ import annotations

import copy
import math
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from undrift.argument import function, instance, path as place_of, real, said, tensor as plain_tensor, unmasked
from undrift.condition import for_samples
from undrift.data import Dataset, Spec
from undrift.data.labels import check_class
from undrift.denoiser import Denoiser
from undrift.description import read_description
from undrift.distributed.processes import here, joined
from undrift.error import DataError, ModelError, OutputError
from undrift.model import Model
from undrift.model_file import load
from undrift.noise import Noise
from undrift.objective import DenoisingScoreMatching, HybridObjective, VariationalBound
from undrift.own import described
from undrift.process import VP, Process
from undrift.progress import Bar, interactive
from undrift.recipe.build import TARGETS, build_target
from undrift.recipe.recipe import SamplingOptions
from undrift.run.groups import Saved
from undrift.run.lock import hold
from undrift.storage import reason
from undrift.synonyms import own_words
from undrift.target import Target
from undrift.tensorfile import TYPES
from undrift.threads import advice, as_begun
from undrift.training.checkpoint import path_of, steps_of
from undrift.training.loggers import check_packages
from undrift.training.session import Logger, Session, over
from undrift.training.settings import MAY_CHANGE, NAME, Settings, changes, read_settings, write_settings
from undrift.training.setup import measure, put_aside, sweep, undo
from undrift.training.trainer import MakeOptimizer, Report, Schedule, Trainer

Callback = Callable[[Report], Any]


class Training:
    """A training of a network on data, step by step: `for report in training`.

    Args:
        net: `net(x, level, cond)`, see `fit`; or a `Denoiser`, or a `Model` to go on from.
        data, labels, classes, held_out: See `fit`.
        settings: How long, in which batches, at which rate; see `Settings`.
        process, target, sigma_data, objective, optimizer, schedule, folder, fresh, loggers, name: See `fit`.

    Attributes:
        trainer: The weights, the optimiser and the averages, between two steps.
        model: The model with the averaged weights as they are now; once the training is over, that which is kept.
        at_end: Where there was nothing left to train, a line that says so; else "".
        records: The log so far.

    Raises:
        As `fit`.
    """

    def __init__(
        self,
        net: nn.Module | Model,
        data: Any,
        settings: Settings,
        labels: Any = None,
        *,
        classes: Sequence[str] | None = None,
        held_out: float | Any = 0.2,
        process: Process | None = None,
        target: str | Target | None = None,
        sigma_data: float | None = None,
        objective: Callable[..., Tensor] | None = None,
        optimizer: MakeOptimizer | None = None,
        schedule: Schedule | None = None,
        folder: str | Path | None = None,
        fresh: bool = False,
        loggers: Sequence[Logger] = (),
        name: str | None = None,
    ) -> None:
        self._held = ExitStack()  # what must live as long as the training: a folder for a while, and its lock
        instance(settings, "settings", Settings, "give undrift.Settings(steps=...)")
        instance(
            net,
            "net",
            (nn.Module, Model),
            "give a network, an object of a torch.nn.Module that maps (x, level, cond) to x's shape",
        )
        if held_out is None or isinstance(held_out, (str, bytes, bool)):
            raise TypeError(f"`held_out` is {said(held_out)}: give a share of the data, such as 0.2, or examples.")
        if isinstance(held_out, Real) and not 0 < float(held_out) < 1:
            raise ValueError(
                f"`held_out` is a share of the data and must lie in (0, 1), got {float(held_out):g}; or give examples."
            )
        if name is not None and (not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 200):
            raise ValueError(f"`name` is {said(name)}: give a short text of one line.")
        if isinstance(classes, (str, bytes, set, frozenset, Mapping)):
            raise TypeError(f"`classes` is {said(classes)}: give the names in a list, in the order of their numbers.")
        for what, given in (("objective", objective), ("optimizer", optimizer), ("schedule", schedule)):
            if given is not None:
                function(given, what, "see undrift.fit")
        for logger in loggers:
            function(logger, "logger", "give a function of a record, a dict with its step")
        check_packages(settings)
        spec = net.spec if isinstance(net, Model) else None
        train, held = datasets(data, labels, classes, held_out, settings.seed, spec, name)
        # A model that is given stays as it is; one that was loaded has gradients off.
        asked = copy.deepcopy(net.denoiser) if isinstance(net, Model) else net
        for p in asked.parameters() if isinstance(net, Model) else ():
            p.requires_grad_(p.is_floating_point())
        denoiser = as_denoiser(asked, train, process, target, sigma_data)
        objective = DenoisingScoreMatching() if objective is None else objective
        try:
            self._blank = copy.deepcopy(denoiser)
        except Exception as error:  # whatever a network may refuse with
            raise ValueError(
                f"{type(denoiser.net).__name__} cannot be copied, as the model with the averaged weights must be ({_first(error)}); of "
                "weight_norm and spectral_norm take those in torch.nn.utils.parametrizations, and hand in a scripted network unscripted."
            ) from None
        check_network(denoiser, train, objective)
        parts = described(denoiser, train.spec.shape, len(train.spec.classes))
        digest = train.content_hash()
        sampling = net.sampling if isinstance(net, Model) else SamplingOptions()
        self._model = Model(denoiser, train.spec, parts, sampling, {"data_hash": digest})
        processes = here()
        if folder is None and processes.size > 1:
            raise ValueError("several processes train in one `folder`: name one.")
        self.temporary = folder is None
        place = (
            Path(self._held.enter_context(tempfile.TemporaryDirectory()))
            if folder is None
            else place_of(folder, "folder", "name one")
        )
        with processes.one_first():
            functions = {"objective": _said(objective), "schedule": _said(schedule)}
            before = aside(place) if fresh and processes.first else None  # only now that all is known to be good
            settings, self.changes = prepare_folder(place, settings, self._model, digest, functions)
            new, empty = not (place / NAME).is_file(), place.is_dir()
            self._held.enter_context(hold(place))
            if processes.first:
                sweep(place)
            try:
                if not new:  # it may have been trained between the look at it and the lock
                    settings, self.changes = prepare_folder(place, settings, self._model, digest, functions)
                self.trainer = Trainer(settings, self._model, objective, train, place, processes, None, optimizer, schedule)
            except BaseException:
                self._held.close()
                if new and processes.first:
                    undo(place, before, empty)  # as it was found
                raise
            self.trainer.temporary = self.temporary
            write_settings(place, settings, functions)
        processes.same("data or a run at a step", f"{digest} {self.trainer.progress.step}")
        self.session = Session(self.trainer, held, loggers=loggers)
        self._over = over(self.session) is not None
        at = self.trainer.progress.step
        self.at_end = f"{place} is trained to its end ({at:,} steps); to go on give more steps or minutes" if self._over else ""

    def __iter__(self) -> Iterator[Report]:
        """Train to the end, a `Report` for each step; leave the loop at any time, and the state is saved if there is a folder.

        Raises:
            UndriftError: the training went wrong (`Diverged`), or a file cannot be written; what was saved before is kept.
        """
        if not self._over:
            yield from self.session
            self._over = not self.session.stopped

    def stop(self) -> None:
        """Stop after the step in hand; the state is saved."""
        self.session.stop()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The log so far, a dict for each record; see `undrift.run.log`."""
        return list(self.session.watch.log.records)

    @property
    def model(self) -> Model:
        """A model of its own with the averaged weights of now; of a run that stopped because it was enough, with the best ones."""
        trainer, watch = self.trainer, self.session.watch
        blank = copy.deepcopy(self._blank)
        if trainer.in_parts:
            process, target = blank.process, blank.target
            return load(trainer.folder, net=blank.net, device=trainer.device, process=process, target=target)
        weights = trainer.ema
        if self._over and watch.enough and (best := watch.best) is not None and best < trainer.progress.step:
            saved = Saved(path_of(trainer.folder, best))
            weights = {k: saved.tensor(f"ema.{k}") for k in weights}
        blank.to(trainer.device).load_state_dict(weights)
        blank.eval().requires_grad_(False)
        trained = {**self._model.trained, **trainer.facts()}
        return Model(blank, self._model.spec, dict(self._model.parts), self._model.sampling, trained)

    def __repr__(self) -> str:
        at, settings = self.trainer.progress, self.trainer.settings
        return f"Training: step {at.step:,} of {settings.goal}, on {self.trainer.data!r}; `for report in training` goes on"

    def close(self) -> None:
        """Let go of the folder; what was trained without one is in memory alone."""
        self._held.close()


@own_words
def fit(
    net: nn.Module | Model,
    data: Any,
    labels: Any = None,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    folder: str | Path | None = None,
    fresh: bool = False,
    process: Process | None = None,
    target: str | Target | None = None,
    sigma_data: float | None = None,
    objective: Callable[..., Tensor] | None = None,
    batch_size: int = 128,
    accumulate: int = 1,
    optimizer: str | MakeOptimizer = "adamw",
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.99),
    schedule: Schedule | None = None,
    warmup: int = 100,
    decay_from: float = 0.0,
    clip: float = 1.0,
    ema_halflife: float = 50_000,
    label_dropout: float = 0.1,
    held_out: float | Any = 0.2,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    precision: str = "auto",
    compile: bool = False,
    recompute: bool = False,
    shard: bool = False,
    threads: int | None = None,
    log_every: int = 50,
    checkpoint_every: int = 1000,
    keep: int = 2,
    snapshots: int = 16,
    sample_every: int = 1000,
    monitor_every: int = 250,
    monitor_examples: int = 256,
    quality_every: int = 1000,
    patience: int | None = None,
    until: str = "end",
    tensorboard: bool = False,
    wandb: bool = False,
    callback: Callback | Sequence[Callback] | None = None,
    logger: Logger | Sequence[Logger] | None = None,
    progress: bool = True,
    name: str | None = None,
) -> Model:
    """Train a network on data, and return the model.

    The network is any `torch.nn.Module` that maps `(x, level, cond)` to `x`'s shape: `x` `(B, *D)` noisy samples of unit variance,
    `level` `(B,)` = log(sigma/alpha)/4 between -2.5 and 1.25, `cond` `(B,)` int64 class numbers with -1 for "not known", or None where
    the data have no classes. It is trained in place; the model that is returned has a copy with the averaged weights.

    With a `folder` the training is saved as it goes, and the same call goes on where it was stopped, to the same bits.
    Under `torchrun` several processes share each batch; then give a folder.

    Args:
        net: The network; or a `Denoiser`, which brings its process and target; or a `Model`, whose training goes on from its weights.
        data: `(N, *D)` tensor or array, the first axis counting examples; a `Dataset` of undrift's; or a PyTorch `Dataset` or
            `DataLoader` of examples `x` or pairs `(x, label)`. uint8 is 0..255; floats are standardised.
        labels: `(N,)` class numbers from 0, or names.
        steps: Optimiser steps until the end; each sees one batch. minutes: or minutes until the end. One of the two is needed.
        folder: Where the run lives; None: nothing is kept on the disk.
        fresh: Start over; a run that is in the folder is renamed, not deleted.
        process: The noise; default `VP()`.
        target: What the network puts out: "karras" (default), "v", "velocity", "noise", "score", "data", or a function.
        sigma_data: Standard deviation of the data in model space; default: measured.
        objective: `(denoiser, x0, noise, cond) -> (B,)` losses; default `DenoisingScoreMatching()`. See `undrift.objective`.
        optimizer: "adamw" or "muon", with `learning_rate`, `weight_decay` and `betas`; or a function that makes one of a list of
            parameters, such as `lambda p: torch.optim.SGD(p, lr=0.1)`.
        schedule: What the learning rate is multiplied by at `(step, fraction of the run)`; default: a linear rise over `warmup` steps,
            and from the share `decay_from` of the run on half a cosine to zero.
        held_out: Share of the data that is not trained on, by which the looks judge; or examples for that, as `data`.
        classes: Names of the classes.
        callback: Called after each step with its `Report`; training stops when it returns True. Or several.
        logger: Called with each record of the log, a dict with its `step`. Or several.
        progress: Whether to show a bar.
        name: What to call the data in messages.

    All other arguments are those of `Settings`.

    Returns:
        The model with the averaged weights. Interrupted at a prompt or in a notebook, the model so far.

    Raises:
        ValueError: a network whose output has another shape than its input; labels of another number than examples; data that hold
            NaN or are all the same; a process whose noise does not grow; a number that makes no sense.
        TypeError: something of another kind than asked for.
        UndriftError: the folder holds another run or cannot be written, a device is not there, or the training diverged.
        KeyboardInterrupt: interrupted in a script; with a folder, everything is saved.

    Example:
        >>> x = torch.randn(512, 2)
        >>> model = fit(Net(), x, steps=2000, folder="runs/mine")  # doctest: +SKIP
        >>> model.sample(16).shape  # doctest: +SKIP
        torch.Size([16, 2])
    """
    own = None if optimizer is None or isinstance(optimizer, str) else optimizer
    settings = Settings(
        optimizer=optimizer if isinstance(optimizer, str) else "adamw", steps=steps, minutes=minutes, batch_size=batch_size, accumulate=accumulate, learning_rate=learning_rate,
        weight_decay=weight_decay, betas=betas, warmup=warmup, decay_from=decay_from, clip=clip, ema_halflife=ema_halflife,
        label_dropout=label_dropout, seed=seed, device=str(device), precision=precision, compile=compile, recompute=recompute,
        shard=shard, threads=threads, log_every=log_every, checkpoint_every=checkpoint_every, keep=keep, snapshots=snapshots,
        sample_every=sample_every, monitor_every=monitor_every, monitor_examples=monitor_examples, quality_every=quality_every,
        patience=patience, until=until, tensorboard=tensorboard, wandb=wandb,
    )  # fmt: skip
    callbacks = _each(callback, "callback")
    with joined():
        training = Training(
            net, data, settings, labels, classes=classes, held_out=held_out, process=process, target=target, sigma_data=sigma_data,
            objective=objective, optimizer=own, schedule=schedule, folder=folder, fresh=fresh, loggers=_each(logger, "logger"),
            name=name,
        )  # fmt: skip
        try:
            return _fitted(training, callbacks, progress)
        finally:
            training.close()


def aside(folder: Path) -> Path | None:
    """Rename the run of a folder, if it holds one of `fit`; where it is now. Raises OutputError where another training is at work in it."""
    if not (folder / NAME).is_file():
        return None
    hold(folder).close()
    return put_aside(folder)


def _fitted(training: Training, callbacks: Sequence[Callback], progress: bool) -> Model:
    """Train to the end, with a bar."""
    first, asked = training.trainer.processes.first, False
    for note in filter(None, [*training.changes, *training.trainer.notes, advice()]) if first else []:
        print(f"undrift: {note}", file=sys.stderr)
    if first and training.at_end:
        print(f"undrift: {training.at_end}", file=sys.stderr)
    with Bar(shown=progress and first) as bar:
        for report in training:
            bar.show(report.fraction, training.session.facts(report))
            if first and progress and (line := training.session.estimate(bar.pace.left())):
                print(f"undrift: {line}", file=sys.stderr)
            for call in callbacks:
                if call(report) is True:
                    asked = True
                    training.stop()
    if training.session.stopped and not asked:
        kept = (
            ""
            if training.temporary
            else f"; everything is saved in {training.trainer.folder}, and the same call goes on from there"
        )
        text = f"stopped at step {training.trainer.progress.step}{kept}"
        if not interactive():
            raise KeyboardInterrupt(text)
        print(f"undrift: {text}", file=sys.stderr)
    return training.model


def _each(given: Any, name: str) -> list[Any]:
    """One function, several, or none, as a list. Raises TypeError for anything else."""
    several = [] if given is None else list(given) if isinstance(given, (list, tuple)) else [given]
    return [function(each, name, "give a function, or a list of them") for each in several]


def datasets(
    data: Any,
    labels: Any,
    classes: Sequence[str] | None,
    held_out: Any,
    seed: int,
    spec: Spec | None = None,
    name: str | None = None,
) -> tuple[Dataset, Dataset]:
    """Examples to train on and held-out ones.

    Args:
        data, labels, classes, held_out: As `fit` has them.
        seed: Decides which examples are held out.
        spec: Of the model that goes on; None: what the data show.
        name: What to call them in messages.

    Raises:
        ValueError: data that cannot be trained on.
    """
    try:
        whole = dataset_of(data, labels, classes, name or "data")
        if isinstance(held_out, Real):
            train, rest = whole.split(float(held_out), seed)
        else:
            train = whole
            x, also = held_out if isinstance(held_out, tuple) and len(held_out) == 2 else (held_out, None)
            known = train.spec.classes or None
            rest = dataset_of(x, also, None if isinstance(x, (torch.utils.data.Dataset, Dataset)) else known, "held_out")
            if rest.spec.shape != train.spec.shape or (rest.labels is None) != (train.labels is None):
                raise ValueError(
                    f"`held_out` has shape {rest.spec.shape} and {'no ' * (rest.labels is None)}labels, the data {train.spec.shape} and "
                    f"{'no ' * (train.labels is None)}labels; give examples of the same kind."
                )
            units = [(s.low, s.high, s.integer) for s in (rest.spec, train.spec)]
            if units[0] != units[1]:
                raise ValueError(
                    f"`held_out` is of {rest.raw(torch.tensor([0])).dtype} and the data of {train.raw(torch.tensor([0])).dtype}: their "
                    "values mean different things; give both in the same units and type."
                )
            rest.spec = train.spec
        if spec is not None:
            if spec.shape != train.spec.shape or len(spec.classes) < len(train.spec.classes):
                raise ValueError(
                    f"the model is of data of shape {spec.shape} with {len(spec.classes)} classes, these are of shape "
                    f"{train.spec.shape} with {len(train.spec.classes)}; give data of the same kind."
                )
            train.spec = rest.spec = spec
        return train, rest
    except DataError as error:
        raise ValueError(f"{error}.") from None


def dataset_of(data: Any, labels: Any, classes: Sequence[str] | None, name: str) -> Dataset:
    """Data of any kind that `fit` takes as a `Dataset`.

    Raises:
        ValueError: labels given twice, or of another number than examples; data without examples.
        TypeError: something that holds no examples.
        DataError: values that cannot be trained on.
    """
    unmasked(data, name)
    if isinstance(data, torch.utils.data.DataLoader):
        data = _loaded(data)
    if isinstance(data, Dataset):
        if labels is not None:
            raise ValueError("`labels` are given, but the Dataset has its own; leave them out.")
        return data
    if isinstance(data, (Tensor, np.ndarray)):
        x = data
    elif isinstance(data, (torch.utils.data.Dataset, Iterable)) and not isinstance(data, (str, bytes, Mapping)):
        x, found = _collected(data)
        if found is not None and labels is not None:
            raise ValueError("`labels` are given, but the examples have labels of their own; leave them out.")
        labels = found if labels is None else labels
        classes = getattr(data, "classes", None) if classes is None else classes
    else:
        raise TypeError(f"`data` is {said(data)}: give a tensor, an array, a Dataset or a DataLoader.")
    if isinstance(x, Tensor):
        x = plain_tensor(x.detach(), "data").cpu().resolve_conj().resolve_neg()
        x = (x.float() if x.dtype in (torch.bfloat16, torch.float16) else x).numpy()
    if x.dtype.kind not in "biuf":
        raise ValueError(f"`data` must hold numbers, got {x.dtype}.")
    if x.ndim < 2:
        raise ValueError(
            f"`data` has shape {x.shape}; the first axis counts examples, and each needs an axis of its own: for examples of one number "
            "give x[:, None]."
        )
    if x.ndim > 5:
        raise ValueError(f"`data` has {x.ndim} axes; at most five are read, (N, C, D, H, W).")
    numbers, names = _numbered(labels, classes, len(x))
    return Dataset.of_numbers(x, numbers, name, names)


def _loaded(loader: torch.utils.data.DataLoader[Any]) -> Any:
    """The examples that a loader gives: all of its dataset, or those that its own sampler or collate function makes of it in one pass."""
    usual = loader.collate_fn in (torch.utils.data.default_collate, torch.utils.data.default_convert)
    if usual and isinstance(loader.dataset, torch.utils.data.IterableDataset):
        return loader.dataset
    order = loader.sampler
    all_once = isinstance(order, (torch.utils.data.SequentialSampler, torch.utils.data.RandomSampler)) and not (
        getattr(order, "replacement", False) or len(order) != len(loader.dataset)  # type: ignore[arg-type]
    )
    if usual and all_once and type(loader.batch_sampler) in (torch.utils.data.BatchSampler, type(None)):
        return loader.dataset
    found: list[Any] = []
    for batch in loader:
        parts = batch if isinstance(batch, (tuple, list)) else (batch,)
        if not all(isinstance(part, (Tensor, np.ndarray)) for part in parts):
            raise ValueError("a DataLoader must give batches of tensors, x or the pair (x, label).")
        found.extend(zip(*parts, strict=True) if len(parts) > 1 else parts[0])
    return found


def _collected(data: Any) -> tuple[Any, list[Any] | None]:
    """All examples of a dataset, one after the other, and their labels; random transforms are frozen in this one pass."""
    items = [data[i] for i in range(len(data))] if hasattr(data, "__getitem__") and hasattr(data, "__len__") else list(data)
    if not items:
        raise ValueError("`data` holds no examples.")
    pairs: list[Any] = [item if isinstance(item, tuple) or _is_pair(item) else (item,) for item in items]
    if len({len(pair) for pair in pairs}) > 1 or len(pairs[0]) not in (1, 2):
        raise ValueError("each example of `data` must be x, or the pair (x, label).")
    try:
        x = [torch.as_tensor(pair[0]) if isinstance(pair[0], Tensor) else torch.as_tensor(np.asarray(pair[0])) for pair in pairs]
        together = torch.stack(x)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"the examples of `data` are not numbers of one shape ({str(error).splitlines()[0]}).") from None
    labels = [pair[1] for pair in pairs] if len(pairs[0]) == 2 else None
    return together, labels


def _is_pair(item: Any) -> bool:
    """Whether a list is an example and its label, and not an example of numbers."""
    return isinstance(item, list) and len(item) == 2 and getattr(item[0], "ndim", 0) > 0


def _numbered(labels: Any, classes: Sequence[str] | None, count: int) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels as numbers, and the names of the classes. Raises ValueError."""
    if labels is None:
        if classes:
            raise ValueError("`classes` are named, but there are no labels.")
        return None, ()
    if isinstance(labels, Tensor):
        labels = plain_tensor(labels.detach(), "labels").cpu().resolve_neg().numpy()
    try:
        given = np.asarray(labels)
    except ValueError:  # rows of different lengths
        raise ValueError("`labels` must be one number or name for each example.") from None
    if given.dtype == np.bool_:
        given = given.astype(np.int64)
    if given.shape != (count,):
        raise ValueError(f"`labels` must be one for each of {count:,} examples, ({count},), got shape {given.shape}.")
    if given.dtype.kind == "U":
        names = tuple(sorted({str(each) for each in given})) if classes is None else tuple(map(str, classes))
        strange = next((str(each) for each in given if str(each) not in names), None)
        if strange is not None:
            raise ValueError(f"the label {strange!r} is not one of the classes {', '.join(names)}.")
        place = {each: i for i, each in enumerate(names)}
        numbers = np.array([place[str(each)] for each in given], dtype=np.int64)
    else:
        whole = given.dtype.kind in "iu" or (given.dtype.kind == "f" and bool(np.equal(np.mod(given, 1), 0).all()))
        if not whole or (given.size and given.min() < 0):
            raise ValueError("`labels` must be whole numbers that count the classes from 0, or names.")
        top = int(given.max(initial=-1))
        if top >= max(count, 1000):
            raise ValueError(f"a label is {top:,}, of {count:,} examples; labels count the classes from 0: give codes as texts.")
        numbers = given.astype(np.int64)
        names = tuple(map(str, range(top + 1))) if classes is None else tuple(map(str, classes))
        if top >= len(names):
            raise ValueError(f"a label is {top}, but there are {len(names)} classes; labels count the classes from 0.")
    for each in names:
        check_class(each, "classes")
    if len({*names}) < len(names):
        raise ValueError(f"`classes` has one name twice: {', '.join(names)}.")
    return numbers, names


def as_denoiser(
    net: nn.Module, data: Dataset, process: Process | None, target: str | Target | None, sigma_data: float | None
) -> Denoiser:
    """The denoiser that is trained: the user's, or one made of the network.

    Raises:
        ValueError: a process or a target that is none, data that are all the same, or parts that the denoiser has already.
    """
    if isinstance(net, Denoiser):
        given = {"process": process, "target": target, "sigma_data": sigma_data}
        if twice := [name for name, value in given.items() if value is not None]:
            raise ValueError(f"`{twice[0]}` is given, but the denoiser has its own; leave it out, or give its network, net.net.")
        if net.shape not in (None, data.spec.shape):
            raise ValueError(f"the denoiser is of samples of shape {net.shape}, the data have shape {data.spec.shape}.")
    inner, name = (net.net, type(net.net).__name__) if isinstance(net, Denoiser) else (net, type(net).__name__)
    if not any(p.requires_grad for p in inner.parameters()):
        raise ValueError(f"{name} has no parameters that can be trained.")
    kept = inner.state_dict()
    if odd := next((k for k, v in kept.items() if not isinstance(v, Tensor)), None):
        raise ValueError(f"{name} keeps {odd}, which is no tensor, in its state; only tensors are saved.")
    for k, v in kept.items():
        if v.dtype not in TYPES or v.layout != torch.strided:
            raise ValueError(
                f"{name} keeps {k} as {said(v)}, which is not saved: keep its real and imaginary parts, or a dense tensor of a usual type, "
                "or register it with persistent=False."
            )
        if any(step == 0 and size > 1 for step, size in zip(v.stride(), v.shape, strict=True)):
            raise ValueError(
                f"{name} keeps {k} as a view of fewer numbers (expand), which cannot be averaged; register its .clone()."
            )
    if any(v.is_meta for v in kept.values()):
        raise ValueError(f"{name} has parameters on the meta device, which have no values; make it on the CPU.")
    if isinstance(net, Denoiser):
        net.shape = data.spec.shape
        return net
    spread = measure(data) if sigma_data is None else real(sigma_data, "sigma_data")
    if not spread or not math.isfinite(spread):
        raise ValueError("all values of the data are the same, so there is nothing to learn; give other data.")
    if isinstance(target, str) and target not in TARGETS:
        raise ValueError(f"`target` is one of {', '.join(TARGETS)}, or a function, got {target!r}.")
    chosen = build_target("karras" if target is None else target, spread) if target is None or isinstance(target, str) else target
    return Denoiser(net, VP() if process is None else process, chosen, spread, data.spec.shape)


def check_network(denoiser: Denoiser, data: Dataset, objective: Callable[..., Tensor]) -> None:
    """Ask the network once, before anything is trained, with two examples.

    Raises:
        ValueError: an output of another shape than its input, also one that would broadcast, or that is not finite; a network that
            cannot be called so; an objective whose losses are not one for each example.
    """
    rows = torch.arange(min(2, len(data)))
    x, cond = data.batch(rows)[0], for_samples(data.condition(rows), len(rows))
    known = next(denoiser.net.parameters(), x)
    x, cond = x.to(known.device), cond if cond is None else cond.to(known.device)
    t, modes, name = (
        denoiser.process.t_max / 2 + denoiser.process.t_min / 2,
        [(m, m.training) for m in denoiser.modules()],
        type(denoiser.net).__name__,
    )
    denoiser.eval()
    try:
        with torch.random.fork_rng([known.device] if known.device.type == "cuda" else []), torch.enable_grad():
            output, head = _asked(denoiser, x, t, cond)
            if head is not None and not isinstance(objective, (HybridObjective, VariationalBound)):
                raise ValueError(
                    f"{name} returns {2 * x.shape[1]} channels for {x.shape[1]}: the second half would be a learned variance, which only "
                    "HybridObjective and VariationalBound train; return x's shape."
                )
            if not bool(torch.isfinite(output).all()):
                raise ValueError(f"{name} returns NaN or infinities for two examples at t = {t:g}, before any training.")
            if not output.requires_grad:
                raise ValueError(f"what {name} returns does not depend on its parameters: is it detached, or made under no_grad?")
            torch.rand(7)  # whoever draws from torch's generator finds it elsewhere now
            size = float(output.detach().abs().max())  # a device may sum in another order each time
            if not torch.allclose(output, _asked(denoiser, x, t, cond)[0], rtol=0, atol=1e-4 * size):
                raise ValueError(
                    f"{name} returns something else each time that it is asked in evaluation mode: it draws random numbers or changes what it "
                    "keeps, and samples of a seed could not be drawn again; do so only where self.training is set."
                )
            _check_kept(denoiser, x, t, cond)
            if isinstance(objective, (DenoisingScoreMatching, HybridObjective, VariationalBound)):
                return
            losses = objective(denoiser, x, Noise(range(len(x))).fold("check"), cond)
            if not isinstance(losses, Tensor) or losses.shape != (len(x),):
                got = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else said(losses)
                raise ValueError(
                    f"`objective` must return one loss for each example, ({len(x)},), got {got}; leave the mean over the batch out."
                )
            if not losses.requires_grad:
                raise ValueError("what `objective` returns does not depend on the network's parameters.")
    finally:
        for part, training in modes:
            part.training = training


def _check_kept(denoiser: Denoiser, x: Tensor, t: float, cond: Any) -> None:
    """Whether training changes a buffer that no file keeps. Everything is put back. Raises ValueError."""
    kept = denoiser.net.state_dict().keys()
    before = {k: (b, b.detach().clone()) for k, b in denoiser.net.named_buffers()}
    denoiser.train()
    try:
        with suppress(ValueError):  # batch norm, say, needs more than two examples
            _asked(denoiser, x, t, cond)
        changed = [k for k, (b, was) in before.items() if b.shape == was.shape and not torch.equal(b, was)]
    finally:
        denoiser.eval()
        for b, was in before.values():
            if b.shape == was.shape:
                b.copy_(was)
    if lost := [k for k in changed if k not in kept]:
        raise ValueError(
            f"{type(denoiser.net).__name__} changes its buffer {lost[0]} as it trains, but keeps it out of its state (persistent=False), so it "
            "would be lost with a pause: register it with persistent=True."
        )


def _asked(denoiser: Denoiser, x: Tensor, t: float, cond: Any) -> tuple[Tensor, Tensor | None]:
    """The network's outputs. Raises ValueError for whatever it may fail with."""
    try:
        return denoiser.outputs(x, t, cond)
    except Exception as error:  # the network is anybody's
        shape = tuple(cond.shape) if isinstance(cond, Tensor) else cond
        raise ValueError(
            f"{type(denoiser.net).__name__} cannot be asked as net(x, level, cond) with x {tuple(x.shape)}, level {(len(x),)} and cond "
            f"{shape}: {_first(error)}"
        ) from error


def _first(error: Exception) -> str:
    """What an error says, in one line."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def _said(function: Any) -> str:
    """A function by a name that is the same in the next session."""
    return "" if function is None else getattr(function, "__qualname__", type(function).__qualname__)


def prepare_folder(
    folder: Path, settings: Settings, model: Model, digest: str, functions: Mapping[str, str] | None = None
) -> tuple[Settings, list[str]]:
    """Whether a folder is new, or holds the same run.

    Returns:
        The settings, with as many threads as the run began with; and what has changed since, a line each.

    Raises:
        OutputError: it holds something else.
        ModelError: it holds a run of another network, or on other data.
        RecipeError: a setting that would make it another run.
    """
    try:
        new = not folder.is_dir() or not any(not p.name.startswith(".") for p in folder.iterdir())
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder} is a file; name a folder")
    except (OSError, ValueError) as error:
        raise OutputError(f"{folder} cannot be used as a folder: {reason(error)}") from None
    if new:
        return replace(settings, threads=as_begun(settings.threads, None)), []
    if (folder / "config.yaml").is_file():
        raise OutputError(f"{folder} holds a run of `undrift train`; go on with undrift.train, or name another folder")
    if not (folder / NAME).is_file():
        raise OutputError(f"{folder} is not empty and holds no run; name another folder")
    before, known = read_settings(folder)
    settings = replace(settings, threads=as_begun(settings.threads, before.threads))
    if before.threads is None:  # a run of an earlier version does not say
        before = replace(before, threads=settings.threads)
    now = asdict(settings) | {k: v for k, v in (functions or {}).items() if k in known}
    lines = changes(folder, asdict(before) | known, now, MAY_CHANGE, "name another folder")
    if steps_of(folder) and (folder / "model.json").is_file():
        description, spec = read_description(folder)
        if description["trained"].get("data_hash", digest) != digest:
            raise ModelError(f"{folder} was trained on other data than these, or another part of them; name another folder")
        for part in ("network", "process", "target", "sigma_data"):
            if description[part] != _plain(model.parts[part]):
                raise ModelError(f"{folder} holds a run with another {part}; name another folder")
        if spec != model.spec:
            raise ModelError(f"{folder} was trained on other data than these; name another folder")
    return settings, lines


def _plain(part: Any) -> Any:
    """A part as it comes back from a file."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in part.items()} if isinstance(part, dict) else part
