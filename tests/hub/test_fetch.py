"""`fetch` when things go well: where it looks, in which order, and what it leaves behind."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest

from tests.hub.published import CONTENT, SHA256, fetch_it, files_in, published, unpinned
from tests.hub_faults import flip_bit, redirect, status
from tests.hub_server import Hub
from zoo import errors

# The client's HTTP library deprecates how the client itself uploads.
UPLOADS = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
OTHER = b"another training" * 1000


def test_http(hub: Hub, zoo_cache: Path) -> None:
    """A download ends up in the cache under its SHA-256 and nowhere else."""
    path = fetch_it(published(hub.add_file("a/tiny.safetensors", CONTENT)))
    assert path == zoo_cache / "blobs" / SHA256
    assert files_in(zoo_cache) == {f"blobs/{SHA256}": CONTENT}
    assert list((zoo_cache / "partials").iterdir()) == []


def test_second_time_asks_nobody(hub: Hub, zoo_cache: Path, closed_network: list[object]) -> None:
    """A cached file needs no socket. FAULTS 4, 61."""
    (zoo_cache / "blobs").mkdir(parents=True)
    (zoo_cache / "blobs" / SHA256).write_bytes(CONTENT)
    assert fetch_it(published("https://example.org/tiny.bin")).read_bytes() == CONTENT
    assert closed_network == []


@UPLOADS
@pytest.mark.parametrize("revision", ["", "@main", "@{sha}"])
def test_hub_by_the_real_client(hub: Hub, tmp_path: Path, zoo_cache: Path, revision: str) -> None:
    """What huggingface_hub uploads, `fetch` downloads, and no second copy stays anywhere."""
    api = huggingface_hub.HfApi(endpoint=hub.url, token="hf_test")
    api.create_repo("someone/nets")
    commit = api.upload_file(
        path_or_fileobj=CONTENT, path_in_repo="sub/tiny.safetensors", repo_id="someone/nets"
    )
    at = revision.format(sha=commit.oid)
    path = fetch_it(published(f"hf://someone/nets{at}/sub/tiny.safetensors"))
    assert path.read_bytes() == CONTENT
    assert files_in(zoo_cache) == {f"blobs/{SHA256}": CONTENT}
    assert not Path(os.environ["HF_HOME"]).exists()


@UPLOADS
def test_the_hub_of_these_tests_serves_the_real_client(hub: Hub, tmp_path: Path) -> None:
    """Uploads, listings, snapshots and single files work as with the real hub."""
    api = huggingface_hub.HfApi(endpoint=hub.url, token="hf_test")
    api.create_repo("someone/nets")
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "tiny.safetensors").write_bytes(CONTENT)
    (tmp_path / "up" / "README.md").write_text("---\nlicense: mit\n---\n# Nets\n")
    (tmp_path / "up" / "config.json").write_text(json.dumps({"a": 1}))
    api.upload_folder(folder_path=tmp_path / "up", repo_id="someone/nets")
    assert api.list_repo_files("someone/nets") == ["README.md", "config.json", "tiny.safetensors"]
    down = Path(api.snapshot_download("someone/nets", local_dir=tmp_path / "down"))
    assert (down / "tiny.safetensors").read_bytes() == CONTENT
    assert (down / "config.json").read_text() == '{"a": 1}'


def test_token_goes_to_the_hub_and_not_beyond(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_TOKEN is sent to the hub; a redirect to another origin does not get it. FAULTS 19."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.add_repository("someone/nets", {"tiny.bin": CONTENT})
    with Hub() as storage:
        target = storage.add_file("stored", CONTENT)
        hub.add_fault("/someone/nets/resolve/main/tiny.bin", redirect(target))
        fetch_it(published("hf://someone/nets/tiny.bin"))
        for method in ("HEAD", "GET"):
            assert hub.asked(method=method)[0].headers["Authorization"] == "Bearer hf_secret"
        assert "Authorization" not in storage.asked(target)[0].headers


def test_local_file_stays_where_it_is(
    tmp_path: Path, zoo_cache: Path, closed_network: list[object]
) -> None:
    """`file://` is verified, not copied, and hashed once; relative paths start at base_dir."""
    (tmp_path / "w").mkdir()
    mine = tmp_path / "w" / "my net.bin"
    mine.write_bytes(CONTENT)
    weights = published("file://w/my%20net.bin")
    assert fetch_it(weights, base_dir=tmp_path, offline=True) == mine
    assert fetch_it(published(f"file://{mine}".replace(" ", "%20"))) == mine
    assert files_in(zoo_cache) == {}
    mine.write_bytes(CONTENT[::-1])
    with pytest.raises(errors.ChecksumMismatch, match=rf"expected {SHA256}"):
        fetch_it(weights, base_dir=tmp_path)
    assert mine.exists()
    assert closed_network == []


def test_local_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second use of an unchanged file reads its stamp only; ZOO_VERIFY=always hashes."""
    mine = tmp_path / "net.bin"
    mine.write_bytes(CONTENT)
    os.utime(mine, (1e9, 1e9))
    weights = published("file://net.bin")
    fetch_it(weights, base_dir=tmp_path)
    hashed: list[Path] = []
    check = "zoo.hub.wanted.check_digests"
    monkeypatch.setattr(check, lambda path, _: (hashed.append(path), (SHA256, None))[1])
    fetch_it(weights, base_dir=tmp_path)
    assert hashed == []
    monkeypatch.setenv("ZOO_VERIFY", "always")
    fetch_it(weights, base_dir=tmp_path)
    assert hashed == [mine]


