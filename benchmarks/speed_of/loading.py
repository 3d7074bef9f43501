"""Rows "load": from a name to a network with its weights, in time and memory.

All load the same network from this disk: the zoo by name from a manifest, timm from a local
safetensors file, torchvision from its cache. Every run is a fresh process that imports first and
then times the load alone. "warm cache": the zoo has loaded this model before. "cold cache": it
checks the published file's SHA-256, loads it, and writes its native form.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence

from speed_of.measuring import PEAK, Measured, in_process, repeat_in_turn
from speed_of.networks import TORCHVISION, find_timm_names
from speed_of.published import MODEL, Published, publish

NETWORKS = ("mobilenetv3-large-100", "mobilenetv3-small-100", "nasnet-a-large")

_MEASURE = """
import json, sys, time, torch
{setup}
forget_peak()
before = find_peak()
started = time.perf_counter()
network = {load}
seconds = time.perf_counter() - started
after = find_peak()
sizes = [t.numel() * t.element_size() for t in network.state_dict().values()]
print(json.dumps([seconds, (after - before) / sum(sizes)]))
"""
_SETUPS = {
    "zoo": "import timm, zoo.loading; from zoo.registry import SPACES, find_space\n"
    "for name in SPACES: find_space(name)",
    "timm": "import timm",
    "torchvision": "import torchvision",
}


def measure(networks: Sequence[str] = NETWORKS, *, runs: int) -> Iterator[Measured]:
    """Yield the seconds of loading, and its growth of the peak memory over the weights' size."""
    timm_names = find_timm_names()
    for name in networks:
        with publish(name, timm_names[name]) as published:
            loads = _loads(name, timm_names[name], published)
            for row in ("load, cold cache", "load, warm cache"):
                cold = row == "load, cold cache"
                runners = {
                    column: _runner(column, load, published, cold=cold)
                    for column, load in loads.items()
                }
                results = repeat_in_turn(runners, runs=runs, warm_up=1)
                for column, pairs in results.items():
                    seconds, growths = zip(*pairs, strict=True)
                    yield Measured(row, name, column, "s", seconds)
                    yield Measured(f"{row}, peak memory", name, column, "× weights", growths)


def _loads(name: str, timm_name: str, published: Published) -> dict[str, str]:
    loads = {
        "zoo": f"zoo.load_searched_model({MODEL!r})",
        "timm": f"timm.create_model({timm_name!r}, pretrained=True, "
        f"pretrained_cfg_overlay={{'file': {str(published.file)!r}}})",
    }
    if name in TORCHVISION:
        loads["torchvision"] = (
            f"torchvision.models.get_model({TORCHVISION[name]!r}, weights='IMAGENET1K_V1')"
        )
    return loads


def _runner(
    column: str, load: str, published: Published, *, cold: bool
) -> Callable[[], tuple[float, float]]:
    code = PEAK + _MEASURE.format(setup=_SETUPS[column], load=load)

    def run() -> tuple[float, float]:
        if cold and column == "zoo":
            shutil.rmtree(published.cache, ignore_errors=True)
        return tuple(in_process(code, environment=published.environment))

    return run
