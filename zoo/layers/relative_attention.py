"""Multi-head attention with two-dimensional relative positions on keys and values."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class RelativeIndex(NamedTuple):
    """Rows of the vertical and horizontal tables for every pair of tokens: (tokens, tokens)."""

    vertical: Tensor
    horizontal: Tensor


def relative_index(
    rows: int, columns: int, max_distance: int, device: torch.device
) -> RelativeIndex:
    """Return the table rows of a grid of patches behind one class token.

    Row 0 is for pairs with the class token; row `max_distance + 1 + d` for a key that
    lies d patches below or right of the query, d clipped to ± `max_distance`.
    """
    vertical = torch.arange(rows, device=device).repeat_interleave(columns)
    horizontal = torch.arange(columns, device=device).repeat(rows)
    return RelativeIndex(
        *(
            nn.functional.pad(
                (place[None, :] - place[:, None]).clamp(-max_distance, max_distance)
                + (max_distance + 1),
                (1, 0, 1, 0),
            )
            for place in (vertical, horizontal)
        )
    )


class RelativeAttention(nn.Module):
    """Attention in which a key and a value also hold where they lie, seen from the query.

    Source: AutoFormer, section 3.2 and appendix, https://arxiv.org/abs/2107.00651; relative
    positions as in Shaw et al., https://arxiv.org/abs/1803.02155. The heads share the
    tables. `q`, `k`, `v`, `proj`, `relative_keys`, `relative_values` are checkpoint keys;
    q, k and v are apart, so that the slices of a supernet's weights are views.

    Args:
        head_dim: Width of a head; the heads together need not be as wide as a token.
        max_distance: Patches further apart count as this far.

    Shapes:
        tokens: (batch, tokens, embed_dim)
        index: see `relative_index`, for the same number of tokens
        returns: (batch, tokens, embed_dim)
    """

    def __init__(self, embed_dim: int, num_heads: int, head_dim: int, max_distance: int) -> None:
        super().__init__()
        width = num_heads * head_dim
        self.num_heads = num_heads
        self.scale = head_dim**-0.5
        self.q = nn.Linear(embed_dim, width)
        self.k = nn.Linear(embed_dim, width)
        self.v = nn.Linear(embed_dim, width)
        self.proj = nn.Linear(width, embed_dim)
        self.relative_keys = RelativePositions(head_dim, max_distance)
        self.relative_values = RelativePositions(head_dim, max_distance)

    def forward(self, tokens: Tensor, index: RelativeIndex) -> Tensor:
        heads = (self.num_heads, -1)
        q, k, v = (
            layer(tokens).unflatten(2, heads).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )  # each (batch, heads, tokens, head_dim)
        scores = q @ k.transpose(2, 3) + _per_query(q, self.relative_keys(index).transpose(1, 2))
        attention = (scores * self.scale).softmax(-1)
        out = attention @ v + _per_query(attention, self.relative_values(index))
        return self.proj(out.transpose(1, 2).flatten(2))


class RelativePositions(nn.Module):
    """The sum of a vertical and a horizontal embedding for every pair of tokens.

    `vertical` and `horizontal` are checkpoint keys.

    Shapes:
        returns: (tokens, tokens, head_dim), query first
    """

    def __init__(self, head_dim: int, max_distance: int) -> None:
        super().__init__()
        self.vertical = nn.Parameter(torch.empty(2 * max_distance + 2, head_dim))
        self.horizontal = nn.Parameter(torch.empty(2 * max_distance + 2, head_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.vertical, std=0.02)
        nn.init.trunc_normal_(self.horizontal, std=0.02)

    def forward(self, index: RelativeIndex) -> Tensor:
        return self.vertical[index.vertical] + self.horizontal[index.horizontal]


def _per_query(rows: Tensor, matrices: Tensor) -> Tensor:
    """Multiply every query's rows by that query's matrix.

    Shapes:
        rows: (batch, heads, queries, n)
        matrices: (queries, n, m)
        returns: (batch, heads, queries, m)
    """
    batch = rows.shape[0]
    by_query = rows.permute(2, 0, 1, 3).flatten(1, 2)  # (queries, batch · heads, n)
    return (by_query @ matrices).unflatten(1, (batch, -1)).permute(1, 2, 0, 3)
