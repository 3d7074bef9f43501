"""What goes wrong between a server and the cache; each test names its cases of the fault list."""

from __future__ import annotations

import hashlib
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests import hub_faults as faults
from tests.hub.published import CONTENT, SHA256, fetch_it, files_in, published, unpinned
from tests.hub_server import Exchange, Hub
from zoo import errors
from zoo.hub import body, opening, retry
from zoo.hub.failures import SourceFailed
from zoo.hub.urls import check_redirect, check_url

HALF = len(CONTENT) // 2
DEAD = "https://127.0.0.1:1/tiny.bin"


@pytest.fixture
def url(hub: Hub) -> str:
    """Publish the file as a plain file."""
    return hub.add_file("tiny.bin", CONTENT)


def reasons(error: pytest.ExceptionInfo[errors.FetchError]) -> list[str]:
    """Return the lines about the places that were asked."""
    return [line[4:] for line in str(error.value).splitlines() if line.startswith("  - ")]


def ranges(hub: Hub, url: str) -> list[str | None]:
    """Return the Range header of each request for the file."""
    return [request.headers.get("Range") for request in hub.asked(url)]


def leave_partial(cache: Path, content: bytes, key: str = SHA256) -> None:
    """Leave what a killed download leaves."""
    (cache / "partials").mkdir(parents=True)
    (cache / "partials" / f"{key}.1-killed").write_bytes(content)


def test_dead_places_then_a_living_one(url: str) -> None:
    """Refused connections and unknown hosts lead to the next source. FAULTS 1."""
    assert fetch_it(published(DEAD, url)).read_bytes() == CONTENT


