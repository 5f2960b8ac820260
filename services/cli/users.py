"""`kontaktpflege user`: who may act, with which rights."""

import sys

import typer

from services.cli.context import Desk, at_desk
from services.cli.output import JSON_OPTION, print_json, print_table
from shared.db.named_records import find_named
from shared.db.tables import users
from shared.db.user_commands import create_user, list_users, lock_user, set_password
from shared.errors import NotFound

app = typer.Typer(no_args_is_help=True, help="Users and their rights: view < operate < edit < admin.")
NAME = typer.Argument(help="Login name.")


@app.command("list")
def list_all(as_json: bool = JSON_OPTION) -> None:
    """Every user with role and address."""

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            found = await list_users(connection)
        if as_json:
            print_json(found)
        else:
            columns = tuple(found[0]) if found else ("name",)
            print_table(f"{len(found)} users", columns, (user.values() for user in found))

    at_desk("view", work)


@app.command("create")
def create(
    name: str = NAME,
    display_name: str = typer.Option(..., "--display-name", help="As letters show the name."),
    email: str | None = typer.Option(None, "--email", help="Address, for letters sent in this user's name."),
    role: str = typer.Option("view", "--role", help="view, operate, edit or admin; each includes the ones before."),
) -> None:
    """Create a user. Give a password with `user password`."""

    async def work(desk: Desk) -> None:
        await create_user(
            desk.database,
            name,
            display_name=display_name,
            email=email,
            role=role,
            author=desk.actor.name,
            now=desk.now,
        )
        typer.echo(f"{name}: created, role {role}")

    at_desk("admin", work)


@app.command("password")
def password(
    name: str = NAME,
    from_stdin: bool = typer.Option(False, "--stdin", help="Read it from standard input instead of asking."),
) -> None:
    """Set a user's password; it is asked for, and never part of a command line."""

    async def work(desk: Desk) -> None:
        given = sys.stdin.readline().rstrip("\n") if from_stdin else _asked()
        await set_password(desk.database, name, given, author=desk.actor.name, now=desk.now)
        typer.echo(f"{name}: password set")

    at_desk("admin", work)


@app.command("lock")
def lock(name: str = NAME) -> None:
    """Let a user act no more: no sign-in, and every session ends at once. What they did keeps their name."""
    _lock(name, is_locked=True)


@app.command("unlock")
def unlock(name: str = NAME) -> None:
    """Let a locked user act again."""
    _lock(name, is_locked=False)


def _lock(name: str, *, is_locked: bool) -> None:
    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            user = await find_named(connection, users, name)
        if user is None:
            raise NotFound("user", name)
        await lock_user(desk.database, user["id"], is_locked=is_locked, author=desk.actor.name, now=desk.now)
        typer.echo(f"{user['name']}: {'locked' if is_locked else 'unlocked'}")

    at_desk("admin", work)


def _asked() -> str:
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
