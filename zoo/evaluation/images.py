"""`ImageClasses`: one view of any map-style data set of images with class indices."""

from __future__ import annotations

import copy
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, Dataset

from zoo.errors import DatasetError


class ImageClasses(Dataset):
    """A sequence of (image, class index) over a timm, torchvision or other map-style data set.

    `class_names` is in the order of the indices, or None when the source does
    not tell. `indices` are the positions in the source that this view shows;
    `root` is the folder the images are in, if they are in one.
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
        # timm's data sets replace an image they cannot decode by the next one; its readers do not.
        self._reader = getattr(source, "reader", None)
        self._owner = os.getpid()

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return (image, class index); the image is decoded, unless the source gives tensors.

        Raises:
            DatasetError: the image cannot be decoded.
        """
        try:
            image, target = self._read(self.indices[index])
            if hasattr(image, "load"):
                image.load()
        except (
            Exception
        ) as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error …
            raise DatasetError(
                f"{self.name}: {self.file_name(index)} cannot be decoded ({error}). "
                "Replace or remove the file."
            ) from error
        return image, int(target)

    def file_name(self, index: int) -> str:
        """Return the file name of one image, or `image <n>` when the source has no files."""
        position = self.indices[index]
        if self._reader is not None:
            return str(self._reader.filename(position))
        samples = getattr(self.source, "samples", None)
        return str(samples[position][0]) if samples is not None else f"image {position}"

    def find_targets(self) -> list[int]:
        """Return the class index of every image, without decoding where the source allows it."""
        owner = self._reader if self._reader is not None else self.source
        targets = getattr(owner, "targets", None)
        if targets is not None:
            return [int(targets[position]) for position in self.indices]
        samples = getattr(owner, "samples", None)
        if samples is not None:
            return [int(samples[position][1]) for position in self.indices]
        if hasattr(owner, "iter_targets"):  # timm's reader of hub data sets
            every = list(owner.iter_targets())
            return [int(every[position]) for position in self.indices]
        return [self[index][1] for index in range(len(self))]

    def select(self, indices: Sequence[int]) -> ImageClasses:
        """Return a view of some images, in the order given."""
        view = copy.copy(self)
        view.indices = [self.indices[index] for index in indices]
        return view

    def _read(self, position: int) -> tuple[Any, Any]:
        if self._reader is None:
            return self.source[position][:2]
        from PIL import Image

        # Forked processes share one file offset: each must open a tar file itself.
        if self._owner != os.getpid():
            self._close_tar_files()
            self._owner = os.getpid()
        file, target = self._reader[position][:2]
        image = Image.open(file)
        image.load()
        file.close()
        return image, target

    def _close_tar_files(self) -> None:
        state = getattr(self._reader, "tar_state", None)
        states = list(state.values()) if isinstance(state, dict) else [state] if state else []
        for each in states:
            each.reset()
            states.extend(each.children.values())

    def __getstate__(self) -> dict[str, Any]:
        self._close_tar_files()  # open files cannot be pickled for spawned processes
        return self.__dict__.copy()


def iterate(loader: DataLoader) -> Generator[Any, None, None]:
    """Yield the batches; a `DatasetError` of a loading process is told without its traceback.

    Closing the generator ends the loading processes.
    """
    try:
        yield from loader
    except DatasetError as error:
        raise DatasetError(str(error).rsplit("DatasetError: ", 1)[-1].strip()) from error
