"""What keys, options and arguments are called in other libraries: one table for recipes, the command line and Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

from undrift.error import UndriftError, nearest

__all__ = ["SYNONYMS", "at_command_line", "hint", "in_python", "meant", "own_words"]

P = ParamSpec("P")
T = TypeVar("T")

# A word of another library, or of everyday speech, to ours. Of several the first that is known where the word was used.
SYNONYMS: dict[str, tuple[str, ...]] = {
    # how samples are drawn
    "num_inference_steps": ("sampling.steps", "steps"), "inference_steps": ("sampling.steps", "steps"), "timesteps": ("sampling.steps", "steps"),
    "num_steps": ("steps",), "n_steps": ("steps",), "nfe": ("sampling.steps", "steps"),
    "guidance_scale": ("sampling.scale", "scale"), "cfg_scale": ("sampling.scale", "scale"), "cfg": ("sampling.scale", "scale"),
    "guidance": ("sampling.scale", "scale"), "scale": ("sampling.scale",), "guidance_rescale": ("rescale",),
    "scheduler": ("sampling.sampler", "sampler"), "method": ("sampler",), "solver": ("sampling.sampler", "sampler"),
    "sampler": ("sampling.sampler",), "grid": ("sampling.grid",), "timestep_spacing": ("sampling.grid", "grid"), "use_karras_sigmas": ("sampling.grid", "grid"),
    "generator": ("seed",), "random_seed": ("seed",),
    "class_labels": ("cond", "class"), "labels": ("cond", "class"), "label": ("cond", "class"), "y": ("cond", "class"), "cond": ("class",),
    "classes": ("class",), "prompt": ("cond",), "text": ("prompt", "cond"), "num_samples": ("n",), "n_samples": ("n",), "samples": ("n",),
    "num_images": ("n",), "num_images_per_prompt": ("n",), "count": ("n",), "image": ("from",), "init_image": ("from",),
    "output": ("out",), "path": ("out",), "outdir": ("out",), "output_dir": ("out",), "save_dir": ("out",), "logdir": ("out",),
    "dataset": ("data_dir",), "data_path": ("data_dir",), "train_data_dir": ("data_dir",),
    # how a model is trained
    "iterations": ("steps",), "iters": ("steps",), "max_steps": ("steps",), "train_steps": ("steps",), "max_train_steps": ("steps",),
    "hours": ("minutes",), "time": ("minutes",), "lr": ("learning_rate",), "rate": ("learning_rate",), "batch": ("batch_size",),
    "bs": ("batch_size",), "train_batch_size": ("batch_size",), "gradient_accumulation_steps": ("accumulate",), "ema": ("ema_halflife",),
    "ema_decay": ("ema_halflife",), "decay": ("weight_decay",), "wd": ("weight_decay",), "grad_clip": ("clip",), "max_grad_norm": ("clip",),
    "save_every": ("checkpoint_every",), "eval_every": ("monitor_every",), "early_stopping": ("patience",), "init": ("start",),
    "pretrained": ("start",), "cond_drop": ("label_dropout",), "p_uncond": ("label_dropout",), "mixed_precision": ("precision",),
    "fp16": ("precision",), "amp": ("precision",), "gpu": ("device",),
    # what is trained
    "dropout": ("network.dropout",), "width": ("network.width",), "depth": ("network.depth",), "model": ("network.kind",),
    "arch": ("network.kind",), "unet": ("network.kind",), "channels": ("data.channels",), "size": ("data.size",), "image_size": ("data.size",),
    "resolution": ("data.size",), "split": ("data.split",), "flip": ("data.flip",), "workers": ("data.workers",),
    "num_workers": ("data.workers",), "schedule": ("process.kind",), "sde": ("process.kind",), "noise": ("process.kind",),
    "noise_schedule": ("process.kind",), "loss": ("objective.kind",), "prediction": ("target",), "prediction_type": ("target",),
    "parameterization": ("target",), "epsilon": ("noise",), "eps": ("noise",), "v_prediction": ("v",), "x0": ("data",),
    # samplers
    "ddimscheduler": ("ddim",), "ddpmscheduler": ("ancestral",), "ddpm": ("ancestral",), "dpmsolvermultistepscheduler": ("dpm2m",),
    "dpmsolversdescheduler": ("sde-dpm2m",), "eulerdiscretescheduler": ("euler",), "eulerancestraldiscretescheduler": ("ancestral",),
    "heundiscretescheduler": ("heun",), "unipcmultistepscheduler": ("unipc",), "pndmscheduler": ("plms",), "deismultistepscheduler": ("deis",),
}  # fmt: skip
_LENGTH = ("epoch", "epochs", "num_epochs", "num_train_epochs", "max_epochs")


def meant(word: str, known: Iterable[str]) -> list[str]:
    """Our names for a word of another library, of those that are known: none, one, or two for the length of a training.

    Example:
        >>> meant("guidance-scale", ["scale", "steps"]), meant("epochs", ["steps", "minutes", "seed"])
        (['scale'], ['steps', 'minutes'])
    """
    key, names = word.lower().replace("-", "_"), set(known)
    if key in _LENGTH and {"steps", "minutes"} <= names:
        return ["steps", "minutes"]
    return [name for name in SYNONYMS.get(key, ()) if name in names][:1]


def hint(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown key or argument: what it is called here, or as `undrift.error.nearest`.

    Example:
        >>> hint("lr", ["steps", "learning_rate"]), hint("epochs", ["steps", "minutes"])
        (' — did you mean "learning_rate"?', ' — the length of a training is steps=... or minutes=...')
    """
    names = list(known)
    found = meant(word, names)
    if len(found) > 1:
        return f" — the length of a training is {' or '.join(f'{name}=...' for name in found)}"
    return f' — did you mean "{found[0]}"?' if found else nearest(word, names)


