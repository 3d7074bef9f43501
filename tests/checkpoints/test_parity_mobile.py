"""The mobile networks of the manifest compute what timm's, torchvision's and pytorchcv's do.

The architecture comes from our record, the random weights from the other package's
network in its own key names. Where no installed package implements a format, the key
lists are written from the public code that the test names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.checkpoints.test_parity import randomised
from zoo import load_searched_model
from zoo.checkpoints.formats import FORMATS
from zoo.manifest import find_records
from zoo.networks.network import Network

RECORDS = dict(find_records())
TIMM = {
    **{f"hardcorenas-{letter}": f"hardcorenas_{letter}" for letter in "abcdef"},
    **{f"fbnetv3-{letter}-timm": f"fbnetv3_{letter}" for letter in "bdg"},
    **{f"tinynet-{letter}": f"tinynet_{letter}" for letter in "abcde"},
    "efficientnet-b0-ra4": "efficientnet_b0",
    "efficientnet-b0-tf": "tf_efficientnet_b0",
    "efficientnet-b0-timm": "efficientnet_b0",
    "efficientnet-es": "efficientnet_es",
    "efficientnet-es-tf": "tf_efficientnet_es",
    "efficientnet-lite0": "efficientnet_lite0",
    "efficientnet-lite0-tf": "tf_efficientnet_lite0",
    "fbnetc-100": "fbnetc_100",
    **{f"mixnet-{size}": f"mixnet_{size}" for size in ("s", "m", "l", "xl")},
    **{f"mixnet-{size}-tf": f"tf_mixnet_{size}" for size in ("s", "m", "l")},
    "mnasnet-a1-075-timm": "semnasnet_075",
    "mnasnet-a1-timm": "semnasnet_100",
    "mnasnet-b1-timm": "mnasnet_100",
    "mnasnet-small-timm": "mnasnet_small",
    "mobilenetv3-large-075-tf": "tf_mobilenetv3_large_075",
    "mobilenetv3-large-100-tf": "tf_mobilenetv3_large_100",
    "mobilenetv3-large-minimal-100-tf": "tf_mobilenetv3_large_minimal_100",
    "mobilenetv3-rw": "mobilenetv3_rw",
    "mobilenetv3-small-075-tf": "tf_mobilenetv3_small_075",
    "mobilenetv3-small-100-tf": "tf_mobilenetv3_small_100",
    "mobilenetv3-small-minimal-100-tf": "tf_mobilenetv3_small_minimal_100",
    "spnasnet-100": "spnasnet_100",
}
TORCHVISION = {
    "efficientnet-b0-torchvision": "efficientnet_b0",
    "mnasnet-b1-050-torchvision": "mnasnet0_5",
    "mnasnet-b1-075-torchvision": "mnasnet0_75",
    "mnasnet-b1-100-torchvision": "mnasnet1_0",
    "mnasnet-b1-130-torchvision": "mnasnet1_3",
}
# A tag is a training whose settings differ: the epsilon, or the head without a bias.
PYTORCHCV = {
    "efficientnet-b0-tf@pytorchcv-b0b": "efficientnet_b0b",
    "efficientnet-b0-timm@pytorchcv": "efficientnet_b0",
    "fbnetc-100@default": "fbnet_cb",
    "mnasnet-a1-timm@pytorchcv": "mnasnet_a1",
    "mnasnet-b1-timm@pytorchcv": "mnasnet_b1",
    "mobilenetv3-large-100@pytorchcv": "mobilenetv3_large_w1",
    "proxyless-cpu": "proxylessnas_cpu",
    "proxyless-gpu": "proxylessnas_gpu",
    "proxyless-mobile": "proxylessnas_mobile",
    "proxyless-mobile-14": "proxylessnas_mobile14",
    "proxyless-mobile-cub": "proxylessnas_mobile_cub",
    "spnasnet-100@pytorchcv": "spnasnet",
}


def check_parity(theirs: nn.Module, name: str, folder: Path, size: int) -> None:
    """Assert that the network of our record gives their logits with their weights."""
    randomised(theirs)
    path = folder / "theirs.pth"
    torch.save(theirs.state_dict(), path)
    ours = load_searched_model(name, checkpoint=path)
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1)).double()
    # In float64: random weights may magnify the rounding of float32 beyond any tolerance.
    with torch.inference_mode():
        expected, logits = theirs.double()(images), ours.double()(images)
    assert expected.std() > 1e-3
    assert ((logits - expected).abs().max() / expected.std()).item() < 1e-9


@pytest.mark.parametrize("name", sorted(TIMM))
def test_timm(name: str, tmp_path: Path) -> None:
    """MnasNet, FBNet, HardCoRe-NAS, TinyNet, EfficientNet … as timm has them."""
    import timm

    # An even size at some strides and an odd one at others: TensorFlow's padding shows.
    check_parity(timm.create_model(TIMM[name]), name, tmp_path, size=72)


def fairnas_se(name: str) -> nn.Module:
    """Return timm's network of FairNAS with gates, in the stages of `models/timm_models.py`."""
    from timm.models._efficientnet_builder import decode_arch_def
    from timm.models.efficientnet import EfficientNet

    record = RECORDS[name]
    widths, strides = record.settings["base_widths"][2:], record.settings["strides"][2:]
    choices = load_searched_model(name, pretrained=False).architecture
    blocks = [
        f"ir_r1_k{label[1]}_s{stride if index == 0 else 1}_e{label[3]}_c{width}"
        f"_se{record.settings['gate']['ratio']:f}_nsw"
        for stage, width, stride in zip(range(1, 7), widths, strides, strict=False)
        for index, label in enumerate(choices[f"s{stage}"])
    ]
    stages = [blocks[start:end] for start, end in ((0, 1), (1, 2), (2, 6), (6, 14), (14, 19))]
    arch_def = [["ds_r1_k3_s1_e1_c16"], *stages]
    return EfficientNet(decode_arch_def(arch_def), num_features=1280, stem_size=32)


