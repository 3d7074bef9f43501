"""Once-for-All's supernets: subnets are slices, smaller kernels are computed."""

from __future__ import annotations

import logging
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.checkpoints.test_parity import randomised
from zoo import MobileNetV3Space, ProxylessNAS, errors, load_checkpoint
from zoo.checkpoints.formats.mit import MIT
from zoo.networks.batch_norm import recalibrate
from zoo.spaces.base import SearchSpace
from zoo.spaces.mbconv import read_label

ELASTIC = {"ks_list": [3, 5, 7], "expand_ratio_list": [3, 4, 6], "depth_list": [2, 3, 4]}
WIDE: dict[str, SearchSpace] = {
    "OFAMobileNetV3": MobileNetV3Space(
        base_widths=(16, 16, 24, 40, 80, 112, 160, 960, 1280),
        width_multipliers=(1.0,),
        first_kernel_sizes=(3,),
        stem_kernel_sizes=(3,),
        expand_ratios=(3, 4, 6),
        squeeze_excite=("none", "none", "force", "none", "force", "force"),
        depths=((2, 4),) * 5,
        hidden_bias=False,
        bn_eps=1e-5,
    ),
    "OFAProxylessNASNets": ProxylessNAS(
        widths=(40, 24, 32, 56, 104, 128, 248, 416),
        feature_mix=1664,
        expand_ratios=(3, 4, 6),
        min_depths=(2, 2, 2, 2, 2, 1),
    ),
}
SMALL = ProxylessNAS(
    widths=(8, 8, 8, 16, 16, 16, 24, 24),
    feature_mix=16,
    expand_ratios=(3, 6),
    max_depths=(2, 2, 2, 2, 2, 1),
    num_classes=5,
)
LARGEST = {**{f"s{stage}": ["k7e6"] * 2 for stage in range(2, 7)}, "s7": ["k7e6"]}


