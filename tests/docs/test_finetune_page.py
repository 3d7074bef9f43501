"""docs/finetune.md, run line by line in an empty folder, with fewer images and epochs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import zoo

PAGE = Path(__file__).parents[2] / "docs" / "finetune.md"
SMALLER = {"COUNT = 1797": "COUNT = 210", "--epochs 3": "--epochs 1", "--epochs 2": "--epochs 1"}


def blocks() -> list[tuple[str, str]]:
    """Return (language, text) of every block that names a language."""
    text = PAGE.read_text("utf-8")
    for usual, smaller in SMALLER.items():
        assert usual in text
        text = text.replace(usual, smaller)
    return re.findall(r"^```(sh|python)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_every_line_works(tmp_path: Path) -> None:
    """One shell runs the whole page and stops at the first error."""
    lines = ["set -euo pipefail", f'zoo() {{ "{sys.executable}" -m zoo.cli.main "$@"; }}']
    for number, (language, text) in enumerate(blocks()):
        if language == "sh":
            lines.append(text)
        else:
            (tmp_path / f"{number}.py").write_text(text, "utf-8")
            lines.append(f'"{sys.executable}" {number}.py')
    environment = {
        **os.environ,
        "ZOO_HOME": str(tmp_path / "cache"),
        "ZOO_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(zoo.__file__).parents[1]),
    }
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "within" in done.stdout and "nb201-resnet-like-mini-digits" in done.stdout
    for run in ("digits", "head", "scratch", "python"):
        assert (tmp_path / "runs" / run / "manifest.json").exists()
