"""The proof that another form of a network predicts what the network predicts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.optimizing.plain import PlainNetwork, plain_images
from zoo import errors
from zoo.optimizing.proof import compare, make_example, prove
from zoo.verification import make_probe


def test_figures() -> None:
    """The largest difference, in units of the deviation of all logits, and agreeing classes."""
    expected = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    found = torch.tensor([[1.0, -0.5], [-1.0, -1.5]])
    proof = compare(expected, found, 0.1, 1.0)
    assert proof.largest_absolute == 2.5
    assert proof.largest_relative == 2.5  # the deviation is 1
    assert proof.top1_agreement == 0.5
    doubled = compare(2 * expected, 2 * found, 0.1, 1.0)
    assert doubled.largest_absolute == 5 and doubled.largest_relative == 2.5


def test_logits_without_a_scale() -> None:
    """Where all logits are equal, only equal ones agree."""
    constant = torch.ones(2, 3)
    assert compare(constant, constant, 0.1, 1.0).largest_relative == 0
    assert compare(constant, constant + 1e-6, 0.1, 1.0).largest_relative == float("inf")


def test_other_shapes() -> None:
    with pytest.raises(errors.VerificationError, match=r"shape \(2, 3\), got \(2, 4\)"):
        compare(torch.zeros(2, 3), torch.zeros(2, 4), None, 0.0)


@pytest.mark.parametrize("offset", [0.01, float("nan"), float("inf")])
def test_limit_on_logits(offset: float) -> None:
    """A difference beyond the tolerance is an error, and so is what is no number."""
    network = PlainNetwork()
    with pytest.raises(errors.VerificationError) as caught:
        prove(network, lambda images: network(images) + offset, plain_images(), "the other form")
    text = str(caught.value)
    assert text.startswith("the other form does not predict like the network it was made from")
    assert "4 images: logits differ by at most" in text and "limit 0.001" in text


def test_limit_on_classes() -> None:
    """Without a limit on logits, the agreement of classes still has one."""
    network = PlainNetwork()

    def reverse(images: Tensor) -> Tensor:
        return network(images).flip(1)

    proof = prove(network, reverse, plain_images(), "reversed", tolerance=None, min_agreement=0)
    assert proof.top1_agreement < 0.5 and proof.largest_relative > 0.1
    with pytest.raises(errors.VerificationError, match=r"no limit .* 90.00% agreement"):
        prove(network, reverse, plain_images(), "reversed", tolerance=None, min_agreement=0.9)


@pytest.mark.parametrize("count", [1, 2, 16, 17, 32, 40])
def test_any_number_of_images(count: int) -> None:
    """Every image is in the proof once, whatever the batches are."""
    network, seen = PlainNetwork(), []
    images = torch.randn(count, *plain_images().shape[1:])

    def run(batch: Tensor) -> Tensor:
        seen.append(batch)
        return network(batch)

    assert prove(network, run, images, "the same").images == count
    assert torch.equal(torch.cat(seen), images)
    assert len(seen[0]) == 1


def test_a_form_that_forgets_other_batch_sizes() -> None:
    """The first image goes alone: a form that is right for large batches only is found out."""
    network = PlainNetwork()
    sizes = []

    def forgetful(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return network(images) * (len(images) > 1)

    with pytest.raises(errors.VerificationError):
        prove(network, forgetful, plain_images(40), "forgetful")
    assert sizes == [1, 16, 16, 7]
    sizes.clear()
    assert prove(network, forgetful, plain_images(40), "all", static_batch=True).images == 40
    assert sizes == [40]


def test_reference_is_the_network_in_evaluation_mode() -> None:
    """A network in training mode is compared as it predicts, and stays as it was."""
    network = PlainNetwork()
    twin = PlainNetwork()
    network.train()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    assert prove(network, twin, plain_images(), "its twin").largest_absolute == 0
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_example_from_preprocessing() -> None:
    """The probe, then noise: the same at each call, of the network's size and channels."""
    network = PlainNetwork()
    example = make_example(network)
    assert example.shape == (4, 3, 12, 12) and torch.equal(example, make_example(network))
    assert torch.equal(example[:2], make_probe(3, 12))
    network.preprocessing = None
    with pytest.raises(errors.InvalidArgument, match="give a batch of images as it takes them"):
        make_example(network)
