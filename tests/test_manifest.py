"""The built-in manifest, record by record, and the manifests of users."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
import torch

from tests.user_models import CHOICES, LABELS, build, record, write_manifest
from zoo import (
    NasBench201,
    ProxylessNAS,
    add_manifest,
    errors,
    list_models,
    load_searched_model,
    manifest,
    model_info,
    transform_for,
)
from zoo.checkpoints.formats import FORMATS
from zoo.layers.empty import EmptyParameters
from zoo.networks.cost import count_macs, count_parameters
from zoo.networks.network import Network
from zoo.records import ModelRecord
from zoo.registry import SPACES, best_top1, class_names, find_space

RECORDS = dict(manifest.find_records())
each_record = pytest.mark.parametrize("name", sorted(RECORDS))


@pytest.fixture(autouse=True)
def no_added_manifests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget manifests that a test adds."""
    monkeypatch.setattr(manifest, "_added", [])


def empty_network(name: str) -> Network:
    """Return the network of a record, without memory for its parameters."""
    with EmptyParameters():
        return load_searched_model(name, pretrained=False)


# --- every record ------------------------------------------------------------------------------


def test_builtin_manifest_is_valid() -> None:
    """By our own rules and by the JSON Schema that we publish; names are sorted and proper."""
    path = manifest.builtin_manifest()
    assert manifest.read_manifest(path).models == RECORDS
    content = json.loads(path.read_bytes())
    jsonschema.validate(content, manifest.manifest_schema())
    assert list(content["models"]) == sorted(content["models"])
    for name in content["models"]:
        assert re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", name), name


@each_record
def test_counts(name: str) -> None:
    """The architecture builds, with the parameters and the classes that the record says."""
    record, network = RECORDS[name], empty_network(name)
    assert count_parameters(network) == record.parameters
    if isinstance(record.labels, tuple):
        assert len(record.labels) == network.num_classes
        assert len(set(record.labels)) == len(record.labels)


def cheapest_of_each_space() -> list[str]:
    """Return one name per space."""
    spaces = {record.space for record in RECORDS.values()}
    return [
        min((r.macs, name) for name, r in RECORDS.items() if r.space == space)[1]
        for space in sorted(spaces)
    ]


@pytest.mark.parametrize("name", cheapest_of_each_space())
def test_macs(name: str) -> None:
    """`torch.utils.flop_counter` counts what the record says, on real tensors."""
    network = load_searched_model(name, pretrained=False)
    assert count_macs(network, RECORDS[name].preprocessing.crop) == RECORDS[name].macs


@pytest.mark.slow
@each_record
def test_macs_of_all(name: str) -> None:
    """The same for every record, on tensors without memory."""
    assert count_macs(empty_network(name), RECORDS[name].preprocessing.crop) == RECORDS[name].macs


@each_record
def test_preprocessing(name: str) -> None:
    """Every preprocessing is consistent."""
    record = RECORDS[name]
    for p in (record.preprocessing, *(w.preprocessing for w in record.weights if w.preprocessing)):
        channels = 1 if p.channels == "L" else 3
        assert len(p.mean) == len(p.std) == channels
        assert p.resize >= p.crop
        assert p.value_range[0] < p.value_range[1]
        assert all(std > 0 for std in p.std)
        assert all(p.value_range[0] <= mean <= p.value_range[1] for mean in p.mean)


def test_transforms() -> None:
    """Each kind of preprocessing gives what the networks take."""
    from PIL import Image

    image = Image.new("RGB", (300, 200), (10, 20, 30))
    for p, name in {manifest.find_entry(name).preprocessing: name for name in RECORDS}.items():
        tensor = transform_for(name)(image)
        assert tensor.shape == (3, p.crop, p.crop) and tensor.dtype == torch.float32


@each_record
def test_facts(name: str) -> None:
    """Spaces, formats, digests and sources are of kinds that this version can use."""
    record = RECORDS[name]
    assert record.space in SPACES
    assert record.license
    assert record.paper.url.startswith("https://")
    space = find_space(record.space)
    for weights in record.weights:
        assert FORMATS[weights.format].names_for(space.__name__), weights.format
        assert not any(source.startswith("file:") for source in weights.sources)
        entry = manifest.find_entry(f"{name}@{weights.tag}")
        assert weights in entry.weights
        # All packagings of a training are loaded into the same network.
        assert entry.settings == {**record.settings, **weights.settings}
        space.from_settings(entry.settings)
    for accuracy in (*record.reported, *(a for w in record.weights for a in w.reported)):
        assert accuracy.source
        assert accuracy.top5_percent is None or accuracy.top5_percent >= accuracy.top1_percent


