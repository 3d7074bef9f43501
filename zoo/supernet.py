"""Supernets: trained weights that many architectures are slices of."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn

from zoo.checkpoints.formats.format import Format
from zoo.checkpoints.match import check_values, find_format, fit_tensors, unwrap
from zoo.checkpoints.read import read_checkpoint
from zoo.hub.cache import Cache, cache_root
from zoo.layers.empty import EmptyParameters
from zoo.loading import fetch_weights, find_local_file
from zoo.manifest import find_entry, read_architecture
from zoo.networks.network import Network
from zoo.records import Preprocessing

if TYPE_CHECKING:
    from zoo.spaces.base import SearchSpace


LOG = logging.getLogger("zoo")


class Sampled(NamedTuple):
    """An architecture that was drawn, and its network."""

    architecture: dict[str, Any]
    network: Network


class Supernet:
    """A file's tensors, and the rule by which an architecture is cut out of them.

    The rule is the `convert` function of the checkpoint format, so a subnet is the same
    network whether it is cut here or loaded by name from the supernet's file. Tensors
    that are slices stay views: a thousand subnets need hardly more memory than one, and
    training one in place would change the supernet. `copy.deepcopy(subnet)` owns its weights.

    Args:
        space: Every architecture of it must fit the tensors.
        tensors: As the file names them.
        format: Which format that is.
        where: What messages call the file.
    """

    def __init__(
        self,
        space: SearchSpace,
        tensors: Mapping[str, Tensor],
        format: Format,
        *,
        where: str = "supernet",
        preprocessing: Preprocessing | None = None,
        labels: tuple[str, ...] | str = (),
    ) -> None:
        self.space = space
        self.tensors = tensors
        self.format = format
        self.where = where
        self.preprocessing = preprocessing
        self.labels = labels

    def subnet(self, architecture: dict[str, Any]) -> Network:
        """Return the frozen network of an architecture with its slice of the weights.

        It is in evaluation mode; its parameters share the supernet's memory.

        Raises:
            InvalidArchitecture: the space does not contain it.
            KeyMismatch: the tensors are too small for it.
        """
        with EmptyParameters():
            network = self.space.build(architecture)
        _assign(network, fit_tensors(self.tensors, network, self.format, self.where))
        network.preprocessing = self.preprocessing
        network.labels = self.labels
        return network.eval()

    def sample(self, rng: Random) -> Sampled:
        """Return an architecture drawn by the space, and its network."""
        architecture = self.space.sample(rng)
        return Sampled(architecture, self.subnet(architecture))


def _assign(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    # What load_state_dict(assign=True) does; its checks, a third of a subnet's time, are done.
    modules = dict(network.named_modules())
    buffers = {name for name, _ in network.named_buffers()}
    for key, tensor in tensors.items():
        prefix, _, name = key.rpartition(".")
        if key in buffers:
            modules[prefix].register_buffer(name, tensor)
        else:
            modules[prefix].register_parameter(name, nn.Parameter(tensor))


def read_supernet(
    path: Path,
    space: SearchSpace,
    architecture: dict[str, Any],
    *,
    format: str | None = None,
    root_key: str | None = None,
    preferred: tuple[str, ...] = (),
    **facts: Any,
) -> Supernet:
    """Return the supernet in a local file, checked by cutting `architecture` out of it.

    Args:
        format: Name of the checkpoint format; None finds it from the keys.
        root_key: Entry of the file that holds the tensors; None tries the usual ones.
        preferred: Names of formats to choose from where several fit alike.
        facts: `preprocessing` and `labels` of the networks to be cut.

    Raises:
        CheckpointError: one of its kinds; the message names the file.
    """
    content = unwrap(read_checkpoint(path).content, root_key, str(path))
    with EmptyParameters():
        network = space.build(architecture)
    entry = find_format(content, network, format, str(path), preferred)
    tensors = entry.decode(content) if entry.decode is not None else content
    fit_tensors(tensors, network, entry, str(path))
    check_values({key: t for key, t in tensors.items() if isinstance(t, Tensor)}, str(path))
    return Supernet(space, tensors, entry, where=str(path), **facts)


def load_supernet(
    name: str,
    space: type[SearchSpace],
    *,
    checkpoint: str | Path | None = None,
    checkpoint_format: str | None = None,
    root_key: str | None = None,
    cache_dir: str | Path | None = None,
    offline: bool | None = None,
    **settings: Any,
) -> Supernet:
    """Return the supernet that a model of the manifest is cut from.

    Args:
        name: A name of the manifest whose weights are a supernet's file.
        space: The search space the name must belong to.
        checkpoint: A local file in any known format, instead of the published weights.
        checkpoint_format, root_key: See `read_supernet`.
        cache_dir: Instead of `ZOO_HOME`.
        offline: True opens no socket; None follows `ZOO_OFFLINE` and `HF_HUB_OFFLINE`.
        settings: Settings of the space, such as `drop_path` or `dropout`.

    Raises:
        UnknownModel, InvalidArgument, NoPretrainedWeights, FetchError, CheckpointError:
            see `zoo.errors`.
    """
    entry = find_entry(name, space.__name__)
    built = space.from_settings({**entry.record.settings, **settings})
    if checkpoint is not None:
        path = find_local_file(checkpoint)
    else:
        cache = Cache(cache_root(Path(cache_dir) if cache_dir else None))
        weights, path = fetch_weights(entry, cache, offline)
        checkpoint_format, root_key = weights.format, weights.root_key
    return read_supernet(
        path,
        built,
        read_architecture(entry),
        format=checkpoint_format,
        root_key=root_key,
        preferred=tuple(weights.format for weights in entry.weights),
        preprocessing=entry.preprocessing,
        labels=entry.record.labels,
    )


def load_once_for_all(name: str, space: type[SearchSpace], **options: Any) -> Supernet:
    """Return a Once-for-All supernet, which every architecture of its space is cut from.

    A subnet's BatchNorm statistics are not its own: measure them with
    `zoo.networks.batch_norm.recalibrate` before using it.

    Args:
        name: A model whose weights are a supernet, such as `ofa-supernet-mbv3-w1.0`.
        options: `checkpoint`, `cache_dir`, `offline`; see `load_supernet`.

    Raises:
        UnknownModel, FetchError, CheckpointError: see `zoo.errors`.
    """
    supernet = load_supernet(name, space, **options)
    LOG.warning(
        "%s: BatchNorm statistics of a subnet are not its own; "
        "call zoo.networks.batch_norm.recalibrate(subnet, batches) before using it",
        name,
    )
    return supernet
