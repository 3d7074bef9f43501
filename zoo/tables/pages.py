"""Pages whose numbers are generated: what belongs into them, and what is there.

A page marks each generated block by two comments:

    <!-- table: NAME -->
    <!-- end table -->

What belongs between them is the Jinja template `docs/tables/NAME.md`; names are in lower case.
In a template, `result("speed/speed.json")` is a file of `benchmarks/results`, `rows` are those
of the model tables, and `| fixed(2)` writes a number with two decimals.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.errors import InvalidArgument, suggest
from zoo.evaluation.measured import wilson_interval_percent
from zoo.manifest import read_manifest
from zoo.tables.agreement import find_disagreements
from zoo.tables.columns import csv_text, full_tables, reproduced_table
from zoo.tables.measurement import read_measurements
from zoo.tables.rows import make_rows

RESULTS = "benchmarks/results"
TEMPLATES = "docs/tables"
PAGES = ("README.md", "docs/*.md", "benchmarks/README.md")

_BLOCK = re.compile(r"<!-- table: ([a-z0-9-]+) -->\n(.*?)<!-- end table -->", re.DOTALL)
_OPENING = re.compile(r"<!-- table: [a-z0-9-]+ -->")


def generate(root: Path) -> dict[Path, str]:
    """Return what the generated files of a checkout should contain.

    Raises:
        InvalidArgument: a page has a block without its end or template, or a template asks for
            a result that is not there.
        InvalidManifest: the manifest or a measurement breaks its schema.
    """
    rows = make_rows(
        read_manifest(root / "weights_manifest.json").models,
        read_measurements(root / RESULTS / "accuracy"),
    )
    render = _renderer(root, rows)
    pages = [path for pattern in PAGES for path in sorted(root.glob(pattern))]
    files = {path: fill_blocks(path, render) for path in pages}
    return {**files, root / RESULTS / "results.csv": csv_text(rows)}


def find_drift(root: Path) -> list[str]:
    """Return one sentence for each number in a checkout that is not what it should be.

    Raises:
        InvalidArgument, InvalidManifest: as `generate`.
    """
    problems = find_disagreements(
        read_manifest(root / "weights_manifest.json").models,
        read_measurements(root / RESULTS / "accuracy"),
    )
    for path, expected in generate(root).items():
        if not path.exists() or path.read_text("utf-8") != expected:
            problems.append(f"{path.relative_to(root)}: out of date. Run `zoo table --write`.")
    return problems


def fill_blocks(path: Path, render: Callable[[str], str]) -> str:
    """Return the text of a page with every generated block renewed."""
    text = path.read_text("utf-8")
    if len(_OPENING.findall(text)) != len(_BLOCK.findall(text)):
        raise InvalidArgument(f"{path}: a `<!-- table: … -->` lacks its `<!-- end table -->`")

    def renew(block: re.Match[str]) -> str:
        name = block.group(1)
        return f"<!-- table: {name} -->\n\n{render(name).strip()}\n\n<!-- end table -->"

    return _BLOCK.sub(renew, text)


def _renderer(root: Path, rows: Any) -> Callable[[str], str]:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

    environment = Environment(
        loader=FileSystemLoader(root / TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown, from our own data
    )
    environment.filters["fixed"] = _fixed
    environment.globals |= {
        "rows": rows,
        "result": functools.partial(_read_result, root / RESULTS),
        "reproduced_table": reproduced_table,
        "full_tables": full_tables,
        "wilson_interval_percent": wilson_interval_percent,
    }

    def render(name: str) -> str:
        try:
            return environment.get_template(f"{name}.md").render()
        except TemplateError as error:
            raise InvalidArgument(
                f"{TEMPLATES}/{name}.md: {type(error).__name__}: {error}"
            ) from error

    return render


def _read_result(folder: Path, name: str) -> Any:
    path = folder / name
    if not path.is_file():
        known = [str(p.relative_to(folder)) for p in folder.rglob("*.json")]
        raise InvalidArgument(f"{folder} has no {name}.{suggest(name, known)}")
    return json.loads(path.read_bytes())


def _fixed(value: float, digits: int, *, sign: bool = False) -> str:
    return f"{value:{'+' if sign else ''}.{digits}f}"
