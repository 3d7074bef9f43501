"""What a manifest says, as frozen typed records; `weights_manifest.json` is a `Manifest`.

Field names are the file format. Unknown fields, wrong types and values out of
range are refused by msgspec when a record is decoded.
"""

# Without `from __future__ import annotations`: msgspec would compile each of them, and that
# takes longer than all else between a name and its record.

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

PositiveInt = Annotated[int, Meta(ge=1)]
PositiveFloat = Annotated[float, Meta(gt=0)]
Percent = Annotated[float, Meta(ge=0, le=100)]
# Python's `$` also matches before a last newline; that of JSON Schema (ECMAScript) does not.
_END = r"$(?!\n)"
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}" + _END)]
Sha256Prefix = Annotated[str, Meta(pattern="^[0-9a-f]{8}" + _END)]
Sha1 = Annotated[str, Meta(pattern="^[0-9a-f]{40}" + _END)]
Md5 = Annotated[str, Meta(pattern="^[0-9a-f]{32}" + _END)]
_URL = r"^((hf|https|http|file)://|package:)\S+"
Source = Annotated[str, Meta(pattern=_URL + _END, max_length=500)]
ModelName = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*" + _END, max_length=100)]
Date = Annotated[str, Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}" + _END)]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all records: frozen, unknown fields refused."""


class Preprocessing(Record, frozen=True, kw_only=True):
    """How an image becomes an input; a wrong field gives wrong answers without an error.

    `resize` is the length of the shorter side in pixels, before a centre crop
    of `crop` × `crop`. The longer side keeps the aspect, and becomes a whole pixel
    as `longer_side` says; a pixel more moves the crop by half a pixel.
    `value_range` is what 0 and 255 become before `mean`
    is subtracted and `std` divides; both are in the order of `channels`.
    """

    resize: PositiveInt
    crop: PositiveInt
    longer_side: Literal["truncated", "rounded"] = "truncated"
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    antialias: bool = True
    channels: Literal["RGB", "BGR", "L"] = "RGB"
    value_range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


class Accuracy(Record, frozen=True, kw_only=True):
    """An accuracy somebody else reported, and where it can be read."""

    dataset: str
    top1_percent: Percent
    top5_percent: Percent | None = None
    source: str


class Reproduction(Record, frozen=True, kw_only=True):
    """An accuracy measured with this project: `command` repeats it."""

    dataset: str
    top1_percent: Percent
    top5_percent: Percent | None = None
    samples: PositiveInt
    date: Date
    command: str


class Weights(Record, frozen=True, kw_only=True):
    """One published checkpoint file.

    `sources` all serve the same bytes and are tried in order. Entries of one
    model with the same `tag` are the same training in other packagings, tried
    in order; another `tag` is another training, asked for as `name@tag`.
    `root_key` names the dictionary inside a file that holds the tensors.
    Digests and size are those of the file as it is served; `member_sha1` is that of
    the one file inside it, where it is a zip archive.
    `settings` are added to those of the model: a training may need another epsilon
    than the architecture's code has as default. Entries of one tag agree in them.
    """

    sources: Annotated[tuple[Source, ...], Meta(min_length=1)]
    format: str
    tag: str = "default"
    sha256: Sha256 | None = None
    sha256_prefix: Sha256Prefix | None = None
    sha1: Sha1 | None = None
    md5: Md5 | None = None
    git_blob_sha1: Sha1 | None = None
    size_bytes: PositiveInt | None = None
    member_sha1: Sha1 | None = None
    root_key: str | None = None
    settings: dict[str, Any] = {}
    preprocessing: Preprocessing | None = None
    reported: tuple[Accuracy, ...] = ()
    reproduced: tuple[Reproduction, ...] = ()


class Paper(Record, frozen=True, kw_only=True):
    """Where the architecture was published."""

    title: str
    year: Annotated[int, Meta(ge=1990, le=2100)]
    url: str


class Golden(Record, frozen=True, kw_only=True):
    """Logits a loaded network must give for the synthetic input of `zoo.verification`.

    `logits` are the first values of row 0, `std` is the standard deviation of
    all logits; values agree within `tolerance` × `std`.
    """

    weights_sha256: Sha256
    logits: Annotated[tuple[float, ...], Meta(min_length=1)]
    std: PositiveFloat
    tolerance: PositiveFloat = 1e-4


class ModelRecord(Record, frozen=True, kw_only=True):
    """One searched model.

    `architecture` is a path relative to the manifest (built-in: to the package).
    `settings` are those of the space. `labels` is the list of class names in order,
    or the name of a label set.
    `parameters` counts learnable parameters; `macs` multiply-accumulates of
    one image at `preprocessing.crop`, counted as FLOPs / 2 by
    `torch.utils.flop_counter`.
    """

    space: str
    architecture: str
    settings: dict[str, Any] = {}
    dataset: str
    labels: tuple[str, ...] | str
    parameters: PositiveInt
    macs: PositiveInt
    preprocessing: Preprocessing
    reported: tuple[Accuracy, ...] = ()
    license: str
    paper: Paper
    weights: tuple[Weights, ...] = ()
    golden: tuple[Golden, ...] = ()
    notes: str = ""


class ArchitectureFile(Record, frozen=True, kw_only=True):
    """One architecture: the space it belongs to and a value for each of its choices."""

    space: str
    choices: dict[str, Any]


class Manifest(Record, frozen=True, kw_only=True):
    """A manifest file; `models` maps a name to its record."""

    schema_version: Literal[1] = 1
    models: dict[ModelName, ModelRecord]
