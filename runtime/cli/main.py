"""The command ``inferry``: finds the subcommand, runs it, turns errors into exit codes.

Subcommands are imported only when they are called, so that ``inferry --help`` answers at once; what
each does is in the file of its name.

    exit 0   done
    exit 1   refused or failed: one line on stderr
    exit 2   usage: not a command line that means something
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import traceback
from typing import NoReturn

import click

from runtime.cli.command_line import command_line
from runtime.cli.text import one_line

COMMANDS = {
    "activity": (
        "runtime.cli.activity:activity",
        "See what takes long, follow it, cancel it, begin it again.",
    ),
    "audit": ("runtime.cli.audit:audit", "See who changed what through the service."),
    "backup": ("runtime.cli.backup:backup", "Back up the workspace while it is in use."),
    "bench": ("runtime.cli.bench:bench", "Test a deployment or server under load."),
    "datastore": (
        "runtime.cli.datastore:datastore",
        "Name places for files, and move files to and from them.",
    ),
    "deploy": ("runtime.cli.deploy:deploy", "Run an image as a web service with a stable URL."),
    "deployment": (
        "runtime.cli.deployment:deployment",
        "See deployments, change them, go back, and take them down.",
    ),
    "edge": ("runtime.cli.edge:edge", "Run modules on devices, and hear from them."),
    "experiment": (
        "runtime.cli.experiment:experiment",
        "See experiments, which runs belong to.",
    ),
    "fpga": ("runtime.cli.fpga:fpga", "Compile models for an FPGA, and try them without one."),
    "image": ("runtime.cli.image:image", "Package models with a script, and keep the packages."),
    "init": ("runtime.cli.init:init", "Make a workspace."),
    "login": ("runtime.cli.login:login", "Keep a token for the service at URL."),
    "logout": ("runtime.cli.login:logout", "Forget the token for URL."),
    "model": ("runtime.cli.model:model", "Register models and look after them."),
    "pipeline": (
        "runtime.cli.pipeline:pipeline",
        "Run pipelines: train, register, package, deploy, unattended.",
    ),
    "purge": ("runtime.cli.purge:purge", "Free the space of files that nothing uses any more."),
    "registry": (
        "runtime.cli.registry:registry",
        "Serve the workspace's images to docker, podman, skopeo and devices.",
    ),
    "restore": ("runtime.cli.backup:restore", "Make a new workspace from a backup."),
    "run": (
        "runtime.cli.run:run",
        "Submit runs and see them: what was trained, how it went, and what it made.",
    ),
    "score": (
        "runtime.cli.score:score",
        "Send data to a scoring server or deployment and print the answer.",
    ),
    "serve": ("runtime.cli.serve:serve", "Serve a model or image behind POST /score."),
    "target": ("runtime.cli.target:target", "Name the places where deployments and scripts run."),
    "up": ("runtime.cli.up:up", "Keep the deployments of a workspace as they are declared."),
    "whoami": ("runtime.cli.login:whoami", "Say whom the service of the workspace takes you for."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and help, and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted as --help shows them."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in --help, from the table above: no import."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version  # 20 ms that no other command pays

        click.echo(f"inferry {version('inferry')}")
        ctx.exit()


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and leave.",
)
def cli() -> None:
    """Ferries machine-learning models to where they infer.

    Start with: inferry init, inferry model register, inferry serve."""


def main() -> NoReturn:
    """The entry point of the command ``inferry``."""
    # A file name may hold bytes that are no text; printing it must not fail.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(args: list[str]) -> int:
    """Runs one command line; returns the exit code and raises nothing."""
    try:
        with command_line(args):
            result = cli.main(args=args, prog_name="inferry", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted")
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Python would complain at exit, so give it nowhere
        # to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _report(error)
    return result if isinstance(result, int) else 0


def _report(error: Exception) -> int:
    if os.environ.get("INFERRY_DEBUG") == "1":
        traceback.print_exc()
        return 1
    if _is_expected(error):
        return _fail(str(error))
    if isinstance(error, OverflowError) and "SQLite" in str(error):
        return _fail(f"a number is too large; there are numbers to {2**63 - 1}")
    return _fail(
        f"internal error: {type(error).__name__}: {error} (set INFERRY_DEBUG=1 for the traceback)"
    )


def _is_expected(error: Exception) -> bool:
    """Whether the message is meant for the user. Imports here: --help loads no registry."""
    from edge.errors import EdgeError
    from fpga.errors import FpgaError
    from registry.errors import RegistryError
    from runtime.errors import InferryError
    from scoring.errors import ScoringError

    known = (InferryError, RegistryError, EdgeError, FpgaError, ScoringError, OSError)
    return isinstance(error, known)


def _fail(message: str) -> int:
    click.echo(f"inferry: {one_line(message)}", err=True)
    return 1


if __name__ == "__main__":
    main()
