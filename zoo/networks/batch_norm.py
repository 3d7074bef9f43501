"""BatchNorm statistics measured anew, for networks cut out of a supernet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

from zoo.errors import InvalidArgument

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def recalibrate(network: AnyModule, batches: Iterable[Tensor]) -> AnyModule:
    """Give every BatchNorm the statistics of these images, and return the network.

    Weights stay as they are; the new statistics share no memory with a supernet.

    Args:
        batches: Images as for training, in batches large enough for a variance; about two
            thousand images are usual. A loader's (images, targets) pairs are taken apart.

    Raises:
        InvalidArgument: there is no batch, or no BatchNorm.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        raise InvalidArgument("recalibrate: the network has no BatchNorm")
    training, momenta = network.training, [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        assert norm.running_mean is not None and norm.running_var is not None
        assert norm.num_batches_tracked is not None
        norm.running_mean = torch.zeros_like(norm.running_mean)
        norm.running_var = torch.ones_like(norm.running_var)
        norm.num_batches_tracked = torch.zeros_like(norm.num_batches_tracked)
        norm.momentum = None  # the plain average of all batches
        norm.train()
    count = 0
    like = next(network.parameters())
    with torch.no_grad():
        for batch in batches:
            images = batch[0] if isinstance(batch, (tuple, list)) else batch
            network(images.to(like.device, like.dtype))
            count += 1
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.train(training)
    if count == 0:
        raise InvalidArgument("recalibrate: no batch of images: the statistics are now unset")
    return network
