"""Open image classification data: class folders, a tar of class folders, or what timm reads.

A data set here is a sequence of (Pillow image, class index). An image that
cannot be decoded raises `DatasetError` with its file name; it is never
replaced by another one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset

from zoo.errors import DatasetError
from zoo.evaluation.images import ImageClasses
from zoo.evaluation.streams import ImageStream

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "eval", "evaluation"),
    "test": ("test",),
}


# What timm's readers of these names import.
PACKAGES = {"wds": "webdataset", "hfds": "datasets", "hfids": "datasets"}


def open_dataset(data: str | Path | Any, **options: Any) -> ImageClasses:
    """Return the images that `data` names, which can be read by index.

    The options are those of `open_images`.

    Raises:
        DatasetError: as `open_images`, or the data is a stream.
    """
    images = open_images(data, **options)
    if isinstance(images, ImageStream):
        raise DatasetError(
            f"{images.name}: streamed data has no index, and training and resuming need one. "
            "Store it as class folders or a tar."
        )
    return images


def open_images(
    data: str | Path | Any,
    *,
    split: str = "validation",
    root: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    download: bool = False,
) -> ImageClasses | ImageStream:
    """Return the images that `data` names.

    Args:
        data: A folder of class folders, an uncompressed `.tar` of class folders, a name
            timm knows such as `torch/cifar10`, `hfds/…` or `wds/…`, or a data set.
        split: "train", "validation" or "test"; picks a subfolder when there is one.
        root: Where named data sets are stored.
        class_names: Order of the classes of a folder or tar; by name otherwise.
        download: Let named data sets download themselves to `root`.

    Raises:
        DatasetError: there is no such data or split, or it has no images or classes that are
            not in `class_names`.
    """
    if isinstance(data, (ImageClasses, ImageStream)):
        return data
    if not isinstance(data, (str, Path)):
        return _wrap(data, type(data).__name__)
    path = Path(data).expanduser()
    if path.is_dir():
        return _open_folder(path, split, class_names)
    if path.is_file():
        return _open_tar(path, split, class_names)
    if isinstance(data, Path) or "/" not in data or data.startswith((".", "/", "~")):
        raise DatasetError(f"{data}: no such folder or file. Names look like torch/cifar10.")
    return _open_named(data, split, root, download)


def has_split(data: str | Path | Any, split: str) -> bool:
    """Tell whether `data` is a folder with a subfolder for a split."""
    if not isinstance(data, (str, Path)):
        return False
    return any((Path(data).expanduser() / name).is_dir() for name in SPLIT_NAMES[split])


def find_class_folders(root: Path) -> list[str]:
    """Return the names of the innermost folders, in timm's natural order; hidden ones excepted."""
    from timm.utils.misc import natural_key

    names: set[str] = set()
    for folder, inner, _files in os.walk(root, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith((".", "__MACOSX"))]
        if not inner and Path(folder) != root:
            names.add(Path(folder).name)
    return sorted(names, key=natural_key)


