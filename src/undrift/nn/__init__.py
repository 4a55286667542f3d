"""Networks: `net(x, level, cond) -> Tensor like x`, and the classifier that judges what they draw."""

from undrift.nn.embed import Conditioning, Fourier, Sinusoids
from undrift.nn.encoder_decoder import EncoderDecoder
from undrift.nn.energy import Energy, energy_at
from undrift.nn.judge import Classifier, PlainClassifier
from undrift.nn.mlp import MLP
from undrift.nn.noisy_classifier import MLPClassifier, UNetClassifier
from undrift.nn.plain_mlp import PlainMLP
from undrift.nn.refinenet import RefineNet
from undrift.nn.text import Reader, TextEncoder
from undrift.nn.unet import UNet

__all__ = [
    "MLP",
    "Classifier",
    "Conditioning",
    "EncoderDecoder",
    "Energy",
    "Fourier",
    "MLPClassifier",
    "PlainClassifier",
    "PlainMLP",
    "Reader",
    "RefineNet",
    "Sinusoids",
    "TextEncoder",
    "UNet",
    "UNetClassifier",
    "energy_at",
]
