"""Supernets: subnets are slices by their authors' rules, share memory, and load by name too."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.shared_material import GOLDEN, GoldenRecord, shared
from tests.spaces.small import images_for, small_space
from tests.supernet_files import authors_layout, nni_layout
from zoo import AutoformerSpace, errors, load_checkpoint, load_searched_model
from zoo.checkpoints.formats.autoformer import leading_part
from zoo.checkpoints.load import read_tensors, save_checkpoint
from zoo.layers.empty import EmptyParameters
from zoo.networks.cost import count_parameters
from zoo.networks.network import Network
from zoo.supernet import Supernet, read_supernet

SETTINGS: dict[str, Any] = {"num_heads": (1, 2, 3), "embed_dims": (24, 32), "depths": (1, 2, 3)}
LAYOUTS = {
    "autoformer": authors_layout,
    "prenas": lambda network: authors_layout(network, interleaved_bias=True),
    "nni": nni_layout,
}
each_layout = pytest.mark.parametrize("layout", LAYOUTS)


def space_of_tests() -> AutoformerSpace:
    """Return a small space."""
    space = small_space("AutoformerSpace", **SETTINGS)
    assert isinstance(space, AutoformerSpace)
    return space


def largest_network() -> Network:
    """Return the largest network of the small space, with random weights."""
    space = space_of_tests()
    torch.manual_seed(0)
    network = space.build(space.largest()).eval()
    for parameter in network.parameters():
        parameter.data.normal_(std=0.3)
    return network


def write_supernet(folder: Path, layout: str) -> Path:
    """Write the largest network as a supernet file of a publisher."""
    path = folder / f"{layout}.pth"
    torch.save({"model": LAYOUTS[layout](largest_network()), "epoch": 500}, path)
    return path


def open_supernet(folder: Path, layout: str) -> Supernet:
    """Write and read a supernet."""
    space = space_of_tests()
    path = write_supernet(folder, layout)
    return read_supernet(path, space, space.largest(), preferred=(layout,))


def bytes_of(tensor: Tensor) -> int:
    """Return where a tensor's memory starts."""
    return tensor.untyped_storage().data_ptr()


@each_layout
def test_the_largest_subnet_is_the_network_itself(tmp_path: Path, layout: str) -> None:
    """All the weights, at their places."""
    network, supernet = largest_network(), open_supernet(tmp_path, layout)
    assert supernet.format.name == layout
    subnet = supernet.subnet(space_of_tests().largest())
    for key, tensor in network.state_dict().items():
        assert torch.equal(subnet.state_dict()[key], tensor), key
    assert not subnet.training
    images = images_for("AutoformerSpace")
    assert torch.equal(subnet(images), network(images))


@each_layout
def test_subnets_are_leading_slices(tmp_path: Path, layout: str) -> None:
    """By the rule of every publisher for q, k, v and their biases."""
    whole = largest_network().state_dict()
    supernet = open_supernet(tmp_path, layout)
    subnet = supernet.subnet({"embed_dim": 24, "layers": ["h2r1.5", "h1r2"]}).state_dict()
    assert not any(key.startswith("stages.2.") for key in subnet)
    assert torch.equal(subnet["stem.positions"], whole["stem.positions"][..., :24])
    assert torch.equal(
        subnet["stages.0.mlp.fc1.weight"], whole["stages.0.mlp.fc1.weight"][:36, :24]
    )
    assert torch.equal(
        subnet["stages.1.attention.proj.weight"], whole["stages.1.attention.proj.weight"][:24, :16]
    )
    assert torch.equal(
        subnet["stages.0.attention.relative_keys.vertical"],
        whole["stages.0.attention.relative_keys.vertical"],
    )
    for name in "qkv":
        key = f"stages.0.attention.{name}"
        assert torch.equal(subnet[f"{key}.weight"], whole[f"{key}.weight"][:32, :24])
    biases = [whole[f"stages.0.attention.{name}.bias"] for name in "qkv"]
    if layout == "autoformer":  # thirds of the first 96 of 144, wherever they came from
        biases = list(torch.cat(biases)[:96].split(32))
    for name, bias in zip("qkv", biases, strict=True):
        assert torch.equal(subnet[f"stages.0.attention.{name}.bias"], bias[:32]), name


