"""Find records: the built-in manifest, and the manifests that users add.

User manifests come from `ZOO_MANIFESTS` (paths, separated as in `PATH`) and
from `add_manifest`. They have the same schema; their names must be new.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from zoo.errors import InvalidArgument, InvalidManifest, UnknownModel, find_close, suggest
from zoo.records import ArchitectureFile, Manifest, ModelName, ModelRecord, Preprocessing, Weights

PACKAGE_ROOT = Path(__file__).resolve().parent
ENVIRONMENT_VARIABLE = "ZOO_MANIFESTS"
_SCHEMA = "The schema is printed by `zoo schema`."

_added: list[Path] = []


class Entry(NamedTuple):
    """A record, and where its relative paths start: beside a user's manifest, or in the package."""

    name: str
    record: ModelRecord
    base_dir: Path
    tag: str | None = None

    @property
    def weights(self) -> list[Weights]:
        """The packagings of the training that was asked for, in order; empty if there is none."""
        if not self.record.weights:
            return []
        tag = self.record.weights[0].tag if self.tag is None else self.tag
        return [weights for weights in self.record.weights if weights.tag == tag]

    @property
    def settings(self) -> dict[str, Any]:
        """The space's settings for the training that was asked for."""
        own = self.weights[0].settings if self.weights else {}
        return {**self.record.settings, **own}

    @property
    def preprocessing(self) -> Preprocessing:
        """What the training that was asked for expects of an image."""
        own = [weights.preprocessing for weights in self.weights if weights.preprocessing]
        return own[0] if own else self.record.preprocessing


# Records as they stand in the file, by name.
RawRecords = dict[str, msgspec.Raw]


class _Name(str):
    """A model name; of a type of its own, because for such keys msgspec calls a hook."""


class _LazyManifest(msgspec.Struct, forbid_unknown_fields=True):
    # Records stay undecoded: finding one of ten thousand must not decode the rest.
    models: dict[_Name, msgspec.Raw]
    schema_version: int = 1


def builtin_manifest() -> Path:
    """Return the path of `weights_manifest.json`: in the wheel, or at the top of a checkout."""
    packaged = PACKAGE_ROOT / "weights_manifest.json"
    return packaged if packaged.exists() else PACKAGE_ROOT.parent / "weights_manifest.json"


def add_manifest(path: str | Path) -> list[str]:
    """Make the models of a manifest file known to every call; return their names.

    Raises:
        InvalidManifest: the file is missing, breaks the schema, or repeats a known name.
    """
    resolved = Path(path).expanduser().resolve()
    manifest = read_manifest(resolved)
    for other, known in _manifests():
        if other != resolved:
            _check_names_are_new(resolved, manifest.models, other, known)
    if resolved not in _added:
        _added.append(resolved)
    return sorted(manifest.models)


def find_entry(name: str, space: str | None = None) -> Entry:
    """Return the entry of `name` or `name@tag`.

    Raises:
        InvalidArgument: `name` is not a non-empty string.
        UnknownModel: no such name, tag, or a name of another space; with suggestions.
    """
    if not isinstance(name, str) or not name.strip():
        raise InvalidArgument(f"a model name is a non-empty string, not {name!r}")
    base_name, at, tag = name.partition("@")
    found = _find_raw(base_name)
    if found is None:
        raise UnknownModel(_unknown_message(base_name, space))
    path, raw = found
    record, base_dir = _decode_record(raw, base_name, path), PACKAGE_ROOT
    if path != builtin_manifest():
        json.loads(bytes(raw), object_pairs_hook=functools.partial(_refuse_duplicates, path))
        base_dir = path.parent
    entry = Entry(base_name, record, base_dir, tag if at else None)
    _check_space(entry, space)
    if at and not entry.weights:
        tags = sorted({weights.tag for weights in entry.record.weights})
        raise UnknownModel(
            f"{base_name!r} has no weights tagged {tag!r}; it has: {', '.join(tags) or 'none'}."
        )
    return entry


def find_records() -> Iterator[tuple[str, ModelRecord]]:
    """Yield every known (name, record), built-in ones first."""
    for path, manifest in _manifests():
        for name, raw in manifest.items():
            yield name, _decode_record(raw, name, path)


def read_manifest(path: Path) -> Manifest:
    """Return a fully checked manifest.

    Raises:
        InvalidManifest: missing, not JSON, a duplicate name, an unknown field, a wrong value.
    """
    content = _read_bytes(path)
    try:
        json.loads(content, object_pairs_hook=functools.partial(_refuse_duplicates, path))
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        if not isinstance(error, InvalidManifest):
            _name_broken_record(content, path)
            error = InvalidManifest(f"{path}: {error}. {_SCHEMA}")
        raise error from None


