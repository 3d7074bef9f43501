"""How long `import zoo` takes, as a ratio to `import torch`, each in fresh processes."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from environment import write_result

STATEMENTS = {
    "torch": "import torch",
    "torch, zoo": "import torch, zoo",
    "torch, zoo.ProxylessNAS": "import torch; from zoo import ProxylessNAS",
    "torch, all spaces": "import torch; from zoo.registry import SPACES, find_space\n"
    "for name in SPACES: find_space(name)",
    "timm": "import timm",
}


def main() -> None:
    """Run each statement in turn, many times, so that drift hits all alike."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(arguments.repeats):
        for name, statement in STATEMENTS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    write_result(
        arguments.out,
        {
            "repeats": arguments.repeats,
            "median_seconds": {name: round(value, 3) for name, value in medians.items()},
            "ratio_to_torch": {
                name: round(value / medians["torch"], 3) for name, value in medians.items()
            },
        },
    )


if __name__ == "__main__":
    main()
