"""Open image classification data: class folders, a tar of class folders, or what timm reads.

A data set here is a sequence of (Pillow image, class index). An image that
cannot be decoded raises `DatasetError` with its file name; it is never
replaced by another one.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset, IterableDataset

from zoo.errors import DatasetError

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "eval", "evaluation"),
    "test": ("test",),
}


class ImageClasses(Dataset):
    """A sequence of (image, class index) over a timm, torchvision or other map-style data set.

    `class_names` is in the order of the indices, or None when the source does
    not tell. `indices` are the positions in the source that this view shows.
    """

    def __init__(
        self,
        source: Any,
        *,
        name: str,
        class_names: Sequence[str] | None = None,
        root: Path | None = None,
    ) -> None:
        self.source = source
        self.name = name
        self.root = root
        self.class_names = tuple(class_names) if class_names is not None else None
        self.indices: Sequence[int] = range(len(source))
        self._reader = getattr(source, "reader", None)
        self._owner = os.getpid()

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return (image, class index); the image is decoded, unless the source gives tensors.

        Raises:
            DatasetError: the image cannot be decoded.
        """
        position = self.indices[index]
        if self._reader is None:
            image, target = self.source[position][:2]
            return image, int(target)
        self._reopen_after_fork()
        try:
            file, target = self._reader[position]
            with file:
                image = Image.open(file)
                image.load()
        except (
            Exception
        ) as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error …
            raise DatasetError(
                f"{self.name}: {self.file_name(index)} cannot be decoded ({error}). Replace or "
                "remove the file; `zoo evaluate --check` lists every such file."
            ) from error
        return image, int(target)

    def file_name(self, index: int) -> str:
        """Return the file name of one image, or `image <n>` when the source has no files."""
        position = self.indices[index]
        if self._reader is None:
            return f"image {position}"
        return str(self._reader.filename(position))

    def find_targets(self) -> list[int]:
        """Return the class index of every image, without decoding where the source allows it."""
        for owner in (self._reader, self.source):
            targets = getattr(owner, "targets", None)
            if targets is not None:
                return [int(targets[position]) for position in self.indices]
        samples = getattr(self._reader or self.source, "samples", None)
        if samples is not None:
            return [int(samples[position][1]) for position in self.indices]
        return [self[index][1] for index in range(len(self))]

    def select(self, indices: Sequence[int]) -> ImageClasses:
        """Return a view of some images, in the order given."""
        view = copy.copy(self)
        view.indices = [self.indices[index] for index in indices]
        return view

    def __getstate__(self) -> dict[str, Any]:
        self._close_tar_files()
        return self.__dict__.copy()

    def _reopen_after_fork(self) -> None:
        # Forked processes share one file offset: each must open a tar file itself.
        if self._owner != os.getpid():
            self._close_tar_files()
            self._owner = os.getpid()

    def _close_tar_files(self) -> None:
        state = getattr(self._reader, "tar_state", None)
        states = list(state.values()) if isinstance(state, dict) else [state] if state else []
        for each in states:
            each.reset()
            states.extend(each.children.values())


def open_dataset(
    data: str | Path | Any,
    *,
    split: str = "validation",
    root: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    download: bool = False,
) -> ImageClasses:
    """Return the images that `data` names.

    Args:
        data: A folder of class folders, a `.tar` of class folders, a name timm
            knows such as `torch/cifar10` or `hfds/…`, or a map-style data set.
        split: "train", "validation" or "test"; picks a subfolder when there is one.
        root: Where named data sets are stored.
        class_names: Order of the classes of a folder or tar; by name otherwise.
        download: Let named data sets download themselves to `root`.

    Raises:
        DatasetError: there is no such data, it has no images, or it cannot be read by index.
    """
    if isinstance(data, ImageClasses):
        return data
    if not isinstance(data, (str, Path)):
        return _wrap(data, type(data).__name__)
    path = Path(data).expanduser()
    if path.is_dir():
        return _open_folder(path, split, class_names)
    if path.suffix.lower() == ".tar" or path.is_file():
        return _open_tar(path, class_names)
    if isinstance(data, Path) or "/" not in data or data.startswith((".", "/", "~")):
        raise DatasetError(f"{data}: no such folder or file. Names look like torch/cifar10.")
    return _open_named(data, split, root, download)


def _open_folder(path: Path, split: str, class_names: Sequence[str] | None) -> ImageClasses:
    import timm.data

    folder = _find_split(path, split)
    # An empty class folder keeps its index: timm alone would shift the classes after it.
    names = class_names or find_class_folders(folder)
    try:
        source = timm.data.create_dataset(
            "", root=str(folder), search_split=False, class_map={n: i for i, n in enumerate(names)}
        )
    except RuntimeError as error:
        raise DatasetError(f"{folder}: no images in class folders. {error}") from error
    return ImageClasses(source, name=str(path), class_names=names, root=folder)


def _open_tar(path: Path, class_names: Sequence[str] | None) -> ImageClasses:
    import tarfile

    import timm.data

    class_map = {name: i for i, name in enumerate(class_names)} if class_names else None
    try:
        source = timm.data.create_dataset("", root=str(path), class_map=class_map)
    except (OSError, AssertionError, ValueError, tarfile.TarError) as error:
        raise DatasetError(
            f"{path}: expected an uncompressed .tar of class folders with images ({error})"
        ) from error
    names = source.reader.class_name_to_idx
    return ImageClasses(source, name=str(path), class_names=sorted(names, key=names.get))


def _open_named(name: str, split: str, root: str | Path | None, download: bool) -> ImageClasses:
    import timm.data

    place = str(Path(root).expanduser()) if root is not None else None
    try:
        source = timm.data.create_dataset(name, root=place, split=split, download=download)
    except Exception as error:  # each library behind timm has errors of its own
        raise DatasetError(
            f"{name}: cannot be opened for split {split!r} with root {place!r} ({error})"
        ) from error
    return _wrap(source, name)


def _wrap(source: Any, name: str) -> ImageClasses:
    if isinstance(source, IterableDataset) or not hasattr(source, "__len__"):
        raise DatasetError(
            f"{name}: streamed data has no index, and exact counts and resuming need one. "
            "Store it as class folders or a tar."
        )
    classes = getattr(source, "classes", None)
    return ImageClasses(source, name=name, class_names=classes)


def _find_split(path: Path, split: str) -> Path:
    """Return the subfolder for a split, or `path` itself when it holds the classes."""
    for name in SPLIT_NAMES.get(split, (split,)):
        if (path / name).is_dir():
            return path / name
    others = [n for names in SPLIT_NAMES.values() for n in names if (path / n).is_dir()]
    if others:
        raise DatasetError(
            f"{path}: no folder for split {split!r}, but {', '.join(others)}. "
            "Give one of these as the data, or as the split."
        )
    return path


def find_class_folders(root: Path) -> list[str]:
    """Return the names of the innermost folders, in timm's natural order; hidden ones excepted."""
    from timm.utils.misc import natural_key

    names: set[str] = set()
    for folder, inner, _files in os.walk(root, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith((".", "__MACOSX"))]
        if not inner and Path(folder) != root:
            names.add(os.path.basename(folder))
    return sorted(names, key=natural_key)