def test_every_space_has_models() -> None:
    """Each record is listed by its space, and by no other."""
    listed = {name: space for space in SPACES for name in find_space(space).searched_models()}
    assert listed == {name: record.space for name, record in RECORDS.items()}
    assert set(listed.values()) == set(SPACES)


def test_every_architecture_file_is_used() -> None:
    """No file lies about that no record names, and none is named that is not there."""
    folder = manifest.PACKAGE_ROOT / "architectures"
    files = {str(path.relative_to(manifest.PACKAGE_ROOT)) for path in folder.rglob("*.json")}
    assert {record.architecture for record in RECORDS.values()} == files


def test_labels() -> None:
    """The names of the classes, in the order of the logits."""
    names = class_names(RECORDS["proxyless-cpu"])
    assert len(names) == 1000
    assert "tench" in names[0] and "toilet tissue" in names[999]
    assert class_names(RECORDS["nb201-best-cifar10"])[3] == "cat"


# --- finding -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("proxyless-mobil", "'proxyless-mobile'"),
        ("Proxyless-GPU", "'proxyless-gpu'"),
        ("proxyless_cpu", "'proxyless-cpu'"),
        ("proxyless cpu", "'proxyless-cpu'"),
        (" proxyless-cpu ", "'proxyless-cpu'"),
        ("creem-014", "'cream-014'"),
    ],
)
def test_suggestions(name: str, suggestion: str) -> None:
    """Misspelt names get up to three names that are near. FAULTS 55."""
    with pytest.raises(errors.UnknownModel) as caught:
        manifest.find_entry(name)
    text = str(caught.value)
    assert text.startswith(f"there is no searched model named {name!r}. Did you mean ")
    assert suggestion in text
    assert text.split("Did you mean")[1].split("?")[0].count("'") <= 6
    assert f"`zoo list` shows all {len(RECORDS)} names" in text


def test_name_of_nothing_known() -> None:
    """A name like no other gets no suggestion."""
    with pytest.raises(errors.UnknownModel) as caught:
        manifest.find_entry("x9qq7")
    assert "Did you mean" not in str(caught.value)
    assert isinstance(caught.value, LookupError) and "'x9qq7'" in str(caught.value)


def test_name_of_another_space() -> None:
    """The message names the right class and how to call it. FAULTS 55."""
    with pytest.raises(errors.UnknownModel) as caught:
        ProxylessNAS.load_searched_model("cream-014")
    assert str(caught.value) == (
        "'cream-014' is a model of MobileNetV3Space, not of ProxylessNAS. "
        "Use zoo.MobileNetV3Space.load_searched_model('cream-014')."
    )
    with pytest.raises(errors.UnknownModel) as caught:
        ProxylessNAS.load_searched_model("creem-014")
    text = str(caught.value)
    assert "ProxylessNAS has no searched model named 'creem-014'" in text
    assert "'cream-014'" in text and "MobileNetV3Space" in text


@pytest.mark.parametrize("name", [None, 3, b"cream-014", Path("cream-014"), "", "  ", ["a"], True])
def test_names_that_are_none(name: Any) -> None:
    """A name is a text. FAULTS 56."""
    for call in (manifest.find_entry, model_info, transform_for, load_searched_model):
        with pytest.raises(errors.InvalidArgument, match="a model name is a non-empty string"):
            call(name)


def test_tags() -> None:
    """`name@tag` asks for another training; a tag that is not there lists those that are."""
    tag = "IMAGENET1K_V2"
    entry = manifest.find_entry(f"mobilenetv3-large-torchvision@{tag}")
    assert {weights.tag for weights in entry.weights} == {tag}
    assert entry.name == "mobilenetv3-large-torchvision"
    default = manifest.find_entry("mobilenetv3-large-torchvision").weights
    assert {weights.tag for weights in default} == {"IMAGENET1K_V1"}
    with pytest.raises(errors.UnknownModel, match="no weights tagged 'V9'; it has: IMAGENET1K_V1"):
        manifest.find_entry("mobilenetv3-large-torchvision@V9")
    with pytest.raises(errors.UnknownModel, match="no weights tagged 'V1'; it has: none"):
        manifest.find_entry("nb201-idx0@V1")
    with pytest.raises(errors.UnknownModel, match="tagged ''"):
        manifest.find_entry("mobilenetv3-large-torchvision@")


