"""A classifier of noisy samples, p(y | x_t), bounded where there is nothing to see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from undrift.argument import function, instance, real, tensor
from undrift.denoiser import network_input
from undrift.guidance.tilt import class_log_prob
from undrift.process import Process, as_time, expand


class NoisyClassifier(nn.Module):
    """A network with a process, as p(y | x_t). It goes where `Tilt` wants a `log_prob`.

        logits = log prior + k net(c_in x_t, level),     k^2 = S / (1 + S),     S = D (alpha sigma_data / sigma)^2

    The network sees what a `Denoiser`'s sees: an input of unit variance, and `level` = log(sigma/alpha)/4. The factor k is
    what preconditioning is for a denoiser. S is the signal-to-noise ratio of all D entries of a sample together, which is what
    a class can be told by; where it is small the classifier says the prior, exactly so in pure noise, and its gradient
    vanishes like alpha, as the true one does, so that guidance stays finite.

    Args:
        net: `(x (B, *D), level (B,)) -> (B, C)`, as `undrift.nn.UNetClassifier` or `MLPClassifier`.
        process: The noise it was or will be trained on.
        prior: `(C,)` frequencies of the classes, positive.
        sigma_data: Standard deviation of the data in model space.

    Raises:
        ValueError: frequencies that are not positive.
    """

    log_prior: Tensor

    def __init__(self, net: nn.Module, process: Process, prior: Tensor | Sequence[float], sigma_data: float = 1.0) -> None:
        super().__init__()
        function(net, "net", "give a network, net(x, level)")
        instance(process, "process", Process, "give a process, such as undrift.VP()")
        if not real(sigma_data, "sigma_data") > 0:
            raise ValueError(f"`sigma_data` is a standard deviation and must be positive, got {sigma_data}.")
        prior = tensor(prior, "prior", torch.float32)
        if prior.ndim != 1 or not bool(((prior > 0) & torch.isfinite(prior)).all()):
            raise ValueError("`prior` must be (C,) positive frequencies of the classes.")
        self.net, self.process, self.sigma_data = net, process, sigma_data
        self.register_buffer("log_prior", prior.log().log_softmax(0))

    def logits(self, x: Tensor, t: Tensor | float) -> Tensor:
        """`(B, C)` for `x` `(B, *D)` at times `t` `()` or `(B,)`."""
        t = as_time(t, x)
        alpha, sigma = self.process(t)
        out: Tensor = self.net(*network_input(self.process, x, t, self.sigma_data))
        signal = x[0].numel() ** 0.5 * alpha * self.sigma_data
        return self.log_prior + expand(signal * (signal**2 + sigma**2).rsqrt(), out) * out

    def forward(self, x: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        """log p(y | x_t) in nats, `(B,)`, for classes `cond` `(B,)`; 0 where the class is -1 or None, "not known"."""
        return class_log_prob(self.logits)(x, t, cond)
