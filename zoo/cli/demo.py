"""`zoo demo`: the straight path, on the model that comes with the package."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from zoo.cli.output import bar, millions, percent
from zoo.cli.scenes import draw_scenes, write_picture
from zoo.hub.cache import Cache, cache_root
from zoo.hub.checksum import file_sha256
from zoo.loading import fetch_weights
from zoo.manifest import find_entry
from zoo.prediction import load_classifier, predict
from zoo.spaces.nasbench201 import NasBench201
from zoo.verification import check_golden

EMBEDDED = "nb201-resnet-like-mini"


@click.command()
def command() -> None:
    """Load the embedded model, verify it, and let it look at three drawings. Needs no network."""
    entry = find_entry(EMBEDDED)
    record = entry.record
    started = time.perf_counter()
    weights, path = fetch_weights(entry, Cache(cache_root()), None)
    digest = file_sha256(path)
    classifier = load_classifier(EMBEDDED)
    network = classifier.network
    probe = {"in_chans": network.in_chans, "size": entry.preprocessing.crop}
    deviation = check_golden(network, record.golden[0], **probe, name=EMBEDDED)
    milliseconds = 1000 * (time.perf_counter() - started)

    space = NasBench201()
    click.secho(EMBEDDED, bold=True, nl=False)
    click.echo(f", one of {space.size():,} architectures of {record.space}")
    _step("cell", space.write_notation(network.architecture))
    _step("cost", f"{millions(record.parameters)} parameters, {millions(record.macs)} MACs")
    _step("bytes", f"{path.stat().st_size:,}, SHA-256 {digest[:16]}… as recorded")
    _step("tensors", f"{len(network.state_dict())}, all accounted for")
    _step("logits", f"within {deviation:.0e} of their deviation ({milliseconds:.0f} ms in all)")
    for accuracy in weights.reproduced:
        _step("accuracy", f"{percent(accuracy.top1_percent)} top-1 on {accuracy.dataset}")
    click.echo("\nWhat it sees in three drawings made by this command:\n")
    for title, picture in draw_scenes():
        _show(title, picture, predict(classifier, picture, top=3))
    click.echo("Next: `zoo list`, `zoo info proxyless-mobile`, `zoo predict NAME IMAGE`.")


def _step(name: str, text: str) -> None:
    click.secho("  ✓ ", fg="green", nl=False)
    click.echo(f"{name:<9}{text}")


def _show(title: str, picture: Any, labels: list[tuple[str, float]]) -> None:
    if sys.stdout.isatty():
        write_picture(picture)
    click.echo(f"  {title}")
    for label, probability in labels:
        click.echo(f"    {bar(probability)} {probability:6.1%}  {label}")
    click.echo()
