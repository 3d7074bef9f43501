"""An evaluation that was killed gives the answers of one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from tests.two_processes import run_two_processes
from zoo.errors import DatasetError, InvalidArgument
from zoo.evaluation import state
from zoo.evaluation.accuracy import classify
from zoo.evaluation.answers import Answers
from zoo.evaluation.state import find_network_digest
from zoo.records import Preprocessing

SAMPLES = 101


class Noise(Dataset):
    """Random images; `broken` is one that cannot be read, `seconds` what reading one takes."""

    def __init__(self, broken: int | None = None, seconds: float = 0.0) -> None:
        self.broken, self.seconds = broken, seconds
        self.read: list[int] = []
        self.targets = [(7 * index) % 6 for index in range(SAMPLES)]

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index == self.broken:
            raise DatasetError("a disk failed")
        time.sleep(self.seconds)
        self.read.append(index)
        random = torch.Generator().manual_seed(index)
        return torch.randn(3, 4, 4, generator=random), self.targets[index]


class Linear(nn.Module):
    """Logits that are a fixed function of the mean of each channel."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 6, generator=torch.manual_seed(seed)))

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3)) @ self.weight


def run(images: Noise, path: Path | None, batch_size: int = 8) -> list[Answers]:
    return classify(
        [(Linear(0), None), (Linear(1), None)],
        images,
        batch_size=batch_size,
        workers=0,
        state_path=path,
    )


def check_same(found: list[Answers], expected: list[Answers]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.targets, other.targets)
        assert torch.equal(one.predictions, other.predictions)


KILLED = """
import sys
from pathlib import Path
from tests.evaluation.test_resume import Noise, run
run(Noise(seconds=0.02), Path(sys.argv[1]))
"""


def test_killed_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "new" / "answers.state"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], env=environment) as running:
        deadline = time.monotonic() + 60
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)  # into a later batch
        running.send_signal(signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL
    images = Noise()
    check_same(run(images, path), run(Noise(), None))
    first = images.read[0]
    assert first % 8 == 0 and 8 <= first < SAMPLES
    assert images.read == list(range(first, SAMPLES))
    assert not list(path.parent.iterdir())


def test_goes_on_with_another_batch_size(tmp_path: Path) -> None:
    path = tmp_path / "answers.state"
    with pytest.raises(DatasetError):
        run(Noise(broken=50), path)
    images = Noise()
    check_same(run(images, path, batch_size=7), run(Noise(), None))
    assert images.read == list(range(48, SAMPLES))


def test_progress_goes_on_and_speed_is_that_of_the_last_run(tmp_path: Path) -> None:
    path = tmp_path / "answers.state"
    with pytest.raises(DatasetError):
        run(Noise(broken=99), path)
    seen: list[tuple[int, int]] = []
    candidates = [(Linear(0), None), (Linear(1), None)]
    common = {"batch_size": 3, "workers": 0, "state_path": path}
    found = classify(candidates, Noise(seconds=0.1), progress=lambda *at: seen.append(at), **common)
    assert seen == [(99, SAMPLES), (SAMPLES, SAMPLES)]
    assert 1 < found[0].images_per_second < 10


TWO = """
import json, os, sys
from pathlib import Path
from tests.evaluation.test_resume import Noise, run
from zoo.errors import DatasetError
path, broken = Path(sys.argv[1]), int(sys.argv[2])
images = Noise(broken=broken if broken >= 0 else None)
try:
    found = [[each.targets.tolist(), each.predictions.tolist()] for each in run(images, path)]
except (DatasetError, RuntimeError):  # the other process sees a closed connection
    os._exit(0)
name = f"{path}.{os.environ['RANK']}.json"
Path(name).write_text(json.dumps([found, images.read]))
"""


def test_one_process_goes_on_where_two_were_and_the_other_way_round(tmp_path: Path) -> None:
    whole = run(Noise(), None)
    script = tmp_path / "script.py"
    script.write_text(TWO)
    path = tmp_path / "answers.state"
    # Image 50 is in the fourth batch of process 0; the third is the last that both finished.
    run_two_processes(str(script), str(path), "50")
    images = Noise()
    check_same(run(images, path), whole)
    assert images.read == list(range(48, SAMPLES))
    with pytest.raises(DatasetError):
        run(Noise(broken=50), path)
    run_two_processes(str(script), str(path), "-1")
    expected = [[each.targets.tolist(), each.predictions.tolist()] for each in whole]
    for rank in (0, 1):
        found, read = json.loads(Path(f"{path}.{rank}.json").read_text())
        assert found == expected
        assert read == list(range(48 + rank, SAMPLES, 2))
    assert not path.exists()


def test_states_of_other_evaluations_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "answers.state"
    with pytest.raises(DatasetError):
        run(Noise(broken=50), path)
    content = path.read_bytes()
    others = Noise()
    others.targets = others.targets[::-1]
    with pytest.raises(InvalidArgument, match=r"answers\.state .*differs in data\. Delete it"):
        run(others, path)
    same = {"workers": 0, "state_path": path}
    linear, images = Linear(1), Noise()
    with pytest.raises(InvalidArgument, match=r"differs in networks\."):
        classify([(Linear(0), None), (Linear(2), None)], images, **same)
    with pytest.raises(InvalidArgument, match=r"differs in networks, preprocessing\."):
        classify([(Linear(0), None)], images, **same)
    with pytest.raises(InvalidArgument, match=r"differs in preprocessing\."):
        shifted = (linear, Preprocessing(resize=4, crop=4))
        classify([(Linear(0), None), shifted], images, **same)
    with pytest.raises(InvalidArgument, match=r"differs in classes\."):
        classify([(Linear(0), None), (linear, None)], images, classes=(0, 1, 2), **same)
    monkeypatch.setattr(state.importlib.metadata, "version", lambda name: "0.1")
    with pytest.raises(InvalidArgument, match=r"differs in versions\."):
        run(images, path)
    assert path.read_bytes() == content


def test_damaged_states_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.state"
    with pytest.raises(DatasetError):
        run(Noise(broken=50), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InvalidArgument, match="damaged or no state of an evaluation"):
        run(Noise(), path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InvalidArgument, match="damaged or no state of an evaluation"):
        run(Noise(), path)


def test_a_state_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgument, match="cannot be written"):
        run(Noise(), tmp_path / "file" / "answers.state")


def test_network_digest_sees_every_number_and_module() -> None:
    digest = find_network_digest(Linear(0))
    assert digest == find_network_digest(Linear(0))
    changed = Linear(0)
    with torch.no_grad():
        changed.weight[2, 5] += 1e-6
    assert digest != find_network_digest(changed)
    assert find_network_digest(nn.Sequential(nn.ReLU())) != find_network_digest(
        nn.Sequential(nn.ReLU6())
    )
    norm = nn.BatchNorm2d(4).to(torch.bfloat16)  # a state with a number that has no dimensions
    assert find_network_digest(norm) != find_network_digest(nn.BatchNorm2d(4))
