"""Sampling, mutating, encoding and building beside NNI 3.0, and beside NASLib's way of building.

NNI runs in its own environment, every side in processes of its own, in turn. All sides build
the same random architectures; where NNI takes part, NNI has drawn them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from speed_of.measuring import RUNS, Measured, in_process
from zoo.registry import find_space

ARCHITECTURES = 20
# The module of each column, beside this one, and the spaces it has.
COLUMNS = {
    "zoo": ("zoo_operations", None),
    "nni": ("nni_operations", ("DARTS", "MobileNetV3Space")),
    "naslib-style": ("naslib_style", ("DARTS",)),
}
NOTES = {
    ("nni", "build"): "space.freeze(sample), the space constructed once",
    ("nni", "build, space from nothing"): "construct the space, freeze(sample)",
    ("nni", "build, no space kept"): "frozen_factory(sample)(), as its load_searched_model does",
    ("nni", "sample"): "its space simplified once; its strategies do so for every sample",
    ("nni", "mutate"): "as its evolution does, 5 % of all choices drawn anew; may change nothing",
    ("nni", "encode"): "nni.dump, which checks nothing; the zoo checks every choice",
    ("naslib-style", "build"): "not NASLib: all candidates made, then discarded, in plain torch",
}

_IN_PROCESS = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).resolve().parent.parent)!r})
"""
_TIME = """
from speed_of.rates import print_rates
from speed_of.{module} import operations
print_rates(operations(sys.argv[1], json.loads(sys.argv[2])))
"""
_SAMPLE = """
from speed_of.nni_operations import print_architectures
print_architectures(sys.argv[1], int(sys.argv[2]))
"""


def measure(
    spaces: Sequence[str] = ("DARTS", "MobileNetV3Space"),
    runs: int = RUNS,
    nni_python: str | None = None,
) -> list[Measured]:
    """Return operations per second of every row, space and column.

    Args:
        nni_python: Interpreter of an environment with NNI 3.0; None leaves that column out.
    """
    measured = []
    for space in spaces:
        pythons = {"zoo": sys.executable, "nni": nni_python, "naslib-style": sys.executable}
        columns = {
            column: python
            for column, python in pythons.items()
            if python and space in (COLUMNS[column][1] or (space,))
        }
        architectures = draw_architectures(space, columns)
        rates: dict[tuple[str, str], list[float]] = {}
        for _ in range(runs):
            for column, python in columns.items():
                code = _IN_PROCESS + _TIME.format(module=COLUMNS[column][0])
                given = json.dumps(architectures["nni" if column == "nni" else "zoo"])
                for row, rate in in_process(code, space, given, python=python).items():
                    rates.setdefault((row, column), []).append(rate)
        measured += [
            Measured(row, space, column, "1/s", tuple(values), NOTES.get((column, row), ""))
            for (row, column), values in rates.items()
        ]
    return measured


def draw_architectures(space_name: str, columns: Mapping[str, str]) -> dict[str, list[Any]]:
    """Return the same random architectures as each side writes them."""
    space = find_space(space_name)()
    if "nni" not in columns:
        rng = Random(0)
        return {"zoo": [space.sample(rng) for _ in range(ARCHITECTURES)]}
    drawn = in_process(_IN_PROCESS + _SAMPLE, space_name, str(ARCHITECTURES), python=columns["nni"])
    return {"nni": drawn, "zoo": [space.from_nni(_without_unused(each)) for each in drawn]}


def _without_unused(labels: Mapping[str, Any]) -> dict[str, Any]:
    # NNI draws blocks up to the largest depth, and its freeze passes over those beyond.
    def is_used(label: str) -> bool:
        block = re.match(r"(s\d+)_i(\d+)_", label)
        return not block or int(block[2]) < labels.get(f"{block[1]}_depth", 1)

    return {label: value for label, value in labels.items() if is_used(label)}
