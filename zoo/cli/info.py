"""`zoo info`: everything the manifest says about one model."""

from __future__ import annotations

import json

import click

from zoo.cli.output import echo_json, millions, percent
from zoo.hub.checksum import expected_digests
from zoo.manifest import find_entry, read_architecture
from zoo.preprocessing import describe
from zoo.records import Accuracy, Reproduction, Weights

_WIDTH = 12


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def command(name: str, as_json: bool) -> None:
    """Show everything known about the model NAME."""
    entry = find_entry(name)
    record = entry.record
    if as_json:
        echo_json(record)
        return
    click.secho(entry.name, bold=True)
    _field("space", record.space)
    _field("paper", f"{record.paper.title} ({record.paper.year}) {record.paper.url}")
    _field("dataset", record.dataset)
    _field("size", f"{millions(record.parameters)} parameters, {millions(record.macs)} MACs")
    _field("input", describe(entry.preprocessing))
    _field("licence", record.license)
    for accuracy in record.reported:
        _accuracy("reported", accuracy)
    for weights in record.weights:
        _field("weights", f"{weights.tag}, {weights.format} format, {_digest(weights)}")
        for source in weights.sources:
            _field("", source)
        for accuracy in weights.reported:
            _accuracy("reported", accuracy)
        for accuracy in weights.reproduced:
            _accuracy("reproduced", accuracy)
    if not record.weights:
        _field("weights", "none published")
    choices = read_architecture(entry)
    width = max(_WIDTH, *(len(choice) + 2 for choice in choices))
    for choice, value in choices.items():
        _field(choice, json.dumps(value), width)
    if record.notes:
        _field("notes", record.notes)


def _field(name: str, text: str, width: int = _WIDTH) -> None:
    click.secho(f"  {name:<{width}}", fg="cyan", nl=False)
    click.echo(text)


def _accuracy(kind: str, accuracy: Accuracy | Reproduction) -> None:
    top5 = "" if accuracy.top5_percent is None else f", top-5 {percent(accuracy.top5_percent)}"
    source = (
        accuracy.source
        if isinstance(accuracy, Accuracy)
        else f"{accuracy.samples} images, {accuracy.date}, `{accuracy.command}`"
    )
    _field(kind, f"{accuracy.dataset}: top-1 {percent(accuracy.top1_percent)}{top5} ({source})")


def _digest(weights: Weights) -> str:
    if weights.sha256:
        return f"SHA-256 {weights.sha256}"
    published = [f"{field} {digest}" for field, digest in expected_digests(weights).items()]
    return "; ".join([*published, "SHA-256 pinned on first use"])
