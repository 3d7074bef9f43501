"""`zoo predict`: labels and probabilities for images."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.output import bar, echo_json
from zoo.errors import DatasetError
from zoo.prediction import load_classifier, predict


@click.command()
@click.argument("name")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", default=5, show_default=True, help="Labels to show for each image.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Weights from this file.")
@click.option("--device", default=None, help="Such as cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    name: str,
    images: tuple[Path, ...],
    top: int,
    checkpoint: Path | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Classify IMAGES with the model NAME; those that are no images are named at the end."""
    classifier = load_classifier(name, checkpoint=checkpoint, device=device)
    predictions: dict[str, list[tuple[str, float]]] = {}
    unreadable: list[str] = []
    for path in images:
        try:
            labels = predictions[str(path)] = predict(classifier, path, top)
        except DatasetError as error:
            unreadable.append(str(error))
            continue
        if not as_json:
            click.secho(str(path), bold=True)
            for label, probability in labels:
                click.echo(f"  {bar(probability)} {probability:6.1%}  {label}")
    if as_json:
        echo_json(predictions)
    if unreadable:
        raise DatasetError("\n".join(unreadable))
