"""The cache directory: damage, strange files, permissions, full disks, odd places."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hub.published import CONTENT, SHA256, fetch_it, files_in, published
from tests.hub_server import Hub
from zoo import errors
from zoo.hub import partials
from zoo.hub.cache import Cache, cache_root, is_offline
from zoo.hub.checksum import file_sha256

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def blob(zoo_cache: Path) -> Path:
    """Put the file into the cache as a download does."""
    cache = Cache(zoo_cache)
    temporary = zoo_cache / "partials" / "new"
    temporary.parent.mkdir(parents=True)
    temporary.write_bytes(CONTENT)
    path = cache.add(temporary, SHA256)
    assert cache.find(SHA256) == path
    return path


@pytest.fixture
def locked(zoo_cache: Path) -> Iterator[Callable[[str], str]]:
    """Give a function that fetches a URL without the right to write to the cache.

    It returns what was printed. Root may write anywhere, and gives that up here.
    """

    def fetch_without_rights(url: str) -> str:
        give_up = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
        if os.geteuid() == 0 and not shutil.which("setpriv"):
            pytest.skip("root cannot give up its rights here")
        subprocess.run(["chmod", "-R", "a-w", str(zoo_cache)], check=True)
        command = [sys.executable, "-m", "tests.hub.worker", url]
        ran = subprocess.run(
            [*give_up, *command] if os.geteuid() == 0 else command,
            cwd=ROOT,
            text=True,
            capture_output=True,
            check=False,
        )
        assert ran.stderr == ""
        return ran.stdout.strip()

    yield fetch_without_rights
    subprocess.run(["chmod", "-R", "u+rwX", str(zoo_cache)], check=True)


def test_truncated_entry_is_replaced(
    hub: Hub, blob: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Online, a truncated file is noticed at the next use and downloaded again. FAULTS 23."""
    blob.write_bytes(CONTENT[:100])
    assert fetch_it(published(hub.add_file("tiny.bin", CONTENT))).read_bytes() == CONTENT
    assert f"removed {blob}: it was damaged" in caplog.text


def test_truncated_entry_offline(blob: Path, closed_network: list[object]) -> None:
    """Offline, the message names the file and the command that repairs it. FAULTS 23."""
    blob.write_bytes(CONTENT[:100])
    with pytest.raises(errors.OfflineError) as caught:
        fetch_it(published("https://example.org/tiny.bin"), offline=True)
    assert "has no intact copy" in str(caught.value)
    assert str(blob) in str(caught.value)
    assert "`zoo fetch tiny-net`" in str(caught.value)
    assert not blob.exists()
    assert closed_network == []


