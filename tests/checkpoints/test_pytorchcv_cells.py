"""pytorchcv's networks of cells: the keys of its public code, and its logits where it is installed.

Source of the keys: PyPI pytorchcv 0.0.74, `models/nasnet.py`, `pnasnet.py`, `darts.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.checkpoints.test_parity import randomised
from tests.checkpoints.test_parity_mobile import check_parity
from zoo import load_searched_model
from zoo.checkpoints.formats import FORMATS
from zoo.checkpoints.formats.cell_keys import parse_cell_keys

MODELS = {
    "darts-v2-imagenet@pytorchcv": "darts",
    "nasnet-a-large-cadene": "nasnet_6a4032",
    "nasnet-a-mobile@pytorchcv": "nasnet_4a1056",
    "pnasnet-5-large": "pnasnet5large",
}
# Cells of DARTS for ImageNet; the mobile NASNet has two stem cells before them.
UNITS = [f"stage{s}.unit{u}" for s, last in ((1, 4), (2, 5), (3, 5)) for u in range(1, last + 1)]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if "large" in name else [])
        for name in sorted(MODELS)
    ],
)
def test_logits(name: str, tmp_path: Path) -> None:
    """Its own network and ours give the same logits for the same random weights."""
    provider = pytest.importorskip("pytorchcv.model_provider", reason="pytorchcv is not installed")
    size = 331 if "large" in name else 224  # it pools the last map of that size only
    check_parity(provider.get_model(MODELS[name]), name, tmp_path, size)


def darts(keys: list[str]) -> Iterator[tuple[str, str]]:
    """Yield our key and pytorchcv's for the first convolution of every part of every cell."""
    for key, cell in parse_cell_keys(keys).items():
        place = f"features.{UNITS[cell.flat]}"
        if cell.part.startswith("preprocess"):
            part = f"{place}.preprocess{'_prev' if cell.part.endswith('0') else ''}"
            if cell.module in ("conv", "conv_1"):
                yield key, f"{part}.{cell.module.replace('_', '')}.weight"
        elif cell.module in ("0.depthwise", "depthwise") and cell.leaf == "weight":
            number = "conv1." if cell.module.startswith("0") else ""
            yield key, f"{place}.body.ops.{cell.op}.{number}conv.dw_conv.weight"


def nasnet(keys: list[str]) -> Iterator[tuple[str, str]]:
    """The same for the mobile NASNet."""
    stems_and_units = ["stem1_unit", "stem2_unit", *UNITS]
    for key, cell in parse_cell_keys(keys).items():
        place = f"features.{stems_and_units[cell.flat]}"
        if cell.part == "preprocess1" and cell.module == "conv":
            yield key, f"{place}.conv1x1.conv.weight"
        elif cell.part == "preprocess0" and cell.module == "conv":
            yield key, f"{place}.conv1x1_prev.conv.weight"
        elif cell.part == "preprocess0" and cell.module == "conv_2":
            yield key, f"{place}.path.path2.conv.weight"
        elif cell.module == "1.pointwise":
            side = "right" if cell.op % 2 else "left"
            yield key, f"{place}.comb{cell.op // 2}_{side}.conv2.conv.pw_conv.weight"


@pytest.mark.parametrize(
    ("name", "listed", "signature"),
    [
        ("darts-v2-imagenet@pytorchcv", darts, "features.stem2_unit.conv.weight"),
        ("nasnet-a-mobile@pytorchcv", nasnet, "features.init_block.conv.weight"),
    ],
)
def test_keys(
    name: str,
    listed: Callable[[list[str]], Iterator[tuple[str, str]]],
    signature: str,
    tmp_path: Path,
) -> None:
    """Known keys are those of the public code; a file of all loads without its format's name."""
    network = randomised(load_searched_model(name, pretrained=False))
    tensors = network.state_dict()
    expected = dict(listed(list(tensors)))
    names = FORMATS["pytorchcv-cells"].names["DARTS"](list(tensors), list(expected.values()))
    assert len(expected) >= 100
    assert {key: names[key] for key in expected} == expected
    assert signature in names.values() and len(set(names.values())) == len(tensors)
    path = tmp_path / "theirs.pth"
    torch.save({names[key]: tensor for key, tensor in tensors.items()}, path)
    loaded = load_searched_model(name, checkpoint=path).state_dict()
    assert all(torch.equal(tensor, loaded[key]) for key, tensor in tensors.items())
