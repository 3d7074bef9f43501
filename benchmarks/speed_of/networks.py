"""Which networks are measured, and by what names others have the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import zoo
from zoo.manifest import find_entry, find_records

NETWORKS = (
    "mobilenetv3-large-100",
    "mobilenetv3-small-100",
    "proxyless-mobile",
    "nasnet-a-large",
    "darts-v2",
    "nb201-best-cifar10",
    "spos",
    "autoformer-tiny",
)

# The same layers; torchvision's norms have another epsilon.
TORCHVISION = {
    "mobilenetv3-large-100": "mobilenet_v3_large",
    "mobilenetv3-small-100": "mobilenet_v3_small",
}

# The class in `nni.nas.hub.pytorch` that has a searched model of the same name. NNI 3.0 cannot
# build its own mobilenetv3-small-100: it says that 3 is none of its choices.
NNI = {
    "mobilenetv3-large-100": "MobileNetV3Space",
    "proxyless-mobile": "ProxylessNAS",
    "darts-v2": "DARTS",
    "spos": "ShuffleNetSpace",
    "autoformer-tiny": "AutoFormer",
}


def find_timm_names() -> dict[str, str]:
    """Return every model whose published weights are timm's, with timm's name; each of timm's
    names once."""
    import timm

    found: dict[str, str] = {}
    for name, record in find_records():
        for source in (source for weights in record.weights for source in weights.sources):
            match = re.match(r"hf://timm/([^./]+)\.", source)
            if match and timm.is_model(match[1]) and match[1] not in found.values():
                found.setdefault(name, match[1])
    return found


def image_size(name: str) -> int:
    """Return the height and width of the images that a model takes."""
    return find_entry(name).preprocessing.crop


def load_random(name: str) -> nn.Module:
    """Return a network with seeded random weights, in evaluation mode."""
    torch.manual_seed(0)
    return settle(zoo.load_searched_model(name, pretrained=False), image_size(name))


def load_pair(name: str, timm_name: str, folder: Path) -> tuple[nn.Module, nn.Module]:
    """Return the zoo's network and timm's with the same random weights.

    Raises:
        AssertionError: they do not compute the same.
    """
    import timm

    torch.manual_seed(0)
    theirs = settle(timm.create_model(timm_name), image_size(name))
    torch.save(theirs.state_dict(), path := folder / f"{timm_name}.pth")
    ours = zoo.load_searched_model(name, checkpoint=path)
    path.unlink()
    images = torch.randn(1, 3, image_size(name), image_size(name))
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-3, atol=1e-3)
    return ours, theirs


def settle(network: nn.Module, size: int) -> nn.Module:
    """Give the norms the statistics of some images; evaluation mode.

    With those of a new network, activations would shrink from layer to layer to numbers so small
    that processors compute with them slowly, which no trained network does.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    kept: list[Any] = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.train()(images)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    return network.eval()


def make_images(name: str, batch_size: int) -> Tensor:
    """Return seeded random images as a model takes them."""
    size = image_size(name)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch_size, 3, size, size, generator=generator)
