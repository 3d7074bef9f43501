"""What servers do wrong: each fault answers one request in place of the hub."""

from __future__ import annotations

import gzip
import time
from contextlib import suppress

from tests.hub_server import Exchange, Fault

XML = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'
HTML = b"\n<!DOCTYPE html><html><body>Please log in to the network.</body></html>"
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"


def status(code: int, body: bytes = b"", **headers: str) -> Fault:
    """Answer with a status; header names are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda exchange: exchange.answer(code, body, named)


def body(content: bytes, **headers: str) -> Fault:
    """Answer 200 with other content."""
    return status(200, content, **headers)


def redirect(target: str) -> Fault:
    """Answer 302."""
    return status(302, Location=target)


def flip_bit(exchange: Exchange) -> None:
    """Send content of the same size with one bit changed in the middle."""
    changed = bytearray(exchange.content)
    changed[len(changed) // 2] ^= 1
    exchange.content = bytes(changed)
    exchange.send_content()


def drop_at_half(exchange: Exchange) -> None:
    """Declare everything that was asked for, send half of it, and close."""
    start = _range_start(exchange)
    rest = exchange.content[start:]
    headers = {"Content-Length": str(len(rest))}
    if start:
        total = len(exchange.content)
        headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
    exchange.send_head(206 if start else 200, headers)
    exchange.wfile.write(rest[: len(rest) // 2])


def drip(exchange: Exchange) -> None:
    """Send one byte every 20 ms for three seconds."""
    exchange.send_head(200, {"Content-Length": str(len(exchange.content))})
    with suppress(OSError):
        for byte in exchange.content[:150]:
            exchange.wfile.write(bytes([byte]))
            if exchange.hub.stopping.wait(0.02):
                return


def stall_at_half(exchange: Exchange) -> None:
    """Send half of the content, then nothing until the hub stops or a minute is over."""
    exchange.send_head(200, {"Content-Length": str(len(exchange.content))})
    exchange.wfile.write(exchange.content[: len(exchange.content) // 2])
    exchange.wfile.flush()
    exchange.hub.stopping.wait(60)


def slowly(exchange: Exchange) -> None:
    """Send what was asked for within about a third of a second, in thirty pieces."""
    start = _range_start(exchange)
    total = len(exchange.content)
    headers = {"Content-Length": str(total - start)}
    if start:
        headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
    exchange.send_head(206 if start else 200, headers)
    piece = total // 30 + 1
    with suppress(OSError):
        for offset in range(start, total, piece):
            exchange.wfile.write(exchange.content[offset : offset + piece])
            time.sleep(0.01)


def endless(exchange: Exchange) -> None:
    """Send the content over and over, with no length declared."""
    exchange.send_head(200, {})
    deadline = time.monotonic() + 20
    with suppress(OSError):
        while time.monotonic() < deadline and not exchange.hub.stopping.is_set():
            exchange.wfile.write(exchange.content)


def ignore_range(exchange: Exchange) -> None:
    """Send the whole file with status 200 whatever was asked for."""
    exchange.answer(200, exchange.content)


def wrong_content_range(exchange: Exchange) -> None:
    """Send another range than the one that was asked for."""
    total = len(exchange.content)
    headers = {"Content-Range": f"bytes 0-{total - 1}/{total}"}
    exchange.answer(206, exchange.content, headers)


def gzipped(exchange: Exchange) -> None:
    """Compress the content, as some servers do unasked."""
    exchange.answer(200, gzip.compress(exchange.content), {"Content-Encoding": "gzip"})


def _range_start(exchange: Exchange) -> int:
    return int(exchange.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
