"""Int8 after training: agreement is measured on images held back, and enforced."""

from __future__ import annotations

import pytest
import torch

import zoo
from tests.optimizing.plain import PlainNetwork, needs_onnx, needs_openvino, plain_images
from tests.shared_material import SHARED, shared
from zoo import errors
from zoo.evaluation.datasets import open_images

pytestmark = needs_onnx


@pytest.mark.parametrize(
    "backend", ["onnxruntime", pytest.param("openvino", marks=needs_openvino), "auto"]
)
@torch.inference_mode()
def test_small_network(backend: str) -> None:
    """Coarser than float32, on a fifth of the images and on images of any batch size."""
    network = PlainNetwork()
    optimized = zoo.optimize(
        network, backend=backend, precision="int8", calibration=plain_images(40)
    )
    assert optimized.precision == "int8" and optimized.backend != "eager"
    proof = optimized.proof
    assert proof.images == 8 and proof.tolerance is None and proof.min_agreement == 0.9
    assert 1e-3 < proof.largest_relative < 0.5 and proof.top1_agreement >= 0.9
    images = plain_images(3, seed=7)
    assert (optimized(images) - network(images)).abs().max() < 0.5 * network(images).std()


def test_other_calibration_other_file() -> None:
    """Ranges are those of the images given, not those of an earlier call."""
    network = PlainNetwork()
    options = {"backend": "onnxruntime", "precision": "int8", "min_agreement": 0.0}
    fitting = zoo.optimize(network, plain_images(), calibration=plain_images(20), **options)
    narrow = zoo.optimize(network, plain_images(), calibration=plain_images(20) / 50, **options)
    assert narrow.proof.largest_absolute > 3 * fitting.proof.largest_absolute


def test_agreement_is_enforced() -> None:
    """Ranges of another world give other classes, which is an error that says how many."""
    with pytest.raises(errors.VerificationError, match=r"no limit of the deviation, 90\.00%"):
        zoo.optimize(
            PlainNetwork(),
            plain_images(30),
            "onnxruntime",
            precision="int8",
            calibration=plain_images(20) / 1000,
        )


def test_wrong_use() -> None:
    network = PlainNetwork()
    with pytest.raises(errors.InvalidArgument, match="at least 10 images"):
        zoo.optimize(network, precision="int8", calibration=plain_images(9))
    with pytest.raises(errors.InvalidArgument, match="use 'onnxruntime', 'openvino' or 'auto'"):
        zoo.optimize(network, backend="eager", precision="int8", calibration=plain_images(10))
    with pytest.raises(errors.InvalidArgument, match=r"are \(3, 12, 12\), the example's are"):
        zoo.optimize(
            network, torch.zeros(1, 3, 9, 9), precision="int8", calibration=plain_images(10)
        )


@pytest.mark.slow
def test_published_weights_on_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trained mobile network keeps its top-1 on nine of ten photographs."""
    archive = shared("data/imagenet1k-sample/val.tar")
    monkeypatch.setenv("ZOO_MIRRORS", str(SHARED / "weights"))
    network = zoo.load_searched_model("proxyless-w0.3")
    transform, photographs = zoo.transform_for("proxyless-w0.3"), open_images(archive)
    images = torch.stack([transform(photographs[i][0]) for i in range(0, 1000, 4)])
    optimized = zoo.optimize(
        network, backend="onnxruntime", precision="int8", calibration=images[::2]
    )
    with torch.inference_mode():
        agreement = (optimized(images[1::2]).argmax(1) == network(images[1::2]).argmax(1)).float()
    assert agreement.mean() > 0.9
