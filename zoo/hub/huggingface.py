"""`hf://owner/repository[@revision]/path`: found by the real client, streamed by ours.

huggingface_hub knows endpoint, token and what a refusal means. The bytes come
through `zoo.hub.http`, because hf_hub_download checks their size only, keeps a
second copy, and names files by what the server sends as ETag. Some records name a
file by the convention of its publisher, read nowhere: where the repository has no
such file, its list of files decides.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from zoo.hub.failures import Interrupted, Missing, SourceFailed
from zoo.hub.http import download
from zoo.hub.opening import describe_status
from zoo.hub.retry import PASSING_STATUSES, retry_after_seconds, retrying
from zoo.hub.urls import host_of

LOG = logging.getLogger("zoo")
CONVENTIONAL_NAMES = frozenset({"model.safetensors", "pytorch_model.bin"})
# Endings of weight files, the preferred first; there must be one file of the first kind found.
WEIGHT_SUFFIXES = ((".safetensors",), (".bin", ".pth", ".pt"))
PATTERN = re.compile(r"hf://(?P<repository>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?/(?P<path>.+)")


class EntryMissing(Missing):
    """The repository and the revision exist, and have no such file."""


def download_from_hub(
    source: str, partial: Path, *, size_bytes: int | None, label: str, resume: bool
) -> bool:
    """Complete a partial file from a Hugging Face hub; see `zoo.hub.http.download`.

    `HF_ENDPOINT` names another hub. A revision with a slash is written `refs%2Fpr%2F1`.
    """
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    match = PATTERN.fullmatch(source)
    if not match:
        raise SourceFailed("not of the form hf://owner/repository[@revision]/path")
    repository, path = match["repository"], match["path"]
    revision = unquote(match["revision"] or "main")
    endpoint = os.environ.get("HF_ENDPOINT", constants.ENDPOINT).rstrip("/")
    try:
        url = hf_hub_url(repository, path, revision=revision, endpoint=endpoint)
    except ValueError as error:
        raise SourceFailed(f"not a repository name: {repository}") from error
    try:
        offered = retrying(lambda: _offered_bytes(url, endpoint, repository, revision, path))
    except EntryMissing as missing:
        if path not in CONVENTIONAL_NAMES:
            raise
        path = _only_weight_file(endpoint, repository, revision, missing)
        LOG.warning("%s: %s; used %s, the only weight file there", label, missing, path)
        url = hf_hub_url(repository, path, revision=revision, endpoint=endpoint)
        offered = retrying(lambda: _offered_bytes(url, endpoint, repository, revision, path))
    if None not in (offered, size_bytes) and offered != size_bytes:
        raise SourceFailed(f"offers {offered:,} bytes, the published file has {size_bytes:,}")
    headers = build_hf_headers(library_name="zoo")
    return download(
        url, partial, size_bytes=size_bytes, label=label, headers=headers, resume=resume
    )


def _offered_bytes(
    url: str, endpoint: str, repository: str, revision: str, path: str
) -> int | None:
    """Return the size the hub gives for a file, which it must have."""
    from huggingface_hub import get_hf_file_metadata

    with _hub_errors(endpoint, repository, revision, path):
        return get_hf_file_metadata(url, library_name="zoo").size


def _only_weight_file(endpoint: str, repository: str, revision: str, missing: EntryMissing) -> str:
    """Return the one file that can be meant where a record's file name is a convention.

    Raises:
        Missing: there is none or more than one; the message lists what there is.
    """
    from huggingface_hub import HfApi

    with _hub_errors(endpoint, repository, revision, "its list of files"):
        api = HfApi(endpoint=endpoint, library_name="zoo")
        files = list(api.list_repo_files(repository, revision=revision))
    for suffixes in WEIGHT_SUFFIXES:
        found = [file for file in files if file.endswith(suffixes)]
        if len(found) == 1:
            return found[0]
        if found:
            break
    listed = ", ".join(files[:12]) + (f", … {len(files)} in all" if len(files) > 12 else "")
    raise Missing(f"{missing}; it has: {listed or 'no files'}")


@contextmanager
def _hub_errors(endpoint: str, repository: str, revision: str, path: str) -> Iterator[None]:
    """Give each refusal of the hub its reason in our words."""
    from huggingface_hub import errors

    host = host_of(endpoint)
    try:
        yield
    except errors.GatedRepoError as error:
        raise SourceFailed(
            f"repository {repository} on {host} is gated: accept its terms there, then set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise Missing(
            f"repository {repository} not found on {host} (if it is private, set HF_TOKEN)"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise Missing(f"revision {revision} not found in repository {repository}") from error
    except errors.EntryNotFoundError as error:
        raise EntryMissing(
            f"file {path} not found in {repository} at revision {revision}"
        ) from error
    except errors.HfHubHTTPError as error:
        reason = f"{describe_status(error.response.status_code)} from {host}"
        if error.response.status_code not in PASSING_STATUSES:
            raise SourceFailed(reason) from error
        after = retry_after_seconds(error.response.headers.get("Retry-After"))
        raise Interrupted(reason, retry_after_seconds=after) from error
    except errors.OfflineModeIsEnabled as error:
        raise SourceFailed("HF_HUB_OFFLINE was set when huggingface_hub was imported") from error
    except Exception as error:
        # The errors of its HTTP library (requests, httpx or httpx2, by version) come through.
        reason = " ".join(str(error).split())
        raise SourceFailed(f"cannot reach {host}: {type(error).__name__}: {reason}") from error