# --- listing -----------------------------------------------------------------------------------


def test_list_models() -> None:
    """Every filter alone and together; names are sorted."""
    everything = list_models()
    assert everything == sorted(RECORDS)
    assert list_models("cream-*") == [name for name in everything if name.startswith("cream-")]
    assert set(list_models(space="ProxylessNAS")) == set(ProxylessNAS.searched_models())
    with_weights, without = list_models(pretrained=True), list_models(pretrained=False)
    assert sorted(with_weights + without) == everything and with_weights and without
    assert all(RECORDS[name].macs <= 5e7 for name in list_models(max_macs=5e7))
    assert all(RECORDS[name].parameters <= 3e6 for name in list_models(max_parameters=3e6))
    assert all(best_top1(RECORDS[name]) >= 75 for name in list_models(min_top1=75))
    assert list_models(dataset="imagenet-1k", space="NasBench201") == []
    assert list_models(license="no such license") == []
    assert list_models("CREAM-*") == []
    with pytest.raises(errors.UnknownSpace, match=r"'ProxylesNAS'. Did you mean 'ProxylessNAS'"):
        list_models(space="ProxylesNAS")


# --- manifests of users ------------------------------------------------------------------------


def test_user_manifest_by_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of ZOO_MANIFESTS are listed, described and built; their paths start beside them."""
    path = write_manifest(tmp_path, {"my-animals": record()})
    monkeypatch.setenv("ZOO_MANIFESTS", str(path))
    assert "my-animals" in list_models()
    assert "my-animals" in NasBench201.searched_models()
    assert model_info("my-animals").labels == tuple(LABELS)
    network = load_searched_model("my-animals", pretrained=False)
    assert network.architecture == CHOICES
    assert network.num_classes == 5
    assert count_parameters(network) == count_parameters(build())
    monkeypatch.delenv("ZOO_MANIFESTS")
    with pytest.raises(errors.UnknownModel):
        model_info("my-animals")


def test_user_manifest_by_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`add_manifest` returns the names; a relative path means the folder of that moment."""
    write_manifest(tmp_path, {"my-b": record(), "my-a": record()})
    monkeypatch.chdir(tmp_path)
    assert add_manifest("manifest.json") == ["my-a", "my-b"]
    assert add_manifest("manifest.json") == ["my-a", "my-b"]  # twice is no harm
    monkeypatch.chdir("/")
    assert list_models("my-*") == ["my-a", "my-b"]
    assert load_searched_model("my-a", pretrained=False).num_classes == 5


def test_the_same_manifest_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest named by both ways, or twice, gives each name once."""
    path = write_manifest(tmp_path, {"my-a": record()})
    (tmp_path / "again.json").symlink_to(path)
    listed = os.pathsep.join([str(path), "", str(path), str(tmp_path / "again.json")])
    monkeypatch.setenv("ZOO_MANIFESTS", listed)
    add_manifest(path)
    assert list_models("my-*") == ["my-a"]


def test_manifest_in_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's manifest beside the built-in one still has its paths beside it."""
    monkeypatch.setattr(manifest, "builtin_manifest", lambda: tmp_path / "weights_manifest.json")
    (tmp_path / "weights_manifest.json").write_text('{"models": {}, "schema_version": 1}')
    add_manifest(write_manifest(tmp_path, {"my-a": record()}))
    assert load_searched_model("my-a", pretrained=False).num_classes == 5


def test_an_edited_manifest_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No restart is needed after an edit."""
    path = write_manifest(tmp_path, {"my-a": record()})
    monkeypatch.setenv("ZOO_MANIFESTS", str(path))
    assert model_info("my-a").license == "MIT"
    write_manifest(tmp_path, {"my-a": record(license="Apache-2.0")})
    assert model_info("my-a").license == "Apache-2.0"


def test_names_that_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of the built-in manifest, or of another user's, cannot be given again. FAULTS 51."""
    clash = write_manifest(tmp_path, {"proxyless-cpu": record(), "my-a": record()})
    expected = rf"{clash}: names already taken by .*weights_manifest.json: proxyless-cpu"
    with pytest.raises(errors.InvalidManifest, match=expected):
        add_manifest(clash)
    monkeypatch.setenv("ZOO_MANIFESTS", str(clash))
    with pytest.raises(errors.InvalidManifest, match=expected):
        list_models()
    one = write_manifest(tmp_path, {"my-a": record()}, "one.json")
    other = write_manifest(tmp_path, {"my-a": record(), "my-b": record()}, "other.json")
    monkeypatch.setenv("ZOO_MANIFESTS", f"{one}{os.pathsep}{other}")
    expected = rf"{other}: names already taken by {one}: my-a"
    for call in (list_models, lambda: model_info("my-a"), lambda: model_info("my-b")):
        with pytest.raises(errors.InvalidManifest, match=expected):
            call()
    monkeypatch.setenv("ZOO_MANIFESTS", str(one))
    with pytest.raises(errors.InvalidManifest, match=expected):
        add_manifest(other)
    assert list_models("my-*") == ["my-a"]


