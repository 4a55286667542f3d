"""Choices as data: the tables that turn names into objects, and the recipe of a run.

Below the model everything is composed in Python; a run, however, must be written down, so here each family has one explicit
table. The options of a kind are the arguments of its class: they are read from its signature, checked by pydantic, and an
unknown one is answered with the nearest known.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_type_hints

import torch
from pydantic import Field, TypeAdapter, ValidationError, create_model, model_validator
from torch import nn

from undrift import times
from undrift.denoiser import Denoiser
from undrift.error import RecipeError, nearest, short
from undrift.guidance.scale import LARGEST_SCALE
from undrift.imputation.known import Known, Method
from undrift.imputation.measured import measured
from undrift.nn import MLP, EncoderDecoder, Energy, PlainMLP, RefineNet, UNet
from undrift.process import DDPM, SMLD, VE, VP, Cosine, Karras, Process, Rectified, SubVP
from undrift.recipe.conditions import CONDITIONS, ConditionOptions, sizes, with_condition
from undrift.recipe.objectives import OBJECTIVES, ObjectiveOptions, Options, TargetName, build_target, check_objective
from undrift.sampler import (
    ABM,
    DEIS,
    DPM2M,
    DPM2S,
    DPM3M,
    PLMS,
    SDEDPM2M,
    Adaptive,
    Ancestral,
    AnnealedLangevin,
    Churn,
    Euler,
    EulerMaruyama,
    Heun,
    Midpoint,
    PredictorCorrector,
    RePaint,
    ReverseDiffusion,
    RungeKutta,
    Sampler,
    SASolver,
    UniPC,
    VelocityAB,
)
from undrift.schema import Unreadable, parse_yaml, read_yaml
from undrift.storage import memory
from undrift.synonyms import hint, meant

PROCESSES: dict[str, type[Process]] = {
    "ve": VE, "vp": VP, "subvp": SubVP, "cosine": Cosine, "rectified": Rectified, "karras": Karras, "ddpm": DDPM, "smld": SMLD,
}  # fmt: skip
NETWORKS: dict[str, type[nn.Module]] = {
    "mlp": MLP, "unet": UNet, "encoder-decoder": EncoderDecoder, "refinenet": RefineNet, "perceptron": PlainMLP,
}  # fmt: skip
SAMPLERS: dict[str, Sampler] = {
    "abm": ABM(),
    "dpm2m": DPM2M(),
    "dpm3m": DPM3M(),
    "dpm2s": DPM2S(),
    "unipc": UniPC(2),
    "deis": DEIS(3),
    "plms": PLMS(),
    "velocity-ab": VelocityAB(3),
    "velocity-abm": VelocityAB(3, corrector=True),
    "euler": Euler(),
    "heun": Heun(),
    "midpoint": Midpoint(),
    "rk4": RungeKutta(),
    "adaptive": Adaptive(),
    "ddim": Ancestral(0.0),
    "ddpm": Ancestral(1.0),
    "ancestral": Ancestral(1.0),
    "sde-dpm2m": SDEDPM2M(),
    "sa-solver": SASolver(2),
    "churn": Churn(),
    "euler-maruyama": EulerMaruyama(),
    "reverse-diffusion": ReverseDiffusion(),
    "predictor-corrector": PredictorCorrector(),
    "annealed-langevin": AnnealedLangevin(),
}
GRIDS: dict[str, times.Grid] = {
    "straight": times.straight,
    "log_snr": times.log_snr,
    "karras": times.karras,
    "cosine": times.cosine,
    "uniform": times.uniform,
    "trailing": times.trailing,
    "linspace": times.linspace,
    "leading": times.leading,
}


@dataclass(frozen=True)
class Imputation:
    """A way to fill in what is missing: the denoiser that knows (None: particles), the sampler (given the user's, or None), and usual
    steps."""

    method: Method | None
    sampler: Callable[[Sampler | None], Sampler]
    steps: int


IMPUTATIONS: dict[str, Imputation] = {
    "repaint": Imputation(Known, lambda s: RePaint() if s is None else RePaint(s), 50),
    "replace": Imputation(Known, lambda s: s or Ancestral(), 200),
    "mmps": Imputation(measured, lambda s: s or Ancestral(), 100),
    "particles": Imputation(None, lambda s: Ancestral(), 50),
    "langevin": Imputation(Known, lambda s: AnnealedLangevin() if s is None else AnnealedLangevin(s), 20),
}

FROM_DATA = (
    "channels_in",
    "rank",
    "shape",
    "classes",
    "vector",
    "image",
    "sequence",
)  # arguments of networks that the data decide


def _part(kind: str, cls: type) -> type[Options]:
    """A pydantic model with the arguments of `cls` and the tag `kind`."""
    hints = get_type_hints(cls.__init__)  # type: ignore[misc]
    fields: dict[str, Any] = {"kind": (Literal[kind], kind)}
    if kind in NETWORKS:
        fields["energy"] = (bool, False)
    for name, parameter in list(inspect.signature(cls).parameters.items()):
        if name not in FROM_DATA:
            fields[name] = (hints[name], parameter.default)
    return create_model(f"{cls.__name__}Options", __base__=Options, **fields)


def _union(table: Mapping[str, type]) -> Any:
    return Annotated[Union[tuple(_part(kind, cls) for kind, cls in table.items())], Field(discriminator="kind")]  # noqa: UP007


ProcessOptions = _union(PROCESSES)
NetworkOptions = _union(NETWORKS)
SamplerName: Any = Literal[tuple(SAMPLERS)]
GridName: Any = Literal[(*GRIDS, "fitted")]


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

    def layout(self, name: str | None = None) -> times.Grid:
        """The grid of a name, or the model's own."""
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
    objective: ObjectiveOptions = _key("the loss", ObjectiveOptions())
    start: str | None = _key("another run, with whose averaged weights this one begins (fine-tuning)", None, min_length=1)
    steps: int | None = _key("optimiser steps until the end; each sees one batch", None, ge=1, le=10**12)
    minutes: float | None = _key("or minutes of training until the end", None, gt=0, le=10**8)
    batch_size: int = _key("examples in a step", 128, ge=1, le=2**20)
    accumulate: int = _key("parts of a batch that are computed one after the other, to save memory", 1, ge=1, le=2**20)
    recompute: bool = _key("compute activations twice instead of keeping them, to save memory", False)
    shard: bool = _key("several processes keep a part of the network each", False)
    compile: bool = _key("compile the network with torch.compile", False)
    learning_rate: float = _key("of AdamW, after the warm-up", 1e-3, gt=0)
    weight_decay: float = _key("of AdamW", 0.0, ge=0)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = _key("of AdamW", (0.9, 0.99))
    warmup: int = _key("steps over which the learning rate rises from zero", 100, ge=0, le=10**12)
    decay_from: float = _key("share of the run after which the learning rate falls to zero, by half a cosine", 0.0, ge=0, le=1)
    clip: float = _key("largest norm of the gradient", 1.0, gt=0)
    ema_halflife: float = _key("of the averaged weights, in examples", 50_000, gt=0, le=1e15)
    label_dropout: float = _key("share of examples whose class is left out, so that guidance is possible", 0.1, ge=0, lt=1)
    seed: int = _key("of the weights, the order of the examples, and the noise", 0, ge=0, lt=2**32)
    device: Literal["auto", "cpu", "cuda"] = _key("auto is the GPU where there is one", "auto")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = _key("auto is bfloat16 on a GPU that has it", "auto")
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


def kinds(options: Options) -> dict[str, Any]:
    """A recipe part as a plain dict of JSON values."""
    return options.model_dump(mode="json")


LARGEST = 10**6  # of the numbers of a network or a process
DEEPEST = 1024  # blocks of a network
_OF_DATA = {"seed": 2**63 - 1, "size": 2**14}  # the most that whole numbers of the data may be; of others:
_MOST = 10**8


def check_parts(parts: Mapping[str, Any]) -> None:
    """Refuse numbers so large that building from them would hang or fill the memory, in a recipe as in the description of a model.

    Args:
        parts: Any of "network", "process", "condition" and "data", as dicts or None.

    Raises:
        ValueError: there are such; the message begins with the key.
    """
    for part in ("network", "process", "condition"):
        for key, value in _numbers(parts.get(part), part):
            if abs(value) > LARGEST:
                raise ValueError(f"{key}={short(value)}: of absurd size; the most is {LARGEST:,}")
    for key, value in _numbers(parts.get("data"), "data"):
        most = _OF_DATA.get(key.partition(".")[2], _MOST)
        if isinstance(value, int) and abs(value) > most:
            raise ValueError(f"{key}={short(value)}: of absurd size; the most is {most:,}")
    network = parts.get("network") or {}
    levels = len(network.get("widths") or ()) or 1
    key, deep = (
        ("network.blocks", levels * (network.get("blocks") or 1)) if levels > 1 else ("network.depth", network.get("depth", 0))
    )
    if max(deep, levels * (network.get("blocks") or 1)) > DEEPEST:
        raise ValueError(f"{key}: a network of absurd size; the most is {DEEPEST:,} blocks, over all its levels")


def _numbers(part: Any, key: str) -> Iterator[tuple[str, float]]:
    """The numbers of a part with their keys; what the data add to a condition is no number of ours."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name not in ("words", "examples"):
                yield from _numbers(value, f"{key}.{name}")
    elif isinstance(part, (list, tuple)):
        for value in part:
            yield from _numbers(value, key)
    elif isinstance(part, (int, float)):
        yield key, part


def check_memory(network: Mapping[str, Any], shape: tuple[int, ...], classes: int, condition: Any, copies: int) -> None:
    """Refuse a network of which so many copies do not fit into memory, before it is built. Raises RecipeError."""
    with torch.device("meta"):
        count = sum(p.numel() for p in build_network(network, shape, classes, condition).parameters())
    if 4 * copies * count > (free := memory()):
        raise RecipeError(
            f"network: its {count:,} parameters take {4 * copies * count / 2**30:,.1f} GiB to train, and {free / 2**30:,.1f} GiB are "
            "free; give a smaller one (network.width, network.widths, network.depth)"
        )


def same_network(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two descriptions of a network mean the same: an option left out is its default."""
    whole = TypeAdapter(NetworkOptions)
    return whole.validate_python(dict(one)) == whole.validate_python(dict(other))


def build_process(options: Mapping[str, Any]) -> Process:
    """The process of a recipe part `{"kind": ..., ...}`. Raises RecipeError for illegal values."""
    return _built("process", PROCESSES[options["kind"]], {k: v for k, v in options.items() if k != "kind"})


def build_network(
    options: Mapping[str, Any], shape: tuple[int, ...], classes: int, condition: Mapping[str, Any] | None = None
) -> nn.Module:
    """The network of a recipe part for data of one shape, a number of classes (0: none), and what else it is told."""
    told = sizes(condition, shape)
    given = {k: v for k, v in options.items() if k not in ("kind", "energy")} | {"classes": classes} | told
    if options.get("energy") and options.get("learned_variance"):
        raise RecipeError("network.energy and network.learned_variance exclude each other; choose one")
    kind = options["kind"]
    reads = inspect.signature(NETWORKS[kind]).parameters
    if condition is not None and not set(told) <= set(reads):
        raise RecipeError(f"condition.kind={condition['kind']} is told to pictures; use network.kind=unet")
    if "shape" in reads:
        given["shape"] = shape
    else:
        wanted = "sequences (C, L), images (C, H, W) or volumes (C, D, H, W)" if "rank" in reads else "images (C, H, W)"
        if len(shape) not in ((2, 3, 4) if "rank" in reads else (3,)):
            raise RecipeError(f"network.kind={kind} wants {wanted}, but these data have shape {shape}; use network.kind=mlp")
        given |= {"channels_in": shape[0]} | ({"rank": len(shape) - 1} if "rank" in reads else {})
    with in_float32():
        network = with_condition(_built("network", NETWORKS[kind], given), condition)
    return Energy(network) if options.get("energy") else network


def default_network(shape: tuple[int, ...]) -> dict[str, Any]:
    """What a recipe that names no network gets: an MLP for vectors and for what has a side below 8, else a U-Net by the size.

    A side of 20 or more is halved at once (`patch`); from then on each level halves it again, down to 8 or so. Colour has twice
    the features of grey, and attention on the coarsest level.
    """
    if len(shape) not in (2, 3, 4) or min(shape[1:]) < 8:
        return {"kind": "mlp", "width": 256, "depth": 4}
    patch = 2 if min(shape[1:]) >= 20 else 1
    levels = max(2, min(5, round(math.log2(min(shape[1:]) / patch / 8)) + 1))
    colour = len(shape) == 3 and shape[0] >= 3
    widths = [min(32 * 2**i, 128) * (1 + colour) for i in range(levels)]
    return {"kind": "unet", "widths": widths, "patch": patch} | ({"attention": [levels - 1]} if colour else {})


def build_denoiser(
    network: Mapping[str, Any],
    process: Mapping[str, Any],
    target: str,
    sigma_data: float,
    shape: tuple[int, ...],
    classes: int,
    condition: Mapping[str, Any] | None = None,
) -> Denoiser:
    """Network, process and target put together."""
    built = build_process(process)
    try:
        net = build_network(network, shape, classes, condition)
        return Denoiser(net, built, build_target(target, sigma_data), sigma_data, shape)
    except ValueError as error:
        raise RecipeError(f"target={target}: {error}") from None


@contextmanager
def in_float32() -> Iterator[None]:
    """While something is built: its numbers are float32, whatever torch makes by default."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _built(where: str, make: Callable[..., Any], options: dict[str, Any]) -> Any:
    try:
        with in_float32():
            return make(**options)
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from None


def recipe_names() -> list[str]:
    """Names of the recipes that come with the library."""
    return sorted(
        p.name.removesuffix(".yaml") for p in resources.files("undrift.recipe.yaml").iterdir() if p.name.endswith(".yaml")
    )


def run_named(name: str) -> Path | None:
    """The run whose folder is given in place of a recipe's name; None where it is a name."""
    return Path(name) if name not in recipe_names() and (Path(name) / "config.yaml").is_file() else None


def load_recipe(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe by name, or that of a run by its folder, with overrides `{"process.beta_max": 15, ...}`.

    Giving `steps` takes back the recipe's `minutes`, and the other way round.

    Raises:
        RecipeError: an unknown recipe or key (the nearest is named), an illegal value.
    """
    if "recipe" in (overrides or {}):
        raise RecipeError("the recipe is chosen by name, not by an override; leave out recipe=...")
    if (run := run_named(name)) is not None:
        return read_recipe(run / "config.yaml", overrides)
    if name not in recipe_names():
        raise RecipeError(f'recipe "{name}" is unknown{nearest(name, recipe_names())}')
    return make_recipe({"recipe": name, **parse_yaml(recipe_text(name))}, overrides or {})


def recipe_text(name: str) -> str:
    """A recipe of the library as it is written, its first line a comment that says what it is for."""
    return resources.files("undrift.recipe.yaml").joinpath(f"{name}.yaml").read_text()


def read_recipe(path: Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of an existing run (its config.yaml), with overrides."""
    tree = read_yaml(path, RecipeError, "a recipe", "restore it or start a new run")
    return make_recipe(tree, overrides or {})


def make_recipe(tree: dict[str, Any], overrides: Mapping[str, Any]) -> Recipe:
    """Check a recipe given as nested dicts, with dotted overrides."""
    given = dict(overrides)
    for one, other in (("steps", "minutes"), ("minutes", "steps")):
        if one in given and other not in given:
            given[other] = None
    tree = {k: dict(v) if isinstance(v, dict) else v for k, v in tree.items()}
    for key, value in sorted(given.items(), key=lambda item: not item[0].endswith(".kind")):
        *path, leaf = key.split(".")
        node: Any = tree
        for part in path:
            if isinstance(node, dict) and node.get(part) is None:
                node[part] = {}
            node = node[part] if isinstance(node, dict) else None
        if not isinstance(node, dict):
            raise RecipeError(f'override "{key}": {".".join(path)} is a single value and has no parts')
        if leaf == "kind" and node.get("kind") != value:
            # Options of the old kind mean nothing to the new one, but a distillation asks as score matching does.
            same = OBJECTIVES["distillation"] if value == "distillation" else ()
            for option in [k for k in node if k not in same]:
                del node[option]
        node[leaf] = value
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(_explain(error)) from None
    try:
        check_parts(recipe.model_dump(mode="json"))
    except ValueError as error:
        raise RecipeError(str(error)) from None
    if recipe.steps is None and recipe.minutes is None:
        raise RecipeError("a run needs an end: give steps=... or minutes=...")
    if not recipe.monitor_every and (recipe.patience or recipe.until == "converged"):
        raise RecipeError("patience and until=converged go by the held-out loss; give monitor_every, such as 250")
    if not recipe.label_dropout and recipe.sampling.scale != 1:
        raise RecipeError(
            "label_dropout=0 teaches nothing of samples without their class, so they cannot be guided by "
            f"sampling.scale={recipe.sampling.scale:g}; give sampling.scale=1 as well, or leave label_dropout out"
        )
    learned = recipe.network is not None and kinds(recipe.network).get("learned_variance", False)
    check_objective(recipe.objective, kinds(recipe.process)["kind"], learned)
    check_thrift(recipe)
    return recipe


def check_thrift(recipe: Recipe) -> None:
    """What cannot be had together. Raises RecipeError."""
    energy = recipe.network is not None and kinds(recipe.network)["energy"]
    twice = "network.energy" if energy else f"objective.kind={recipe.objective.kind}"
    if energy or recipe.objective.kind in ("implicit", "sliced"):
        if recipe.precision == "float16":
            raise RecipeError(
                f"precision=float16 does not go with {twice}: the network is differentiated twice, and the inner derivative, which no "
                "scale of the loss reaches, would underflow; use bfloat16 or float32"
            )
        if recipe.shard:
            raise RecipeError(
                f"shard=true does not go with {twice}: the network is differentiated twice, but its parts are put back after the first "
                "derivative; leave one of them out"
            )
    if recipe.shard and recipe.compile:
        raise RecipeError("shard=true and compile=true exclude each other; choose one")


def parse_overrides(words: list[str]) -> dict[str, Any]:
    """`["steps=200", "process.beta_max=15"]` to a dict, values read as YAML."""
    overrides: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise RecipeError(f'"{short(word)}" is not an override; write key=value, such as steps=2000')
        try:
            parsed = parse_yaml(value)
            # YAML 1.1 wants a dot in floats; people write 1e-4.
            overrides[key] = float(parsed) if isinstance(parsed, str) and _is_float(parsed) else parsed
        except Unreadable as error:
            raise RecipeError(f"{short(key)}: the value is not readable: {error}") from None
    for key, value in overrides.items():
        for *path, leaf in (other.split(".") for other in overrides if other.startswith(f"{key}.")):
            node = value
            for part in path[len(key.split(".")) :]:
                node = node.get(part) if isinstance(node, dict) else None
            if isinstance(node, dict) and leaf in node:
                raise RecipeError(f"{short('.'.join([*path, leaf]))} is given twice, by itself and in {short(key)}; give it once")
    return overrides


def add_override(overrides: dict[str, Any], key: str, value: Any, option: str) -> None:
    """An option that stands for a key of the recipe. Raises RecipeError where that is given, too."""
    if key in overrides:
        raise RecipeError(f"{option} and {key}=... are the same, and both are given; give one of them")
    overrides[key] = value


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _explain(error: ValidationError) -> str:
    """One line from pydantic's report: the first problem, with its dotted place."""
    first = error.errors(include_url=False)[0]
    tags = {*PROCESSES, *NETWORKS, *CONDITIONS}
    path = [str(p) for i, p in enumerate(first["loc"]) if not (i == 1 and p in tags)]
    key, given = short(".".join(path)), first.get("input")
    if first["type"] == "extra_forbidden":
        known = known_keys(first["loc"])
        return f'unknown key "{key}"{hint(path[-1], known) if meant(path[-1], known) else nearest(key, known)}'
    if first["type"] == "missing":
        return f'the recipe lacks "{key}"'
    if first["type"].startswith("union_tag"):
        tables: dict[str, Mapping[str, Any]] = {"process": PROCESSES, "network": NETWORKS, "condition": CONDITIONS}
        kind = given.get("kind") if isinstance(given, dict) else given
        if isinstance(given, dict) and kind is None:
            return f"{path[0]} has options but no kind; add {path[0]}.kind: {', '.join(sorted(tables[path[0]]))}"
        return f'{path[0]}.kind "{short(kind)}" is unknown{nearest(short(kind), tables[path[0]])}'
    if first["type"] == "literal_error":
        choices = first["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f'{key} "{short(given)}" is unknown{nearest(short(given), choices)}'
    return f"{key}={short(given)}: {first['msg'][0].lower()}{first['msg'][1:]}"


def known_keys(loc: tuple[Any, ...] = ()) -> list[str]:
    """All dotted keys of a recipe, those of one chosen kind where `loc` names it."""
    keys = [k for k in Recipe.model_fields if k != "recipe"] + [
        "data.kind",
        "data.size",
        "data.flip",
        "data.channels",
        "data.workers",
    ]
    parts: list[tuple[str, type[Options]]] = [("objective", ObjectiveOptions), ("sampling", SamplingOptions)]
    for part, options in parts + [("condition", told) for told in CONDITIONS.values()]:
        keys += [f"{part}.{k}" for k in options.model_fields]
    for place, table in (("process", PROCESSES), ("network", NETWORKS)):
        chosen = [table[loc[1]]] if len(loc) > 1 and loc[0] == place and loc[1] in table else table.values()
        keys += ["network.energy"] if place == "network" else []
        for cls in chosen:
            keys += [f"{place}.{k}" for k in inspect.signature(cls).parameters if k not in FROM_DATA]
        keys.append(f"{place}.kind")
    return list(dict.fromkeys(keys))
