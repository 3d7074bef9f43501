"""What each place said, and the one error made of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from zoo.errors import ChecksumMismatch, DownloadError, FetchError, OfflineError
from zoo.hub.failures import SourceFailed, WrongBytes
from zoo.hub.urls import masked
from zoo.hub.wanted import Wanted

LOG = logging.getLogger("zoo")


@dataclass
class Failures:
    """What each place said, in the order asked."""

    by_place: dict[str, SourceFailed] = field(default_factory=dict)

    @contextmanager
    def noting(self, place: str) -> Iterator[None]:
        """Note the failure of this place, and go on."""
        try:
            yield
        except SourceFailed as failure:
            LOG.debug("%s: %s", masked(place), failure)
            self.by_place[masked(place)] = failure

    def lines(self) -> str:
        """Return one line per place."""
        return "".join(f"\n  - {place}: {reason}" for place, reason in self.by_place.items())

    def offline(self, wanted: Wanted) -> OfflineError:
        """Return the error for the case that only the network may have the file."""
        place = wanted.cache.blob(wanted.sha256) if wanted.sha256 else wanted.cache.root
        return OfflineError(
            f"{wanted.name}: the network is switched off and the cache has no intact copy "
            f"({wanted}; looked for {place}).{self.lines()}\nWith the network on, run "
            f"`zoo fetch {wanted.name}`; sources: {', '.join(map(masked, wanted.weights.sources))}."
        )

    def all_failed(self, wanted: Wanted) -> FetchError:
        """Return the error for the case that all places failed."""
        if any(isinstance(failure, WrongBytes) for failure in self.by_place.values()):
            return ChecksumMismatch(
                f"{wanted.name}: the bytes that came are not the published ones ({wanted}):"
                f"{self.lines()}\nThe download was deleted. Run `zoo fetch {wanted.name}` again; "
                "if it repeats, the publisher replaced the file: report these lines."
            )
        return DownloadError(
            f"{wanted.name}: no source delivered the file ({wanted}):{self.lines()}\n"
            f"Nothing was added to the cache. Run `zoo fetch {wanted.name}` again, "
            "or set ZOO_MIRRORS to a place that has the file."
        )
