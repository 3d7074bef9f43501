"""From a name to a network: arguments, weights, the native cache, and what is never done."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor

from tests.hub_server import Hub
from tests.shared_material import shared
from tests.user_models import (
    CHOICES,
    LABELS,
    autodl_keys,
    build,
    record,
    write_foreign,
    write_manifest,
    write_native,
)
from zoo import (
    MobileNetV3Space,
    NasBench201,
    ProxylessNAS,
    errors,
    list_models,
    load_searched_model,
    manifest,
    model_info,
)
from zoo.checkpoints.load import save_checkpoint
from zoo.networks.network import Network

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def no_added_manifests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget manifests that a test adds."""
    monkeypatch.setattr(manifest, "_added", [])


Publish = Callable[..., Path]


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Return a function that makes `my-net` known, with weights and changes of its record."""
    folder = tmp_path / "published"
    folder.mkdir()

    def make(*weights: dict[str, Any], **changes: Any) -> Path:
        path = write_manifest(folder, {"my-net": record(weights=list(weights), **changes)})
        monkeypatch.setenv("ZOO_MANIFESTS", str(path))
        return folder

    make()
    return make


@pytest.fixture
def folder(tmp_path: Path, publish: Publish) -> Path:
    """Return where the files beside the manifest are."""
    return tmp_path / "published"


def state(network: Network) -> dict[str, Tensor]:
    """Return copies of all tensors."""
    return {key: tensor.clone() for key, tensor in network.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Return whether two state dicts are equal bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


# --- arguments ---------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"num_classes": -1}, "num_classes=-1: expected an integer from 0 to 1,000,000"),
    ({"num_classes": True}, "num_classes=True"),
    ({"num_classes": 1.5}, "num_classes=1.5"),
    ({"num_classes": "10"}, "num_classes='10'"),
    ({"num_classes": 10**9}, "num_classes=1000000000"),
    ({"in_chans": 0}, "in_chans=0: expected an integer from 1 to"),
    ({"in_chans": -3}, "in_chans=-3"),
    ({"in_chans": 3.0}, "in_chans=3.0"),
    ({"in_chans": True}, "in_chans=True"),
    ({"in_chans": 10**9}, "in_chans=1000000000"),
    ({"pretrained": "imagenet"}, "pretrained='imagenet': expected True or False"),
    ({"device": "gpu"}, "device='gpu'"),
    ({"device": 3.5}, "device=3.5"),
    ({"device": "meta"}, "device='meta' cannot hold weights; use pretrained=False"),
    ({"device": "xpu:7"}, "device='xpu:7'"),
    ({"dtype": "float16"}, "dtype='float16'"),
    ({"dtype": torch.int8}, "dtype=torch.int8"),
    ({"dropot": 0.1}, "has no setting 'dropot'. Did you mean 'dropout'"),
    ({"dropout": 1.5}, "setting dropout=1.5"),
    ({"checkpoint": "/no/such/file.pth"}, "checkpoint='/no/such/file.pth': no such file"),
    ({"checkpoint": ""}, "checkpoint="),
    ({"checkpoint": "."}, "checkpoint='.': no such file"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=[str(wrong[0]) for wrong in WRONG])
def test_wrong_arguments(
    options: dict[str, Any], message: str, zoo_cache: Path, closed_network: list[object]
) -> None:
    """Typed errors that name the argument, before anything is fetched or written. FAULTS 56, 59."""
    for name in ("proxyless-mobile", "cream-014"):
        with pytest.raises(errors.InvalidArgument) as caught:
            load_searched_model(name, **options)
        assert message in str(caught.value)
    assert closed_network == []
    assert not zoo_cache.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda")])
@pytest.mark.parametrize("pretrained", [True, False])
def test_no_cuda(device: Any, pretrained: bool, closed_network: list[object]) -> None:
    """A device that is not there is an error at once, and not after a download. FAULTS 59."""
    with pytest.raises(errors.InvalidArgument, match=r"device=.*cuda") as caught:
        load_searched_model("proxyless-mobile", pretrained, device=device)
    assert "'cpu'" in str(caught.value)
    assert closed_network == []


def test_wrong_names(zoo_cache: Path, closed_network: list[object]) -> None:
    """Names of nothing and of other spaces; the right class is named. FAULTS 55."""
    with pytest.raises(errors.UnknownModel, match="Did you mean 'proxyless-mobile'"):
        ProxylessNAS.load_searched_model("proxyless_mobil")
    with pytest.raises(errors.UnknownModel, match=r"zoo\.NasBench201\.load_searched_model"):
        MobileNetV3Space.load_searched_model("nb201-idx0")
    with pytest.raises(errors.UnknownModel, match="not of SearchSpace"):
        NasBench201.__mro__[1].load_searched_model("nb201-idx0")  # pyright: ignore
    assert closed_network == [] and not zoo_cache.exists()


# --- random weights ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nb201-best-cifar10", "mobilenetv3-small-050", "acenas-m1"])
def test_without_weights(name: str, zoo_cache: Path, closed_network: list[object]) -> None:
    """`pretrained=False` opens no socket, writes nothing, and seeds as PyTorch does. FAULTS 57."""
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(load_searched_model(name, pretrained=False))
    assert same(state(networks[0]), state(networks[1]))
    assert closed_network == [] and not zoo_cache.exists()
    assert networks[0].preprocessing == manifest.find_entry(name).preprocessing
    assert networks[0].training


def test_settings_without_weights(caplog: pytest.LogCaptureFixture) -> None:
    """Classes, channels and settings of the space are built as asked, without a warning."""
    network = load_searched_model(
        "nb201-idx0", pretrained=False, num_classes=7, in_chans=1, dropout=0.5, device="cpu"
    )
    assert network(torch.randn(2, 1, 32, 32)).shape == (2, 7)
    assert network.dropout == 0.5
    assert network.labels == ()
    assert load_searched_model("nb201-idx0", pretrained=False, num_classes=0)(
        torch.randn(2, 3, 32, 32)
    ).shape == (2, 64)
    assert caplog.records == []


def test_meta_device() -> None:
    """Without weights a network may be built where there is no memory. FAULTS 59."""
    network = load_searched_model("nb201-idx0", pretrained=False, device="meta")
    assert all(parameter.is_meta for parameter in network.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype(dtype: torch.dtype) -> None:
    """Parameters and statistics get the type; counters stay integers. FAULTS 59."""
    network = load_searched_model("nb201-idx284", pretrained=False, dtype=dtype).eval()
    assert {p.dtype for p in network.parameters()} == {dtype}
    assert {b.dtype for b in network.buffers()} == {dtype, torch.int64}
    assert network(torch.zeros(1, 3, 32, 32, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("name", ["nb201-idx0", "nb201-best-cifar10"])
def test_no_weights_published(name: str, closed_network: list[object]) -> None:
    """An error that names models that have weights, never a random network. FAULTS 57."""
    for load in (load_searched_model, NasBench201.load_searched_model):
        with pytest.raises(errors.NoPretrainedWeights) as caught:
            load(name)
        text = str(caught.value)
        assert text.startswith(f"no weights to fetch are known for '{name}'. ")
        named = {word.strip(".,?'") for word in text.split()}
        assert named & set(list_models(pretrained=True))
        assert "pretrained=False" in text and "checkpoint=PATH" in text
        assert f"`zoo finetune {name} DATA --from-scratch`" in text
    assert closed_network == []


def test_weights_published_where_they_cannot_be_fetched() -> None:
    """The message quotes the record, which says where they lie: it denies nothing."""
    with pytest.raises(errors.NoPretrainedWeights) as caught:
        load_searched_model("sgas-cri1-cifar")
    text = str(caught.value)
    assert "Its authors' file Cri1_CIFAR_Best.pt lies in the folder https://drive" in text
    assert "pass checkpoint=PATH. Use pretrained=False" in text
    assert "nobody" not in text


def test_nearest_model_with_weights(publish: Publish, folder: Path) -> None:
    """Where a similar name of the same space has weights, it is suggested."""
    with_weights = record(weights=[write_native(folder, build())])
    write_manifest(folder, {"my-net": record(), "my-net-2": with_weights, "other": with_weights})
    with pytest.raises(errors.NoPretrainedWeights, match=r"'my-net'. Did you mean 'my-net-2'"):
        load_searched_model("my-net")


# --- weights -----------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [write_native, write_foreign])
def test_weights(write: Any, publish: Publish, folder: Path) -> None:
    """The published weights, bit by bit, in evaluation mode, with everything a user needs."""
    source = build()
    publish(write(folder, source))
    for load in (load_searched_model, NasBench201.load_searched_model):
        network = load("my-net")
        assert same(state(network), state(source))
        assert not network.training
        assert torch.equal(network(IMAGES), source(IMAGES))
        assert network.labels == tuple(LABELS)
        assert network.preprocessing == model_info("my-net").preprocessing
        assert network.architecture == CHOICES and network.space == "NasBench201"
        assert all(p.requires_grad and p.is_leaf for p in network.parameters())
        assert not any(t.is_meta for t in (*network.parameters(), *network.buffers()))


@pytest.mark.parametrize("write", [write_native, write_foreign])
def test_loaded_twice(write: Any, publish: Publish, folder: Path) -> None:
    """Two loads are equal and share nothing; training one changes no file. FAULTS 59."""
    publish(write(folder, build()))
    one, other = load_searched_model("my-net"), load_searched_model("my-net")
    before = state(other)
    assert same(state(one), before)
    one.train()
    one(IMAGES).square().sum().backward()
    torch.optim.SGD(one.parameters(), lr=10.0).step()
    assert not same(state(one), before)
    assert same(state(other), before)
    assert same(state(load_searched_model("my-net")), before)


def test_other_packagings_are_tried(
    publish: Publish, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """If the first packaging cannot be had, the next one of the same training is used."""
    source = build()
    lost = {**write_native(folder, source, "lost.safetensors")}
    (folder / "lost.safetensors").unlink()
    publish(lost, write_foreign(folder, source))
    with caplog.at_level(logging.WARNING, "zoo"):
        network = load_searched_model("my-net")
    assert same(state(network), state(source))
    assert "my-net: used the autodl packaging" in caplog.text and "lost.safetensors" in caplog.text


def test_all_packagings_fail(publish: Publish, folder: Path) -> None:
    """One error lists each packaging with its reason."""
    publish(*({**write_native(folder, build(), name)} for name in ("one", "two")))
    (folder / "one").unlink()
    (folder / "two").write_bytes(b"other bytes")
    with pytest.raises(errors.FetchError) as caught:
        load_searched_model("my-net")
    assert "file://one" in str(caught.value) and "file://two" in str(caught.value)


def test_advice_for_all_packagings_stands_once_at_the_end(publish: Publish, folder: Path) -> None:
    publish(*({**write_native(folder, build(), name)} for name in ("one", "two")))
    for name in ("one", "two"):
        (folder / name).unlink()
    with pytest.raises(errors.DownloadError) as caught:
        load_searched_model("my-net")
    *_, last = lines = str(caught.value).splitlines()
    assert len(lines) == 5 and lines.count(last) == 1
    assert last.startswith("Nothing was added to the cache. Run `zoo fetch my-net` again")


def test_another_training(publish: Publish, folder: Path) -> None:
    """`name@tag` gives other weights, with their own preprocessing."""
    own = {"resize": 20, "crop": 16, "mean": [0.1] * 3, "std": [1.0] * 3}
    publish(
        write_native(folder, build(1), "one"),
        {**write_native(folder, build(2), "two"), "tag": "v2", "preprocessing": own},
    )
    assert same(state(load_searched_model("my-net")), state(build(1)))
    second = load_searched_model("my-net@v2")
    assert same(state(second), state(build(2)))
    assert second.preprocessing.resize == 20
    with pytest.raises(errors.UnknownModel, match="no weights tagged 'v3'; it has: default, v2"):
        load_searched_model("my-net@v3")


def test_settings_with_weights(publish: Publish, folder: Path) -> None:
    """Dropout and the like are settings; they do not touch the weights."""
    publish(write_native(folder, build()))
    network = load_searched_model("my-net", dropout=0.3)
    assert network.dropout == 0.3 and same(state(network), state(build()))
    with pytest.raises(errors.ArchitectureMismatch, match=r"the settings .* differ"):
        load_searched_model("my-net", channels=8)


def test_weights_of_another_architecture(publish: Publish, folder: Path) -> None:
    """The wrong file under a name is noticed: by its own claim, or by its tensors. FAULTS 49."""
    other = build(choices={**CHOICES, "1->2": "nor_conv_3x3", "1->3": "nor_conv_1x1"})
    publish(write_native(folder, other))
    with pytest.raises(errors.ArchitectureMismatch) as caught:
        load_searched_model("my-net")
    text = str(caught.value)
    assert "1->2: file 'nor_conv_3x3', network 'nor_conv_1x1'" in text
    assert "1->3: file 'nor_conv_1x1', network 'none'" in text
    assert "0->1" not in text
    publish(write_foreign(folder, other))
    with pytest.raises(errors.KeyMismatch, match="of another shape or type"):
        load_searched_model("my-net")


@pytest.mark.parametrize("write", [write_native, write_foreign])
def test_damaged_numbers(write: Any, publish: Publish, folder: Path, zoo_cache: Path) -> None:
    """Right bytes with NaN inside are refused, and not kept in the native cache. FAULTS 44."""
    source = build()
    source.final[0].weight.data[0] = float("nan")
    publish(write(folder, source))
    for _ in range(2):
        with pytest.raises(errors.CorruptCheckpoint, match=r"final\.0\.weight holds NaN"):
            load_searched_model("my-net")
    assert not (zoo_cache / "refs" / "native").exists()


# --- other classes and channels ----------------------------------------------------------------


@pytest.mark.parametrize("write", [write_native, write_foreign])
def test_other_classes(
    write: Any, publish: Publish, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the classifier is new; the rest is bit-identical; that is said once. FAULTS 58."""
    source = build()
    publish(write(folder, source))
    with caplog.at_level(logging.WARNING, "zoo"):
        network = load_searched_model("my-net", num_classes=3)
    warned = [r.getMessage() for r in caplog.records if "classifier" in r.getMessage()]
    assert warned == [
        "classifier re-initialised for 3 classes (published: 5); the rest keeps its weights"
    ]
    assert network(IMAGES).shape == (2, 3) and network.num_classes == 3 and network.labels == ()
    ours, theirs = state(network), state(source)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs if "classifier" not in key)
    assert torch.equal(network.forward_features(IMAGES), source.forward_features(IMAGES))
    assert same(state(load_searched_model("my-net")), theirs)


