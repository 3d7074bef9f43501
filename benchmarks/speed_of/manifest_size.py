"""What a long list of models costs: finding one in a manifest of the built-in size, and of 10,000.

Every run is a process of its own, so that "first" includes reading the file; the next call does
not. "list" decodes every record, which grows with their number.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from speed_of.measuring import RUNS, Measured, in_process
from zoo.manifest import builtin_manifest

MANY = 10_000
ROWS = {
    "import zoo": "import zoo",
    "find a built-in model": "zoo.model_info('darts-v2')",  # does not open the user's file
    "find a model, first": "zoo.model_info(name)",
    "find a model, next": "zoo.model_info(name)",
    "list": "zoo.list_models()",
}

_TIME = f"""
import json, sys, time
name, seconds = sys.argv[1], {{}}
for row, statement in {ROWS!r}.items():
    started = time.perf_counter()
    exec(statement)
    seconds[row] = time.perf_counter() - started
print(json.dumps(seconds))
"""


def measure(runs: int = RUNS) -> list[Measured]:
    """Return the seconds of each row with a user's manifest of both lengths, in turn."""
    records = list(json.loads(builtin_manifest().read_bytes())["models"].values())
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        lengths = (len(records), MANY)
        for length in lengths:
            models = {f"my-{n}": records[n % len(records)] for n in range(length)}
            content = json.dumps({"schema_version": 1, "models": models})
            (Path(folder) / f"{length}.json").write_text(content)
        for _ in range(runs):
            for length in lengths:
                environment = {"ZOO_MANIFESTS": str(Path(folder) / f"{length}.json")}
                told = in_process(_TIME, f"my-{length - 1}", environment=environment)
                for row, value in told.items():
                    seconds.setdefault(f"{row}, {length:,} records", []).append(value)
    return [Measured(row, "", "zoo", "s", tuple(values)) for row, values in seconds.items()]
