"""`zoo`: the group of subcommands, its logging and its exit codes, which its help text lists."""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any

import click

from zoo import __version__
from zoo.errors import FetchError, VerificationError, ZooError, suggest

COMMANDS = {
    "convert": "write a checkpoint of any known format as verified safetensors",
    "demo": "load, verify and try the embedded model",
    "draw": "write an architecture as a picture, SVG or DOT",
    "evaluate": "measure top-1 and top-5 accuracy, beside what was reported",
    "export": "write a model for ONNX, OpenVINO or torch.export, proved by running it back",
    "fetch": "download and verify weights without loading them",
    "finetune": "train a searched model on your images",
    "hash": "print size, digests and architecture hash of a file",
    "info": "show everything known about a model",
    "list": "list searched models, with filters",
    "predict": "classify images",
    "schema": "print the JSON Schema of a manifest",
    "table": "print reported and reproduced accuracy side by side",
    "verify": "check digest, keys and logits of a model",
}
INTERRUPTED = 130  # as shells have it: 128 and the number of the signal


class LazyGroup(click.Group):
    """A group whose subcommands live in `zoo.cli.<name>`, as `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, without importing anything."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand."""
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"zoo.cli.{cmd_name}").command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the subcommand that the arguments name; a typo gets a suggestion."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no command named {args[0]!r}.{suggest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a subcommand; turn the zoo's errors into a message and an exit code."""
        try:
            return super().invoke(ctx)
        except ZooError as error:
            click.secho("error: ", fg="red", bold=True, nl=False, err=True)
            click.echo(str(error), err=True)
            ctx.exit(exit_code(error))
        except KeyboardInterrupt:
            click.echo("\nstopped", err=True)
            ctx.exit(INTERRUPTED)


def exit_code(error: ZooError) -> int:
    """Return the exit code that belongs to an error."""
    if isinstance(error, VerificationError):
        return 1
    return 3 if isinstance(error, FetchError) else 2


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 an accuracy or a check did not hold, 2 wrong use, name or file, "
    f"3 no bytes arrived, {INTERRUPTED} stopped by Ctrl-C.",
)
@click.version_option(__version__, prog_name="zoo")
@click.option("-v", "--verbose", is_flag=True, help="Say which source served a file, and more.")
def main(verbose: bool) -> None:
    """A model zoo of searched architectures that people can trust."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger = logging.getLogger("zoo")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    logger.propagate = False


if __name__ == "__main__":
    main()
