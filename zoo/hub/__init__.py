"""Bytes from a published source to a verified local file; everything above calls `fetch`."""

from __future__ import annotations

from zoo.hub.fetch import fetch as fetch

__all__ = ["fetch"]