def own_words(function: Callable[P, T]) -> Callable[P, T]:
    """A function that answers an argument it does not have by what that is called here."""
    known = [name for name, each in signature(function).parameters.items() if each.kind is not each.POSITIONAL_ONLY]

    @wraps(function)
    def call(*given: P.args, **named: P.kwargs) -> T:
        for name in named:
            if name not in known:
                raise TypeError(f"`{name}` is no argument of {function.__name__}{hint(name, known)}")
        return function(*given, **named)

    return call


at_command_line: ContextVar[bool] = ContextVar("at_command_line", default=False)
_SWITCHES = {"fresh": "fresh=True", "skip-bad": "data={'skip_bad': True}", "class": "cond"}


def in_python(function: Callable[P, T]) -> Callable[P, T]:
    """A function whose messages name its arguments, `data_dir`, where the command line, which shares them, names its options, `--data-dir`."""

    @wraps(function)
    def call(*given: P.args, **named: P.kwargs) -> T:
        try:
            return function(*given, **named)
        except UndriftError as error:
            if not at_command_line.get() and error.args and isinstance(error.args[0], str):
                error.args = (python_words(error.args[0]), *error.args[1:])
            raise

    return call


def python_words(text: str) -> str:
    """A message with arguments in place of options.

    Example:
        >>> python_words("runs/a holds another run; choose another --out, or --fresh to put it aside")
        'runs/a holds another run; choose another out, or fresh=True to put it aside'
    """
    text = re.sub(r"(?<![\w-])-n (?=\d)", "n=", text)
    commands = re.split(r"(`[^`]*`)", text)  # what stands in backticks is a command as it is typed
    return "".join(part if part.startswith("`") else re.sub(r"(?<![\w-])--([a-z][a-z-]*)", _argument, part) for part in commands)


def _argument(found: re.Match[str]) -> str:
    name = found.group(1)
    return _SWITCHES.get(name, name.replace("-", "_"))
