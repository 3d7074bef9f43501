"""`zoo hash`: what a manifest entry needs to know about a file."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.checkpoints.read import read_checkpoint, read_metadata
from zoo.cli.output import echo_json
from zoo.errors import CheckpointError
from zoo.hub.checksum import read_digests
from zoo.manifest import read_architecture_file
from zoo.registry import find_space


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def command(file: Path) -> None:
    """Print size and digests of FILE; for an architecture file, its hash with default settings."""
    digests = read_digests(file, ["sha256", "sha1", "md5", "git_blob_sha1"])
    facts: dict[str, object] = {"file": str(file), "size_bytes": file.stat().st_size, **digests}
    if file.suffix == ".json":
        architecture = read_architecture_file(file)
        space = find_space(architecture.space)()
        facts["space"] = architecture.space
        facts["architecture_hash"] = space.architecture_hash(architecture.choices)
    else:
        facts |= _metadata(file)
    echo_json(facts)


def _metadata(file: Path) -> dict[str, str]:
    try:
        read_checkpoint(file)
        return read_metadata(file)
    except CheckpointError:
        return {}
