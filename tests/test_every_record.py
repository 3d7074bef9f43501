"""Every record as a backbone and as a picture; the cheapest of each space in the default run."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import torch

from tests.optimizing.records import RECORDS, cheapest_of_each_space, each_record
from zoo import load_searched_model
from zoo.drawing import write_dot, write_svg
from zoo.layers.empty import EmptyParameters
from zoo.manifest import find_entry, read_architecture
from zoo.registry import find_space


@each_record(quick=cheapest_of_each_space())
def test_feature_info(name: str) -> None:
    """Channels and reduction of every map are those of the maps, at the published size."""
    size = RECORDS[name].preprocessing.crop
    with EmptyParameters():
        network = load_searched_model(name, pretrained=False).eval()
    with torch.no_grad():
        maps = network.features_only()(torch.empty(1, network.in_chans, size, size, device="meta"))
    for features, info in zip(maps, network.feature_info, strict=True):
        assert features.shape[1] == info["num_chs"]
        # A stem without padding loses a border, and an odd side is rounded.
        assert all(abs(side - size / info["reduction"]) <= 1 for side in features.shape[2:]), info
    assert maps[-1].shape[1] == network.features_only([-1]).feature_info[0]["num_chs"]


@each_record(quick=cheapest_of_each_space())
def test_drawing(name: str) -> None:
    """Well-formed SVG with the title of every part, and a DOT graph for each."""
    entry = find_entry(name)
    space = find_space(entry.record.space).from_settings(entry.record.settings)
    diagram = space.diagram(read_architecture(entry))
    texts = {element.text for element in ElementTree.fromstring(write_svg(diagram)).iter()}
    assert {part.title for part in diagram} <= texts
    assert len(re.findall("^digraph", write_dot(diagram), flags=re.MULTILINE)) == len(diagram)
