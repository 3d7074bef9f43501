"""What several subcommands print: tables, counts, bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec


def echo_json(value: Any) -> None:
    """Print records, dictionaries and lists as JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def echo_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns; numbers to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    click.secho("  ".join(t.ljust(w) for t, w in zip(header, widths, strict=True)), bold=True)
    for row in rows:
        cells = [
            text.rjust(width) if _is_number(text) else text.ljust(width)
            for text, width in zip(row, widths, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def millions(count: int) -> str:
    """Return a count in millions with two decimals, `5.48 M`."""
    return f"{count / 1e6:.2f} M"


def percent(value: float | None) -> str:
    """Return `75.78 %`, or a dash for None."""
    return "–" if value is None else f"{value:.2f} %"


def bar(share: float, width: int = 24) -> str:
    """Return a bar whose filled part is `share` of `width`."""
    filled = round(share * width)
    return "█" * filled + "·" * (width - filled)


def _is_number(text: str) -> bool:
    return text[:1].isdigit() or text == "–"