def read_architecture(entry: Entry) -> dict[str, Any]:
    """Return the choices in the entry's architecture file; the space checks them.

    Raises:
        InvalidManifest: the file is missing, malformed, or belongs to another space.
    """
    path = entry.base_dir / entry.record.architecture
    file = read_architecture_file(path)
    if file.space != entry.record.space:
        raise InvalidManifest(
            f"{path}: the file is of space {file.space}, the record {entry.name!r} of "
            f"{entry.record.space}"
        )
    return file.choices


def read_architecture_file(path: Path) -> ArchitectureFile:
    """Return an architecture file: its space and its choices.

    Raises:
        InvalidManifest: the file is missing or malformed.
    """
    try:
        return msgspec.json.decode(_read_bytes(path), type=ArchitectureFile)
    except msgspec.DecodeError as error:
        raise InvalidManifest(f"{path}: {error}") from None


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema of a manifest file."""
    return msgspec.json.schema(Manifest)


def _manifest_paths() -> list[Path]:
    listed = os.environ.get(ENVIRONMENT_VARIABLE, "").split(os.pathsep)
    from_environment = [Path(item).expanduser().resolve() for item in listed if item]
    return list(dict.fromkeys([builtin_manifest(), *from_environment, *_added]))


def _manifests() -> Iterator[tuple[Path, RawRecords]]:
    """Yield every manifest, the built-in one first, and check that no name comes twice."""
    earlier: list[tuple[Path, RawRecords]] = []
    for path in _manifest_paths():
        manifest = _open_manifest(path)
        for other, known in earlier:
            _check_names_are_new(path, manifest, other, known)
        earlier.append((path, manifest))
        yield path, manifest


def _find_raw(name: str) -> tuple[Path, msgspec.Raw] | None:
    manifests = _manifests()
    path, builtin = next(manifests)
    if name in builtin:  # without looking at the manifests of users, which may be broken
        return path, builtin[name]
    found = [(path, other[name]) for path, other in manifests if name in other]
    return found[0] if found else None


def _open_manifest(path: Path) -> RawRecords:
    try:
        stat = path.stat()
    except OSError as error:
        raise InvalidManifest(
            f"{path}: cannot be read ({error.strerror}); it was named by {ENVIRONMENT_VARIABLE} "
            "or add_manifest"
        ) from None
    return _parse_manifest(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=64)
def _parse_manifest(path: Path, mtime_ns: int, size: int) -> RawRecords:
    del mtime_ns, size  # part of the cache key: an edited file is read again
    try:
        return _decode_names(_read_bytes(path))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidManifest(f"{path}: {error}. {_SCHEMA}") from None


def _decode_names(content: bytes) -> RawRecords:
    """Return the records of a manifest by name; names are checked, records not looked at."""
    seen: set[str] = set()

    def check(kind: type, name: str) -> Any:
        if name in seen:
            raise ValueError(f"duplicate name: {name}")
        seen.add(name)
        return kind(msgspec.convert(name, ModelName))

    manifest = msgspec.json.decode(content, type=_LazyManifest, dec_hook=check)
    return {str(name): raw for name, raw in manifest.models.items()}


def _check_names_are_new(
    path: Path, names: Mapping[str, Any], other: Path, known: RawRecords
) -> None:
    taken = sorted(known.keys() & names.keys())
    if taken:
        raise InvalidManifest(
            f"{path}: names already taken by {other}: {', '.join(taken)}. Choose others."
        )


def _name_broken_record(content: bytes, path: Path) -> None:
    """Raise InvalidManifest naming the first record that breaks the schema, if one does."""
    try:
        models = _decode_names(content)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return  # it is not a record that is broken
    for name, raw in models.items():
        _decode_record(raw, name, path)


def _decode_record(raw: msgspec.Raw, name: str, path: Path) -> ModelRecord:
    try:
        return msgspec.json.decode(raw, type=ModelRecord)
    except msgspec.DecodeError as error:
        raise InvalidManifest(f"{path}: record {name!r}: {error}. {_SCHEMA}") from None


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidManifest(f"{path}: cannot be read: {error.strerror}") from None


def _refuse_duplicates(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InvalidManifest(f"{path}: duplicate name: {', '.join(twice)}")
    return dict(pairs)


def _check_space(entry: Entry, space: str | None) -> None:
    if space is not None and entry.record.space != space:
        raise UnknownModel(
            f"{entry.name!r} is a model of {entry.record.space}, not of {space}. Use "
            f"zoo.{entry.record.space}.load_searched_model({entry.name!r})."
        )


def _unknown_message(name: str, space: str | None) -> str:
    known = {key: record.space for key, record in find_records()}
    of_space = [key for key, owner in known.items() if space in (None, owner)]
    hint = suggest(name, of_space)
    if not hint:
        elsewhere = find_close(name, known, limit=1)
        hint = "".join(f" Did you mean {key!r}, a model of {known[key]}?" for key in elsewhere)
    scope = f"{space} has" if space else "there is"
    return (
        f"{scope} no searched model named {name!r}.{hint} "
        f"`zoo list` shows all {len(of_space)} names{f' of {space}' if space else ''}."
    )
