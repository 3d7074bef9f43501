"""`zoo.export`: a network as a file for other runtimes, proved by running it back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import torch
from torch import Tensor, nn

from zoo import __version__
from zoo.errors import InvalidArgument, suggest
from zoo.evaluation.state import find_network_digest
from zoo.hub.checksum import file_sha256
from zoo.optimizing.artefacts import find_versions
from zoo.optimizing.capture import capture
from zoo.optimizing.extras import check_installed
from zoo.optimizing.folding import fold_batch_norm
from zoo.optimizing.onnx_graph import (
    INPUT,
    OUTPUT,
    WRITING,
    open_onnxruntime,
    open_openvino,
    write_onnx,
)
from zoo.optimizing.proof import (
    TOLERANCE,
    Proof,
    Runner,
    check_place,
    fit_images,
    make_example,
    prove,
)
from zoo.records import Preprocessing, Record
from zoo.registry import label_names

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class Exported(Record, frozen=True, kw_only=True):
    """What a file holds and how it was proved; written beside it as JSON.

    `shape` is that of the input (batch, channels, height, width); a batch of None is of any size.
    `files` maps names to SHA-256. `network_sha256` is that of the modules and tensors that the
    file was made from; norms are folded in the file.
    """

    format: str
    input: str
    output: str
    shape: tuple[int | None, ...]
    num_classes: int
    labels: tuple[str, ...]
    preprocessing: Preprocessing | None
    space: str
    architecture: dict[str, Any]
    network_sha256: str
    files: dict[str, str]
    proof: Proof
    versions: dict[str, str]


class ExportFormat(NamedTuple):
    """A format: its suffix, how it is written and run back, and the packages for both."""

    suffix: str
    write: Callable[[ExportedProgram, Path], None]
    open: Callable[[Path], Runner]
    packages: tuple[str, ...] = ()


def write_openvino(program: ExportedProgram, path: Path) -> None:
    """Write a captured network as OpenVINO's pair of `path` (.xml) and weights (.bin)."""
    import openvino  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as folder:
        write_onnx(program, source := Path(folder) / "network.onnx")
        openvino.save_model(openvino.Core().read_model(source), path, compress_to_fp16=False)


def write_program(program: ExportedProgram, path: Path) -> None:
    """Write a captured network in torch's own format."""
    torch.export.save(program, path)


def open_program(path: Path) -> Runner:
    """Return the run of a network in torch's own format."""
    return torch.export.load(path).module()


FORMATS = {
    "onnx": ExportFormat(".onnx", write_onnx, open_onnxruntime, (*WRITING, "onnxruntime")),
    "openvino": ExportFormat(".xml", write_openvino, open_openvino, (*WRITING, "openvino")),
    "torch-export": ExportFormat(".pt2", write_program, open_program),
}


def export(
    network: nn.Module,
    path: str | Path,
    to: str = "onnx",
    *,
    example: Tensor | None = None,
    static_batch: int | None = None,
    tolerance: float = TOLERANCE,
) -> Exported:
    """Write a network to `path` and its description to `path`.json, and return the description.

    The files are put in place only after what was written gave the network's logits.

    Args:
        to: "onnx", "torch-export" or "openvino".
        example: A batch of images as the network takes them; None makes some from its
            preprocessing. Their height and width become those of the file.
        static_batch: The only batch size that the file will take; None for any.
        tolerance: Largest difference of a logit, in standard deviations of the logits.

    Raises:
        InvalidArgument: the format, the path or the batch size is none that can be used.
        OptimizationError: a package is missing, or the network cannot be captured.
        VerificationError: the file does not predict like the network.
    """
    path = Path(path)
    kind = find_format(to)
    if path.suffix != kind.suffix:
        raise InvalidArgument(f"{path}: expected a name ending in {kind.suffix} for {to!r}")
    if static_batch is not None and static_batch < 1:
        raise InvalidArgument(f"static_batch={static_batch}: expected at least 1")
    check_installed(f"export to {to!r}", kind.packages)
    images = fit_images(network, make_example(network) if example is None else example)
    check_place(images, f"export to {to!r}")
    if static_batch is not None:
        images = images.repeat(-(-static_batch // len(images)), 1, 1, 1)[:static_batch]
    program = capture(fold_batch_norm(network), images, static_batch=static_batch is not None)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".zoo-") as folder:
            written = Path(folder) / path.name
            kind.write(program, written)
            proof = prove(
                network,
                kind.open(written),
                images,
                f"{path.name} ({to})",
                tolerance=tolerance,
                static_batch=static_batch is not None,
            )
            files = sorted(file for file in Path(folder).iterdir())
            described = _describe(network, to, images, static_batch, files, proof)
            sidecar = Path(folder) / f"{path.name}.json"
            sidecar.write_bytes(msgspec.json.format(msgspec.json.encode(described), indent=2))
            for file in (*files, sidecar):
                file.replace(path.parent / file.name)
    except OSError as error:
        raise InvalidArgument(f"{path}: cannot be written: {error}") from None
    return described


def find_format(name: str) -> ExportFormat:
    """Return the format of this name.

    Raises:
        InvalidArgument: there is none; with suggestions.
    """
    if name not in FORMATS:
        raise InvalidArgument(
            f"there is no export format named {name!r}.{suggest(name, FORMATS)} "
            f"Formats: {', '.join(FORMATS)}."
        )
    return FORMATS[name]


def _describe(
    network: nn.Module,
    to: str,
    images: Tensor,
    static_batch: int | None,
    files: list[Path],
    proof: Proof,
) -> Exported:
    return Exported(
        format=to,
        input=INPUT,
        output=OUTPUT,
        shape=(static_batch, *images.shape[1:]),
        num_classes=getattr(network, "num_classes", 0),
        labels=label_names(getattr(network, "labels", ())),
        preprocessing=getattr(network, "preprocessing", None),
        space=getattr(network, "space", ""),
        architecture=getattr(network, "architecture", {}),
        network_sha256=find_network_digest(network),
        files={file.name: file_sha256(file) for file in files},
        proof=proof,
        versions={**find_versions(FORMATS[to].packages), "searched-zoo": __version__},
    )