def test_all_dead(hub: Hub, zoo_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line per place, each with its own reason; then digest and next step. FAULTS 1."""
    monkeypatch.setenv("ZOO_MIRRORS", "https://127.0.0.1:1/mirror")
    look_up = socket.getaddrinfo

    def no_such_host(host: str, *rest: object, **more: object) -> object:
        if host == "nowhere.example":
            raise socket.gaierror(-2, "Name or service not known")
        return look_up(host, *rest, **more)  # pyright: ignore

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    with pytest.raises(errors.DownloadError) as caught:
        fetch_it(published("https://nowhere.example/tiny.bin", DEAD, "hf://a/b/c"))
    message = str(caught.value)
    assert message.startswith("tiny-net: no source delivered the file (300,000 bytes, sha256 ")
    assert SHA256 in message
    assert reasons(caught) == [
        "https://127.0.0.1:1/mirror: cannot connect to 127.0.0.1:1: Connection refused",
        "https://nowhere.example/tiny.bin: cannot connect to nowhere.example: "
        "Name or service not known",
        "https://127.0.0.1:1/tiny.bin: cannot connect to 127.0.0.1:1: Connection refused",
        f"hf://a/b/c: repository a/b not found on {hub.host} (if it is private, set HF_TOKEN)",
    ]
    assert "Run `zoo fetch tiny-net` again, or set ZOO_MIRRORS" in message
    assert files_in(zoo_cache) == {}


def test_forbidden(hub: Hub, url: str, zoo_cache: Path) -> None:
    """A 403 is a 403 and not a wrong digest; nothing is cached, nothing asked twice. FAULTS 2."""
    hub.add_fault(url, faults.status(403, faults.XML))
    with pytest.raises(errors.DownloadError) as caught:
        fetch_it(published(url))
    assert reasons(caught) == [f"{url}: HTTP 403 Forbidden from {hub.host}"]
    assert len(hub.asked(url)) == 1
    assert files_in(zoo_cache) == {}


def test_three_ways_of_not_found(hub: Hub) -> None:
    """Repository, revision and file not found are three reasons, with their names. FAULTS 3."""
    hub.add_repository("someone/nets", {"tiny.bin": CONTENT})
    with pytest.raises(errors.DownloadError) as caught:
        fetch_it(
            published(
                "hf://someone/else/tiny.bin",
                "hf://someone/nets@v9/tiny.bin",
                "hf://someone/nets/big.bin",
            )
        )
    assert [line.partition(": ")[2] for line in reasons(caught)] == [
        f"repository someone/else not found on {hub.host} (if it is private, set HF_TOKEN)",
        "revision v9 not found in repository someone/nets",
        "file big.bin not found in someone/nets at revision main",
    ]


def test_gated_repository(hub: Hub) -> None:
    """A gated repository is named as such, with what to do. FAULTS 3."""
    hub.add_repository("someone/nets", {"tiny.bin": CONTENT})
    gated = faults.status(403, X_Error_Code="GatedRepo")
    hub.add_fault("/someone/nets/resolve/main/tiny.bin", gated, method="HEAD")
    with pytest.raises(errors.DownloadError, match="is gated: accept its terms there"):
        fetch_it(published("hf://someone/nets/tiny.bin"))


def test_not_found_on_a_plain_server(hub: Hub) -> None:
    """A plain 404 is not retried. FAULTS 3."""
    missing = f"{hub.url}/files/none.bin"
    with pytest.raises(errors.DownloadError, match="HTTP 404 Not Found from 127"):
        fetch_it(published(missing))
    assert len(hub.asked(missing)) == 1


def test_rate_limit_is_waited_for(hub: Hub, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry-After is honoured, but not beyond a limit; then the next source. FAULTS 4."""
    pauses: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", pauses.append)
    hub.add_fault(url, faults.status(429, Retry_After="7"), faults.status(429, Retry_After="9999"))
    hub.faults["GET", "/files/tiny.bin"] = hub.faults["GET", "/files/tiny.bin"][999:1002]
    other = hub.add_file("other/tiny.bin", CONTENT)
    assert fetch_it(published(url, other)).read_bytes() == CONTENT
    assert pauses == [7.0, retry.LONGEST_PAUSE_SECONDS]
    assert (len(hub.asked(url)), len(hub.asked(other))) == (3, 1)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_rate_limit_of_a_hub(hub: Hub, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for `hf:`, whichever request it meets. FAULTS 4."""
    pauses: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", pauses.append)
    hub.add_repository("someone/nets", {"tiny.bin": CONTENT})
    place = "/someone/nets/resolve/main/tiny.bin"
    hub.add_fault(place, faults.status(429, Retry_After="5"), times=1, method=method)
    assert fetch_it(published("hf://someone/nets/tiny.bin")).read_bytes() == CONTENT
    assert pauses == [5.0]


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_server_errors_pass(code: int, hub: Hub, url: str) -> None:
    """Two server errors, then the file. FAULTS 5."""
    hub.add_fault(url, faults.status(code), times=2)
    assert fetch_it(published(url)).read_bytes() == CONTENT
    assert len(hub.asked(url)) == 3


def test_server_errors_stay(hub: Hub, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After three attempts it is over; the pauses grow and are jittered. FAULTS 5."""
    pauses: list[float] = []
    monkeypatch.setattr(retry, "BACKOFF_SECONDS", 1.0)
    monkeypatch.setattr(retry.time, "sleep", pauses.append)
    hub.add_fault(url, faults.status(500))
    with pytest.raises(errors.DownloadError) as caught:
        fetch_it(published(url))
    assert reasons(caught) == [
        f"{url}: HTTP 500 Internal Server Error from {hub.host} (3 attempts)"
    ]
    assert len(hub.asked(url)) == 3
    assert 0.5 <= pauses[0] <= 1.5
    assert 1.0 <= pauses[1] <= 3.0


def test_dropped_connection_is_resumed(hub: Hub, url: str) -> None:
    """The next attempt asks for what is missing only. FAULTS 6."""
    hub.add_fault(url, faults.drop_at_half, times=2)
    assert fetch_it(published(url)).read_bytes() == CONTENT
    assert ranges(hub, url) == [None, f"bytes={HALF}-", f"bytes={HALF + HALF // 2}-"]


def test_dropped_connection_without_any_digest_is_not_resumed(hub: Hub, url: str) -> None:
    """Pieces that nothing can verify are not put together. FAULTS 15."""
    hub.add_fault(url, faults.drop_at_half, times=1)
    assert fetch_it(unpinned(url)).read_bytes() == CONTENT
    assert ranges(hub, url) == [None, None]


def test_next_run_resumes(hub: Hub, url: str, zoo_cache: Path) -> None:
    """What a killed run left is continued, and nothing of it remains. FAULTS 7, 26."""
    leave_partial(zoo_cache, CONTENT[:HALF])
    assert fetch_it(published(url)).read_bytes() == CONTENT
    assert ranges(hub, url) == [f"bytes={HALF}-"]
    assert files_in(zoo_cache) == {f"blobs/{SHA256}": CONTENT}


def test_failed_run_leaves_one_partial(hub: Hub, url: str, zoo_cache: Path) -> None:
    """Runs that get nowhere do not pile up copies. FAULTS 6, 26."""
    hub.add_fault(url, faults.drop_at_half, times=3)
    with pytest.raises(errors.DownloadError) as caught:
        fetch_it(published(url))
    assert reasons(caught) == [
        f"{url}: connection closed after 262,500 of 300,000 bytes (3 attempts)"
    ]
    hub.add_fault(url, faults.status(403))
    for _ in range(3):
        with pytest.raises(errors.DownloadError):
            fetch_it(published(url))
    assert list(files_in(zoo_cache).values()) == [CONTENT[:262_500]]


def test_other_version_partial_is_never_loaded(hub: Hub, url: str, zoo_cache: Path) -> None:
    """A partial of other bytes costs one download from zero. FAULTS 15, 26."""
    leave_partial(zoo_cache, b"x" * HALF)
    assert fetch_it(published(url)).read_bytes() == CONTENT
    assert ranges(hub, url) == [f"bytes={HALF}-", None]


def test_partial_longer_than_the_file_is_ignored(hub: Hub, url: str, zoo_cache: Path) -> None:
    """It cannot be the beginning of it. FAULTS 10, 26."""
    leave_partial(zoo_cache, CONTENT + b"x")
    assert fetch_it(published(url)).read_bytes() == CONTENT
    assert ranges(hub, url) == [None]


def test_complete_partial_of_known_size(hub: Hub, url: str, zoo_cache: Path) -> None:
    """A run killed before the last rename has nothing to ask for. FAULTS 7, 10."""
    leave_partial(zoo_cache, CONTENT)
    assert fetch_it(published(url)).read_bytes() == CONTENT
    assert hub.asked(url) == []


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"too much"])
def test_range_not_satisfiable(left: bytes, hub: Hub, url: str, zoo_cache: Path) -> None:
    """416 means complete or wrong: the digest decides, then from zero. FAULTS 10."""
    leave_partial(zoo_cache, left)
    weights = published(url, size_bytes=None)
    assert fetch_it(weights).read_bytes() == CONTENT
    start_again = [] if left == CONTENT else [None]
    assert ranges(hub, url) == [f"bytes={len(left)}-", *start_again]