@pytest.mark.parametrize(
    "name", [f"fairnas-{x}-se{ratio}" for x in "abc" for ratio in ("", "-0.5")]
)
def test_fairnas_se(name: str, tmp_path: Path) -> None:
    """Its authors' code calls timm with a block definition: so does this."""
    check_parity(fairnas_se(name), name, tmp_path, size=72)


@pytest.mark.parametrize("name", sorted(TORCHVISION))
def test_torchvision(name: str, tmp_path: Path) -> None:
    """MnasNet and EfficientNet as torchvision has them."""
    import torchvision

    network = torchvision.models.get_model(TORCHVISION[name], weights=None)
    check_parity(network, name, tmp_path, size=72)


@pytest.mark.parametrize("name", sorted(PYTORCHCV))
def test_pytorchcv(name: str, tmp_path: Path) -> None:
    """pytorchcv's networks, where it is installed; it pools 7×7 pixels only."""
    provider = pytest.importorskip("pytorchcv.model_provider", reason="pytorchcv is not installed")
    check_parity(provider.get_model(PYTORCHCV[name]), name, tmp_path, size=224)


def test_the_training_decides_the_epsilon() -> None:
    """fbnetc-100's published weights need another epsilon than its code has as default."""
    norms = [
        next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
        for network in (
            load_searched_model("fbnetc-100", pretrained=False),
            load_searched_model("fbnetc-100@default", pretrained=False),
        )
    ]
    assert [norm.eps for norm in norms] == [1e-5, 1e-3]


# --- formats without an implementation here: key lists from public code -------------------------

BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def conv_bn(conv: str, bn: str) -> list[str]:
    """Return the keys of a convolution without bias, and of a norm."""
    return [f"{conv}.weight", *(f"{bn}.{leaf}" for leaf in BN)]


def linear(name: str) -> list[str]:
    """Return the keys of a linear layer."""
    return [f"{name}.weight", f"{name}.bias"]


def fairnas(network: Network) -> Iterator[str]:
    """xiaomi-automl/FairNAS, `models/FairNAS_A.py`: modules in the order they are registered."""
    yield from conv_bn("stem.0", "stem.1")
    yield from conv_bn("separable_conv.0", "separable_conv.1")
    yield from conv_bn("separable_conv.3", "separable_conv.4")
    for n in range(blocks_of(network) - 1):
        for part in (1, 2, 3):
            yield from conv_bn(f"mb_module.{n}.conv{part}", f"mb_module.{n}.bn{part}")
    yield from conv_bn("conv_before_pooling.0", "conv_before_pooling.1")
    yield from linear("classifier.1")


