"""The straight path from a name to a verified network."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import torch
from torch import Tensor, nn

from zoo.checkpoints.formats import NATIVE, NATIVE_HALF
from zoo.checkpoints.load import load_tensors, read_tensors, save_checkpoint
from zoo.errors import (
    CacheError,
    CheckpointError,
    DownloadError,
    FetchError,
    InvalidArchitecture,
    InvalidArgument,
    KeyMismatch,
    NoPretrainedWeights,
    OfflineError,
    suggest,
)
from zoo.hub import fetch
from zoo.hub.cache import Cache, cache_root
from zoo.hub.checksum import expected_digests, file_sha256
from zoo.layers.conv import adapt_input_weight
from zoo.layers.empty import EmptyParameters
from zoo.manifest import Entry, find_entry, find_records, read_architecture
from zoo.networks.network import Network, check_count
from zoo.records import Preprocessing, Weights

if TYPE_CHECKING:
    from zoo.spaces.base import SearchSpace

LOG = logging.getLogger("zoo")


def load_searched_model(
    name: str,
    space: type[SearchSpace],
    pretrained: bool = True,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_format: str | None = None,
    root_key: str | None = None,
    cache_dir: str | Path | None = None,
    offline: bool | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    **network_settings: Any,
) -> Network:
    """Return a searched model as a frozen network that carries its preprocessing.

    With weights it comes in evaluation mode, every byte and tensor checked.

    Args:
        name: A name of the manifest, or `name@tag` for another training of it.
        space: The search space the name must belong to.
        pretrained: False builds random weights and opens no file or socket.
        num_classes: Another number than published re-initialises the classifier only.
        in_chans: Another number than published adapts the first convolution's weights.
        checkpoint: A local file in any known format, instead of the published weights.
        checkpoint_format: Name of its format; None finds it from the keys.
        root_key: Entry of the file that holds the tensors; None tries the usual ones.
        cache_dir: Instead of `ZOO_HOME`.
        offline: True opens no socket; None follows `ZOO_OFFLINE` and `HF_HUB_OFFLINE`.
        network_settings: Settings of the space, such as `drop_path` or `dropout`.

    Raises:
        UnknownModel, InvalidArgument, NoPretrainedWeights, FetchError, CheckpointError:
            see `zoo.errors`; a network with random weights is never returned instead.
    """
    entry = find_entry(name, space.__name__)
    _check_arguments(pretrained, num_classes, in_chans, dtype)
    _check_device(device, needs_memory=pretrained or checkpoint is not None)
    # A local file need not be the published training; `name@tag` says that it is.
    of_training = entry.tag is not None or (pretrained and checkpoint is None)
    settings = {**(entry.settings if of_training else entry.record.settings), **network_settings}
    if not pretrained and checkpoint is None:
        wished = {"num_classes": num_classes, "in_chans": in_chans}
        settings |= {key: value for key, value in wished.items() if value is not None}
        network = _build(space, settings, entry)
    else:
        with EmptyParameters():
            network = _build(space, settings, entry)
        if checkpoint is not None:
            local = {
                "format": checkpoint_format,
                "root_key": root_key,
                "preferred": [weights.format for weights in entry.weights],
            }
            path = find_local_file(checkpoint)
            tensors = _read_local(path, network, num_classes, in_chans, local)
        else:
            cache = Cache(cache_root(Path(cache_dir) if cache_dir else None))
            tensors = _read_published(entry, network, cache, offline)
        load_tensors(network, tensors)
        network.eval()
        _adapt(network, num_classes, in_chans)
    network.preprocessing = entry.preprocessing
    if network.in_chans == 1:
        network.preprocessing = _for_grey_images(entry.preprocessing)
    if network.num_classes == _classes(entry.record.settings, space):
        network.labels = entry.record.labels
    return network.to(device=device, dtype=dtype)


def fetch_weights(
    entry: Entry, cache: Cache, offline: bool | None, *, refetch: bool = False
) -> tuple[Weights, Path]:
    """Return the first packaging of the entry's weights that can be had, and its file.

    Raises:
        NoPretrainedWeights: the record has none; names the nearest model that has.
        FetchError: no packaging could be had; each is listed with its reason.
    """
    if not entry.weights:
        raise NoPretrainedWeights(_no_weights_message(entry))
    failures: list[FetchError] = []
    for weights in entry.weights:
        try:
            path = fetch(
                weights,
                name=entry.name,
                base_dir=entry.base_dir,
                cache_dir=cache.root,
                offline=offline,
                refetch=refetch,
            )
        except FetchError as error:
            failures.append(error)
            continue
        if failures:
            LOG.warning("%s: used the %s packaging; %s", entry.name, weights.format, failures[-1])
        return weights, path
    if len(failures) == 1:
        raise failures[0]
    kind = OfflineError if all(isinstance(f, OfflineError) for f in failures) else DownloadError
    reports = [str(failure).rpartition("\n") for failure in failures]
    # The last line says what to do next, mostly the same for all packagings: once, at the end.
    advice = dict.fromkeys(line for *_, line in reports)
    raise kind("\n".join([*(what for what, *_ in reports), *advice]))


def find_local_file(checkpoint: str | Path) -> Path:
    """Return the path of a user's checkpoint.

    Raises:
        InvalidArgument: there is no such file.
    """
    path = Path(checkpoint).expanduser()
    if not path.is_file():
        raise InvalidArgument(f"checkpoint={str(path)!r}: no such file")
    return path


def _read_published(
    entry: Entry, network: Network, cache: Cache, offline: bool | None
) -> dict[str, Tensor]:
    for weights in entry.weights:
        native = cache.find_made("native", _native_key(weights, network))
        if native:
            return read_tensors(native, network, format=NATIVE.name, values_checked=True)
    weights, path = fetch_weights(entry, cache, offline)
    tensors = read_tensors(
        path,
        network,
        format=weights.format,
        root_key=weights.root_key,
        member_sha1=weights.member_sha1,
    )
    # A user's own file without a digest may change, and what was made of it would not.
    may_change = not expected_digests(weights) and not path.is_relative_to(cache.root)
    own = weights.format in (NATIVE.name, NATIVE_HALF.name)
    if own or may_change or not cache.writable():
        return tensors
    load_tensors(network, tensors)
    try:
        metadata = {"zoo.name": entry.name, "zoo.source_sha256": file_sha256(path)}
        native = cache.keep_made(
            "native",
            _native_key(weights, network),
            lambda made: save_checkpoint(network, made, metadata),
        )
    except (OSError, CacheError, CheckpointError) as error:
        LOG.warning("%s: loaded, but its native form was not kept: %s", entry.name, error)
        return tensors
    return read_tensors(native, network, format=NATIVE.name, values_checked=True)


def _native_key(weights: Weights, network: Network) -> str:
    identity = weights.sha256 or f"{weights.sources[0]} {expected_digests(weights)}"
    return f"{identity} {weights.member_sha1} {weights.root_key} {network.architecture_hash}"


def _read_local(
    path: Path,
    network: Network,
    num_classes: int | None,
    in_chans: int | None,
    how: Mapping[str, Any],
) -> dict[str, Tensor]:
    try:
        return read_tensors(path, network, **how)
    except KeyMismatch:
        # A fine-tuned file already has the classifier and the channels that were asked for.
        with EmptyParameters():
            if not _resize(network, num_classes, in_chans):
                raise
        return read_tensors(path, network, **how)


def _build(space: type[SearchSpace], settings: Mapping[str, Any], entry: Entry) -> Network:
    architecture = read_architecture(entry)
    try:
        return space.from_settings(settings).build(architecture)
    except InvalidArchitecture as error:
        file = entry.base_dir / entry.record.architecture
        raise InvalidArchitecture(f"{file}: {error}") from None


def _adapt(network: Network, num_classes: int | None, in_chans: int | None) -> None:
    if num_classes and num_classes != network.num_classes:
        LOG.warning(
            "classifier re-initialised for %d classes (published: %d); the rest keeps its weights",
            num_classes,
            network.num_classes,
        )
    _resize(network, num_classes, in_chans)


def _resize(network: Network, num_classes: int | None, in_chans: int | None) -> bool:
    """Give the network these numbers of classes and channels; return whether that changed it."""
    changed = False
    if num_classes is not None and num_classes != network.num_classes:
        network.reset_classifier(num_classes)
        changed = True
    if in_chans is not None and in_chans != network.in_chans:
        first = next(m for m in network.stem.modules() if isinstance(m, nn.Conv2d))
        first.weight = nn.Parameter(adapt_input_weight(first.weight.detach(), in_chans))
        first.in_channels = network.in_chans = in_chans
        changed = True
    return changed


def _for_grey_images(preprocessing: Preprocessing) -> Preprocessing:
    mean, std = (sum(values) / len(values) for values in (preprocessing.mean, preprocessing.std))
    return msgspec.structs.replace(preprocessing, channels="L", mean=(mean,), std=(std,))


def _check_arguments(
    pretrained: bool, num_classes: int | None, in_chans: int | None, dtype: Any
) -> None:
    if not isinstance(pretrained, bool):
        raise InvalidArgument(
            f"pretrained={pretrained!r}: expected True or False; other weights are name@tag"
        )
    if num_classes is not None:
        check_count("num_classes", num_classes, minimum=0)
    if in_chans is not None:
        check_count("in_chans", in_chans, minimum=1)
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise InvalidArgument(
            f"dtype={dtype!r}: expected a floating-point type such as torch.float16"
        )


def _check_device(device: Any, needs_memory: bool) -> None:
    if device is None:
        return
    try:
        chosen = torch.empty(0, device=device).device
    except (RuntimeError, TypeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise InvalidArgument(
            f"device={device!r}: {reason}. Use 'cpu', or a device that this PyTorch sees."
        ) from None
    if chosen.type == "meta" and needs_memory:
        raise InvalidArgument("device='meta' cannot hold weights; use pretrained=False")


def _classes(settings: Mapping[str, Any], space: type[SearchSpace]) -> int:
    return space.from_settings(settings).num_classes


def _no_weights_message(entry: Entry) -> str:
    with_weights = {name: record for name, record in find_records() if record.weights}
    of_space = {n: r for n, r in with_weights.items() if r.space == entry.record.space}
    similar = of_space or with_weights
    similar = {n: r for n, r in similar.items() if r.dataset == entry.record.dataset} or similar
    nearest = suggest(entry.name, similar) or (
        f" Models that have weights: {', '.join(sorted(similar)[:3])}." if similar else ""
    )
    # Somebody may have published them where no program can fetch them: then the notes say so.
    notes = f" Its record notes: {entry.record.notes.rstrip('.')}." if entry.record.notes else ""
    return (
        f"no weights to fetch are known for {entry.name!r}.{nearest}{notes} Use pretrained=False "
        f"for random weights, checkpoint=PATH for your own, or `zoo finetune {entry.name} DATA "
        "--from-scratch` to train it."
    )
