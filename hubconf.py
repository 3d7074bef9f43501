"""Entry points for `torch.hub.load` from a local clone.

`torch.hub.load("path/to/clone", "proxyless_mobile", source="local", pretrained=True)`;
a name is the zoo's name with underscores, and every option of
`zoo.load_searched_model` may follow.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from zoo import list_models, load_searched_model

dependencies = ["torch", "timm", "safetensors", "huggingface_hub", "msgspec"]


def _entrypoint(name: str) -> Callable[..., Any]:
    def create(pretrained: bool = True, **options: Any) -> Any:
        return load_searched_model(name, pretrained, **options)

    create.__doc__ = f"`{name}`; see `zoo info {name}`."
    return create


globals().update({re.sub(r"[^a-z0-9]+", "_", name): _entrypoint(name) for name in list_models()})
