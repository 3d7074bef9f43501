"""Supernet files of AutoFormer and PreNAS, and NNI's supernets and subnets of them.

Source: microsoft/Cream at 4a13c40, `AutoFormer/model/supernet_transformer.py` and
`module/qkv_super.py`; tinyvision/PreNAS at 0050c7a, `model/module/qkv_super.py`;
microsoft/nni at 767ed7f, `nni/nas/hub/pytorch/autoformer.py`.

A subnet takes the leading part of every tensor and the first layers. The rows of the
authors' `qkv.weight` are q, k, v, q, k, v, …; the bias is not interleaved in AutoFormer,
where the first 3q entries are cut in thirds, and is interleaved in PreNAS. The keys of
both are the same, so only a name tells them apart. NNI's files hold q, k and v apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from zoo.checkpoints.formats.format import Format

# How the bias of q, k, v is found in that of qkv, for q of a given width.
SplitBias = Callable[[Tensor, int], tuple[Tensor, ...]]

_TOP = {
    "stem.patches.proj": "patch_embed_super.proj",
    "stem.class_token": "cls_token",
    "stem.positions": "pos_embed",
    "final": "norm",
    "classifier": "head",
}
_NNI_TOP = {
    **_TOP,
    "stem.patches.proj": "patch_embed",
    "stem.class_token": "cls_token.cls_token",
    "stem.positions": "pos_embed.pos_embed",
}
_LAYER = {
    "norm1": "attn_layer_norm",
    "norm2": "ffn_layer_norm",
    "mlp.fc1": "fc1",
    "mlp.fc2": "fc2",
    "attention.relative_keys.vertical": "attn.rel_pos_embed_k.embeddings_table_v",
    "attention.relative_keys.horizontal": "attn.rel_pos_embed_k.embeddings_table_h",
    "attention.relative_values.vertical": "attn.rel_pos_embed_v.embeddings_table_v",
    "attention.relative_values.horizontal": "attn.rel_pos_embed_v.embeddings_table_h",
    "attention": "attn",
}
# Dimensions that no architecture chooses: a file must have them as the network does.
_WHOLE = (
    (re.compile(r"classifier\."), (0,)),
    (re.compile(r"stem\.patches\.proj\.weight"), (1, 2, 3)),
    (re.compile(r"stem\.(class_token|positions)"), (0, 1)),
    (re.compile(r".*\.(vertical|horizontal)"), (0, 1)),
)
_NNI_SUPERNET = re.compile(r"blocks\.(blocks\.\d+\..+)")


def authors_names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    """Return the authors' key for each key of a network, q, k and v taken apart."""
    del file_keys
    return _names(tuple(keys), False)


def nni_names(keys: Sequence[str], file_keys: Collection[str]) -> dict[str, str]:
    """Return NNI's key for each key of a network."""
    del file_keys
    return _names(tuple(keys), True)


@lru_cache(maxsize=32)  # a supernet is cut thousands of times, and only the depth changes keys
def _names(keys: tuple[str, ...], nni: bool) -> dict[str, str]:
    top = _NNI_TOP if nni else _TOP
    renamed = {}
    for key in keys:
        table, place, rest = top, "", key
        if key.startswith("stages."):
            _, number, rest = key.split(".", 2)
            table, place = _LAYER, f"blocks.{number}."
        prefix = max((p for p in table if f"{rest}.".startswith(f"{p}.")), key=len)
        renamed[key] = f"{place}{table[prefix]}{rest.removeprefix(prefix)}"
    return renamed


def plain_thirds(bias: Tensor, width: int) -> tuple[Tensor, ...]:
    """Return AutoFormer's biases: the first 3 · width entries in three parts."""
    return tuple(bias[part * width : (part + 1) * width] for part in range(3))


def every_third(bias: Tensor, width: int) -> tuple[Tensor, ...]:
    """Return PreNAS' biases: every third entry of the first 3 · width."""
    return tuple(bias[part : 3 * width : 3] for part in range(3))


def _cut_authors(
    split_bias: SplitBias, content: Mapping[str, Tensor], network: nn.Module
) -> dict[str, Tensor]:
    shapes = _shapes_by_file_key(network, authors_names)
    apart: dict[str, Tensor] = {}
    for key, tensor in content.items():
        place, found, leaf = key.partition(".attn.qkv.")
        query = shapes.get(f"{place}.attn.q.{leaf}")
        if not found or query is None or not isinstance(tensor, Tensor):
            apart[key] = tensor
            continue
        width = query[0][0]
        parts = (
            split_bias(tensor, width)
            if leaf == "bias"
            else tuple(tensor[part : 3 * width : 3] for part in range(3))
        )
        apart |= {f"{place}.attn.{name}.{leaf}": p for name, p in zip("qkv", parts, strict=True)}
    return _cut(apart, shapes)


def cut_nni(content: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return a subnet of NNI's supernet file, or the tensors as they are for a subnet's file."""
    inside = {key: match[1] for key in content if (match := _NNI_SUPERNET.fullmatch(key))}
    if not inside:
        return dict(content)
    renamed = {inside.get(key, key): tensor for key, tensor in content.items()}
    return _cut(renamed, _shapes_by_file_key(network, nni_names))


def _shapes_by_file_key(
    network: nn.Module, names: Callable[[Sequence[str], Collection[str]], dict[str, str]]
) -> dict[str, tuple[torch.Size, tuple[int, ...]]]:
    """Return for every key of the file the shape wanted and the dimensions left whole."""
    wanted = network.state_dict()
    return {
        name: (wanted[key].shape, _whole_dimensions(key))
        for key, name in names(list(wanted), ()).items()
    }


@lru_cache(maxsize=1024)
def _whole_dimensions(key: str) -> tuple[int, ...]:
    return next((dimensions for pattern, dimensions in _WHOLE if pattern.match(key)), ())


def _cut(
    content: Mapping[str, Tensor], shapes: Mapping[str, tuple[torch.Size, tuple[int, ...]]]
) -> dict[str, Tensor]:
    depth = 1 + max(int(key.split(".")[1]) for key in shapes if key.startswith("blocks."))
    cut = {}
    for key, tensor in content.items():
        layer = re.match(r"blocks\.(\d+)\.", key)
        if layer and int(layer[1]) >= depth:
            continue  # a layer that a shallower network leaves out
        if key in shapes and isinstance(tensor, Tensor):
            shape, whole = shapes[key]
            tensor = leading_part(tensor, shape, whole)
        cut[key] = tensor
    return cut


def leading_part(tensor: Tensor, shape: Sequence[int], whole: Sequence[int] = ()) -> Tensor:
    """Return the view of the first entries along every dimension that is not left `whole`.

    A tensor that is too small comes back too small: the comparison of shapes reports it.
    """
    if tensor.dim() != len(shape):
        return tensor
    for dim, length in enumerate(shape):
        if dim not in whole and tensor.shape[dim] > length:
            tensor = tensor.narrow(dim, 0, length)
    return tensor


_SIGNATURE = r"^blocks\.\d+\.attn\.qkv\.weight$"

AUTOFORMER = Format(
    name="autoformer",
    signature=_SIGNATURE,
    names={"AutoformerSpace": authors_names},
    convert={"AutoformerSpace": partial(_cut_authors, plain_thirds)},
)

PRENAS = Format(
    name="prenas",
    signature=_SIGNATURE,
    names={"AutoformerSpace": authors_names},
    convert={"AutoformerSpace": partial(_cut_authors, every_third)},
)
