"""Every error the zoo raises on purpose.

    ZooError
    ├── UnknownModel              no record has this name
    ├── UnknownSpace              no search space has this name
    ├── InvalidArgument           an argument of a public call is out of range
    ├── InvalidArchitecture       a choice is missing, undeclared or illegal
    ├── InvalidManifest           a manifest or a record breaks the schema
    ├── NoPretrainedWeights       no weights to fetch are known for this model
    ├── FetchError                bytes did not arrive, or may not be asked for
    │   ├── DownloadError         every source failed; each has its own reason
    │   ├── OfflineError          the network is switched off and the cache has no copy
    │   └── ChecksumMismatch      bytes arrived and are not the published ones
    ├── CacheError                the cache directory cannot be used
    ├── CheckpointError           a checkpoint file cannot be used
    │   ├── CorruptCheckpoint     the file is damaged or is something else
    │   ├── UnsafeCheckpoint      reading the file would execute code
    │   ├── UnknownFormat         no key table fits the file
    │   ├── KeyMismatch           tensors are missing, left over or of another shape
    │   └── ArchitectureMismatch  the file belongs to another architecture
    ├── VerificationError         a network does not compute what its record says
    ├── OptimizationError         a network cannot be brought into a faster form here
    ├── DatasetError              a data set cannot be used as asked
    └── TrainingError             training cannot start, go on or resume

Messages say what, where, expected, got and what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """Base class of everything the zoo raises on purpose."""


class UnknownModel(ZooError, LookupError):
    """No record has this name."""


class UnknownSpace(ZooError, LookupError):
    """No search space has this name."""


class InvalidArgument(ZooError, ValueError):
    """An argument of a public call is out of range or of the wrong type."""


class InvalidArchitecture(ZooError, ValueError):
    """A choice is missing, undeclared or illegal."""


class InvalidManifest(ZooError, ValueError):
    """A manifest, a record or an architecture file breaks the schema."""


class NoPretrainedWeights(ZooError):
    """No weights to fetch are known for this model."""


class FetchError(ZooError):
    """Bytes did not arrive, or may not be asked for."""


class DownloadError(FetchError):
    """Every source failed; the message gives each its own reason."""


class OfflineError(FetchError):
    """The network is switched off and the cache has no copy."""


class ChecksumMismatch(FetchError):
    """Bytes arrived and are not the published ones; they were deleted."""


class CacheError(ZooError):
    """The cache directory cannot be used."""


class CheckpointError(ZooError):
    """A checkpoint file cannot be used."""


class CorruptCheckpoint(CheckpointError):
    """The file is damaged, or is not a checkpoint at all."""


class UnsafeCheckpoint(CheckpointError):
    """Reading the file would execute code."""


class UnknownFormat(CheckpointError):
    """No key table fits the file."""


class KeyMismatch(CheckpointError):
    """Tensors are missing, left over or of another shape."""


class ArchitectureMismatch(CheckpointError):
    """The file belongs to another architecture."""


class VerificationError(ZooError):
    """A network does not compute what its record says."""


class OptimizationError(ZooError):
    """A network cannot be brought into a faster form: a package is missing, or it has none."""


class DatasetError(ZooError):
    """A data set cannot be used as asked."""


class TrainingError(ZooError):
    """Training cannot start, go on or resume."""


def suggest(name: object, known: Iterable[str], limit: int = 3) -> str:
    """Return `" Did you mean 'a', 'b'?"` for names close to `name`, or an empty string."""
    close = find_close(name, known, limit)
    return f" Did you mean {', '.join(map(repr, close))}?" if close else ""


def find_close(name: object, known: Iterable[str], limit: int = 3) -> list[str]:
    """Return names close to `name`, nearest first; case and kind of separator do not count."""
    by_folded = {_folded(candidate): candidate for candidate in known}
    close = difflib.get_close_matches(_folded(str(name)), by_folded, n=limit, cutoff=0.6)
    return [by_folded[match] for match in close]


def _folded(name: str) -> str:
    return name.lower().replace("_", "-").replace(" ", "-")
