"""The project's own golden logits: a network computes what its record says, without a data set."""

from __future__ import annotations

import json

import msgspec
import pytest
import torch

from tests.shared_material import SHARED
from zoo import errors, load_searched_model
from zoo.manifest import find_entry, find_records
from zoo.verification import check_golden, make_probe, measure_golden

WITH_GOLDEN = [name for name, record in find_records() if record.golden]


@pytest.mark.parametrize("name", WITH_GOLDEN)
def test_records(name: str, monkeypatch: pytest.MonkeyPatch, closed_network: list[object]) -> None:
    """Every recorded model whose weights are at hand gives the recorded logits."""
    monkeypatch.setenv("ZOO_MIRRORS", str(SHARED / "weights"))
    entry = find_entry(name)
    assert {golden.weights_sha256 for golden in entry.record.golden} <= {
        weights.sha256 for weights in entry.record.weights
    }
    try:
        network = load_searched_model(name, offline=True)
    except errors.FetchError as error:
        pytest.skip(f"the weights of {name} are not at hand: {str(error).splitlines()[0]}")
    for golden in entry.record.golden:
        size = entry.preprocessing.crop
        assert check_golden(network, golden, in_chans=3, size=size, name=name) < 1e-5


def test_probe() -> None:
    """The images are those of every other machine: pinned, and of a form that numbers can show."""
    probe = make_probe(3, 32)
    assert probe.shape == (2, 3, 32, 32) and probe.dtype == torch.float32
    assert probe.abs().max() <= 2
    torch.testing.assert_close(probe[1], 0.6 * probe[0].flip(2))
    expected = torch.tensor([0.5272698402, 0.8235862255, 0.0149571402])
    torch.testing.assert_close(probe[0, :, 3, 5], expected, rtol=0, atol=1e-6)
    assert torch.equal(make_probe(1, 32)[:, 0], probe[:, 0])


def test_statistics_of_another_training_are_noticed() -> None:
    """A file that loads without a complaint but computes something else fails. FAULTS 50."""
    torch.manual_seed(0)
    network = load_searched_model("nb201-resnet-like", pretrained=False).eval()
    golden = measure_golden(network, "0" * 64, in_chans=3, size=32)
    settings = {"in_chans": 3, "size": 32, "name": "nb201-resnet-like"}
    assert check_golden(network, golden, **settings) < 1e-5
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            assert norm.running_mean is not None
            norm.running_mean.add_(0.01)
    with pytest.raises(errors.VerificationError) as caught:
        check_golden(network, golden, **settings)
    text = str(caught.value)
    assert "nb201-resnet-like: the logits for the synthetic probe are off by" in text
    assert "expected " in text and "got " in text and "zoo fetch nb201-resnet-like" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers(value: float) -> None:
    """NaN is no agreement, though no comparison with it is true."""
    network = load_searched_model("nb201-idx284", pretrained=False)
    golden = measure_golden(network, "0" * 64, in_chans=3, size=32)
    torch.nn.init.constant_(network.classifier.bias, value)
    with pytest.raises(errors.VerificationError):
        check_golden(network, golden, in_chans=3, size=32, name="nb201-idx284")


def test_measuring_leaves_the_network_as_it_was() -> None:
    """Mode and statistics stay, and the record can be written as JSON."""
    network = load_searched_model("nb201-idx284", pretrained=False).train()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    golden = measure_golden(network, "ab" * 32, in_chans=3, size=32)
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert len(golden.logits) == 10 and golden.std > 0
    assert json.loads(msgspec.json.encode(golden))["weights_sha256"] == "ab" * 32
