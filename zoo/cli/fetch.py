"""`zoo fetch`: weights into the cache, verified."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.hub.cache import Cache, cache_root
from zoo.loading import fetch_weights
from zoo.manifest import find_entry


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Download again even if the cache has a copy.")
@click.option("--cache-dir", type=click.Path(path_type=Path), help="Instead of ZOO_HOME.")
def command(names: tuple[str, ...], force: bool, cache_dir: Path | None) -> None:
    """Download and verify the weights of NAMES; print where they are."""
    cache = Cache(cache_root(cache_dir))
    for name in names:
        weights, path = fetch_weights(find_entry(name), cache, None, refetch=force)
        click.echo(f"{name}\t{weights.format}\t{path}")
