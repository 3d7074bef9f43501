"""`SearchSpace`: settings, declared choices, and everything that follows from them.

A space object is its settings. `choices()` declares what an architecture must
decide; an architecture is a dictionary with one JSON value per choice.
"Frozen" means that no choice is left in a built network; its parameters stay
trainable.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from random import Random
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from zoo.diagram import Diagram, Table
from zoo.errors import InvalidArchitecture, InvalidArgument, suggest
from zoo.loading import load_searched_model
from zoo.manifest import find_records
from zoo.networks.network import Network
from zoo.spaces.choices import Choice

Architecture = dict[str, Any]

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


class SearchSpace(msgspec.Struct, frozen=True, kw_only=True, dict=True, forbid_unknown_fields=True):
    """Base of all search spaces; subclasses add settings, `choices` and `build_network`.

    Raises:
        InvalidArgument: a setting has the wrong type or is out of range.
    """

    num_classes: Annotated[int, Meta(ge=0, le=1_000_000)] = 1000
    in_chans: Annotated[int, Meta(ge=1, le=4096)] = 3

    # Settings that leave the body of a given architecture as it is, such as the range it was
    # chosen from; `architecture_hash` passes over them. Subclasses add theirs.
    adaptable: ClassVar[frozenset[str]] = frozenset(
        {"num_classes", "in_chans", "dropout", "drop_path"}
    )

    def __post_init__(self) -> None:
        for field in _fields(type(self)):
            value = getattr(self, field.name)
            try:
                checked = msgspec.convert(value, field.type, strict=True)
            except msgspec.ValidationError as error:
                raise InvalidArgument(
                    f"{type(self).__name__}: setting {field.name}={value!r}: {error}"
                ) from None
            if not _is_finite(checked):
                raise InvalidArgument(
                    f"{type(self).__name__}: setting {field.name}={value!r}: not a finite number"
                )
            msgspec.structs.force_setattr(self, field.name, checked)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> SearchSpace:
        """Return the space with these settings; an unknown name gets a suggestion.

        Raises:
            InvalidArgument: a setting is unknown, of the wrong type or out of range.
        """
        known = [field.name for field in _fields(cls)]
        for name in settings:
            if name not in known:
                raise InvalidArgument(
                    f"{cls.__name__} has no setting {name!r}.{suggest(name, known)}"
                    f" Settings: {', '.join(sorted(known))}."
                )
        return cls(**settings)

    def choices(self) -> dict[str, Choice]:
        """Return what an architecture of this space must decide, by name."""
        raise NotImplementedError

    def build_network(self, architecture: Architecture) -> Network:
        """Return the network of a checked architecture; callers use `build`."""
        raise NotImplementedError

    def size(self) -> int:
        """Return the exact number of architectures."""
        product = 1
        for choice in self._choices.values():
            product *= choice.size()
        return product

    def sample(self, rng: Random) -> Architecture:
        """Return an architecture with every choice drawn independently.

        Raises:
            InvalidArgument: `rng` is no `random.Random`.
        """
        _check_rng(rng)
        return {name: choice.sample(rng) for name, choice in self._choices.items()}

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Yield every architecture that differs in exactly one decision."""
        self.check(architecture)
        for name, choice in self._choices.items():
            for value in choice.neighbours(architecture[name]):
                yield {**architecture, name: value}

    def mutate(self, architecture: Architecture, rng: Random) -> Architecture:
        """Return a copy in which one decision of one uniformly drawn choice differs.

        Raises:
            InvalidArchitecture: see `check`.
            InvalidArgument: `rng` is no `random.Random`, or there is nothing to choose.
        """
        self.check(architecture)
        _check_rng(rng)
        if not self._open_choices:
            raise InvalidArgument(f"{type(self).__name__} with these settings has one architecture")
        name = rng.choice(self._open_choices)
        values = list(self._choices[name].neighbours(architecture[name]))
        return {**architecture, name: rng.choice(values)}

    def check(self, architecture: Architecture) -> None:
        """Return if every choice has a legal value and nothing else is there.

        Raises:
            InvalidArchitecture: names every missing, undeclared and illegal choice.
        """
        choices = self._choices
        if not isinstance(architecture, dict):
            raise InvalidArchitecture(
                f"{type(self).__name__}: an architecture is a dictionary of choices, "
                f"not {type(architecture).__name__}"
            )
        problems = []
        if architecture.keys() != choices.keys():
            problems = [f"missing choice {name!r}" for name in choices if name not in architecture]
            problems += [
                f"undeclared choice {name!r}.{suggest(name, choices)}"
                for name in architecture
                if name not in choices
            ]
        for name, choice in choices.items():
            problem = choice.problem(architecture[name]) if name in architecture else None
            if problem:
                problems.append(f"illegal choice {name!r}: {problem}")
        if problems:
            raise InvalidArchitecture(
                f"{type(self).__name__}: {len(problems)} problem(s):\n  "
                + "\n  ".join(sorted(problems))
            )

    def build(self, architecture: Architecture) -> Network:
        """Return the frozen network: a plain module without a choice, parameters trainable.

        Raises:
            InvalidArchitecture: see `check`.
        """
        self.check(architecture)
        network = self.build_network(architecture)
        network.space = type(self).__name__
        network.architecture = copy.deepcopy(architecture)
        network.architecture_hash = self.architecture_hash(architecture)
        return network

    def encode(self, architecture: Architecture) -> str:
        """Return the canonical JSON of an architecture: sorted keys, no spaces."""
        self.check(architecture)
        return _canonical_json(architecture)

    def decode(self, text: str) -> Architecture:
        """Return the architecture that `encode` wrote, or that the field's notation spells.

        Raises:
            InvalidArchitecture: the text is neither, or spells an illegal architecture.
        """
        architecture = self.read_notation(text)
        if architecture is None:
            try:
                architecture = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise InvalidArchitecture(
                    f"{type(self).__name__}: cannot decode {text[:80]!r}: neither JSON ({error}) "
                    "nor a notation that this space reads"
                ) from None
        self.check(architecture)
        return architecture

    def read_notation(self, text: str) -> Architecture | None:
        """Return the architecture if `text` is in the field's notation, else None."""
        return None

    def from_nni(self, architecture: Mapping[str, Any]) -> Architecture:
        """Return the architecture that NNI exported under its own labels.

        Raises:
            InvalidArchitecture: a label is missing, unknown or has an illegal value.
        """
        raise NotImplementedError

    def diagram(self, architecture: Architecture) -> Diagram:
        """Return what the architecture looks like; a table of its choices where nothing better."""
        self.check(architecture)
        rows = tuple((name, _canonical_json(value)) for name, value in architecture.items())
        return [Table(type(self).__name__, ("choice", "value"), rows)]

    def architecture_hash(self, architecture: Architecture) -> str:
        """Return 64 hex digits that name this network body on every machine and version.

        Covers the space, the choices, and the settings that shape the body and
        differ from their defaults; not the number of classes or input channels, nor
        what else there was to choose.
        """
        self.check(architecture)
        settings = _unusual_fields(self, passed_over=self.adaptable)
        body = {"space": type(self).__name__, "settings": settings, "choices": architecture}
        return hashlib.sha256(_canonical_json(body).encode()).hexdigest()

    @functools.cached_property
    def _choices(self) -> dict[str, Choice]:
        # Declared once per space object: a search asks for the choices thousands of times.
        return self.choices()

    @functools.cached_property
    def _open_choices(self) -> list[str]:
        return [name for name, choice in self._choices.items() if choice.size() > 1]

    @classmethod
    def load_searched_model(cls, name: str, pretrained: bool = True, **options: Any) -> Network:
        """Return the searched model `name` of this space; see `zoo.load_searched_model`."""
        return load_searched_model(name, cls, pretrained, **options)

    @classmethod
    def searched_models(cls) -> list[str]:
        """Return the names of all known searched models of this space, sorted."""
        return sorted(name for name, record in find_records() if record.space == cls.__name__)


@functools.cache
def _fields(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    # msgspec compiles the annotations of a class each time it is asked for its fields.
    return msgspec.structs.fields(kind)


def _check_rng(rng: Random) -> None:
    # numpy's generators have methods of the same names, which draw values that JSON does not know.
    if not isinstance(rng, Random):
        raise InvalidArgument(
            f"rng: expected a random.Random, got {type(rng).__name__}; "
            "random.Random(seed) makes one"
        )


def _is_finite(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _unusual_fields(record: msgspec.Struct, passed_over: frozenset[str]) -> dict[str, Any]:
    # Only what differs from the default, so that a new setting leaves old hashes alone.
    fields = {}
    for field in _fields(type(record)):
        value = getattr(record, field.name)
        if field.name in passed_over or value == field.default:
            continue
        fields[field.name] = (
            _unusual_fields(value, frozenset()) if isinstance(value, msgspec.Struct) else value
        )
    return fields


def _canonical_json(value: Any) -> str:
    return _ENCODER.encode(_plain(value))


def _plain(value: Any) -> Any:
    # 1 and 1.0 are the same choice and must be the same text.
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
