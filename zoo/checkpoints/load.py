"""Fill a network from a checkpoint file, and write a network as one."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from zoo.checkpoints.formats import FORMATS, NATIVE, NATIVE_HALF
from zoo.checkpoints.formats.native import halve
from zoo.checkpoints.match import check_values, find_format, fit_tensors, match_tensors, unwrap
from zoo.checkpoints.read import read_checkpoint
from zoo.errors import ArchitectureMismatch, CheckpointError, CorruptCheckpoint


def read_tensors(
    path: Path,
    network: nn.Module,
    *,
    format: str | None = None,
    root_key: str | None = None,
    preferred: Sequence[str] = (),
    member_sha1: str | None = None,
    values_checked: bool = False,
) -> dict[str, Tensor]:
    """Return the tensors of a file under the keys of `network`, all accounted for.

    Args:
        values_checked: The file was made from checked values and has not changed since, so
            that looking at each again would only bring all of it into memory.
        preferred: Names of formats to choose from where several fit alike.
        member_sha1: See `read_checkpoint`.

    Raises:
        CheckpointError: one of its kinds; the message names the file.
    """
    content, metadata = read_checkpoint(path, member_sha1=member_sha1)
    _check_architecture(path, network, metadata)
    content = unwrap(content, root_key, str(path))
    claimed = metadata.get("zoo.format")
    format = format or (claimed if claimed in FORMATS else None)
    entry = find_format(content, network, format, str(path), preferred)
    if entry.decode is not None:
        try:
            content = entry.decode(content)
        except CorruptCheckpoint as error:
            raise CorruptCheckpoint(f"{path}: {error}") from None
    fit = fit_tensors if values_checked else match_tensors
    return fit(content, network, entry, str(path))


def load_tensors(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Make `tensors` the parameters and buffers of `network`, without copying them."""
    network.load_state_dict(dict(tensors), strict=True, assign=True)


def load_checkpoint(
    network: nn.Module, path: str | Path, format: str | None = None, *, root_key: str | None = None
) -> nn.Module:
    """Fill `network`, named or not, from a local file in any known format; return it.

    Args:
        format: Name of the checkpoint format; None finds it from the keys.
        root_key: Entry of the file that holds the tensors; None tries the usual ones.

    Raises:
        CheckpointError: one of its kinds; `network` is then unchanged.
    """
    like = next(network.parameters())
    tensors = read_tensors(Path(path), network, format=format, root_key=root_key)
    load_tensors(network, tensors)
    return network if like.is_meta else network.to(like.device)


def save_checkpoint(
    network: nn.Module, path: Path, metadata: Mapping[str, str], *, half: bool = False
) -> None:
    """Write `network` as a native safetensors file that names its architecture.

    The file is replaced whole: a network whose tensors are views of the old one keeps them.
    Equal networks give equal bytes.

    Args:
        half: Keep the weights of convolutions and linear layers as float16, format
            "native-half"; they are float32 again once loaded.

    Raises:
        CheckpointError: the file cannot be written, or a weight is too large for float16.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    if half:
        tensors = halve(tensors)
        check_values(tensors, f"{path} in half precision")
    format = NATIVE_HALF if half else NATIVE
    own = {**native_metadata(network), "zoo.format": format.name}
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".zoo-") as folder:
            temporary = Path(folder) / "new"
            save_file(tensors, temporary, metadata={**own, **metadata})
            _sort_header(temporary)
            temporary.replace(path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error  # not the name of our temporary file
        raise CheckpointError(f"{path}: cannot be written: {reason}") from None


def _sort_header(path: Path) -> None:
    # safetensors writes the metadata in another order each time.
    with open(path, "rb+") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        padded = text.encode().ljust(length)
        assert len(padded) == length
        file.seek(8)
        file.write(padded)


def native_metadata(network: nn.Module) -> dict[str, str]:
    """Return the safetensors metadata that binds a file to its architecture."""
    return {
        "zoo.format": NATIVE.name,
        "zoo.space": getattr(network, "space", ""),
        "zoo.architecture": json.dumps(getattr(network, "architecture", {}), sort_keys=True),
        "zoo.architecture_hash": getattr(network, "architecture_hash", ""),
    }


def _claimed_choices(metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        choices = json.loads(metadata.get("zoo.architecture", "{}"))
    except (ValueError, RecursionError):
        return {}
    return choices if isinstance(choices, dict) else {}


def _check_architecture(path: Path, network: nn.Module, metadata: Mapping[str, str]) -> None:
    theirs = metadata.get("zoo.architecture_hash")
    ours = getattr(network, "architecture_hash", "")
    if not theirs or not ours or theirs == ours:
        return
    choices = _claimed_choices(metadata)
    expected: dict = getattr(network, "architecture", {})
    differing = [
        f"  {name}: file {choices.get(name)!r}, network {expected.get(name)!r}"
        for name in sorted(choices.keys() | expected.keys())
        if choices.get(name) != expected.get(name)
    ]
    raise ArchitectureMismatch(
        f"{path} holds weights of another architecture "
        f"({metadata.get('zoo.space')}, hash {theirs[:12]}…, expected {ours[:12]}…):\n"
        + ("\n".join(differing) or "  the choices agree, the settings (such as widths) differ")
    )