def find_image_suffixes() -> tuple[str, ...]:
    """Return the suffixes, in lower case, of files that are taken for images."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    return (*IMG_EXTENSIONS, ".gif")


def _open_folder(path: Path, split: str, class_names: Sequence[str] | None) -> ImageClasses:
    from timm.data.dataset_factory import create_dataset

    candidates = {child.name for child in path.iterdir() if child.is_dir()}
    chosen = _find_split(path, split, candidates)
    folder = path / chosen if chosen else path
    # An empty class folder keeps its index: timm alone would shift the classes after it.
    found = find_class_folders(folder)
    names = _order_classes(folder, found, class_names)
    try:
        class_map = {name: index for index, name in enumerate(names)}
        with _reading_all_image_suffixes():
            source = create_dataset("", root=str(folder), search_split=False, class_map=class_map)
    except RuntimeError as error:
        raise DatasetError(f"{folder}: no images in class folders. {error}") from error
    return ImageClasses(source, name=str(path), class_names=names, root=folder)


def _open_tar(path: Path, split: str, class_names: Sequence[str] | None) -> ImageClasses:
    import tarfile

    from timm.data.dataset_factory import create_dataset

    try:
        with _reading_all_image_suffixes():
            source: Any = create_dataset("", root=str(path))
        reader = source.reader
        positions = reader.class_name_to_idx
    except (OSError, AssertionError, ValueError, RuntimeError, tarfile.TarError) as error:
        raise DatasetError(
            f"{path}: expected an uncompressed .tar of class folders with images ({error})"
        ) from error
    found = sorted(positions, key=positions.get)
    names = _order_classes(path, found, class_names)
    reader.targets = np.array([names.index(name) for name in found])[reader.targets]
    images = ImageClasses(source, name=str(path), class_names=names)
    tops = [_find_top_folder(sample[0].name) for sample in reader.samples]
    chosen = _find_split(path, split, set(tops))
    return images.select([i for i, top in enumerate(tops) if top == chosen]) if chosen else images


def _open_named(
    name: str, split: str, root: str | Path | None, download: bool
) -> ImageClasses | ImageStream:
    from timm.data.dataset_factory import create_dataset

    place = str(Path(root).expanduser()) if root is not None else None
    package = PACKAGES.get(name.partition("/")[0])
    if package is not None and find_spec(package) is None:
        raise DatasetError(f"{name}: needs {package}: pip install 'searched-zoo[data]'")
    if place is None and name.startswith("torch/"):
        raise DatasetError(
            f"{name}: say where it is stored, or shall be with download=True (--download), by "
            "root (--root)"
        )
    try:
        # Without an image mode the images of streams stay as they are stored.
        source = create_dataset(name, root=place, split=split, download=download, input_img_mode="")
    except Exception as error:  # each library behind timm has errors of its own
        raise DatasetError(
            f"{name}: cannot be opened for split {split!r} with root {place!r} ({error})"
        ) from error
    return _wrap(source, name)


def _wrap(source: Any, name: str) -> ImageClasses | ImageStream:
    if isinstance(source, IterableDataset) or not hasattr(source, "__len__"):
        return ImageStream(source, name=name)
    # torchvision's ImageNet has WordNet ids beside lists of synonyms.
    names = getattr(source, "wnids", None) or getattr(source, "classes", None)
    return ImageClasses(source, name=name, class_names=names)


@contextmanager
def _reading_all_image_suffixes() -> Iterator[None]:
    """Make timm find what Pillow can read; by itself it ignores all but .png, .jpg and .jpeg."""
    from timm.data.readers import img_extensions

    before = img_extensions.get_img_extensions()
    img_extensions.set_img_extensions(find_image_suffixes())
    try:
        yield
    finally:
        img_extensions.set_img_extensions(before)


def _find_split(path: Path, split: str, folders: set[str]) -> str | None:
    """Return which of the top folders holds a split; None when they are the classes."""
    for name in SPLIT_NAMES.get(split, (split,)):
        if name in folders:
            return name
    others = [name for names in SPLIT_NAMES.values() for name in names if name in folders]
    if others:
        raise DatasetError(
            f"{path}: no folder for split {split!r}, but {', '.join(others)}. "
            "Name one of these as the split."
        )
    return None


def _find_top_folder(member: str) -> str:
    """Return the folder above the class folder of a tar member, or an empty string."""
    parts = [part for part in PurePosixPath(member).parts if part != "."]
    return parts[0] if len(parts) > 2 else ""


def _order_classes(path: Path, found: list[str], wanted: Sequence[str] | None) -> list[str]:
    if wanted is None:
        return found
    left_over = sorted(set(found) - set(wanted))
    if left_over:
        raise DatasetError(
            f"{path}: {len(left_over)} class(es) that are not among the {len(wanted)} of the "
            f"network, first {left_over[0]!r}; the network's first is {wanted[0]!r}. "
            "Rename the class folders, or do not give class_names."
        )
    return list(wanted)
