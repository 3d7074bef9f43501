"""Adding a model is data: a manifest of a user, an architecture file, an int8 file of MIT's.

Width and expand ratios are those of no published model. The expected logits come from
the numbers in the file alone, by plain convolutions.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import zoo
from tests.cli.test_commands import run
from zoo.prediction import load_classifier, predict

NAME = "my-proxyless-w0.4"
LABELS = ["ant", "bee", "cat", "dog", "elk", "fox", "gnu"]
SIZE = 64
SETTINGS = {
    "num_classes": len(LABELS),
    "widths": [12, 6, 13, 16, 32, 38, 77, 128],
    "feature_mix": 96,
    "kernel_sizes": [3, 5],
    "expand_ratios": [2, 2.5, 4],
    "folded_batch_norm": True,
}
CHOICES = {
    "s2": ["k5e2", "k3e2.5"],
    "s3": ["k3e4", "k5e4", "k3e2"],
    "s4": ["k5e2.5"],
    "s5": ["k3e2", "k3e2"],
    "s6": ["k5e4", "k5e2.5", "k3e4", "k3e2"],
    "s7": ["k5e4"],
}
STRIDES = {"s2": 2, "s3": 2, "s4": 2, "s5": 1, "s6": 2, "s7": 1}


def int8_content() -> dict[str, Any]:
    """Return what MIT's exporter writes for this network, with random numbers."""
    rng = np.random.default_rng(0)

    def convolution(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> Any:
        weight = rng.integers(-127, 128, (outputs, inputs // groups, kernel, kernel))
        fan_in = kernel**2 * inputs // groups
        scales = rng.uniform(0.7, 1.3, outputs) * (2 / fan_in) ** 0.5 / 73
        return {
            "in_channel": inputs,
            "out_channel": outputs,
            "kernel_size": (kernel, kernel),
            "stride": stride,
            "groups": groups,
            "depthwise": groups > 1,
            "act": None,
            "params": {
                "weight": weight.astype(np.int8),
                "bias": rng.integers(-900, 900, outputs).astype(np.int32),
                "w_scales": scales.astype(np.float32),
                "x_scale": 0.0235,
                "x_zero": -128,
                "y_scale": 0.0471,
                "y_zero": 3,
            },
        }

    stem, width = SETTINGS["widths"][:2]
    places = [(stem, width, 3, 1.0, 1)]  # the fixed first block does not widen
    for (stage, labels), outputs in zip(CHOICES.items(), SETTINGS["widths"][2:], strict=True):
        for position, label in enumerate(labels):
            kernel, ratio = label.removeprefix("k").split("e")
            stride = STRIDES[stage] if position == 0 else 1
            places.append((width, outputs, int(kernel), float(ratio), stride))
            width = outputs
    blocks = []
    for inputs, outputs, kernel, ratio, stride in places:
        hidden = round(inputs * ratio)
        adds = stride == 1 and inputs == outputs
        blocks.append(
            {
                "pointwise1": convolution(inputs, hidden, 1, 1, 1) if ratio != 1 else None,
                "depthwise": convolution(hidden, hidden, kernel, stride, hidden),
                "pointwise2": convolution(hidden, outputs, 1, 1, 1),
                "residual": {"in_channel": outputs, "params": {"x_scale": 0.1}} if adds else None,
                "se": None,
            }
        )
    mix = SETTINGS["feature_mix"]
    return {
        "first_conv": convolution(3, stem, 3, 2, 1),
        "blocks": blocks,
        "feature_mix": convolution(width, mix, 1, 1, 1),
        "classifier": convolution(mix, len(LABELS), 1, 1, 1),
    }


def compute(content: dict[str, Any], images: Tensor) -> Tensor:
    """Return the logits by the format's description, without the zoo."""

    def convolve(features: Tensor, conv: dict[str, Any]) -> Tensor:
        params = {key: torch.as_tensor(value) for key, value in conv["params"].items()}
        weight = params["weight"] * params["w_scales"].double()[:, None, None, None]
        bias = params["bias"] * params["x_scale"].double() * params["w_scales"]
        padding = (conv["kernel_size"][0] - 1) // 2
        return F.conv2d(features, weight, bias, conv["stride"], padding, 1, conv["groups"])

    features = F.relu6(convolve(images.double(), content["first_conv"]))
    for block in content["blocks"]:
        out = features
        if block["pointwise1"]:
            out = F.relu6(convolve(out, block["pointwise1"]))
        out = F.relu6(convolve(out, block["depthwise"]))
        out = convolve(out, block["pointwise2"])
        features = features + out if block["residual"] else out
    features = F.relu6(convolve(features, content["feature_mix"]))
    return convolve(features.mean((2, 3), keepdim=True), content["classifier"]).flatten(1)


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the three files of the model, and name the manifest as a user would."""
    torch.save(int8_content(), tmp_path / "mine.pkl")
    (tmp_path / "mine.json").write_text(json.dumps({"space": "ProxylessNAS", "choices": CHOICES}))
    file = (tmp_path / "mine.pkl").read_bytes()
    record = {
        "space": "ProxylessNAS",
        "architecture": "mine.json",
        "settings": SETTINGS,
        "dataset": "animals",
        "labels": LABELS,
        "parameters": 1,
        "macs": 1,
        "preprocessing": {"resize": 73, "crop": SIZE, "mean": [0.5] * 3, "std": [0.5] * 3},
        "license": "MIT",
        "paper": {"title": "Animals", "year": 2024, "url": "https://example.org/animals"},
        "weights": [
            {
                "sources": ["file://mine.pkl"],
                "format": "mit-int8",
                "sha256": hashlib.sha256(file).hexdigest(),
                "size_bytes": len(file),
            }
        ],
    }
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"schema_version": 1, "models": {NAME: record}}))
    monkeypatch.setenv("ZOO_MANIFESTS", str(path))
    return path


def test_load(manifest: Path, closed_network: list[object]) -> None:
    """By name, from the int8 file and then from its cached native form."""
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    expected = compute(int8_content(), images)
    for _ in range(2):
        network = zoo.load_searched_model(NAME, pretrained=True)
        with torch.inference_mode():
            logits = network(images)
        assert ((logits - expected).abs().max() / expected.std()).item() < 1e-5
    assert network.architecture == CHOICES
    assert expected.std() > 1e-2 and not closed_network
    assert NAME in zoo.ProxylessNAS.searched_models()


def test_verify(manifest: Path) -> None:
    """`zoo verify --record` gives golden logits; once recorded, `zoo verify` compares."""
    code, output = run("verify", NAME, "--record")
    assert code == 0
    content = json.loads(manifest.read_bytes())
    content["models"][NAME]["golden"] = [json.loads(output)]
    manifest.write_text(json.dumps(content))
    code, output = run("verify", NAME)
    assert code == 0 and "mit-int8 file" in output and "verified" in output


def test_predict(manifest: Path, tmp_path: Path) -> None:
    """A picture gets the labels of the manifest, with the softmax of the expected logits."""
    picture = Image.effect_noise((80, 90), 60).convert("RGB")
    picture.save(tmp_path / "noise.png")
    classifier = load_classifier(NAME)
    answers = dict(predict(classifier, tmp_path / "noise.png", top=len(LABELS)))
    logits = compute(int8_content(), classifier.transform(picture)[None])[0]
    for label, probability in zip(LABELS, logits.softmax(0).tolist(), strict=True):
        assert answers[label] == pytest.approx(probability, abs=1e-5)
    code, output = run("predict", NAME, tmp_path / "noise.png")
    assert code == 0 and max(answers, key=answers.__getitem__) in output
