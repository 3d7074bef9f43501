"""`zoo convert`: a checkpoint of any known format to verified native safetensors."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.checkpoints.load import save_checkpoint
from zoo.errors import InvalidArgument
from zoo.hub.checksum import file_sha256
from zoo.registry import load_searched_model


@click.command()
@click.argument("name")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--num-classes", type=int, help="Of the file, if not as published.")
@click.option("--format", "format_name", help="Checkpoint format of SOURCE; found from its keys.")
@click.option("--root-key", help="Entry of SOURCE that holds the tensors.")
@click.option("--half", is_flag=True, help="Keep weights as float16, half the size.")
@click.option("--force", is_flag=True, help="Replace TARGET.")
def command(
    name: str,
    source: Path,
    target: Path,
    num_classes: int | None,
    format_name: str | None,
    root_key: str | None,
    half: bool,
    force: bool,
) -> None:
    """Write the checkpoint SOURCE of the architecture NAME to TARGET as native safetensors."""
    if target.exists() and not force:
        raise InvalidArgument(f"{target} exists; use --force to replace it")
    network = load_searched_model(
        name,
        checkpoint=source,
        checkpoint_format=format_name,
        root_key=root_key,
        num_classes=num_classes,
    )
    metadata = {"zoo.name": name, "zoo.source_sha256": file_sha256(source)}
    save_checkpoint(network, target, metadata, half=half)
    click.echo(f"{target}: {len(network.state_dict())} tensors, SHA-256 {file_sha256(target)}")