@each_layout
def test_subnets_share_the_supernets_memory(tmp_path: Path, layout: str) -> None:
    """No parameter is a copy; a deep copy owns its weights, and a file holds the slice alone."""
    supernet = open_supernet(tmp_path, layout)
    theirs = {bytes_of(tensor) for tensor in supernet.tensors.values()}
    architecture, subnet = supernet.sample(Random(1))
    assert subnet.architecture == architecture
    assert all(bytes_of(parameter) in theirs for parameter in subnet.parameters())
    assert all(p.requires_grad and p.is_leaf for p in subnet.parameters())
    own = copy.deepcopy(subnet)
    assert not any(bytes_of(parameter) in theirs for parameter in own.parameters())
    images = images_for("AutoformerSpace")
    expected = subnet(images)
    assert torch.equal(own(images), expected)
    path = tmp_path / "subnet.safetensors"
    save_checkpoint(subnet, path, {})
    numbers = sum(p.numel() for p in subnet.parameters())
    assert path.stat().st_size < 4 * numbers + 20_000
    fresh = space_of_tests().build(architecture).eval()
    assert torch.equal(load_checkpoint(fresh, path)(images), expected)


def test_thousands_of_subnets_leave_the_supernet_alone(tmp_path: Path) -> None:
    """Each one is another network; the tensors stay what and where they were."""
    supernet = open_supernet(tmp_path, "autoformer")
    before = {key: (tensor.clone(), bytes_of(tensor)) for key, tensor in supernet.tensors.items()}
    rng, seen = Random(0), set()
    for _ in range(100):
        architecture, subnet = supernet.sample(rng)
        seen.add(json.dumps(architecture))
        assert not any(parameter.is_meta for parameter in subnet.parameters())
    assert len(seen) > 50
    for key, (tensor, place) in before.items():
        assert (
            torch.equal(supernet.tensors[key], tensor) and bytes_of(supernet.tensors[key]) == place
        )


@each_layout
def test_loading_by_file_cuts_the_same_subnet(tmp_path: Path, layout: str) -> None:
    """`load_checkpoint` of an ordinary network from the supernet's file."""
    supernet = open_supernet(tmp_path, layout)
    architecture, subnet = supernet.sample(Random(3))
    network = space_of_tests().build(architecture).eval()
    load_checkpoint(network, supernet.where, layout)
    images = images_for("AutoformerSpace")
    assert torch.equal(network(images), subnet(images))


def test_empty_layers_are_copied_and_apart() -> None:
    """Networks built without memory repeat layers made before, and share nothing with them."""
    space, equal = space_of_tests(), {"embed_dim": 24, "layers": ["h2r1.5"] * 3}
    with EmptyParameters():
        networks = [space.build(equal) for _ in range(2)]
    modules = [module for network in networks for module in network.modules()]
    assert len({id(module) for module in modules}) == len(modules)
    parameters = [parameter for network in networks for parameter in network.parameters()]
    assert len({id(parameter) for parameter in parameters}) == len(parameters)
    assert sum(p.numel() for p in parameters) == 2 * count_parameters(space.build(equal))
    first, second = (network.stages[0] for network in networks)
    first.register_forward_hook(lambda *_: None)
    first.norm1 = torch.nn.Identity()
    first.attention.eval()
    assert not second._forward_hooks and isinstance(second.norm1, torch.nn.LayerNorm)
    assert second.attention.training and networks[0].stages[1].attention.training
    with EmptyParameters():
        third = space.build(equal)
    assert str(third) == str(networks[1])


# --- what is refused ---------------------------------------------------------------------------


def test_architectures_outside_the_space(tmp_path: Path) -> None:
    """They are refused before anything is cut."""
    supernet = open_supernet(tmp_path, "nni")
    with pytest.raises(errors.InvalidArchitecture, match="layer 0: 'h9r2'"):
        supernet.subnet({"embed_dim": 24, "layers": ["h9r2"]})


