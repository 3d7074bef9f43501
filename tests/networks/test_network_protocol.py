"""What every frozen network offers, in timm's vocabulary; each space's networks are tested."""

from __future__ import annotations

import itertools
import threading
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.spaces.small import (
    SMALL,
    each_space,
    has_setting,
    images_for,
    sampled_network,
    small_space,
)
from zoo.errors import InvalidArgument
from zoo.layers import conv
from zoo.layers.empty import EmptyParameters, make_or_copy
from zoo.networks import autoformer, cells, nasbench201
from zoo.networks.network import Network, describe_features


def network_of(name: str, **settings: Any) -> Network:
    """Return the network of a fixed random architecture, in evaluation mode, seeded."""
    torch.manual_seed(0)
    return sampled_network(small_space(name, **settings), seed=3)


# --- features, head, classifier ----------------------------------------------------------------


@each_space
def test_forward_is_head_of_features(name: str) -> None:
    """`forward` is `forward_head(forward_features(…))`, with the shapes that the facts say."""
    network, images = network_of(name), images_for(name)
    features = network.forward_features(images)
    assert features.shape[:2] == (2, network.num_features)
    logits = network(images)
    assert torch.equal(network.forward_head(features), logits)
    assert logits.shape == (2, network.num_classes)
    vector = network.forward_head(features, pre_logits=True)
    assert vector.shape == (2, network.head_hidden_size)
    assert torch.equal(network.get_classifier()(vector), logits)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_layout_on_cpus() -> None:
    """Features are channels-last, whatever the images are; `torch.vmap` goes through."""
    network, images = network_of("ProxylessNAS"), images_for("ProxylessNAS")
    backbone = network.features_only()
    for layout in (torch.contiguous_format, torch.channels_last):
        given = images.contiguous(memory_format=layout)
        maps = [network.forward_features(given), *backbone(given)]
        assert all(each.is_contiguous(memory_format=torch.channels_last) for each in maps)
    each_alone = torch.vmap(lambda image: network(image[None])[0])(images)
    torch.testing.assert_close(each_alone, network(images))


@each_space
def test_reset_classifier(name: str) -> None:
    """Another number of classes replaces the classifier and nothing else."""
    network, images = network_of(name), images_for(name)
    before = {k: v.clone() for k, v in network.state_dict().items() if "classifier" not in k}
    network.reset_classifier(7)
    assert network.num_classes == 7
    assert network(images).shape == (2, 7)
    after = network.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert {key for key in after if key not in before} <= {"classifier.weight", "classifier.bias"}
    assert all(parameter.requires_grad for parameter in network.parameters())


@each_space
def test_zero_classes(name: str) -> None:
    """0 classes give the vector before the classifier, by setting and by resetting."""
    images = images_for(name)
    network = network_of(name)
    vector = network.forward_head(network.forward_features(images), pre_logits=True)
    network.reset_classifier(0)
    assert isinstance(network.get_classifier(), nn.Identity)
    assert torch.equal(network(images), vector)
    built = network_of(name, num_classes=0)
    assert built(images).shape == vector.shape
    assert not any("classifier" in key for key in built.state_dict())


@each_space
@pytest.mark.parametrize("wrong", [-1, True, 1.5, "10", None, 10**9])
def test_reset_classifier_refuses(name: str, wrong: Any) -> None:
    """A number of classes is an integer from 0 to a million; the network stays as it was."""
    network = network_of(name)
    with pytest.raises(InvalidArgument, match=r"num_classes=.*from 0 to 1,000,000"):
        network.reset_classifier(wrong)
    assert network.num_classes == 5 and network(images_for(name)).shape == (2, 5)


@each_space
def test_reset_classifier_keeps_dtype_and_device(name: str) -> None:
    """The new classifier is where the network is, and of its type."""
    network = network_of(name).double()
    network.reset_classifier(3)
    assert network.get_classifier().weight.dtype == torch.float64
    assert network(images_for(name).double()).dtype == torch.float64
    network.to("meta").reset_classifier(4)
    assert network.get_classifier().weight.is_meta


# --- feature maps ------------------------------------------------------------------------------


