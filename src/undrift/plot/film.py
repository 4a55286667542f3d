"""From noise to data as pictures: a strip of the states of a few samples, and an animation of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from undrift.data.spec import Spec
from undrift.denoiser import Denoiser
from undrift.noise import Noise
from undrift.plot import picture
from undrift.sampler import State
from undrift.storage import Place


class Sampled(Protocol):
    """What a film needs of a `Model`."""

    spec: Spec
    denoiser: Denoiser

    @property
    def sample(self) -> Callable[..., Tensor]:
        """Draws samples, and hands every state to `callback`."""

    def to_model(self, x: Tensor) -> Tensor:
        """Data as the network sees them."""


def film(
    model: Sampled, labels: list[Any] | None, n: int, options: dict[str, Any], strip: Place | None, gif: Place | None, by: str
) -> list[Place]:
    """Draw the first samples once more with every state kept, and show these; returns what was written.

    Args:
        model: A `Model`.
        labels, n, options: What is drawn, as for `Model.sample`. Of images up to 10 samples, one row each; of points all, in every panel.
        strip, gif: Where the strip and the animation go; None: nowhere.
        by: Who writes them.
    """
    rows = min(n, 10) if len(model.spec.shape) > 1 else n
    states: list[State] = []
    if "start" in options:  # what it starts from, in place of pure noise
        options = options | {"start": options["start"][:rows]}
    model.sample(rows, labels[:rows] if labels else None, callback=states.append, batch_size=rows, **options)
    process, moments = model.denoiser.process, []
    if "start" in options:
        moments.append(model.to_model(options["start"]).float())
    else:
        x = process.prior(states[0].x, Noise(range(rows)).fold("sample", options["seed"]))
        moments.append(x / sum(process(states[0].t.new_tensor(process.t_max))))
    for state in states:
        alpha, sigma = process(state.t)
        if sigma < 6 * alpha:  # above that, nothing but noise can be seen
            moments.append(state.x / (alpha + sigma))  # noisy states are wide: bring them to the scale of the data
    done: list[Place] = []
    if strip is not None:
        picture.save_image(picture.strip(moments, model.spec), strip, by)
        done.append(strip)
    if gif is not None:
        picture.save_animation([picture.grid(y, model.spec, min(rows, 5)) for y in moments], gif, by)
        done.append(gif)
    return done
