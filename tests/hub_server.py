"""A hub on loopback: what the real huggingface_hub client asks for, plain files, and faults.

Repositories live in memory; `main` is the only branch and every commit can be
asked for by its id. Plain files are under `/files/`. A fault from `hub_faults`
takes the place of the proper answer, for a path and a number of times.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]
Fault = Callable[["Exchange"], None]

RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
REPO_API = re.compile(
    r"/api/models/(?P<repo>[^/]+/[^/]+)/(?P<verb>preupload|commit|revision|tree)/(?P<revision>[^/]+)"
)
LFS_BATCH = re.compile(r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch")


@dataclass(frozen=True)
class Request:
    """One line of the request log; header names are in Title-Case, as clients differ."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Repository:
    """Commits in order, newest last."""

    commits: dict[str, Files] = field(default_factory=dict)

    def commit(self, files: Files) -> str:
        """Add a commit of all files; return its id."""
        described = f"{len(self.commits)} {sorted(files)}".encode()
        sha = hashlib.sha1(described).hexdigest()
        self.commits[sha] = files
        return sha

    def find(self, revision: str) -> str | None:
        """Return the id of a commit, or None."""
        if revision == "main":
            return list(self.commits)[-1]
        return revision if revision in self.commits else None


class Hub:
    """A server on a free port of 127.0.0.1; a context manager."""

    def __init__(self) -> None:
        self.files: Files = {}
        self.repositories: dict[str, Repository] = {}
        self.lfs: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.faults: dict[tuple[str, str], list[Fault]] = {}
        self.stopping = threading.Event()
        handler = type("Handler", (Exchange,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def wrap(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def add_file(self, path: str, content: bytes) -> str:
        """Serve a plain file; return its URL."""
        self.files[f"/files/{path}"] = content
        return f"{self.url}/files/{path}"

    def add_repository(self, repo: str, files: Files) -> str:
        """Create a repository with one commit; return the commit's id."""
        self.repositories[repo] = Repository()
        return self.repositories[repo].commit(files)

    def add_fault(self, url: str, *faults: Fault, times: int = 1000, method: str = "GET") -> None:
        """Answer requests for a URL by these faults in turn, each `times` times, then properly."""
        path = urlsplit(url).path
        self.faults[method, path] = [fault for fault in faults for _ in range(times)]

    def asked(self, url: str = "", method: str = "GET") -> list[Request]:
        """Return the requests of a method, for one URL or all."""
        path = urlsplit(url).path
        return [r for r in self.requests if r.method == method and (not url or r.path == path)]


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer; faults are functions of it."""

    hub: Hub
    content: bytes = b""
    extra_headers: Mapping[str, str] = {}

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: `Hub.requests` is the log."""

    def do_GET(self) -> None:
        """Answer GET and HEAD."""
        path = unquote(urlsplit(self.path).path)
        self._log(path)
        if not self._find_content(path):
            return
        faults = self.hub.faults.get((self.command, path))
        if faults:
            faults.pop(0)(self)
        else:
            self.send_content()

    do_HEAD = do_GET

    def send_content(self) -> None:
        """Send the content, or the range that was asked for."""
        total = len(self.content)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not match:
            return self.answer(200, self.content)
        start, end = int(match[1]), min(int(match[2] or total - 1), total - 1)
        if start >= total:
            return self.answer(416, b"", {"Content-Range": f"bytes */{total}"})
        headers = {"Content-Range": f"bytes {start}-{end}/{total}"}
        return self.answer(206, self.content[start : end + 1], headers)

    def answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole answer; headers may overrule its length."""
        self.send_head(status, {"Content-Length": str(len(body)), **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send status and headers only."""
        self.send_response(status)
        for name, value in {"Accept-Ranges": "bytes", **self.extra_headers, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def do_POST(self) -> None:
        """Answer what uploads ask for."""
        path = urlsplit(self.path).path
        self._log(path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/repos/create":
            asked = json.loads(body)
            repo = "/".join(filter(None, [asked.get("organization"), asked["name"]]))
            self.hub.repositories.setdefault(repo, Repository({"0" * 40: {}}))
            return self._answer_json({"url": f"{self.hub.url}/{repo}", "name": repo})
        if path == "/api/validate-yaml":
            return self._answer_json({"errors": [], "warnings": []})
        if LFS_BATCH.fullmatch(path):
            return self._answer_json({"transfer": "basic", "objects": self._lfs_actions(body)})
        match = REPO_API.fullmatch(path)
        if match and match["verb"] == "preupload":
            return self._answer_json({"files": self._upload_modes(body)})
        if match and match["verb"] == "commit":
            sha = self._commit(self.hub.repositories[match["repo"]], body)
            url = f"{self.hub.url}/{match['repo']}/commit/{sha}"
            return self._answer_json({"success": True, "commitOid": sha, "commitUrl": url})
        return self.answer(404)

    def do_PUT(self) -> None:
        """Take an LFS object."""
        self._log(self.path)
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.lfs[hashlib.sha256(content).hexdigest()] = content
        self.answer(200)

    def _log(self, path: str) -> None:
        headers = {name.title(): value for name, value in self.headers.items()}
        self.hub.requests.append(Request(self.command, path, headers))

    def _find_content(self, path: str) -> bool:
        """Set `content` to what a path means, or answer otherwise and return False."""
        if match := REPO_API.fullmatch(path):
            self._answer_listing(match["repo"], match["verb"], match["revision"])
            return False
        if match := RESOLVE.fullmatch(path):
            return self._find_in_repository(match["repo"], match["revision"], match["path"])
        if path not in self.hub.files:
            if (self.command, path) in self.hub.faults:
                return True
            self.answer(404, b"<html>no such page</html>")
            return False
        self.content = self.hub.files[path]
        return True

    def _find_in_repository(self, repo: str, revision: str, path: str) -> bool:
        found = self._find_commit(repo, revision)
        if not found:
            return False
        sha, files = found
        if path not in files:
            self.answer(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": sha})
            return False
        self.content = files[path]
        etag = f'"{hashlib.sha256(self.content).hexdigest()}"'
        self.extra_headers = {"ETag": etag, "X-Repo-Commit": sha, **self.extra_headers}
        return True

    def _find_commit(self, repo: str, revision: str) -> tuple[str, Files] | None:
        repository = self.hub.repositories.get(repo)
        if repository is None:
            self.answer(404, headers={"X-Error-Code": "RepoNotFound"})
            return None
        sha = repository.find(revision)
        if sha is None:
            self.answer(404, headers={"X-Error-Code": "RevisionNotFound"})
            return None
        return sha, repository.commits[sha]

    def _answer_listing(self, repo: str, verb: str, revision: str) -> None:
        if found := self._find_commit(repo, revision):
            sha, files = found
            if verb == "tree":
                self._answer_json([_tree_entry(path, files[path]) for path in sorted(files)])
            else:
                siblings = [{"rfilename": path} for path in sorted(files)]
                self._answer_json({"id": repo, "sha": sha, "private": False, "siblings": siblings})

    def _lfs_actions(self, body: bytes) -> list[dict[str, object]]:
        return [
            {**item, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{item['oid']}"}}}
            for item in json.loads(body)["objects"]
        ]

    def _upload_modes(self, body: bytes) -> list[dict[str, object]]:
        return [
            {
                "path": item["path"],
                "uploadMode": "regular" if item["path"].endswith((".md", ".json")) else "lfs",
                "shouldIgnore": False,
            }
            for item in json.loads(body)["files"]
        ]

    def _commit(self, repository: Repository, body: bytes) -> str:
        files = dict(repository.commits[repository.find("main") or ""])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.lfs[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        return repository.commit(files)

    def _answer_json(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _tree_entry(path: str, content: bytes) -> dict[str, object]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry: dict[str, object] = {"type": "file", "path": path, "size": len(content), "oid": blob}
    if not path.endswith((".md", ".json")):
        oid = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 130}
    return entry
