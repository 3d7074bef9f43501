"""Every zoo model as a timm model: `import zoo.integrations.timm`, then timm's own calls.

`timm.create_model("zoo_darts_v2", pretrained=True, num_classes=37)` works, and
with it whatever takes timm model names. A name is `zoo_` and the zoo's name
with underscores. Importing this module registers the models known at that
moment; `register()` adds those of manifests added later.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from timm.models import is_model, register_model
from torch import nn

from zoo.manifest import find_entry
from zoo.records import Preprocessing
from zoo.registry import list_models, load_searched_model

__all__: list[str] = []  # timm adds the names it registers

# What timm calls the settings that the spaces have.
_SETTINGS = {"drop_rate": "dropout", "drop_path_rate": "drop_path"}


def register() -> list[str]:
    """Register every known model that timm does not have yet; return all timm names."""
    names = {timm_name(name): name for name in list_models()}
    for registered, name in names.items():
        if not is_model(registered):
            register_model(_entrypoint(registered, name))
    return sorted(names)


def timm_name(name: str) -> str:
    """Return what timm calls a model of the zoo."""
    return "zoo_" + re.sub(r"[^a-z0-9]+", "_", name.lower())


def _entrypoint(registered: str, name: str) -> Callable[..., nn.Module]:
    def create(pretrained: bool = False, **arguments: Any) -> nn.Module:
        return _create(name, pretrained, **arguments)

    create.__name__ = create.__qualname__ = registered
    create.__module__ = __name__
    create.__doc__ = f"`{name}` of the zoo; see `zoo info {name}`."
    return create


def _create(
    name: str,
    pretrained: bool,
    *,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: Any = None,
    features_only: bool = False,
    out_indices: Any = None,
    **arguments: Any,
) -> nn.Module:
    del pretrained_cfg, pretrained_cfg_overlay  # the manifest says where weights are
    options = {_SETTINGS.get(key, key): value for key, value in arguments.items()}
    network = load_searched_model(name, pretrained, **options)
    network.train()  # as timm returns its models
    config = data_config(find_entry(name).preprocessing, network.num_classes, network.in_chans)
    model = network.features_only(out_indices) if features_only else network
    for attribute in ("pretrained_cfg", "default_cfg"):  # timm looks for both
        setattr(model, attribute, {**config, "architecture": timm_name(name)})
    return model


def data_config(p: Preprocessing, num_classes: int, in_chans: int) -> dict[str, Any]:
    """Return a preprocessing record as timm's data configuration."""
    return {
        "num_classes": num_classes,
        "input_size": (in_chans, p.crop, p.crop),
        "crop_pct": p.crop / p.resize,
        "interpolation": p.interpolation,
        "mean": p.mean,
        "std": p.std,
    }


register()
