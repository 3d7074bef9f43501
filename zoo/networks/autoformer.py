"""The network of AutoformerSpace: a vision transformer whose layers differ in heads and MLP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from zoo.errors import InvalidArgument
from zoo.layers.empty import make_or_copy
from zoo.layers.inverted_residual import make_drop_path
from zoo.layers.relative_attention import RelativeAttention, RelativeIndex, relative_index
from zoo.networks.network import FeatureBackbone, Network, make_classifier

NORM_EPS = 1e-5  # the authors' LayerNorm; timm's transformers have 1e-6


@dataclass(frozen=True)
class LayerPlan:
    """One encoder layer, every number decided."""

    num_heads: int
    hidden_features: int


@dataclass(frozen=True)
class TransformerPlan:
    """A whole transformer, every number decided; a space turns choices into this."""

    embed_dim: int
    layers: tuple[LayerPlan, ...]
    image_size: int = 224
    patch_size: int = 16
    head_dim: int = 64
    max_distance: int = 14
    drop_path: float = 0.0


class AutoformerNetwork(Network):
    """Patches, class token and positions; encoder layers; norm; mean of the patch tokens.

    Source: AutoFormer, section 3, https://arxiv.org/abs/2107.00651; code microsoft/Cream
    at 4a13c40, `AutoFormer/model/supernet_transformer.py`. Every encoder layer is a
    stage. `stem`, `stages.N`, `final`, `classifier` are checkpoint keys.

    Shapes:
        images: (batch, in_chans, height, width), both multiples of the patch size;
            positions are interpolated where they are not those of the published size
        returns: (batch, num_classes)
    """

    def __init__(
        self, plan: TransformerPlan, *, num_classes: int, in_chans: int, dropout: float
    ) -> None:
        super().__init__(num_classes=num_classes, in_chans=in_chans, dropout=dropout)
        self.max_distance = plan.max_distance
        self.stem: PatchStem = PatchStem(plan, in_chans)
        steps = max(1, len(plan.layers) - 1)
        self.stages = nn.ModuleList(
            make_or_copy(
                EncoderLayer,
                plan.embed_dim,
                layer,
                plan.head_dim,
                plan.max_distance,
                plan.drop_path * position / steps,
            )
            for position, layer in enumerate(plan.layers)
        )
        self.final = nn.LayerNorm(plan.embed_dim, eps=NORM_EPS)
        self.hidden = nn.Identity()
        self.num_features = self.head_hidden_size = plan.embed_dim
        self.feature_info = [
            {
                "num_chs": plan.embed_dim,
                "reduction": plan.patch_size,
                "module": f"stages.{position}",
                "stage": position,
            }
            for position in range(len(plan.layers))
        ]
        self.classifier = make_classifier(plan.embed_dim, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the last map of patch tokens: (batch, embed_dim, rows, columns).

        The class token takes part in attention and is left out here: nothing reads it.
        """
        grid = self.stem.grid_of(images)
        index = relative_index(*grid, self.max_distance, images.device)
        tokens = self.stem(images)
        for layer in self.stages:
            if self.gradient_checkpointing and self.training:
                tokens = checkpoint(layer, tokens, index, use_reentrant=False)
            else:
                tokens = layer(tokens, index)
        return to_map(self.final(tokens), grid)

    def features_only(self, out_indices: Sequence[int] | None = None) -> AutoformerBackbone:
        """Return a backbone that shares this network's parameters and gives maps of tokens.

        Args:
            out_indices: Layers whose output to return; None for all, negative from the end.
        """
        return AutoformerBackbone(self, out_indices)

    def no_weight_decay(self) -> set[str]:
        """Return the names of class token and position tables."""
        tables = (".vertical", ".horizontal", ".class_token", ".positions")
        return {name for name, _ in self.named_parameters() if name.endswith(tables)}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's patterns that put parameters in depth order, one group a layer."""
        del coarse
        return {"stem": r"^stem", "blocks": [(r"^stages\.(\d+)", None), (r"^final", (99999,))]}


