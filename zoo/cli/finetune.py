"""`zoo finetune`: train a searched model on images."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from zoo.cli.output import percent
from zoo.errors import InvalidArgument, suggest
from zoo.finetuning.named import finetune
from zoo.finetuning.recipe import Recipe


@click.command()
@click.argument("name")
@click.argument("data")
@click.option("--val", help="Validation images; without it, a part of each class is held out.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for results.")
@click.option("--new-name", help="Name of the trained model.")
@click.option("--from-scratch", is_flag=True, help="Start from random weights.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Start from this file.")
@click.option("--recipe", type=click.Path(exists=True, path_type=Path), help="Recipe as JSON.")
@click.option("--epochs", type=int)
@click.option("--batch-size", type=int)
@click.option("--lr", type=float)
@click.option("--seed", type=int)
@click.option("--freeze-backbone", is_flag=True, default=None, help="Train the classifier only.")
@click.option("--head-only-epochs", type=int, help="Train only the classifier at first.")
@click.option("--mixed-precision", type=click.Choice(["no", "bf16", "fp16"]))
@click.option("--patience", type=int, help="Stop after so many epochs without improvement.")
@click.option("--set", "assignments", multiple=True, metavar="FIELD=VALUE", help="Recipe field.")
@click.option("--drop-path", type=float, help="Stochastic depth, where the space has it.")
@click.option("--check", is_flag=True, help="Decode every image first; list unreadable ones.")
@click.option("--no-resume", is_flag=True, help="Start over in an existing folder.")
def command(
    name: str,
    data: str,
    val: str | None,
    out: Path,
    new_name: str | None,
    from_scratch: bool,
    checkpoint: Path | None,
    recipe: Path | None,
    assignments: tuple[str, ...],
    drop_path: float | None,
    check: bool,
    no_resume: bool,
    **fields: Any,
) -> None:
    """Train the model NAME on the images in DATA; a killed run goes on when called again.

    DATA is a folder of class folders, a .tar of class folders, or a name that
    timm's data sets know. Several processes share each batch under
    `torchrun --nproc_per_node 2 -m zoo.cli.main finetune …` or `accelerate launch`.
    """
    options: dict[str, Any] = {} if drop_path is None else {"drop_path": drop_path}
    if checkpoint is not None:
        options["checkpoint"] = checkpoint
    tuned = finetune(
        name,
        data,
        val,
        out_dir=out,
        recipe=read_recipe(recipe, fields, assignments),
        from_scratch=from_scratch,
        new_name=new_name,
        command=shlex.join(["zoo", *sys.argv[1:]]),
        resume=not no_resume,
        progress=click.echo,
        check_images=check,
        **options,
    )
    if tuned.result.is_main_process:
        best = tuned.result.best
        click.secho(tuned.name, bold=True, nl=False)
        click.echo(
            f": top-1 {percent(best.top1_percent)} of {best.samples} validation images "
            f"(epoch {tuned.result.best_epoch})\n"
            f"load it by name: ZOO_MANIFESTS={tuned.manifest} zoo verify {tuned.name}"
        )


def read_recipe(path: Path | None, fields: dict[str, Any], assignments: tuple[str, ...]) -> Recipe:
    """Return the recipe of a file with fields replaced, checked.

    Raises:
        InvalidArgument: an unknown field, or a value out of range.
    """
    values = {} if path is None else json.loads(path.read_text("utf-8"))
    values |= {field: value for field, value in fields.items() if value is not None}
    for assignment in assignments:
        field, separator, value = assignment.partition("=")
        if field not in Recipe.__struct_fields__:
            raise InvalidArgument(
                f"--set {assignment}: a recipe has no field {field!r}."
                f"{suggest(field, Recipe.__struct_fields__)} "
                f"Fields: {', '.join(Recipe.__struct_fields__)}."
            )
        if not separator:
            raise InvalidArgument(f"--set {assignment}: expected {field}=VALUE")
        values[field] = _read_value(value)
    try:
        return msgspec.convert(values, Recipe)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"recipe: {error}") from None


def _read_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
