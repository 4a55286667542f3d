"""A trained model: a denoiser, the spec of its data, and how it likes to be sampled.

On disk a model is two files, neither of which can execute anything: `model.json` (architecture, process, target, data spec,
versions) and `model.safetensors` (raw and EMA weights).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from undrift.config import GRIDS, SAMPLERS, SamplingOptions, build_denoiser
from undrift.data.spec import Spec
from undrift.denoiser import AnyDenoiser, Denoiser
from undrift.error import ModelError, OutputError, UndriftError, nearest
from undrift.guidance import Mix, guidance_scale
from undrift.sampler import Sampler, State, sample

FORMAT = 1


@dataclass
class Model:
    """A denoiser with its data spec.

    Attributes:
        denoiser: In model space.
        spec: The map between model space and data units, and the classes.
        parts: What the denoiser is built from: `network`, `process`, `target`, `sigma_data`.
        sampling: Defaults of `sample`.
        trained: Facts about the training: recipe, steps, examples, seconds.
    """

    denoiser: Denoiser
    spec: Spec
    parts: dict[str, Any]
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    trained: dict[str, Any] = field(default_factory=dict)

    def sample(
        self,
        n: int,
        cond: int | str | Sequence[int | str] | None = None,
        *,
        scale: float | None = None,
        w: float | None = None,
        sampler: str | Sampler | None = None,
        steps: int | None = None,
        grid: str | None = None,
        seed: int = 0,
        callback: Callable[[State], None] | None = None,
        batch_size: int = 256,
        first: int = 0,
    ) -> Tensor:
        """Draw samples in data units.

        Args:
            n: How many.
            cond: A class (name or number) for all, or one for each; None: whatever the data hold.
            scale: Guidance scale: 0 ignores the class, 1 is Bayes, above 1 sharpens. Default: the model's own.
            w: `scale - 1`, the convention of Ho & Salimans 2022; give one of the two.
            sampler: A name or a `Sampler`; default: the model's own, as for `steps` and `grid`.
            steps, grid: A number and a name.
            seed, callback, batch_size, first: See `undrift.sample`.

        Returns:
            `(n, *shape)` in the dtype of the data (uint8 for 8-bit images), clipped to their range.

        Raises:
            UndriftError: unknown class, sampler or grid; a class asked of a model without classes.
            ValueError: numbers that make no sense.
        """
        y = self.draw(
            n,
            cond,
            scale=scale,
            w=w,
            sampler=sampler,
            steps=steps,
            grid=grid,
            seed=seed,
            callback=callback,
            batch_size=batch_size,
            first=first,
        )
        return self.spec.from_model(y)

    def draw(
        self,
        n: int,
        cond: int | str | Sequence[int | str] | None = None,
        *,
        scale: float | None = None,
        w: float | None = None,
        sampler: str | Sampler | None = None,
        steps: int | None = None,
        grid: str | None = None,
        **options: Any,
    ) -> Tensor:
        """As `sample`, but in model space, unclipped float32."""
        labels = self.labels(n, cond)
        denoiser: AnyDenoiser = self.denoiser
        if labels is not None:
            strength = self.sampling.scale if scale is None and w is None else guidance_scale(scale, w)
            denoiser = Mix(denoiser, denoiser.given(None), strength)
        elif scale is not None or w is not None:
            raise UndriftError("a guidance scale needs a class to be guided to; name one (cond, --class)")
        chosen = sampler if isinstance(sampler, Sampler) else _named("sampler", sampler or self.sampling.sampler, SAMPLERS)
        layout = _named("grid", grid or self.sampling.grid, GRIDS)
        count = self.sampling.steps if steps is None else steps
        return sample(denoiser, n, chosen, count, cond=labels, grid=layout, **options)

    def labels(self, n: int, cond: int | str | Sequence[int | str] | None) -> Tensor | None:
        """Class numbers `(n,)` from names or numbers; None stays None."""
        if cond is None:
            return None
        if not self.spec.classes:
            raise UndriftError("this model was trained without classes; leave the class out")
        each = [cond] * n if isinstance(cond, (int, str)) else list(cond)
        if len(each) != n:
            raise ValueError(f"`cond` names {len(each)} classes for {n} samples: give one for all, or one each.")
        return torch.tensor([self.spec.class_index(c) for c in each])

    def describe(self) -> dict[str, Any]:
        """What model.json holds."""
        return {
            "format": FORMAT,
            **self.parts,
            "spec": self.spec.to_json(),
            "sampling": self.sampling.model_dump(mode="json"),
            "trained": self.trained,
        }

    @property
    def parameters(self) -> int:
        """Number of trained numbers."""
        return sum(p.numel() for p in self.denoiser.parameters())


def _named(what: str, name: str, table: dict[str, Any]) -> Any:
    if name not in table:
        raise UndriftError(f'{what} "{name}" is unknown{nearest(name, table)}')
    return table[name]


def build_model(parts: dict[str, Any], spec: Spec, sampling: SamplingOptions, trained: dict[str, Any]) -> Model:
    """A model with fresh weights from its description."""
    denoiser = build_denoiser(
        parts["network"], parts["process"], parts["target"], parts["sigma_data"], spec.shape, len(spec.classes)
    )
    return Model(denoiser, spec, parts, sampling, trained)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write to a temporary file beside `path`, flush it to the disk, and rename: the old file or the new one, never half.

    Raises:
        OutputError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors wants them: contiguous, on the CPU, none sharing memory."""
    return {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}


