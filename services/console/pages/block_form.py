"""The fields of a block, wherever one stands: reason, how far it reaches, until which day (D32)."""

from dataclasses import dataclass
from datetime import date

from services.console.visits import Visit
from shared.db.order_commands import block
from shared.errors import InvalidInput, KontaktpflegeError

SCOPES = ("job", "letter", "all")


@dataclass(frozen=True, slots=True)
class BlockForm:
    """What was filled in; `errors` by field."""

    reason: str
    scope: str
    until: date | None
    errors: dict[str, str]


def read_block(visit: Visit, today: date, scope: str = "") -> BlockForm:
    """The block that a form describes; `scope` where the form leaves it out."""
    reason, scope, text = visit.field("reason"), visit.field("scope", scope), visit.field("until")
    errors, until = {}, None
    if not reason:
        errors["reason"] = visit.text("Say why; it is shown with the letter.")
    if scope not in SCOPES:
        errors["scope"] = visit.text("Choose how far the block reaches.")
    if text and scope != "all":
        # Dropped in silence it would last for ever.
        errors["until"] = visit.text("A day can be given with all jobs only.")
    elif text:
        try:
            until = date.fromisoformat(text)
        except ValueError:
            errors["until"] = visit.text("must be a date")
        else:
            if until < today:
                errors["until"] = visit.text("This day has passed.")
    return BlockForm(reason, scope, until, errors)


async def block_one(visit: Visit, order_id: int, form: BlockForm) -> str:
    """Blocks one order as the form says; the answer, or why it was refused."""
    try:
        return await block(
            visit.database,
            order_id,
            scope=form.scope,
            reason=form.reason,
            until=form.until,
            now=visit.now,
            author=visit.author,
        )
    except KontaktpflegeError as exc:
        return exc.fix if isinstance(exc, InvalidInput) else str(exc)