@pytest.fixture
def ten_thousand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Ten thousand models of a user; which records are decoded and files read from now on."""
    path = write_manifest(tmp_path, {f"my-{number}": record() for number in range(10_000)})
    monkeypatch.setenv("ZOO_MANIFESTS", str(path))
    done: dict[str, list[Any]] = {"decoded": [], "read": []}
    decode, read = manifest._decode_record, manifest._read_bytes

    def decode_record(raw: Any, name: str, path: Path) -> ModelRecord:
        done["decoded"].append(name)
        return decode(raw, name, path)

    def read_bytes(path: Path) -> bytes:
        done["read"].append(path.name)
        return read(path)

    monkeypatch.setattr(manifest, "_decode_record", decode_record)
    monkeypatch.setattr(manifest, "_read_bytes", read_bytes)
    return done


def test_finding_one_of_ten_thousand(ten_thousand: dict[str, list[Any]]) -> None:
    """Only the record asked for is decoded, and the file is read once, whatever is asked."""
    for name in ("my-9999", "my-0", "my-9999"):
        assert model_info(name).space == "NasBench201"
    assert load_searched_model("my-5000", pretrained=False).num_classes == 5
    assert set(ten_thousand["decoded"]) == {"my-9999", "my-0", "my-5000"}
    assert ten_thousand["read"].count("manifest.json") == 1


def test_built_in_models_beside_ten_thousand(ten_thousand: dict[str, list[Any]]) -> None:
    """Finding and loading a built-in model does not even open the user's file."""
    assert model_info("nb201-resnet-like").space == "NasBench201"
    load_searched_model("nb201-resnet-like", pretrained=False)
    assert set(ten_thousand["decoded"]) == {"nb201-resnet-like"}
    assert "manifest.json" not in ten_thousand["read"]


def test_spaces_beside_ten_thousand(ten_thousand: dict[str, list[Any]]) -> None:
    """A search looks at no record and no file."""
    space = NasBench201(channels=4, cells_per_stack=1)
    space.build(space.decode(space.encode(space.mutate(space.sample(Random(0)), Random(0)))))
    assert ten_thousand == {"decoded": [], "read": []}


def test_a_good_record_beside_a_broken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found; listing names the broken one."""
    path = write_manifest(tmp_path, {"my-a": record(), "my-b": record(space=5)})
    monkeypatch.setenv("ZOO_MANIFESTS", str(path))
    assert model_info("my-a").space == "NasBench201"
    for call in (list_models, lambda: model_info("my-b")):
        with pytest.raises(errors.InvalidManifest, match="record 'my-b'"):
            call()


@pytest.mark.parametrize("twice", ["my-a", "space"])
def test_duplicates_by_environment(
    twice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name of a model or of a field that stands twice is refused when the model is asked for."""
    path = write_manifest(tmp_path, {"my-a": record(), "my-b": record()})
    other = {"my-a": ('"my-b"', '"my-a"'), "space": ('"license"', '"space": "DARTS", "license"')}
    path.write_text(path.read_text().replace(*other[twice]))
    monkeypatch.setenv("ZOO_MANIFESTS", str(path))
    with pytest.raises(errors.InvalidManifest, match=f"duplicate name: {twice}"):
        model_info("my-a")


