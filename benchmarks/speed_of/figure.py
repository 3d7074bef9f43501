"""The measurement as a picture: how many times faster than timm, or NNI where timm has none."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from speed_of.measuring import Measured, speedups
from speed_of.networks import NETWORKS

MARKS = {
    "zoo": ("o", "tab:blue"),
    "zoo optimised": ("D", "tab:red"),
    "timm channels-last": ("|", "tab:gray"),
    "torchvision": ("s", "tab:green"),
    "nni": ("^", "tab:orange"),
}
BASES = ("timm", "nni")
ROW_HEIGHT = 0.22  # inches


def draw(measured: Sequence[Measured], path: Path) -> None:
    """Write one panel for each row that has something to compare with; none, no file."""
    from matplotlib import use

    use("agg")
    from matplotlib import pyplot
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    panels = _find_panels(measured)
    if not panels:
        return
    heights = [max(2, len(networks)) + 2 for networks in panels.values()]
    figure, axes = pyplot.subplots(
        len(panels),
        figsize=(7, ROW_HEIGHT * sum(heights) + 0.6),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    shown = {}
    for axis, (row, networks) in zip(axes[:, 0], panels.items(), strict=True):
        for place, ratios in enumerate(networks.values()):
            for column, value in ratios.items():
                marker, colour = MARKS[column]
                (shown[column],) = axis.plot(value, place, marker, color=colour, markersize=5)
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set_yticks(range(len(networks)), networks, fontsize=7)
        axis.set_ylim(len(networks) - 0.5, -0.5)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
        left, right = axis.get_xlim()
        ticks = [t for t in (0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100, 200) if left <= t <= right]
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=7)
        axis.grid(axis="x", linewidth=0.3)
        axis.set_title(row, fontsize=8, loc="left")
    axes[-1, 0].set_xlabel("times faster than timm (* than NNI)", fontsize=8)
    figure.legend(
        shown.values(), shown.keys(), loc="outside upper center", ncols=len(shown), fontsize=7
    )
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _find_panels(measured: Sequence[Measured]) -> dict[str, dict[str, dict[str, float]]]:
    """Return row → network → column → how many times faster."""
    groups: dict[tuple[str, str], list[Measured]] = {}
    for each in measured:
        if each.unit in ("s", "images/s", "1/s"):
            groups.setdefault((each.row, each.network), []).append(each)
    panels: dict[str, dict[str, dict[str, float]]] = {}
    for (row, network), group in groups.items():
        if row.startswith("inference") and network not in NETWORKS:
            continue  # the many networks that are measured as loaded only
        columns = {each.column: each for each in group}
        base = next((base for base in BASES if base in columns), None)
        if base is None:
            continue
        label = f"{network or 'package'}{'' if base == 'timm' else ' *'}"
        ratios = {
            column: statistics.median(speedups(columns[column], columns[base]))
            for column in MARKS
            if column != base and column in columns
        }
        if ratios:
            panels.setdefault(row, {})[label] = ratios
    return panels
