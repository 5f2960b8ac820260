"""The command tree and how failures reach the operator: one line on stderr, exit 1; usage errors exit 2."""

import logging
import os
import sys
from importlib.metadata import version

import typer

from services.cli.commands import LazyCommands
from shared.errors import KontaktpflegeError

HELP = """Automated, considerate contact care for the people who apply for jobs.

A contact-care job is a saved applicant query, a form letter and a schedule. `apply` sets jobs up, `import` brings
applications and contacts, `run` starts the services, `job`, `order` and `query` show and steer what they do.

Exit codes: 0 done, 1 refused or failed (the reason is on stderr), 2 usage.
"""


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="kontaktpflege",
        cls=LazyCommands,
        help=HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(
        as_user: str = typer.Option("", "--as", metavar="USER", help="Act as this user (default KP_USER)."),
        _: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version and exit."),
    ) -> None:
        if as_user:
            os.environ["KP_USER"] = as_user
        _configure()

    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kontaktpflege {version('kontaktpflege')}")
        raise typer.Exit


def _configure() -> None:
    # Imported here: neither --help nor --version needs them, and both should answer at once.
    from shared.logs import configure_logging  # noqa: PLC0415
    from shared.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    configure_logging(settings.kp_log_level, settings.kp_log_format == "json")


def main() -> None:
    """Entry point of `kontaktpflege` and `python -m services`."""
    try:
        build()(prog_name="kontaktpflege")
    except KontaktpflegeError as exc:
        typer.echo(f"kontaktpflege: {exc}", err=True)
        sys.exit(_failed())
    except BrokenPipeError:
        sys.exit(1)
    except Exception as exc:
        if logging.getLogger().isEnabledFor(logging.DEBUG) or os.environ.get("KP_LOG_LEVEL") == "debug":
            raise
        typer.echo(f"kontaktpflege: unexpected {type(exc).__name__}: {exc} (KP_LOG_LEVEL=debug shows where)", err=True)
        sys.exit(_failed())


def _failed() -> int:
    """To a mail server 1 means: send the mail back. 75 (sysexits.h): keep it and try again."""
    return 75 if sys.argv[1:3] == ["mailbox", "deliver"] else 1
