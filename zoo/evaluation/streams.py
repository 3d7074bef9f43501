"""`ImageStream`: images that can only be read in order, such as the shards of a webdataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import IterableDataset

from zoo.errors import DatasetError


class ImageStream(IterableDataset):
    """(image, class index) pairs in the order of the source; each exactly once.

    `samples` is how many the source says it has, or None when it does not say. One process
    must read the whole stream: how a source divides itself among several is its own affair,
    and most leave images out or repeat them.
    """

    def __init__(self, source: Any, *, name: str) -> None:
        self.source = source
        self.name = name
        self.samples = _find_length(source)

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        """Yield (image, class index).

        Raises:
            DatasetError: an image cannot be decoded, or there are more or fewer than `samples`.
        """
        done = 0
        try:
            _refuse_to_skip(getattr(self.source, "reader", None))
            for image, target, *_ in self.source:
                if done == self.samples:
                    raise DatasetError(f"{self.name}: {self.samples} images expected, found more")
                if hasattr(image, "load"):
                    image.load()
                yield image, int(target)
                done += 1
        except DatasetError:
            raise
        except Exception as error:  # each library behind a stream has errors of its own
            raise DatasetError(
                f"{self.name}: reading failed after {done} images ({error}). "
                "Replace or remove what cannot be read."
            ) from error
        if self.samples is not None and done < self.samples:
            raise DatasetError(f"{self.name}: {self.samples} images expected, found {done}")


def _find_length(source: Any) -> int | None:
    try:
        return len(source) or None  # timm says 0 when it does not know
    except TypeError:
        return None


def _refuse_to_skip(reader: Any) -> None:
    """Make timm's reader of webdatasets raise; by itself it leaves out what it cannot decode."""
    if type(reader).__name__ != "ReaderWds" or reader.ds is not None:
        return
    from timm.data.readers import reader_wds

    # Its pipeline takes the handler when it is built; there is no setting for it.
    kept = reader_wds.log_and_continue
    reader_wds.log_and_continue = _raise
    try:
        reader._lazy_init()
    finally:
        reader_wds.log_and_continue = kept


def _raise(error: Exception) -> bool:
    raise error
