"""The training loop: thin, on torch itself.

Step k sees the same examples with the same noise whether it is reached in one run or after ten kills: the order of the data
is a function of (seed, epoch) and the noise of (seed, step, place in the global batch).
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from undrift.argument import instance, real
from undrift.condition import drop, for_samples
from undrift.data import Dataset
from undrift.data.order import Order
from undrift.denoiser import AnyDenoiser
from undrift.device import choose_device
from undrift.distributed.processes import Processes, talking
from undrift.error import OutputError, RecipeError
from undrift.model import Model
from undrift.model_file import write_model
from undrift.nn.compiled import check_compiling
from undrift.noise import Noise
from undrift.objective import Distillation
from undrift.run.groups import Groups, Saved, write_groups
from undrift.training.checkpoint import Progress, all_of, load_state, own_numbers, path_of, rotate, state_groups, steps_of
from undrift.training.compile import compile_network, recompute
from undrift.training.divergence import Diverged, find_cause, put_exploded_aside
from undrift.training.ema import EMA, Average
from undrift.training.fsdp import divide, local, together, whole
from undrift.training.muon import Muon, hidden
from undrift.training.precision import Precision
from undrift.training.settings import FIT, Settings
from undrift.training.snapshots import Snapshots

MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
Schedule = Callable[[int, float], float]
EXPLOSION = 20.0  # times its lowest: no smoothed loss that learns goes there


@dataclass(frozen=True)
class Report:
    """What one step tells: its number, the batch's mean loss, the gradient's norm before clipping, and the learning rate."""

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    fraction: float
    seconds: float


def learning_rate(settings: Settings, step: int, fraction: float) -> float:
    """Linear warm-up over `warmup` steps, flat to the fraction `decay_from` of the run, then half a cosine to zero."""
    ramp = min(1.0, (step + 1) / max(1, settings.warmup))
    late = max(0.0, (fraction - settings.decay_from) / max(1e-9, 1 - settings.decay_from))
    return settings.learning_rate * ramp * 0.5 * (1 + math.cos(math.pi * min(1.0, late)))


def usual_optimizer(settings: Settings, module: nn.Module) -> torch.optim.Optimizer:
    """AdamW or Muon, as the settings say."""
    if settings.optimizer == "muon":
        return Muon(
            module.parameters(), hidden(module), settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
        )
    return torch.optim.AdamW(
        module.parameters(), lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay, fused=True
    )


def own_optimizer(make: MakeOptimizer, module: nn.Module) -> torch.optim.Optimizer:
    """What the user's function makes of the parameters. Raises TypeError if that is no optimiser, ValueError for one without a rate."""
    made = instance(
        make(list(module.parameters())), "optimizer(parameters)", torch.optim.Optimizer, "return a torch.optim.Optimizer"
    )
    if not all("lr" in group for group in made.param_groups):
        raise ValueError("`optimizer` has a group of parameters without a learning rate, `lr`.")
    if inspect.signature(made.step).parameters.get("closure", _NONE).default is inspect.Parameter.empty:
        raise ValueError(
            f"`optimizer` is {type(made).__name__}, which asks for the loss again and again; take one whose step needs no closure."
        )
    if not any(group["params"] for group in made.param_groups):
        raise ValueError("`optimizer` has no parameters, so nothing would be trained; make it of the list that it is given.")
    own = {id(p) for p in module.parameters()}
    if not all(id(p) in own for group in made.param_groups for p in group["params"]):
        raise ValueError("`optimizer` has parameters that are not the network's; make it of the list that it is given.")
    return made


_NONE = inspect.Parameter("closure", inspect.Parameter.KEYWORD_ONLY, default=None)