def test_missing_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says which variable named it; built-in models work all the same."""
    missing = tmp_path / "missing.json"
    with pytest.raises(errors.InvalidManifest, match=f"{missing}: cannot be read: No such file"):
        add_manifest(missing)
    monkeypatch.setenv("ZOO_MANIFESTS", str(missing))
    with pytest.raises(errors.InvalidManifest, match="named by ZOO_MANIFESTS or add_manifest"):
        list_models()
    assert model_info("proxyless-cpu").space == "ProxylessNAS"


Change = Callable[[dict[str, Any]], Any]


def weights(**fields: Any) -> Change:
    """Return a change that gives the model weights with these fields."""
    entry = {"sources": ["https://example.org/a.pth"], "format": "nni", **fields}
    return lambda model: model.update(weights=[entry])


BROKEN: dict[str, tuple[Change, str]] = {
    "unknown field": (lambda m: m.update(archtecture="x"), "unknown field `archtecture`"),
    "field missing": (lambda m: m.pop("space"), "missing required field `space`"),
    "wrong type": (lambda m: m.update(parameters="many"), "parameters"),
    "no parameters": (lambda m: m.update(parameters=0), "parameters"),
    "negative MACs": (lambda m: m.update(macs=-1), "macs"),
    "fractional count": (lambda m: m.update(parameters=1.5), "parameters"),
    "sha256 of 8 digits": (weights(sha256="0123abcd"), "sha256"),
    "sha256 in capitals": (weights(sha256="AB" * 32), "sha256"),
    "sha256 of other digits": (weights(sha256="xy" * 32), "sha256"),
    "prefix of 64 digits": (weights(sha256_prefix="ab" * 32), "sha256_prefix"),
    "sha256 and a newline": (weights(sha256="ab" * 32 + "\n"), "sha256"),
    "prefix and a newline": (weights(sha256_prefix="ab" * 4 + "\n"), "sha256_prefix"),
    "sha1 and a newline": (weights(sha1="ab" * 20 + "\n"), "sha1"),
    "md5 and a newline": (weights(md5="ab" * 16 + "\n"), "md5"),
    "source and a newline": (weights(sources=["https://example.org/a\n"]), "sources"),
    "date and a newline": (
        weights(
            reproduced=[
                {
                    "dataset": "d",
                    "top1_percent": 1,
                    "samples": 1,
                    "date": "2026-01-01\n",
                    "command": "c",
                }
            ]
        ),
        "date",
    ),
    "size 0": (weights(size_bytes=0), "size_bytes"),
    "size negative": (weights(size_bytes=-5), "size_bytes"),
    "size a float": (weights(size_bytes=10.5), "size_bytes"),
    "no sources": (weights(sources=[]), "sources"),
    "javascript": (weights(sources=["javascript:alert(1)"]), "sources"),
    "ftp": (weights(sources=["ftp://example.org/a"]), "sources"),
    "source with blanks": (weights(sources=["https://example.org/a b"]), "sources"),
    "accuracy of 101": (
        lambda m: m.update(reported=[{"dataset": "d", "top1_percent": 101, "source": "s"}]),
        "top1_percent",
    ),
    "golden without logits": (
        lambda m: m.update(golden=[{"weights_sha256": "ab" * 32, "logits": [], "std": 1.0}]),
        "logits",
    ),
    "golden without deviation": (
        lambda m: m.update(golden=[{"weights_sha256": "ab" * 32, "logits": [1.0], "std": 0.0}]),
        "std",
    ),
    "channels": (lambda m: m["preprocessing"].update(channels="CMYK"), "channels"),
    "crop 0": (lambda m: m["preprocessing"].update(crop=0), "crop"),
    "interpolation": (lambda m: m["preprocessing"].update(interpolation="cubic"), "interpolation"),
    "labels a number": (lambda m: m.update(labels=5), "labels"),
    "year": (lambda m: m["paper"].update(year=20), "year"),
}


@pytest.mark.parametrize("what", sorted(BROKEN))
def test_broken_records(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file and the place in it are named, however the manifest was given. FAULTS 51, 54."""
    change, place = BROKEN[what]
    model = json.loads(json.dumps(record()))
    change(model)
    path = write_manifest(tmp_path, {"my-a": model})
    monkeypatch.setenv("ZOO_MANIFESTS", str(path))
    for call in (lambda: add_manifest(path), list_models, lambda: model_info("my-a")):
        with pytest.raises(errors.InvalidManifest) as caught:
            call()
        assert str(caught.value).startswith(f"{path}: ")
        assert place in str(caught.value)
        assert "record 'my-a'" in str(caught.value)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(path.read_bytes()), manifest.manifest_schema())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "truncated"),
        ("{", "Expecting property name"),
        ("[]", "Expected `object`, got `array`"),
        ("null", "Expected `object`, got `null`"),
        ('{"models": {}, "schema_version": 2}', "schema_version"),
        ('{"models": {}, "more": 1}', "unknown field `more`"),
        ("{}", "missing required field `models`"),
        ('{"models": {"my-a": {}, "my-a": {}}}', "duplicate name: my-a"),
        ('{"models": {"my-a": {"space": "x", "space": "y"}}}', "duplicate name: space"),
        ('{"models": ' * 50_000, ""),
        ("\xff\xfe", ""),
        ('{"models": {"my a": 1}}', ""),
    ],
)
def test_broken_files(content: str, reason: str, tmp_path: Path) -> None:
    """What is no manifest at all. FAULTS 51."""
    path = tmp_path / "manifest.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(errors.InvalidManifest) as caught:
        add_manifest(path)
    assert str(caught.value).startswith(f"{path}: ")
    if reason and reason != "truncated":
        assert reason in str(caught.value)
    assert "my-a" not in list_models()


