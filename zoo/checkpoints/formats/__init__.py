"""The checkpoint formats the zoo reads, one table each; a new format is added here."""

from __future__ import annotations

from zoo.checkpoints.formats import autodl, mit_int8, nni, proxylessnas, timm, torchvision
from zoo.checkpoints.formats.format import Format

NATIVE = Format(
    name="native",
    signature=r"^stages\.\d+\.\d+\.",
    names={"*": lambda keys, _: {key: key for key in keys}},
)

FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        NATIVE,
        timm.TIMM,
        torchvision.TORCHVISION,
        proxylessnas.PROXYLESSNAS,
        mit_int8.MIT_INT8,
        autodl.AUTODL,
        nni.NNI,
    )
}
