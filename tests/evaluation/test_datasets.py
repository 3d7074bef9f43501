"""Opening data: folders, tar files, splits, names; nothing is skipped or mixed up silently."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset
from torchvision.datasets import CIFAR10, CIFAR100

from tests.cli.test_commands import EMBEDDED
from tests.digits import write_tar
from tests.shared_material import shared
from zoo.errors import DatasetError
from zoo.evaluation.datasets import open_dataset
from zoo.evaluation.images import ImageClasses
from zoo.evaluation.named import evaluate_models

NAMES = tuple(f"digit{number}" for number in range(10))


def write_image(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), value).save(path)


def pixels_of(dataset: ImageClasses) -> list[tuple[bytes, int]]:
    return [(dataset[i][0].tobytes(), dataset[i][1]) for i in range(len(dataset))]


def test_folder_and_tar_are_the_same(digits: Path, digits_tar: Path) -> None:
    folder, tar = open_dataset(digits), open_dataset(str(digits_tar))
    assert folder.class_names == tar.class_names == NAMES
    assert pixels_of(folder) == pixels_of(tar)
    assert folder.find_targets() == tar.find_targets() == [t for _, t in pixels_of(folder)]
    assert folder.file_name(0) == tar.file_name(0) == "digit0/0000.png"


def test_tar_is_read_right_by_several_processes_after_the_parent_read_it(digits_tar: Path) -> None:
    dataset = open_dataset(digits_tar)
    expected = pixels_of(dataset)  # opens the file before the processes are forked
    loader = DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=_first, shuffle=False)
    assert [(image.tobytes(), target) for image, target in loader] == expected
    assert pixels_of(pickle.loads(pickle.dumps(dataset))) == expected


def _first(batch: list) -> tuple:
    return batch[0]


def test_split_folders_are_chosen_and_never_mixed(tmp_path: Path) -> None:
    write_image(tmp_path / "train" / "cat" / "1.png", 1)
    write_image(tmp_path / "val" / "cat" / "2.png", 2)
    tar = write_tar(tmp_path, tmp_path.parent / "splits.tar", prefix="./")
    for data in (tmp_path, tar):
        assert open_dataset(data, split="train")[0][0].getpixel((0, 0)) == 1
        assert open_dataset(data)[0][0].getpixel((0, 0)) == 2
        assert len(open_dataset(data)) == 1
        with pytest.raises(DatasetError, match="no folder for split 'test', but train, val"):
            open_dataset(data, split="test")


def test_an_empty_class_keeps_its_place(tmp_path: Path) -> None:
    for name in ("a", "c"):
        write_image(tmp_path / name / "1.png")
    (tmp_path / "b").mkdir()
    (tmp_path / ".cache").mkdir()
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("a", "b", "c")
    assert dataset.find_targets() == [0, 2]


def test_classes_are_in_natural_order(tmp_path: Path) -> None:
    for name in ("class10", "class9"):
        write_image(tmp_path / name / "1.png")
    assert open_dataset(tmp_path).class_names == ("class9", "class10")


def test_class_names_give_the_order(digits: Path, digits_tar: Path) -> None:
    backwards = NAMES[::-1]
    for data in (digits, digits_tar):
        dataset = open_dataset(data, class_names=backwards)
        assert dataset.class_names == backwards
        assert dataset[0][1] == 9 and dataset.file_name(0) == "digit0/0000.png"
        with pytest.raises(DatasetError, match="not among the 9 of the network, first 'digit9'"):
            open_dataset(data, class_names=NAMES[:9])


def test_unreadable_images_are_named_not_skipped(tmp_path: Path) -> None:
    write_image(tmp_path / "data" / "a" / "good.png")
    noise = np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)
    broken = tmp_path / "data" / "b" / "broken.jpg"
    broken.parent.mkdir()
    Image.fromarray(noise).save(broken)
    broken.write_bytes(broken.read_bytes()[:500])
    tar = write_tar(tmp_path / "data", tmp_path / "data.tar")
    for data in (tmp_path / "data", tar):
        dataset = open_dataset(data)
        assert len(dataset) == 2
        with pytest.raises(DatasetError, match=r"b/broken\.jpg cannot be decoded .*truncated"):
            dataset[1]


def test_names_that_timm_and_torchvision_know(digits: Path) -> None:
    dataset = open_dataset("torch/image_folder", root=digits)
    assert dataset.class_names == NAMES and len(dataset) == 123
    assert dataset.find_targets()[0] == dataset[0][1] == 0
    assert dataset.file_name(0).endswith("digit0/0000.png")
    with pytest.raises(DatasetError, match=r"torch/cifar10: say where it is stored.*--root"):
        open_dataset("torch/cifar10")
    with pytest.raises(DatasetError, match=r"torch/cifar10: cannot be opened for split 'test'"):
        open_dataset("torch/cifar10", split="test", root=digits)


def test_what_cannot_be_opened_says_so(tmp_path: Path, digits_tar: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder or file"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="no such folder or file"):
        open_dataset("./nowhere/data")
    with pytest.raises(DatasetError, match="no images in class folders"):
        open_dataset(tmp_path)
    packed = tmp_path / "digits.tar.gz"
    packed.write_bytes(gzip.compress(digits_tar.read_bytes()))
    with pytest.raises(DatasetError, match=r"expected an uncompressed \.tar"):
        open_dataset(packed)
    (tmp_path / "empty.tar").write_bytes(bytes(10240))
    with pytest.raises(DatasetError, match=r"expected an uncompressed \.tar"):
        open_dataset(tmp_path / "empty.tar")


def write_batch(path: Path, images: np.ndarray, labels: list[int], key: str) -> str:
    """Write images as CIFAR's authors do; return the MD5 that torchvision asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    path.write_bytes(pickle.dumps({"data": rows, key: labels}))
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "classes", "key", "meta_key"),
    [
        ("cifar10", 10, "labels", "label_names"),
        ("cifar100", 100, "fine_labels", "fine_label_names"),
    ],
)
def test_cifar_in_the_format_of_torchvision(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    classes: int,
    key: str,
    meta_key: str,
) -> None:
    kind: Any = {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]
    folder = tmp_path / kind.base_folder
    pixels = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    labels = [(7 * n) % classes for n in range(12)]
    # torchvision compares digests of the published files with those of the files it finds.
    digests = [
        write_batch(folder / "first", pixels[:5], labels[:5], key),
        write_batch(folder / "second", pixels[5:9], labels[5:9], key),
        write_batch(folder / "test", pixels[9:], labels[9:], key),
    ]
    names = [f"class {index}" for index in range(classes)]
    (folder / "meta").write_bytes(pickle.dumps({meta_key: names}))
    meta_digest = hashlib.md5((folder / "meta").read_bytes()).hexdigest()
    monkeypatch.setattr(kind, "train_list", [["first", digests[0]], ["second", digests[1]]])
    monkeypatch.setattr(kind, "test_list", [["test", digests[2]]])
    monkeypatch.setattr(kind, "meta", {"filename": "meta", "key": meta_key, "md5": meta_digest})
    for split, part in (("train", slice(9)), ("test", slice(9, 12)), ("validation", slice(9, 12))):
        dataset = open_dataset(f"torch/{name}", root=tmp_path, split=split)
        assert dataset.class_names == tuple(names)
        assert dataset.find_targets() == labels[part]
        assert pixels_of(dataset) == [
            (image.tobytes(), label)
            for image, label in zip(pixels[part], labels[part], strict=True)
        ]
    (folder / "test").write_bytes(b"something else")
    with pytest.raises(DatasetError, match="cannot be opened for split 'test'"):
        open_dataset(f"torch/{name}", root=tmp_path, split="test")


