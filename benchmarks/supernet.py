"""Time and memory of cutting subnets out of one AutoFormer supernet.

The supernet file is written first, in the authors' layout, with random weights: the
work does not depend on their values. Times are of the processor, so that other work on
the machine does not count; the elapsed time stands beside them. The slowest are those in
which Python collected garbage among all its objects: mean and median differ by that.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import torch
from environment import write_result
from speed_of.measuring import find_peak
from torch import Tensor

import zoo
from zoo.checkpoints.formats.autoformer import authors_names


def write_supernet(path: Path, space: zoo.AutoformerSpace) -> None:
    """Write random weights of the space's largest network as the authors' file."""
    torch.manual_seed(0)
    tensors = space.build(space.largest()).state_dict()
    names = authors_names(list(tensors), ())
    content: dict[str, Tensor] = {names[key]: tensor for key, tensor in tensors.items()}
    for key in [key for key in content if ".attn.q." in key]:
        parts = [content.pop(key.replace(".q.", f".{name}.")) for name in "qkv"]
        joined = torch.stack(parts, 1).flatten(0, 1) if key.endswith("weight") else torch.cat(parts)
        content[key.replace(".q.", ".qkv.")] = joined
    torch.save({"model": content}, path)


def measure(size: str, count: int, kept: int) -> dict[str, Any]:
    """Return times of `count` subnets cut and dropped, and memory of `kept` subnets at once."""
    space = zoo.AutoformerSpace.preset(size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"supernet-{size}.pth"
        write_supernet(path, space)
        started = time.process_time()
        supernet = zoo.AutoformerSpace.load_supernet(size, checkpoint=path)
        opened = time.process_time() - started
        rng = Random(0)
        architectures = [space.sample(rng) for _ in range(count)]
        for architecture in architectures[:20]:
            supernet.subnet(architecture)
        gc.collect()
        start = find_peak()
        seconds, began = [], time.perf_counter()
        for architecture in architectures:
            started = time.process_time()
            supernet.subnet(architecture)
            seconds.append(time.process_time() - started)
        elapsed = time.perf_counter() - began
        dropped = find_peak() - start
        networks = [supernet.subnet(architecture) for architecture in architectures[:kept]]
        weights = sum(4 * p.numel() for net in networks for p in net.parameters()) / kept
        held = (find_peak() - start - dropped) / kept
    return {
        "supernet": size,
        "parameters_of_supernet": sum(t.numel() for t in supernet.tensors.values()),
        "open_milliseconds": round(1e3 * opened, 1),
        "subnets": count,
        "mean_milliseconds": round(1e3 * statistics.fmean(seconds), 2),
        "median_milliseconds": round(1e3 * statistics.median(seconds), 2),
        "fastest_milliseconds": round(1e3 * min(seconds), 2),
        "slowest_of_100_milliseconds": round(1e3 * statistics.quantiles(seconds, n=100)[-1], 2),
        "elapsed_seconds_for_all": round(elapsed, 1),
        "peak_growth_bytes_after_all": dropped,
        "subnets_held_at_once": kept,
        "bytes_per_held_subnet": round(held),
        "bytes_per_held_subnet_if_copied": round(weights),
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="tiny", choices=("tiny", "small", "base"))
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--kept", type=int, default=100)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    write_result(arguments.out, measure(arguments.size, arguments.count, arguments.kept))


if __name__ == "__main__":
    main()
