"""`keras_ssl.networks.small_resnet`, and the initial values of Keras' dense layers, in PyTorch."""

import numpy as np
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock


def block(channels_in: int, channels: int, stride: int) -> BasicBlock:
    """A residual block; its shortcut is a normalised 1x1 convolution where shapes differ."""
    shortcut = None
    if stride > 1 or channels_in != channels:
        shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False),
            nn.BatchNorm2d(channels),
        )
    return BasicBlock(channels_in, channels, stride, shortcut)


def small_resnet(width: int) -> nn.Module:
    """Three stages of one residual block after a strided convolution."""
    encoder = nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        block(width, width, 1),
        block(width, 2 * width, 2),
        block(2 * width, 4 * width, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)
    return encoder


def read_kernels(encoder: nn.Module, path: str) -> None:
    """Gives the convolutions the kernels of a file, which Keras drew."""
    kernels = np.load(path)
    names = {"downsample.0": "shortcut_conv", "conv1": "conv1", "conv2": "conv2"}
    for name, module in encoder.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        number, _, part = name.partition(".")  # 0 is the stem, 3 to 5 are the blocks
        key = f"stage{int(number) - 2}_block1_{names[part]}" if part else "stem_conv"
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(kernels[key]).permute(3, 2, 0, 1))


def as_keras(head: nn.Module) -> nn.Module:
    """A head whose dense layers start as those of Keras do: Glorot, and biases of 0."""
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return head