def test_server_that_ignores_ranges(hub: Hub, url: str, zoo_cache: Path) -> None:
    """A 200 starts from zero and is not appended. FAULTS 8."""
    leave_partial(zoo_cache, CONTENT[:HALF])
    hub.add_fault(url, faults.ignore_range)
    assert fetch_it(published(url)).read_bytes() == CONTENT
    assert len(hub.asked(url)) == 1


def test_wrong_content_range(hub: Hub, url: str, zoo_cache: Path) -> None:
    """A 206 for another range is thrown away, with the partial. FAULTS 9."""
    leave_partial(zoo_cache, CONTENT[:HALF])
    hub.add_fault(url, faults.wrong_content_range, times=1)
    assert fetch_it(published(url)).read_bytes() == CONTENT
    assert ranges(hub, url) == [f"bytes={HALF}-", None]


@pytest.mark.parametrize("content", [CONTENT[:-5], CONTENT + b"12345"])
def test_other_size_is_refused_before_download(content: bytes, hub: Hub, zoo_cache: Path) -> None:
    """Content-Length must be the published size. FAULTS 11."""
    url = hub.add_file("tiny.bin", content)
    with pytest.raises(errors.DownloadError) as caught:
        fetch_it(published(url))
    offers = f"offers {len(content):,} bytes, the published file has 300,000"
    assert reasons(caught) == [f"{url}: {offers}"]
    assert files_in(zoo_cache) == {}


def test_other_size_in_a_hub_is_refused_before_download(hub: Hub) -> None:
    """The size a hub gives is checked before any byte is asked for. FAULTS 11."""
    hub.add_repository("someone/nets", {"tiny.bin": CONTENT + b"x"})
    with pytest.raises(errors.DownloadError, match="offers 300,001 bytes"):
        fetch_it(published("hf://someone/nets/tiny.bin"))
    assert hub.asked() == []


def test_body_shorter_than_its_content_length(hub: Hub, url: str, zoo_cache: Path) -> None:
    """A short body is a lost connection, without a published size too. FAULTS 11."""
    hub.add_fault(url, faults.status(200, CONTENT[:HALF], Content_Length="300000"))
    with pytest.raises(errors.DownloadError, match=r"closed after 150,000 of 300,000 bytes"):
        fetch_it(unpinned(url))
    assert files_in(zoo_cache) == {}


