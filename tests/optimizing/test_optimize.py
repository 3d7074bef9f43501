"""`zoo.optimize`: each form predicts like its network, is kept, and says so when it cannot."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import zoo
from tests.optimizing.plain import (
    LABELS,
    PlainNetwork,
    needs_onnx,
    needs_openvino,
    plain_images,
)
from tests.optimizing.records import cheapest_of_each_space, lively_network, tiny_images
from zoo import errors
from zoo.evaluation.state import find_network_digest
from zoo.optimizing.optimized import Optimized
from zoo.optimizing.workshop import Workshop
from zoo.prediction import Classifier, predict
from zoo.preprocessing import build_transform

RUNTIMES = [
    pytest.param("onnxruntime", marks=needs_onnx),
    pytest.param("openvino", marks=needs_openvino),
]
INDUCTOR = pytest.param(
    "inductor",
    marks=[
        pytest.mark.slow,
        pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler"),
    ],
)


@pytest.mark.parametrize("name", cheapest_of_each_space())
@torch.inference_mode()
def test_eager_of_each_space(name: str) -> None:
    """Folded and channels-last, every kind of network gives its logits for new images."""
    network = lively_network(name)
    optimized = zoo.optimize(network, tiny_images(name), "eager")
    assert optimized.backend == "eager" and optimized.choice is None
    assert optimized.proof.images == 2 and 0 <= optimized.proof.largest_relative < 1e-3
    images = tiny_images(name, batch=3, seed=5)
    expected = network(images)
    limits = {"rtol": 0, "atol": 1e-3 * expected.std().item()}
    torch.testing.assert_close(optimized(images), expected, **limits)


@pytest.mark.parametrize("backend", ["eager", *RUNTIMES, INDUCTOR])
@torch.inference_mode()
def test_batches_of_any_size_and_layout(backend: str) -> None:
    """What was made with four images takes one and nine, and images that are channels-last."""
    network = PlainNetwork()
    optimized = zoo.optimize(network, plain_images(), backend)
    assert optimized.backend == backend
    for batch in (1, 9):
        images = plain_images(batch, seed=batch)
        for layout in (torch.contiguous_format, torch.channels_last):
            logits = optimized(images.to(memory_format=layout))
            torch.testing.assert_close(logits, network(images), rtol=0, atol=1e-5)
    kept = optimized(images)
    again = kept.clone()
    optimized(plain_images(9, seed=3))
    assert torch.equal(kept, again), "a later call changed an earlier result"


@pytest.mark.parametrize("backend", ["eager", *RUNTIMES])
def test_used_like_the_network(backend: str) -> None:
    """Labels, preprocessing, prediction and evaluation are those of the network."""
    network = PlainNetwork()
    optimized = zoo.optimize(network, backend=backend)
    assert optimized.preprocessing == network.preprocessing and optimized.labels == LABELS
    assert optimized.num_classes == 5 and not optimized.training
    transform = build_transform(network.preprocessing)
    image = Image.effect_noise((30, 20), 90)
    answers = [
        predict(Classifier(each, transform, LABELS), image)  # pyright: ignore[reportArgumentType]
        for each in (network, optimized)
    ]
    assert [label for label, _ in answers[0]] == [label for label, _ in answers[1]]
    assert answers[1][0][1] == pytest.approx(answers[0][0][1], abs=1e-5)
    samples = [(tensor, index % 5) for index, tensor in enumerate(plain_images(20))]
    measured = [zoo.evaluate(each, samples, workers=0) for each in (network, optimized)]
    assert measured[0].top1_count == measured[1].top1_count
    digests = {find_network_digest(each) for each in (network, optimized)}
    assert len(digests) == 2


def test_two_networks_are_told_apart() -> None:
    """The state of an optimised network names the weights it was made from."""
    one, other = (zoo.optimize(PlainNetwork(seed), backend="eager") for seed in (0, 1))
    assert not torch.equal(one.source_sha256, other.source_sha256)


@needs_onnx
def test_images_of_another_size_or_type() -> None:
    """A compiled form says what it takes; the eager one takes every size."""
    network = PlainNetwork()
    compiled = zoo.optimize(network, backend="onnxruntime")
    larger = torch.randn(1, 3, 20, 20)
    for images in (larger, plain_images().double(), plain_images()[:0], plain_images()[0]):
        with pytest.raises(errors.InvalidArgument) as caught:
            compiled(images)
        assert "was compiled for (batch, 3, 12, 12) of torch.float32 on cpu" in str(caught.value)
    assert zoo.optimize(network, backend="eager")(larger).shape == (1, 5)


def test_training_is_refused() -> None:
    optimized = zoo.optimize(PlainNetwork(), backend="eager")
    assert optimized.eval() is optimized
    with pytest.raises(errors.InvalidArgument, match="train the network it was made from"):
        optimized.train()


# --- auto --------------------------------------------------------------------------------------


@needs_onnx
def test_auto_measures_once(caplog: pytest.LogCaptureFixture) -> None:
    """The fastest of what is installed is chosen, said, and remembered for this batch size."""
    caplog.set_level(logging.INFO, "zoo")
    network = PlainNetwork()
    first = zoo.optimize(network)
    choice = first.choice
    assert choice is not None and choice.backend == first.backend and choice.batch_size == 1
    assert {"eager", "onnxruntime"} <= choice.milliseconds.keys() and not choice.failures
    assert choice.milliseconds[first.backend] == min(choice.milliseconds.values())
    assert choice.describe() in caplog.messages[-1]
    again = zoo.optimize(network)
    assert again.choice == choice and "as measured before" in caplog.messages[-1]
    assert zoo.optimize(network, plain_images(8)).choice.batch_size == 8  # pyright: ignore
    zoo.optimize(PlainNetwork(1))
    assert "as measured before" not in caplog.messages[-1]


@needs_onnx
def test_auto_leaves_a_choice_that_no_longer_passes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether rounding stays within the limit can differ from run to run; there are others."""
    network, make = PlainNetwork(), Workshop.make
    chosen = zoo.optimize(network).backend

    def fail(self: Workshop, name: str) -> Optimized:
        if name == chosen:
            raise errors.VerificationError("on purpose")
        return make(self, name)

    monkeypatch.setattr(Workshop, "make", fail)
    found = [zoo.optimize(network) for _ in range(2)]
    assert found[0].backend == found[1].backend != chosen
    assert found[0].choice is not None and found[0].choice.failures == {chosen: "on purpose"}
    assert found[1].choice == found[0].choice
    assert sum("measured again" in message for message in caplog.messages) == 1


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")
def test_auto_measures_inductor_where_it_was_compiled() -> None:
    network = PlainNetwork()
    choices = [zoo.optimize(network).choice]
    zoo.optimize(network, backend="inductor")
    choices.append(zoo.optimize(network).choice)
    assert ["inductor" in choice.milliseconds for choice in choices if choice] == [False, True]