@each_layout
def test_a_supernet_that_is_too_small(tmp_path: Path, layout: str) -> None:
    """Of fewer layers, narrower, or of other classes: named when it is opened."""
    path = write_supernet(tmp_path, layout)
    for settings, message in (
        ({"depths": (2, 4)}, "missing from the file:\n.*blocks.3.attn_layer_norm.weight"),
        ({"embed_dims": (24, 40)}, "pos_embed.*expected 1×17×40, got 1×17×32"),
        ({"num_classes": 3}, "head.weight: expected 3×32, got 5×32"),
        ({"image_size": 64}, "pos_embed.*expected 1×65×32, got 1×17×32"),
        ({"in_chans": 1}, "expected 32×1×8×8, got 32×3×8×8"),
    ):
        space = small_space("AutoformerSpace", **{**SETTINGS, **settings})
        assert isinstance(space, AutoformerSpace)
        with pytest.raises(errors.KeyMismatch, match=f"(?s){message}"):
            read_supernet(path, space, space.largest(), format=layout)


def test_left_over_tensors(tmp_path: Path) -> None:
    """Only whole layers beyond the depth are passed over, nothing else."""
    path, space = write_supernet(tmp_path, "autoformer"), space_of_tests()
    content = torch.load(path)
    content["model"]["blocks.0.mlp_scaling.weight"] = torch.ones(3)
    torch.save(content, path)
    with pytest.raises(errors.KeyMismatch, match=r"left over in the file:\n +blocks.0.mlp_scaling"):
        read_supernet(path, space, space.largest())


def test_values_are_checked_once(tmp_path: Path) -> None:
    """NaN anywhere in the file, also where the largest subnet does not look."""
    path, space = write_supernet(tmp_path, "autoformer"), space_of_tests()
    content = torch.load(path)
    content["model"]["blocks.2.fc1.bias"][0] = float("nan")
    torch.save(content, path)
    with pytest.raises(errors.CorruptCheckpoint, match=r"blocks\.2\.fc1\.bias holds NaN"):
        read_supernet(path, space, {"embed_dim": 24, "layers": ["h1r2"]})


def test_a_subnets_file_is_no_supernet(tmp_path: Path) -> None:
    """NNI's files of subnets fit their own architecture and no other."""
    space = space_of_tests()
    tensors = {
        key.replace("blocks.blocks.", "blocks."): tensor
        for key, tensor in nni_layout(largest_network()).items()
    }
    path = tmp_path / "subnet.pth"
    torch.save(tensors, path)
    supernet = read_supernet(path, space, space.largest())
    with pytest.raises(errors.KeyMismatch, match="of another shape"):
        supernet.subnet({"embed_dim": 24, "layers": ["h1r2"] * 3})


def test_leading_part() -> None:
    """Views of the first entries; what is too small or of other rank comes back as it is."""
    tensor = torch.arange(24).reshape(2, 3, 4)
    assert torch.equal(leading_part(tensor, (1, 2, 4)), tensor[:1, :2])
    assert leading_part(tensor, (1, 2, 4), whole=(0,)).shape == (2, 2, 4)
    assert leading_part(tensor, (5, 2, 9)).shape == (2, 2, 4)
    assert leading_part(tensor, (5, 2)) is tensor
    assert bytes_of(leading_part(tensor, (1, 1, 1))) == bytes_of(tensor)


# --- by name -----------------------------------------------------------------------------------


def own_manifest(folder: Path, path: Path, format: str) -> Path:
    """Write a manifest with one supernet and one subnet of the small space."""
    space = space_of_tests()
    names = {
        "tiny-supernet": space.largest(),
        "tiny-subnet": {"embed_dim": 24, "layers": ["h2r1.5"]},
    }
    models = {}
    for name, choices in names.items():
        file = folder / f"{name}.json"
        file.write_text(json.dumps({"space": "AutoformerSpace", "choices": choices}))
        fields = ("num_classes", *SETTINGS, "mlp_ratios", "image_size", "patch_size", "head_dim")
        models[name] = {
            "space": "AutoformerSpace",
            "architecture": file.name,
            "settings": {key: getattr(space, key) for key in fields},
            "dataset": "none",
            "labels": list("abcde"),
            "parameters": 1,
            "macs": 1,
            "preprocessing": {"resize": 32, "crop": 32},
            "license": "MIT",
            "paper": {"title": "none", "year": 2021, "url": "https://example.org"},
            "weights": [
                {"sources": [path.as_uri()], "format": format, "root_key": "model"},
            ],
        }
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({"schema_version": 1, "models": models}))
    return manifest


