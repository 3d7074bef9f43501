"""`torch.hub.load` from a local clone."""

from __future__ import annotations

import runpy
from pathlib import Path

import torch

import zoo

CLONE = str(Path(__file__).parents[2])


def test_hub_lists_and_loads_by_name() -> None:
    names = runpy.run_path(f"{CLONE}/hubconf.py")
    assert {"nb201_resnet_like_mini", "proxyless_mobile", "proxyless_w0_3"} <= names.keys()
    net = torch.hub.load(CLONE, "nb201_resnet_like_mini", source="local", num_classes=4)
    ours = zoo.load_searched_model("nb201-resnet-like-mini")
    assert net.num_classes == 4
    assert torch.equal(net.stem[0].weight, ours.stem[0].weight)
