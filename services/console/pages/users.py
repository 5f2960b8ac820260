"""Who may use the console and the command line, with which rights."""

from typing import Any

from sqlalchemy import select
from starlette.responses import Response

from services.console.downloads import download
from services.console.routing import Page
from services.console.visits import Visit
from shared.db.actors import ROLES
from shared.db.console_sessions import end_sessions
from shared.db.tables import users
from shared.db.user_commands import change_user, create_user, load_user, lock_user, set_password
from shared.errors import InvalidInput, Refused

_FIELDS = ("name", "display_name", "email", "role")
#: Where a rule of the domain stands in the form.
_PLACES = {
    "user, name": "name",
    "user, display name": "display_name",
    "user, e-mail": "email",
    "user, role": "role",
    "password": "password",
}


async def show_users(visit: Visit) -> Response:
    """Every user by name."""
    u = users.c
    has_password = u.password_hash.is_not(None).label("has_password")
    columns = (u.id, u.name, u.display_name, u.email, u.role, has_password, u.locked_at)
    async with visit.database.read() as connection:
        found = list((await connection.execute(select(*columns).order_by(u.name_folded))).mappings())
    return visit.render("users.html", users=found)


async def export_users(visit: Visit) -> Response:
    """The users as a workbook."""
    return await download(visit, "users")


async def show_new(visit: Visit) -> Response:
    """The form for a new user."""
    return _form(visit, None, {"name": "", "display_name": "", "email": "", "role": "view"}, {})


async def take_new(visit: Visit) -> Response:
    """A new user, with a password where one is given."""
    given = _given(visit)
    password = str(visit.form.get("password", ""))
    try:
        await create_user(visit.database, **given, author=visit.author, now=visit.now)
    except InvalidInput as exc:
        return _form(visit, None, given, _errors(visit, exc))
    if not password:
        return visit.go("/settings/users", "%(name)s is created, without a password.", name=given["name"])
    try:
        await set_password(visit.database, given["name"], password, author=visit.author, now=visit.now)
    except InvalidInput:
        return visit.go(
            "/settings/users",
            "%(name)s is created, but without a password: it must have 12 to 1024 characters.",
            name=given["name"],
        )
    return visit.go("/settings/users", "%(name)s is created and may sign in.", name=given["name"])


async def show_user(visit: Visit) -> Response:
    """A user's fields and password, to be changed."""
    user = await _user(visit)
    return _form(visit, user, user, {})


async def take_user(visit: Visit) -> Response:
    """Another display name, address or role; another role ends the user's sessions."""
    user, given = await _user(visit), _given(visit)
    if user["id"] == visit.signed_in.user_id and given["role"] != user["role"]:
        error = visit.text("You cannot change your own role; another administrator can.")
        return _form(visit, user, {**user, **given}, {"role": error})
    fields = {key: value for key, value in given.items() if key != "name"}
    try:
        await change_user(visit.database, user["id"], **fields, author=visit.author, now=visit.now, shown=_shown(visit))
    except InvalidInput as exc:
        # As it was shown at first: what the form is compared with when it comes again.
        return _form(visit, user | _shown(visit), {**user, **fields}, _errors(visit, exc))
    except Refused as exc:
        return _form(visit, user, user, {"display_name": visit.refusal(exc)})
    return visit.go("/settings/users", "%(name)s is saved.", name=user["name"])


async def take_password(visit: Visit) -> Response:
    """Another password for a user, whose sessions end."""
    user = await _user(visit)
    try:
        await set_password(
            visit.database, user["name"], str(visit.form.get("password", "")), author=visit.author, now=visit.now
        )
    except InvalidInput as exc:
        return _form(visit, user, user, _errors(visit, exc))
    own = visit.signed_in
    async with visit.database.begin() as connection:
        await end_sessions(connection, user["id"], but=own.token_hash if own.user_id == user["id"] else None)
    return visit.go("/settings/users", "%(name)s has a new password; all other sessions have ended.", name=user["name"])


async def take_lock(visit: Visit) -> Response:
    """Lets a user act no more, or again."""
    user, is_locked = await _user(visit), visit.field("lock") == "1"
    await lock_user(visit.database, user["id"], is_locked=is_locked, author=visit.author, now=visit.now)
    said = "%(name)s is locked; all their sessions have ended." if is_locked else "%(name)s may sign in again."
    return visit.go("/settings/users", said, name=user["name"])


async def _user(visit: Visit) -> dict[str, Any]:
    async with visit.database.read() as connection:
        return dict(await load_user(connection, visit.path("id")))


def _given(visit: Visit) -> dict[str, Any]:
    given: dict[str, Any] = {name: visit.field(name) for name in _FIELDS}
    return {**given, "email": given["email"] or None}


def _shown(visit: Visit) -> dict[str, Any]:
    """The fields as the page showed them."""
    return {name: visit.field(f"was_{name}") or None for name in ("display_name", "email", "role")}


def _errors(visit: Visit, exc: InvalidInput) -> dict[str, str]:
    return {_PLACES.get(exc.place, "name"): visit.refusal(exc)}


def _form(visit: Visit, user: dict[str, Any] | None, values: dict[str, Any], errors: dict[str, str]) -> Response:
    status = 422 if errors else 200
    return visit.render("users_form.html", status, user=user, values=values, errors=errors, roles=ROLES)


PAGES = (
    Page("/settings/users", show_users, "view"),
    Page("/settings/users.xlsx", export_users, "view"),
    Page("/settings/users/new", show_new, "admin"),
    Page("/settings/users/new", take_new, "admin", ("POST",)),
    Page("/settings/users/{id:int}", show_user, "admin"),
    Page("/settings/users/{id:int}", take_user, "admin", ("POST",)),
    Page("/settings/users/{id:int}/password", take_password, "admin", ("POST",)),
    Page("/settings/users/{id:int}/lock", take_lock, "admin", ("POST",)),
)
