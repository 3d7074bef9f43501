"""Fixtures of all tests: a cache of its own for each, a hub on loopback, no other network."""

from __future__ import annotations

import ipaddress
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_server import Hub

# huggingface_hub reads these when it is imported: no token of the user, and plain uploads.
os.environ["HF_HOME"] = f"{tempfile.gettempdir()}/zoo-tests-{os.getpid()}-no-such-home"
os.environ["HF_HUB_DISABLE_XET"] = "1"
READ_AT_IMPORT = frozenset({"HF_HOME", "HF_HUB_DISABLE_XET"})


class NetworkForbidden(AssertionError):
    """A test opened a connection it may not open."""


@pytest.fixture(autouse=True)
def zoo_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test an empty cache, and an environment without the user's settings."""
    for name in list(os.environ):
        if name in READ_AT_IMPORT:
            continue
        if name.startswith(("ZOO_", "HF_", "HUGGING")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    root = tmp_path / "zoo-cache"
    monkeypatch.setenv("ZOO_HOME", str(root))
    return root


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Run a hub that is also the `HF_ENDPOINT`; pauses between attempts are short."""
    monkeypatch.setattr("zoo.hub.retry.BACKOFF_SECONDS", 0.01)
    with Hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


@pytest.fixture
def closed_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Refuse every connection and look-up, loopback too; return the list of attempts."""
    attempts: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        attempts.append(arguments)
        raise NetworkForbidden(f"a socket was used although the network is closed: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return attempts


@pytest.fixture(scope="session")
def network_switch() -> Iterator[dict[str, bool]]:
    """Let this process connect to loopback only, unless `open` is set."""
    switch = {"open": False}
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if not switch["open"] and not _is_here(self, address):
            raise NetworkForbidden(f"connection to {address}: mark the test `network`")
        connect(self, address)  # pyright: ignore[reportArgumentType]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield switch


@pytest.fixture(autouse=True)
def loopback_only(request: pytest.FixtureRequest, network_switch: dict[str, bool]) -> None:
    """Allow connections to elsewhere in tests marked `network` only."""
    network_switch["open"] = request.node.get_closest_marker("network") is not None


def _is_here(used: socket.socket, address: object) -> bool:
    if used.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    host = address[0] if isinstance(address, tuple) else ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