def test_file_just_written_is_hashed_again(tmp_path: Path, zoo_cache: Path) -> None:
    """A second write within one tick of the clock would not show, so no stamp is made yet."""
    (tmp_path / "net.bin").write_bytes(CONTENT)
    fetch_it(published("file://net.bin"), base_dir=tmp_path)
    assert not (zoo_cache / "stamps").exists()


def test_home_in_a_file_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`file://~/…` starts at the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "net.bin").write_bytes(CONTENT)
    assert fetch_it(published("file://~/net.bin")) == tmp_path / "net.bin"


def test_own_file_without_digest(tmp_path: Path) -> None:
    """A user's file without digest may change: nothing was published to compare with."""
    (tmp_path / "net.bin").write_bytes(b"first")
    weights = unpinned("file://net.bin")
    assert fetch_it(weights, base_dir=tmp_path).read_bytes() == b"first"
    (tmp_path / "net.bin").write_bytes(b"trained again")
    assert fetch_it(weights, base_dir=tmp_path).read_bytes() == b"trained again"


@pytest.mark.parametrize("source", ["package:records.py", "package://records.py"])
def test_file_of_the_package(source: str, closed_network: list[object]) -> None:
    """`package:` paths start at the installed package."""
    from zoo import records

    assert fetch_it(unpinned(source), offline=True) == Path(records.__file__)


def test_package_path_cannot_lead_out() -> None:
    """`package:` with `..` is refused. FAULTS 22."""
    with pytest.raises(errors.DownloadError, match="refused: the path leads out of the package"):
        fetch_it(unpinned("package:../tests/conftest.py"))


def test_missing_local_file_names_the_path(tmp_path: Path) -> None:
    """The message has the path that was looked for, not only the source."""
    with pytest.raises(errors.DownloadError, match=f"no file {tmp_path}/net.bin"):
        fetch_it(published("file://net.bin"), base_dir=tmp_path)