def test_auto_without_any_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is always there is chosen; nothing is compiled for minutes unasked."""
    for package in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, package, None)
    optimized = zoo.optimize(PlainNetwork())
    assert optimized.backend == "eager"
    assert optimized.choice is not None and list(optimized.choice.milliseconds) == ["eager"]


class Unexportable(PlainNetwork):
    """A network whose path depends on its input."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) * (2.0 if images.mean() > 0 else 1.0)


@needs_onnx
def test_auto_leaves_out_what_cannot_be_made() -> None:
    """A network that cannot be captured gets the eager form, and the reason is kept."""
    network = Unexportable()
    optimized = zoo.optimize(network)
    assert optimized.backend == "eager" and optimized.choice is not None
    assert "torch.export cannot capture" in optimized.choice.failures["onnxruntime"]
    with pytest.raises(errors.OptimizationError, match="Use backend='eager'"):
        zoo.optimize(network, backend="onnxruntime")


# --- files in the cache ------------------------------------------------------------------------


@needs_onnx
def test_files_are_kept(zoo_cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The second time nothing is made; other weights have another file."""
    caplog.set_level(logging.INFO, "zoo")
    zoo.optimize(PlainNetwork(), backend="onnxruntime")
    assert caplog.messages == ["making the onnx file of this network"]
    blobs = set((zoo_cache / "blobs").iterdir())
    assert len(blobs) == 1 and not list((zoo_cache / "partials").iterdir())
    zoo.optimize(PlainNetwork(), backend="onnxruntime")
    assert len(caplog.messages) == 1
    zoo.optimize(PlainNetwork(1), backend="onnxruntime")
    assert len(caplog.messages) == 2 and len(set((zoo_cache / "blobs").iterdir())) == 2


@needs_onnx
def test_a_damaged_file_is_made_again(zoo_cache: Path) -> None:
    """Kept files are verified when they are opened."""
    zoo.optimize(PlainNetwork(), backend="onnxruntime")
    (blob,) = (zoo_cache / "blobs").iterdir()
    content = blob.read_bytes()
    blob.write_bytes(b"x" + content[1:])
    optimized = zoo.optimize(PlainNetwork(), backend="onnxruntime")
    assert optimized.proof.top1_agreement == 1
    assert blob.read_bytes()[:1] == content[:1]


@needs_onnx
@torch.inference_mode()
def test_a_file_of_another_network_is_found_out(caplog: pytest.LogCaptureFixture) -> None:
    """Two networks that differ only in what `forward` does share a key; the proof tells them."""
    zoo.optimize(PlainNetwork(), backend="onnxruntime")
    negative = PlainNetwork(sign=-1.0)
    optimized = zoo.optimize(negative, backend="onnxruntime")
    assert any("made again" in message for message in caplog.messages)
    torch.testing.assert_close(optimized(plain_images()), negative(plain_images()))


@needs_onnx
def test_a_cache_that_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in the place of the directory: the form is made all the same, and not kept."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))
    optimized = zoo.optimize(PlainNetwork(), backend="onnxruntime")
    assert optimized.proof.top1_agreement == 1
    assert any("what is made is not kept" in message for message in caplog.messages)


# --- wrong use ---------------------------------------------------------------------------------


def test_a_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for package, backend in (("onnxruntime", "onnxruntime"), ("openvino", "openvino")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(errors.OptimizationError, match=f"needs .*{package}") as caught:
            zoo.optimize(PlainNetwork(), backend=backend)
        assert "pip install 'searched-zoo[" in str(caught.value)


def test_wrong_arguments() -> None:
    network = PlainNetwork()
    with pytest.raises(
        errors.InvalidArgument, match=r"named 'onnx-runtime'\. Did you mean 'onnxruntime'"
    ):
        zoo.optimize(network, backend="onnx-runtime")
    with pytest.raises(
        errors.InvalidArgument, match=r"expected \(batch, channels, height, width\)"
    ):
        zoo.optimize(network, torch.zeros(3, 12, 12))
    with pytest.raises(errors.InvalidArgument, match="expected 'float32' or 'int8'"):
        zoo.optimize(network, precision="int4")  # pyright: ignore[reportArgumentType]
    with pytest.raises(errors.InvalidArgument, match="belong together"):
        zoo.optimize(network, precision="int8")
    with pytest.raises(errors.InvalidArgument, match="give a batch of images"):
        zoo.optimize(nn.Sequential(nn.Conv2d(3, 4, 3)))


def test_networks_without_logits() -> None:
    """Feature maps are no logits."""
    with pytest.raises(errors.InvalidArgument, match=r"got Tensor of \[1, 4, 8, 8\]"):
        zoo.optimize(nn.Sequential(nn.Conv2d(3, 4, 3)), torch.zeros(1, 3, 10, 10), "eager")
    backbone = lively_network("nb201-idx284").features_only()
    with pytest.raises(errors.InvalidArgument, match="expected a network that returns logits"):
        zoo.optimize(backbone, tiny_images("nb201-idx284"), "eager")


@needs_onnx
def test_runtimes_are_for_float32() -> None:
    with pytest.raises(errors.InvalidArgument, match="is for float32 networks on the CPU"):
        zoo.optimize(PlainNetwork().double(), backend="onnxruntime")
    assert zoo.optimize(PlainNetwork().double(), backend="eager").proof.largest_relative < 1e-12
