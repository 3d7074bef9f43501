"""`zoo list`: names that pass the filters, as a table or JSON."""

from __future__ import annotations

import click

from zoo.cli.output import echo_json, echo_table, millions, percent
from zoo.registry import best_top1, list_models, model_info


@click.command()
@click.argument("pattern", default="*")
@click.option("--space", help="Only models of this search space.")
@click.option("--dataset", help="Only models for this data set, such as imagenet-1k.")
@click.option("--pretrained/--no-pretrained", default=None, help="Only with, or without, weights.")
@click.option("--max-macs", type=float, metavar="M", help="At most this many million MACs.")
@click.option("--max-params", type=float, metavar="M", help="At most this many million parameters.")
@click.option("--min-top1", type=float, metavar="%", help="At least this top-1 accuracy.")
@click.option("--license", "license_name", help="Only weights under this licence.")
@click.option("--sort", type=click.Choice(["name", "macs", "params", "top1"]), default="name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    pattern: str,
    space: str | None,
    dataset: str | None,
    pretrained: bool | None,
    max_macs: float | None,
    max_params: float | None,
    min_top1: float | None,
    license_name: str | None,
    sort: str,
    as_json: bool,
) -> None:
    """List searched models whose name matches PATTERN, such as 'proxyless-*'."""
    names = list_models(
        pattern,
        space=space,
        dataset=dataset,
        pretrained=pretrained,
        max_macs=None if max_macs is None else max_macs * 1e6,
        max_parameters=None if max_params is None else max_params * 1e6,
        min_top1=min_top1,
        license=license_name,
    )
    records = {name: model_info(name) for name in names}
    keys = {
        "macs": lambda item: item[1].macs,
        "params": lambda item: item[1].parameters,
        "top1": lambda item: -best_top1(item[1]),
    }
    if sort in keys:
        records = dict(sorted(records.items(), key=keys[sort]))
    if as_json:
        echo_json(records)
        return
    rows = [
        (
            name,
            record.space,
            record.dataset,
            millions(record.parameters),
            millions(record.macs),
            percent(best_top1(record) or None),
            "yes" if record.weights else "no",
        )
        for name, record in records.items()
    ]
    echo_table(("name", "space", "dataset", "params", "MACs", "top-1", "weights"), rows)
    click.echo(f"{len(rows)} models")
