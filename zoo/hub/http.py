"""One file over HTTP: going on where a partial ends, or starting again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPResponse
from pathlib import Path

from zoo.hub.body import check_content, read_chunk, write_body
from zoo.hub.disk import empty, size_of
from zoo.hub.failures import Interrupted, SourceFailed
from zoo.hub.opening import NothingLeft, open_url
from zoo.hub.retry import retrying


def download(
    url: str,
    partial: Path,
    *,
    size_bytes: int | None,
    label: str,
    headers: Mapping[str, str] | None = None,
    resume: bool = True,
) -> bool:
    """Complete a partial file from a URL, going on where it ends.

    Args:
        size_bytes: The published size, if known.
        label: For the progress bar.
        headers: For this origin only, such as Authorization.
        resume: False starts from zero at each attempt.

    Returns:
        Whether the bytes came in one piece. Whether several pieces belong
        together, only a digest of the whole can tell.

    Raises:
        SourceFailed: the file did not come; the message says why.
        CacheError: the disk is full or failed.
    """

    def attempt() -> bool:
        offset = size_of(partial) if resume else 0
        if not offset or offset != size_bytes:
            offset = _attempt(url, partial, offset, size_bytes, label, dict(headers or {}))
        return offset == 0

    return retrying(attempt)


def _attempt(
    url: str,
    partial: Path,
    offset: int,
    size_bytes: int | None,
    label: str,
    headers: dict[str, str],
) -> int:
    """Ask once; return the offset the server went on from."""
    headers |= {"Accept-Encoding": "identity", "User-Agent": "zoo"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    try:
        response = open_url(url, headers)
    except NothingLeft:
        if offset:
            return offset  # the server has no more: the file is complete, or the digest will tell
        raise
    with response:
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise SourceFailed("compresses the file, which was not asked for (Content-Encoding)")
        if response.status == HTTPStatus.PARTIAL_CONTENT:
            _check_range(response, partial, offset)
        else:
            offset = 0  # the server ignores Range and sends the whole
        length = response.headers.get("Content-Length", "")
        total = offset + int(length) if length.isdecimal() else None
        if None not in (total, size_bytes) and total != size_bytes:
            check_content(read_chunk(response.read1, 512))
            raise SourceFailed(f"offers {total:,} bytes, the published file has {size_bytes:,}")
        reached = write_body(
            response.read1, partial, offset=offset, size_bytes=size_bytes or total, label=label
        )
    if reached < (expected := total or size_bytes or 0):
        raise Interrupted(f"connection closed after {reached:,} of {expected:,} bytes")
    return offset


def _check_range(response: HTTPResponse, partial: Path, offset: int) -> None:
    match = re.match(r"bytes (\d+)-\d+/", response.headers.get("Content-Range", ""))
    if not match or int(match[1]) != offset:
        empty(partial)  # never splice: start again
        raise Interrupted(f"sent another range than the one from byte {offset:,} on")
