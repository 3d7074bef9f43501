"""Time and memory of loading a cached model, beside timm from a local safetensors file.

Both run the same network and weights: random weights, saved by timm. The zoo loads
them by name from a manifest, once before the measurement, so that its cache has the
verified native form. Every repeat is a fresh process that imports first and then
times the load alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
from environment import write_result

from zoo.hub.checksum import file_sha256
from zoo.manifest import find_entry
from zoo.records import Manifest, Weights

PAIRS = {
    "mobilenetv3-large-100": "mobilenetv3_large_100",
    "nasnet-a-large": "nasnetalarge",
}

_MEASURE = """
import json, resource, time, torch
{setup}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
network = {load}
seconds = time.perf_counter() - started
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sizes = [t.numel() * t.element_size() for t in network.state_dict().values()]
print(json.dumps([seconds, (after - before) * 1024, sum(sizes)]))
"""


def measure(setup: str, load: str) -> tuple[float, float, float]:
    """Return seconds, growth of the peak memory in bytes, bytes of the weights."""
    code = _MEASURE.format(setup=setup, load=load)
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    seconds, growth, weights = json.loads(output.splitlines()[-1])
    return seconds, growth, weights


def write_manifest(folder: Path, name: str, weights: Path) -> None:
    """Point the zoo at a manifest with one model, the known one under another name."""
    entry = find_entry(name)
    record = msgspec.structs.replace(
        entry.record,
        architecture=str(entry.base_dir / entry.record.architecture),
        golden=(),
        weights=(
            Weights(
                sources=(f"file://{weights}",),
                format=entry.weights[0].format,
                sha256=file_sha256(weights),
            ),
        ),
    )
    path = folder / "manifest.json"
    path.write_bytes(
        msgspec.json.encode(Manifest(schema_version=1, models={"benchmarked": record}))
    )
    os.environ |= {"ZOO_MANIFESTS": str(path), "ZOO_HOME": str(folder / "cache")}


def compare(name: str, timm_name: str, repeats: int, folder: Path) -> dict[str, object]:
    """Return medians of both sides and their ratio, measured in turn."""
    timm_file = folder / f"{timm_name}.safetensors"
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import timm; from safetensors.torch import save_file\n"
            f"save_file(timm.create_model({timm_name!r}).state_dict(), {str(timm_file)!r})",
        ],
        check=True,
    )
    write_manifest(folder, name, timm_file)
    sides = {
        "zoo": (
            "import timm, zoo.loading; from zoo.registry import SPACES, find_space\n"
            "for name in SPACES: find_space(name)",
            "zoo.load_searched_model('benchmarked')",
        ),
        "timm": (
            "import timm",
            f"timm.create_model({timm_name!r}, pretrained=True, "
            f"pretrained_cfg_overlay={{'file': {str(timm_file)!r}}})",
        ),
    }
    measure(*sides["zoo"])  # fills the cache
    rows: dict[str, list[tuple[float, float, float]]] = {side: [] for side in sides}
    for _ in range(repeats):
        for side, (setup, load) in sides.items():
            rows[side].append(measure(setup, load))
    result: dict[str, object] = {}
    for side, measured in rows.items():
        result[side] = {
            "median_seconds": round(statistics.median(row[0] for row in measured), 4),
            "peak_growth_over_weights": round(
                statistics.median(row[1] / row[2] for row in measured), 3
            ),
        }
    result["timm_over_zoo"] = round(
        statistics.median(row[0] for row in rows["timm"])
        / statistics.median(row[0] for row in rows["zoo"]),
        2,
    )
    return result


def main() -> None:
    """Compare every network that both have."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = {
            name: compare(name, timm_name, arguments.repeats, Path(folder))
            for name, timm_name in PAIRS.items()
        }
    write_result(arguments.out, {"repeats": arguments.repeats, "models": rows})


if __name__ == "__main__":
    main()