@each_space
def test_feature_info_is_true(name: str) -> None:
    """Channels, reduction and module name of every feature map, checked by running."""
    network, images = network_of(name), images_for(name)
    backbone = network.features_only()
    maps = backbone(images)
    assert len(maps) == len(network.feature_info) == len(backbone.feature_info) > 1
    for feature_map, info in zip(maps, network.feature_info, strict=True):
        side = SMALL[name].image_size / info["reduction"]
        assert feature_map.shape[:2] == (2, info["num_chs"]), info
        # A stem without padding loses a border; everything else is exact.
        assert all(side - 1 <= length <= side for length in feature_map.shape[2:]), info
    reductions = [info["reduction"] for info in network.feature_info]
    # One map of every resolution, or as in timm's transformers every layer's of the only one.
    assert reductions == sorted(set(reductions)) or len(set(reductions)) == 1
    for feature_map, tapped in zip(maps, tap_modules(network, images), strict=True):
        if tapped.ndim == 3:  # tokens, the first of which is the class token
            tapped = tapped[:, 1:].transpose(1, 2).unflatten(2, feature_map.shape[2:])
        assert torch.equal(feature_map, tapped)


def tap_modules(network: Network, images: Tensor) -> list[Tensor]:
    """Return the outputs of the modules that `feature_info` names, by hooks."""
    seen: dict[str, Tensor] = {}
    names = [info["module"] for info in network.feature_info]
    hooks = [
        network.get_submodule(name).register_forward_hook(
            # A stage of cells hands on its last two outputs; the later one is its map.
            lambda _module, _inputs, out, name=name: seen.update(
                {name: (out[-1] if isinstance(out, tuple) else out).clone()}
            )
        )
        for name in names
    ]
    network(images)
    for hook in hooks:
        hook.remove()
    return [seen[name] for name in names]


@each_space
def test_features_of_some_indices(name: str) -> None:
    """Indices may be negative, in any order, repeated; later stages are then left out."""
    network, images = network_of(name), images_for(name)
    every = network.features_only()(images)
    last = len(every) - 1
    for indices in ([0], [-1], [0, -1], [last, 0], (1,), [-len(every)], [0, 0]):
        backbone = network.features_only(indices)
        maps = backbone(images)
        assert len(maps) == len(indices)
        for index, feature_map in zip(indices, maps, strict=True):
            assert torch.equal(feature_map, every[index])
        assert [info["num_chs"] for info in backbone.feature_info] == [m.shape[1] for m in maps]
    few = sum(p.numel() for p in network.features_only([0]).parameters())
    assert few < sum(p.numel() for p in network.features_only().parameters())


@each_space
def test_features_share_the_parameters(name: str) -> None:
    """A backbone is a view of the network: training one trains the other; it pickles alone."""
    network = network_of(name)
    backbone = network.features_only()
    theirs = {parameter.data_ptr() for parameter in network.parameters()}
    assert {parameter.data_ptr() for parameter in backbone.parameters()} <= theirs
    assert not any("classifier" in key for key in backbone.state_dict())


@each_space
@pytest.mark.parametrize("wrong", [[99], [-99], [], [1.5], ["1"], [True], 3, "01", [None]])
def test_features_refuses(name: str, wrong: Any) -> None:
    """Indices outside the list of feature maps, and what is no list of indices."""
    with pytest.raises(InvalidArgument, match="out_indices"):
        network_of(name).features_only(wrong)


def test_describe_features_keeps_the_last_of_each_resolution() -> None:
    """Two stages of one resolution give one map: the later."""
    described = describe_features([(16, 2), (24, 4), (32, 4), (64, 8)], stem=(8, 2))
    assert [(d["num_chs"], d["reduction"], d["module"]) for d in described] == [
        (16, 2, "stages.0"),
        (32, 4, "stages.2"),
        (64, 8, "stages.3"),
    ]


# --- training ----------------------------------------------------------------------------------


@each_space
@pytest.mark.parametrize("coarse", [True, False])
def test_group_matcher(name: str, coarse: bool) -> None:
    """timm puts every parameter in one group, in the order of depth, the classifier last."""
    from timm.models import group_parameters

    network = network_of(name)
    groups = group_parameters(network, network.group_matcher(coarse=coarse))
    numbers = {key: number for number, keys in groups.items() for key in keys}
    assert set(numbers) == {key for key, _ in network.named_parameters()}
    assert all(numbers[key] == 0 for key in numbers if key.startswith("stem."))
    last = max(numbers.values())
    assert {key for key in numbers if numbers[key] == last} >= {"classifier.weight"}
    by_stage: dict[int, set[int]] = {}
    for key, number in numbers.items():
        if key.startswith("stages."):
            by_stage.setdefault(int(key.split(".")[1]), set()).add(number)
    for stage, following in itertools.pairwise(sorted(by_stage)):
        assert max(by_stage[stage]) < min(by_stage[following])
    if coarse:
        assert all(len(numbers) == 1 for numbers in by_stage.values())


