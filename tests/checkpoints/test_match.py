"""From the tensors of a file to those of a network: every one is accounted for, or named."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from tests.checkpoints.files import in_format, same_tensors, tiny
from tests.spaces.small import images_for, small_space
from zoo.checkpoints.formats import FORMATS
from zoo.checkpoints.load import load_checkpoint, native_metadata, save_checkpoint
from zoo.checkpoints.read import read_metadata
from zoo.errors import (
    ArchitectureMismatch,
    CheckpointError,
    CorruptCheckpoint,
    InvalidArgument,
    KeyMismatch,
    UnknownFormat,
)
from zoo.layers.empty import EmptyParameters

FOREIGN = [
    ("ProxylessNAS", "mit"),
    ("MobileNetV3Space", "mit"),
    ("ProxylessNAS", "nni"),
    ("MobileNetV3Space", "timm"),
    ("MobileNetV3Space", "torchvision"),
    ("MobileNetV3Space", "nni"),
    ("NasBench201", "autodl"),
    ("NasBench201", "nni"),
]


def write(path: Path, content: Any) -> Path:
    """Write a torch file."""
    torch.save(content, path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the tests write their files."""
    return tmp_path / "net.pth"


# --- what fits ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("space", "name"), FOREIGN)
def test_formats(path: Path, space: str, name: str) -> None:
    """A file in another project's names fills the network bit by bit, format named or found."""
    source = tiny(space, seed=1)
    write(path, in_format(source, name))
    for chosen in (None, name):
        target = tiny(space, seed=1)
        torch.nn.init.zeros_(target.classifier.weight)
        assert load_checkpoint(target, path, chosen) is target
        assert same_tensors(target.state_dict(), source.state_dict())
    assert torch.equal(target(images_for(space)), source(images_for(space)))


@pytest.mark.parametrize("space", ["ProxylessNAS", "MobileNetV3Space", "NasBench201"])
def test_native(tmp_path: Path, space: str) -> None:
    """What `save_checkpoint` writes names its architecture, and fills an equal network."""
    source, path = tiny(space, seed=2), tmp_path / "net.safetensors"
    save_checkpoint(source, path, {"zoo.name": "mine"})
    built = small_space(space)
    with EmptyParameters():
        target = built.build(source.architecture)
    load_checkpoint(target, path)
    assert same_tensors(target.state_dict(), source.state_dict())
    assert not any(tensor.is_meta for tensor in target.buffers())
    metadata = native_metadata(source)
    assert json.loads(metadata["zoo.architecture"]) == source.architecture
    assert metadata["zoo.architecture_hash"] == source.architecture_hash


