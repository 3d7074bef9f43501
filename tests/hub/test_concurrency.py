"""Many processes, locks that do not work, and kills at any moment."""

from __future__ import annotations

import fcntl
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests import hub_faults as faults
from tests.hub.published import CONTENT, SHA256, fetch_it, files_in, published
from tests.hub_server import Exchange, Hub
from zoo.hub import partials

ROOT = Path(__file__).resolve().parents[2]
ONLY_THE_FILE = {f"blobs/{SHA256}": CONTENT}


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start a process that fetches."""
    command = [sys.executable, "-m", "tests.hub.worker", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def outcomes(workers: list[subprocess.Popen[str]]) -> list[str]:
    """Return what each process printed, by which nothing may be a traceback."""
    printed = [worker.communicate(timeout=50) for worker in workers]
    assert [error for _, error in printed] == [""] * len(workers)
    return [output.strip() for output, _ in printed]


def wait_for_partial(cache: Path, size_bytes: int) -> None:
    """Wait until a download has come so far."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        sizes = [path.stat().st_size for path in (cache / "partials").glob(f"{SHA256}.*")]
        if max(sizes, default=0) >= size_bytes:
            return
        time.sleep(0.01)
    raise AssertionError(f"no partial of {size_bytes} bytes after 20 s")


def test_eight_processes_one_download(hub: Hub, zoo_cache: Path) -> None:
    """Where locks work, one process downloads and all get the file. FAULTS 31, 35."""
    url = hub.add_file("tiny.bin", CONTENT)
    gate = threading.Event()

    def when_all_are_there(exchange: Exchange) -> None:
        gate.wait(20)
        exchange.send_content()

    hub.add_fault(url, when_all_are_there)
    workers = [start(url) for _ in range(8)]
    time.sleep(1.0)
    gate.set()
    assert outcomes(workers) == [SHA256] * 8
    assert len(hub.asked(url)) == 1
    assert files_in(zoo_cache) == ONLY_THE_FILE


@pytest.mark.parametrize("fault", ["no-op", "ENOLCK", "ENOSYS"])
def test_eight_processes_without_locks(fault: str, hub: Hub, zoo_cache: Path) -> None:
    """Where locks do nothing or fail, up to eight download and all are right. FAULTS 31, 32, 33."""
    url = hub.add_file("tiny.bin", CONTENT)
    hub.add_fault(url, faults.slowly)
    assert outcomes([start(url, fault) for _ in range(8)]) == [SHA256] * 8
    assert 1 <= len(hub.asked(url)) <= 8 * 3
    assert files_in(zoo_cache) == ONLY_THE_FILE


def test_four_ranks_of_which_all_fail(hub: Hub, zoo_cache: Path) -> None:
    """When the first cannot download, the others try and fail as well; none waits. FAULTS 35."""
    url = hub.add_file("tiny.bin", CONTENT)
    hub.add_fault(url, faults.status(403))
    started = time.monotonic()
    results = outcomes([start(url) for _ in range(4)])
    assert all(result.startswith("DownloadError: tiny-net: no source") for result in results)
    assert len(hub.asked(url)) == 4
    assert time.monotonic() - started < 20
    assert files_in(zoo_cache) == {}


def test_threads(hub: Hub, zoo_cache: Path) -> None:
    """Threads of one process wait for each other too. FAULTS 31."""
    url = hub.add_file("tiny.bin", CONTENT)
    hub.add_fault(url, faults.slowly)
    paths: list[Path] = []
    threads = [
        threading.Thread(target=lambda: paths.append(fetch_it(published(url)))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert paths == [zoo_cache / "blobs" / SHA256] * 8
    assert len(hub.asked(url)) == 1
    assert files_in(zoo_cache) == ONLY_THE_FILE


def test_killed_at_half(hub: Hub, zoo_cache: Path) -> None:
    """The next run asks for the rest only, and the lock of the dead is free. FAULTS 7, 34."""
    url = hub.add_file("tiny.bin", CONTENT)
    hub.add_fault(url, faults.stall_at_half, times=1)
    worker = start(url)
    wait_for_partial(zoo_cache, len(CONTENT) // 2 - 8192)
    worker.kill()
    worker.communicate()
    started = time.monotonic()
    assert fetch_it(published(url)).read_bytes() == CONTENT
    assert time.monotonic() - started < 5
    asked_from = hub.asked(url)[1].headers["Range"].removeprefix("bytes=").rstrip("-")
    assert int(asked_from) >= len(CONTENT) // 2 - 8192
    assert files_in(zoo_cache) == ONLY_THE_FILE


def test_holder_of_the_lock_that_does_nothing(
    hub: Hub, zoo_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process is waited for while its download grows, and no longer. FAULTS 34."""
    monkeypatch.setattr(partials, "TURN_STALL_SECONDS", 0.4)
    url = hub.add_file("tiny.bin", CONTENT)
    (zoo_cache / "partials").mkdir(parents=True)
    with open(zoo_cache / "partials" / f"{SHA256}.lock", "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        started = time.monotonic()
        assert fetch_it(published(url)).read_bytes() == CONTENT
    assert 0.4 < time.monotonic() - started < 5


def test_waiting_ends_when_the_file_is_there(
    hub: Hub, zoo_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that is never released does not matter once the file is published. FAULTS 34."""
    url = hub.add_file("tiny.bin", CONTENT)
    (zoo_cache / "partials").mkdir(parents=True)
    with open(zoo_cache / "partials" / f"{SHA256}.lock", "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = start(url)
        time.sleep(0.7)
        assert waiting.poll() is None
        (zoo_cache / "blobs").mkdir()
        (zoo_cache / "new").write_bytes(CONTENT)
        (zoo_cache / "new").replace(zoo_cache / "blobs" / SHA256)
        assert outcomes([waiting]) == [SHA256]
    assert hub.asked(url) == []


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_kills_at_random_moments(kill: signal.Signals, hub: Hub, zoo_cache: Path) -> None:
    """However often and whenever it is killed, the next run gets the file. FAULTS 7, 40."""
    url = hub.add_file("tiny.bin", CONTENT)
    hub.add_fault(url, faults.slowly)
    moments = random.Random(1)
    for _ in range(6):
        workers = [start(url) for _ in range(2)]
        time.sleep(moments.uniform(0.1, 0.7))
        for worker in workers:
            worker.send_signal(kill)
            worker.communicate()
        blob = zoo_cache / "blobs" / SHA256
        if blob.exists():
            assert blob.read_bytes() == CONTENT
            blob.unlink()
    assert fetch_it(published(url)).read_bytes() == CONTENT
    assert files_in(zoo_cache) == ONLY_THE_FILE


def test_publishing_removes_the_partial_of_another(hub: Hub, zoo_cache: Path) -> None:
    """A process whose partial was removed uses what the other published. FAULTS 31, 32."""
    url = hub.add_file("tiny.bin", CONTENT)
    hub.add_fault(url, faults.slowly)
    workers = [start(url, "no-op")]
    wait_for_partial(zoo_cache, 1)
    (zoo_cache / "blobs").mkdir(exist_ok=True)
    (zoo_cache / "new").write_bytes(CONTENT)
    (zoo_cache / "new").replace(zoo_cache / "blobs" / SHA256)
    partials.remove_partials(zoo_cache / "partials", SHA256)
    assert outcomes(workers) == [SHA256]
    assert files_in(zoo_cache) == ONLY_THE_FILE
