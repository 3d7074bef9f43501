"""The straight path from a name to a verified network."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.checkpoints.formats import NATIVE
from zoo.checkpoints.load import load_tensors, read_tensors, save_checkpoint
from zoo.errors import (
    DownloadError,
    FetchError,
    InvalidArgument,
    KeyMismatch,
    NoPretrainedWeights,
    OfflineError,
    suggest,
)
from zoo.hub import fetch
from zoo.hub.cache import Cache, cache_root
from zoo.hub.checksum import file_sha256
from zoo.manifest import Entry, asset_dir, find_entry, find_records, read_architecture
from zoo.networks.empty import EmptyParameters
from zoo.networks.network import Network, check_count
from zoo.records import Weights

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
        cache_dir: Instead of `ZOO_HOME`.
        offline: True opens no socket; None follows `ZOO_OFFLINE` and `HF_HUB_OFFLINE`.
        network_settings: Settings of the space, such as `drop_path` or `dropout`.

    Raises:
        UnknownModel, InvalidArgument, NoPretrainedWeights, FetchError, CheckpointError:
            see `zoo.errors`; a network with random weights is never returned instead.
    """
    entry = find_entry(name, space.__name__)
    _check_arguments(num_classes, in_chans, device, pretrained or checkpoint is not None)
    settings = {**entry.record.settings, **network_settings}
    if not pretrained and checkpoint is None:
        settings |= {k: v for k, v in (("num_classes", num_classes), ("in_chans", in_chans)) if v}
        network = _build(space, settings, entry)
    else:
        with EmptyParameters():
            network = _build(space, settings, entry)
        if checkpoint is not None:
            tensors = _read_local(Path(checkpoint).expanduser(), network, num_classes)
        else:
            cache = Cache(cache_root(Path(cache_dir) if cache_dir else None))
            tensors = _read_published(entry, network, cache, offline)
        load_tensors(network, tensors)
        network.eval()
    _adapt(network, num_classes, in_chans)
    weights = entry.weights
    network.preprocessing = (weights and weights[0].preprocessing) or entry.record.preprocessing
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
                base_dir=asset_dir(entry),
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
    raise kind("\n".join(map(str, failures)))


def _read_published(
    entry: Entry, network: Network, cache: Cache, offline: bool | None
) -> dict[str, Tensor]:
    for weights in entry.weights:
        native = _find_native(weights, network, cache)
        if native:
            return read_tensors(native, network, format=NATIVE.name)
    weights, path = fetch_weights(entry, cache, offline)
    tensors = read_tensors(path, network, format=weights.format, root_key=weights.root_key)
    if weights.format == NATIVE.name or not cache.writable():
        return tensors
    load_tensors(network, tensors)
    native = _keep_native(entry, weights, path, network, cache)
    return read_tensors(native, network, format=NATIVE.name)


def _find_native(weights: Weights, network: Network, cache: Cache) -> Path | None:
    digest = cache.read_ref("native", _native_key(weights, network))
    return cache.find(digest) if digest else None


def _keep_native(
    entry: Entry, weights: Weights, source: Path, network: Network, cache: Cache
) -> Path:
    """Return the verified native form of a foreign file, kept in the cache for later loads."""
    cache.partials.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.partials) as folder:
        temporary = Path(folder) / "native"
        metadata = {"zoo.name": entry.name, "zoo.source_sha256": file_sha256(source)}
        save_checkpoint(network, temporary, metadata)
        digest = file_sha256(temporary)
        path = cache.add(temporary, digest)
    cache.write_ref("native", _native_key(weights, network), digest)
    return path


def _native_key(weights: Weights, network: Network) -> str:
    identity = weights.sha256 or " ".join(
        filter(None, (weights.sources[0], weights.sha256_prefix, weights.sha1, weights.md5))
    )
    return f"{identity} {weights.root_key} {network.architecture_hash}"


def _read_local(path: Path, network: Network, num_classes: int | None) -> dict[str, Tensor]:
    if not path.is_file():
        raise InvalidArgument(f"checkpoint={str(path)!r}: no such file")
    try:
        return read_tensors(path, network)
    except KeyMismatch:
        if num_classes in (None, network.num_classes):
            raise
        # A fine-tuned file already has the classifier that was asked for.
        with EmptyParameters():
            network.reset_classifier(num_classes)
        return read_tensors(path, network)


def _build(space: type[SearchSpace], settings: Mapping[str, Any], entry: Entry) -> Network:
    return space.from_settings(settings).build(read_architecture(entry))


def _adapt(network: Network, num_classes: int | None, in_chans: int | None) -> None:
    if num_classes is not None and num_classes != network.num_classes:
        LOG.warning(
            "classifier re-initialised for %d classes (published: %d); the rest keeps its weights",
            num_classes,
            network.num_classes,
        )
        network.reset_classifier(num_classes)
    if in_chans is not None and in_chans != network.in_chans:
        from timm.models._manipulate import adapt_input_conv

        first = next(m for m in network.stem.modules() if isinstance(m, nn.Conv2d))
        first.weight = nn.Parameter(adapt_input_conv(in_chans, first.weight.detach()))
        first.in_channels = network.in_chans = in_chans


def _check_arguments(
    num_classes: int | None, in_chans: int | None, device: Any, needs_memory: bool
) -> None:
    if num_classes is not None:
        check_count("num_classes", num_classes, minimum=0)
    if in_chans is not None:
        check_count("in_chans", in_chans, minimum=1)
    if device is None:
        return
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InvalidArgument(f"device={device!r}: {error}") from None
    if chosen.type == "meta" and needs_memory:
        raise InvalidArgument("device='meta' cannot hold weights; use pretrained=False")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise InvalidArgument(f"device={device!r}: this PyTorch sees no CUDA device; use 'cpu'")


def _classes(settings: Mapping[str, Any], space: type[SearchSpace]) -> int:
    return space.from_settings(settings).num_classes


def _no_weights_message(entry: Entry) -> str:
    with_weights = {
        name: record
        for name, record in find_records()
        if record.weights and record.space == entry.record.space
    }
    same_data = [n for n, r in with_weights.items() if r.dataset == entry.record.dataset]
    nearest = suggest(entry.name, same_data or with_weights) or (
        f" Models of {entry.record.space} that have weights: {', '.join(sorted(with_weights)[:3])}."
        if with_weights
        else ""
    )
    return (
        f"nobody has published weights for {entry.name!r}.{nearest} Use pretrained=False for "
        f"random weights, checkpoint=PATH for your own, or `zoo finetune {entry.name} DATA "
        "--from-scratch` to train it."
    )
