"""`zoo verify`: digest, keys and golden logits, without a data set."""

from __future__ import annotations

import time
from pathlib import Path

import click

from zoo.cli.output import echo_json
from zoo.errors import FetchError, InvalidArgument, VerificationError, ZooError
from zoo.hub.cache import Cache, cache_root
from zoo.hub.checksum import file_sha256
from zoo.loading import fetch_weights
from zoo.manifest import Entry, find_entry
from zoo.registry import list_models, load_searched_model
from zoo.verification import check_golden, measure_golden


@click.command()
@click.argument("names", nargs=-1)
@click.option("--all", "all_local", is_flag=True, help="Every model whose weights are at hand.")
@click.option("--record", is_flag=True, help="Print the golden record of the loaded network.")
@click.option("--cache-dir", type=click.Path(path_type=Path), help="Instead of ZOO_HOME.")
def command(names: tuple[str, ...], all_local: bool, record: bool, cache_dir: Path | None) -> None:
    """Check that NAMES have the published bytes, all tensors, and the recorded logits."""
    if not names and not all_local:
        raise InvalidArgument("name a model, or use --all")
    offline = None
    if all_local:
        offline = True  # another packaging of the same weights is not at hand
        names = tuple(name for name in list_models(pretrained=True) if _at_hand(name, cache_dir))
    failed = []
    for name in names:
        try:
            _verify(find_entry(name), cache_dir, offline, record)
        except ZooError as error:
            if len(names) == 1:
                raise
            click.secho("  failed", fg="red", nl=False)
            click.echo(f": {error}")
            failed.append(name)
    if failed:
        raise VerificationError(f"{len(failed)} of {len(names)} models failed: {', '.join(failed)}")


def _verify(entry: Entry, cache_dir: Path | None, offline: bool | None, record: bool) -> None:
    weights, path = fetch_weights(entry, Cache(cache_root(cache_dir)), offline)
    digest = file_sha256(path)
    name = entry.name if entry.tag is None else f"{entry.name}@{entry.tag}"
    network = load_searched_model(name, cache_dir=cache_dir, offline=offline)
    probe = {"in_chans": network.in_chans, "size": entry.preprocessing.crop}
    if record:
        echo_json(measure_golden(network, digest, **probe))
        return
    click.echo(
        f"{name}: {weights.format} file, SHA-256 {digest}, {len(network.state_dict())} tensors"
    )
    golden = [g for g in entry.record.golden if g.weights_sha256 == digest]
    if not golden:
        click.echo("  digest and keys hold; no golden logits are recorded for this file")
        return
    started = time.perf_counter()
    deviation = check_golden(network, golden[0], **probe, name=name)
    milliseconds = 1000 * (time.perf_counter() - started)
    click.secho("  verified", fg="green", nl=False)
    click.echo(f": logits within {deviation:.1g} of their deviation ({milliseconds:.0f} ms)")


def _at_hand(name: str, cache_dir: Path | None) -> bool:
    """Return whether the weights came with a manifest or are in the cache."""
    entry = find_entry(name)
    if entry.weights[0].sources[0].startswith(("package:", "file:")):
        return True  # and if the file is missing, that is worth a message
    try:
        fetch_weights(entry, Cache(cache_root(cache_dir)), offline=True)
    except FetchError:
        return False
    return True
