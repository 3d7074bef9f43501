"""AutoformerSpace: a transformer that chooses width, depth, and each layer's heads and MLP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from random import Random
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from zoo.errors import InvalidArchitecture, InvalidArgument, UnknownModel, suggest
from zoo.networks.autoformer import AutoformerNetwork, LayerPlan, TransformerPlan
from zoo.spaces.base import Architecture, SearchSpace
from zoo.spaces.choices import Choice, OneOf
from zoo.spaces.mbconv import check_nothing_left, take_label
from zoo.supernet import Supernet, load_supernet

PositiveInt = Annotated[int, Meta(ge=1)]
Ratio = Annotated[float, Meta(gt=0)]

# The published search spaces, as NNI has them: every published subnet lies in them.
SIZES: dict[str, dict[str, tuple[Any, ...]]] = {
    "tiny": {"embed_dims": (192, 216, 240), "num_heads": (3, 4), "depths": (12, 13, 14)},
    "small": {"embed_dims": (320, 384, 448), "num_heads": (5, 6, 7), "depths": (12, 13, 14)},
    "base": {"embed_dims": (528, 576, 624), "num_heads": (8, 9, 10), "depths": (14, 15, 16)},
}

_LABEL = re.compile(r"h(\d+)r([\d.]+)")


class EncoderLayers(msgspec.Struct, frozen=True):
    """A list of layers `h<heads>r<MLP ratio>`; its length, one of `depths`, is the depth."""

    num_heads: tuple[int, ...]
    mlp_ratios: tuple[float, ...]
    depths: tuple[int, ...]

    def size(self) -> int:
        return sum((len(self.num_heads) * len(self.mlp_ratios)) ** depth for depth in self.depths)

    def sample(self, rng: Random) -> list[str]:
        """Draw the depth uniformly, then heads and ratio of every layer uniformly."""
        labels = self._labels()
        return [rng.choice(labels) for _ in range(rng.choice(self.depths))]

    def neighbours(self, value: list[str]) -> Iterator[list[str]]:
        """Yield lists with one layer's heads or one layer's ratio replaced, the last layer
        dropped, or one appended."""
        for position, label in enumerate(value):
            heads, ratio = _read_label(label)
            others = [_write_label(h, ratio) for h in self.num_heads if h != heads]
            others += [_write_label(heads, r) for r in self.mlp_ratios if r != ratio]
            for other in others:
                yield [*value[:position], other, *value[position + 1 :]]
        if len(value) - 1 in self.depths:
            yield value[:-1]
        if len(value) + 1 in self.depths:
            for label in self._labels():
                yield [*value, label]

    def problem(self, value: Any) -> str | None:
        """Return why `value` is illegal, or None."""
        if not isinstance(value, list):
            return f"{value!r} is not a list of layers"
        if len(value) not in self.depths:
            return f"depth {len(value)} is not one of {', '.join(map(str, self.depths))}"
        labels = self._labels()
        for position, label in enumerate(value):
            if label not in labels:
                return f"layer {position}: {label!r} is not one of {', '.join(labels)}"
        return None

    def _labels(self) -> list[str]:
        return [_write_label(h, r) for h in self.num_heads for r in self.mlp_ratios]


class AutoformerSpace(SearchSpace, frozen=True, kw_only=True):
    """Width of the tokens, number of layers, and for each layer its heads and MLP ratio.

    Source: AutoFormer, section 3.1, https://arxiv.org/abs/2107.00651; code
    microsoft/Cream at 4a13c40, `AutoFormer`. `preset` gives the three published
    sizes; the default is the tiny one. PreNAS (https://arxiv.org/abs/2304.14636) and
    TF-TAS (https://arxiv.org/abs/2203.12217) search the same spaces. Choices are
    `embed_dim` and `layers`, a list of labels such as `h3r3.5`.

    Args:
        embed_dims, depths: What the network may choose.
        num_heads, mlp_ratios: What every layer may choose.
        image_size: Side of the images that absolute positions are learned for.
        head_dim: Width of a head, whatever the width of the tokens.
        max_distance: Patches further apart share their relative position.
        drop_path: Stochastic depth of the last layer; earlier layers have less.
        dropout: Probability before the classifier.
    """

    embed_dims: tuple[PositiveInt, ...] = SIZES["tiny"]["embed_dims"]
    num_heads: tuple[PositiveInt, ...] = SIZES["tiny"]["num_heads"]
    mlp_ratios: tuple[Ratio, ...] = (3.0, 3.5, 4.0)
    depths: tuple[PositiveInt, ...] = SIZES["tiny"]["depths"]
    image_size: PositiveInt = 224
    patch_size: PositiveInt = 16
    head_dim: PositiveInt = 64
    max_distance: PositiveInt = 14
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    drop_path: Annotated[float, Meta(ge=0, lt=1)] = 0.0

    adaptable: ClassVar[frozenset[str]] = SearchSpace.adaptable | {
        "embed_dims",
        "num_heads",
        "mlp_ratios",
        "depths",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("embed_dims", "num_heads", "mlp_ratios", "depths"):
            if not getattr(self, name):
                raise InvalidArgument(f"AutoformerSpace: {name} must name at least one option")
        if self.image_size % self.patch_size:
            raise InvalidArgument(
                f"AutoformerSpace: image_size={self.image_size} is no multiple of "
                f"patch_size={self.patch_size}"
            )

    @classmethod
    def preset(cls, size: str, **settings: Any) -> AutoformerSpace:
        """Return the published space of a size: `tiny`, `small` or `base`.

        Raises:
            InvalidArgument: no such size, or a setting is wrong.
        """
        if size not in SIZES:
            raise InvalidArgument(
                f"AutoformerSpace has no size {size!r}.{suggest(size, SIZES)} "
                f"Sizes: {', '.join(SIZES)}."
            )
        space = cls.from_settings({**SIZES[size], **settings})
        assert isinstance(space, cls)
        return space

    @classmethod
    def load_supernet(cls, name: str, **options: Any) -> Supernet:
        """Return trained weights that every architecture of a published space is a slice of.

        Args:
            name: `tiny`, `small`, `base`, or a model whose weights are a supernet, such as
                `prenas-tiny`.
            options: `checkpoint`, `cache_dir`, `offline`; see `zoo.supernet.load_supernet`.

        Raises:
            UnknownModel, FetchError, CheckpointError: see `zoo.errors`.
        """
        if name in SIZES:
            return load_supernet(f"random-one-shot-{name}", cls, **options)
        try:
            return load_supernet(name, cls, **options)
        except UnknownModel as error:
            raise UnknownModel(
                f"{error} Sizes: {', '.join(SIZES)}.{suggest(name, SIZES)}"
            ) from None

    def choices(self) -> dict[str, Choice]:
        return {
            "embed_dim": OneOf(self.embed_dims),
            "layers": EncoderLayers(self.num_heads, self.mlp_ratios, self.depths),
        }

    def largest(self) -> Architecture:
        """Return the architecture that every other one is a slice of."""
        label = _write_label(max(self.num_heads), max(self.mlp_ratios))
        return {"embed_dim": max(self.embed_dims), "layers": [label] * max(self.depths)}

    def build_network(self, architecture: Architecture) -> AutoformerNetwork:
        embed_dim = architecture["embed_dim"]
        layers = []
        for label in architecture["layers"]:
            heads, ratio = _read_label(label)
            layers.append(LayerPlan(heads, int(embed_dim * ratio)))
        plan = TransformerPlan(
            embed_dim=embed_dim,
            layers=tuple(layers),
            image_size=self.image_size,
            patch_size=self.patch_size,
            head_dim=self.head_dim,
            max_distance=self.max_distance,
            drop_path=self.drop_path,
        )
        return AutoformerNetwork(
            plan, num_classes=self.num_classes, in_chans=self.in_chans, dropout=self.dropout
        )

    def write_notation(self, architecture: Architecture) -> str:
        """Return the candidate tuple of the authors' search: depth, ratios, heads, width."""
        self.check(architecture)
        layers = [_read_label(label) for label in architecture["layers"]]
        ratios = [ratio for _, ratio in layers]
        heads = [heads for heads, _ in layers]
        return str((len(layers), *ratios, *heads, architecture["embed_dim"]))

    def read_notation(self, text: str) -> Architecture | None:
        """Return the architecture of a candidate tuple, or of PreNAS' JSON candidate."""
        if text.strip().startswith("("):
            return self._read_tuple(text)
        try:
            candidate = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(candidate, dict) or "layer_num" not in candidate:
            return None
        return self._from_candidate(candidate, text)

    def from_nni(self, architecture: Mapping[str, Any]) -> Architecture:
        """Return the architecture of NNI's labels `embed_dim`, `depth`, `num_head_0` …

        NNI also names heads and ratios of layers beyond the depth; they say nothing.
        """
        labels = dict(architecture)
        embed_dim = take_label(labels, "embed_dim", "AutoformerSpace")
        depth = take_label(labels, "depth", "AutoformerSpace", int)
        layers = []
        for position in range(depth):
            heads = take_label(labels, f"num_head_{position}", "AutoformerSpace", int)
            ratio = take_label(labels, f"mlp_ratio_{position}", "AutoformerSpace", (int, float))
            layers.append(_write_label(heads, ratio))
        for position in range(depth, max(self.depths)):
            labels.pop(f"num_head_{position}", None)
            labels.pop(f"mlp_ratio_{position}", None)
        check_nothing_left(labels, "AutoformerSpace")
        converted = {"embed_dim": embed_dim, "layers": layers}
        self.check(converted)
        return converted

    def _read_tuple(self, text: str) -> Architecture:
        try:
            numbers = json.loads(f"[{text.strip()[1:-1].rstrip(', ')}]")
            depth = int(numbers[0])
            _, *middle, embed_dim = numbers
            if len(middle) != 2 * depth:
                raise ValueError(f"{len(middle)} numbers between depth {depth} and width")
            layers = [_write_label(int(h), r) for r, h in zip(middle, middle[depth:], strict=False)]
        except (ValueError, TypeError, IndexError, RecursionError) as error:
            raise InvalidArchitecture(
                f"AutoformerSpace: cannot decode {text[:80]!r}: {error}. Expected (depth, "
                "MLP ratios, heads, width)."
            ) from None
        return {"embed_dim": embed_dim, "layers": layers[:depth]}

    def _from_candidate(self, candidate: Mapping[str, Any], text: str) -> Architecture:
        try:
            (embed_dim,) = set(candidate["embed_dim"])
            layers = [
                _write_label(heads, ratio)
                for heads, ratio in zip(candidate["num_heads"], candidate["mlp_ratio"], strict=True)
            ]
            if len(layers) != candidate["layer_num"]:
                raise ValueError(f"layer_num {candidate['layer_num']}, {len(layers)} layers")
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidArchitecture(
                f"AutoformerSpace: cannot decode {text[:80]!r}: {error!r}"
            ) from None
        return {"embed_dim": embed_dim, "layers": layers}


def _write_label(num_heads: int, mlp_ratio: float) -> str:
    return f"h{num_heads}r{mlp_ratio:g}"


def _read_label(label: str) -> tuple[int, float]:
    match = _LABEL.fullmatch(label)
    assert match, label
    return int(match[1]), float(match[2])
