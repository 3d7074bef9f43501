"""Row "same top-1 as eager": optimised float32 networks on every image of a data set."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

import zoo
from speed_of.inference import OPTIMISED
from speed_of.measuring import Measured
from zoo.errors import FetchError
from zoo.evaluation.datasets import open_images
from zoo.evaluation.images import ImageClasses
from zoo.optimizing.backends import EAGER, installed_runtimes
from zoo.preprocessing import build_transform

LOG = logging.getLogger("zoo.benchmarks")

ROW = "same top-1 as eager"
# Networks of one image size each; those whose weights are neither cached nor in ZOO_MIRRORS
# are left out: random weights have no top-1 worth the name.
NETWORKS = ("mobilenetv3-large-100", "nasnet-a-large", "proxyless-mobile", "proxyless-w0.3")


def measure(data: Path, networks: Sequence[str] = NETWORKS) -> Iterator[Measured]:
    """Yield the share of images with the same top-1, for each backend that is installed."""
    images = open_images(data)
    assert isinstance(images, ImageClasses), "a folder or a tar of class folders"
    for name in networks:
        try:
            network = zoo.load_searched_model(name, offline=True)
        except FetchError as error:
            LOG.warning("%s: no weights at hand, left out: %s", name, str(error).split("\n")[0])
            continue
        transform = build_transform(network.preprocessing)
        example = torch.stack([transform(image) for image, _ in images])
        for backend in (EAGER, *(runtime.name for runtime in installed_runtimes())):
            # Without its limits: they are what is measured.
            proof = zoo.optimize(
                network, example, backend, tolerance=math.inf, min_agreement=0.0
            ).proof
            column = f"{OPTIMISED}: {backend}"
            share = (proof.top1_agreement,)
            yield Measured(ROW, name, column, "share", share, proof.describe())
