"""The same random weights give the same logits in timm or torchvision and here.

Both packages are dependencies, so no material is needed: their networks are
built with random weights and statistics, saved in their own key names, and
loaded by `load_checkpoint`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from zoo import load_checkpoint, load_searched_model
from zoo.networks.network import Network

TIMM = {
    "mobilenetv3_large_100": "mobilenetv3-large-100",
    "mobilenetv3_small_050": "mobilenetv3-small-050",
    "mobilenetv3_small_075": "mobilenetv3-small-075",
    "mobilenetv3_small_100": "mobilenetv3-small-100",
}
TORCHVISION = {
    "mobilenet_v3_large": "mobilenetv3-large-torchvision",
    "mobilenet_v3_small": "mobilenetv3-small-torchvision",
}


def randomised(network: nn.Module) -> nn.Module:
    """Give every norm statistics and weights that are no defaults; return the network."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.7, 1.6)
            nn.init.normal_(module.bias, std=0.1)
    return network.eval()


def check_parity(theirs: nn.Module, ours: Network, folder: Path, name: str) -> None:
    """Assert that both have as many parameters, and give the same logits."""
    randomised(theirs)
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())
    path = folder / "theirs.pth"
    torch.save(theirs.state_dict(), path)
    load_checkpoint(ours, path, name)
    # In float64: networks with random weights amplify what another order of sums rounds away.
    images = torch.randn(2, 3, 128, 128, dtype=torch.float64)
    with torch.inference_mode():
        expected, logits = theirs.double()(images), ours.eval().double()(images)
    assert expected.std() > 1e-3
    assert ((logits - expected).abs().max() / expected.std()).item() < 1e-9


@pytest.mark.parametrize("name", sorted(TIMM))
def test_timm(name: str, tmp_path: Path) -> None:
    """timm's MobileNetV3 networks."""
    import timm

    ours = load_searched_model(TIMM[name], pretrained=False)
    check_parity(timm.create_model(name), ours, tmp_path, "timm")


@pytest.mark.parametrize("name", sorted(TORCHVISION))
def test_torchvision(name: str, tmp_path: Path) -> None:
    """torchvision's MobileNetV3 networks."""
    import torchvision

    ours = load_searched_model(TORCHVISION[name], pretrained=False)
    check_parity(torchvision.models.get_model(name, weights=None), ours, tmp_path, "torchvision")


@pytest.mark.parametrize("num_classes", [0, 7])
def test_classifier_of_another_size(num_classes: int) -> None:
    """`reset_classifier` gives the vector, or logits, of the shape that timm gives."""
    import timm

    images = torch.randn(1, 3, 64, 64)
    theirs = timm.create_model("mobilenetv3_small_050", num_classes=num_classes).eval()
    ours = load_searched_model("mobilenetv3-small-050", pretrained=False, num_classes=num_classes)
    with torch.inference_mode():
        assert ours.eval()(images).shape == theirs(images).shape


def test_facts_agree_with_timm() -> None:
    """`num_features`, `head_hidden_size` and `feature_info` mean what they mean in timm."""
    import timm

    theirs: Any = timm.create_model("mobilenetv3_large_100")
    ours = load_searched_model("mobilenetv3-large-100", pretrained=False)
    assert ours.num_features == theirs.num_features
    assert ours.head_hidden_size == theirs.head_hidden_size
    features: Callable[..., Any] = timm.create_model("mobilenetv3_large_100", features_only=True)
    images = torch.randn(1, 3, 64, 64)
    maps = features(images)
    assert [m.shape[2] for m in ours.features_only()(images)] == [m.shape[2] for m in maps]
    reductions = [info["reduction"] for info in ours.feature_info]
    assert reductions == features.feature_info.reduction()  # pyright: ignore
