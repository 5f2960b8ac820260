"""The command tree and how failures reach the operator: one line on stderr, exit 1; usage errors exit 2."""

import logging
import os
import sys

import typer

from services.cli import demo, files, jobs, orders, queries, running
from shared.errors import KontaktpflegeError
from shared.logs import configure_logging
from shared.settings import load_settings

HELP = """Automated, considerate contact care for the people who apply for jobs.

A contact-care job is a saved applicant query, a form letter and a schedule. `apply` sets jobs up, `import` brings
applications and contacts, `run` starts the services, `job`, `order` and `query` show and steer what they do.

Exit codes: 0 done, 1 refused or failed (the reason is on stderr), 2 usage.
"""


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="kontaktpflege",
        help=HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(
        as_user: str = typer.Option("", "--as", metavar="USER", help="Act as this user (default KP_USER)."),
    ) -> None:
        if as_user:
            os.environ["KP_USER"] = as_user

    running.add_to(app)
    files.add_to(app)
    app.add_typer(queries.app, name="query")
    app.add_typer(jobs.app, name="job")
    app.add_typer(orders.app, name="order")
    demo.add_to(app)
    return app


def main() -> None:
    """Entry point of `kontaktpflege` and `python -m services`."""
    try:
        settings = load_settings()
        configure_logging(settings.kp_log_level, settings.kp_log_format == "json")
        build()()
    except KontaktpflegeError as exc:
        typer.echo(f"kontaktpflege: {exc}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as exc:
        if logging.getLogger().isEnabledFor(logging.DEBUG) or os.environ.get("KP_LOG_LEVEL") == "debug":
            raise
        typer.echo(f"kontaktpflege: unexpected {type(exc).__name__}: {exc} (KP_LOG_LEVEL=debug shows where)", err=True)
        sys.exit(1)
