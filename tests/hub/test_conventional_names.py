"""Repositories on the hub whose file names are a convention that a repository may not follow."""

from __future__ import annotations

import logging

import pytest

from tests.hub.published import CONTENT, fetch_it, published, unpinned
from tests.hub_server import Hub
from zoo import errors

SOURCE = "hf://someone/nets/model.safetensors"


@pytest.mark.parametrize("weights", [published(SOURCE), unpinned(SOURCE)], ids=["pinned", "not"])
@pytest.mark.parametrize(
    "files",
    [
        {"net-1a2b.safetensors": CONTENT, "pytorch_model.bin": b"other", "README.md": b"#"},
        {"pytorch_model.bin": CONTENT, "config.json": b"{}"},
        {"old/net.pth": CONTENT},
    ],
    ids=["safetensors first", "bin", "folder"],
)
def test_the_only_weight_file_is_used(
    hub: Hub, caplog: pytest.LogCaptureFixture, weights: object, files: dict[str, bytes]
) -> None:
    """The repository's list of files decides, and the log says so."""
    hub.add_repository("someone/nets", files)
    with caplog.at_level(logging.WARNING, logger="zoo"):
        path = fetch_it(weights)  # pyright: ignore[reportArgumentType]
    assert path.read_bytes() == CONTENT
    assert "file model.safetensors not found in someone/nets at revision main" in caplog.text
    assert f"used {next(iter(files))}, the only weight file there" in caplog.text


def test_a_named_file_is_not_looked_for(hub: Hub) -> None:
    """The convention is used only where it does not hold."""
    hub.add_repository("someone/nets", {"model.safetensors": CONTENT, "more.safetensors": b"x"})
    assert fetch_it(published(SOURCE)).read_bytes() == CONTENT
    assert not any("/api/" in request.path for request in hub.requests)


@pytest.mark.parametrize(
    ("files", "listed"),
    [
        ({"a.safetensors": CONTENT, "b.safetensors": b"x"}, "a.safetensors, b.safetensors"),
        ({"a.safetensors": CONTENT, "b.safetensors": b"x", "c.bin": b"y"}, "c.bin"),
        ({"README.md": b"#"}, "README.md"),
        ({f"{n:02}.txt": b"-" for n in range(20)}, "11.txt, … 20 in all"),
    ],
    ids=["two", "two and a bin", "none", "many files"],
)
def test_otherwise_the_files_are_listed(hub: Hub, files: dict[str, bytes], listed: str) -> None:
    """Where several files or none can be meant, the error says what there is."""
    hub.add_repository("someone/nets", files)
    with pytest.raises(errors.DownloadError) as caught:
        fetch_it(published(SOURCE))
    assert "file model.safetensors not found in someone/nets at revision main" in str(caught.value)
    assert listed in str(caught.value)


def test_wrong_bytes_are_refused(hub: Hub) -> None:
    """Another name excuses no other content."""
    hub.add_repository("someone/nets", {"net.safetensors": bytes(len(CONTENT))})
    with pytest.raises(errors.ChecksumMismatch):
        fetch_it(published(SOURCE))


def test_other_names_are_taken_at_their_word(hub: Hub) -> None:
    """A name that is no convention was read somewhere: another file is another file."""
    hub.add_repository("someone/nets", {"net-v2.safetensors": CONTENT})
    with pytest.raises(errors.DownloadError, match=r"file net-v1\.safetensors not found"):
        fetch_it(published("hf://someone/nets/net-v1.safetensors"))
