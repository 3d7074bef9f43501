"""Transforms: exact against torchvision, sane for every kind of image, picklable."""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from zoo.errors import InvalidArgument
from zoo.preprocessing import build_train_transform, build_transform, describe
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
