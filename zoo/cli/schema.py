"""`zoo schema`: the JSON Schema of a manifest."""

from __future__ import annotations

import click

from zoo.cli.output import echo_json
from zoo.manifest import manifest_schema


@click.command()
def command() -> None:
    """Print the JSON Schema that manifests must satisfy."""
    echo_json(manifest_schema())