def test_native_half(tmp_path: Path) -> None:
    """Weights are kept in half the size, norms and biases exactly; the file says so itself."""
    for space in ("NasBench201", "DARTS", "AutoformerSpace"):
        source, path = tiny(space, seed=2), tmp_path / "half.safetensors"
        save_checkpoint(source, path, {"zoo.name": "mine"}, half=True)
        assert read_metadata(path)["zoo.format"] == "native-half"
        target = tiny(space, seed=2)
        torch.nn.init.zeros_(target.classifier.weight)
        loaded = load_checkpoint(target, path).state_dict()
        for key, tensor in source.state_dict().items():
            kept = tensor.half().float() if tensor.dim() > 1 else tensor
            assert torch.equal(loaded[key], kept), key
            assert loaded[key].dtype == tensor.dtype
        with safe_open(path, framework="pt") as file:
            stored = {key: file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
        assert stored["classifier.weight"] == "F16" and stored["classifier.bias"] == "F32"


def test_half_numbers_of_other_files_are_still_refused(tmp_path: Path) -> None:
    """Without the zoo's own word for it, a file of another type does not fit. FAULTS 45."""
    path = tmp_path / "half.safetensors"
    tensors = {
        key: tensor.half() if tensor.is_floating_point() else tensor
        for key, tensor in tiny().state_dict().items()
    }
    for metadata in (None, {"zoo.format": "native"}, {"zoo.format": "no such"}):
        save_file(tensors, path, metadata=metadata)
        with pytest.raises(KeyMismatch, match=r"expected torch.float32, got torch.float16"):
            load_checkpoint(tiny(), path)
    save_file(tensors, path)
    with pytest.raises(KeyMismatch, match=r"expected torch.float32, got torch.float16"):
        load_checkpoint(tiny(), path, "native-half")  # norms in half precision: not ours


def test_weights_too_large_for_half_precision(tmp_path: Path) -> None:
    """Nothing is written where float16 would turn a weight into infinity."""
    network = tiny()
    network.classifier.weight.data[0, 0] = 1e6
    with pytest.raises(CheckpointError, match=r"half precision: classifier.weight holds"):
        save_checkpoint(network, tmp_path / "half.safetensors", {}, half=True)
    assert not list(tmp_path.iterdir())


def test_a_network_may_be_saved_over_the_file_it_was_loaded_from(tmp_path: Path) -> None:
    """Its tensors are views of that file, which is replaced and not written into."""
    path = tmp_path / "net.safetensors"
    source = tiny()
    save_checkpoint(source, path, {})
    loaded = load_checkpoint(tiny(seed=0), path)
    loaded.classifier.bias.data.add_(1.0)
    expected = {key: tensor.clone() for key, tensor in loaded.state_dict().items()}
    save_checkpoint(loaded, path, {})
    assert same_tensors(loaded.state_dict(), expected)
    assert same_tensors(load_checkpoint(tiny(), path).state_dict(), expected)
    save_checkpoint(tiny(seed=5), path, {})
    assert same_tensors(loaded.state_dict(), expected)
    assert list(tmp_path.iterdir()) == [path]


def test_saving_is_repeatable(tmp_path: Path) -> None:
    """The same network and metadata give the same bytes, so that digests can be compared."""
    metadata = {f"key {n}": str(n) for n in range(9)} | {"author": "Müller"}
    contents = set()
    for number in range(5):
        save_checkpoint(tiny(), tmp_path / f"{number}", metadata)
        contents.add((tmp_path / f"{number}").read_bytes())
    assert len(contents) == 1
    assert read_metadata(tmp_path / "0")["author"] == "Müller"
    with safe_open(tmp_path / "0", framework="pt") as file:
        assert file.metadata()["key 3"] == "3"


def test_saving_where_nothing_can_be(tmp_path: Path) -> None:
    """A folder that is not there, and a place that is a folder."""
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "missing" / "net", tmp_path / "folder"):
        with pytest.raises(CheckpointError, match=f"{path}: cannot be written"):
            save_checkpoint(tiny(), path, {})


