"""Once-for-All's supernets: files that hold every depth, width and kernel size of a network.

Source: Once-for-All, section 3.3, https://arxiv.org/abs/1908.09791; mit-han-lab/once-for-all
at f03b267, `ofa/imagenet_classification/elastic_nn/modules/dynamic_{op,layers}.py`. A
smaller network has the first blocks of each stage and the first channels of each layer;
a smaller kernel is the middle of the next larger one times a matrix of the file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from zoo.checkpoints.formats.format import Format
from zoo.checkpoints.formats.mit import GATE, PARTS, TOP
from zoo.checkpoints.formats.mobile_keys import BlockKey, parse_block_keys, rename

_BLOCK = re.compile(r"^blocks\.(\d+)\.(mobile_inverted_conv|conv)\.")


def _names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    matches = [match for key in file_keys if (match := _BLOCK.match(key))]
    inside = matches[0][2] if matches else "conv"
    largest = max((int(match[1]) for match in matches), default=0)
    stages = max((key.stage for key in parse_block_keys(keys).values() if key.part), default=0)
    # The first stage has one block, and the others room for equally many.
    room = (largest - 1) // (stages - 1) if stages > 1 else 1

    def block_name(key: BlockKey) -> str:
        if not key.part:
            return f"final_expand_layer.{key.leaf}"
        number = 1 + (key.stage - 1) * room + key.index if key.stage else 0
        place = f"blocks.{number}.{inside}"
        module, _, leaf = key.leaf.partition(".")
        if key.part == "squeeze_excite":
            return f"{place}.depth_conv.se.fc.{GATE[module]}.{leaf}"
        # Elastic layers wrap the layer whose slices they use; not every version names it twice.
        twice = f"{place}.{PARTS[key.part]}.{module}.{module}.{leaf}"
        return twice if twice in file_keys else f"{place}.{PARTS[key.part]}.{module}.{leaf}"

    return rename(keys, TOP, block_name)


def _cut(content: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of one network; what belongs to larger ones only is left out."""
    targets = network.state_dict()
    names = _names(list(targets), content)
    cut = {key: t for key, t in content.items() if not _BLOCK.match(key)}
    for key, target in targets.items():
        name = names.get(key, key)
        if name in content and _BLOCK.match(name):
            tensor = _kernel(content, name, target) if target.ndim == 4 else content[name]
            cut[name] = tensor[tuple(slice(length) for length in target.shape)]
    return cut


def _kernel(content: Mapping[str, Tensor], name: str, target: Tensor) -> Tensor:
    weight = content[name]
    place = name.removesuffix(".weight").removesuffix(".conv").removesuffix(".conv") + ".conv"
    while weight.ndim == 4 and (size := weight.shape[-1]) > target.shape[-1]:
        matrix = content[f"{place}.{size}to{size - 2}_matrix"]
        middle = weight[..., 1:-1, 1:-1].flatten(2)
        weight = (middle @ matrix.T).unflatten(2, (size - 2, size - 2))
    return weight


OFA_SUPERNET = Format(
    name="ofa-supernet",
    signature=_BLOCK.pattern + r"depth_conv\.conv\.7to5_matrix$",
    names={"ProxylessNAS": _names, "MobileNetV3Space": _names},
    as_linear=("hidden.fc.weight",),
    convert={"ProxylessNAS": _cut, "MobileNetV3Space": _cut},
)