class Trainer:
    """One run: a model, its data, and how far it is.

    Args:
        settings: How long, in which batches, at which rate.
        model: With fresh weights; trained in place.
        objective: The recipe's; see `undrift.objective`.
        data: The training part.
        folder: Where the run lives; a state found there is continued.
        processes: Those that share the work; default: this one alone.
        law: The law of the data in model space, where it is known: looks compare with what it would lose.
        optimizer: Makes an optimiser of the parameters; default: that of the settings.
        schedule: Of (step, fraction of the run that is over), what the learning rate is multiplied by; default: that of the settings.

    Raises:
        RecipeError: a batch that cannot be divided among so many processes and parts.
    """

    def __init__(
        self,
        settings: Settings,
        model: Model,
        objective: Callable[..., Tensor],
        data: Dataset,
        folder: Path,
        processes: Processes | None = None,
        law: AnyDenoiser | None = None,
        optimizer: MakeOptimizer | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        self.settings, self.model, self.data, self.folder = settings, model, data, folder
        self.law = law
        self.processes = processes or Processes()
        if settings.batch_size < (parts := self.processes.size * settings.accumulate):
            raise RecipeError(
                f"batch_size={settings.batch_size} cannot be divided into {parts} parts ({self.processes.size} processes, "
                f"accumulate={settings.accumulate}); take a larger batch_size or fewer of them"
            )
        self.lock: BinaryIO | None = None  # holds the folder while this trainer lives
        self.temporary = False  # whether the folder goes with this trainer
        self.config: dict[str, Any] | None = None  # all choices, for a logger to show; None: the settings
        self.aside: dict[str, Tensor] | None = None  # the weights that are trained, while others are held in their place
        self.device = choose_device(settings.device)
        self.denoiser, net = model.denoiser, model.denoiser.net
        self.denoiser.precision = None  # that of a model which was loaded; here that of the settings counts
        # Parts that their owner has put in evaluation mode, as frozen batch norms are, stay so.
        self.resting = [part for part in net.modules() if not part.training] if net.training else []
        self.to_train()
        self.in_parts = settings.shard and self.processes.size > 1
        if self.in_parts:
            divide(self.denoiser.net, self.device, self.processes)
        self.denoiser.to(self.device)  # parts are there already: the whole was never
        self.objective = objective
        self.told = model.told
        self.watched: bool = getattr(objective, "has_floor", False)  # of an objective of one's own nothing is known
        if isinstance(objective, Distillation):
            objective.teacher.to(self.device)
        self.optimizer = (
            usual_optimizer(settings, self.denoiser) if optimizer is None else own_optimizer(optimizer, self.denoiser)
        )
        self._fetched = dict[tuple[int, int, int | None], tuple[Tensor, Any]]()
        self._addresses = dict[tuple[int, int | None], Noise]()
        self._numbers = own_numbers(self.optimizer)
        self.trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.schedule = schedule
        self.rates = [settings.learning_rate if optimizer is None else group["lr"] for group in self.optimizer.param_groups]
        self.precision = Precision(settings.precision, self.device)
        self.averages: dict[str, Average] = {"ema": EMA(self.denoiser, settings.ema_halflife)}
        self.snapshots = Snapshots(self.denoiser, folder, settings.snapshots)
        self.averages |= self.snapshots.averages
        self.order = Order(len(data), settings.seed)
        mine = local if self.in_parts else all_of
        data_hash = model.trained.get("data_hash")
        cure = "name another folder" if settings.recipe == FIT else "--fresh starts over, keeping this run aside"
        at, self.notes = load_state(
            folder, self.denoiser, self.averages, self.optimizer, self.precision.scaler, mine, data_hash, cure
        )
        self.progress = at or Progress()
        if settings.recompute:
            recompute(self)
        check_compiling(settings.compile, self.device)
        if settings.compile and (note := compile_network(self)):
            self.notes.append(note)

    def to_train(self) -> None:
        """Put the network in training mode, but for the parts that were not when it was handed in."""
        self.denoiser.train()
        for part in self.resting:
            part.training = False

    def own_rate(self, step: int, fraction: float) -> float:
        """The learning rate of a step by a schedule of the user's own. Raises ValueError for what is no rate."""
        assert self.schedule is not None
        factor = real(self.schedule(step, fraction), "schedule(step, fraction)")
        if factor < 0:
            raise ValueError(f"`schedule` gives {factor:g} at step {step}; what a rate is multiplied by is not negative.")
        return self.settings.learning_rate * factor

    def close(self) -> None:
        """Let go of the folder, which another training may then take."""
        if self.lock is not None:
            self.lock.close()
            self.lock = None

    @property
    def ema(self) -> dict[str, Tensor]:
        """The averaged weights that are sampled."""
        return self.averages["ema"].weights

    def fraction(self, step: int, seconds: float) -> float:
        """How much of the run is over: by steps, by the clock, whichever is further."""
        by_step = step / self.settings.steps if self.settings.steps else 0.0
        by_clock = seconds / (60 * self.settings.minutes) if self.settings.minutes else 0.0
        return max(by_step, by_clock)

    def run(self, started: float | None = None) -> Iterator[Report]:
        """Train to the end, yielding a `Report` each step; stop whenever you like and call `save`.

        Args:
            started: `time.perf_counter()` from which the clock of this session runs; default: now.

        Raises:
            Diverged: the loss or the gradient is no longer finite, or the loss has exploded; nothing is saved.
        """
        start, before = time.perf_counter() if started is None else started, self.progress.seconds

        def clock() -> float:
            """The seconds of the first process: no two clocks agree, and all must stop after the same step."""
            return self.processes.broadcast(before + time.perf_counter() - start)

        while (fraction := self.fraction(self.progress.step, clock())) < 1:
            step = self.progress.step
            rate = learning_rate(self.settings, step, fraction) if self.schedule is None else self.own_rate(step, fraction)
            with talking():
                loss, norm = self.step(step, rate)
            if not (math.isfinite(loss) and (math.isfinite(norm) or self.precision.skipped)):
                raise self.diverged(f"the loss is {loss:g} and the gradient norm {norm:g}", step + 1)
            self.progress = self.progress.after(loss, clock(), self.precision.skipped)
            if self.exploded():
                raise self.diverged(f"the loss has exploded: {self.progress.loss:.4g}, its lowest was {self.progress.lowest:.4g}")
            yield Report(step + 1, loss, norm, rate, self.fraction(step + 1, self.progress.seconds), self.progress.seconds)
        # Looks and saves after the last step may have taken what was left of the clock: the run is over all the same.
        self.progress = replace(self.progress, seconds=max(self.progress.seconds, clock()))

    def exploded(self) -> bool:
        """Whether the smoothed loss is far above where it was; only of losses that stay away from zero."""
        return self.watched and self.progress.loss > EXPLOSION * self.progress.lowest

    def diverged(self, what: str, step: int | None = None) -> Diverged:
        """What to say of a run that went wrong at a step (default: the last one); states from when it was going wrong are put aside."""
        cause, last = find_cause(self, self.progress.step), None
        if self.processes.first:  # the others see the same numbers, and leave the files to it
            newest = max(steps_of(self.folder), default=None)
            last = put_exploded_aside(self.folder, 3 * self.progress.lowest)
            if last is not None and last != newest:
                self.publish(last, last)
        return Diverged(step or self.progress.step, what, cause, last, self.settings, None if self.temporary else self.folder)

    def step(self, step: int, rate: float) -> tuple[float, float]:
        """One optimiser step: the mean loss and the gradient's norm, of the whole batch whoever computed which part of it.

        Raises:
            Lost: another process is gone; nothing was changed.
        """
        for group, full in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate if full == self.settings.learning_rate else rate * (full / self.settings.learning_rate)
        self.denoiser.zero_grad(set_to_none=True)  # also of what the optimiser does not train
        loss = torch.zeros((), dtype=torch.float32, device=self.device)
        for part in self.processes.share(self.settings.batch_size, self.settings.accumulate):
            with torch.enable_grad():
                mine = self.losses(step, part).sum() / self.settings.batch_size
                self.precision.scaled(mine).backward()  # type: ignore[no-untyped-call]
            loss += mine.detach()
        gradients = [] if self.in_parts else [p.grad for p in self.denoiser.parameters() if p.grad is not None]
        self.processes.sum([loss, *gradients])
        self.precision.settle(self.optimizer)
        norm = together(torch.nn.utils.clip_grad_norm_(self.trained, self.settings.clip))
        self.fetch(step + 1)  # while the device is still at this one
        values = torch.stack([loss.detach().float(), norm.float()]).tolist()
        finite = all(map(math.isfinite, values))
        if finite:
            self.optimizer.step()
        if finite or self.precision.skipped:  # an average counts steps, also those at which the weights stood still
            for average in self.averages.values():
                average.update(self.denoiser, step, self.settings.batch_size)
        return values[0], values[1]

    def losses(self, step: int, part: slice = slice(None)) -> Tensor:
        """The loss of each example of the batch of a step, or of a part of it, `(B,)`: a function of the weights and the step."""
        noise = self.addresses(part).fold("train", self.settings.seed, step)
        key = step, part.start or 0, part.stop
        x0, cond = self._fetched.pop(key) if key in self._fetched else self.batch(step, part, noise)
        cond = drop(cond, self.settings.label_dropout, noise.fold("label"))
        with self.precision.autocast(), self.random_address(step, part.start or 0):
            return self.objective(self.denoiser, x0, noise, cond)

    def batch(self, step: int, part: slice, noise: Noise) -> tuple[Tensor, Any]:
        """The examples of a part of the batch of a step, on the device."""
        rows = self.order.rows(step, self.settings.batch_size)[part]
        return self.examples(self.data, rows, noise, noise.fold("augment"))

    def fetch(self, step: int) -> None:
        """Have the batch of the next step on its way to a GPU before the loss of this one is read, for which the CPU waits."""
        self._fetched.clear()
        if self.device.type != "cpu":
            for part in self.processes.share(self.settings.batch_size, self.settings.accumulate):
                noise = self.addresses(part).fold("train", self.settings.seed, step)
                self._fetched[step, part.start or 0, part.stop] = self.batch(step, part, noise)

    def addresses(self, part: slice) -> Noise:
        """Those of the examples of a part of a batch, by their places; kept, so that a GPU is told them once."""
        key = part.start or 0, part.stop
        if key not in self._addresses:
            self._addresses[key] = Noise(range(self.settings.batch_size)[part])
        return self._addresses[key]

    def examples(self, data: Dataset, rows: Tensor, noise: Noise, augment: Noise | None = None) -> tuple[Tensor, Any]:
        """Examples in model space on the device, as they are or seen at random, and all that the network may be told of them."""
        x0 = data.batch(rows, augment, self.device)[0]
        cond = for_samples(data.condition(rows), len(rows), self.device)
        return x0, cond if self.told is None else self.told.told(x0, cond, noise.fold("upscale"))

    @contextmanager
    def random_address(self, step: int, start: int = 0) -> Iterator[None]:
        """What a network draws from torch's own generator, such as dropout, gets an address too; the generator is put back.

        Masks belong to a part of a batch and not to an example: other parts, other masks.
        """
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed((self.settings.seed * 1_000_003 + step) + (start << 40))
            yield

    def kept(self, what: str) -> Groups:
        """What is written of the run: its "state", its "model", or the "averages" of a snapshot. This process's part, if it has a part."""
        raw = self.denoiser.state_dict() if self.aside is None else self.aside
        if what == "state":
            return state_groups(self.denoiser, self.averages, self.optimizer, self.precision.scaler) | {"raw": raw}
        if what == "model":
            return {"raw": raw, "ema": self.ema}
        return {name: average.weights for name, average in self.snapshots.averages.items()}

    def whole(self, what: str) -> Callable[[str], Tensor] | None:
        """What gives the tensors of what is kept, if this process has only a part of them."""
        return whole(self.kept(what)) if self.in_parts else None

    def weight_norm(self) -> float:
        """The norm of all weights."""
        norms = torch._foreach_norm([p.detach().float() for p in self.denoiser.parameters()])
        return float(together(torch.stack(norms).norm()))

    def save(self, best: int | None = None) -> None:
        """Write the state and the model, each atomically; older states go, but the newest `keep` and that of the `best` step.

        Raises:
            OutputError: they cannot be written; the states that were there are still there.
        """
        self.model.trained.update(self.facts())
        try:
            write_groups(path_of(self.folder, self.progress.step), self.kept("state"), self.about(), self.whole("state"))
            write_model(self.model, self.kept("model"), self.folder, self.whole("model"))
        except OutputError as error:
            last = max((s for s in steps_of(self.folder) if path_of(self.folder, s).is_file()), default=None)
            kept = "no state was written yet" if last is None else f"the state of step {last} is whole and is gone on from"
            raise OutputError(f"{error}; {kept}: make room or mend the folder, then run the same command again") from None
        if self.processes.first:
            rotate(self.folder, self.settings.keep, best)

    def publish(self, step: int, steps: int) -> None:
        """Write the model of a saved state, in place of that of the weights as they are.

        Args:
            step: The state's.
            steps: How far the run is, for model.json.
        """
        saved, like = Saved(path_of(self.folder, step)), self.denoiser.state_dict()
        self.model.trained.update(self.facts(), steps=steps, weights_of_step=step)
        write_model(self.model, {"raw": like, "ema": like}, self.folder, saved.tensor)

    def about(self) -> dict[str, Any]:
        """What a state says besides its tensors: how far it is, and of which model on which data, should model.json be lost."""
        known = {k: v for k, v in self.model.trained.items() if k in ("recipe", "data_hash", "teacher_hash", "label_dropout")}
        kind = type(self.optimizer).__name__
        other: dict[str, Any] = {} if kind == "AdamW" else {"optimizer": kind}
        changed = [
            {k: v for k, v in now.items() if v != before.get(k)}
            for now, before in zip(own_numbers(self.optimizer), self._numbers, strict=True)
        ]
        if any(changed):  # by the optimiser itself
            other["groups"] = changed
        return {**vars(self.progress), "model": self.model.describe() | {"trained": known}} | other

    def facts(self) -> dict[str, Any]:
        """What model.json says of the training."""
        return {
            "recipe": self.settings.recipe, "steps": self.progress.step, "seconds": round(self.progress.seconds, 1),
            "examples": self.progress.step * self.settings.batch_size, "data": self.data.name, "data_examples": len(self.data),
            "label_dropout": self.settings.label_dropout,
        }  # fmt: skip

    def averaged(self, use: Callable[[Model], Any]) -> Any:
        """Call `use` on the model with the EMA weights in place."""
        with self.holding(self.ema):
            return use(self.model)

    @contextmanager
    def holding(self, weights: dict[str, Tensor] | None = None) -> Iterator[None]:
        """Other weights in place for a while (None: those that are), and the network in evaluation mode."""
        raw = {} if weights is None else {k: v.clone() for k, v in self.denoiser.state_dict().items()}
        try:
            if weights is not None:
                self.aside = raw
                self.denoiser.load_state_dict(weights)
            self.denoiser.eval()
            yield
        finally:
            if weights is not None:
                self.denoiser.load_state_dict(raw)
                self.aside = None
            self.to_train()
