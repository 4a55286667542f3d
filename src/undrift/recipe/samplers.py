"""Samplers by name, in the groups in which they are explained: to add one, write its file and add its line here.

On the standard library alone, so that help is instant: a sampler is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from undrift.sampler import Sampler

GROUPS = {
    "few": "for few steps",
    "one": "one-step solvers",
    "noise": "with fresh noise in each step",
    "printed": "the same with noise in the last step too, as the papers print them",
}


@dataclass(frozen=True)
class Named:
    """A sampler that is not imported yet.

    Attributes:
        group: A key of `GROUPS`.
        place: Its file in `undrift.sampler` and its class.
        arguments: What it is made with; a sampler among them is a `Named` too.
    """

    group: str
    place: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> Sampler:
        """The sampler."""
        module, _, name = self.place.partition(":")
        arguments = {k: v.make() if isinstance(v, Named) else v for k, v in self.arguments.items()}
        made: Sampler = getattr(import_module(f"undrift.sampler.{module}"), name)(**arguments)
        return made


NAMED: dict[str, Named] = {
    "velocity-abm": Named("few", "multistep:VelocityAB", {"points": 3, "corrector": True}),
    "velocity-ab": Named("few", "multistep:VelocityAB", {"points": 3}),
    "abm": Named("few", "multistep:ABM"),
    "dpm2m": Named("few", "multistep:DPM2M"),
    "dpm3m": Named("few", "multistep:DPM3M"),
    "unipc": Named("few", "multistep:UniPC", {"points": 2}),
    "deis": Named("few", "multistep:DEIS", {"points": 3}),
    "plms": Named("few", "multistep:PLMS"),
    "ddim": Named("few", "ancestral:Ancestral", {"eta": 0.0}),
    "euler": Named("one", "ode:Euler"),
    "heun": Named("one", "ode:Heun"),
    "midpoint": Named("one", "ode:Midpoint"),
    "rk4": Named("one", "ode:RungeKutta"),
    "dpm2s": Named("one", "ode:DPM2S"),
    "adaptive": Named("one", "ode:Adaptive"),
    "ancestral": Named("noise", "ancestral:Ancestral", {"eta": 1.0}),
    "ddpm": Named("noise", "ancestral:Ancestral", {"eta": 1.0}),
    "sde-dpm2m": Named("noise", "multistep:SDEDPM2M"),
    "sa-solver": Named("noise", "multistep:SASolver", {"points": 2}),
    "churn": Named("noise", "sde:Churn"),
    "euler-maruyama": Named("noise", "sde:EulerMaruyama"),
    "reverse-diffusion": Named("noise", "sde:ReverseDiffusion"),
    "predictor-corrector": Named("noise", "langevin:PredictorCorrector"),
    "corrector-predictor": Named("noise", "langevin:PredictorCorrector", {"corrector_first": True}),
    "flow-corrector": Named("noise", "langevin:PredictorCorrector", {"predictor": Named("one", "ode:Euler")}),
    "annealed-langevin": Named("noise", "langevin:AnnealedLangevin"),
    "renoise": Named("noise", "renoise:Renoise"),
}
NAMED |= {
    f"{name}-printed": Named("printed", "printed:Printed", {"sampler": NAMED[name]})
    for name in ("euler-maruyama", "reverse-diffusion", "predictor-corrector", "annealed-langevin")
}


def explained() -> str:
    """All names by group, for a help text."""
    return "; ".join(
        f"{said}: {', '.join(name for name, each in NAMED.items() if each.group == group)}" for group, said in GROUPS.items()
    )
