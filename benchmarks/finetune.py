"""What pretrained searched weights buy on other images, against images seen.

Three models, two data sets, four ways: fine-tuned; the same network from scratch; the same
pretrained network trained by timm's loaders, optimizer and schedule; and a timm network of about
the same size from scratch, by timm too. Same images, augmentation, batch size, epochs and seeds.

`python benchmarks/finetune.py imagenet1k-sample/val.tar --out mine/finetune`; what the file of an
earlier call has is not measured again. The committed result is `results/finetune.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tarfile
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import timm
import torch
from environment import write_result
from finetune_digits import write_digits
from PIL import Image
from timm.models.resnet import BasicBlock, ResNet
from timm_training import train_with_timm
from torch import nn

import zoo
from zoo.finetuning.recipe import Recipe
from zoo.manifest import find_entry
from zoo.networks.cost import count_parameters

RECIPE = Recipe(
    epochs=8, batch_size=64, lr=2e-3, crop="resized", crop_scale=(0.5, 1.0), workers=1,
    warmup_epochs=1.0,
)  # fmt: skip
WAYS = ("fine-tuned", "from scratch", "fine-tuned by timm", "timm network from scratch")
SHORTER_SIDE = 256
FIRST_THING = 398  # ImageNet's classes in the order of their ids: animals come first


def main() -> None:
    """Run everything; write JSON and a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("imagenet", type=Path, help="A tar of ImageNet class folders.")
    parser.add_argument("--models", nargs="+", default=sorted(RIVALS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, help="Without suffix; .json and .png are added.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # sums do not depend on the number of cores then
    file = arguments.out and arguments.out.with_suffix(".json")
    runs = read_runs(file) if file and file.exists() else []
    with tempfile.TemporaryDirectory() as folder:
        data = {"digits": Path(folder, "digits"), "animals": Path(folder, "animals")}
        write_digits(data["digits"])
        write_animals(arguments.imagenet, data["animals"])
        facts = describe(data)
        for seed in range(arguments.seeds):
            for model, name, way in product(arguments.models, data, WAYS):
                run = {"model": model, "data": name, "seed": seed, "way": way}
                if any(run.items() <= done.items() for done in runs):
                    continue
                top1 = train(model, way, data[name], msgspec.structs.replace(RECIPE, seed=seed))
                print(f"{model} {name} seed {seed} {way}: {top1[-1]:.2f} %", flush=True)
                runs.append({**run, "top1": top1})
                # What a stopped benchmark has measured, it does not measure again.
                write_result(file, {**facts, **summarise(runs)}, echo=False)
    write_result(file, {**facts, **summarise(runs)})
    if arguments.out:
        draw(runs, facts["training_images"], arguments.out.with_suffix(".png"))


def read_runs(file: Path) -> list[dict[str, Any]]:
    """Return what an earlier call has measured."""
    stored = json.loads(file.read_bytes())
    if msgspec.convert(stored["recipe"], Recipe) != RECIPE:
        sys.exit(f"{file}: made with another recipe; choose another --out")
    return stored["runs"]


def describe(data: dict[str, Path]) -> dict[str, Any]:
    """Return what all runs have in common."""

    def count(split: str) -> dict[str, int]:
        return {name: len(list(place.glob(f"{split}/*/*"))) for name, place in data.items()}

    return {
        "recipe": msgspec.to_builtins(RECIPE),
        "training_images": count("train"),
        "held_out_images": count("val"),
        "parameters": {
            model: {"zoo": find_entry(model).record.parameters, "timm": count_parameters(build())}
            for model, build in RIVALS.items()
        },
    }


def write_animals(tar: Path, root: Path) -> None:
    """Sort a sample of ImageNet into animals and things; two fifths of it are held out.

    Images are stored with a shorter side of 256 pixels: decoding is not what is compared.
    """
    with tarfile.open(tar) as archive:
        members = sorted((m for m in archive if m.isfile()), key=lambda member: member.name)
        classes = sorted({member.name.split("/")[-2] for member in members})
        for number, member in enumerate(members):
            thing = classes.index(member.name.split("/")[-2]) >= FIRST_THING
            split = "val" if number % 5 < 2 else "train"
            folder = root / split / ("thing" if thing else "animal")
            folder.mkdir(parents=True, exist_ok=True)
            image = Image.open(archive.extractfile(member)).convert("RGB")  # type: ignore[arg-type]
            scale = SHORTER_SIDE / min(image.size)
            stored = image.resize((round(scale * image.width), round(scale * image.height)))
            stored.save(folder / Path(member.name).with_suffix(".jpg").name, quality=95)


def small_resnet(num_classes: int = 10) -> nn.Module:
    """Return timm's ResNet with one block per stage, for images of 32 pixels."""
    block: Any = BasicBlock  # declared as an instance, meant as a class
    return ResNet(
        block, (1, 1, 1, 1), num_classes=num_classes, channels=(24, 48, 96, 144),
        stem_width=24, stem_type="deep", replace_stem_pool=True,
    )  # fmt: skip


def small_mobilenet(num_classes: int = 10) -> nn.Module:
    """Return timm's smallest MobileNetV3."""
    return timm.create_model("mobilenetv3_small_050", num_classes=num_classes)


# A timm network of about the size of each model, for the same input.
RIVALS: dict[str, Callable[..., nn.Module]] = {
    "proxyless-w0.3": small_mobilenet,
    "nb201-resnet-like-mini": small_resnet,
    "mobilenetv3-small-mini": small_resnet,
}


def train(model: str, way: str, data: Path, recipe: Recipe) -> list[float]:
    """Train one way; return top-1 percent on the held-out images after every epoch."""
    preprocessing = find_entry(model).preprocessing
    classes = len(list((data / "train").iterdir()))
    torch.manual_seed(recipe.seed)
    if way == "fine-tuned by timm":
        network = zoo.load_searched_model(model, num_classes=classes)
        return train_with_timm(network, data, preprocessing, recipe)
    if way == "timm network from scratch":
        return train_with_timm(RIVALS[model](num_classes=classes), data, preprocessing, recipe)
    with tempfile.TemporaryDirectory() as out:
        lines: list[str] = []
        zoo.finetune(
            model, data / "train", data / "val", out_dir=out, recipe=recipe, progress=lines.append,
            from_scratch=way == "from scratch",
        )  # fmt: skip
        rows = Path(out, "results.csv").read_text("utf-8").splitlines()
        column = rows[0].split(",").index("val_top1_percent")
        return [float(row.split(",")[column]) for row in rows[1:]]


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the runs, and the mean final top-1 of every model, data set and way."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    for model, data, way in dict.fromkeys((r["model"], r["data"], r["way"]) for r in runs):
        finals = [
            r["top1"][-1] for r in runs if (r["model"], r["data"], r["way"]) == (model, data, way)
        ]
        table.setdefault(model, {}).setdefault(data, {})[way] = round(statistics.fmean(finals), 2)
    return {"final_top1_percent": table, "runs": runs}


def draw(runs: list[dict[str, Any]], images: dict[str, int], path: Path) -> None:
    """Draw top-1 against images seen: a row per data set, a column per model."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(run["model"] for run in runs))
    figure = Figure(figsize=(4 * len(models), 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(images), len(models), squeeze=False)
    colours = dict(zip(WAYS, ("tab:blue", "tab:orange", "tab:green", "tab:red"), strict=True))
    for row, (data, count) in enumerate(images.items()):
        for column, model in enumerate(models):
            axis = axes[row][column]
            axis.set_title(f"{model}, {data}", fontsize=10)
            for way, colour in colours.items():
                found = [
                    r["top1"]
                    for r in runs
                    if (r["model"], r["data"], r["way"]) == (model, data, way)
                ]
                epochs = list(zip(*found, strict=True))
                seen = [count * (epoch + 1) for epoch in range(len(epochs))]
                axis.plot(seen, [statistics.fmean(e) for e in epochs], color=colour, label=way)
                axis.fill_between(
                    seen,
                    [min(e) for e in epochs],
                    [max(e) for e in epochs],
                    color=colour,
                    alpha=0.2,
                )
            axis.set_xlabel("images seen")
            axis.set_ylabel("top-1 (%)")
    axes[0][0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
