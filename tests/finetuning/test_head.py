"""Training the head alone leaves every bit of the backbone as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.digits import build_network
from tests.finetuning.training import change, train
from zoo.errors import TrainingError
from zoo.finetuning.head import find_head


@pytest.mark.parametrize("fields", [{"freeze_backbone": True}, {"head_only_epochs": 2}])
def test_backbone_is_bit_identical(fields: dict, digits: Path, tmp_path: Path) -> None:
    model = build_network()
    model.conv_stem.requires_grad_(False)  # type: ignore[operator]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train(digits, tmp_path, change(epochs=2, weight_decay=0.5, **fields), model=model)
    changed = {
        name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])
    }
    assert changed == {"classifier.weight", "classifier.bias"}
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {"conv_stem.weight"}


def test_all_of_it_learns_after_the_head(digits: Path, tmp_path: Path) -> None:
    model = build_network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.conv_stem.requires_grad_(False)  # type: ignore[operator]
    recipe = change(epochs=2, head_only_epochs=1, ema_decay=None)
    result = train(digits, tmp_path, recipe, model=model)
    assert result.best_epoch == 2
    same = {
        name for name, tensor in model.state_dict().items() if torch.equal(tensor, before[name])
    }
    assert same == {"conv_stem.weight"}


def test_models_without_a_head_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"Linear: .*needs get_classifier\(\)"):
        find_head(nn.Linear(2, 2))
    model = build_network()
    model.reset_classifier(0)  # type: ignore[operator]
    with pytest.raises(TrainingError, match="Set num_classes"):
        find_head(model)