@pytest.mark.parametrize("root", ["state_dict", "state_dict_ema", "model_ema", "model", "net"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrappers(path: Path, root: str, prefix: str) -> None:
    """Usual root keys and the prefix of DataParallel are looked through. FAULTS 45."""
    source = tiny()
    tensors = {f"{prefix}{key}": value for key, value in in_format(source, "nni").items()}
    write(path, {root: tensors, "epoch": 7, "optimizer": {"lr": 0.1}})
    assert same_tensors(load_checkpoint(tiny(), path).state_dict(), source.state_dict())


def test_averaged_weights_come_first(path: Path) -> None:
    """Where a file has both, the averaged weights are those its authors evaluated."""
    raw, averaged = tiny(seed=0), tiny(seed=0)
    averaged.classifier.bias.data.fill_(0.5)
    content = {"state_dict": in_format(raw, "nni"), "state_dict_ema": in_format(averaged, "nni")}
    write(path, content)
    assert load_checkpoint(tiny(), path).classifier.bias[0] == 0.5
    loaded = load_checkpoint(tiny(), path, root_key="state_dict")
    assert torch.equal(loaded.classifier.bias, raw.classifier.bias)


@pytest.mark.parametrize("root_key", ["weights", ""])
def test_root_key_that_is_not_there(path: Path, root_key: str) -> None:
    """The message lists what is there."""
    write(path, {"state_dict": in_format(tiny(), "nni"), "epoch": 3})
    with pytest.raises(CorruptCheckpoint, match=rf"no entry '{root_key}'.*state_dict, epoch"):
        load_checkpoint(tiny(), path, root_key=root_key)


@pytest.mark.parametrize("content", [[1, 2], 3, "text", torch.ones(2), None, ("a", "b")])
def test_content_that_is_no_dictionary(path: Path, content: Any) -> None:
    """A file that holds something else, at the top or under its root key."""
    write(path, content)
    with pytest.raises(CorruptCheckpoint, match="expected a dictionary"):
        load_checkpoint(tiny(), path)
    write(path, {"state_dict": content})
    with pytest.raises(CorruptCheckpoint, match="expected a dictionary"):
        load_checkpoint(tiny(), path, root_key="state_dict")


def test_files_without_counters(path: Path) -> None:
    """Files older than PyTorch 0.4.1 have no `num_batches_tracked`; it starts at 0."""
    source = tiny()
    tensors = {k: v for k, v in in_format(source, "nni").items() if "num_batches" not in k}
    target = load_checkpoint(tiny(), write(path, tensors))
    assert target.stem.bn.num_batches_tracked == 0
    assert torch.equal(target.stem.bn.running_mean, source.stem.bn.running_mean)


def test_loading_keeps_what_the_network_is(path: Path) -> None:
    """Mode and frozen parameters stay; every parameter still is one."""
    write(path, in_format(tiny(), "nni"))
    network = tiny().train()
    network.stem.requires_grad_(False)
    load_checkpoint(network, path)
    assert network.training
    assert not network.stem.conv.weight.requires_grad
    assert network.classifier.weight.requires_grad
    assert isinstance(network.classifier.weight, torch.nn.Parameter)


def test_no_two_parameters_share_memory(path: Path) -> None:
    """Tensors tied, expanded or transposed in a file become tensors of their own."""
    source = tiny()
    norms = [m for m in source.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.data.fill_(1.5)
        norm.running_var.fill_(0.75)
    tensors = in_format(source, "nni")
    ones, pool = torch.tensor(1.5), torch.full((4096,), 0.75)
    for key, tensor in tensors.items():
        if key.endswith("running_var"):
            tensors[key] = pool[: tensor.numel()]  # all begin at the same place
        elif tensor.ndim == 1 and bool((tensor == 1.5).all()):
            tensors[key] = ones.expand(tensor.shape)
    tensors["classifier.weight"] = tensors["classifier.weight"].t().contiguous().t()
    target = load_checkpoint(tiny(), write(path, tensors))
    assert same_tensors(target.state_dict(), source.state_dict())
    spans = sorted(
        (tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes)
        for tensor in target.state_dict().values()
    )
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))
    assert all(tensor.is_contiguous() for tensor in target.state_dict().values())
    save_checkpoint(target, path.with_name("native.safetensors"), {})


# --- what does not fit -------------------------------------------------------------------------


def mismatch(path: Path, tensors: dict[str, Tensor], **options: Any) -> str:
    """Return the message of the mismatch; the network must be unchanged by it."""
    network = tiny()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with pytest.raises(KeyMismatch) as caught:
        load_checkpoint(network, write(path, tensors), **options)
    assert same_tensors(network.state_dict(), before)
    return str(caught.value)


def test_difference_is_grouped(path: Path) -> None:
    """Missing, left over and misshapen tensors stand in one message with both shapes. FAULTS 45."""
    tensors = in_format(tiny(), "nni")
    del tensors["stem.0.weight"]
    tensors["surplus"] = torch.ones(1)
    tensors["classifier.weight"] = torch.ones(7, 64)
    count = len(tiny().state_dict())
    assert mismatch(path, tensors) == (
        f"{path} (format nni) does not fit this ProxylessNAS network of {count} tensors:\n"
        "  1 missing from the file:\n"
        "    stem.0.weight\n"
        "  1 left over in the file:\n"
        "    surplus\n"
        "  1 of another shape or type:\n"
        "    classifier.weight: expected 5×64, got 7×64\n"
        "  Is it a file of another architecture, or are its settings (widths) different?"
    )


def test_long_differences_are_cut(path: Path) -> None:
    """Of many tensors the first eight are shown, and how many more there are."""
    tensors = {**in_format(tiny(), "nni"), **{f"extra.{n}": torch.ones(1) for n in range(20)}}
    text = mismatch(path, tensors)
    assert "  20 left over in the file:\n    extra.0\n" in text
    assert "    extra.7\n    … and 12 more\n" in text


def test_only_the_classifier_differs(path: Path) -> None:
    """The most usual difference gets its own advice."""
    tensors = in_format(tiny(num_classes=9), "nni")
    text = mismatch(path, tensors)
    assert "2 of another shape" in text
    assert "Only the classifier differs: build with the file's num_classes" in text


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64])
def test_another_type(path: Path, dtype: torch.dtype) -> None:
    """Numbers of another type are not converted silently. FAULTS 45."""
    tensors = {
        key: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for key, tensor in in_format(tiny(), "nni").items()
    }
    text = mismatch(path, tensors)
    assert f"stem.0.weight: expected torch.float32, got {dtype}" in text
    assert "Numbers are not converted silently" in text


