"""pytorchcv's files of mobile networks, whose stages start where the size is halved.

Source: osmr/imgclsmob, PyPI pytorchcv 0.0.67, `pytorchcv/models/{proxylessnas,
mobilenetv3,mnasnet,spnasnet,fbnet,efficientnet}.py`. Each family has words of its own for
the parts of a block, so they are read from the keys: blocks and parts correspond in order.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from zoo.checkpoints.formats.format import Format
from zoo.checkpoints.formats.mobile_keys import BlockKey, rename

# A block is a unit of a stage, or the inner part of the first or last block of the features.
_BLOCK = re.compile(
    r"^features\.(?:stage(\d+)\.unit(\d+)(?:\.body)?|(init_block\.conv2)|(final_block\.conv1))\."
    r"(exp_conv|bc_conv|conv1|dw_conv|conv2|pw_conv|conv3|se)\."
)
# The words for convolutions in the order in which a block has them.
_ORDER = ("exp_conv", "bc_conv", "conv1", "dw_conv", "conv2", "pw_conv", "conv3")
_GATE = {"fc1": "conv1", "fc2": "conv2"}
_STEMS = ("features.init_block.conv1", "features.init_block.conv", "features.init_block")
_FINALS = ("features.final_block.conv2", "features.final_block.conv", "features.final_block")
_CLASSIFIERS = ("output.conv2", "output.fc", "output")


def _names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    blocks = _blocks_of(file_keys)
    final = _first_with(_FINALS, ".conv.weight", file_keys)
    top = {
        "stem": _first_with(_STEMS, ".conv.weight", file_keys),
        "final": final,
        "hidden.fc": "output.conv1",
        "classifier": _first_with(_CLASSIFIERS, ".weight", file_keys),
    }

    def block_name(key: BlockKey) -> str:
        if not key.part:
            return f"{final}.{key.leaf}"
        missing = (f"<{key.flat}th block>", [])
        place, words = blocks[key.flat] if key.flat < len(blocks) else missing
        if key.part == "squeeze_excite":
            module, _, leaf = key.leaf.partition(".")
            return f"{place}.se.{_GATE[module]}.{leaf}"
        position = [part for part in key.parts if part != "squeeze_excite"].index(key.part)
        word = words[position] if position < len(words) else f"<{key.part}>"
        return f"{place}.{word}.{key.leaf}"

    return rename(keys, top, block_name)


def _blocks_of(file_keys: Collection[str]) -> list[tuple[str, list[str]]]:
    """Return the prefix of each block in order, and its words for convolutions in order."""
    found: dict[tuple[int, int, int], tuple[str, set[str]]] = {}
    for match in filter(None, map(_BLOCK.match, file_keys)):
        stage, unit, first, last, word = match.groups()
        order = (0 if first else 2 if last else 1, int(stage or 0), int(unit or 0))
        prefix = match[0].removesuffix(f".{word}.")
        found.setdefault(order, (prefix, set()))[1].add(word)
    return [
        (prefix, sorted(words - {"se"}, key=_ORDER.index))
        for _, (prefix, words) in sorted(found.items())
    ]


def _first_with(prefixes: Sequence[str], leaf: str, file_keys: Collection[str]) -> str:
    return next((prefix for prefix in prefixes if prefix + leaf in file_keys), prefixes[-1])


PYTORCHCV = Format(
    name="pytorchcv",
    signature=r"^features\.(?:stage\d+\.unit\d+|init_block)\.",
    names={"ProxylessNAS": _names, "MobileNetV3Space": _names},
    # Its MobileNetV3 keeps both linear layers of the head as 1×1 convolutions.
    as_linear=("hidden.fc.weight", "classifier.weight"),
)
