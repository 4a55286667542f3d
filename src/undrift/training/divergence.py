"""What went wrong, when a training did: the noise level of the worst example, and the first layer that is not finite.

Every batch has an address, so the one that failed can be run again, and looked at.
"""

from __future__ import annotations

import math
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from undrift.error import ModelError, UndriftError
from undrift.run.groups import Saved
from undrift.training.checkpoint import path_of, steps_of
from undrift.training.settings import FIT, Settings

if TYPE_CHECKING:
    from undrift.training.trainer import Trainer


@dataclass(frozen=True)
class Cause:
    """What was found.

    Attributes:
        log_snr: The noise level of the worst example; NaN if the network was never asked.
        loss: Its loss.
        layer: The first layer whose output, or else whose gradient, is not finite; "" if all are.
        what: "output" or "gradient".
    """

    log_snr: float
    loss: float
    layer: str = ""
    what: str = ""

    def __str__(self) -> str:
        worst = f"worst at log-SNR {self.log_snr:.1f} (an example with loss {self.loss:.3g})"
        first = (
            f"the first {self.what} that is not finite is that of layer {self.layer}" if self.layer else "every layer is finite"
        )
        return f"{worst}; {first}"


class Diverged(UndriftError):
    """A training that went wrong, and how to go on."""

    def __init__(self, step: int, what: str, cause: Cause, last: int | None, settings: Settings, folder: Path | None) -> None:
        self.step, self.what, self.cause = step, what, cause
        rate = float(f"{settings.learning_rate / 3:.1g}")
        kept = f"the last good state, of step {last}, is kept" if last is not None else "no good state was saved yet"
        place = "" if folder is None else f'folder="{folder}", '
        again = (
            f"undrift.fit(..., {place}learning_rate={rate:g})"
            if settings.recipe == FIT
            else f"undrift train {settings.recipe} --out {folder} learning_rate={rate:g}"
        )
        how = "Go on from there with a lower rate" if last is not None and folder is not None else "Train again with a lower rate"
        super().__init__(
            f"step {step}: {what}; {cause}. The run was stopped and {kept}. {how}: {again} (now {settings.learning_rate:g})"
        )


def find_cause(trainer: Trainer, step: int) -> Cause:
    """Run the batch of a step again, with the weights as they are, and look at every layer on the way there and back."""
    seen: list[Tensor] = []
    bad: dict[str, str] = {}  # the first layer whose "output", and the first whose "gradient", is not finite

    def note(what: str, name: str, value: Any) -> None:
        tensors = value if isinstance(value, tuple) else (value,)
        if any(isinstance(v, Tensor) and v.is_floating_point() and not bool(torch.isfinite(v).all()) for v in tensors):
            bad.setdefault(what, name)

    leaves = {name: m for name, m in trainer.denoiser.named_modules() if not list(m.children())}
    with ExitStack() as hooks:
        hooks.enter_context(torch.compiler.set_stance("force_eager"))  # a compiled network calls no hooks
        first = trainer.denoiser.net.register_forward_pre_hook(lambda module, given: seen.append(given[1].detach()))
        hooks.callback(first.remove)
        for name, module in leaves.items():
            forward = module.register_forward_hook(lambda module, given, out, name=name: note("output", name, out))
            hooks.callback(forward.remove)
            for part, weight in module.named_parameters(recurse=False):
                back = weight.register_hook(lambda slope, name=name, part=part: note("gradient", f"{name}.{part}", slope))
                hooks.callback(back.remove)
        losses = trainer.losses(step)
        if losses.requires_grad:
            losses.mean().backward()  # type: ignore[no-untyped-call]
    trainer.optimizer.zero_grad(set_to_none=True)
    worst = int(torch.nan_to_num(losses.detach(), nan=math.inf, posinf=math.inf).argmax())
    levels = [-8 * float(level[worst]) for level in seen if len(level) == len(losses)]
    what = next((w for w in ("output", "gradient") if w in bad), "")
    return Cause(levels[0] if levels else math.nan, float(losses[worst].detach()), bad.get(what, ""), what)


def put_exploded_aside(folder: Path, limit: float) -> int | None:
    """Rename states that were saved with a smoothed loss above the limit; returns the step of the newest that is left.

    Of a loss that may be negative no limit can be told from the lowest; then none is put aside.
    """
    for step in reversed(steps_of(folder)):
        path = path_of(folder, step)
        try:
            facts = Saved(path).facts
        except ModelError:
            continue
        if limit <= 0 or not facts["loss"] > limit:
            return step
        with suppress(OSError):
            path.rename(path.with_suffix(".exploded"))
    return None