def test_endless_body(hub: Hub, url: str, zoo_cache: Path) -> None:
    """Reading stops one byte after the published size, and nothing is kept. FAULTS 12."""
    hub.add_fault(url, faults.endless)
    with pytest.raises(errors.DownloadError) as caught:
        fetch_it(published(url))
    assert reasons(caught) == [f"{url}: sends more than 300,000 bytes"]
    assert files_in(zoo_cache) == {}


def test_endless_body_of_unknown_size(
    hub: Hub, url: str, zoo_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a published size there is still a limit. FAULTS 12."""
    monkeypatch.setattr(body, "LARGEST_BYTES", 1_000_000)
    hub.add_fault(url, faults.endless)
    with pytest.raises(errors.DownloadError, match="sends more than 1,000,000 bytes"):
        fetch_it(unpinned(url))
    assert files_in(zoo_cache) == {}


def test_dripping_body(hub: Hub, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that never times out but hardly moves is given up, with its speed. FAULTS 13."""
    monkeypatch.setattr(body, "SLOW_SECONDS", 0.3)
    hub.add_fault(url, faults.drip)
    with pytest.raises(errors.DownloadError, match=r"too slow: \d\d bytes/s for 0\.\d s, expected"):
        fetch_it(published(url))


def test_stalled_body(hub: Hub, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that stops is left after the read time-out and resumed. FAULTS 13."""
    monkeypatch.setattr(opening, "TIMEOUT_SECONDS", 0.3)
    hub.add_fault(url, faults.stall_at_half, times=1)
    assert fetch_it(published(url)).read_bytes() == CONTENT
    assert ranges(hub, url) == [None, f"bytes={HALF}-"]


def test_server_that_never_answers(monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    """Accepting and saying nothing is a time-out; the message says how long. FAULTS 13."""
    monkeypatch.setattr(opening, "TIMEOUT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        with pytest.raises(errors.DownloadError) as caught:
            fetch_it(published(f"http://127.0.0.1:{port}/tiny.bin"))
    assert f"no answer from 127.0.0.1:{port} within 0.1 s (3 attempts)" in str(caught.value)


def test_flipped_bit_then_a_good_source(hub: Hub, url: str) -> None:
    """Wrong bytes of the right size lead to the next source. FAULTS 14."""
    hub.add_fault(url, faults.flip_bit)
    good = hub.add_file("good/tiny.bin", CONTENT)
    assert fetch_it(published(url, good)).read_bytes() == CONTENT
    assert (len(hub.asked(url)), len(hub.asked(good))) == (1, 1)


def test_flipped_bit_everywhere(hub: Hub, url: str, zoo_cache: Path) -> None:
    """Expected and found digest are named, and nothing is kept. FAULTS 14."""
    hub.add_fault(url, faults.flip_bit)
    flipped = bytearray(CONTENT)
    flipped[HALF] ^= 1
    with pytest.raises(errors.ChecksumMismatch) as caught:
        fetch_it(published(url))
    found = hashlib.sha256(flipped).hexdigest()
    assert reasons(caught) == [f"{url}: sha256 is {found}, expected {SHA256} (300,000 bytes)"]
    assert "The download was deleted." in str(caught.value)
    assert files_in(zoo_cache) == {}


def test_file_changes_between_two_ranges(hub: Hub, url: str, zoo_cache: Path) -> None:
    """A splice of two versions is noticed; one new start gets the new version. FAULTS 15."""

    def drop_then_change(exchange: Exchange) -> None:
        faults.drop_at_half(exchange)
        hub.add_file("tiny.bin", CONTENT)

    hub.add_file("tiny.bin", CONTENT[::-1])
    hub.add_fault(url, drop_then_change, times=1)
    assert fetch_it(published(url)).read_bytes() == CONTENT
    assert ranges(hub, url) == [None, f"bytes={HALF}-", None]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (faults.HTML, "an HTML page"),
        (b"\xef\xbb\xbf<html>", "an HTML page"),
        (faults.XML, "an XML document"),
        (faults.LFS_POINTER, "a Git LFS pointer"),
        (b"", "an empty file"),
    ],
)
@pytest.mark.parametrize("make_record", [published, unpinned])
def test_page_in_place_of_the_file(
    content: bytes, kind: str, make_record: object, hub: Hub, zoo_cache: Path
) -> None:
    """Pages and pointers are named; with or without digest they get nowhere. FAULTS 16, 17."""
    url = hub.add_file("tiny.bin", content)
    with pytest.raises(errors.DownloadError) as caught:
        fetch_it(make_record(url))  # pyright: ignore
    assert reasons(caught) == [f"{url}: not a checkpoint: {kind}"]
    assert files_in(zoo_cache) == {}


def test_compressed_body(hub: Hub, url: str, zoo_cache: Path) -> None:
    """Compression was not asked for and is refused; the request says so. FAULTS 18."""
    hub.add_fault(url, faults.gzipped)
    with pytest.raises(errors.DownloadError, match=r"compresses the file.*Content-Encoding"):
        fetch_it(published(url))
    assert hub.asked(url)[0].headers["Accept-Encoding"] == "identity"
    assert files_in(zoo_cache) == {}


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_relative_redirect(code: int, hub: Hub, url: str) -> None:
    """Ordinary redirects are followed. FAULTS 20."""
    hub.add_fault("/files/old.bin", faults.status(code, Location="/files/tiny.bin"))
    assert fetch_it(published(f"{hub.url}/files/old.bin")).read_bytes() == CONTENT


def test_redirect_loop(hub: Hub, url: str) -> None:
    """A loop ends at once. FAULTS 20."""
    hub.add_fault(url, faults.redirect(url))
    with pytest.raises(errors.DownloadError, match="redirects in a loop, or more than 5 times"):
        fetch_it(published(url))
    assert len(hub.asked(url)) <= 2


def test_too_many_redirects(hub: Hub) -> None:
    """A chain ends after five. FAULTS 20."""
    for step in range(9):
        hub.add_fault(f"/files/{step}", faults.redirect(f"/files/{step + 1}"))
    with pytest.raises(errors.DownloadError, match="more than 5 times"):
        fetch_it(published(f"{hub.url}/files/0"))
    assert len(hub.asked()) == 6


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "javascript:1"])
def test_redirect_to_another_scheme(target: str, hub: Hub, url: str, zoo_cache: Path) -> None:
    """A server cannot make us read local files. FAULTS 19, 54."""
    hub.add_fault(url, faults.redirect(target))
    with pytest.raises(errors.DownloadError):
        fetch_it(published(url, sha256=None, size_bytes=None))
    assert files_in(zoo_cache) == {}


@pytest.mark.parametrize(
    ("url", "target", "reason"),
    [
        ("https://a.org/x", "http://a.org/x", "from https to http"),
        ("https://a.org/x", "https://127.0.0.1/x", "to this machine"),
        ("https://a.org/x", "https://169.254.169.254/x", "169.254.169.254 is an address"),
        ("http://127.0.0.1/x", "http://a.org/x", "plain http"),
    ],
)
def test_refused_redirects(url: str, target: str, reason: str) -> None:
    """No weaker scheme, and no way from outside to inside. FAULTS 19, 54."""
    with pytest.raises(SourceFailed, match=f"refused: .*{reason}"):
        check_redirect(url, target)


@pytest.mark.parametrize(
    "url",
    [
        "javascript://alert/1",
        "http://a.org/x",
        "https://user:secret@a.org/x",
        "https://user@a.org/x",
        "https://10.0.0.1/x",
        "https://[fe80::1]/x",
        "https://169.254.169.254/latest/meta-data",
        "https://metadata.google.internal/x",
        "https:///x",
        "https://a.org:port/x",
    ],
)
def test_refused_urls(url: str) -> None:
    """Other schemes, credentials, addresses, metadata hosts; no secret is repeated. FAULTS 54."""
    with pytest.raises(SourceFailed, match="refused") as caught:
        check_url(url)
    assert "secret" not in str(caught.value)


def test_credentials_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """No message has the password of a refused URL. FAULTS 54."""
    monkeypatch.setenv("ZOO_MIRRORS", "https://me:secret@a.org/mirror")
    with pytest.raises(errors.DownloadError) as caught:
        fetch_it(published("https://me:secret@a.org/x"))
    assert [line.partition(": ")[0] for line in reasons(caught)] == [
        "https://***@a.org/mirror",
        "https://***@a.org/x",
    ]
    assert "secret" not in str(caught.value)


def test_accepted_urls() -> None:
    """HTTPS to a name, and this machine by any scheme. FAULTS 54."""
    for url in ("https://a.org/x", "http://localhost:1/x", "http://[::1]/x", "https://127.0.0.1/x"):
        check_url(url)


@pytest.mark.parametrize("mirror", ["javascript:alert(1)", "javascript://x", "relative/dir"])
def test_refused_mirrors(mirror: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror that is no place to read from is passed over, and named. FAULTS 54."""
    monkeypatch.setenv("ZOO_MIRRORS", mirror)
    assert fetch_it(published(url)).read_bytes() == CONTENT
    with pytest.raises(errors.DownloadError) as caught:
        fetch_it(published(DEAD), refetch=True)
    assert reasons(caught)[0].startswith(f"{mirror}: ")


def test_untrusted_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A self-signed server is refused; SSL_CERT_FILE makes it trusted. FAULTS 21."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 2 "
        "-addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("openssl cannot make a certificate here")
    with Hub() as secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        secure.wrap(context)
        secure.add_file("tiny.bin", CONTENT)
        url = f"https://localhost:{secure.port}/files/tiny.bin"
        with pytest.raises(errors.DownloadError, match=r"TLS certificate of localhost.*SSL_CERT"):
            fetch_it(published(url))
        assert secure.asked() == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert fetch_it(published(url)).read_bytes() == CONTENT
        target = f"http://127.0.0.1:{secure.port}/files/tiny.bin"
        secure.add_fault("/files/tiny.bin", faults.redirect(target))
        with pytest.raises(errors.DownloadError, match="redirects from https to http"):
            fetch_it(published(url), refetch=True)


def test_proxy_of_the_environment(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY is used, and NO_PROXY exempts hosts from it. FAULTS 21."""
    proxied: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            proxied.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.setenv("NO_PROXY", hub.host)
        monkeypatch.setenv("no_proxy", hub.host)
        fetch_it(published("http://localhost:9/tiny.bin"))
        assert proxied == ["http://localhost:9/tiny.bin"]
        fetch_it(published(hub.add_file("tiny.bin", CONTENT)), refetch=True)
        assert len(proxied) == 1
        proxy.shutdown()


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/evil", "C:\\evil", "e" * 300, "\u202egpj.exe", "nul%00byte"]
)
def test_names_sent_by_a_server_are_ignored(name: str, hub: Hub, zoo_cache: Path) -> None:
    """ETag and Content-Disposition become no part of any path. FAULTS 22."""
    hub.add_repository("someone/nets", {"tiny.bin": CONTENT})
    sent = name.encode().decode("latin-1")
    headers = {"ETag": f'"{sent}"', "Content-Disposition": f'attachment; filename="{sent}"'}
    for method in ("HEAD", "GET"):
        hub.add_fault(
            "/someone/nets/resolve/main/tiny.bin",
            lambda exchange: exchange.answer(200, exchange.content, headers),
            method=method,
        )
    assert fetch_it(published("hf://someone/nets/tiny.bin")) == zoo_cache / "blobs" / SHA256
    assert files_in(zoo_cache) == {f"blobs/{SHA256}": CONTENT}


@pytest.mark.parametrize("name", ["..", ".hidden", "..%2Fevil", "a%00b", ""])
def test_names_of_sources_that_are_not_looked_up_in_mirrors(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A published name is used in a mirror only if it is a plain file name. FAULTS 22."""
    from zoo.hub.sources import mirror_places

    monkeypatch.setenv("ZOO_MIRRORS", str(tmp_path))
    places = mirror_places(published(f"https://a.org/x/{name}"), SHA256)
    assert places == {str(tmp_path): [f"{tmp_path}/{SHA256}", f"{tmp_path}/{SHA256[:2]}/{SHA256}"]}


def test_malformed_hub_source() -> None:
    """A source without a path says what is expected."""
    with pytest.raises(errors.DownloadError, match="hf://owner/repository"):
        fetch_it(published("hf://only-a-name"))


def test_keyboard_interrupt_keeps_the_partial(
    hub: Hub, url: str, zoo_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle; the next run goes on. FAULTS 40."""
    check = body._SpeedRule.check

    def interrupt(self: body._SpeedRule, chunk_bytes: int) -> None:
        check(self, chunk_bytes)
        raise KeyboardInterrupt

    hub.add_fault(url, faults.stall_at_half, times=1)
    with monkeypatch.context() as patch:
        patch.setattr(body._SpeedRule, "check", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch_it(published(url))
    started = time.monotonic()
    assert fetch_it(published(url)).read_bytes() == CONTENT
    assert time.monotonic() - started < 5
    (left,) = {value for value in ranges(hub, url) if value}
    assert left.startswith("bytes=")
    assert list((zoo_cache / "partials").iterdir()) == []
