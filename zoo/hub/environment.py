"""The environment variables that steer fetching, read at each call and never at import.

ZOO_HOME          cache directory; default `$XDG_CACHE_HOME/zoo`, then `~/.cache/zoo`
ZOO_MIRRORS       base URLs or directories to ask first, separated by commas
ZOO_OFFLINE       1, true, yes or on: open no socket (HF_HUB_OFFLINE means the same)
ZOO_VERIFY        `always`: hash a cached file at every use
"""

from __future__ import annotations

import os
from pathlib import Path

from zoo.errors import CacheError

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})


def cache_root(cache_dir: Path | None = None) -> Path:
    """Return the absolute cache directory; nothing is created.

    Args:
        cache_dir: Wins over `ZOO_HOME`, `XDG_CACHE_HOME` and the home directory.

    Raises:
        CacheError: the user has no home directory and no variable names another place.
    """
    chosen = cache_dir or os.environ.get("ZOO_HOME")
    if chosen:
        return _home_expanded(Path(chosen)).absolute()
    # The XDG specification says that a relative XDG_CACHE_HOME is to be ignored.
    if (base := Path(os.environ.get("XDG_CACHE_HOME", ""))).is_absolute():
        return base / "zoo"
    return _home_expanded(Path("~/.cache/zoo"))


def is_offline(offline: bool | None) -> bool:
    """Return whether sockets are forbidden: the argument, else ZOO_OFFLINE, else HF_HUB_OFFLINE."""
    if offline is not None:
        return offline
    switch = os.environ.get("ZOO_OFFLINE") or os.environ.get("HF_HUB_OFFLINE", "")
    return switch.strip().lower() in TRUE_WORDS


def verifies_always() -> bool:
    """Return whether cached files are hashed at every use (`ZOO_VERIFY=always`)."""
    return os.environ.get("ZOO_VERIFY", "").strip().lower() == "always"


def mirrors() -> list[str]:
    """Return the bases in ZOO_MIRRORS; commas separate them because URLs contain colons."""
    bases = (base.strip().rstrip("/") for base in os.environ.get("ZOO_MIRRORS", "").split(","))
    return [base for base in bases if base]


def _home_expanded(path: Path) -> Path:
    home = os.environ.get("HOME")
    # An empty HOME would make `~/.cache` the directory `/.cache`.
    if str(path).startswith("~") and home is not None and not Path(home).is_absolute():
        raise CacheError(f"HOME must be an absolute path, got {home!r}. Set it, or set ZOO_HOME.")
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise CacheError(f"no home directory for {path}: {error}. Set ZOO_HOME.") from error
