"""The training loop: thin, on torch itself.

Step k sees the same examples with the same noise whether it is reached in one run or after ten kills: the order of the data
is a function of (seed, epoch) and the noise of (seed, step, place in the global batch).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from undrift.condition import drop, for_samples
from undrift.config import Recipe, kinds
from undrift.data import Dataset
from undrift.data.order import Order
from undrift.error import UndriftError
from undrift.model import Model, save
from undrift.noise import Noise
from undrift.recipe_condition import told
from undrift.recipe_objective import build_objective
from undrift.train.checkpoint import Progress, load_state, save_state
from undrift.train.ema import EMA


@dataclass(frozen=True)
class Report:
    """What one step tells: its number, the batch's mean loss, the gradient's norm before clipping, and the learning rate."""

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    fraction: float
    seconds: float


def choose_device(name: str) -> torch.device:
    """ "auto" is the GPU where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UndriftError("device=cuda, but torch sees no GPU here; use device=cpu or device=auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def learning_rate(recipe: Recipe, step: int, fraction: float) -> float:
    """Linear warm-up over `warmup` steps, flat to the fraction `decay_from` of the run, then half a cosine to zero."""
    ramp = min(1.0, (step + 1) / max(1, recipe.warmup))
    late = max(0.0, (fraction - recipe.decay_from) / max(1e-9, 1 - recipe.decay_from))
    return recipe.learning_rate * ramp * 0.5 * (1 + math.cos(math.pi * min(1.0, late)))


class Trainer:
    """One run: a model, its data, and how far it is.

    Args:
        recipe: All choices.
        model: With fresh weights; trained in place.
        data: The training part.
        folder: Where the run lives; a state found there is continued.
    """

    def __init__(self, recipe: Recipe, model: Model, data: Dataset, folder: Path) -> None:
        self.recipe, self.model, self.data, self.folder = recipe, model, data, folder
        self.lock: Any = None  # holds the folder while this trainer lives
        self.device = choose_device(recipe.device)
        self.denoiser = model.denoiser.to(self.device).train()
        self.objective = build_objective(recipe.objective, model.parts["sigma_data"])
        self.optimizer = torch.optim.AdamW(
            self.denoiser.parameters(), lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=True
        )
        self.ema = EMA(self.denoiser, recipe.ema_halflife)
        self.order = Order(len(data), recipe.seed)
        self.progress = load_state(folder, self.denoiser, self.ema, self.optimizer) or Progress()

    def fraction(self, step: int, seconds: float) -> float:
        """How much of the run is over: by steps, by the clock, whichever is further."""
        by_step = step / self.recipe.steps if self.recipe.steps else 0.0
        by_clock = seconds / (60 * self.recipe.minutes) if self.recipe.minutes else 0.0
        return max(by_step, by_clock)

    def run(self, started: float | None = None) -> Iterator[Report]:
        """Train to the end, yielding a `Report` each step; stop whenever you like and call `save`.

        Args:
            started: `time.perf_counter()` from which the clock of this session runs; default: now.

        Raises:
            UndriftError: the loss or the gradient is no longer finite; the last saved state is left as it is.
        """
        start, before = time.perf_counter() if started is None else started, self.progress.seconds
        step = self.progress.step
        while (fraction := self.fraction(step, before + time.perf_counter() - start)) < 1:
            rate = learning_rate(self.recipe, step, fraction)
            loss, norm = self.step(step, rate)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise UndriftError(
                    f"step {step}: the loss is {loss:g} and the gradient norm {norm:g}; the run stopped and the last good state "
                    f"is kept. Lower learning_rate (now {self.recipe.learning_rate:g}) and run the same command again"
                )
            step += 1
            self.progress = Progress(step, before + time.perf_counter() - start)
            yield Report(step, loss, norm, rate, self.fraction(step, self.progress.seconds), self.progress.seconds)

    def step(self, step: int, rate: float) -> tuple[float, float]:
        """One optimiser step: the mean loss and the gradient's norm."""
        recipe, size = self.recipe, self.recipe.batch_size
        rows = self.order.rows(step, size)
        x0 = self.data.batch(rows)[0]
        noise = Noise(torch.arange(size, device=self.device)).fold("train", recipe.seed, step)
        x0 = x0.to(self.device)
        cond = for_samples(self.data.condition(rows), size, self.device)
        cond = told(self.model.parts.get("condition"), x0, cond, noise.fold("upscale"))
        cond = drop(cond, recipe.label_dropout, noise.fold("label"))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with self.autocast(), self.dropout_address(step):
            loss = self.objective(self.denoiser, x0, noise, cond).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), recipe.clip)
        values = torch.stack([loss.detach().float(), norm.float()]).tolist()
        if all(map(math.isfinite, values)):
            self.optimizer.step()
            self.ema.update(self.denoiser, step, size)
        return values[0], values[1]

    @contextmanager
    def dropout_address(self, step: int) -> Iterator[None]:
        """Dropout inside the network draws from torch's own generator: give that an address too, and put it back."""
        if not any(isinstance(m, torch.nn.Dropout) and m.p > 0 for m in self.denoiser.modules()):
            yield
            return
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.recipe.seed * 1_000_003 + step)
            yield

    def autocast(self) -> Any:
        """bfloat16 where the device has it, else nothing."""
        wanted = self.recipe.precision
        if wanted == "float32" or (wanted == "auto" and not (self.device.type == "cuda" and torch.cuda.is_bf16_supported())):
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def save(self) -> None:
        """Write the state and the model, each atomically."""
        self.model.trained.update(
            recipe=self.recipe.recipe, steps=self.progress.step, seconds=round(self.progress.seconds, 1),
            examples=self.progress.step * self.recipe.batch_size, data=self.data.name, data_examples=len(self.data),
        )  # fmt: skip
        save_state(self.folder, self.progress, self.denoiser, self.ema, self.optimizer)
        save(self.model, {"raw": self.denoiser.state_dict(), "ema": self.ema.weights}, self.folder)

    def averaged(self, use: Callable[[Model], Any]) -> Any:
        """Call `use` on the model with the EMA weights in place."""
        raw = {k: v.clone() for k, v in self.denoiser.state_dict().items()}
        try:
            self.denoiser.load_state_dict(self.ema.weights)
            self.denoiser.eval()
            return use(self.model)
        finally:
            self.denoiser.load_state_dict(raw)
            self.denoiser.train()


def append_log(folder: Path, record: dict[str, Any]) -> None:
    """Add one line to log.jsonl."""
    with open(folder / "log.jsonl", "a") as handle:
        handle.write(json.dumps(record) + "\n")


def parts_of(recipe: Recipe, sigma_data: float, condition: dict[str, Any] | None = None) -> dict[str, Any]:
    """The parts of the model that a recipe describes; `condition` as `describe_condition` gives it."""
    assert recipe.network is not None
    parts = {
        "network": kinds(recipe.network),
        "process": kinds(recipe.process),
        "target": recipe.target,
        "sigma_data": sigma_data,
    }
    return parts if condition is None else {**parts, "condition": condition}