@each_space
def test_layer_decay(name: str) -> None:
    """timm's optimizers give earlier layers a smaller rate, and biases and norms no decay."""
    from timm.optim import create_optimizer_v2

    network = network_of(name)
    optimizer = create_optimizer_v2(
        network, opt="adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.7
    )
    scale_of = {
        id(parameter): (group["lr_scale"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    parameters = dict(network.named_parameters())
    assert set(scale_of) == {id(parameter) for parameter in parameters.values()}
    stem = next(parameter for key, parameter in parameters.items() if key.startswith("stem."))
    assert scale_of[id(network.classifier.weight)] == (1.0, 0.05)
    assert scale_of[id(stem)][0] == min(scale for scale, _ in scale_of.values()) < 0.7
    for key, parameter in parameters.items():
        undecayed = parameter.ndim < 2 or key in network.no_weight_decay()
        assert (scale_of[id(parameter)][1] == 0.0) is undecayed, key


@each_space
def test_gradient_checkpointing(name: str) -> None:
    """It changes memory and nothing else: same loss, same gradients, same running statistics."""
    results = []
    for enable in (False, True):
        network = network_of(name).train()
        network.set_grad_checkpointing(enable)
        torch.manual_seed(1)
        loss = network(images_for(name, 4)).square().sum()
        loss.backward()
        gradients = {k: p.grad for k, p in network.named_parameters() if p.grad is not None}
        results.append((loss.detach(), gradients, dict(network.named_buffers())))
    (loss, gradients, buffers), (other_loss, other_gradients, other_buffers) = results
    assert torch.equal(loss, other_loss)
    assert gradients.keys() == other_gradients.keys()
    for key, gradient in gradients.items():
        torch.testing.assert_close(other_gradients[key], gradient, msg=key)
    for key, buffer in buffers.items():
        torch.testing.assert_close(other_buffers[key], buffer, msg=key)


@each_space
def test_gradient_checkpointing_saves_memory(name: str) -> None:
    """Fewer activations are kept for the backward pass."""
    kept = []
    for enable in (False, True):
        network = network_of(name).train()
        network.set_grad_checkpointing(enable)
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, sizes=sizes: (sizes.append(tensor.numel()), tensor)[1], lambda t: t
        ):
            network(images_for(name, 4))
        kept.append(sum(sizes))
    assert kept[1] < 0.7 * kept[0]


@each_space
def test_dropout_only_in_training(name: str) -> None:
    """Evaluation ignores dropout; training with it is random."""
    if not has_setting(small_space(name), "dropout"):
        pytest.skip(f"{name} has no dropout")
    plain, dropped = network_of(name, dropout=0.0), network_of(name, dropout=0.9)
    images = images_for(name)
    assert torch.equal(plain(images), dropped(images))
    features = dropped.forward_features(images)
    dropped.train()
    assert not torch.equal(dropped.forward_head(features), dropped.forward_head(features))


@each_space
def test_drop_path_only_in_training(name: str) -> None:
    """Evaluation ignores stochastic depth; training with it is random; keys stay the same."""
    if not has_setting(small_space(name), "drop_path"):
        pytest.skip(f"{name} has no drop_path")
    images = images_for(name, 8)
    for seed in range(20):
        torch.manual_seed(0)
        plain = sampled_network(small_space(name, drop_path=0.0), seed)
        torch.manual_seed(0)
        dropped = sampled_network(small_space(name, drop_path=0.9), seed)
        assert torch.equal(plain(images), dropped(images))
        assert plain.state_dict().keys() == dropped.state_dict().keys()
        dropped.train()
        if not torch.equal(dropped.forward_features(images), dropped.forward_features(images)):
            return
    pytest.fail("no architecture of twenty dropped a path in training")


# --- building without memory -------------------------------------------------------------------


@each_space
def test_empty_parameters_hold_nothing(name: str) -> None:
    """Inside, every parameter and persistent buffer is a meta tensor, and no number is drawn."""
    space = small_space(name)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    with EmptyParameters():
        empty = space.build(space.sample(Random(3)))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    assert all(parameter.is_meta for parameter in empty.parameters())
    real = network_of(name)
    assert {k: (v.shape, v.dtype) for k, v in empty.state_dict().items()} == {
        k: (v.shape, v.dtype) for k, v in real.state_dict().items()
    }


@each_space
def test_empty_parameters_can_be_filled(name: str) -> None:
    """With tensors assigned, the network computes what one built with them computes."""
    space = small_space(name)
    real = network_of(name)
    with EmptyParameters():
        empty = space.build(space.sample(Random(3)))
    empty.load_state_dict(real.state_dict(), assign=True)
    assert not any(t.is_meta for t in (*empty.parameters(), *empty.buffers()))
    images = images_for(name)
    assert torch.equal(empty.eval()(images), real(images))


def test_empty_parameters_end_with_the_block() -> None:
    """Afterwards, also after an exception, tensors are real again; explicit devices always are."""
    with EmptyParameters():
        assert torch.empty(3).is_meta
        assert torch.zeros(3, device="cpu").device.type == "cpu"
    assert not torch.empty(3).is_meta
    with pytest.raises(RuntimeError, match="on purpose"), EmptyParameters():
        raise RuntimeError("on purpose")
    assert not nn.Linear(2, 2).weight.is_meta


def test_empty_parameters_are_of_one_thread() -> None:
    """Another thread that builds at the same time gets real weights."""
    built: list[nn.Module] = []
    with EmptyParameters():
        other = threading.Thread(target=lambda: built.append(nn.Linear(2, 2)))
        other.start()
        other.join()
        assert nn.Linear(2, 2).weight.is_meta
    assert not built[0].weight.is_meta


@each_space
def test_copied_layers_are_as_if_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer copied from one made before has the same structure, numbers and later draws."""
    space = small_space(name)
    architecture = space.sample(Random(3))

    def build() -> tuple[Network, Tensor]:
        torch.manual_seed(5)
        return space.build(architecture), torch.random.get_rng_state()

    space.build(architecture)  # from here on there is something to copy
    copied, state = build()
    for module in (autoformer, cells, conv, nasbench201):
        monkeypatch.setattr(module, "make_or_copy", lambda make, *args, **kw: make(*args, **kw))
    made, expected_state = build()
    assert repr(copied) == repr(made)
    assert torch.equal(state, expected_state)
    for ours, expected in zip(copied.modules(), made.modules(), strict=True):
        assert vars(ours).keys() == vars(expected).keys()
    for (key, value), (expected_key, expected_value) in zip(
        copied.state_dict().items(), made.state_dict().items(), strict=True
    ):
        assert key == expected_key
        assert torch.equal(value, expected_value), key


def test_copied_layers_share_nothing() -> None:
    """Two places of one kind of layer have hooks, parameters and statistics of their own."""
    layer, twin = (make_or_copy(nn.BatchNorm2d, 3, momentum=0.5) for _ in range(2))
    layer.register_forward_hook(lambda *_: torch.zeros(1))
    layer(torch.randn(4, 3, 5, 5))
    assert not twin._forward_hooks
    assert not make_or_copy(nn.BatchNorm2d, 3, momentum=0.5)._forward_hooks
    assert torch.equal(twin.running_mean, torch.zeros(3))  # type: ignore[arg-type]
    assert layer.weight is not twin.weight


@pytest.mark.parametrize("name", sorted(SMALL.keys() - {"AutoformerSpace"}))
def test_convolutions_start_he_normal(name: str) -> None:
    """Every convolution, timm's too, has the spread of He's fan-out rule and no bias."""
    torch.manual_seed(0)
    space = small_space(name)
    convolutions = [
        module
        for seed in range(5)
        for module in sampled_network(space, seed).modules()
        if isinstance(module, nn.Conv2d)
    ]
    assert convolutions
    for layer in convolutions:
        assert layer.bias is None or not layer.bias.any()
        fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels / layer.groups
        weight = layer.weight.detach() * (fan_out / 2) ** 0.5
        if weight.numel() > 200:
            assert weight.std().item() == pytest.approx(1, abs=0.25)
            assert weight.abs().max() > 2  # PyTorch's own start is uniform and ends before
