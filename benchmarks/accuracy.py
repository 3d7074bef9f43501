"""Which accuracy a model reaches on data at hand, beside the reported one.

`python benchmarks/accuracy.py nb201-resnet-like test.tar --out results/NAME.json`
"""

from __future__ import annotations

import argparse
from pathlib import Path

from environment import write_result

import zoo
from zoo.evaluation.accuracy import evaluate
from zoo.evaluation.datasets import open_dataset
from zoo.manifest import find_entry


def main() -> None:
    """Evaluate one model on one data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("data")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    entry = find_entry(arguments.name)
    images = open_dataset(arguments.data, split=arguments.split)
    network = zoo.load_searched_model(arguments.name)
    measured = evaluate(network, images, preprocessing=entry.preprocessing)
    write_result(
        arguments.out,
        {
            "model": arguments.name,
            "data": Path(arguments.data).name,
            "samples": measured.samples,
            "top1_count": measured.top1_count,
            "top5_count": measured.top5_count,
            "top1_percent": measured.top1_percent,
            "top1_interval_percent": measured.top1_interval_percent,
            "reported": {row.dataset: row.top1_percent for row in reversed(entry.record.reported)},
            "weights_sha256": entry.weights[0].sha256,
        },
    )


if __name__ == "__main__":
    main()