def anglenas(network: Network) -> Iterator[str]:
    """megvii-model/AngleNAS, `model.py` and `torch_blocks.py` of `SPOS/train`."""
    yield from conv_bn("conv_bn.0", "conv_bn.1")
    for start in (0, 3):
        yield from conv_bn(f"MBConv_ratio_1.conv.{start}", f"MBConv_ratio_1.conv.{start + 1}")
    for n in range(blocks_of(network) - 1):
        for start in (0, 3, 6):
            yield from conv_bn(f"features.{n}.conv.{start}", f"features.{n}.conv.{start + 1}")
    yield from conv_bn("conv_1x1_bn.0", "conv_1x1_bn.1")
    yield from linear("classifier.1")


def dli14(network: Network) -> Iterator[str]:
    """d-li14/mobilenetv3.pytorch, `mobilenetv3.py`."""
    yield from conv_bn("features.0.0", "features.0.1")
    blocks = [block for stage in list(network.stages)[:-1] for block in stage.children()]
    for n, block in enumerate(blocks, start=1):
        place = f"features.{n}.conv"
        gated = not isinstance(block.squeeze_excite, nn.Identity)
        widens = not isinstance(block.expand, nn.Identity)
        for start in (0, 3) if widens else (0,):
            yield from conv_bn(f"{place}.{start}", f"{place}.{start + 1}")
        gate, project = (5, 7) if widens else (3, 4)
        if gated:
            yield from (*linear(f"{place}.{gate}.fc.0"), *linear(f"{place}.{gate}.fc.2"))
        yield from conv_bn(f"{place}.{project}", f"{place}.{project + 1}")
    yield from conv_bn("conv.0", "conv.1")
    yield from (*linear("classifier.0"), *linear("classifier.3"))


def blocks_of(network: Network) -> int:
    """Return the number of blocks in all stages."""
    return sum(len(list(stage.children())) for stage in network.stages)


LISTED: dict[str, tuple[str, Any]] = {
    "fairnas-a": ("fairnas", fairnas),
    "fairnas-c": ("fairnas", fairnas),
    "fairnas-abs": ("anglenas", anglenas),
    "proxyless-abs": ("anglenas", anglenas),
    "spos-abs": ("anglenas", anglenas),
    "mobilenetv3-large-dli14": ("dli14", dli14),
    "mobilenetv3-small-075-dli14": ("dli14", dli14),
}


@pytest.mark.parametrize("name", sorted(LISTED))
def test_listed_keys(name: str, tmp_path: Path) -> None:
    """The keys are those of the public code, in its order; a file of them loads unnamed."""
    format_name, keys = LISTED[name]
    network = randomised(load_searched_model(name, pretrained=False))
    assert isinstance(network, Network)
    tensors, names_for = network.state_dict(), FORMATS[format_name].names_for(network.space)
    assert names_for is not None
    names = names_for(list(tensors), [])
    assert [names[key] for key in tensors] == list(keys(network))
    content = {
        f"module.{names[key]}": t.flatten(1) if ".fc." in names[key] and t.ndim == 4 else t
        for key, t in tensors.items()
    }
    path = tmp_path / "theirs.pth.tar"
    torch.save({"state_dict": content, "iters": 1}, path)
    loaded = load_searched_model(name, checkpoint=path)
    assert all(torch.equal(tensor, loaded.state_dict()[key]) for key, tensor in tensors.items())


def test_a_gate_before_the_activation_is_another_function(tmp_path: Path) -> None:
    """d-li14's tensors fit the usual MobileNetV3, and then give other logits."""
    theirs = randomised(load_searched_model("mobilenetv3-large-dli14", pretrained=False))
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    usual = load_searched_model("mobilenetv3-large-100", checkpoint=tmp_path / "theirs.pth")
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, logits = theirs(images), usual(images)
    assert ((logits - expected).abs().max() / expected.std()).item() > 1e-2
