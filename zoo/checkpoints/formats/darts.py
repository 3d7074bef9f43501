"""The DARTS family's files (also P-DARTS, PC-DARTS, SGAS, NoisyDARTS), and NNI's form of them.

Source: quark0/darts at f276dd3, `cnn/model.py`; microsoft/nni at 767ed7f,
`nni/nas/hub/pytorch/nasnet.py`. The auxiliary head of training stands in the
authors' files; it is loaded where one is attached and set aside otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from zoo.checkpoints.formats.cell_keys import CELL_SPACES, CellKey, rename_cells
from zoo.checkpoints.formats.format import Format

_TOP = {
    "stem.conv": "stem.0",
    "stem.bn": "stem.1",
    "stem.conv_1": "stem0.0",
    "stem.bn_1": "stem0.1",
    "stem.conv_2": "stem0.3",
    "stem.bn_2": "stem0.4",
    "stages.0.0.conv": "stem1.1",
    "stages.0.0.bn": "stem1.2",
    "auxiliary": "auxiliary_head",
    "classifier": "classifier",
}
_AUXILIARY = re.compile(r"auxiliary(_head)?\.(features\.\d+|classifier)\.\w+")
# NNI builds with drop path by wrapping every operator once more.
_WRAPPED = re.compile(r"^stages\.\d+\.\d+\.ops\.\d+\.\d+\.0\.(\d|conv_1)\.")


def _cell_name(key: CellKey) -> str:
    place = f"cells.{key.flat}.{key.part.replace('ops.', '_ops.')}"
    inside = key.in_sequence()
    if inside is None:
        return f"{place}.{key.module}.{key.leaf}"
    # 7×1 and 1×7 convolutions are a bare sequence there, everything else is a module with one.
    return f"{place}.{inside}" if "conv_a" in key.modules else f"{place}.op.{inside}"


def _names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    del file_keys
    return rename_cells(keys, _TOP, _cell_name)


def nni_names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    """Return NNI's key for each key of a network."""
    wrapped = any(_WRAPPED.match(key) for key in file_keys)

    def cell_name(key: CellKey) -> str:
        place = f"stages.{key.stage}.{key.index}"
        inside = key.in_sequence() or f"{key.module}.{key.leaf}"
        if key.part.startswith("preprocess"):
            return f"{place}.preprocessor.{key.part.replace('preprocess', 'pre')}.{inside}"
        if key.part.startswith("merge"):
            return f"{place}.{key.part}.{inside}"
        wrapper = ".0" if wrapped else ""
        return f"{place}.ops.{key.op // 2}.{key.op % 2}{wrapper}.{inside}"

    return rename_cells(keys, _TOP, cell_name)


def set_auxiliary_aside(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return the tensors without those of the auxiliary head, unless the network has one."""
    if getattr(network, "auxiliary", None) is not None:
        return dict(tensors)
    return {key: value for key, value in tensors.items() if not _AUXILIARY.fullmatch(str(key))}


DARTS = Format(
    name="darts",
    signature=r"^cells\.\d+\.preprocess1\.op\.1\.weight$",
    names=dict.fromkeys(CELL_SPACES, _names),
    convert=dict.fromkeys(CELL_SPACES, set_auxiliary_aside),
)
