"""BatchNorm folded into convolutions: the same function, and none left that could be folded."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.optimizing.records import cheapest_of_each_space, each_record, lively_network, shake
from tests.optimizing.records import tiny_images as images_for
from zoo.layers.cell_modules import Pooling
from zoo.optimizing.folding import copy_for_inference, find_folds, fold_batch_norm


def norms_of(network: nn.Module) -> list[str]:
    """Return the names of all BatchNorms."""
    return [name for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)]


def norms_behind_convolutions(network: nn.Module, images: Tensor) -> list[str]:
    """Return the names of the BatchNorms whose input is what a convolution returned."""
    outputs: list[Tensor] = []  # held, so that no other tensor gets the same identity
    found = []

    def note(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        outputs.append(output)

    def look(name: str, inputs: tuple[Tensor, ...]) -> None:
        if any(inputs[0] is output for output in outputs):
            found.append(name)

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
        elif isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda _module, inputs, name=name: look(name, inputs))
    network(images)
    return found


@each_record(quick=cheapest_of_each_space())
@torch.no_grad()
def test_every_record(name: str) -> None:
    """In float64 logits agree to rounding; what stays is behind pooling or behind a sum."""
    network = lively_network(name).double()
    folded = fold_batch_norm(network)
    images = images_for(name).double()
    expected = network(images)
    torch.testing.assert_close(folded(images), expected, rtol=0, atol=1e-12 * expected.std().item())
    for norm in norms_of(folded):
        owner = folded.get_submodule(norm.rpartition(".")[0])
        behind_pooling = isinstance(owner, Pooling) and isinstance(owner.conv, nn.Identity)
        behind_sum = norm == "final.0" and network.space == "NasBench201"
        assert behind_pooling or behind_sum, norm
    # A cell with a single edge into its last node ends in a convolution, but others share `final`.
    assert set(norms_behind_convolutions(folded, images)) <= {"final.0"}


def test_the_check_of_norms_behind_convolutions_finds_them() -> None:
    """Without folding, the hooks of the test above do find BatchNorms."""
    network = lively_network("nb201-resnet-like")
    found = norms_behind_convolutions(network, images_for("nb201-resnet-like"))
    assert found and set(found) == set(norms_of(network)) - {"final.0"}


def test_the_network_stays_as_it_is() -> None:
    """Folding shares what it does not change and changes nothing of the network it came from."""
    network = lively_network("proxyless-w0.3").train()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    folded = fold_batch_norm(network)
    assert network.training and all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not folded.training and not any(p.requires_grad for p in folded.parameters())
    classifiers = [n.get_submodule("classifier") for n in (network, folded)]
    assert len({classifier.weight.data_ptr() for classifier in classifiers}) == 1
    assert folded.preprocessing == network.preprocessing and folded.labels == network.labels


def test_copy_takes_no_memory() -> None:
    """A copy for inference shares every tensor, and another layout of it leaves the first alone."""
    network = lively_network("nb201-idx284")
    copied = copy_for_inference(network)
    pointers = [
        {key: tensor.data_ptr() for key, tensor in each.state_dict().items()}
        for each in (network, copied)
    ]
    assert pointers[0] == pointers[1]
    copied.to(memory_format=torch.channels_last)
    assert all(parameter.is_contiguous() for parameter in network.parameters())


@pytest.mark.parametrize(
    "pair",
    [
        (nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)),
        (nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(8, affine=False)),
        (nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6, eps=1e-2)),
    ],
    ids=["plain", "bias and no affine", "grouped"],
)
@torch.no_grad()
def test_neighbours_in_a_sequential(pair: tuple[nn.Conv2d, nn.BatchNorm2d]) -> None:
    """Any convolution before a norm is folded, whatever the two have."""
    torch.manual_seed(0)
    shake(pair[1])
    network = nn.Sequential(*pair, nn.ReLU()).double().eval()
    folded = fold_batch_norm(network)
    assert norms_of(folded) == []
    images = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(folded(images), network(images), rtol=0, atol=1e-12)


class Standardised(nn.Conv2d):
    """A convolution that is not linear in its weight: folding would change what it computes."""

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.conv2d(input, self.weight / self.weight.std())


class Branching(nn.Sequential):
    """Children that do not follow one another."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.cat([module(input) for module in self], 1)


SHARED = nn.Conv2d(3, 3, 1)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 1)),
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)),
        nn.Sequential(Standardised(3, 3, 1), nn.BatchNorm2d(3)),
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)),
        nn.Sequential(SHARED, nn.BatchNorm2d(3), SHARED, nn.BatchNorm2d(3)),
        Branching(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)),
    ],
    ids=["norm first", "activation between", "other convolution", "no statistics", "twice", "fork"],
)
def test_what_cannot_be_folded_stays(network: nn.Sequential) -> None:
    """Patterns that only look like a convolution before a norm are left alone."""
    assert find_folds(network) == []
    assert norms_of(fold_batch_norm(network)) == norms_of(network)
