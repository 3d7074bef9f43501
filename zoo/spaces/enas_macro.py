"""ENASMacro: a chain whose layers choose an operator and which earlier layers join them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from zoo.errors import InvalidArchitecture
from zoo.layers.cell_modules import OperatorStyle
from zoo.layers.conv import BatchNormSettings
from zoo.networks.enas_macro import ENASMacroNetwork, LayerPlan
from zoo.spaces.base import Architecture, SearchSpace
from zoo.spaces.choices import Choice, Flags, OneOf
from zoo.spaces.nds import read_numbers

# In the order of the authors' `fixed_arc`, which names them by number.
MACRO_OPERATORS = (
    "conv_3x3",
    "sep_conv_3x3",
    "conv_5x5",
    "sep_conv_5x5",
    "avg_pool_3x3",
    "max_pool_3x3",
)


class ENASMacro(SearchSpace, frozen=True, kw_only=True):
    """ENAS' macro space: every layer chooses an operator and earlier layers to join.

    Source: ENAS, section 2.3, https://arxiv.org/abs/1802.03268; code melodyguan/enas,
    `src/cifar10/general_child.py`. `layer_L/skips` says with a 0 or 1 each what joins
    layer L: first the stem, then the layers up to L − 2. `size()` is 6^L · 2^(L(L−1)/2), as
    the paper counts. Reads and writes the authors' `fixed_arc`: for every layer the number
    of its operator, then its skips.

    Args:
        layers: L; a multiple of three keeps the three stages equally long.
        width: Channels of the first stage; they double twice.
        separable: False builds `sep_conv` as dense convolutions, as the authors' code does
            when it trains a fixed architecture.
    """

    num_classes: Annotated[int, Meta(ge=0, le=1_000_000)] = 10
    layers: Annotated[int, Meta(ge=3, le=200)] = 12
    width: Annotated[int, Meta(ge=1)] = 36
    separable: bool = True
    bn_eps: Annotated[float, Meta(gt=0)] = 1e-5
    bn_momentum: Annotated[float, Meta(ge=0, le=1)] = 0.1
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0

    def choices(self) -> dict[str, Choice]:
        choices: dict[str, Choice] = {}
        for layer in range(self.layers):
            choices[f"layer_{layer}/op"] = OneOf(MACRO_OPERATORS)
            if layer > 0:
                choices[f"layer_{layer}/skips"] = Flags(layer)
        return choices

    def build_network(self, architecture: Architecture) -> ENASMacroNetwork:
        plans = []
        for layer in range(self.layers):
            operator: str = architecture[f"layer_{layer}/op"]
            if not self.separable:
                operator = operator.removeprefix("sep_")
            skips = architecture.get(f"layer_{layer}/skips", "")
            plans.append(LayerPlan(operator, tuple(i for i, on in enumerate(skips) if on == "1")))
        return ENASMacroNetwork(
            plans,
            width=self.width,
            style=OperatorStyle(norm=BatchNormSettings(self.bn_eps, self.bn_momentum)),
            num_classes=self.num_classes,
            in_chans=self.in_chans,
            dropout=self.dropout,
        )

    def write_notation(self, architecture: Architecture) -> str:
        """Return the authors' numbers, one line for each layer."""
        self.check(architecture)
        lines = []
        for layer in range(self.layers):
            operator = MACRO_OPERATORS.index(architecture[f"layer_{layer}/op"])
            lines.append(" ".join([str(operator), *architecture.get(f"layer_{layer}/skips", "")]))
        return "\n".join(lines)

    def read_notation(self, text: str) -> Architecture | None:
        numbers = read_numbers(text)
        if numbers is None:
            return None
        if len(numbers) != self.layers * (self.layers + 1) // 2:
            raise InvalidArchitecture(
                f"ENASMacro: {self.layers} layers are {self.layers * (self.layers + 1) // 2} "
                f"numbers, got {len(numbers)}"
            )
        architecture: Architecture = {}
        for layer in range(self.layers):
            operator, *skips = numbers[layer * (layer + 1) // 2 :][: layer + 1]
            if operator >= len(MACRO_OPERATORS) or not set(skips) <= {0, 1}:
                raise InvalidArchitecture(
                    f"ENASMacro: layer {layer}: expected an operator below {len(MACRO_OPERATORS)} "
                    f"and {layer} times 0 or 1, got {operator} {skips}"
                )
            architecture[f"layer_{layer}/op"] = MACRO_OPERATORS[operator]
            if layer > 0:
                architecture[f"layer_{layer}/skips"] = "".join(map(str, skips))
        return architecture
