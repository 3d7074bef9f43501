"""From a record of weights to a local file with exactly the published bytes."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from zoo.errors import CacheError
from zoo.hub.cache import Cache
from zoo.hub.environment import cache_root, is_offline
from zoo.hub.failures import Missing, SourceFailed
from zoo.hub.partials import partial_file, remove_partials, turn
from zoo.hub.report import Failures
from zoo.hub.sources import deliver, is_remote, local_path, mirror_places, opens_no_socket
from zoo.hub.urls import masked
from zoo.hub.wanted import Wanted
from zoo.records import Weights

LOG = logging.getLogger("zoo")


def fetch(
    weights: Weights,
    *,
    name: str,
    base_dir: Path,
    cache_dir: Path | None = None,
    offline: bool | None = None,
    refetch: bool = False,
) -> Path:
    """Return a local file with exactly the published bytes, downloading only if needed.

    Asked in this order: the cache, sources that are files of this machine
    (used where they are), mirrors, other sources. A file whose whole SHA-256 is
    not published is pinned to that of its first download.

    Args:
        name: The model, for messages.
        base_dir: Relative `file://` sources start here.
        cache_dir: See `zoo.hub.environment.cache_root`.
        offline: See `zoo.hub.environment.is_offline`.
        refetch: True downloads again; the cached file stays until the new one is verified.

    Raises:
        DownloadError: no source delivered; the message gives each its own reason.
        ChecksumMismatch: bytes came and are not the published ones; they were deleted.
        OfflineError: the network is switched off and the cache has no copy.
        CacheError: the cache cannot be used.
    """
    wanted = Wanted(weights, name, Cache(cache_root(cache_dir)))
    if not refetch and (path := wanted.find_cached()):
        return path
    failures = Failures()
    for source in weights.sources:
        with failures.noting(source):
            if path := local_path(source, base_dir):
                return wanted.check_in_place(path)
    places = mirror_places(weights, wanted.sha256)
    places |= {source: [source] for source in weights.sources if is_remote(source)}
    if switched_off := is_offline(offline):
        places = {base: tries for base, tries in places.items() if opens_no_socket(base)}
    if places and (path := _download(wanted, places, failures, refetch=refetch)):
        return path
    if switched_off and any(is_remote(source) for source in weights.sources):
        raise failures.offline(wanted)
    raise failures.all_failed(wanted)


def _download(
    wanted: Wanted, places: dict[str, list[str]], failures: Failures, *, refetch: bool
) -> Path | None:
    """Return the file in the cache, brought there by us or by another process meanwhile, or None.

    Args:
        places: By mirror or source, what to try there until something exists.
        refetch: True downloads although another process just did.
    """
    cache, key, size_bytes = wanted.cache, wanted.partial_key, wanted.weights.size_bytes
    if not cache.writable():
        raise CacheError(
            f"{wanted.name}: the cache {cache.root} is read-only, so the file cannot be added "
            f"({wanted}). Set ZOO_HOME to a writable directory, or let its owner run "
            f"`zoo fetch {wanted.name}`."
        )
    with turn(cache.partials, key, lambda: not refetch and wanted.find_cached() is not None):
        if not refetch and (path := wanted.find_cached()):
            return path
        with partial_file(cache.partials, key, size_bytes, resume=wanted.resumable) as partial:
            for base, tries in places.items():
                with failures.noting(base):
                    path = _first_existing(wanted, tries, partial)
                    LOG.info("%s: fetched from %s", wanted.name, masked(base))
                    remove_partials(cache.partials, key)
                    return path
    return None


def _first_existing(wanted: Wanted, tries: list[str], partial: Path) -> Path:
    try:
        for place in tries[:-1]:
            with suppress(Missing):
                return _bring(wanted, place, partial)
        return _bring(wanted, tries[-1], partial)
    except CacheError:
        # Another process published the same bytes and removed every partial, ours too.
        if path := wanted.find_cached():
            return path
        raise


def _bring(wanted: Wanted, place: str, partial: Path) -> Path:
    """Return the verified file in the cache, from one place.

    Pieces of different versions of a file show only in the digest: such a
    download starts again once.
    """

    def deliver_it(*, resume: bool) -> bool:
        size_bytes = wanted.weights.size_bytes
        return deliver(place, partial, size_bytes=size_bytes, label=wanted.name, resume=resume)

    in_one_piece = deliver_it(resume=wanted.resumable)
    try:
        return wanted.keep(partial)
    except SourceFailed:
        if in_one_piece:
            raise
    deliver_it(resume=False)
    return wanted.keep(partial)
