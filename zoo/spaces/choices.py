"""The kinds of choice a search space declares.

A choice knows its options; `size`, `sample`, `mutate`, `neighbours` and
`problem` follow from them. Values are JSON values and part of a file format.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import Any, Protocol

import msgspec

from zoo.errors import InvalidArgument


class Choice(Protocol):
    """What `SearchSpace` asks of every kind of choice."""

    def size(self) -> int: ...
    def sample(self, rng: Random) -> Any: ...
    def neighbours(self, value: Any) -> Iterator[Any]: ...
    def problem(self, value: Any) -> str | None: ...


class OneOf(msgspec.Struct, frozen=True):
    """Exactly one of `options`."""

    options: tuple[Any, ...]

    def __post_init__(self) -> None:
        _check_options("options", self.options)

    def size(self) -> int:
        return len(self.options)

    def sample(self, rng: Random) -> Any:
        return rng.choice(self.options)

    def neighbours(self, value: Any) -> Iterator[Any]:
        """Yield every other option."""
        return (option for option in self.options if option != value)

    def problem(self, value: Any) -> str | None:
        """Return why `value` is illegal, or None."""
        if _is_option(value, self.options):
            return None
        return f"{value!r} is not one of {', '.join(map(repr, self.options))}"


class Stage(msgspec.Struct, frozen=True):
    """A list of blocks, each one of `options`; its length, one of `depths`, is the depth."""

    options: tuple[str, ...]
    depths: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_options("options", self.options)
        _check_options("depths", self.depths)

    def size(self) -> int:
        return sum(len(self.options) ** depth for depth in self.depths)

    def sample(self, rng: Random) -> list[str]:
        """Draw the depth uniformly, then every block uniformly."""
        return [rng.choice(self.options) for _ in range(rng.choice(self.depths))]

    def neighbours(self, value: list[str]) -> Iterator[list[str]]:
        """Yield lists with one block replaced, the last block dropped, or one appended."""
        for position, block in enumerate(value):
            for option in self.options:
                if option != block:
                    yield [*value[:position], option, *value[position + 1 :]]
        if len(value) - 1 in self.depths:
            yield value[:-1]
        if len(value) + 1 in self.depths:
            for option in self.options:
                yield [*value, option]

    def problem(self, value: Any) -> str | None:
        """Return why `value` is illegal, or None."""
        if not isinstance(value, list):
            return f"{value!r} is not a list of blocks"
        if len(value) not in self.depths:
            return f"depth {len(value)} is not one of {', '.join(map(str, self.depths))}"
        for position, block in enumerate(value):
            if not _is_option(block, self.options):
                return f"block {position}: {block!r} is not one of {', '.join(self.options)}"
        return None


def _check_options(what: str, values: tuple[Any, ...]) -> None:
    repeated = [value for index, value in enumerate(values) if value in values[:index]]
    if repeated or not values:
        raise InvalidArgument(
            f"the {what} of a choice: expected at least one, each once, "
            f"got {', '.join(map(repr, repeated)) + ' again' if repeated else 'none'}"
        )


class Subset(msgspec.Struct, frozen=True):
    """A sorted list of some of `options`, at least `least` of them."""

    options: tuple[int, ...]
    least: int = 0

    def size(self) -> int:
        count = len(self.options)
        return sum(math.comb(count, taken) for taken in range(self.least, count + 1))

    def sample(self, rng: Random) -> list[int]:
        """Draw uniformly from all legal subsets."""
        while True:
            drawn = [option for option in self.options if rng.random() < 0.5]
            if len(drawn) >= self.least:
                return drawn

    def neighbours(self, value: list[int]) -> Iterator[list[int]]:
        """Yield lists with one option more or one less."""
        for option in self.options:
            if option not in value:
                yield sorted([*value, option])
            elif len(value) > self.least:
                yield [kept for kept in value if kept != option]

    def problem(self, value: Any) -> str | None:
        """Return why `value` is illegal, or None."""
        if not isinstance(value, list):
            return f"{value!r} is not a list"
        for item in value:
            if not _is_option(item, self.options):
                return f"{item!r} is not one of {', '.join(map(str, self.options))}"
        if value != sorted(set(value)):
            return f"{value!r} is not sorted without repetition"
        if len(value) < self.least:
            return f"{value!r} has fewer than {self.least} entries"
        return None


class Flags(msgspec.Struct, frozen=True):
    """A text of `length` zeros and ones, such as `"0110"`."""

    length: int

    def size(self) -> int:
        return 2**self.length

    def sample(self, rng: Random) -> str:
        return "".join(rng.choice("01") for _ in range(self.length))

    def neighbours(self, value: str) -> Iterator[str]:
        """Yield texts with one digit changed."""
        for position, digit in enumerate(value):
            yield value[:position] + ("1" if digit == "0" else "0") + value[position + 1 :]

    def problem(self, value: Any) -> str | None:
        """Return why `value` is illegal, or None."""
        if isinstance(value, str) and len(value) == self.length and set(value) <= {"0", "1"}:
            return None
        return f"{value!r} is not a text of {self.length} zeros and ones"


def _is_option(value: Any, options: tuple[Any, ...]) -> bool:
    # 1 == 1.0 == True in Python; an architecture file that says one for the other is wrong.
    return value in options and _kind(value) is _kind(options[options.index(value)])


def _kind(value: Any) -> type:
    return float if type(value) is int else type(value)