def flip_in_place(path: Path) -> None:
    """Change one byte; size and time of modification stay."""
    before = path.stat()
    with open(path, "rb+") as file:
        file.seek(1000)
        file.write(bytes([CONTENT[1000] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_flipped_bit_with_time_kept(blob: Path, zoo_cache: Path) -> None:
    """The time of status change gives it away. FAULTS 24."""
    time.sleep(0.02)
    flip_in_place(blob)
    assert Cache(zoo_cache).find(SHA256) is None
    assert not blob.exists()


def test_damage_below_the_file_system(
    blob: Path, zoo_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nothing but the bytes changed, ZOO_VERIFY=always finds it. FAULTS 24."""
    cache = Cache(zoo_cache)
    flip_in_place(blob)
    cache.write_stamp(SHA256, blob.stat(), SHA256)
    assert cache.find(SHA256) == blob
    monkeypatch.setenv("ZOO_VERIFY", "always")
    assert cache.find(SHA256) is None


def test_other_inode_is_hashed(blob: Path, zoo_cache: Path) -> None:
    """A file put there by hand is not trusted for its name. FAULTS 24."""
    before = blob.stat()
    blob.unlink()
    blob.write_bytes(CONTENT[::-1])
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert Cache(zoo_cache).find(SHA256) is None


def test_intact_entry_is_hashed_once(
    blob: Path, zoo_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing changes, the stamp answers. FAULTS 24."""
    monkeypatch.setattr("zoo.hub.cache.file_sha256", lambda path: pytest.fail("hashed again"))
    assert Cache(zoo_cache).find(SHA256) == blob


@pytest.mark.parametrize("text", ["", "garbage", f"1 2 3 4 {SHA256}", "\0" * 200])
def test_damaged_stamp_costs_a_hash_only(text: str, blob: Path, zoo_cache: Path) -> None:
    """A stamp that does not fit is as good as none. FAULTS 24."""
    (zoo_cache / "stamps" / SHA256).write_text(text)
    assert Cache(zoo_cache).find(SHA256) == blob


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("directory", "is a directory, expected a regular file"),
        ("fifo", "is a pipe, socket or device, expected a regular file"),
        ("loop", "is a symbolic link that leads nowhere"),
        ("dangling", "is a symbolic link that leads nowhere"),
    ],
)
@pytest.mark.parametrize("offline", [True, False])
def test_something_else_in_place_of_an_entry(
    kind: str, message: str, offline: bool, hub: Hub, blob: Path
) -> None:
    """It is named, and nobody waits for a pipe. FAULTS 25."""
    blob.unlink()
    if kind == "directory":
        blob.mkdir()
    elif kind == "fifo":
        os.mkfifo(blob)
    else:
        blob.symlink_to(blob if kind == "loop" else "nothing-here")
    with pytest.raises(errors.CacheError, match=message) as caught:
        fetch_it(published(hub.add_file("tiny.bin", CONTENT)), offline=offline)
    assert str(blob) in str(caught.value)
    assert hub.asked() == []


def test_link_to_a_good_file(blob: Path, tmp_path: Path, zoo_cache: Path) -> None:
    """An entry may be moved to another disk and linked. FAULTS 25, 38."""
    blob.replace(tmp_path / "elsewhere")
    blob.symlink_to(tmp_path / "elsewhere")
    assert Cache(zoo_cache).find(SHA256) == blob


def test_pipe_in_place_of_a_local_source(tmp_path: Path) -> None:
    """A user's `file://` that is no file fails as a source. FAULTS 25."""
    os.mkfifo(tmp_path / "net.bin")
    with pytest.raises(errors.DownloadError, match="is a pipe, socket or device"):
        fetch_it(published("file://net.bin"), base_dir=tmp_path)


def test_disk_full(hub: Hub, tmp_path: Path) -> None:
    """On a real full disk: a clean error, and the partial gives its space back. FAULTS 27."""
    url = hub.add_file("tiny.bin", CONTENT)
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        f"mount -t tmpfs -o size=128k tmpfs '{disk}' || exit 99; "
        f"ZOO_HOME='{disk}/zoo' '{sys.executable}' -m tests.hub.worker {url}; "
        f"find '{disk}' -type f ! -name '*.lock'"
    )
    ran = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode == 99 or not shutil.which("unshare") or "unshare:" in ran.stderr:
        pytest.skip("mounting is not allowed here")
    assert ran.stdout.startswith(f"CacheError: cannot write {disk}/zoo/partials/{SHA256}.")
    assert ran.stdout.endswith(
        "No space left on device. Free space, or set ZOO_HOME to a larger disk.\n"
    )
    assert ran.stderr == ""


def test_file_size_limit(hub: Hub, zoo_cache: Path) -> None:
    """The same for `ulimit -f`; the next run succeeds. FAULTS 27, 28."""
    url = hub.add_file("tiny.bin", CONTENT)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(errors.CacheError, match=r"File too large\. The file is larger than"):
            fetch_it(published(url))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files_in(zoo_cache) == {}
    assert fetch_it(published(url)).read_bytes() == CONTENT


def test_fault_of_the_disk(blob: Path, zoo_cache: Path) -> None:
    """EIO names the path. Linux gives a real one for this file. FAULTS 28."""
    if not Path("/proc/self/mem").exists():
        pytest.skip("no file here that fails with EIO")
    blob.unlink()
    blob.symlink_to("/proc/self/mem")
    with pytest.raises(errors.CacheError, match=f"cannot read {blob}: Input/output error"):
        Cache(zoo_cache).find(SHA256)


def test_read_only_cache_with_the_file(
    hub: Hub, zoo_cache: Path, locked: Callable[[str], str]
) -> None:
    """Works, asks nobody and writes nothing. FAULTS 29."""
    url = hub.add_file("tiny.bin", CONTENT)
    fetch_it(published(url))
    shutil.rmtree(zoo_cache / "stamps")
    before = sorted(zoo_cache.rglob("*"))
    assert locked(url) == SHA256
    assert sorted(zoo_cache.rglob("*")) == before
    assert len(hub.asked(url)) == 1


def test_read_only_cache_without_the_file(
    hub: Hub, zoo_cache: Path, locked: Callable[[str], str]
) -> None:
    """The message says read-only and what to do; nobody is asked. FAULTS 29."""
    zoo_cache.mkdir()
    printed = locked(hub.add_file("tiny.bin", CONTENT))
    assert printed.startswith(f"CacheError: tiny-net: the cache {zoo_cache} is read-only")
    assert "Set ZOO_HOME to a writable directory" in printed
    assert hub.asked() == []


def test_damaged_entry_in_a_read_only_cache(
    hub: Hub, zoo_cache: Path, locked: Callable[[str], str]
) -> None:
    """What cannot be removed is named, with its owner. FAULTS 23, 30."""
    url = hub.add_file("tiny.bin", CONTENT)
    path = fetch_it(published(url))
    path.write_bytes(CONTENT[::-1])
    printed = locked(url)
    owner = path.owner()
    assert printed.startswith(f"CacheError: cannot remove the damaged file {path}: ")
    assert f"Permission denied ({path} belongs to {owner})" in printed


def test_unreadable_entry(hub: Hub, zoo_cache: Path, locked: Callable[[str], str]) -> None:
    """A file of another user that may not be read is named, with its owner. FAULTS 30."""
    url = hub.add_file("tiny.bin", CONTENT)
    path = fetch_it(published(url))
    owner = path.owner()
    shutil.rmtree(zoo_cache / "stamps")
    path.chmod(0)
    printed = locked(url)
    assert printed.startswith(f"CacheError: cannot read {path}: Permission denied")
    assert f"{path} belongs to {owner}" in printed


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_umask_is_respected(umask: int, mode: int, hub: Hub) -> None:
    """A shared cache is readable by the group when the umask says so. FAULTS 30."""
    before = os.umask(umask)
    try:
        path = fetch_it(published(hub.add_file("tiny.bin", CONTENT)))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty HOME is an error that says what to set; not a cache in `/`. FAULTS 37."""
    monkeypatch.delenv("ZOO_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "")
    with pytest.raises(errors.CacheError, match=r"HOME must be an absolute path, got ''.*ZOO_HOME"):
        cache_root()


def test_unknown_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without any home directory is told to set ZOO_HOME. FAULTS 37."""
    monkeypatch.setenv("ZOO_HOME", "~no-such-user-here/zoo")
    with pytest.raises(errors.CacheError, match=r"no home directory .* Set ZOO_HOME"):
        cache_root()


def test_place_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Argument, ZOO_HOME, XDG_CACHE_HOME, home, in this order; nothing is created. FAULTS 37."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("ZOO_HOME", "my cache")
    assert cache_root(Path("there")) == tmp_path / "there"
    assert cache_root() == tmp_path / "my cache"
    monkeypatch.setenv("ZOO_HOME", "~/z")
    assert cache_root() == tmp_path / "home" / "z"
    monkeypatch.delenv("ZOO_HOME")
    assert cache_root() == tmp_path / "xdg" / "zoo"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_root() == tmp_path / "home" / ".cache" / "zoo"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("home", ["with spaces", "ünïcode ✓", "deep/" * 80, "./relative/../x"])
def test_odd_places_work(
    home: str, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spaces, other scripts, more than 260 characters, relative paths. FAULTS 37."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_HOME", home)
    path = fetch_it(published(hub.add_file("tiny.bin", CONTENT)))
    assert path.is_absolute()
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("home", "message"), [("x" * 300, "File name too long"), ("a-file", "is read-only|Not a dir")]
)
def test_impossible_places(
    home: str, message: str, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name too long, or a file in place of the directory: the message says so. FAULTS 37."""
    (tmp_path / "a-file").write_text("mine")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / home))
    with pytest.raises(errors.CacheError, match=message) as caught:
        fetch_it(published(hub.add_file("tiny.bin", CONTENT)))
    assert home in str(caught.value)
    assert (tmp_path / "a-file").read_text() == "mine"


def test_names_in_the_cache(hub: Hub, zoo_cache: Path) -> None:
    """Lower case and no links, so any file system will do. FAULTS 38."""
    fetch_it(published(hub.add_file("Tiny.BIN", CONTENT)))
    Cache(zoo_cache).write_ref("native", "Some/Key", SHA256)
    paths = list(zoo_cache.rglob("*"))
    assert len(paths) >= 6
    assert [path for path in paths if path.name != path.name.lower() or path.is_symlink()] == []


@pytest.mark.parametrize("moment", [0.0, 4e9])
def test_wrong_clock(moment: float, blob: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file from 1970 or 2096 is as valid as any, and a wrong clock changes nothing. FAULTS 39."""
    os.utime(blob, (moment, moment))
    monkeypatch.setattr(time, "time", lambda: moment)
    url = hub.add_file("tiny.bin", CONTENT)
    assert fetch_it(published(url)) == blob
    assert hub.asked(url) == []
    blob.unlink()
    assert fetch_it(published(url)).read_bytes() == CONTENT


def test_stale_partials_go(hub: Hub, zoo_cache: Path) -> None:
    """What nobody wrote to for long is removed by the next download. FAULTS 26."""
    folder = zoo_cache / "partials"
    folder.mkdir(parents=True)
    old, young = folder / f"{'1' * 64}.1-old", folder / f"{'2' * 64}.1-young"
    for path in (old, young):
        path.write_bytes(b"part")
    moment = time.time() - 2 * partials.STALE_SECONDS
    os.utime(old, (moment, moment))
    fetch_it(published(hub.add_file("tiny.bin", CONTENT)))
    assert (old.exists(), young.exists()) == (False, True)


@pytest.mark.parametrize("key", ["hf://a/b/c", "../../evil", "", "x" * 5000, "ünïcode"])
def test_refs(key: str, zoo_cache: Path) -> None:
    """Any string is a key; kinds are apart; the newest digest counts. FAULTS 22."""
    cache = Cache(zoo_cache)
    assert cache.read_ref("pin", key) is None
    cache.write_ref("pin", key, "1" * 64)
    cache.write_ref("pin", key, SHA256)
    assert cache.read_ref("pin", key) == SHA256
    assert cache.read_ref("native", key) is None
    assert cache.ref("pin", key).parent == zoo_cache / "refs" / "pin"
    assert list((zoo_cache / "partials").iterdir()) == []


def test_damaged_ref_is_no_ref(zoo_cache: Path) -> None:
    """A ref that is no digest is never used as a path."""
    cache = Cache(zoo_cache)
    cache.write_ref("pin", "key", "../../../etc/passwd")
    assert cache.read_ref("pin", "key") is None


def test_add_of_a_vanished_file(zoo_cache: Path, blob: Path) -> None:
    """If another process published the same bytes it is fine, else an error. FAULTS 31."""
    cache = Cache(zoo_cache)
    assert cache.add(zoo_cache / "vanished", SHA256) == blob
    with pytest.raises(errors.CacheError, match="cannot put in place"):
        cache.add(zoo_cache / "vanished", "0" * 64)


def test_writable(tmp_path: Path) -> None:
    """A directory that does not exist yet is writable if it can be created."""
    assert Cache(tmp_path / "a" / "b").writable()
    (tmp_path / "file").touch()
    assert not Cache(tmp_path / "file" / "cache").writable()
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize("word", ["1", "true", "YES", " on "])
def test_offline_words(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual words switch the network off; the argument and ZOO_OFFLINE win."""
    assert not is_offline(None)
    monkeypatch.setenv("HF_HUB_OFFLINE", word)
    assert is_offline(None)
    assert not is_offline(False)
    monkeypatch.setenv("ZOO_OFFLINE", "0")
    assert not is_offline(None)


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    """Hashing says which file cannot be read. FAULTS 28."""
    with pytest.raises(errors.CacheError, match=f"cannot read {tmp_path}/none: No such file"):
        file_sha256(tmp_path / "none")
