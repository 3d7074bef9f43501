"""One HTTP request: time-outs, redirects, and a reason for each way it can fail.

urllib, because huggingface_hub changed its HTTP library twice (requests, httpx,
httpx2) and nothing else here needs one. It honours HTTPS_PROXY, NO_PROXY and
SSL_CERT_FILE, and always verifies certificates.
"""

from __future__ import annotations

import ssl
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from zoo.hub.failures import Interrupted, Missing, SourceFailed
from zoo.hub.retry import PASSING_STATUSES, retry_after_seconds
from zoo.hub.urls import check_redirect, host_of, same_origin

TIMEOUT_SECONDS = 20.0  # to connect, and for each read
REDIRECTS = 5


class NothingLeft(SourceFailed):
    """HTTP 416: the file has no bytes from the offset on."""


def open_url(url: str, headers: dict[str, str]) -> HTTPResponse:
    """Return the response to a GET whose status is one of success.

    Args:
        headers: For this origin; Authorization does not follow a redirect to another.

    Raises:
        NothingLeft, Missing, Interrupted, SourceFailed: by status and kind of failure.
    """
    host = host_of(url)
    try:
        return build_opener(_Redirects).open(Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        with error:
            raise _status_failure(error, host) from error
    except URLError as error:
        raise _connection_failure(error.reason, host) from error
    except TimeoutError as error:
        raise Interrupted(f"no answer from {host} within {TIMEOUT_SECONDS:g} s") from error
    except (OSError, HTTPException) as error:
        raise Interrupted(f"no proper answer from {host}: {type(error).__name__}") from error


def describe_status(code: int) -> str:
    """Return `HTTP 403 Forbidden`, in our words and not in those the server sent."""
    known = code in HTTPStatus.__members__.values()
    return f"HTTP {code} {HTTPStatus(code).phrase}" if known else f"HTTP {code}"


def _connection_failure(cause: str | BaseException, host: str) -> SourceFailed:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return SourceFailed(
            f"TLS certificate of {host} not accepted: {cause.verify_message}; "
            "SSL_CERT_FILE may name a file of further authorities"
        )
    if isinstance(cause, TimeoutError):
        return Interrupted(f"no answer from {host} within {TIMEOUT_SECONDS:g} s")
    reason = f"cannot connect to {host}: {getattr(cause, 'strerror', None) or cause}"
    if isinstance(cause, ConnectionResetError):
        return Interrupted(reason)
    return SourceFailed(reason)


def _status_failure(error: HTTPError, host: str) -> SourceFailed:
    reason = f"{describe_status(error.code)} from {host}"
    if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return NothingLeft(reason)
    if 300 <= error.code < 400:
        return SourceFailed(
            f"{reason}: redirects in a loop, or more than {REDIRECTS} times, or to another scheme"
        )
    if error.code in PASSING_STATUSES:
        after = retry_after_seconds(error.headers.get("Retry-After"))
        return Interrupted(reason, retry_after_seconds=after)
    if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return Missing(reason)
    return SourceFailed(reason)


class _Redirects(HTTPRedirectHandler):
    """At most REDIRECTS, none to a weaker scheme, and credentials stay with their origin."""

    max_redirections = REDIRECTS
    max_repeats = 1
    http_error_308 = HTTPRedirectHandler.http_error_302

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        try:
            check_redirect(req.full_url, newurl)
        except SourceFailed:
            fp.close()
            raise
        known_code = 307 if code == 308 else code  # Python 3.10 does not know 308
        redirected = super().redirect_request(req, fp, known_code, msg, headers, newurl)
        if redirected and not same_origin(req.full_url, newurl):
            redirected.remove_header("Authorization")
        return redirected
