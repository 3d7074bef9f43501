"""Mixed convolution: groups of channels, each with a kernel size of its own."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def make_mixed_conv(
    in_channels: int,
    out_channels: int,
    kernel_sizes: Sequence[int],
    *,
    stride: int,
    depthwise: bool,
    bias: bool,
    same_padding: bool,
) -> nn.Module:
    """Return timm's mixed convolution; `0`, `1` … are the checkpoint keys of its parts.

    Source: MixConv, https://arxiv.org/abs/1907.09595, section 3. Input and output channels
    are split alike, as evenly as possible; the first part has what is left over.

    Args:
        kernel_sizes: One for each group of channels.
        depthwise: Whether each channel is filtered by itself.
        same_padding: See `ConvNormAct`.
    """
    # Imported where it is needed: importing timm costs more than importing torch.
    from timm.layers.mixed_conv2d import MixedConv2d

    return MixedConv2d(
        in_channels,
        out_channels,
        list(kernel_sizes),
        stride=stride,
        padding="same" if same_padding else "",
        depthwise=depthwise,
        bias=bias,
    )


def find_parts(conv: nn.Module) -> list[nn.Conv2d]:
    """Return the convolutions whose outputs `conv` concatenates; none if it is something else."""
    parts = list(conv.children()) if isinstance(conv, nn.ModuleDict) else [conv]
    convolutions = [part for part in parts if isinstance(part, nn.Conv2d)]
    return convolutions if len(convolutions) == len(parts) else []