def test_values_that_are_no_tensors(path: Path) -> None:
    """Lists and arrays in the place of tensors are named."""
    tensors: dict[str, Any] = in_format(tiny(), "nni")
    tensors["stem.0.weight"] = np.ones(3)
    tensors["stem.1.weight"] = [1.0, 2.0]
    text = mismatch(path, tensors)
    assert "stem.0.weight: expected a tensor, got ndarray" in text
    assert "stem.1.weight: expected a tensor, got list" in text


@pytest.mark.parametrize("prefix", ["model.", "backbone.", "net.module."])
def test_unknown_prefixes_are_not_guessed(path: Path, prefix: str) -> None:
    """Only the prefix of DataParallel is known; another is an error that shows it. FAULTS 45."""
    tensors = {f"{prefix}{key}": value for key, value in in_format(tiny(), "nni").items()}
    with pytest.raises(UnknownFormat) as caught:
        load_checkpoint(tiny(), write(path, tensors))
    text = str(caught.value)
    assert text.startswith(f"{path}: no known format of ProxylessNAS fits its keys ({prefix}stem.")
    assert f"… {len(tensors)} in all" in text
    assert "Known: " in text and "nni" in text and "native" in text
    assert "format=" in text


def test_half_a_prefix(path: Path) -> None:
    """A prefix on some keys only is no prefix."""
    tensors = in_format(tiny(), "nni")
    tensors["module.stem.0.weight"] = tensors.pop("stem.0.weight")
    text = mismatch(path, tensors)
    assert "missing from the file:\n    stem.0.weight" in text
    assert "left over in the file:\n    module.stem.0.weight" in text


def test_an_empty_file(path: Path) -> None:
    """A dictionary without tensors fits nothing."""
    with pytest.raises(UnknownFormat, match="no known format"):
        load_checkpoint(tiny(), write(path, {}))


def test_ambiguous_formats(path: Path) -> None:
    """Where several signatures match, the format that misses the fewest tensors is meant."""
    source = tiny("NasBench201")
    for name in ("autodl", "nni"):
        tensors = in_format(source, name)
        fitting = [
            entry.name
            for entry in FORMATS.values()
            if entry.names_for("NasBench201")
            and any(re.search(entry.signature, key) for key in tensors)
        ]
        assert len(fitting) > 1
        target = load_checkpoint(tiny("NasBench201"), write(path, tensors))
        assert same_tensors(target.state_dict(), source.state_dict())
        del tensors["lastact.0.weight"]
        with pytest.raises(KeyMismatch, match=rf"format {name}\) .*\n.*\n    lastact.0.weight"):
            load_checkpoint(tiny("NasBench201"), write(path, tensors))


def test_format_misspelt(path: Path) -> None:
    """A format that does not exist gets a suggestion and the list."""
    write(path, in_format(tiny(), "nni"))
    with pytest.raises(InvalidArgument) as caught:
        load_checkpoint(tiny(), path, "torchvison")
    text = str(caught.value)
    assert "no checkpoint format named 'torchvison'. Did you mean 'torchvision'" in text
    assert "nni" in text.split("Formats:")[1]


def test_format_of_another_space(path: Path) -> None:
    """A format that does not know the space says which it knows."""
    write(path, in_format(tiny(), "nni"))
    with pytest.raises(InvalidArgument, match=r"'timm' is not one of ProxylessNAS; it knows .*Mob"):
        load_checkpoint(tiny(), path, "timm")


