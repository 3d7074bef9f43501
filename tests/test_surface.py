"""The public page: what is there, and what it costs to look at it."""

from __future__ import annotations

import ast
import importlib
import inspect
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zoo
from zoo import errors
from zoo.registry import SPACES

SOURCE = Path(zoo.__file__).read_text()
HEAVY = ("torch", "timm", "torchvision", "huggingface_hub", "accelerate", "numpy", "click", "PIL")


def imported_by(statement: str) -> set[str]:
    """Return the heavy packages that a fresh interpreter has loaded after a statement."""
    code = f"import sys\n{statement}\nprint(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def declared_for_readers() -> set[str]:
    """Return the names that type checkers and editors see, from the `TYPE_CHECKING` block."""
    block = next(node for node in ast.parse(SOURCE).body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert all(alias.asname == alias.name for node in imports for alias in node.names)
    return {alias.name for node in imports for alias in node.names}


def test_all_names_are_there() -> None:
    """`__all__`, `dir(zoo)` and what type checkers see are the same names, and each works."""
    assert set(zoo.__all__) == {"__version__", *declared_for_readers()}
    assert dir(zoo) == sorted(zoo.__all__)
    assert len(set(zoo.__all__)) == len(zoo.__all__)
    for name in zoo.__all__:
        assert getattr(zoo, name) is not None


def test_no_other_public_names() -> None:
    """Nothing public is in the namespace that is not on the page, but submodules."""
    public = {name for name in vars(zoo) if not name.startswith("_")}
    submodules = {name for name in public if inspect.ismodule(getattr(zoo, name))}
    language = {"annotations", "importlib", "TYPE_CHECKING", "Any"}
    assert public - submodules - language <= set(zoo.__all__)
    assert all(getattr(zoo, name).__name__.startswith("zoo.") for name in submodules - language)


def test_every_space_is_on_the_page() -> None:
    """Each search space is a class of the page, under its own name."""
    for name, module in SPACES.items():
        space = getattr(zoo, name)
        assert space.__name__ == name and space.__module__ == module
        assert issubclass(space, zoo.SearchSpace)


def test_names_are_what_they_are_at_home() -> None:
    """A lazy name is the object of its module, each time it is asked for."""
    from zoo.checkpoints.load import load_checkpoint
    from zoo.manifest import add_manifest
    from zoo.registry import list_models

    assert zoo.list_models is list_models and zoo.list_models is zoo.list_models
    assert zoo.load_checkpoint is load_checkpoint
    assert zoo.add_manifest is add_manifest
    assert zoo.errors is errors is importlib.import_module("zoo.errors")


def test_unknown_name() -> None:
    """A name that is not there is an AttributeError, as Python expects."""
    missing = "ProxylesNAS"
    with pytest.raises(AttributeError, match="module 'zoo' has no attribute 'ProxylesNAS'"):
        getattr(zoo, missing)
    assert not hasattr(zoo, "no_such_name")
    with pytest.raises(ImportError):
        exec("from zoo import ProxylesNAS")


def test_star_import() -> None:
    """`from zoo import *` gives the page."""
    namespace: dict[str, Any] = {}
    exec("from zoo import *", namespace)
    assert set(zoo.__all__) <= set(namespace)


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import zoo", set()),
        ("import zoo; zoo.__all__, dir(zoo), zoo.__version__", set()),
        ("from zoo import errors", set()),
        ("from zoo import list_models; list_models()", set()),
        ("from zoo import model_info; model_info('proxyless-cpu')", set()),
        ("import zoo.cli.main", {"click"}),
        ("from zoo import ProxylessNAS, NasBench201", {"torch", "numpy"}),
        (
            "from zoo import ProxylessNAS as P; P.load_searched_model('proxyless-cpu', False)",
            {"torch", "numpy"},
        ),
    ],
)
def test_imports_are_cheap(statement: str, allowed: set[str]) -> None:
    """Nothing heavy is imported before it is needed."""
    assert imported_by(statement) <= allowed


@pytest.mark.parametrize("rng", [0, None, random, np.random.default_rng(0)])
def test_other_sources_of_random_numbers_are_refused(rng: Any) -> None:
    """numpy's generators draw without an error, and what they draw is no architecture."""
    space = zoo.NasBench201()
    for draw in (space.sample, lambda rng: space.mutate(space.sample(random.Random(0)), rng)):
        with pytest.raises(errors.InvalidArgument, match=r"rng: expected a random\.Random, got"):
            draw(rng)


def test_errors_are_a_tree() -> None:
    """Every error is a ZooError, is drawn in the tree, and survives pickling."""
    drawn = set(errors.__doc__.replace("│", " ").split()) if errors.__doc__ else set()
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    kinds = [kind for kind in kinds if issubclass(kind, Exception)]
    assert len(kinds) > 20
    for kind in kinds:
        assert issubclass(kind, errors.ZooError)
        assert kind.__name__ in drawn
        assert kind.__doc__
        raised = pickle.loads(pickle.dumps(kind("a message")))
        assert type(raised) is kind
        # KeyError would print its message in quotes.
        assert str(raised) == "a message"
    assert issubclass(errors.UnknownModel, LookupError)
    assert issubclass(errors.InvalidArgument, ValueError)
    assert issubclass(errors.InvalidArchitecture, ValueError)