@pytest.mark.parametrize("layout", ["autoformer", "prenas"])
def test_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
    """A supernet record loads as a supernet; a subnet's record is cut while loading, and cached."""
    path = write_supernet(tmp_path, layout)
    monkeypatch.setenv("ZOO_MANIFESTS", str(own_manifest(tmp_path, path, layout)))
    supernet = AutoformerSpace.load_supernet("tiny-supernet")
    assert supernet.format.name == layout
    assert supernet.space.size() == space_of_tests().size()
    images = images_for("AutoformerSpace")
    expected = supernet.subnet({"embed_dim": 24, "layers": ["h2r1.5"]})
    assert expected.labels == tuple("abcde") and expected.preprocessing.crop == 32
    for _ in range(2):  # the second time from the cached native file
        network = load_searched_model("tiny-subnet")
        assert torch.equal(network(images), expected(images))
    # From a local file without a format, the record's is preferred: keys do not tell them apart.
    local = load_searched_model("tiny-subnet", checkpoint=path)
    assert torch.equal(local(images), expected(images))
    from_file = AutoformerSpace.load_supernet("tiny-supernet", checkpoint=path)
    assert from_file.format.name == layout
    largest = load_searched_model("tiny-supernet")
    assert torch.equal(largest(images), supernet.subnet(space_of_tests().largest())(images))


def test_sizes_and_unknown_names() -> None:
    """A size is short for its record; names of other spaces and missing files are refused."""
    with pytest.raises(errors.OfflineError, match="random-one-shot-tiny"):
        AutoformerSpace.load_supernet("tiny", offline=True)
    with pytest.raises(errors.UnknownModel, match="Did you mean"):
        AutoformerSpace.load_supernet("random-one-shot-tini")
    with pytest.raises(errors.UnknownModel, match="Did you mean 'tiny'"):
        AutoformerSpace.load_supernet("tini")
    with pytest.raises(errors.UnknownModel, match="is a model of ShuffleNetSpace"):
        AutoformerSpace.load_supernet("spos")
    with pytest.raises(errors.NoPretrainedWeights, match="tf-tas-tiny"):
        AutoformerSpace.load_supernet("tf-tas-tiny")
    with pytest.raises(errors.InvalidArgument, match="no such file"):
        AutoformerSpace.load_supernet("tiny", checkpoint="nowhere.pth")


# --- the published layouts ---------------------------------------------------------------------


def test_golden_supernet_and_subnet(tmp_path: Path) -> None:
    """The authors' supernet: its subnet gives their logits, shared with the supernet or loaded."""
    shared("golden/autoformer/autoformer-tiny")
    record = GoldenRecord(GOLDEN / "autoformer" / "autoformer-tiny")
    path = record.write(tmp_path)
    supernet = AutoformerSpace.load_supernet("tiny", checkpoint=path)
    by_name = load_searched_model("autoformer-tiny", checkpoint=path)
    subnet = supernet.subnet(by_name.architecture)
    assert sum(p.numel() for p in subnet.parameters()) == record.meta["params"]
    theirs = {bytes_of(tensor) for tensor in supernet.tensors.values()}
    assert all(bytes_of(parameter) in theirs for parameter in subnet.parameters())
    expected, images = record.logits(), record.images()
    with torch.inference_mode():
        assert ((subnet(images) - expected).abs().max() / expected.std()).item() < 1e-5
        assert torch.equal(by_name(images), subnet(images))


def test_golden_nni_supernet(tmp_path: Path) -> None:
    """NNI's layout: every key of it has a place."""
    shared("golden/nni/autoformer-tiny-supernet")
    record = GoldenRecord(GOLDEN / "nni" / "autoformer-tiny-supernet")
    keys = json.loads((record.folder / "keys.json").read_bytes())
    tensors = {key: torch.zeros(spec["shape"]) for key, spec in keys.get("keys", keys).items()}
    path = tmp_path / "nni.pth"
    torch.save(tensors, path)
    supernet = AutoformerSpace.load_supernet("tiny", checkpoint=path)
    assert supernet.format.name == "nni"
    whole = supernet.subnet(AutoformerSpace().largest())
    assert sum(p.numel() for p in whole.parameters()) == record.meta["params_stored"]
    network = AutoformerSpace().build(AutoformerSpace().largest())
    assert read_tensors(path, network).keys() == network.state_dict().keys()
