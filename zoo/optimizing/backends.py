"""What can run a network: the file that is written for it, and what opens that file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from zoo.errors import InvalidArgument, suggest
from zoo.optimizing.extras import is_installed
from zoo.optimizing.inductor import open_inductor, write_inductor
from zoo.optimizing.onnx_graph import WRITING, open_onnxruntime, open_openvino, write_onnx
from zoo.optimizing.proof import Runner

if TYPE_CHECKING:
    from torch.export import ExportedProgram

EAGER = "eager"  # PyTorch itself: the network, folded and channels-last; there is no file


class FileKind(NamedTuple):
    """A file that stands for a network; several backends may open one kind."""

    name: str
    write: Callable[[ExportedProgram, Path], None]
    packages: tuple[str, ...] = ()


class Backend(NamedTuple):
    """A runtime, the kind of file that it opens, and the packages that it needs for that."""

    name: str
    file: FileKind
    open: Callable[[Path], Runner]
    packages: tuple[str, ...] = ()

    @property
    def all_packages(self) -> tuple[str, ...]:
        """Packages for writing the file and for opening it."""
        return (*self.file.packages, *self.packages)


ONNX = FileKind("onnx", write_onnx, WRITING)
INDUCTOR = FileKind("inductor", write_inductor)

BACKENDS = {
    "inductor": Backend("inductor", INDUCTOR, open_inductor),
    "onnxruntime": Backend("onnxruntime", ONNX, open_onnxruntime, ("onnxruntime",)),
    "openvino": Backend("openvino", ONNX, open_openvino, ("openvino",)),
}


def find_backend(name: str) -> Backend:
    """Return the backend of this name.

    Raises:
        InvalidArgument: there is none; with suggestions.
    """
    if name not in BACKENDS:
        names = ("auto", EAGER, *BACKENDS)
        raise InvalidArgument(
            f"there is no backend named {name!r}.{suggest(name, names)} "
            f"Backends: {', '.join(names)}."
        )
    return BACKENDS[name]


def installed_runtimes() -> list[Backend]:
    """Return the backends of other packages that are installed here."""
    return [b for b in BACKENDS.values() if b.packages and is_installed(b.all_packages)]
