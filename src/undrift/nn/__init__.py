"""Networks: `net(x, level, cond) -> Tensor like x`, and the classifier that judges what they draw."""

from undrift.nn.classifier import Classifier
from undrift.nn.embed import Conditioning, Fourier, Sinusoids
from undrift.nn.energy import Energy, energy_at
from undrift.nn.mlp import MLP
from undrift.nn.noisy_classifier import MLPClassifier, UNetClassifier
from undrift.nn.text import Reader, TextEncoder
from undrift.nn.unet import UNet

__all__ = [
    "MLP",
    "Classifier",
    "Conditioning",
    "Energy",
    "Fourier",
    "MLPClassifier",
    "Reader",
    "Sinusoids",
    "TextEncoder",
    "UNet",
    "UNetClassifier",
    "energy_at",
]
