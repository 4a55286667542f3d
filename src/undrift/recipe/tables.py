"""Names to objects: processes, networks, samplers, grids and ways of filling in. To add one, add its line.

Below the model everything is composed in Python; a run, however, must be written down, so each family has one explicit table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from undrift import times
from undrift.imputation.known import Known, Method
from undrift.imputation.measured import measured
from undrift.nn import MLP, EncoderDecoder, PlainMLP, RefineNet, UNet
from undrift.process import DDPM, SMLD, VE, VP, Cosine, Karras, Process, Rectified, SubVP
from undrift.recipe.samplers import NAMED
from undrift.sampler import Ancestral, AnnealedLangevin, RePaint, Sampler

PROCESSES: dict[str, type[Process]] = {
    "ve": VE, "vp": VP, "subvp": SubVP, "cosine": Cosine, "rectified": Rectified, "karras": Karras, "ddpm": DDPM, "smld": SMLD,
}  # fmt: skip
NETWORKS: dict[str, type[nn.Module]] = {
    "mlp": MLP, "unet": UNet, "encoder-decoder": EncoderDecoder, "refinenet": RefineNet, "perceptron": PlainMLP,
}  # fmt: skip
SAMPLERS: dict[str, Sampler] = {name: each.make() for name, each in NAMED.items()}
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