def supernet_file(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """Write the supernet whose largest network is `SMALL`'s; return the file and its tensors.

    Elastic layers are named twice, as `ofa/imagenet_classification/elastic_nn` has them.
    """
    largest = randomised(SMALL.build(LARGEST))
    tensors = largest.state_dict()
    names = MIT.names["ProxylessNAS"](list(tensors), [f"blocks.{n}.conv." for n in range(12)])
    content: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = names[key]
        if name.startswith("blocks.") and not name.startswith("blocks.0."):
            for module in ("conv", "bn"):
                name = name.replace(f".{module}.", f".{module}.{module}.").replace(
                    f".{module}.{module}.{module}.", f".{module}.{module}."
                )
            name = name.replace("conv.conv.inverted", "conv.inverted")
            name = name.replace("conv.conv.depth", "conv.depth")
            name = name.replace("conv.conv.point", "conv.point")
        content[name] = tensor
    for number in range(1, 12):
        place = f"blocks.{number}.conv.depth_conv.conv"
        for large, small in ((7, 5), (5, 3)):
            content[f"{place}.{large}to{small}_matrix"] = torch.randn(small**2, small**2)
    path = folder / "ofa_net"
    torch.save({"state_dict": content}, path)
    return path, content


def test_the_largest_network_is_the_file(tmp_path: Path) -> None:
    """Nothing is cut or computed."""
    path, content = supernet_file(tmp_path)
    network = load_checkpoint(SMALL.build(LARGEST), path)
    weight = content["blocks.2.conv.depth_conv.conv.conv.weight"]
    assert torch.equal(network.state_dict()["stages.1.1.depthwise.conv.weight"], weight)


def test_slices(tmp_path: Path) -> None:
    """The first blocks of a stage, and the first channels of each layer."""
    path, content = supernet_file(tmp_path)
    network = load_checkpoint(SMALL.build({**LARGEST, "s3": ["k7e3"]}), path).state_dict()
    # The first stage has one block, every other room for two: stage s3 starts at block 3.
    place = "blocks.3.conv"
    expand = content[f"{place}.inverted_bottleneck.conv.conv.weight"]
    assert torch.equal(network["stages.2.0.expand.conv.weight"], expand[:24])
    mean = content[f"{place}.depth_conv.bn.bn.running_mean"]
    assert torch.equal(network["stages.2.0.depthwise.bn.running_mean"], mean[:24])
    project = content[f"{place}.point_linear.conv.conv.weight"]
    assert torch.equal(network["stages.2.0.project.conv.weight"], project[:, :24])
    following = content["blocks.5.conv.point_linear.conv.conv.weight"]
    assert torch.equal(network["stages.3.0.project.conv.weight"], following)


@pytest.mark.parametrize("size", [5, 3])
def test_smaller_kernels(tmp_path: Path, size: int) -> None:
    """The middle of the next larger kernel, times a matrix; twice from 7 to 3."""
    path, content = supernet_file(tmp_path)
    network = load_checkpoint(SMALL.build({**LARGEST, "s2": [f"k{size}e6"]}), path).state_dict()
    place = "blocks.1.conv.depth_conv.conv"
    kernel = content[f"{place}.conv.weight"]
    while kernel.shape[-1] > size:
        large, small = kernel.shape[-1], kernel.shape[-1] - 2
        matrix = content[f"{place}.{large}to{small}_matrix"]
        flat = kernel[:, 0, 1:-1, 1:-1].reshape(-1, small**2)
        kernel = torch.stack([matrix.mv(row) for row in flat]).reshape(-1, 1, small, small)
    assert torch.allclose(network["stages.1.0.depthwise.conv.weight"], kernel, atol=1e-6)


@pytest.mark.parametrize("size", [7, 3])
def test_names_of_older_files(tmp_path: Path, size: int) -> None:
    """`OFAMobileNetV3.load_state_dict` reads files that name a layer once, and the block's part."""
    path, content = supernet_file(tmp_path)
    architecture = {**LARGEST, "s2": [f"k{size}e3"]}
    expected = load_checkpoint(SMALL.build(architecture), path).state_dict()
    older = {
        key.replace(".bn.bn.", ".bn.")
        .replace(".conv.conv.weight", ".conv.weight")
        .replace(".conv.", ".mobile_inverted_conv.", 1 if key.startswith("blocks.") else 0): tensor
        for key, tensor in content.items()
    }
    assert not any(".conv.conv." in key for key in older)
    torch.save({"state_dict": older}, tmp_path / "older")
    network = load_checkpoint(SMALL.build(architecture), tmp_path / "older").state_dict()
    assert all(torch.equal(tensor, network[key]) for key, tensor in expected.items())


def test_what_no_network_has_is_left_over(tmp_path: Path) -> None:
    """Only blocks and matrices of larger networks may be left out."""
    path, content = supernet_file(tmp_path)
    torch.save({**content, "blocks_of_another.weight": torch.zeros(1)}, path)
    with pytest.raises(errors.KeyMismatch, match="blocks_of_another"):
        load_checkpoint(SMALL.build(LARGEST), path)


@pytest.mark.parametrize("kind", sorted(WIDE))
@pytest.mark.parametrize("seed", range(2))
def test_parity(kind: str, seed: int, tmp_path: Path) -> None:
    """Where its package `ofa` is installed, its own subnets give the same logits."""
    networks = pytest.importorskip("ofa.imagenet_classification.elastic_nn.networks")
    options: dict[str, Any] = {} if kind == "OFAMobileNetV3" else {"width_mult": 1.3}
    supernet = randomised(getattr(networks, kind)(dropout_rate=0, **ELASTIC, **options))
    for name, parameter in supernet.named_parameters():
        if "matrix" in name:
            nn.init.normal_(parameter, std=0.2)
    torch.save({"state_dict": supernet.state_dict()}, tmp_path / "supernet")
    architecture = WIDE[kind].sample(Random(seed))
    stages = [v for name, v in architecture.items() if name not in ("stem_kernel", "s0")]
    padded = [read_label(s[min(i, len(s) - 1)]) for s in stages[:5] for i in range(4)]
    padded += [read_label(s[0]) for s in stages[5:]]
    supernet.set_active_subnet(  # pyright: ignore[reportCallIssue]
        ks=[label.kernel_size for label in padded],
        e=[int(label.expand_ratio or 1) for label in padded],
        d=[len(stage) for stage in stages],
    )
    ours = load_checkpoint(WIDE[kind].build(architecture), tmp_path / "supernet").eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected, logits = supernet(images), ours(images)
    assert ((logits - expected).abs().max() / expected.std()).item() < 1e-5


def test_load_supernet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By name from a local file; the log says what is still to be done."""
    pytest.importorskip("ofa.imagenet_classification", reason="ofa is not installed")
    from ofa.imagenet_classification.elastic_nn.networks import OFAProxylessNASNets  # pyright: ignore

    theirs = OFAProxylessNASNets(dropout_rate=0, width_mult=1.3, **ELASTIC)
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "supernet")
    with caplog.at_level(logging.WARNING, logger="zoo"):
        supernet = ProxylessNAS.load_supernet(
            "ofa-supernet-proxyless-w1.3", checkpoint=tmp_path / "supernet"
        )
    assert "call zoo.networks.batch_norm.recalibrate(subnet, batches)" in caplog.text
    sampled = supernet.sample(Random(3))
    assert all(2 <= len(sampled.architecture[f"s{stage}"]) <= 4 for stage in range(2, 7))


def test_recalibrate() -> None:
    """Statistics are the plain average over all batches; weights and mode stay."""
    network: Any = randomised(SMALL.build(LARGEST))
    shared = network.state_dict()["stem.bn.running_mean"]
    before, weights = shared.clone(), network.classifier.weight.clone()
    batches = [torch.randn(8, 3, 32, 32) + shift for shift in (0.0, 1.0)]
    recalibrate(network, [(batches[0], torch.zeros(8)), batches[1]])
    with torch.inference_mode():
        outputs = [network.stem.conv(images) for images in batches]
    means = torch.stack([output.mean((0, 2, 3)) for output in outputs]).mean(0)
    variances = torch.stack([output.var((0, 2, 3)) for output in outputs]).mean(0)
    norm = network.stem.bn
    assert torch.allclose(norm.running_mean, means, atol=1e-5)
    assert torch.allclose(norm.running_var, variances, rtol=1e-4)
    assert norm.momentum == 0.1 and not network.training
    assert torch.equal(network.classifier.weight, weights)
    assert torch.equal(shared, before)  # a supernet's memory is left alone


def test_recalibrate_without_images() -> None:
    """Statistics of nothing are an error, as is a network without any."""
    network = SMALL.build(LARGEST)
    with pytest.raises(errors.InvalidArgument, match="no batch of images"):
        recalibrate(network, [])
    with pytest.raises(errors.InvalidArgument, match="no BatchNorm"):
        recalibrate(nn.Linear(2, 2), [torch.zeros(1, 2)])
