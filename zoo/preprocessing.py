"""Image transforms from a `Preprocessing` record: the exact evaluation one, and one for training.

Both end in the same channel order, value range and normalisation, and both are
picklable, so data-loading processes may be forked or spawned. With `as_pixels` they end one
step earlier, in 8-bit pixels: data-loading processes send a quarter of the bytes, and
`Normalise` makes the same input, bit for bit, of a whole batch. Orientation tags (EXIF) are
not applied, and of an animation the first frame is used: published accuracies were measured
that way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from zoo.errors import InvalidArgument
from zoo.records import Preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

Transform = Callable[["Image"], "Tensor"]
SMALL_IMAGE = 64  # pixels; data sets up to this size are trained on padded crops


def describe(p: Preprocessing) -> str:
    """Return one line: `resize 256 bicubic, centre crop 224, RGB 0..1, mean (…), std (…)`."""
    aliased = "" if p.antialias else " without antialiasing"
    rounded = " (longer side rounded)" if p.longer_side == "rounded" else ""
    low, high = p.value_range
    return (
        f"resize {p.resize}{rounded} {p.interpolation}{aliased}, centre crop {p.crop}, "
        f"{p.channels} {low:g}..{high:g}, mean {p.mean}, std {p.std}"
    )


def build_transform(p: Preprocessing, *, as_pixels: bool = False) -> Transform:
    """Return the evaluation transform: image of any mode -> (channels, crop, crop) float32.

    Args:
        as_pixels: Leave the last step to `Normalise`: (crop, crop, channels) uint8.

    Raises:
        InvalidArgument: `mean` or `std` does not fit `channels`, or Lanczos without antialiasing.
    """
    from torchvision import transforms

    steps: list[Any] = [_ToMode(p.channels), _Resize(p), transforms.CenterCrop(p.crop), _to_pixels]
    return transforms.Compose(steps if as_pixels else [*steps, Normalise(p)])


def build_train_transform(
    p: Preprocessing,
    *,
    crop: Literal["auto", "padded", "resized"] = "auto",
    scale: tuple[float, float] = (0.08, 1.0),
    horizontal_flip: float = 0.5,
    auto_augment: str | None = None,
    color_jitter: float = 0.0,
    random_erasing: float = 0.0,
    as_pixels: bool = False,
) -> Transform:
    """Return a random transform for training, ending like the evaluation transform.

    Args:
        crop: "padded" shifts by up to an eighth of the crop size (4 pixels of 32),
            "resized" cuts out a random part; "auto" pads up to `SMALL_IMAGE` pixels.
        scale: Smallest and largest share of the area that "resized" keeps.
        horizontal_flip: Probability; 0 for digits and letters.
        auto_augment: A policy as timm spells it, such as `rand-m9-mstd0.5-inc1`.
        color_jitter: Largest relative change of brightness, contrast and saturation.
        random_erasing: Probability of erasing a rectangle to the mean.
        as_pixels: Leave the last step to `Normalise`, unless a step needs what it makes.
    """
    from timm.data.random_erasing import RandomErasing
    from torchvision import transforms

    steps: list[Any] = [_ToMode(p.channels)]
    if crop == "padded" or (crop == "auto" and p.crop <= SMALL_IMAGE):
        steps += [_Resize(p), transforms.RandomCrop(p.crop, padding=p.crop // 8)]
    else:
        mode = transforms.InterpolationMode(p.interpolation)
        steps += [transforms.RandomResizedCrop(p.crop, scale, interpolation=mode)]
    if horizontal_flip:
        steps += [transforms.RandomHorizontalFlip(horizontal_flip)]
    if auto_augment:
        steps += [_policy(auto_augment, p)]
    if color_jitter:
        steps += [transforms.ColorJitter(color_jitter, color_jitter, color_jitter)]
    steps += [_to_pixels]
    if random_erasing or not as_pixels:
        steps += [Normalise(p)]
    if random_erasing:
        steps += [RandomErasing(random_erasing, device="cpu")]
    return transforms.Compose(steps)


def _policy(text: str, p: Preprocessing) -> Callable[[Any], Any]:
    from timm.data import auto_augment
    from timm.data.transforms import str_to_pil_interp

    low, high = p.value_range
    fill = tuple(min(255, max(0, round(255 * (m - low) / (high - low)))) for m in p.mean)
    settings: dict[str, Any] = {
        "translate_const": int(p.crop * 0.45),
        "img_mean": fill[::-1] if p.channels == "BGR" else fill,
        "interpolation": str_to_pil_interp(p.interpolation),
    }
    if text.startswith("rand"):
        policy: Any = auto_augment.rand_augment_transform(text, settings)
    elif text.startswith("augmix"):
        policy = auto_augment.augment_and_mix_transform(text, settings | {"translate_pct": 0.3})
    else:
        policy = auto_augment.auto_augment_transform(text, settings)
    for group in [policy.ops] if hasattr(policy, "ops") else policy.policy:
        for operation in group:
            if operation.name.startswith("Posterize"):
                operation.aug_fn = _posterize
    return policy


def _posterize(image: Image, bits: int, **_settings: Any) -> Image:
    # Strong policies ask timm for 0 bits, which Pillow refuses since version 12.
    from PIL import ImageOps

    return ImageOps.posterize(image, min(8, max(1, bits)))


class _ToMode:
    """Any Pillow image -> 8-bit RGB or L."""

    def __init__(self, channels: str) -> None:
        self.mode = "L" if channels == "L" else "RGB"

    def __call__(self, image: Image) -> Image:
        from PIL.Image import Image as PillowImage

        if not isinstance(image, PillowImage):
            raise InvalidArgument(
                f"expected a Pillow image, got {type(image).__name__}; PIL.Image.open(path) or "
                "PIL.Image.fromarray(array) makes one"
            )
        if image.mode == self.mode:
            return image
        if image.mode.startswith("I"):
            # Pillow clips integers at 255 instead of scaling them; PNG and TIFF hold 16 bits.
            return image.convert("I").point(_high_byte, "L").convert(self.mode)
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")
        return image.convert(self.mode)


def _high_byte(value: Any) -> Any:
    return value * (1 / 256)


class _Resize:
    """Pillow image -> one whose shorter side has a length; a tensor where nothing antialiases."""

    def __init__(self, p: Preprocessing) -> None:
        from torchvision.transforms import InterpolationMode

        if p.interpolation == "lanczos" and not p.antialias:
            raise InvalidArgument(
                "preprocessing: lanczos always antialiases; set antialias to true"
            )
        self.shorter = p.resize
        self.is_rounded = p.longer_side == "rounded"
        self.mode = InterpolationMode(p.interpolation)
        self.antialias = p.antialias or p.interpolation == "nearest"

    def __call__(self, image: Any) -> Any:
        from torchvision.transforms import functional

        width, height = image.size
        size = [self.shorter]  # torchvision truncates the other side
        if self.is_rounded:
            scale = self.shorter / min(height, width)
            size = [int(scale * height + 0.5), int(scale * width + 0.5)]
        if not self.antialias:
            # Pillow always antialiases, so the image becomes a tensor first.
            image = functional.pil_to_tensor(image)
        return functional.resize(image, size, self.mode, antialias=self.antialias)


def _to_pixels(image: Any) -> Tensor:
    """Pillow image or (channels, height, width) tensor, 8-bit -> (height, width, channels)."""
    import numpy as np
    import torch

    if torch.is_tensor(image):
        return image.permute(1, 2, 0).contiguous()
    pixels = torch.from_numpy(np.array(image))
    return pixels if pixels.ndim == 3 else pixels.unsqueeze(2)


class Normalise:
    """8-bit pixels -> float32 in channel order, value range, mean and std; of one image or many.

    Shapes:
        pixels: (…, height, width, channels), uint8; float32 is returned as it is
        returns: (…, channels, height, width)
    """

    def __init__(self, p: Preprocessing) -> None:
        import torch

        count = 1 if p.channels == "L" else 3
        if len(p.mean) != count or len(p.std) != count:
            raise InvalidArgument(
                f"preprocessing: {p.channels} has {count} channel(s), but mean has {len(p.mean)} "
                f"and std {len(p.std)} values"
            )
        self.reverse = p.channels == "BGR"
        self.low, self.high = p.value_range
        # A tensor, since a GPU divides by a number by multiplying with its rounded inverse.
        self.white = torch.tensor(255.0)
        self.mean = torch.tensor(p.mean).view(-1, 1, 1)
        self.std = torch.tensor(p.std).view(-1, 1, 1)

    def __call__(self, pixels: Tensor) -> Tensor:
        import torch

        if pixels.is_floating_point():
            return pixels
        white, mean, std = (each.to(pixels.device) for each in (self.white, self.mean, self.std))
        # Plane by plane, as the other steps are faster then.
        pixels = pixels.movedim(-1, -3).to(torch.float32, memory_format=torch.contiguous_format)
        pixels = pixels.div_(white)
        if self.reverse:
            pixels = pixels.flip(-3)
        if (self.low, self.high) != (0.0, 1.0):
            pixels = pixels * (self.high - self.low) + self.low
        return pixels.sub_(mean).div_(std)