class PatchStem(nn.Module):
    """Patch tokens behind a class token, with learned absolute positions added.

    `patches`, `class_token`, `positions` are checkpoint keys.

    Shapes:
        images: (batch, in_chans, height, width), multiples of the patch size
        returns: (batch, 1 + patches, embed_dim)
    """

    def __init__(self, plan: TransformerPlan, in_chans: int) -> None:
        super().__init__()
        # Imported where it is needed: importing timm costs more than importing torch.
        from timm.layers.patch_embed import PatchEmbed

        self.patch_size = plan.patch_size
        self.patches = PatchEmbed(
            plan.image_size,
            plan.patch_size,
            in_chans,
            plan.embed_dim,
            strict_img_size=False,
        )
        self.side = plan.image_size // plan.patch_size
        self.class_token = nn.Parameter(torch.empty(1, 1, plan.embed_dim))
        self.positions = nn.Parameter(torch.empty(1, 1 + self.side**2, plan.embed_dim))
        nn.init.trunc_normal_(self.class_token, std=0.02)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images)
        class_tokens = self.class_token.expand(patches.shape[0], -1, -1)
        grid = self.grid_of(images)
        return torch.cat((class_tokens, patches), 1) + self._positions_for(grid)

    def grid_of(self, images: Tensor) -> tuple[int, int]:
        """Return rows and columns of patches.

        Raises:
            InvalidArgument: the images are no multiple of the patch size.
        """
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise InvalidArgument(
                f"images of {height} × {width} pixels: this transformer takes multiples of its "
                f"patch size, {self.patch_size}; resize or pad them"
            )
        return height // self.patch_size, width // self.patch_size

    def _positions_for(self, grid: tuple[int, int]) -> Tensor:
        if grid == (self.side, self.side):
            return self.positions
        from timm.layers.pos_embed import resample_abs_pos_embed

        return resample_abs_pos_embed(
            self.positions, list(grid), [self.side, self.side], num_prefix_tokens=1
        )


class EncoderLayer(nn.Module):
    """Norm, attention, norm, MLP; each pair adds to its input (pre-norm).

    `norm1`, `attention`, `norm2`, `mlp` are checkpoint keys.

    Shapes:
        tokens: (batch, 1 + patches, embed_dim)
        returns: the same
    """

    def __init__(
        self, embed_dim: int, layer: LayerPlan, head_dim: int, max_distance: int, drop_path: float
    ) -> None:
        super().__init__()
        from timm.layers.mlp import Mlp

        self.norm1 = nn.LayerNorm(embed_dim, eps=NORM_EPS)
        self.attention = RelativeAttention(embed_dim, layer.num_heads, head_dim, max_distance)
        self.norm2 = nn.LayerNorm(embed_dim, eps=NORM_EPS)
        self.mlp = Mlp(embed_dim, layer.hidden_features)
        self.drop_path = make_drop_path(drop_path)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor, index: RelativeIndex) -> Tensor:
        tokens = tokens + self.drop_path(self.attention(self.norm1(tokens), index))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


class AutoformerBackbone(FeatureBackbone):
    """Stem and layers of a transformer; returns one map of patch tokens per chosen layer.

    Shapes:
        images: (batch, in_chans, height, width), multiples of the patch size
        returns: [(batch, embed_dim, height / patch_size, width / patch_size), …]
    """

    def __init__(
        self, network: AutoformerNetwork, out_indices: Sequence[int] | None = None
    ) -> None:
        super().__init__(network, out_indices)
        self.max_distance = network.max_distance

    def forward(self, images: Tensor) -> list[Tensor]:
        assert isinstance(self.stem, PatchStem)
        grid = self.stem.grid_of(images)
        index = relative_index(*grid, self.max_distance, images.device)
        tokens = self.stem(images)
        by_layer = {}
        for position, layer in enumerate(self.stages):
            tokens = layer(tokens, index)
            by_layer[position] = to_map(tokens, grid)
        return [by_layer[tap] for tap in self.taps]


def to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the patch tokens as a map.

    Shapes:
        tokens: (batch, 1 + rows · columns, embed_dim), class token first
        returns: (batch, embed_dim, rows, columns)
    """
    return tokens[:, 1:].transpose(1, 2).unflatten(2, grid)
