"""What is done after each step of a training: logs, looks, previews, saves, and the question whether it is enough."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

from undrift.data import Dataset
from undrift.error import ModelError
from undrift.model import Model
from undrift.model_file import load
from undrift.plot.picture import drawable, grid, save_image
from undrift.run.log import Log
from undrift.training.checkpoint import steps_of
from undrift.training.divergence import Diverged
from undrift.training.monitor import Monitor, number
from undrift.training.quality import Quality
from undrift.training.status import Status, status_of
from undrift.training.trainer import Report, Trainer

resource: ModuleType | None
try:
    import resource
except ImportError:  # Windows
    resource = None

LEAST_PREVIEW = 5.0  # seconds that a preview may take,
SHARE_OF_PREVIEWS = 0.05  # or of the time since the start, whichever is more
FIRST_PICTURE = 30.0  # seconds from the start to the first preview by the clock; to each further one twice as many
WORSE = 3.0  # times the loss of fresh weights


class Watch:
    """Looks after a trainer.

    Args:
        trainer: Whose `run` is being stepped through.
        held_out: Examples that it does not see.
        tell: Given every record of the log, as it is written.
    """

    def __init__(self, trainer: Trainer, held_out: Dataset, tell: Callable[[dict[str, Any]], None] = lambda record: None) -> None:
        self.trainer, self.settings, self.tell = trainer, trainer.settings, tell
        # Without a state the training begins anew: what a session that was killed before its first one has logged may be of another network.
        self.log = Log(trainer.folder, trainer.progress.step if steps_of(trainer.folder) else -1)
        told = [r for r in self.log.records if "held_out" in r]  # a run goes on as it began
        examples = told[0].get("examples", self.settings.monitor_examples) if told else None
        self.monitor = Monitor(trainer, held_out, examples) if self.settings.monitor_every else None
        self.quality = Quality(trainer, held_out) if self.settings.quality_every else None
        self.speed, self.steps = 0.0, 0  # examples each second, in steps alone; and steps of this session
        self._since = time.perf_counter()
        self._started, self._next = time.perf_counter(), FIRST_PICTURE
        self._status: Status | None = None
        self._enough: str | None = None
        self._said: str | None = None

    @property
    def status(self) -> Status:
        """The verdict on the log so far."""
        if self._status is None:
            self._status = status_of(self.log.records, self.settings)
        return self._status

    @property
    def enough(self) -> str:
        """Why the run may stop before its end: "" if it may not. A function of the looks so far, asked after every step."""
        if self._enough is None:
            self._enough = self._why_enough()
        return self._enough

    def _why_enough(self) -> str:
        looks = self.looks
        if self.settings.patience and looks:
            best = min(range(len(looks)), key=lambda i: looks[i]["held_out"])
            if len(looks) - 1 - best >= self.settings.patience:
                return f"no better held-out loss for {self.settings.patience} looks"
        if self.settings.until == "converged" and self.status.verdict in ("converged", "memorising"):
            return f"the verdict is {self.status.verdict}"
        return ""

    @property
    def looks(self) -> list[dict[str, Any]]:
        """The looks so far, but for those that were not finite."""
        return [r for r in self.log.records if r.get("held_out") is not None]

    @property
    def best(self) -> int | None:
        """Of the steps with a state, counting this one, that with the lowest held-out loss."""
        saved = {*steps_of(self.trainer.folder), self.trainer.progress.step}
        seen = {r["step"]: r["held_out"] for r in self.looks if r["step"] in saved}
        return min(seen, key=lambda step: (seen[step], step), default=None)

    def before(self) -> None:
        """The floors, and a look before the first step: what the losses are to be held against.

        Later on nothing, but for a look that was due when the other processes were lost.
        """
        step = self.trainer.progress.step
        if self.monitor is not None and step == 0 and not self.log.records and (floor := self.monitor.floor()):
            self.add(floor)
        if self.monitor is not None and self.monitor.due(step):
            self.look()

    def after(self, report: Report) -> None:
        """All that is due after a step. Whatever is logged comes before the save of the same step, so that a state has its log.

        Raises:
            Diverged: the look shows that the loss has gone far above where it began; nothing is saved.
        """
        settings, step = self.settings, report.step
        begun = time.perf_counter()
        rate = settings.batch_size / max(1e-9, begun - self._since)
        # Of the recent steps alone: the first one is slower, and so are looks and saves.
        self.speed = rate if self.steps < 3 else 0.95 * self.speed + 0.05 * rate
        self.steps += 1
        self.trainer.snapshots.take(step, self.trainer.whole("averages"))
        if step % settings.log_every == 0:
            self.add(self.facts(report))
        if self.monitor is not None and self.monitor.due(step):
            self.look()
            if (what := self.worse_than_nothing()) is not None:
                raise self.trainer.diverged(what)
        if self.quality is not None and step % settings.quality_every == 0 and (record := self.quality.measure()):
            self.add(record)
        if step % settings.checkpoint_every == 0 and report.fraction < 1:
            self.save()
        if settings.sample_every and (step % settings.sample_every == 0 or self._preview_due(begun)):
            self.preview()
        self._since = time.perf_counter()

    def _preview_due(self, now: float) -> bool:
        """Whether a picture is due by the clock: within the first minute, and then whenever the time has doubled."""
        if self.trainer.processes.size > 1 or now - self._started < self._next:
            return False
        self._next *= 2
        return True

    def facts(self, report: Report) -> dict[str, Any]:
        """The record of one step."""
        scaler = self.trainer.precision.scaler
        scale = {} if scaler is None else {"loss_scale": scaler.get_scale(), "skipped": self.trainer.progress.skipped}
        return {
            "step": report.step, "loss": number(self.trainer.progress.loss), "batch_loss": number(report.loss),
            "grad_norm": number(report.grad_norm), "weight_norm": number(self.trainer.weight_norm()),
            "learning_rate": report.learning_rate, **scale,
            "clock": {
                "seconds": round(report.seconds, 2), "examples_per_second": round(self.speed, 1),
                "peak_memory_mib": peak_memory(self.trainer.device),
            },
        }  # fmt: skip

    def look(self) -> None:
        """Measure the held-out loss of the weights as they are, once."""
        step = self.trainer.progress.step
        if self.monitor is not None and not any("held_out" in r and r["step"] == step for r in self.log.records):
            self.add(self.monitor.look())

    def worse_than_nothing(self) -> str | None:
        """Whether the raw weights are far worse than they were before training: on the same questions, so not by chance."""
        looks = [r for r in self.log.records if "held_out_raw" in r]
        if not self.trainer.watched or looks[0]["step"] > 0 or looks[0]["held_out_raw"] is None:
            return None
        first, now = looks[0]["held_out_raw"], looks[-1]["held_out_raw"]
        if now is not None and now <= WORSE * first:
            return None
        return f"the held-out loss is {'not finite' if now is None else f'{now:.4g}'}, before the first step it was {first:.4g}"

    def add(self, record: dict[str, Any]) -> None:
        """Write a record to the log, and tell it on."""
        self._status = self._enough = self._said = None
        self.log.add(record)
        self.tell(record)

    def save(self) -> None:
        """Save the state and the model. Raises OutputError if that cannot be done; what was saved before is kept."""
        self.log.flush()
        self.trainer.save(self.best)

    @property
    def ended(self) -> bool:
        """Whether all that is due at the end of the run is done."""
        return any("ended" in r and r["step"] == self.trainer.progress.step for r in self.log.records)

    def lost(self) -> str | None:
        """Why the model of a run that has ended cannot be loaded; None where it can."""
        try:
            if self.ended:
                load(self.trainer.folder, device="cpu")
        except ModelError as error:
            return str(error)
        return None

    def write(self) -> None:
        """Save the state and the model that is to be kept: of the best state, where the run ended because it was enough."""
        self.save()
        step, best = self.trainer.progress.step, self.best
        if self.enough and best is not None and best < step:
            self.trainer.publish(best, step)

    def finish(self) -> None:
        """The last look, the last save, the last preview; and then a record that all this is done, so that it is done once."""
        step = self.trainer.progress.step
        if self.ended:
            return
        self.look()
        enough = self.enough
        self.write()
        self.preview()
        self.add({"step": step, "ended": enough or "its end"})

    def diverged(self, error: Diverged) -> None:
        """Note what went wrong. The log is cut back to the last good state when the run is taken up again."""
        cause = error.cause
        about = {"what": error.what, "log_snr": number(cause.log_snr), "layer": cause.layer, "of": cause.what}
        self.add({"step": error.step, "diverged": about})

    def preview(self) -> None:
        """A picture of what the averaged weights draw now, where the data can be drawn; a small one where the network is slow."""
        if drawable(self.trainer.model.spec):
            path = self.trainer.folder / "samples" / f"step-{self.trainer.progress.step:07d}.png"
            seconds = max(LEAST_PREVIEW, SHARE_OF_PREVIEWS * (time.perf_counter() - self._started))
            each = 1 / (3 * self.speed) if self.speed else 0.0  # seconds of one evaluation: a third of a training step
            save_image(self.trainer.averaged(lambda model: preview(model, each, seconds)), path)

    def said(self) -> str:
        """The last look in a few words, for the progress line."""
        if self._said is None:
            looks, verdict = self.looks, self.status.verdict
            self._said = f"  held out {looks[-1]['held_out']:.4g}{'' if ' ' in verdict else f' ({verdict})'}" if looks else ""
        return self._said


def preview(model: Model, each: float = 0.0, seconds: float = LEAST_PREVIEW) -> Any:
    """A small picture of what the model makes now: one column per class or text, or 64 samples.

    Args:
        each: Seconds that the network takes for one sample, about.
        seconds: That the picture may take: rows, columns and steps are left out until it does.
    """
    examples, steps = model.examples, model.sampling.steps
    columns = min(len(examples), 10) or 8
    labels = None
    if len(model.spec.shape) > 1:
        evaluations = seconds / (2 * each) if each else math.inf  # guidance asks the network twice
        rows = int(min(6, max(2, evaluations / (columns * steps))))
        if rows * columns * steps > evaluations:
            steps = min(steps, 10)
        if rows * columns * steps > evaluations:
            columns = min(columns, 4)
        n = rows * columns
    else:
        n = 1000
    if examples:
        labels = [examples[i % columns] for i in range(n)]
    return grid(model.draw(n, labels, seed=0, steps=steps), model.spec, columns)


def peak_memory(device: torch.device) -> int:
    """The most memory that this process has held so far, in MiB: on the GPU where it trains there, else of the machine."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device) / 2**20)
    if resource is None:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)
