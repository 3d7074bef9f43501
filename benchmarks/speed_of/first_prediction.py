"""Rows "first prediction": a fresh process that loads a model from this disk and says what an
image shows; importing and loading count."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from speed_of.loading import NETWORKS
from speed_of.measuring import PEAK, Measured, in_process, repeat_in_turn
from speed_of.networks import find_timm_names
from speed_of.published import MODEL, publish

_MEMORY = PEAK + "print(find_peak())"
_ZOO = (
    """
import sys
from zoo.prediction import load_classifier, predict
classifier = load_classifier(sys.argv[1])
print(predict(classifier, sys.argv[2]))
"""
    + _MEMORY
)
_TIMM = (
    """
import sys, timm, torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
name, image, file = sys.argv[1:]
network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": file}).eval()
transform = create_transform(**resolve_model_data_config(network))
with torch.inference_mode():
    logits = network(transform(Image.open(image).convert("RGB"))[None])
print(logits.softmax(1).topk(5))
"""
    + _MEMORY
)


def measure(networks: Sequence[str] = NETWORKS, *, runs: int) -> Iterator[Measured]:
    """Yield the time from the start of a process to its end, and its peak memory."""
    from PIL import Image

    timm_names = find_timm_names()
    for name in networks:
        with publish(name, timm_names[name]) as published, tempfile.TemporaryDirectory() as folder:
            image = Path(folder) / "image.jpg"
            Image.radial_gradient("L").resize((500, 375)).convert("RGB").save(image)
            environment = published.environment
            runners = {
                "zoo": _runner(_ZOO, (MODEL, str(image)), environment),
                "timm": _runner(
                    _TIMM, (timm_names[name], str(image), str(published.file)), environment
                ),
            }
            for column, pairs in repeat_in_turn(runners, runs=runs, warm_up=1).items():
                seconds, peaks = zip(*pairs, strict=True)
                yield Measured("first prediction", name, column, "s", seconds)
                yield Measured("first prediction, peak memory", name, column, "bytes", peaks)


def _runner(
    code: str, arguments: Sequence[str], environment: dict[str, str]
) -> Callable[[], tuple[float, float]]:
    def run() -> tuple[float, float]:
        started = time.perf_counter()
        peak = in_process(code, *arguments, environment=environment)
        return time.perf_counter() - started, peak

    return run
