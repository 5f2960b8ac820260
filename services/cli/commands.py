"""The commands by name. What a command needs is imported when it is asked for: `--help` must not wait for all of it."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup


class _Command(NamedTuple):
    """Where a command is found, as 'module:function' or 'module:app' of a group, and its line in `--help`."""

    place: str
    summary: str


COMMANDS: Mapping[str, _Command] = {
    "run": _Command("running:run", "Run services until SIGTERM or Ctrl-C."),
    "migrate": _Command("running:migrate", "Bring the database to the newest schema."),
    "queues": _Command("running:queues", "Depth of every queue, what waits, which services live."),
    "doctor": _Command("running:doctor", "Check database, broker, mail server and the rest."),
    "import": _Command("files:imports", "Bring in applications and contacts."),
    "apply": _Command("files:apply", "Create or update what a setup file names."),
    "export": _Command("files:export", "Write records to a file."),
    "query": _Command("queries:app", "Ask a saved query: who matches, how many, why."),
    "job": _Command("jobs:app", "Contact-care jobs: show, change, run, pause."),
    "order": _Command("orders:app", "The workcenter: list, show, create, block, retry, settle."),
    "letter": _Command("letters:app", "Form letters: placeholders, list, show."),
    "attachment": _Command("letters:attachments", "Files that letters bring along."),
    "person": _Command("people:app", "Persons: show, opt out and in, block and unblock."),
    "user": _Command("users:app", "Users and their rights."),
    "simulate": _Command("simulate:simulation", "The coming days on a virtual clock: who would get which letter."),
    "duplicates": _Command("chores:duplicates", "Assign applications to persons by the keys in force."),
    "reduce": _Command("chores:reduce", "Reduce to core data what is due; --dry-run says what would go."),
    "mailbox": _Command("mailbox:app", "Mails that come back: take one from a mail server."),
    "hold": _Command("hold:app", "After a restored backup: why nothing is sent, release it."),
    "audit": _Command("audit:app", "The history of all changes: verify that nobody has changed it."),
    "demo": _Command("demo:demo", "Show the product with its sample data."),
}


class LazyCommands(TyperGroup):
    """The group of all commands; shows its own help from the table alone."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Imports the command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].place.partition(":")
        found = getattr(import_module(f"services.cli.{module}"), name)
        holder = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
        if isinstance(found, typer.Typer):
            holder.add_typer(found, name=cmd_name)
        else:
            holder.command(cmd_name)(found)
        return typer.main.get_group(holder).commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the section of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in COMMANDS.items()])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As the group does, which offers the nearest name of those that it holds."""
        if args and args[0] not in COMMANDS:
            names: Any = dict.fromkeys(COMMANDS)
            self.commands = names
        return super().resolve_command(ctx, args)