def save(model: Model, weights: dict[str, dict[str, Tensor]], folder: Path) -> None:
    """Write `model.json` and `model.safetensors`. `weights` maps "raw" and "ema" to state dicts."""
    named = {f"{kind}.{k}": v for kind, state in weights.items() for k, v in state.items()}
    write_atomically(folder / "model.safetensors", lambda p: save_file(contiguous(named), p))
    text = json.dumps(model.describe(), indent=1)
    write_atomically(folder / "model.json", lambda p: p.write_text(text + "\n"))


def load(path: str | Path, weights: str = "ema", device: str = "cpu") -> Model:
    """Load a model. Executes nothing: the files are JSON and safetensors.

    Args:
        path: A run's folder.
        weights: "ema" (the averaged ones) or "raw".
        device: Where to put it.

    Raises:
        ModelError: nothing there, or files that are damaged, of another kind, or do not fit each other.
    """
    folder = Path(path)
    description, spec = read_description(folder)
    if weights not in ("ema", "raw"):
        raise ModelError(f'weights "{weights}" is unknown{nearest(weights, ("ema", "raw"))}')
    where = folder / "model.json"
    try:
        parts = {k: description[k] for k in ("network", "process", "target", "sigma_data")}
        model = build_model(parts, spec, SamplingOptions(**description["sampling"]), description["trained"])
    except UndriftError as error:
        raise ModelError(f"{where}: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{where} does not describe a model ({type(error).__name__}: {str(error).splitlines()[0]})") from None
    state = _read_weights(folder / "model.safetensors", weights)
    try:
        model.denoiser.load_state_dict(state)
    except RuntimeError:
        raise ModelError(f"{folder}: model.safetensors does not fit model.json; they are of different runs") from None
    model.denoiser.eval().requires_grad_(False).to(device)
    return model


def read_description(folder: Path) -> tuple[dict[str, Any], Spec]:
    """The parsed model.json of a run and its data spec."""
    path = folder / "model.json"
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such run folder; train one with `undrift train digits --out {folder}`")
    if not path.is_file():
        if (folder / "config.yaml").is_file():
            raise ModelError(
                f"{folder} holds no model yet: it has not reached its first checkpoint; train on with the same command"
            )
        raise ModelError(f"{folder} holds no model (no model.json); is it a run's folder?")
    try:
        description = json.loads(path.read_text())
        version = description["format"]
        if version == FORMAT:
            return description, Spec.from_json(description["spec"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(f"{path} is not a readable model description; restore it or train again") from None
    raise ModelError(f"{path} has format {version}, this version of undrift reads format {FORMAT}")


def _read_weights(path: Path, kind: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise ModelError(f"{path.parent} holds no weights (no model.safetensors); restore it or train again")
    try:
        with safe_open(path, framework="pt") as file:
            names = [k for k in file.keys() if k.startswith(f"{kind}.")]  # noqa: SIM118 (not a dict)
            state = {k.removeprefix(f"{kind}."): file.get_tensor(k) for k in names}
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{path} is not a readable safetensors file ({reason}); nothing was loaded from it") from None
    bad = [k for k, v in state.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if bad:
        raise ModelError(f"{path}: weights {kind}.{bad[0]} are not finite; load an earlier state or train again")
    return state
