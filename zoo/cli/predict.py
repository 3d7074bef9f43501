"""`zoo predict`: labels and probabilities for images."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.output import bar, echo_json
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
    """Classify IMAGES with the model NAME."""
    classifier = load_classifier(name, checkpoint=checkpoint, device=device)
    predictions = {str(path): predict(classifier, path, top) for path in images}
    if as_json:
        echo_json(predictions)
        return
    for path, labels in predictions.items():
        click.secho(path, bold=True)
        for label, probability in labels:
            click.echo(f"  {bar(probability)} {probability:6.1%}  {label}")
