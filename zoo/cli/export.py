"""`zoo export`: a model as a file for other runtimes."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.output import echo_json
from zoo.errors import InvalidArgument
from zoo.optimizing.exporting import FORMATS, export
from zoo.registry import load_searched_model


@click.command()
@click.argument("name")
@click.option("--to", type=click.Choice(list(FORMATS)), default="onnx", show_default=True)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; the default is NAME with the format's suffix.",
)
@click.option("--static-batch", type=int, metavar="N", help="Take batches of N images alone.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Weights from this file.")
@click.option("--num-classes", type=int, help="Of the checkpoint, if not as published.")
@click.option("--force", is_flag=True, help="Replace the file.")
@click.option("--json", "as_json", is_flag=True, help="Print the description as JSON.")
def command(
    name: str,
    to: str,
    out: Path | None,
    static_batch: int | None,
    checkpoint: Path | None,
    num_classes: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write the model NAME for another runtime, and FILE.json with what it needs to be used.

    The file is run back and must give the model's logits before it is put in place.
    """
    out = out or Path(f"{name.partition('@')[0]}{FORMATS[to].suffix}")
    if out.exists() and not force:
        raise InvalidArgument(f"{out} exists; use --force to replace it")
    network = load_searched_model(name, checkpoint=checkpoint, num_classes=num_classes)
    exported = export(network, out, to, static_batch=static_batch)
    if as_json:
        echo_json(exported)
        return
    batch = "any batch size" if static_batch is None else f"batches of {static_batch}"
    for file, digest in exported.files.items():
        click.echo(f"{out.parent / file}: SHA-256 {digest}")
    click.echo(f"{out}.json: preprocessing, labels, proof")
    click.secho("  proved", fg="green", nl=False)
    click.echo(f" for {batch}, {exported.proof.describe()}")
