"""Which URLs may be asked: no plain HTTP but to this machine, no credentials, no raw addresses."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from zoo.hub.failures import SourceFailed

METADATA_HOSTS = frozenset({"metadata", "metadata.google.internal", "instance-data"})


def host_of(url: str) -> str:
    """Return host and port for a message; never the credentials a URL may carry."""
    return _split(url).netloc.rpartition("@")[2] or url


def masked(place: str) -> str:
    """Return a source or mirror for a message, without the credentials it may carry."""
    return re.sub(r"//[^/@]*@", "//***@", place)


def check_url(url: str) -> None:
    """Refuse a URL of a record or a mirror that could leak, be tampered with or reach inside.

    Raises:
        SourceFailed: the message says which rule the URL breaks.
    """
    parts = _split(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in ("http", "https") or not host:
        raise SourceFailed(f"refused: a URL must start with https:// and a host, got {url!r}")
    if parts.username is not None or parts.password is not None:
        raise SourceFailed("refused: a URL must not contain credentials")
    if host in METADATA_HOSTS or (_address(host) and not _is_loopback(host)):
        raise SourceFailed(f"refused: {host} is an address, expected the name of a public host")
    if parts.scheme == "http" and not _is_loopback(host):
        raise SourceFailed("refused: plain http can be tampered with; use https")


def check_redirect(url: str, target: str) -> None:
    """Refuse a redirect to a weaker scheme, or from another host to this machine or an address.

    Raises:
        SourceFailed: the message says which.
    """
    before, after = _split(url), _split(target)
    if before.scheme == "https" and after.scheme != "https":
        raise SourceFailed(f"refused: redirects from https to {after.scheme or 'nowhere'}")
    if (before.hostname, before.port) == (after.hostname, after.port):
        return
    check_url(target)
    if _is_loopback(after.hostname or "") and not _is_loopback(before.hostname or ""):
        raise SourceFailed("refused: redirects to this machine")


def same_origin(url: str, other: str) -> bool:
    """Return whether two URLs have the same scheme, host and port."""
    one, two = _split(url), _split(other)
    return (one.scheme, one.hostname, one.port) == (two.scheme, two.hostname, two.port)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  read, because it raises ValueError for a bad port
    except ValueError as error:
        raise SourceFailed(f"refused: not a URL: {error}") from error
    return parts


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address else host == "localhost"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
