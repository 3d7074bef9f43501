"""How often a second something runs, and how another process tells.

Only the standard library: this file is imported in environments that have no zoo.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

AT_LEAST_SECONDS = 0.5
AT_LEAST_CALLS = 2


def rate(run: Callable[[], Any]) -> float:
    """Return calls per second, after one that does not count."""
    run()
    calls, seconds, started = 0, 0.0, time.perf_counter()
    while calls < AT_LEAST_CALLS or seconds < AT_LEAST_SECONDS:
        run()
        calls += 1
        seconds = time.perf_counter() - started
    return calls / seconds


def print_rates(operations: Mapping[str, Callable[[], Any]]) -> None:
    """Print the rate of each operation as one line of JSON."""
    print(json.dumps({name: rate(run) for name, run in operations.items()}))
