"""Transforms: exact against torchvision, sane for every kind of image, picklable."""

from __future__ import annotations

import math
import pickle
import random
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_sample_images
from timm.data.transforms_factory import create_transform
from timm.models import get_pretrained_cfg
from torchvision import transforms
from torchvision.models import get_model_weights, list_models

from zoo.errors import InvalidArgument
from zoo.manifest import find_records
from zoo.preprocessing import Normalise, build_train_transform, build_transform, describe
from zoo.records import Preprocessing

IMAGENET = Preprocessing(resize=36, crop=32, interpolation="bicubic")


def noise(height: int = 50, width: int = 70, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def test_equals_torchvision_bit_for_bit() -> None:
    expected = transforms.Compose(
        [
            transforms.Resize(36, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(32),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    image = noise()
    assert torch.equal(build_transform(IMAGENET)(image), expected(image))


def test_bgr_range_and_mean_are_applied_in_channel_order() -> None:
    p = Preprocessing(
        resize=8,
        crop=8,
        channels="BGR",
        value_range=(0.0, 255.0),
        mean=(103.53, 116.28, 123.675),
        std=(1.0, 2.0, 4.0),
    )
    pixel = build_transform(p)(Image.new("RGB", (8, 8), (10, 20, 30)))[:, 0, 0]
    expected = torch.tensor([30 - 103.53, (20 - 116.28) / 2, (10 - 123.675) / 4])
    torch.testing.assert_close(pixel, expected, rtol=0, atol=1e-4)


def test_without_antialiasing_resizes_like_a_tensor() -> None:
    p = Preprocessing(resize=16, crop=16, antialias=False, mean=(0, 0, 0), std=(1, 1, 1))
    image = noise(64, 64)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(pixels, size=(16, 16), mode="bilinear")[0]
    plain = build_transform(p)(image)
    torch.testing.assert_close(plain, expected.round() / 255, rtol=0, atol=1.01 / 255)
    smooth = build_transform(Preprocessing(resize=16, crop=16, mean=(0, 0, 0), std=(1, 1, 1)))
    assert plain.std() > 1.5 * smooth(image).std()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F"])
@pytest.mark.parametrize("channels", ["RGB", "BGR", "L"])
def test_every_mode_becomes_a_finite_input(mode: str, channels: Any) -> None:
    count = 1 if channels == "L" else 3
    p = Preprocessing(
        resize=32, crop=32, channels=channels, mean=(0.5,) * count, std=(0.25,) * count
    )
    image = build_transform(p)(noise(mode=mode))
    assert image.shape == (count, 32, 32) and image.dtype == torch.float32
    assert image.isfinite().all() and image.min() >= -2 and image.max() <= 2


def test_16_bit_images_are_scaled_not_clipped(tmp_path: Path) -> None:
    pixels = np.full((8, 8), 0x80FF, dtype=np.uint16)
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    p = Preprocessing(resize=8, crop=8, mean=(0, 0, 0), std=(1, 1, 1))
    image = build_transform(p)(Image.open(tmp_path / "grey.png"))
    assert (image * 255).round().unique().tolist() == [0x80]


@pytest.mark.parametrize("build", [build_transform, build_train_transform])
def test_what_is_no_pillow_image_is_refused_by_name(build: Any) -> None:
    transform = build(IMAGENET)
    with pytest.raises(InvalidArgument, match=r"expected a Pillow image, got Tensor; PIL\.Image"):
        transform(torch.zeros(3, 8, 8))  # which has an attribute `mode` as well


def test_palette_with_transparency_gives_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    image = noise(mode="P")
    image.info["transparency"] = bytes(range(256))
    build_transform(IMAGENET)(image)
    assert not recwarn.list


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    p = Preprocessing(resize=8, crop=8, mean=(0, 0, 0), std=(1, 1, 1))
    pixel = build_transform(p)(Image.open(tmp_path / "two.gif"))[:, 0, 0]
    torch.testing.assert_close(pixel, torch.tensor([1.0, 0.0, 0.0]), rtol=0, atol=0.01)


@pytest.mark.parametrize("crop", ["padded", "resized"])
@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_training_ends_like_evaluation(crop: Any, channels: Any) -> None:
    p = Preprocessing(resize=32, crop=32, channels=channels, value_range=(-1, 1), mean=(0, 1, 2))
    image = Image.new("RGB", (40, 40), (10, 20, 30))
    train = build_train_transform(p, crop=crop)
    centre = train(image)[:, 8:24, 8:24]  # padding reaches 4 pixels
    torch.testing.assert_close(centre, build_transform(p)(image)[:, 8:24, 8:24])


def test_small_images_are_shifted_by_at_most_four_pixels() -> None:
    p = Preprocessing(resize=32, crop=32, mean=(0, 0, 0), std=(1, 1, 1))
    train = build_train_transform(p, horizontal_flip=0)
    image = Image.new("RGB", (32, 32))
    image.putpixel((16, 16), (255, 255, 255))
    torch.manual_seed(0)
    places = [train(image)[0].nonzero()[0].tolist() for _ in range(200)]
    assert {y for y, _ in places} == {x for _, x in places} == set(range(12, 21))


@pytest.mark.parametrize(
    "policy", ["rand-m9-mstd0.5-inc1", "rand-m30-n3", "augmix-m5", "original", "v0", "3a"]
)
def test_policies_survive_their_strongest_settings(policy: str) -> None:
    p = Preprocessing(resize=32, crop=32, channels="BGR")
    train = build_train_transform(p, auto_augment=policy, color_jitter=0.4, random_erasing=0.5)
    image = noise(32, 32)
    random.seed(0)
    np.random.seed(0)
    for _ in range(60):
        assert train(image).shape == (3, 32, 32)


def test_transforms_can_be_sent_to_other_processes() -> None:
    train = build_train_transform(IMAGENET, auto_augment="rand-m9", random_erasing=0.5)
    image = noise()
    for transform in (train, build_transform(IMAGENET)):
        assert pickle.loads(pickle.dumps(transform))(image).shape == (3, 32, 32)


def test_impossible_records_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"L has 1 channel.*mean has 3"):
        build_transform(Preprocessing(resize=8, crop=8, channels="L"))
    with pytest.raises(InvalidArgument, match="lanczos always antialiases"):
        build_transform(Preprocessing(resize=8, crop=8, interpolation="lanczos", antialias=False))


def test_describe_is_one_line() -> None:
    assert describe(IMAGENET) == (
        "resize 36 bicubic, centre crop 32, RGB 0..1, "
        "mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225)"
    )


def records() -> list[Preprocessing]:
    """Return every distinct preprocessing of the built-in models."""
    found = {}
    for _, record in find_records():
        for p in (record.preprocessing, *(w.preprocessing for w in record.weights)):
            if p is not None:
                found[p] = None
    return list(found)


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    """Return real images: wide, tall, with an odd aspect, and smaller than any crop."""
    wide, other = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    assert wide.size == other.size == (640, 427)
    tall = other.transpose(Image.Transpose.ROTATE_90)
    return [wide, tall, other.crop((0, 0, 501, 333)), wide.resize((41, 30))]


@pytest.mark.parametrize("p", records(), ids=describe)
def test_every_record_is_the_reference_transform(
    p: Preprocessing, photographs: list[Image.Image]
) -> None:
    """Every built-in record against torchvision's steps, and timm's transform where it has one."""
    mode = transforms.InterpolationMode(p.interpolation)
    transform = build_transform(p)
    plain = (p.channels, p.value_range, p.antialias) == ("RGB", (0.0, 1.0), True)
    for image in photographs:
        found = transform(image)
        if plain:
            steps = [transforms.Resize(p.resize, mode), transforms.CenterCrop(p.crop)]
            steps += [transforms.ToTensor(), transforms.Normalize(p.mean, p.std)]
            assert torch.equal(found, transforms.Compose(steps)(image))
            assert torch.equal(found, build_timm_transform(p)(image))
        else:
            torch.testing.assert_close(found, as_spos(p, image), rtol=0, atol=1e-4)


def build_timm_transform(p: Preprocessing) -> Any:
    return create_transform(
        (3, p.crop, p.crop),
        interpolation=p.interpolation,
        mean=p.mean,
        std=p.std,
        # timm truncates crop / crop_pct; half a pixel more keeps it from missing by one
        crop_pct=p.crop / (p.resize + 0.5),
        crop_mode="center",
    )


def as_spos(p: Preprocessing, image: Image.Image) -> torch.Tensor:
    """Return what Single Path One-Shot feeds its networks, with torchvision in OpenCV's place.

    Source: github.com/megvii-model/SinglePathOneShot, src/Evaluation/template/train.py.
    """
    assert (p.channels, p.value_range, p.antialias) == ("BGR", (0.0, 255.0), False)
    assert (set(p.mean), set(p.std), p.longer_side) == ({0.0}, {1.0}, "rounded")
    (width, height), size = image.size, p.resize
    if height < width:
        size = [size, int(size / height * width + 0.5)]
    else:
        size = [int(size / width * height + 0.5), size]
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    pixels = transforms.functional.resize(pixels, size, antialias=False)
    return transforms.CenterCrop(p.crop)(pixels).flip(0).float()


@pytest.mark.parametrize("p", [p for p in records() if not p.antialias], ids=describe)
def test_records_of_opencv_users_are_within_one_grey_level_of_opencv(
    p: Preprocessing, photographs: list[Image.Image]
) -> None:
    cv2 = pytest.importorskip("cv2", reason="pip install opencv-python-headless")
    for image in photographs:
        height, width = image.height, image.width
        scale = p.resize / min(height, width)
        size = (int(scale * width + 0.5), int(scale * height + 0.5))
        resized = cv2.resize(np.array(image)[:, :, ::-1], size, interpolation=cv2.INTER_LINEAR)
        expected = transforms.CenterCrop(p.crop)(torch.from_numpy(resized).permute(2, 0, 1))
        difference = (build_transform(p)(image) - expected).abs()
        assert difference.max() <= 1 and difference.mean() < 0.2


def test_records_of_timm_have_timm_s_settings() -> None:
    """timm's configuration, its rounding of crop_pct too, says what its models' records say."""
    checked = 0
    for name, record in find_records():
        for weights in record.weights:
            for match in re.findall(r"hf://timm/([^/]+)/", " ".join(weights.sources)):
                config: Any = get_pretrained_cfg(match)
                p = weights.preprocessing or record.preprocessing
                assert p.crop == config.input_size[1], name
                assert p.resize == math.floor(p.crop / config.crop_pct), name
                assert (p.interpolation, p.mean, p.std) == (
                    config.interpolation,
                    config.mean,
                    config.std,
                ), name
                assert config.crop_mode == "center" and p.antialias and p.channels == "RGB"
                checked += 1
    assert checked >= 40


def test_records_of_torchvision_are_torchvision_s_transforms(
    photographs: list[Image.Image],
) -> None:
    presets = {}
    for model in list_models(module=torchvision.models):
        for weights in get_model_weights(model):
            presets[weights.url] = weights.transforms()
    checked = 0
    for name, record in find_records():
        for weights in record.weights:
            for source in presets.keys() & set(weights.sources):
                transform = build_transform(weights.preprocessing or record.preprocessing)
                for image in photographs:
                    assert torch.equal(transform(image), presets[source](image)), name
                checked += 1
    assert checked >= 5


@pytest.mark.parametrize(
    ("height", "width", "longer"),
    [(375, 500, 341), (334, 500, 383), (333, 499, 384)],  # 341.3, 383.2, 383.6
)
@pytest.mark.parametrize("antialias", [True, False])
def test_the_longer_side_is_truncated_or_rounded(
    height: int, width: int, longer: int, antialias: bool
) -> None:
    p = Preprocessing(resize=256, crop=256, antialias=antialias, mean=(0,) * 3, std=(1,) * 3)
    rounded = msgspec.structs.replace(p, longer_side="rounded")
    image = noise(height, width)
    pixels = image if antialias else transforms.functional.pil_to_tensor(image)
    for size, record in ((256, p), ([256, longer], rounded)):
        resized = transforms.functional.resize(pixels, size, antialias=antialias)  # type: ignore
        whole = transforms.functional.center_crop(resized, [256])
        if antialias:
            whole = transforms.functional.pil_to_tensor(whole)
        assert torch.equal((build_transform(record)(image) * 255).round(), whole.float())
    assert "longer side rounded" in describe(rounded)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("channels", ["RGB", "BGR", "L"])
def test_a_batch_is_normalised_to_the_same_bits_as_its_images(
    channels: Any, antialias: bool
) -> None:
    count = 1 if channels == "L" else 3
    p = Preprocessing(
        resize=36,
        crop=32,
        channels=channels,
        antialias=antialias,
        value_range=(-1, 1),
        mean=(0.485, 0.456, 0.406)[:count],
        std=(0.229, 0.224, 0.225)[:count],
    )
    images = [noise(50, 70), noise(80, 40, mode="L"), noise(36, 36, mode="CMYK")]
    pixels = torch.stack([build_transform(p, as_pixels=True)(image) for image in images])
    assert pixels.dtype == torch.uint8 and pixels.shape == (3, 32, 32, count)
    expected = torch.stack([build_transform(p)(image) for image in images])
    assert torch.equal(Normalise(p)(pixels), expected)
    # Against torchvision's own steps, image for image.
    for image, tensor in zip(pixels.numpy(), expected, strict=True):
        plain = transforms.functional.to_tensor(image)
        plain = plain.flip(0) if channels == "BGR" else plain
        plain = plain * 2.0 - 1.0
        assert torch.equal(transforms.functional.normalize(plain, p.mean, p.std), tensor)


def test_training_pixels_are_normalised_to_the_same_bits() -> None:
    p = Preprocessing(resize=36, crop=32)
    for erasing, dtype in ((0.0, torch.uint8), (1.0, torch.float32)):
        results = []
        for as_pixels in (True, False):
            random.seed(0)
            torch.manual_seed(0)
            train = build_train_transform(p, random_erasing=erasing, as_pixels=as_pixels)
            results.append(train(noise()))
        assert results[0].dtype == dtype
        assert torch.equal(Normalise(p)(results[0]), results[1])
