"""The manifest beside the catalogue of published models: nothing is left out without a reason.

The catalogue is not part of the project; without the shared material these tests skip.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.shared_material import SHARED, read_catalog
from zoo.manifest import find_records

RECORDS = dict(find_records())

_FOLDER = "its file lies in a Drive folder, which has no link to the file"
# Published weights of a network that a space contains, and why they cannot be fetched.
NOT_FETCHED = {
    **{f"sgas-cri{n}-{dataset}": _FOLDER for n in (1, 2) for dataset in ("cifar", "imagenet")},
    **{f"noisydarts-{letter}": _FOLDER for letter in "abcdefghij"},
}

_DETNAS = "neither the head nor the keys of its classification network are in its repository"
_CDARTS = "six and five cells are published, and which of them the repository's genotype is, is not"
_MDENAS = "one archive holds the files of all its models, and no link leads to one of them"
_WAKE_WORDS = "its configuration is served by the host of the weights alone and could not be read"
# Published weights of which the catalogue does not say whether a space contains the network.
UNDECIDED = {
    "alphax-1": "a pickled module: reading it would execute code",
    "cdarts-a": "its configuration lies in a Drive folder",
    "cdarts-b": "its configuration lies in a Drive folder",
    "cdarts-cifar": _CDARTS,
    "cdarts-imagenet": _CDARTS,
    "detnas-coco-fpn-300m": _DETNAS,
    "detnas-coco-retinanet-300m": _DETNAS,
    "mcunet-vww0": _WAKE_WORDS,
    "mcunet-vww1": _WAKE_WORDS,
    "mcunet-vww2": _WAKE_WORDS,
    "mdenas-darts-cifar": _MDENAS,
    "mdenas-darts-imagenet": _MDENAS,
    "nsganetv2-imagenet": "its configurations lie in Drive folders",
    "spos-mmrazor": "another network: blocks that widen halve their output evenly, channels are "
    "shuffled behind a block, the classifier has a bias",
}


def published(loadable: bool | None) -> Iterator[str]:
    """Yield the names that have public weights and about which the catalogue says this."""
    for name, record in read_catalog().items():
        if record["has_public_weights"] and record["loadable_in_nni_space"] is loadable:
            yield name


@pytest.mark.parametrize(("loadable", "exceptions"), [(True, NOT_FETCHED), (None, UNDECIDED)])
def test_published_weights_have_a_record(loadable: bool | None, exceptions: dict[str, str]) -> None:
    """Every one of them, and every exception is one."""
    missing = {name for name in published(loadable) if not has_weights(name)}
    assert missing == set(exceptions)


def test_weights_that_cannot_be_fetched_are_described() -> None:
    """The record is there all the same, and says where they lie."""
    for name in NOT_FETCHED:
        assert RECORDS[name].weights == ()
        assert read_catalog()[name]["sources"][0]["id_or_url"] in RECORDS[name].notes


def has_weights(name: str) -> bool:
    """Return whether the manifest has the model with weights."""
    return name in RECORDS and bool(RECORDS[name].weights)


def both() -> list[str]:
    """Return the names that catalogue and manifest share."""
    if not SHARED.is_dir():
        return []
    return sorted(set(read_catalog()) & set(RECORDS))


each_name = pytest.mark.parametrize(
    "name", both() or [pytest.param("", marks=pytest.mark.skip(f"no {SHARED}: set ZOO_SHARED"))]
)


@each_name
def test_parameters(name: str) -> None:
    """Those of the catalogue, rounded or cut off as it gives them, or the record says why not."""
    catalogued, record = read_catalog()[name], RECORDS[name]
    exact, rounded = catalogued["params_computed"], catalogued["params_m"]
    if exact is not None and exact != record.parameters and "parameters" not in record.notes:
        assert exact - record.parameters == bias_that_is_not_there(record.settings)
    if rounded is not None and "parameters" not in record.notes:
        digits = len(str(rounded).partition(".")[2])
        assert abs(record.parameters / 1e6 - rounded) < 10**-digits


def bias_that_is_not_there(settings: dict[str, Any]) -> int:
    """Return the size of the bias that Once-for-All networks lack and the catalogue counted."""
    assert settings["hidden_bias"] is False
    return settings["base_widths"][-1]


@each_name
def test_macs(name: str) -> None:
    """Within one percent of the published figure, or the record says why not."""
    published_millions, record = read_catalog()[name]["macs_m"], RECORDS[name]
    if published_millions is None:
        pytest.skip("no figure was published")
    apart = abs(record.macs / 1e6 / published_millions - 1)
    assert apart <= 0.01 or "multiply-accumulates" in record.notes


def test_sources_of_the_catalogue_are_kept() -> None:
    """Every PyTorch file that it names by an address is in the manifest, if its model is."""
    ours = {s for record in RECORDS.values() for w in record.weights for s in w.sources}
    ours |= {source.rpartition("/")[0] for source in ours}  # the repositories of hubs
    left_out = [
        (name, source["id_or_url"])
        for name in filter(has_weights, both())
        for source in read_catalog()[name]["sources"]
        if source["kind"] in ("hf", "url") and not source["id_or_url"].endswith(("gz", ")"))
        and source["id_or_url"] not in ours
        and f"hf://{source['id_or_url']}" not in ours
    ]  # fmt: skip
    assert left_out == []


def test_nni_users_find_every_checkpoint() -> None:
    """Each file that NNI's hub offers is a source of the record of the same name."""
    of_nni = {
        (name, source["id_or_url"])
        for name, record in read_catalog().items()
        for source in record["sources"]
        if "nni.blob.core.windows.net" in source["id_or_url"]
    }
    ours = {
        (name, source)
        for name, record in RECORDS.items()
        for weights in record.weights
        if weights.format == "nni"
        for source in weights.sources
    }
    assert len(of_nni) == 24 and of_nni == ours