@pytest.mark.parametrize("name", ["", "a b", "a@b", "../x", "a/b", "-a", "ä", "a" * 300, "a\n"])
def test_broken_names(name: str, tmp_path: Path) -> None:
    """A name must be one that can be asked for and put into a file name. FAULTS 22."""
    path = write_manifest(tmp_path, {name: record()})
    with pytest.raises(errors.InvalidManifest) as caught:
        add_manifest(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("name", ["a", "My_Net.v2", "0", "a-b-c_d.e"])
def test_names_of_users(name: str, tmp_path: Path) -> None:
    """Names of users may be less strict than ours."""
    assert add_manifest(write_manifest(tmp_path, {name: record()})) == [name]
    assert load_searched_model(name, pretrained=False).num_classes == 5


def test_broken_architecture_files(tmp_path: Path) -> None:
    """Missing, of another space, malformed, illegal: each says which file. FAULTS 60."""
    add_manifest(write_manifest(tmp_path, {"my-a": record()}))
    file = tmp_path / "mine.json"

    def load() -> str:
        with pytest.raises((errors.InvalidManifest, errors.InvalidArchitecture)) as caught:
            load_searched_model("my-a", pretrained=False)
        return str(caught.value)

    file.write_text(json.dumps({"space": "ProxylessNAS", "choices": {}}))
    assert f"{file}: the file is of space ProxylessNAS, the record 'my-a' of NasBench201" in load()
    file.write_text('{"space": "NasBench201"}')
    assert f"{file}: " in load() and "choices" in load()
    file.write_text("not JSON")
    assert load().startswith(f"{file}: ")
    file.write_text(json.dumps({"space": "NasBench201", "choices": {**CHOICES, "0->1": 3}}))
    assert f"{file}: NasBench201: 1 problem(s)" in load() and "illegal choice '0->1'" in load()
    file.unlink()
    assert load().startswith(f"{file}: cannot be read: No such file")


def test_unknown_space_of_a_record(tmp_path: Path) -> None:
    """A misspelt space gets a suggestion when the model is asked for."""
    add_manifest(write_manifest(tmp_path, {"my-a": record(space="NASBench201")}))
    with pytest.raises(errors.UnknownSpace, match=r"'NASBench201'. Did you mean 'NasBench201'"):
        load_searched_model("my-a", pretrained=False)


def test_unknown_setting_of_a_record(tmp_path: Path) -> None:
    """A misspelt setting, too."""
    add_manifest(write_manifest(tmp_path, {"my-a": record(settings={"chanels": 4})}))
    with pytest.raises(
        errors.InvalidArgument, match=r"no setting 'chanels'. Did you mean 'channel"
    ):
        load_searched_model("my-a", pretrained=False)


def test_unknown_label_set(tmp_path: Path) -> None:
    """The name of a list of labels that nobody knows is an error that names it."""
    add_manifest(write_manifest(tmp_path, {"my-a": record(labels="animals-5")}))
    with pytest.raises(errors.InvalidManifest, match="animals-5"):
        class_names(model_info("my-a"))


def test_records_are_frozen() -> None:
    """Nobody changes a record for everybody."""
    found: Any = model_info("proxyless-cpu")
    with pytest.raises(AttributeError):
        found.license = "other"
    assert isinstance(found, ModelRecord)
    found.settings["widths"] = "spoilt"
    assert model_info("proxyless-cpu").settings["widths"] != "spoilt"
