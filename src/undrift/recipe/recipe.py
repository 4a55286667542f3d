"""The recipe of a run: everything that decides it, as data that pydantic checks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from undrift import times
from undrift.error import RecipeError, nearest, short
from undrift.guidance.scale import LARGEST_SCALE
from undrift.recipe.build import TARGETS, NetworkOptions, ProcessOptions
from undrift.recipe.conditions import CONDITIONS
from undrift.recipe.objectives import DenoisingOptions, ObjectiveOptions
from undrift.recipe.options import Options, one_of
from undrift.recipe.tables import GRIDS, SAMPLERS

SamplerName: Any = Literal[tuple(SAMPLERS)]
GridName: Any = Literal[(*GRIDS, "fitted")]
TargetName: Any = Literal[TARGETS]
ConditionOptions: Any = one_of(CONDITIONS.values())


class SamplingOptions(Options):
    """How samples are drawn unless the caller says otherwise. `scale` is the guidance scale (1: none).

    `fitted` holds the noise levels of the grid of that name, where one was measured (`undrift frontier`).
    """

    sampler: SamplerName = Field(default="dpm2m", description="by name")
    steps: Annotated[int, Field(ge=1, le=10**6)] = Field(default=20, description="of the sampler")
    scale: Annotated[float, Field(ge=-LARGEST_SCALE, le=LARGEST_SCALE)] = Field(
        default=1.0, description="guidance scale: 0 ignores the class, 1 is the model as it was trained, above 1 sharpens"
    )
    grid: GridName = Field(default="straight", description="where the steps lie between noise and data")
    fitted: tuple[tuple[float, ...], ...] | None = Field(
        default=None, description="noise levels of the measured grid (`undrift frontier`)"
    )

    @model_validator(mode="after")
    def _has_its_grid(self) -> SamplingOptions:
        if self.fitted is not None:
            times.Fitted(self.fitted)
        elif self.grid == "fitted":
            raise ValueError("there is no fitted grid yet; `undrift frontier` measures one on a trained model")
        return self

    def layout(self, name: str | times.Grid | None = None) -> times.Grid:
        """The grid of a name, or the model's own; a function is a grid already."""
        if callable(name):
            return name
        name = self.grid if name is None else name
        if name == "fitted":
            if self.fitted is None:
                raise RecipeError(
                    f"this model has no fitted grid; measure one with `undrift frontier`, or use {', '.join(GRIDS)}"
                )
            return times.Fitted(self.fitted)
        if not isinstance(name, str) or name not in GRIDS:
            raise RecipeError(f'grid "{short(name)}" is unknown{nearest(short(name), [*GRIDS, "fitted"])}')
        return GRIDS[name]


def _key(said: str, default: Any = ..., **bounds: Any) -> Any:
    """A key of a recipe: what it is for, its default, its bounds."""
    return Field(default, description=said, **bounds)


class Recipe(Options):
    """Everything that decides a run. Times in steps, lengths in examples where they must not depend on the batch."""

    recipe: str = _key("the recipe that this one began as")
    data: dict[str, Any] = _key("the data: `data.kind` and its options")
    data_dir: str | None = _key("where the data are, as --data-dir", None, min_length=1)
    held_out: float = _key("share of the data that is not trained on, where they have no test set of their own", 0.2, gt=0, lt=1)
    network: NetworkOptions | None = _key("the network; left out, one that fits the data", None)  # type: ignore[valid-type]
    process: ProcessOptions = _key("the noise process")  # type: ignore[valid-type]
    target: TargetName = _key("what the network outputs", "karras")
    condition: ConditionOptions | None = _key("what the network is given besides the class", None)
    objective: ObjectiveOptions = _key("the loss", DenoisingOptions())
    start: str | None = _key("another run, with whose averaged weights this one begins (fine-tuning)", None, min_length=1)
    steps: int | None = _key("optimiser steps until the end; each sees one batch", None, ge=1, le=10**12)
    minutes: float | None = _key("or minutes of training until the end", None, gt=0, le=10**8)
    batch_size: int = _key("examples in a step", 128, ge=1, le=2**20)
    accumulate: int = _key("parts of a batch that are computed one after the other, to save memory", 1, ge=1, le=2**20)
    recompute: bool = _key("compute activations twice instead of keeping them, to save memory", False)
    shard: bool = _key("several processes keep a part of the network each", False)
    compile: bool | Literal["graphs"] = _key(
        "compile the network with torch.compile; graphs: and launch it as CUDA graphs", False
    )
    optimizer: Literal["adamw", "muon"] = _key(
        "muon: steps of equal length in all directions of a matrix; AdamW elsewhere", "adamw"
    )
    learning_rate: float = _key("of the optimiser, after the warm-up", 1e-3, gt=0)
    weight_decay: float = _key("of the optimiser", 0.0, ge=0)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = _key("of AdamW", (0.9, 0.99))
    warmup: int = _key("steps over which the learning rate rises from zero", 100, ge=0, le=10**12)
    decay_from: float = _key("share of the run after which the learning rate falls to zero, by half a cosine", 0.0, ge=0, le=1)
    clip: float = _key("largest norm of the gradient", 1.0, gt=0)
    ema_halflife: float = _key("of the averaged weights, in examples", 50_000, gt=0, le=1e15)
    label_dropout: float = _key("share of examples whose class is left out, so that guidance is possible", 0.1, ge=0, lt=1)
    seed: int = _key("of the weights, the order of the examples, and the noise", 0, ge=0, lt=2**32)
    device: str = _key("auto is the GPU where there is one; or cpu, cuda, cuda:1, mps", "auto")
    precision: Literal["auto", "fast", "float32", "bfloat16", "float16"] = _key(
        "auto is bfloat16 on a GPU that has it; fast also on a CPU", "auto"
    )
    threads: int | None = _key(
        "of the CPU; left out, as many as there are cores that nobody else wants, or as the run began with", None, ge=1, le=1024
    )
    log_every: int = _key("steps between two lines of the log", 50, ge=1, le=10**12)
    checkpoint_every: int = _key("steps between two states on the disk", 1000, ge=1, le=10**12)
    keep: int = _key("states on the disk, besides the best by held-out loss", 2, ge=1, le=10**6)
    snapshots: int = _key("most of the averages that `undrift ema` combines; 0: none", 16, ge=0, le=10**4)
    sample_every: int = _key("steps between two previews; 0: none", 1000, ge=0, le=10**12)
    monitor_every: int = _key("steps between two looks at the held-out loss; 0: none", 250, ge=0, le=10**12)
    monitor_examples: int = _key("examples that a look is of", 256, ge=2, le=10**7)
    quality_every: int = _key("steps between two measurements of a few samples; 0: none", 1000, ge=0, le=10**12)
    patience: int | None = _key("stop after so many looks without a better one", None, ge=1, le=10**9)
    until: Literal["end", "converged"] = _key("converged: stop as soon as the verdict says so", "end")
    tensorboard: bool = _key("also write TensorBoard's events", False)
    wandb: bool = _key("also write to Weights & Biases", False)
    sampling: SamplingOptions = _key("how samples are drawn unless the command says otherwise", SamplingOptions())