@pytest.mark.parametrize("layout", ["{sha}", "{two}/{sha}", "tiny.bin"])
def test_directory_mirror_offline(
    layout: str,
    tmp_path: Path,
    zoo_cache: Path,
    closed_network: list[object],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A directory in ZOO_MIRRORS serves offline, by digest or by published name. FAULTS 61."""
    place = tmp_path / "mirror dir" / layout.format(sha=SHA256, two=SHA256[:2])
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    base = tmp_path / "mirror dir"
    monkeypatch.setenv("ZOO_MIRRORS", f"{tmp_path}/empty, {base}/")
    caplog.set_level(logging.INFO, "zoo")
    path = fetch_it(published("https://example.org/x/tiny.bin?download=1"), offline=True)
    assert path == zoo_cache / "blobs" / SHA256
    assert path.read_bytes() == CONTENT
    assert f"tiny-net: fetched from {base}" in caplog.text
    assert closed_network == []


def test_http_mirror_comes_before_sources(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror that has the file spares the source any request."""
    hub.add_file(f"mirror/{SHA256[:2]}/{SHA256}", CONTENT)
    source = hub.add_file("tiny.bin", CONTENT)
    monkeypatch.setenv("ZOO_MIRRORS", f"{hub.url}/files/mirror")
    fetch_it(published(source))
    assert hub.asked(source) == []


def test_hub_repository_as_mirror(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base may be `hf://owner/repository`."""
    hub.add_repository("site/mirror", {SHA256: CONTENT})
    monkeypatch.setenv("ZOO_MIRRORS", "hf://site/mirror")
    assert fetch_it(published("https://127.0.0.1:1/tiny.bin")).read_bytes() == CONTENT


def test_any_fsspec_file_system_as_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other schemes are opened by fsspec."""
    import fsspec

    with fsspec.open(f"memory://site/{SHA256}", "wb") as file:
        file.write(CONTENT)  # pyright: ignore
    monkeypatch.setenv("ZOO_MIRRORS", "memory://site")
    assert fetch_it(published("https://127.0.0.1:1/tiny.bin")).read_bytes() == CONTENT


def test_damaged_mirror_is_passed_over(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong bytes in a mirror do not get into the cache; the source serves. FAULTS 14."""
    (tmp_path / SHA256).write_bytes(CONTENT[::-1])
    monkeypatch.setenv("ZOO_MIRRORS", str(tmp_path))
    source = hub.add_file("tiny.bin", CONTENT)
    assert fetch_it(published(source)).read_bytes() == CONTENT
    assert len(hub.asked(source)) == 1


def test_mirror_is_useless_without_sha256(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror is asked only for bytes that can be told from others."""
    (tmp_path / "tiny.bin").write_bytes(OTHER)
    monkeypatch.setenv("ZOO_MIRRORS", str(tmp_path))
    assert fetch_it(unpinned(hub.add_file("tiny.bin", CONTENT))).read_bytes() == CONTENT


@pytest.mark.parametrize("variable", ["ZOO_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_without_copy(
    variable: str, zoo_cache: Path, closed_network: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline: no socket, no file, and the command that helps. FAULTS 61."""
    monkeypatch.setenv(variable, "yes")
    with pytest.raises(errors.OfflineError) as caught:
        fetch_it(published("hf://someone/nets/tiny.bin", "https://example.org/tiny.bin"))
    message = str(caught.value)
    assert message.startswith("tiny-net: the network is switched off")
    assert "`zoo fetch tiny-net`" in message
    assert "hf://someone/nets/tiny.bin, https://example.org/tiny.bin" in message
    assert str(zoo_cache / "blobs" / SHA256) in message
    assert "300,000 bytes" in message
    assert closed_network == []
    assert not zoo_cache.exists()


def test_offline_argument_wins(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """`offline=False` overrules the variables, and the other way round."""
    weights = published(hub.add_file("tiny.bin", CONTENT))
    with pytest.raises(errors.OfflineError):
        fetch_it(weights, offline=True)
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    assert fetch_it(weights, offline=False).read_bytes() == CONTENT


DIGESTS = {
    "sha256_prefix": SHA256[:8],
    "sha1": hashlib.sha1(CONTENT).hexdigest(),
    "md5": hashlib.md5(CONTENT).hexdigest(),
    "git_blob_sha1": hashlib.sha1(b"blob 300000\0" + CONTENT).hexdigest(),
}


@pytest.mark.parametrize("digest", DIGESTS)
def test_weaker_digest_is_checked_and_pinned(digest: str, hub: Hub, zoo_cache: Path) -> None:
    """A record with another digest: checked at once, cached and pinned by SHA-256."""
    url = hub.add_file("tiny.bin", CONTENT)
    wrong = {digest: "0" * len(DIGESTS[digest])}
    with pytest.raises(errors.ChecksumMismatch, match=f"{digest} is {DIGESTS[digest]}, expected 0"):
        fetch_it(unpinned(url, **wrong))
    assert files_in(zoo_cache) == {}
    weights = unpinned(url, **{digest: DIGESTS[digest]})
    assert fetch_it(weights) == zoo_cache / "blobs" / SHA256
    assert fetch_it(weights, offline=True) == zoo_cache / "blobs" / SHA256
    assert len(hub.asked(url)) == 2


def test_pin_is_kept_when_the_publisher_changes_the_file(hub: Hub, zoo_cache: Path) -> None:
    """Without any digest the first download counts; another later is refused, with the way out."""
    url = hub.add_file("tiny.bin", CONTENT)
    path = fetch_it(unpinned(url))
    hub.add_file("tiny.bin", OTHER)
    assert fetch_it(unpinned(url)) == path
    with pytest.raises(errors.ChecksumMismatch) as caught:
        fetch_it(unpinned(url), refetch=True)
    assert f"expected {SHA256}" in str(caught.value)
    assert path.read_bytes() == CONTENT
    path.unlink()
    with pytest.raises(errors.ChecksumMismatch, match="noted at the first download"):
        fetch_it(unpinned(url))
    pin = str(caught.value).partition("delete ")[2].partition("\n")[0]
    Path(pin).unlink()
    assert fetch_it(unpinned(url)).read_bytes() == OTHER


def test_pins_of_manifests_in_different_places(hub: Hub, tmp_path: Path) -> None:
    """The same relative `file://` in two manifests does not make their downloads the same."""
    one = unpinned("file://w.bin", hub.add_file("one", CONTENT))
    two = unpinned("file://w.bin", hub.add_file("two", OTHER))
    assert fetch_it(one, base_dir=tmp_path / "a").read_bytes() == CONTENT
    assert fetch_it(two, base_dir=tmp_path / "b").read_bytes() == OTHER


def test_refetch_downloads_again(hub: Hub) -> None:
    """`refetch` asks the source although the cache has the file."""
    url = hub.add_file("tiny.bin", CONTENT)
    path = fetch_it(published(url))
    assert fetch_it(published(url), refetch=True) == path
    assert len(hub.asked(url)) == 2


def test_failed_refetch_keeps_the_cached_file(hub: Hub) -> None:
    """The old file is good until a new one is verified."""
    url = hub.add_file("tiny.bin", CONTENT)
    path = fetch_it(published(url))
    hub.add_fault(url, flip_bit)
    with pytest.raises(errors.ChecksumMismatch):
        fetch_it(published(url), refetch=True)
    assert path.read_bytes() == CONTENT


def test_later_source_serves_and_is_named(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """Sources are asked in order; the one that served is logged."""
    caplog.set_level(logging.INFO, "zoo")
    first, second = hub.add_file("a/tiny.bin", CONTENT), hub.add_file("b/tiny.bin", CONTENT)
    hub.add_fault(first, status(403))
    assert fetch_it(published(first, second)).read_bytes() == CONTENT
    assert f"tiny-net: fetched from {second}" in caplog.text


def test_same_name_other_bytes(hub: Hub) -> None:
    """Two files of the same name are two entries. FAULTS 36."""
    one = fetch_it(published(hub.add_file("a/model.bin", CONTENT)))
    two = fetch_it(
        published(
            hub.add_file("b/model.bin", OTHER),
            sha256=hashlib.sha256(OTHER).hexdigest(),
            size_bytes=len(OTHER),
        )
    )
    assert (one.read_bytes(), two.read_bytes()) == (CONTENT, OTHER)


def test_no_progress_bar_without_a_terminal(hub: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    """Standard error stays empty when nobody watches it."""
    fetch_it(published(hub.add_file("tiny.bin", CONTENT)))
    assert capfd.readouterr() == ("", "")


def test_import_is_light() -> None:
    """Importing the hub loads none of the heavy packages and creates nothing."""
    code = (
        "import sys, zoo.hub; "
        "print([m for m in ('torch', 'huggingface_hub', 'fsspec', 'tqdm') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
