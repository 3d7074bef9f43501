"""What fine-tuning the embedded model buys on a small data set of other images.

scikit-learn's 1,797 handwritten digits, written out as class folders, a third held
out: fine-tuned and from scratch with the same recipe and epochs; killed in the
middle and resumed; and under two launchers. All through the command line.
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from environment import write_result
from PIL import Image
from sklearn.datasets import load_digits

MODEL = "nb201-resnet-like-mini"
RECIPE = ("--epochs", "4", "--batch-size", "64", "--lr", "0.003", "--seed", "0")


def write_digits(root: Path) -> None:
    """Write the digits as PNG files, every third into `val`, the others into `train`."""
    images, targets = load_digits(return_X_y=True)
    for number, (pixels, target) in enumerate(zip(images, targets, strict=True)):
        folder = root / ("val" if number % 3 == 0 else "train") / str(target)
        folder.mkdir(parents=True, exist_ok=True)
        grey = (pixels.reshape(8, 8) * 255 / 16).astype("uint8")
        Image.fromarray(grey).resize((32, 32)).save(folder / f"{number:04}.png")


def command(data: Path, out: Path, *more: str, launcher: tuple[str, ...] = ()) -> list[str]:
    """Return the command line of one training."""
    start = launcher or (sys.executable, "-m", "zoo.cli.main")
    return [
        *start, "finetune", MODEL, str(data / "train"), "--val", str(data / "val"),
        "--out", str(out), "--new-name", "digits", *RECIPE, *more,
    ]  # fmt: skip


def run(arguments: list[str]) -> float:
    """Run to the end; return seconds."""
    started = time.monotonic()
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def kill_in_the_middle(arguments: list[str], out: Path) -> None:
    """Start, wait for the first finished epoch and a little more, kill without a warning."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, start_new_session=True)
    while not (out / "results.csv").exists() and process.poll() is None:
        time.sleep(0.2)
    time.sleep(2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def read_curve(out: Path) -> list[float]:
    """Return top-1 percent after each epoch."""
    with open(out / "results.csv", newline="") as file:
        return [float(row["val_top1_percent"]) for row in csv.DictReader(file)]


def main() -> None:
    """Run the five trainings one after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    # accelerate 1.15 starts one process where it is told --cpu; torchrun starts two.
    accelerate = (
        sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", "--cpu",
        "-m", "zoo.cli.main",
    )  # fmt: skip
    torchrun = (
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2",
        "-m", "zoo.cli.main",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_digits(root)
        outs = {
            name: root / name for name in ("tuned", "scratch", "killed", "accelerate", "torchrun")
        }
        seconds = {"tuned": run(command(root, outs["tuned"]))}
        seconds["scratch"] = run(command(root, outs["scratch"], "--from-scratch"))
        kill_in_the_middle(command(root, outs["killed"]), outs["killed"])
        survived = len(read_curve(outs["killed"]))
        run(command(root, outs["killed"]))
        seconds["accelerate"] = run(command(root, outs["accelerate"], launcher=accelerate))
        seconds["torchrun"] = run(command(root, outs["torchrun"], launcher=torchrun))
        curves = {name: read_curve(out) for name, out in outs.items()}
    write_result(
        arguments.out,
        {
            "command": f"zoo finetune {MODEL} train --val val {' '.join(RECIPE)}",
            "top1_percent_by_epoch": curves,
            "seconds": {name: round(value, 1) for name, value in seconds.items()},
            "epochs_before_the_kill": survived,
            "killed_equals_uninterrupted": curves["killed"] == curves["tuned"],
            "differs_from_one_process_by_points": {
                name: [round(a - b, 4) for a, b in zip(curves[name], curves["tuned"], strict=True)]
                for name in ("accelerate", "torchrun")
            },
        },
    )


if __name__ == "__main__":
    main()
