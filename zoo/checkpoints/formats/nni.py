"""NNI's hub checkpoints: blocks are flat sequences, so an index counts conv, norm, activation.

Source: microsoft/nni at 767ed7f, `nni/nas/hub/pytorch`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from zoo.checkpoints.formats.autodl import cell_places, substitute
from zoo.checkpoints.formats.autoformer import cut_nni
from zoo.checkpoints.formats.autoformer import nni_names as autoformer_names
from zoo.checkpoints.formats.cell_keys import CELL_SPACES
from zoo.checkpoints.formats.darts import nni_names as cell_names
from zoo.checkpoints.formats.darts import set_auxiliary_aside
from zoo.checkpoints.formats.format import Format
from zoo.checkpoints.formats.mobile_keys import BlockKey, gate_leaf, rename
from zoo.checkpoints.formats.nasbench_pytorch import drop_unused_projections
from zoo.checkpoints.formats.nasbench_pytorch import nni_names as nasbench101_names
from zoo.checkpoints.formats.spos import spos_names

_MODULE_OFFSETS = {"conv": 0, "bn": 1}


def _position(key: BlockKey) -> str:
    # Every part before this one is convolution, norm, activation; the gate is one module.
    before = key.parts[: key.parts.index(key.part)]
    start = sum(1 if part == "squeeze_excite" else 3 for part in before)
    if key.part == "squeeze_excite":
        return f"{start}.{gate_leaf(key)}"
    module, _, leaf = key.leaf.partition(".")
    return f"{start + _MODULE_OFFSETS[module]}.{leaf}"


def _sequence_key(prefix: str, key: str) -> str:
    module, _, leaf = key.partition(".")
    return f"{prefix}.{_MODULE_OFFSETS[module]}.{leaf}"


def _proxylessnas(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    del file_keys
    last_stage = 6  # one block deep, so NNI wraps no sequence around it; nor around the first

    def block_name(key: BlockKey) -> str:
        inside = "" if key.stage in (0, last_stage) else f".{key.index}"
        return f"blocks.{key.stage}{inside}.{_position(key)}"

    top = {
        "stem.conv": "stem.0",
        "stem.bn": "stem.1",
        "final.conv": "feature_mix_layer.0",
        "final.bn": "feature_mix_layer.1",
        "classifier": "classifier",
    }
    return rename(keys, top, block_name)


def _mobilenetv3(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    del file_keys
    last_stage = max(int(key.split(".")[1]) for key in keys if key.startswith("stages."))

    def block_name(key: BlockKey) -> str:
        if not key.part:
            return _sequence_key(f"blocks.{key.stage}", key.leaf)
        inside = "" if key.stage == 0 else f".{key.index}"
        return f"blocks.{key.stage}{inside}.{_position(key)}"

    top = {
        "stem.conv": "stem.0",
        "stem.bn": "stem.1",
        # The pooling stands between the last convolution and the hidden layer.
        "hidden.fc": f"blocks.{last_stage + 2}.0",
        "classifier": "classifier.1",
    }
    return rename(keys, top, block_name)


_NB201_TOP = ((r"^final\.0", "lastact.0"),)
_NB201_EDGES = ("0.0", "1.0", "1.1", "2.0", "2.1", "2.2")
_NB201_INSIDE = (
    *(
        (rf"^edges\.{number}\.{module}", f"layers.{place}.op.{offset + 1}")
        for number, place in enumerate(_NB201_EDGES)
        for module, offset in _MODULE_OFFSETS.items()
    ),
    (r"^(conv_[ab])\.conv", r"\1.op.1"),
    (r"^(conv_[ab])\.bn", r"\1.op.2"),
    (r"^shortcut", "downsample.1"),
)


def _nasbench201(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    del file_keys
    cells = cell_places(keys)
    return {
        key: f"cells.{cells[key][0]}.{substitute(cells[key][1], _NB201_INSIDE)}"
        if key in cells
        else substitute(key, _NB201_TOP)
        for key in keys
    }


NNI = Format(
    name="nni",
    signature=r"^blocks\.\d+(\.\d+)?\.[03]\.weight$"
    r"|^cells\.\d+\.layers\.\d\.\d\.op\.1\.weight$|^lastact\.0\.weight$"
    r"|^features\.\d+\.branch_main\.0\.weight$"
    r"|^features\.\d+\.projections\.\d+\.conv_bn_relu\.0\.weight$"
    r"|^blocks\.(blocks\.)?\d+\.attn\.q\.weight$"
    r"|^stages\.\d+\.\d+\.preprocessor\.pre1\.1\.weight$",
    names={
        **dict.fromkeys(CELL_SPACES, cell_names),
        "AutoformerSpace": autoformer_names,
        "ProxylessNAS": _proxylessnas,
        "MobileNetV3Space": _mobilenetv3,
        "NasBench101": nasbench101_names,
        "NasBench201": _nasbench201,
        "ShuffleNetSpace": spos_names,
    },
    as_linear=("hidden.fc.weight",),
    convert={
        **dict.fromkeys(CELL_SPACES, set_auxiliary_aside),
        "AutoformerSpace": cut_nni,
        "NasBench101": drop_unused_projections,
    },
)
