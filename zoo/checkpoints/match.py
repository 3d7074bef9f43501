"""Fit the tensors of a file to a network: find the format, account for every tensor."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.checkpoints.formats import FORMATS
from zoo.checkpoints.formats.format import Format
from zoo.errors import CorruptCheckpoint, InvalidArgument, KeyMismatch, UnknownFormat, suggest

# Dictionaries that training scripts put around the tensors, in the order they are looked for:
# where a file has averaged weights, those are the ones its authors evaluated.
ROOT_KEYS = ("state_dict_ema", "model_ema", "state_dict", "model_state", "model", "net")
PREFIX = "module."  # written by DataParallel
_SHOWN = 8


def unwrap(content: Any, root_key: str | None, where: str) -> Any:
    """Return the tensors inside the known wrappers, or `content` where it has none.

    Raises:
        CorruptCheckpoint: the file is no dictionary, or has no entry `root_key`.
    """
    if not isinstance(content, Mapping):
        raise CorruptCheckpoint(f"{where}: expected a dictionary, got {type(content).__name__}")
    if root_key is not None:
        if root_key not in content:
            raise CorruptCheckpoint(
                f"{where}: no entry {root_key!r}; the file has: {_listed(content)}"
            )
        content = content[root_key]
    else:
        found = [key for key in ROOT_KEYS if isinstance(content.get(key), Mapping)]
        content = content[found[0]] if found else content
    if not isinstance(content, Mapping):
        raise CorruptCheckpoint(
            f"{where}: entry {root_key!r}: expected a dictionary, got {type(content).__name__}"
        )
    if content and all(str(key).startswith(PREFIX) for key in content):
        content = {key.removeprefix(PREFIX): value for key, value in content.items()}
    return content


def find_format(
    content: Any,
    network: torch.nn.Module,
    name: str | None,
    where: str,
    preferred: Sequence[str] = (),
) -> Format:
    """Return the named format, or the one whose signature and keys fit the file.

    Of formats that fit alike, one that is `preferred` is taken: a few differ in nothing
    that keys show.

    Raises:
        InvalidArgument: no format has this name.
        UnknownFormat: no format of the network's space fits the file.
    """
    if name is not None:
        if name not in FORMATS:
            raise InvalidArgument(
                f"no checkpoint format named {name!r}.{suggest(name, FORMATS)} "
                f"Formats: {', '.join(FORMATS)}."
            )
        return FORMATS[name]
    space = getattr(network, "space", "")
    known = [entry for entry in FORMATS.values() if entry.names_for(space)]
    for entry in known:
        if entry.decode is not None and _is_nested(content):
            return entry
    fits = [entry for entry in known if _has_signature(entry, content)]
    if not fits:
        raise UnknownFormat(
            f"{where}: no known format of {space or 'this network'} fits its keys "
            f"({_listed(content)}). Known: {', '.join(entry.name for entry in known)}. "
            "Name one with format=, or see CONTRIBUTING.md, 'Add a checkpoint format'."
        )
    wanted = list(network.state_dict())

    def fitness(entry: Format) -> tuple[int, bool]:
        missing = set(_names(entry, network, wanted, content).values()) - set(content)
        return len(missing), entry.name not in preferred

    return min(fits, key=fitness)


def match_tensors(
    content: Mapping[str, Tensor], network: torch.nn.Module, entry: Format, where: str
) -> dict[str, Tensor]:
    """Return the file's tensors under the network's keys; every tensor is accounted for.

    Raises:
        KeyMismatch: one grouped list of what is missing, left over, or of another shape or type.
        CorruptCheckpoint: a weight is not finite, or a variance is negative.
    """
    matched = fit_tensors(content, network, entry, where)
    check_values(matched, where)
    return _disentangle(matched)


def fit_tensors(
    content: Mapping[str, Tensor], network: torch.nn.Module, entry: Format, where: str
) -> dict[str, Tensor]:
    """Return what `match_tensors` returns, without looking at the values.

    Raises:
        KeyMismatch: see `match_tensors`.
    """
    wanted = network.state_dict()
    convert = entry.convert_for(getattr(network, "space", ""))
    if convert is not None:
        content = convert(content, network)
    names = _names(entry, network, list(wanted), content)
    matched, missing, misshapen = {}, [], []
    for key, target in wanted.items():
        name = names.get(key, key)
        tensor = content.get(name)
        if tensor is None:
            if key.endswith("num_batches_tracked"):  # files older than PyTorch 0.4.1 lack it
                matched[key] = torch.zeros((), dtype=torch.int64)
            else:
                missing.append(name)
            continue
        if key in entry.as_linear and tensor.shape == (*target.shape, 1, 1):
            tensor = tensor.flatten(1)
        problem = _mismatch(tensor, target)
        if problem:
            misshapen.append(f"{name}: {problem}")
        else:
            matched[key] = tensor
    used = {names.get(key, key) for key in wanted}
    extra = [str(name) for name in content if name not in used]
    if missing or extra or misshapen:
        raise KeyMismatch(_describe(where, entry, network, missing, extra, misshapen))
    return matched


def _names(
    entry: Format, network: torch.nn.Module, keys: Sequence[str], file_keys: Collection[str]
) -> dict[str, str]:
    space = getattr(network, "space", "")
    names_for = entry.names_for(space)
    if names_for is None:
        raise InvalidArgument(
            f"format {entry.name!r} is not one of {space or 'this network'}; it knows "
            f"{', '.join(entry.names)}"
        )
    return names_for(keys, file_keys)


def _has_signature(entry: Format, content: Any) -> bool:
    return any(isinstance(key, str) and re.search(entry.signature, key) for key in content)


def _is_nested(content: Mapping[str, Any]) -> bool:
    return "blocks" in content and isinstance(content["blocks"], list)


def _mismatch(tensor: Any, target: Tensor) -> str | None:
    if not isinstance(tensor, Tensor):
        return f"expected a tensor, got {type(tensor).__name__}"
    if tensor.shape != target.shape:
        return f"expected {_shape(target)}, got {_shape(tensor)}"
    if tensor.dtype != target.dtype:
        return f"expected {target.dtype}, got {tensor.dtype}"
    return None


def _disentangle(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors, copied where training one would change another: tied, expanded, strided.

    Views of different parts of a mapped file stay what they are.
    """
    separate = dict(tensors)
    end = 0
    for key in sorted(tensors, key=lambda key: tensors[key].data_ptr()):
        tensor = tensors[key]
        if not tensor.is_contiguous():
            separate[key] = tensor.contiguous()
        elif tensor.data_ptr() < end:
            separate[key] = tensor.clone()
        else:
            end = tensor.data_ptr() + tensor.nbytes
    return separate