def test_cifar10_of_torchvision_and_class_folders_are_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CIFAR-10 JPEG copy, once as it is and once in the format of CIFAR's authors."""
    tar = open_dataset(shared("data/cifar10/test.tar"))
    tar = tar.select(range(0, len(tar), 100))
    pixels, labels = zip(*((np.array(image), label) for image, label in tar), strict=True)  # type: ignore
    folder = tmp_path / CIFAR10.base_folder
    digest = write_batch(folder / "test", np.stack(pixels), list(labels), "labels")
    (folder / "meta").write_bytes(pickle.dumps({"label_names": list(tar.class_names or ())}))
    meta = {"filename": "meta", "key": "label_names"}
    meta["md5"] = hashlib.md5((folder / "meta").read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [])
    monkeypatch.setattr(CIFAR10, "test_list", [["test", digest]])
    monkeypatch.setattr(CIFAR10, "meta", meta)
    (found,) = evaluate_models([EMBEDDED], "torch/cifar10", opening={"root": tmp_path}, workers=0)
    (expected,) = evaluate_models([EMBEDDED], tar, workers=0)
    assert torch.equal(found.answers.predictions, expected.answers.predictions)
    assert found.measured is not None and found.measured.samples == 100
    assert 75 < found.measured.top1_count < 100
    assert found.agrees


def test_imagenet_of_torchvision_has_wordnet_ids(tmp_path: Path) -> None:
    wnids = ["n01440764", "n01443537"]
    for wnid in wnids:
        write_image(tmp_path / "val" / wnid / "ILSVRC2012_val_00000001.JPEG")
    synonyms = {wnids[0]: ("tench", "Tinca tinca"), wnids[1]: ("goldfish",)}
    torch.save((synonyms, wnids), tmp_path / "meta.bin")
    assert open_dataset("torch/imagenet", root=tmp_path).class_names == tuple(wnids)


def test_hub_data_sets_are_the_folder(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets", reason="pip install 'searched-zoo[data]'")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    dataset = open_dataset(f"hfds/{digits}", root=tmp_path, split="train")
    folder = open_dataset(digits)
    assert len(dataset) == 123
    assert dataset.find_targets() == folder.find_targets()
    assert pixels_of(dataset) == pixels_of(folder)
    assert dataset.select([5]).find_targets() == [folder.find_targets()[5]]


def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    if find_spec("datasets") is not None:
        pytest.skip("the package datasets is installed")
    with pytest.raises(DatasetError, match=r"needs datasets: pip install 'searched-zoo\[data\]'"):
        open_dataset("hfds/timm/mini-imagenet", root=tmp_path)


def test_data_sets_of_other_libraries_are_taken_as_they_are() -> None:
    source = TensorDataset(torch.zeros(3, 3, 4, 4), torch.tensor([2, 0, 1]))
    dataset = open_dataset(source)
    assert dataset.class_names is None and dataset.find_targets() == [2, 0, 1]
    assert dataset.select([2]).find_targets() == [1]
    assert open_dataset(dataset) is dataset
    assert dataset.file_name(1) == "image 1"


def test_reader_has_no_open_file_of_the_parent(digits_tar: Path) -> None:
    dataset = open_dataset(digits_tar)
    dataset[0]
    before = dataset._reader.tar_state.tf
    dataset._owner = os.getpid() + 1  # as in a process that was just forked
    dataset[0]
    assert dataset._reader.tar_state.tf is not before
