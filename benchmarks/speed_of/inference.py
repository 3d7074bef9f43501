"""Rows "inference, batch N": images per second in memory, and the peak memory of that."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import nn

import zoo
from speed_of.measuring import (
    PEAK,
    Measured,
    elsewhere,
    in_process,
    in_turn,
    repeat_in_turn,
)
from speed_of.networks import (
    NETWORKS,
    NNI,
    TORCHVISION,
    find_timm_names,
    image_size,
    load_pair,
    load_random,
    make_images,
    settle,
)

BATCH_SIZES = (1, 32)
OPTIMISED = "zoo optimised"
# Deep networks with random weights amplify rounding as trained ones do not; whether those agree
# with their optimised forms is the part "agreement".
TOLERANCE = 0.01
MEMORY_RUNS = 1  # memory hardly varies, and each run is a process

# Beside `settle`: NNI's Python has neither the zoo nor this folder.
_NNI = """
import sys
import torch
import nni.nas.hub.pytorch as hub
space, name, threads, batch_size, size = *sys.argv[1:3], *map(int, sys.argv[3:])
torch.set_num_threads(threads)
network = getattr(hub, space).load_searched_model(
    name, pretrained=False, download=False, progress=False
)
for module in network.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        module.momentum = 1.0
with torch.no_grad():
    network.train()(torch.randn(4, 3, size, size))
network.eval()
images = torch.randn(batch_size, 3, size, size)
@torch.inference_mode()
def run():
    network(images)
"""

_USE = """
import json, sys
import torch, timm
import zoo, zoo.optimizing.optimize
from zoo.registry import SPACES, find_space
for space in SPACES:
    find_space(space)
name, timm_name, cache, batch_size, size = *sys.argv[1:4], *map(int, sys.argv[4:])
torch.manual_seed(0)
images = torch.randn(batch_size, 3, size, size)
forget_peak()
before = find_peak()
network = {load}
with torch.inference_mode():
    network(images)
after = find_peak()
print(json.dumps(after - before))
"""
_LOAD = {
    "zoo": "zoo.load_searched_model(name, pretrained=False).eval()",
    "timm": "timm.create_model(timm_name).eval()",
}


def measure(
    networks: Sequence[str] = NETWORKS,
    *,
    runs: int,
    nni_python: str | None = None,
    inductor: bool = False,
) -> Iterator[Measured]:
    """Yield what each network's inference takes in every column that has it.

    Args:
        inductor: Compile for `zoo.optimize` with inductor too; takes minutes for each.
    """
    timm_names = find_timm_names()
    for name in networks:
        with tempfile.TemporaryDirectory() as folder:
            for batch_size in BATCH_SIZES:
                yield from _measure_speed(
                    name,
                    batch_size,
                    timm_names.get(name),
                    Path(folder),
                    runs=runs,
                    nni_python=nni_python,
                    inductor=inductor,
                )
            yield from _measure_memory(name, timm_names.get(name))


def measure_as_loaded(networks: Sequence[str] | None = None, *, runs: int) -> Iterator[Measured]:
    """Yield zoo and timm for every network that both have, none optimised.

    Args:
        networks: Of these only; None leaves out those that `measure` has.
    """
    for name, timm_name in find_timm_names().items():
        if name in NETWORKS if networks is None else name not in networks:
            continue
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = load_pair(name, timm_name, Path(folder))
        for batch_size in BATCH_SIZES:
            images = make_images(name, batch_size)
            candidates = {"zoo": _runner(ours, images), "timm": _runner(theirs, images)}
            yield from _time(name, batch_size, candidates, {}, runs)


def _measure_speed(
    name: str,
    batch_size: int,
    timm_name: str | None,
    folder: Path,
    *,
    runs: int,
    nni_python: str | None,
    inductor: bool,
) -> Iterator[Measured]:
    images = make_images(name, batch_size)
    candidates: dict[str, Callable[[], Any]] = {}
    notes: dict[str, str] = {}
    if timm_name:
        network, theirs = load_pair(name, timm_name, folder)
        _, theirs_too = load_pair(name, timm_name, folder)
        candidates["timm"] = _runner(theirs, images)
        candidates["timm channels-last"] = _runner(
            theirs_too.to(memory_format=torch.channels_last),
            images.contiguous(memory_format=torch.channels_last),
        )
    else:
        network = load_random(name)
    if inductor:
        zoo.optimize(network, images, "inductor", tolerance=TOLERANCE, cache_dir=folder)
    fast = zoo.optimize(network, images, tolerance=TOLERANCE, cache_dir=folder)
    assert fast.choice
    notes[OPTIMISED] = f"{fast.choice.describe()}; {fast.proof.describe()}"
    candidates = {
        "zoo": _runner(network, images),
        OPTIMISED: _runner(fast, images),
        **candidates,
    }
    if name in TORCHVISION:
        from torchvision.models import get_model

        candidates["torchvision"] = _runner(
            settle(get_model(TORCHVISION[name]), image_size(name)), images
        )
    with ExitStack() as stack:
        if nni_python and name in NNI:
            arguments = (NNI[name], name, torch.get_num_threads(), batch_size, image_size(name))
            candidates["nni"] = stack.enter_context(
                elsewhere(_NNI, *map(str, arguments), python=nni_python)
            )
        yield from _time(name, batch_size, candidates, notes, runs)


def _runner(network: nn.Module, images: torch.Tensor) -> Callable[[], None]:
    @torch.inference_mode()
    def run() -> None:
        network(images)

    return run


def _time(
    name: str,
    batch_size: int,
    candidates: dict[str, Callable[[], Any]],
    notes: dict[str, str],
    runs: int,
) -> Iterator[Measured]:
    for column, seconds in in_turn(candidates, runs=runs).items():
        yield Measured(
            row=f"inference, batch {batch_size}",
            network=name,
            column=column,
            unit="images/s",
            values=tuple(batch_size / each for each in seconds),
            note=notes.get(column, ""),
        )


def _measure_memory(name: str, timm_name: str | None) -> Iterator[Measured]:
    with tempfile.TemporaryDirectory() as cache:
        # The files are made before: what is measured is the use of a form, not the making.
        limits = f"tolerance={TOLERANCE}, cache_dir=cache"
        optimise = f"zoo.optimize({_LOAD['zoo']}, images[:1], {limits})"
        loads = {**_LOAD, OPTIMISED: optimise}
        if timm_name is None:
            del loads["timm"]
        for batch_size in BATCH_SIZES:
            arguments = (name, timm_name or "", cache, batch_size, image_size(name))

            def run(load: str, arguments: tuple[Any, ...] = arguments) -> float:
                return in_process(PEAK + _USE.format(load=load), *map(str, arguments))

            peaks = repeat_in_turn(
                {column: lambda load=load: run(load) for column, load in loads.items()},
                runs=MEMORY_RUNS,
                warm_up=1,
            )
            for column, values in peaks.items():
                yield Measured(
                    f"inference, batch {batch_size}, peak memory",
                    name,
                    column,
                    "bytes",
                    tuple(values),
                )
