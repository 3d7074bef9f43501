"""`zoo draw`: an architecture as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.drawing import write_dot, write_svg
from zoo.errors import InvalidArgument
from zoo.manifest import find_entry, read_architecture
from zoo.registry import find_space

_WRITERS = {".svg": write_svg, ".dot": write_dot}


@click.command()
@click.argument("name")
@click.option(
    "--to", "target", type=click.Path(dir_okay=False, path_type=Path), help="FILE.svg or FILE.dot."
)
def command(name: str, target: Path | None) -> None:
    """Draw the cells or stages of the model NAME; the default file is NAME.svg."""
    target = target or Path(f"{name}.svg")
    if target.suffix not in _WRITERS:
        raise InvalidArgument(f"--to {target}: expected a file name ending in .svg or .dot")
    entry = find_entry(name)
    space = find_space(entry.record.space).from_settings(entry.record.settings)
    diagram = space.diagram(read_architecture(entry))
    try:
        target.write_text(_WRITERS[target.suffix](diagram), "utf-8")
    except OSError as error:
        raise InvalidArgument(f"--to {target}: cannot be written: {error.strerror}") from None
    click.echo(f"{target}: {entry.name}, {entry.record.space}")
