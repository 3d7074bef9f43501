"""Ways to prepare images and run a network that differ from the record, one at a time."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import functional

from zoo.preprocessing import build_transform
from zoo.records import Preprocessing

# Imported where they are used: nothing else needs them.
PACKAGES = ("opencv-python-headless", "simplejpeg")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Variant:
    """One way to prepare images and to run the network; the defaults are the right way."""

    group: str
    what: str
    transform: Callable[[Any], Tensor]
    decode: Callable[[bytes], Image.Image] = lambda content: Image.open(io.BytesIO(content))
    network: Callable[[nn.Module], nn.Module] = lambda network: network
    dtype: torch.dtype = torch.float32
    batch_size: int = 64


def image_variants(right: Preprocessing) -> Iterator[Variant]:
    """Yield what goes wrong between a JPEG file and the logits, and what may differ safely."""
    plain = build_transform(right)
    shorter, crop = right.resize, right.crop

    def wrong(**changes: Any) -> Callable[[Any], Tensor]:
        return build_transform(msgspec.structs.replace(right, **changes))

    for name in ("bilinear", "bicubic", "lanczos", "nearest"):
        if name != right.interpolation:
            yield Variant(
                "interpolation",
                f"{name} instead of {right.interpolation}",
                wrong(interpolation=name),
            )
    yield Variant(
        "antialias",
        "resize of a tensor without antialiasing, the default of torchvision before 0.17",
        wrong(antialias=False),
    )
    yield Variant(
        "antialias", "OpenCV's bilinear resize, which never antialiases", on_opencv(right)
    )
    yield Variant("crop rule", f"shorter side {crop}, no margin to crop", wrong(resize=crop))
    yield Variant(
        "crop rule",
        f"shorter side {shorter - 1}: {crop} / 0.875 rounded down, not up",
        wrong(resize=shorter - 1),
    )
    yield Variant(
        "crop rule",
        f"squeezed to {crop} × {crop}, whatever the shape of the image",
        # The record's own steps follow; they leave an image of the right size as it is.
        transforms.Compose([transforms.Resize((crop, crop)), wrong(resize=crop)]),
    )
    yield Variant(
        "crop rule", "crop begins two pixels further to the right and below", off_centre(right, 2)
    )
    for size in (112, 160, 224):
        resize = math.ceil(size * shorter / crop)
        yield Variant(
            "input size", f"{size} pixels, from {resize}", wrong(resize=resize, crop=size)
        )
    yield Variant("colour", "BGR instead of RGB", wrong(channels="BGR"))
    yield Variant("colour", "grey", transforms.Compose([transforms.Grayscale(3), plain]))
    yield Variant(
        "value range",
        f"ImageNet's mean and deviation instead of {right.mean[0]:g} and {right.std[0]:g}",
        wrong(mean=IMAGENET_MEAN, std=IMAGENET_STD),
    )
    yield Variant("value range", "0 to 1, not normalised", wrong(mean=(0.0,) * 3, std=(1.0,) * 3))
    yield Variant("value range", "0 to 255, not divided", wrong(value_range=(0.0, 255.0)))
    yield Variant(
        "library",
        "torchvision's resize of an 8-bit tensor with antialiasing, not Pillow's",
        on_tensor(right),
    )
    yield Variant("JPEG", "decoded by torchvision", plain, decode=torchvision_jpeg)
    yield Variant("JPEG", "decoded by OpenCV", plain, decode=opencv_jpeg)
    yield Variant(
        "JPEG", "decoded by the fast transform, colours not smoothed", plain, decode=fast_jpeg
    )
    yield Variant(
        "JPEG", "decoded at reduced size (Pillow's draft mode)", plain, decode=draft(crop)
    )
    yield Variant("JPEG", "stored once more, quality 95", plain, decode=stored_again(95))
    yield Variant("JPEG", "stored once more, quality 75", plain, decode=stored_again(75))
    yield Variant("precision", "weights stored in float16", plain, network=stored_in_half)
    yield Variant("precision", "float16 throughout", plain, dtype=torch.float16)
    yield Variant("precision", "bfloat16 throughout", plain, dtype=torch.bfloat16)
    yield Variant("batch", "batches of 1 instead of 64", plain, batch_size=1)
    yield Variant(
        "kernels", "other convolution kernels (oneDNN switched off)", plain, network=WithoutOneDnn
    )


def batch_norm_variants(own_epsilon: float, right: Preprocessing) -> Iterator[Variant]:
    """Yield what goes wrong with batch normalisation."""
    plain = build_transform(right)
    for epsilon in (1e-5, 1e-3, 1e-2):
        if epsilon != own_epsilon:
            yield Variant(
                "BatchNorm",
                f"epsilon {epsilon:g} instead of {own_epsilon:g}",
                plain,
                network=with_epsilon(epsilon),
            )
    for batch_size in (64, 8):
        yield Variant(
            "BatchNorm",
            f"`eval()` forgotten, batches of {batch_size}",
            plain,
            network=lambda network: copy.deepcopy(network).train(),
            batch_size=batch_size,
        )


def on_opencv(p: Preprocessing) -> Callable[[Any], Tensor]:
    import cv2  # pyright: ignore[reportMissingImports]

    rest = build_transform(msgspec.structs.replace(p, resize=p.crop))
    crop = transforms.CenterCrop(p.crop)

    def transform(image: Image.Image) -> Tensor:
        scale = p.resize / min(image.size)
        size = [round(side * scale) for side in image.size]
        return rest(crop(Image.fromarray(cv2.resize(np.asarray(image.convert("RGB")), size))))

    return transform


def on_tensor(p: Preprocessing) -> Callable[[Any], Tensor]:
    rest = build_transform(msgspec.structs.replace(p, resize=p.crop))

    def transform(image: Image.Image) -> Tensor:
        pixels = functional.pil_to_tensor(image.convert("RGB"))
        pixels = functional.resize(pixels, [p.resize], antialias=True)
        return rest(functional.to_pil_image(functional.center_crop(pixels, [p.crop])))

    return transform


def off_centre(p: Preprocessing, pixels: int) -> Callable[[Any], Tensor]:
    rest = build_transform(msgspec.structs.replace(p, resize=p.crop))
    resize = transforms.Resize(p.resize)

    def transform(image: Image.Image) -> Tensor:
        image = resize(image.convert("RGB"))
        left, top = (round((side - p.crop) / 2) + pixels for side in image.size)
        return rest(image.crop((left, top, left + p.crop, top + p.crop)))

    return transform


def torchvision_jpeg(content: bytes) -> Image.Image:
    pixels = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)
    return functional.to_pil_image(cast("Tensor", pixels))


def opencv_jpeg(content: bytes) -> Image.Image:
    import cv2  # pyright: ignore[reportMissingImports]

    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    return Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def fast_jpeg(content: bytes) -> Image.Image:
    import simplejpeg  # pyright: ignore[reportMissingImports]

    return Image.fromarray(simplejpeg.decode_jpeg(content, fastdct=True, fastupsample=True))


def draft(size: int) -> Callable[[bytes], Image.Image]:
    def decode(content: bytes) -> Image.Image:
        image = Image.open(io.BytesIO(content))
        image.draft("RGB", (size, size))
        return image

    return decode


def stored_again(quality: int) -> Callable[[bytes], Image.Image]:
    def decode(content: bytes) -> Image.Image:
        file = io.BytesIO()
        Image.open(io.BytesIO(content)).convert("RGB").save(file, "JPEG", quality=quality)
        return Image.open(file)

    return decode


class WithoutOneDnn(nn.Module):
    """A network whose convolutions are computed by PyTorch's own kernels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        with torch.backends.mkldnn.flags(enabled=False):
            return self.network(images)


def stored_in_half(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).half().float()


def with_epsilon(epsilon: float) -> Callable[[nn.Module], nn.Module]:
    def change(network: nn.Module) -> nn.Module:
        network = copy.deepcopy(network)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = epsilon
        return network

    return change