def test_published_classes_keep_the_head(
    publish: Publish, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Asking for the published number changes and says nothing. FAULTS 58."""
    publish(write_native(folder, build()))
    network = load_searched_model("my-net", num_classes=5, in_chans=3)
    assert same(state(network), state(build())) and network.labels == tuple(LABELS)
    assert caplog.records == []


def test_no_classes(publish: Publish, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """0 classes leave the classifier out; nothing was re-initialised, so nothing is said."""
    publish(write_native(folder, build()))
    network = load_searched_model("my-net", num_classes=0)
    features = network.forward_features(IMAGES)
    assert torch.equal(network(IMAGES), features.mean((2, 3)))
    assert caplog.records == []


@pytest.mark.parametrize("in_chans", [1, 2, 4, 6, 7])
def test_other_channels(in_chans: int, publish: Publish, folder: Path) -> None:
    """The first convolution is adapted by timm's rule, and nothing else changes."""
    from timm.models import adapt_input_conv

    source = build()
    publish(write_native(folder, source))
    network = load_searched_model("my-net", in_chans=in_chans)
    assert torch.equal(network.stem[0].weight, adapt_input_conv(in_chans, source.stem[0].weight))
    assert network.stem[0].weight.requires_grad and network.stem[0].in_channels == in_chans
    assert network(torch.randn(2, in_chans, 16, 16)).shape == (2, 5)
    ours, theirs = state(network), state(source)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs if key != "stem.0.weight")
    assert network.in_chans == in_chans


