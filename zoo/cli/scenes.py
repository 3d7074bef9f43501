"""Small drawings for `zoo demo`, and a way to show a picture in a terminal."""

from __future__ import annotations

from typing import Any

import click

_SIDE = 256  # drawn large, then reduced to the network's 32 pixels, so that edges are smooth


def draw_scenes() -> list[tuple[str, Any]]:
    """Return (title, Pillow image of 32 × 32) of an airplane, a ship and a truck."""
    from PIL import Image

    scenes = (("an airplane", _airplane), ("a ship", _ship), ("a truck", _truck))
    return [(title, draw().resize((32, 32), Image.Resampling.LANCZOS)) for title, draw in scenes]


def write_picture(picture: Any) -> None:
    """Print a small picture with coloured half blocks, two pixels to a character."""
    pixels = picture.load()
    for y in range(0, picture.height, 2):
        row = "".join(
            click.style("▀", fg=pixels[x, y], bg=pixels[x, y + 1]) for x in range(picture.width)
        )
        click.echo(f"    {row}")


def _canvas(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> Any:
    from PIL import Image

    column = Image.new("RGB", (1, 2))
    column.putdata([top, bottom])
    return column.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)


def _airplane() -> Any:
    from PIL import ImageDraw

    image = _canvas((96, 150, 215), (190, 215, 240))
    draw = ImageDraw.Draw(image)
    draw.polygon([(120, 118), (60, 62), (84, 58), (168, 112)], fill=(170, 175, 185))
    draw.polygon([(24, 118), (8, 76), (30, 78), (56, 116)], fill=(150, 155, 168))
    draw.ellipse([16, 106, 246, 146], fill=(240, 242, 246))
    draw.polygon([(120, 132), (66, 204), (96, 204), (172, 134)], fill=(190, 195, 205))
    for x in range(60, 220, 14):
        draw.rectangle([x, 118, x + 6, 125], fill=(60, 70, 90))
    return image


def _ship() -> Any:
    from PIL import ImageDraw

    image = _canvas((185, 205, 225), (150, 180, 205))
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 168, 256, 256], fill=(30, 74, 112))
    draw.polygon([(14, 140), (242, 140), (214, 190), (40, 190)], fill=(120, 30, 34))
    draw.rectangle([14, 134, 242, 146], fill=(235, 235, 235))
    draw.rectangle([70, 96, 186, 136], fill=(245, 245, 245))
    draw.rectangle([92, 64, 164, 98], fill=(225, 228, 232))
    draw.rectangle([118, 30, 140, 66], fill=(190, 60, 40))
    for x in range(78, 180, 18):
        draw.rectangle([x, 106, x + 9, 116], fill=(60, 80, 110))
    for y in range(196, 256, 14):
        draw.line([(0, y), (256, y + 4)], fill=(60, 110, 150), width=3)
    return image


def _truck() -> Any:
    from PIL import ImageDraw

    image = _canvas((200, 208, 214), (170, 172, 170))
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 196, 256, 256], fill=(92, 92, 94))
    draw.rectangle([14, 62, 166, 186], fill=(232, 232, 228))
    draw.rectangle([14, 62, 166, 74], fill=(190, 190, 188))
    draw.polygon([(172, 186), (172, 92), (216, 92), (242, 138), (242, 186)], fill=(176, 34, 30))
    draw.polygon([(184, 104), (210, 104), (230, 138), (184, 138)], fill=(70, 92, 112))
    draw.rectangle([10, 182, 246, 196], fill=(50, 50, 54))
    for x in (34, 84, 190):
        draw.ellipse([x, 172, x + 44, 216], fill=(28, 28, 30))
        draw.ellipse([x + 13, 185, x + 31, 203], fill=(150, 150, 152))
    return image
