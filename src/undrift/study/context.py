"""What studies share: data, models that are trained once, the classifier that judges, and how much is drawn."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from torch import Tensor

from undrift import __version__
from undrift.data import Dataset, load_split
from undrift.device import choose_device
from undrift.error import DataError, UndriftError
from undrift.guidance import NoisyClassifier
from undrift.metrics.estimate import Estimate, mean
from undrift.metrics.metric import Unmeasurable
from undrift.metrics.recognition import Judge
from undrift.metrics.reference import Reference
from undrift.model import Model
from undrift.model_file import load
from undrift.noisy_classifier import load_classifier, save_classifier
from undrift.run import Run
from undrift.training.noisy_classifier import train_classifier
from undrift.training.session import train_run

T = TypeVar("T")

ENOUGH = 200  # samples for the Frechet distance in the 128 features of the judge


@dataclass(frozen=True)
class Trained:
    """How a model of a paper is trained: the paper's recipe is its name; `changes` make the library's own recipes into it.

    Attributes:
        changes: Overrides of the recipes `digits` and `mnist`.
        digits, mnist: Overrides of the one or the other; where the training ends.
        ours: What is undrift's own in it, and not the paper's.
        classes: Whether any class-conditional run can stand in for it.
    """

    changes: dict[str, Any]
    digits: dict[str, Any]
    mnist: dict[str, Any]
    ours: str
    classes: bool = False


# 001's networks predict the noise of pictures without labels, at uniform times: L_simple.
_PLAIN = {"data.labels": False, "target": "noise", "objective": {"kind": "denoising"}}
_SMALL = {
    "network": {"kind": "unet", "widths": [32, 64], "blocks": 1, "attention": [1]},
    "steps": 2000,
}  # a thousand steps draw a sample
_LADDER = {"kind": "smld", "levels": 10, "sigma_min": 0.02, "sigma_max": 2.0}  # 0.01 to 1 on pictures from 0 to 1
MODELS = {
    "000-conditional": Trained({"label_dropout": 0.2}, {"steps": 2000}, {"minutes": 10}, "process, network and loss", True),
    "001-smld": Trained({"process": _LADDER, **_PLAIN}, _SMALL, {"minutes": 6}, "network"),
    "001-ddpm": Trained({"process": {"kind": "ddpm"}, **_PLAIN}, _SMALL, {"minutes": 6}, "network"),
    "001-sde": Trained({"process": {"kind": "vp", "t_min": 1e-3}, **_PLAIN}, _SMALL, {"minutes": 6}, "network"),
    "003-score": Trained(
        {"process": {"kind": "ve", "sigma_min": 0.02, "sigma_max": 20.0}, "label_dropout": 0.5},
        _SMALL,
        {"minutes": 6},
        "network and noise levels",
        True,
    ),
}


@dataclass
class StudyContext:
    """What studies share: data, models that are trained once, the classifier that judges, and how much is drawn.

    Args:
        out: A folder of its own: trained models, the judge, results.
        data_dir: The folder of MNIST; None: the embedded 8 x 8 digits.
        paper: The papers' own settings, on MNIST.
        run: A run of a class-conditional model to sample in place of training one.
        effort: Share of samples and steps that is drawn; below 1 for a quick look at how it goes.
        changes: Overrides of every training, such as `{"steps": 100}`.
        console: Where the training prints.
        tell: Called with a line on what is being done.
        device: Where it is trained and sampled.
    """

    out: Path
    data_dir: str | None = None
    paper: bool = False
    run: Path | None = None
    effort: float = 1.0
    changes: dict[str, Any] = field(default_factory=dict)
    console: Console = field(default_factory=lambda: Console(quiet=True))
    tell: Callable[[str], None] = lambda text: None
    device: str = "auto"

    def __post_init__(self) -> None:
        self.begin()
        self._models, self._done = dict[str, Model](), dict[Hashable, Any]()

    def begin(self) -> None:
        """Start the clock of a new study, and forget what the last one used."""
        self.used, self._prepared, self._begun = list[str](), [0.0, 0.0], _clock()

    def spent(self) -> tuple[float, float]:
        """Seconds since the study began, of wall clock and of processor, without training and other work that studies share."""
        now = _clock()
        wall, processor = (a - b - c for a, b, c in zip(now, self._begun, self._prepared, strict=True))
        return wall, processor

    @contextmanager
    def preparing(self, what: str) -> Iterator[None]:
        """A context in which seconds do not count as the study's, for work that studies share, such as training."""
        self.tell(what)
        start = _clock()
        try:
            yield
        finally:
            self._prepared = [p + b - a for p, a, b in zip(self._prepared, start, _clock(), strict=True)]

    def count(self, fast: int, paper: int | None = None, least: int = 1) -> int:
        """A number of samples or steps: the fast one or the paper's, scaled by the effort."""
        wanted = fast if paper is None or not self.paper else paper
        return max(min(least, wanted), round(self.effort * wanted))

    @property
    def samples(self) -> int:
        """How many samples are compared with as many held-out digits; with any effort enough for the Frechet distance."""
        return self.count(300, 1000, ENOUGH)

    @property
    def settings(self) -> str:
        """The settings in words, for the report."""
        size = "the papers' settings" if self.paper else "fast settings"
        return size if self.effort == 1 else f"{size}, {100 * self.effort:g} % of it"

    def key(self, toy: bool) -> str:
        """A text of all that a result depends on besides the code; a kept result with another key is measured again."""
        parts = [__version__, self.settings]
        if not toy:
            train, _ = self.data
            parts += [train.content_hash()[:12], "" if self.run is None else str(self.run.absolute())]
        return " / ".join(parts)

    @cached_property
    def data(self) -> tuple[Dataset, Dataset]:
        """Training and held-out digits.

        Raises:
            UndriftError: they are not there, or not those of the run.
        """
        if self.run is not None:
            model = load(self.run, device=self.device)
            if len(model.spec.classes) != 10 or len(model.spec.shape) != 3:
                raise UndriftError(f"{self.run} is no class-conditional model of pictures of ten digits; the studies need one")
            return Run(self.run, self.data_dir).data_of(model)
        if self.paper and self.data_dir is None:
            raise DataError("the papers' settings are for MNIST; give --data-dir with its four IDX files")
        return load_split("digits" if self.data_dir is None else "mnist", self.data_dir)

    @cached_property
    def reference(self) -> Reference:
        """The metrics of quality for samples of these data, and the classifier that judges.

        Raises:
            UndriftError: too few held-out digits for the Frechet distance.
        """
        with self.preparing("the classifier that judges"):
            self.out.mkdir(parents=True, exist_ok=True)
            found = Reference(*self.data, self.samples, cache=self.out, device=choose_device(self.device))
            try:
                found.features.measure("frechet")
            except Unmeasurable as error:
                raise UndriftError(
                    f"the studies judge by the Fréchet distance: {error.why}; give a run that holds out more"
                ) from None
        return found

    @property
    def judge(self) -> Judge:
        """The classifier of the training data."""
        assert self.reference.judge is not None
        return self.reference.judge

    @property
    def noisy_judge(self) -> NoisyClassifier:
        """A classifier of noisy digits, p(y | x_t), of 003's process; trained once into the folder."""
        model, folder = self.model("003-score"), self.out / "models" / "003-classifier"
        if not (folder / "noisy_classifier.json").is_file():
            with self.preparing("the classifier of noisy digits"):
                recipe = Run(self.folder("003-score")).recipe
                save_classifier(train_classifier(model, recipe, self.data[0], steps=self.count(1500, 5000)), folder)
        return load_classifier(folder, model)

    def model(self, name: str) -> Model:
        """A model of `MODELS`: the run that stands in for it, or the one in `out/models`, trained now unless it was."""
        if name not in self._models:
            folder = self.folder(name)
            with self.preparing(f"the model {name}"):
                if folder != self.run:
                    train_run(*self._recipe(name), folder, False, self.console, time.perf_counter())
                self._models[name] = load(folder, device=self.device)
        model = self._models[name]
        said = model.trained
        source = f"recipe {said['recipe']}" if self.folder(name) != self.run else f"run {self.run.name}"
        if not self.paper:
            ours = MODELS[name].ours
            source += f" ({ours} {'is' if ours == 'network' else 'are'} ours, not the paper's)"
        line = (
            f"{name}: {source}, "
            f"{model.parameters:,} parameters, {said['steps']:,} steps, {said['examples']:,} examples, {said['seconds']:.0f} s"
        )
        if line not in self.used:
            self.used.append(line)
        return model

    def folder(self, name: str) -> Path:
        """The folder of a model: the run that stands in for it, or one in `out/models`."""
        return self.run if self.run is not None and MODELS[name].classes else self.out / "models" / name

    def _recipe(self, name: str) -> tuple[str, dict[str, Any]]:
        """The recipe of a model and its overrides."""
        place = {} if self.data_dir is None else {"data_dir": self.data_dir}
        if self.device != "auto":
            place["device"] = self.device
        if self.paper:
            return name, place | self.changes
        way = MODELS[name]
        recipe, own = ("digits", way.digits) if self.data_dir is None else ("mnist", way.mnist)
        return recipe, {**way.changes, **own, **place, **self.changes}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `make()`, computed once and shared by all studies of this context."""
        if key not in self._done:
            self._done[key] = make()
        return self._done[key]

    def shown(self, y: Tensor) -> Tensor:
        """Samples as a user gets them: clipped and rounded, in model space."""
        spec = self.data[0].spec
        return spec.to_model(spec.from_model(y.cpu()))

    @property
    def floor(self) -> dict[str, Estimate]:
        """The metrics of as many held-out digits as there are samples: what a perfect model would get."""
        return self.reference.features.floor

    @property
    def classes(self) -> Tensor:
        """`(samples,)` the classes of the held-out digits that `floor` is of."""
        assert self.reference.classes is not None
        return self.reference.classes

    def figures(self, y: Tensor, labels: Tensor | None = None) -> dict[str, Estimate]:
        """Every metric of samples as users get them, on as many as the floor was measured on."""
        m = self.reference.samples
        return self.reference.features.estimates(y[:m], None if labels is None else labels[:m])

    def recognised(self, y: Tensor, labels: Tensor) -> float:
        """Share of samples that the judge sees as the class asked for."""
        return float((self.judge.classify(y) == labels).double().mean())

    def contrast(self, y: Tensor) -> Estimate:
        """Mean difference of neighbouring pixels, over that of held-out digits: 1 is as sharp, below blurred, above grainy."""
        real, _ = self.data[1].batch(torch.arange(min(len(self.data[1]), 1000)))
        own, held_out = mean(_edges(y)), mean(_edges(real))
        return Estimate(
            own.value / held_out.value,
            tuple(r / held_out.value for r in own.replicates),
            tuple(own.value / r for r in held_out.replicates),
        )


def _clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _edges(y: Tensor) -> Tensor:
    """`(n,)` the mean difference of neighbours in each picture."""
    return y.diff(dim=-1).abs().flatten(1).mean(1) + y.diff(dim=-2).abs().flatten(1).mean(1)