def test_a_file_in_another_format_than_named(path: Path) -> None:
    """The named format is believed, and its names are reported missing."""
    text = mismatch(path, in_format(tiny(), "nni"), format="native")
    assert "(format native)" in text
    assert "    stem.conv.weight\n" in text


def test_keys_that_are_no_texts(path: Path) -> None:
    """Numbers as keys are left over, and no crash."""
    tensors: dict[Any, Any] = {**in_format(tiny(), "nni"), 7: torch.ones(1), None: torch.ones(1)}
    text = mismatch(path, tensors)
    assert "2 left over in the file:\n    7\n    None" in text


# --- what is damaged or made to harm ------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("native", [True, False])
def test_numbers_that_are_none(path: Path, value: float, native: bool) -> None:
    """One NaN or infinite value is enough, and is named by its tensor. FAULTS 44."""
    source = tiny()
    source.stages[1][0].project.conv.weight.data.view(-1)[-1] = value
    if native:
        save_checkpoint(source, path, {})
    else:
        write(path, in_format(source, "nni"))
    with pytest.raises(CorruptCheckpoint, match=r"stages\.1\.0\.project\.conv\.weight holds NaN"):
        load_checkpoint(tiny(), path)


def test_negative_variance(path: Path) -> None:
    """A variance below zero would give NaN later. FAULTS 44."""
    source = tiny()
    source.stem.bn.running_var[3] = -1e-6
    with pytest.raises(CorruptCheckpoint, match=r"stem\.bn\.running_var holds negative variances"):
        load_checkpoint(tiny(), write(path, in_format(source, "nni")))


@pytest.mark.parametrize("key", ["classifier.weight", "surplus"])
def test_one_number_that_claims_to_be_a_billion(path: Path, key: str) -> None:
    """A huge view of a small storage is refused by its shape, before it takes memory. FAULTS 46."""
    tensors = in_format(tiny(), "nni")
    tensors[key] = torch.zeros(1).expand(1_000_000, 1_000_000)
    assert write(path, tensors).stat().st_size < 1_000_000
    text = mismatch(path, tensors)
    if key == "classifier.weight":
        assert "classifier.weight: expected 5×64, got 1000000×1000000" in text


# --- MIT's int8 files ---------------------------------------------------------------------------


def int8_file(**changes: Any) -> dict[str, Any]:
    """Return the content of a small file in MIT's exchange format, for `folded()`."""

    def convolution(out_channels: int, in_channels: int, kernel: int) -> dict[str, Any]:
        generator = np.random.default_rng(out_channels * 1000 + in_channels)
        shape = (out_channels, in_channels, kernel, kernel)
        return {
            "params": {
                "weight": generator.integers(-127, 127, shape).astype(np.int8),
                "bias": generator.integers(-999, 999, out_channels).astype(np.int32),
                "w_scales": generator.uniform(1e-3, 1e-2, out_channels).astype(np.float32),
                "x_scale": 0.02,
            }
        }

    network = folded()
    blocks = []
    for block in (block for stage in network.stages for block in stage):
        parts = {"pointwise1": block.expand, "depthwise": block.depthwise,
                 "pointwise2": block.project}  # fmt: skip
        content: dict[str, Any] = {"se": None}
        for name, part in parts.items():
            conv = getattr(part, "conv", None)
            content[name] = conv and convolution(
                conv.out_channels, conv.in_channels // conv.groups, conv.kernel_size[0]
            )
        blocks.append(content)
    return {
        "first_conv": convolution(16, 3, 3),
        "blocks": blocks,
        "feature_mix": convolution(64, 48, 1),
        "classifier": convolution(5, 64, 1),
        **changes,
    }


def folded() -> Any:
    """Return a small network without BatchNorm."""
    return tiny(folded_batch_norm=True)