def test_grey_images(publish: Publish, folder: Path) -> None:
    """With one channel, the preprocessing gives one channel too."""
    from PIL import Image

    from zoo.preprocessing import build_transform

    publish(write_native(folder, build()))
    network = load_searched_model("my-net", in_chans=1)
    assert network.preprocessing.channels == "L"
    assert network.preprocessing.mean == (0.5,) and network.preprocessing.std == (0.25,)
    images = build_transform(network.preprocessing)(Image.new("RGB", (40, 30), (200, 10, 10)))
    assert network(images[None]).shape == (1, 5)


def test_channels_of_a_network_for_grey_images(publish: Publish, folder: Path) -> None:
    """A network published for one channel is adapted by the same rule."""
    source = build(in_chans=1)
    settings = {"channels": 4, "cells_per_stack": 1, "num_classes": 5, "in_chans": 1}
    publish(write_native(folder, source), settings=settings)
    network = load_searched_model("my-net", in_chans=3)
    grey = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(network(grey.expand(2, 3, 16, 16)), source(grey))


# --- a local file ------------------------------------------------------------------------------


def test_checkpoint(publish: Publish, folder: Path, closed_network: list[object]) -> None:
    """A file of one's own, in any format, instead of the published weights."""
    mine = build(9)
    save_checkpoint(mine, folder / "native.safetensors", {})
    torch.save({"state_dict": autodl_keys(mine)}, folder / "foreign.pth.tar")
    for name in ("native.safetensors", "foreign.pth.tar"):
        for pretrained in (True, False):
            network = load_searched_model("my-net", pretrained, checkpoint=folder / name)
            assert same(state(network), state(mine)) and not network.training
        assert same(
            state(load_searched_model("my-net", checkpoint=str(folder / name))), state(mine)
        )
    assert closed_network == []


