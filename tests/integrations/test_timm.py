"""timm's own calls on zoo models."""

from __future__ import annotations

import timm
import torch
from timm.data import create_transform, resolve_model_data_config

import zoo
import zoo.integrations.timm as integration

EMBEDDED = "zoo_nb201_resnet_like_mini"


def test_every_model_has_a_timm_name() -> None:
    names = integration.register()
    assert set(names) <= set(timm.list_models("zoo_*"))
    assert len(names) == len(zoo.list_models())


def test_create_model_gives_the_verified_weights() -> None:
    model = timm.create_model(EMBEDDED, pretrained=True).eval()
    ours = zoo.load_searched_model("nb201-resnet-like-mini")
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(images), ours(images))


def test_another_number_of_classes_keeps_the_backbone() -> None:
    model = timm.create_model(EMBEDDED, pretrained=True, num_classes=37, drop_rate=0.2)
    assert model.num_classes == 37 and model.dropout == 0.2
    stem = zoo.load_searched_model("nb201-resnet-like-mini").stem
    assert torch.equal(model.stem[0].weight, stem[0].weight)


def test_features_only() -> None:
    model = timm.create_model(EMBEDDED, features_only=True, out_indices=(0, 2))
    maps = model(torch.randn(1, 3, 32, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [(32, 32, 32), (128, 8, 8)]


def test_data_config_leads_to_the_same_transform() -> None:
    from PIL import Image

    image = Image.effect_mandelbrot((90, 70), (-2, -1, 1, 1), 60).convert("RGB")
    model = timm.create_model("zoo_proxyless_w0_3")
    theirs = create_transform(**resolve_model_data_config(model))
    torch.testing.assert_close(theirs(image), zoo.transform_for("proxyless-w0.3")(image))
