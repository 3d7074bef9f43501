"""From a name alone: which space, which facts, which transform, which network."""

from __future__ import annotations

import fnmatch
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zoo.errors import InvalidArgument, InvalidManifest, UnknownSpace, suggest
from zoo.manifest import find_entry, find_records
from zoo.records import ModelRecord

if TYPE_CHECKING:
    from timm.data.imagenet_info import ImageNetInfo

    from zoo.networks.network import Network
    from zoo.spaces.base import SearchSpace

# Space class → its module; imported when asked for.
SPACES = {
    "AmoebaNet": "zoo.spaces.amoebanet",
    "AutoformerSpace": "zoo.spaces.autoformer",
    "DARTS": "zoo.spaces.darts",
    "ENAS": "zoo.spaces.enas",
    "ENASMacro": "zoo.spaces.enas_macro",
    "MobileNetV3Space": "zoo.spaces.mobilenetv3",
    "NASNet": "zoo.spaces.nasnet",
    "NasBench101": "zoo.spaces.nasbench101",
    "NasBench201": "zoo.spaces.nasbench201",
    "PNAS": "zoo.spaces.pnas",
    "ProxylessNAS": "zoo.spaces.proxylessnas",
    "ShuffleNetSpace": "zoo.spaces.shufflenet",
}


def find_space(name: str) -> type[SearchSpace]:
    """Return the class of a search space by its name.

    Raises:
        UnknownSpace: no such space; with suggestions.
    """
    if name not in SPACES:
        raise UnknownSpace(
            f"there is no search space named {name!r}.{suggest(name, SPACES)} "
            f"Spaces: {', '.join(sorted(SPACES))}."
        )
    return getattr(importlib.import_module(SPACES[name]), name)


def load_searched_model(name: str, pretrained: bool = True, **options: Any) -> Network:
    """Return the searched model `name`, whichever space it belongs to.

    The options are those of `zoo.loading.load_searched_model`: `num_classes`, `in_chans`,
    `checkpoint`, `cache_dir`, `offline`, `device`, `dtype`, and settings of the space.

    Raises:
        ZooError: one of its kinds; a network with random weights is never returned instead.
    """
    # Imported here, so that listing models does not wait for torch.
    from zoo.loading import load_searched_model as load_of_space

    return load_of_space(name, find_space(find_entry(name).record.space), pretrained, **options)


def list_models(
    pattern: str = "*",
    *,
    space: str | None = None,
    dataset: str | None = None,
    pretrained: bool | None = None,
    max_macs: float | None = None,
    max_parameters: float | None = None,
    min_top1: float | None = None,
    license: str | None = None,
) -> list[str]:
    """Return the names that pass every filter, sorted.

    Args:
        pattern: Shell-style pattern on the name, such as `"proxyless-*"`.
        pretrained: True for models with weights, False for those without.
        max_macs, max_parameters: Counts, not millions.
        min_top1: Percent; the best reported or reproduced accuracy must reach it.

    Raises:
        UnknownSpace: `space` is no search space.
        InvalidArgument: no model is for `dataset`; with suggestions.
    """
    if space is not None:
        find_space(space)
    records = list(find_records())
    datasets = {record.dataset for _, record in records}
    if dataset is not None and dataset not in datasets:
        raise InvalidArgument(
            f"no model is for a data set named {dataset!r}.{suggest(dataset, datasets)} "
            f"Data sets: {', '.join(sorted(datasets))}."
        )
    tests: list[Callable[[str, ModelRecord], bool]] = [
        lambda name, record: fnmatch.fnmatchcase(name, pattern),
        lambda name, record: space in (None, record.space),
        lambda name, record: dataset in (None, record.dataset),
        lambda name, record: pretrained in (None, bool(record.weights)),
        lambda name, record: max_macs is None or record.macs <= max_macs,
        lambda name, record: max_parameters is None or record.parameters <= max_parameters,
        lambda name, record: min_top1 is None or best_top1(record) >= min_top1,
        lambda name, record: license in (None, record.license),
    ]
    return sorted(name for name, record in records if all(t(name, record) for t in tests))


def model_info(name: str) -> ModelRecord:
    """Return the record of a model: facts, preprocessing, reported accuracy, weights.

    Raises:
        UnknownModel: no such name; with suggestions.
    """
    return find_entry(name).record


def transform_for(name: str, train: bool = False) -> Callable[[Any], Any]:
    """Return the callable that turns a PIL image into the input this model was made for.

    Args:
        train: True adds the augmentation that fine-tuning starts from.

    Raises:
        UnknownModel: no such name; with suggestions.
    """
    from zoo.preprocessing import build_train_transform, build_transform

    build = build_train_transform if train else build_transform
    return build(find_entry(name).preprocessing)


def class_names(record: ModelRecord) -> tuple[str, ...]:
    """Return the class names in the order of the logits.

    Raises:
        InvalidManifest: the record names a set of labels that timm does not have.
    """
    return label_names(record.labels)


def label_names(labels: tuple[str, ...] | str) -> tuple[str, ...]:
    """Return the class names themselves, where `labels` may name a set of them.

    Raises:
        InvalidManifest: timm has no such set.
    """
    if not isinstance(labels, str):
        return labels
    info = _label_set(labels)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))


def class_folders(record: ModelRecord) -> tuple[str, ...]:
    """Return what class folders of this model's data are called, in the order of the logits.

    For ImageNet these are WordNet ids; otherwise the class names.

    Raises:
        InvalidManifest: the record names a set of labels that timm does not have.
    """
    if not isinstance(record.labels, str):
        return record.labels
    return tuple(_label_set(record.labels).label_names())


def _label_set(name: str) -> ImageNetInfo:
    from timm.data.imagenet_info import ImageNetInfo

    try:
        return ImageNetInfo(name)
    except AssertionError:
        raise InvalidManifest(
            f"labels: {name!r} is no set of labels that timm has, such as 'imagenet-1k'; "
            "list the class names instead"
        ) from None


def best_top1(record: ModelRecord) -> float:
    """Return the best top-1 accuracy anybody reported or we reproduced, in percent; 0 for none."""
    of_weights = [a for w in record.weights for a in (*w.reported, *w.reproduced)]
    return max((a.top1_percent for a in (*record.reported, *of_weights)), default=0.0)