@pytest.mark.parametrize("own", [{"num_classes": 3}, {"in_chans": 1}])
def test_fine_tuned_checkpoint(
    own: dict[str, int], publish: Publish, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file with the asked number of classes or channels is taken as it is, head and all."""
    mine = build(9, **own)
    save_checkpoint(mine, folder / "tuned.safetensors", {})
    network = load_searched_model("my-net", checkpoint=folder / "tuned.safetensors", **own)
    assert same(state(network), state(mine))
    assert caplog.records == []


def test_checkpoint_of_published_size(publish: Publish, folder: Path) -> None:
    """A file with the published number of classes still gets a new head when asked."""
    save_checkpoint(build(9), folder / "mine.safetensors", {})
    network = load_searched_model("my-net", checkpoint=folder / "mine.safetensors", num_classes=3)
    assert network(IMAGES).shape == (2, 3)


def test_checkpoint_that_does_not_fit(publish: Publish, folder: Path) -> None:
    """Another architecture's file, another number of classes: typed, and the file is named."""
    save_checkpoint(build(9, channels=8), folder / "wide.safetensors", {})
    with pytest.raises(errors.ArchitectureMismatch, match=r"wide\.safetensors"):
        load_searched_model("my-net", checkpoint=folder / "wide.safetensors")
    torch.save(autodl_keys(build(9, num_classes=8)), folder / "eight.pth")
    for num_classes in (None, 3):
        with pytest.raises(errors.KeyMismatch, match=r"eight\.pth.*\n.*\n.*got 8"):
            load_searched_model("my-net", checkpoint=folder / "eight.pth", num_classes=num_classes)


# --- the native cache --------------------------------------------------------------------------


def blobs(cache: Path) -> list[Path]:
    """Return the whole files in a cache."""
    return sorted((cache / "blobs").glob("*"))


def test_source_is_not_needed_twice(publish: Publish, folder: Path, zoo_cache: Path) -> None:
    """A foreign file is converted once; later loads read the native form only."""
    publish(write_foreign(folder, build()))
    first = load_searched_model("my-net")
    (folder / "mine.pth").unlink()
    assert same(state(load_searched_model("my-net")), state(first))
    (native,) = blobs(zoo_cache)
    assert native.stat().st_size > 1000
    assert list((zoo_cache / "partials").iterdir()) == []


def test_no_second_copy(publish: Publish, folder: Path, zoo_cache: Path) -> None:
    """The tensors are views of the mapped file in the cache: nothing is copied into memory."""
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    publish(write_foreign(folder, build()))
    for _ in range(2):
        network = load_searched_model("my-net")
        (native,) = blobs(zoo_cache)
        ranges = [
            tuple(int(edge, 16) for edge in line.split()[0].split("-"))
            for line in Path("/proc/self/maps").read_text().splitlines()
            if line.endswith(str(native))
        ]
        for key, tensor in network.state_dict().items():
            begin, end = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
            assert any(low <= begin and end <= high for low, high in ranges), key


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_damaged_native_file(
    damage: str, publish: Publish, folder: Path, zoo_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged entry is noticed and made again from the source. FAULTS 23, 24."""
    publish(write_foreign(folder, build()))
    expected = state(load_searched_model("my-net"))
    (native,) = blobs(zoo_cache)
    content = bytearray(native.read_bytes())
    if damage == "gone":
        native.unlink()
    else:
        content[-1] ^= 1
        native.write_bytes({"flip": content, "cut": content[:-7], "empty": b""}[damage])
    assert same(state(load_searched_model("my-net")), expected)
    (again,) = blobs(zoo_cache)
    assert again == native and bytes(content[:-1]) == again.read_bytes()[:-1]


def test_a_changed_file_of_ones_own(publish: Publish, folder: Path) -> None:
    """A file without a published digest may change: its native form must not outlive it."""
    entry = write_foreign(folder, build(1))
    publish({"sources": entry["sources"], "format": "autodl"})
    assert same(state(load_searched_model("my-net")), state(build(1)))
    write_foreign(folder, build(2))
    assert same(state(load_searched_model("my-net")), state(build(2)))


def test_read_only_cache(publish: Publish, folder: Path, zoo_cache: Path) -> None:
    """A cache that cannot be written to is read, and not written to. FAULTS 29."""
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    publish(write_foreign(folder, build()))
    zoo_cache.mkdir()
    zoo_cache.chmod(0o555)
    try:
        assert same(state(load_searched_model("my-net")), state(build()))
        assert list(zoo_cache.iterdir()) == []
    finally:
        zoo_cache.chmod(0o755)


def test_read_only_cache_as_anybody(
    publish: Publish, folder: Path, zoo_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where permissions do not stop the tests: the cache says that it is read-only."""
    publish(write_foreign(folder, build()))
    monkeypatch.setattr("zoo.hub.cache.Cache.writable", lambda _: False)
    assert same(state(load_searched_model("my-net")), state(build()))
    assert not zoo_cache.exists()
    monkeypatch.undo()


def test_read_only_cache_with_the_native_file(
    publish: Publish, folder: Path, zoo_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filled cache works without one write. FAULTS 29."""
    path = publish(write_foreign(folder, build())) / "manifest.json"
    load_searched_model("my-net")
    (folder / "mine.pth").unlink()
    before = {p: p.stat().st_mtime_ns for p in zoo_cache.rglob("*")}
    monkeypatch.setattr("zoo.hub.cache.Cache.writable", lambda _: False)
    assert same(state(load_searched_model("my-net")), state(build()))
    assert {p: p.stat().st_mtime_ns for p in zoo_cache.rglob("*")} == before
    assert path.exists()


def test_full_disk(
    publish: Publish,
    folder: Path,
    zoo_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If the native form cannot be kept, the network is there all the same. FAULTS 27."""
    publish(write_foreign(folder, build()))

    def fail(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    assert same(state(load_searched_model("my-net")), state(build()))
    assert "No space left on device" in caplog.text
    assert not (zoo_cache / "blobs").exists() and not (zoo_cache / "refs").exists()


def test_cache_dir(publish: Publish, folder: Path, tmp_path: Path, zoo_cache: Path) -> None:
    """`cache_dir` is used instead of ZOO_HOME, as text or path."""
    publish(write_foreign(folder, build()))
    load_searched_model("my-net", cache_dir=str(tmp_path / "elsewhere"))
    assert len(blobs(tmp_path / "elsewhere")) == 1
    assert not zoo_cache.exists()


# --- over the network --------------------------------------------------------------------------


def test_fetched_once(publish: Publish, folder: Path, hub: Hub, zoo_cache: Path) -> None:
    """A file of a server is asked for once; then no socket is opened. FAULTS 61."""
    entry = write_foreign(folder, build())
    url = hub.add_file("mine.pth", (folder / "mine.pth").read_bytes())
    publish({**entry, "sources": [url]})
    assert same(state(load_searched_model("my-net")), state(build()))
    assert len(hub.asked(url)) == 1
    for offline in (None, False, True):
        assert same(state(load_searched_model("my-net", offline=offline)), state(build()))
    assert len(hub.asked(url)) == 1


@pytest.mark.parametrize("variable", ["ZOO_OFFLINE", "HF_HUB_OFFLINE", None])
def test_offline(
    variable: str | None,
    publish: Publish,
    folder: Path,
    closed_network: list[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a cached copy the message has the command to run; no socket is opened. FAULTS 61."""
    entry = write_foreign(folder, build())
    publish({**entry, "sources": ["https://example.org/mine.pth"]})
    if variable:
        monkeypatch.setenv(variable, "1")
    with pytest.raises(errors.OfflineError) as caught:
        load_searched_model("my-net", offline=None if variable else True)
    assert "`zoo fetch my-net`" in str(caught.value)
    assert "https://example.org/mine.pth" in str(caught.value)
    assert closed_network == []


def test_html_instead_of_weights(publish: Publish, folder: Path, hub: Hub, zoo_cache: Path) -> None:
    """A page with status 200 becomes neither weights nor a cache entry. FAULTS 16."""
    url = hub.add_file("mine.pth", b"<!doctype html><html>Please log in")
    publish({"sources": [url], "format": "autodl"})
    with pytest.raises(errors.FetchError, match="an HTML page"):
        load_searched_model("my-net")
    assert blobs(zoo_cache) == []


def test_malicious_weights(publish: Publish, folder: Path, zoo_cache: Path) -> None:
    """A pickle that would run code does not run it, although its bytes are the published ones."""
    proof = folder / "executed"
    torch.save({"state_dict": {"x": Harmful(proof)}}, folder / "mine.pth")
    publish({"sources": ["file://mine.pth"], "format": "autodl"})
    with pytest.raises(errors.UnsafeCheckpoint, match=r"mine\.pth"):
        load_searched_model("my-net")
    assert not proof.exists() and not zoo_cache.exists()


class Harmful:
    """Unpickling it makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


# --- a real file -------------------------------------------------------------------------------


def test_published_file(monkeypatch: pytest.MonkeyPatch, zoo_cache: Path) -> None:
    """The one real published file, found in a mirror by its name: loaded, cached, repeatable."""
    folder = shared("weights")
    monkeypatch.setenv("ZOO_MIRRORS", str(folder))
    network = load_searched_model("proxyless-w0.3", offline=True)
    content = torch.load(folder / "proxyless-w0.3.pkl", weights_only=False)
    params = content["first_conv"]["params"]
    expected = params["weight"].astype("float32") * params["w_scales"].reshape(-1, 1, 1, 1)
    assert torch.equal(network.stem.conv.weight, torch.from_numpy(expected))
    monkeypatch.delenv("ZOO_MIRRORS")
    again = load_searched_model("proxyless-w0.3", offline=True)
    assert same(state(again), state(network))
    assert json.loads(json.dumps(again.architecture)) == network.architecture
