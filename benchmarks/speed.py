"""Measure the zoo's speed beside timm, torchvision, NNI 3.0 and the machine's limit, in one run.

`python benchmarks/speed.py --data val.tar --nni-python /path/to/nni/bin/python`

Writes `OUT/speed.json` after every measurement and `OUT/speed.png` after every part. A part
that is measured again (`--only`) takes the place of the old one in the file; with `--networks`
only the rows of these do. Each row has its date.
Run it on a machine that does nothing else: all of it takes hours.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from environment import describe_environment
from speed_of import (
    agreement,
    figure,
    first_prediction,
    importing,
    inference,
    limit,
    loading,
    targets,
)
from speed_of.measuring import RUNS, Measured, in_process

from zoo.evaluation.files import replace_file

LOG = logging.getLogger("zoo.benchmarks")
BUSY = 0.5  # load average
# Large ones would take hours, and say the same about decoding and the loop.
PIPELINES = ("mobilenetv3-large-100", "mobilenetv3-small-100")
PACKAGES = ("onnxruntime", "openvino", "matplotlib")


def _import(options: argparse.Namespace) -> Iterator[Measured]:
    return importing.measure(runs=options.runs, nni_python=options.nni_python)


def _load(options: argparse.Namespace) -> Iterator[Measured]:
    return loading.measure(_chosen(options, loading.NETWORKS), runs=options.runs)


def _first_prediction(options: argparse.Namespace) -> Iterator[Measured]:
    return first_prediction.measure(_chosen(options, loading.NETWORKS), runs=options.runs)


def _inference(options: argparse.Namespace) -> Iterator[Measured]:
    return inference.measure(
        _chosen(options, inference.NETWORKS),
        runs=options.runs,
        nni_python=options.nni_python,
        inductor=options.inductor,
    )


def _as_loaded(options: argparse.Namespace) -> Iterator[Measured]:
    return inference.measure_as_loaded(options.networks, runs=options.runs)


def _pipelines(options: argparse.Namespace) -> Iterator[Measured]:
    from speed_of import pipelines

    networks = options.networks or PIPELINES
    yield from pipelines.measure(options.data, networks, options.runs)


def _agreement(options: argparse.Namespace) -> Iterator[Measured]:
    return agreement.measure(options.data, options.networks or agreement.NETWORKS)


def _spaces(options: argparse.Namespace) -> Iterator[Measured]:
    from speed_of import space_operations

    yield from space_operations.measure(runs=options.runs, nni_python=options.nni_python)


def _manifest(options: argparse.Namespace) -> Iterator[Measured]:
    from speed_of import manifest_size

    yield from manifest_size.measure(runs=options.runs)


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Measured]]] = {
    "import": _import,
    "manifest": _manifest,
    "spaces": _spaces,
    "load": _load,
    "first-prediction": _first_prediction,
    "agreement": _agreement,
    "inference": _inference,
    "pipelines": _pipelines,
    "as-loaded": _as_loaded,
}
NEED_DATA = ("agreement", "pipelines")


def main() -> None:
    """Measure the parts that were asked for, one after the other."""
    options = _parse()
    logging.basicConfig(format="%(message)s")
    LOG.setLevel(logging.INFO)
    if (busy := os.getloadavg()[0]) > BUSY:
        LOG.warning(
            "This machine is busy (load average %.1f, expected at most %.1f): ratios will be "
            "rough. Stop what else runs, wait a minute, and start again.",
            busy,
            BUSY,
        )
    file = options.out / "speed.json"
    parts = json.loads(file.read_bytes())["parts"] if file.exists() else {}
    peak = limit.measure_peak(options.runs)
    failed = []
    for name in options.only or PARTS:
        if name in NEED_DATA and options.data is None:
            LOG.warning("%s: left out, it needs --data", name)
            continue
        try:
            measure_part(name, options, parts, peak)
        except Exception:  # hours of other parts are worth going on for
            LOG.exception("%s: stopped here", name)
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; repeat with --only {' '.join(failed)}")


def measure_part(
    name: str, options: argparse.Namespace, parts: dict[str, Any], peak: tuple[float, ...]
) -> None:
    """Measure a part into `parts`, and write all parts after each measurement."""
    again = options.networks or ()
    kept = [
        row for row in parts.get(name, {}).get("rows", ()) if again and row["network"] not in again
    ]
    part = parts[name] = {
        "command": " ".join(["python", "benchmarks/speed.py", *_public(sys.argv[1:])]),
        "environment": describe_environment(PACKAGES) | {"threads": torch.get_num_threads()},
        "nni": _nni_versions(options.nni_python),
        "load_average": list(os.getloadavg()),
        "runs": options.runs,
        "peak_macs_per_second": peak,
        "rows": kept,
    }
    date = part["environment"]["date"]
    measured: list[Measured] = []
    for each in PARTS[name](options):
        measured.append(each)
        LOG.info(
            "%s | %s | %s: %.4g %s", each.row, each.network, each.column, each.median, each.unit
        )
        rows = [*measured, *limit.beside(measured, peak)]
        part["rows"] = [*kept, *({**row.as_json(), "date": date} for row in rows)]
        write(options.out, parts)
    figure.draw(_read_rows(parts), options.out / "speed.png")


def write(folder: Path, parts: dict[str, Any]) -> None:
    """Write all parts, and what they say about each target."""
    folder.mkdir(parents=True, exist_ok=True)
    result = {
        "targets": targets.judge(_read_rows(parts)),
        "parts": {name: parts[name] for name in PARTS if name in parts},
    }
    text = json.dumps(result, indent=1, ensure_ascii=False)
    replace_file(folder / "speed.json", (text + "\n").encode())


def _read_rows(parts: dict[str, Any]) -> list[Measured]:
    fields = ("row", "network", "column", "unit", "note")
    return [
        Measured(**{key: row[key] for key in fields}, values=tuple(row["values"]))
        for name in PARTS
        for row in parts.get(name, {}).get("rows", ())
    ]


def _public(arguments: list[str]) -> list[str]:
    """Return arguments without the folders of this machine."""
    return [Path(each).name if "/" in each else each for each in arguments]


def _nni_versions(python: str | None) -> dict[str, str] | None:
    if python is None:
        return None
    code = (
        "import json, importlib.metadata as m\n"
        "print(json.dumps({name: m.version(name) for name in ('nni', 'torch')}))"
    )
    return in_process(code, python=python)


def _chosen(options: argparse.Namespace, networks: tuple[str, ...]) -> tuple[str, ...]:
    wanted = options.networks or networks
    return tuple(name for name in networks if name in wanted)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="images in folders of ImageNet classes, or a tar")
    parser.add_argument("--nni-python", help="Python of an environment with NNI 3.0")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each candidate; %(default)s")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--networks", nargs="+", metavar="NETWORK", help="these alone")
    parser.add_argument("--inductor", action="store_true", help="optimise with inductor too: slow")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/speed")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs: expected at least 1")
    return options


if __name__ == "__main__":
    main()