def check_values(tensors: Mapping[str, Tensor], where: str) -> None:
    """Return if all numbers are finite and no variance is negative.

    Raises:
        CorruptCheckpoint: names the first tensor that is not.
    """
    for key, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        if not torch.isfinite(tensor).all():
            raise CorruptCheckpoint(f"{where}: {key} holds NaN or infinite values")
        if key.endswith("running_var") and (tensor < 0).any():
            raise CorruptCheckpoint(f"{where}: {key} holds negative variances")


def _describe(
    where: str,
    entry: Format,
    network: torch.nn.Module,
    missing: list[str],
    extra: list[str],
    misshapen: list[str],
) -> str:
    space = getattr(network, "space", type(network).__name__)
    lines = [
        f"{where} (format {entry.name}) does not fit this {space} "
        f"network of {len(network.state_dict())} tensors:"
    ]
    groups = (
        ("missing from the file", missing),
        ("left over in the file", extra),
        ("of another shape or type", misshapen),
    )
    for title, items in groups:
        if items:
            lines.append(f"  {len(items)} {title}:")
            lines += [f"    {item}" for item in items[:_SHOWN]]
            if len(items) > _SHOWN:
                lines.append(f"    … and {len(items) - _SHOWN} more")
    only_misshapen = bool(misshapen) and not missing and not extra
    if only_misshapen and all("expected torch." in item for item in misshapen):
        lines.append(
            "  Numbers are not converted silently: convert them with `tensor.to(dtype)` and save "
            "the file again, or build the network in the file's type."
        )
    elif only_misshapen and all("classifier" in item or "fc" in item for item in misshapen):
        lines.append(
            "  Only the classifier differs: build with the file's num_classes, then reset."
        )
    else:
        lines.append(
            "  Is it a file of another architecture, or are its settings (widths) different?"
        )
    return "\n".join(lines)


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"


def _listed(keys: Iterable[Any]) -> str:
    names = [str(key) for key in keys]
    return ", ".join(names[:5]) + (f", … {len(names)} in all" if len(names) > 5 else "")