def test_int8(path: Path) -> None:
    """Weight and bias are integers times their scales, per output channel."""
    content = int8_file()
    network = load_checkpoint(folded(), write(path, content))
    params = content["first_conv"]["params"]
    expected = params["weight"].astype(np.float32) * params["w_scales"][:, None, None, None]
    np.testing.assert_allclose(network.stem.conv.weight.detach().numpy(), expected, rtol=1e-6)
    expected = params["bias"] * 0.02 * params["w_scales"]
    np.testing.assert_allclose(network.stem.conv.bias.detach().numpy(), expected, rtol=1e-6)
    assert network.classifier.weight.shape == (5, 64)
    assert torch.isfinite(network(images_for("ProxylessNAS"))).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks": []}, "missing from the file"),
        ({"blocks": [{}]}, "KeyError"),
        ({"blocks": [3]}, "TypeError"),
        ({"first_conv": None}, "missing from the file"),
        ({"first_conv": {"params": {}}}, "KeyError"),
        ({"first_conv": "text"}, "TypeError"),
        ({"feature_mix": {"params": {"weight": torch.ones(3), "w_scales": [1.0], "bias": 0}}}, ""),
        ({"blocks": [{"se": {}, "depthwise": None}]}, "block 0 has squeeze-and-excite"),
    ],
)
def test_int8_of_another_layout(path: Path, change: dict[str, Any], message: str) -> None:
    """Whatever is missing or of another type, the message names the file."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folded(), write(path, int8_file(**change)))
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_int8_without_a_layout(path: Path) -> None:
    """A state dict is no such file."""
    with pytest.raises(CorruptCheckpoint, match="not MIT's int8 exchange format") as caught:
        load_checkpoint(folded(), write(path, in_format(tiny(), "nni")), "mit-int8")
    assert str(path) in str(caught.value)


def test_int8_that_claims_to_be_a_billion(path: Path) -> None:
    """Nor is a huge view of a small storage multiplied out here. FAULTS 46."""
    content = int8_file()
    content["first_conv"]["params"] = {
        "weight": torch.ones((), dtype=torch.int8).expand(1_000_000, 1000, 100, 1),
        "w_scales": torch.ones(()).expand(1_000_000),
        "bias": torch.zeros((), dtype=torch.int32).expand(1_000_000),
        "x_scale": 1.0,
    }
    with pytest.raises(CheckpointError, match=r"net.pth"):
        load_checkpoint(folded(), write(path, content))


# --- another architecture -----------------------------------------------------------------------


def test_native_file_of_another_architecture(path: Path) -> None:
    """The message names every choice that differs, and what both say. FAULTS 49."""
    source = small_space("ProxylessNAS")
    theirs = {"s2": ["k3e3"], "s3": ["k3e3"], "s4": ["k3e3"], "s5": ["k3e3"], "s6": ["k3e6"],
              "s7": ["k3e3"]}  # fmt: skip
    ours = {**theirs, "s2": ["k3e3", "k3e6"], "s6": ["k3e3"]}
    save_checkpoint(source.build(theirs), path, {})
    with pytest.raises(ArchitectureMismatch) as caught:
        load_checkpoint(source.build(ours), path)
    text = str(caught.value)
    assert text.startswith(f"{path} holds weights of another architecture (ProxylessNAS, hash ")
    assert "\n  s2: file ['k3e3'], network ['k3e3', 'k3e6']" in text
    assert "\n  s6: file ['k3e6'], network ['k3e3']" in text
    assert "s3" not in text


def test_native_file_of_other_settings(path: Path) -> None:
    """Equal choices, other widths: said so."""
    network = tiny()
    save_checkpoint(network, path, {})
    other = small_space("ProxylessNAS", feature_mix=128).build(network.architecture)
    with pytest.raises(ArchitectureMismatch, match=r"the settings .such as widths. differ"):
        load_checkpoint(other, path)


@pytest.mark.parametrize("claim", ["not json", "[1, 2]", "null", '{"s2": 3}', "[" * 100_000])
def test_native_file_with_a_damaged_claim(path: Path, claim: str) -> None:
    """Metadata that cannot be read make the file another architecture's, and no crash."""
    network = tiny()
    metadata = {"zoo.architecture": claim, "zoo.architecture_hash": "0" * 64}
    save_file(network.state_dict(), path, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"net.pth"):
        load_checkpoint(tiny(), path)


def test_native_keys_without_a_claim(path: Path) -> None:
    """A file without metadata, as `save_file(model.state_dict())` writes it, is read too."""
    network = tiny()
    save_file(network.state_dict(), path)
    assert same_tensors(load_checkpoint(tiny(), path).state_dict(), network.state_dict())
