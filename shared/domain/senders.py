"""Who a letter comes from (D6): the application's recruiter, a user, or a fixed address."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.domain.mail_addresses import split_sender
from shared.domain.placeholders import Sender
from shared.domain.text import fold


@dataclass(frozen=True, slots=True)
class User:
    """A user as a letter shows it."""

    name: str
    display_name: str
    email: str | None


def resolve_sender(
    wishes: tuple[str | None, ...], recruiter: str | None, users: Mapping[str, User], system_sender: str
) -> Sender:
    """The first of the wishes (job's sender, its fallback) that names somebody with an address, else the system's."""
    for wish in wishes:
        found = _resolved(wish, recruiter, users) if wish else None
        if found:
            return found
    return Sender(*split_sender(system_sender))


def _resolved(wish: str, recruiter: str | None, users: Mapping[str, User]) -> Sender | None:
    if wish == "recruiter" or wish.startswith("user:"):
        name = recruiter if wish == "recruiter" else wish.removeprefix("user:")
        user = users.get(fold(name)) if name else None
        return Sender(user.display_name, user.email) if user and user.email else None
    return Sender(*split_sender(wish.removeprefix("address:")))
