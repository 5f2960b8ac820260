"""From claimed orders to bytes: what the letters are written from, loaded in batches, composed one by one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from services.mailer.compose import MailHeaders, compose, message_id
from shared.db.letter_data import load_custom_fields, load_letter_version, load_users
from shared.db.system_settings import SystemSettings
from shared.db.write_orders.claims import ClaimedOrder
from shared.domain.letters import CompiledLetter, compile_letter, letter_context
from shared.domain.mail_addresses import split_sender
from shared.domain.senders import User, resolve_sender


@dataclass(frozen=True, slots=True)
class Writing:
    """Everything that a batch of letters is written from."""

    settings: SystemSettings
    users: Mapping[str, User]
    custom_fields: Mapping[int, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Mail:
    """A composed letter, ready to be handed over."""

    envelope_from: str
    recipient: str
    subject: str
    message_id: str
    content: bytes


class Letters:
    """Compiled letters, kept by version: versions never change."""

    def __init__(self, mail_domain: str | None) -> None:
        self._mail_domain = mail_domain
        self._compiled: dict[tuple[int, int], CompiledLetter] = {}

    async def prepare(
        self, connection: AsyncConnection, orders: Sequence[ClaimedOrder], settings: SystemSettings
    ) -> Writing:
        """Loads what these orders need beyond their claim."""
        for key in {(order.letter_id, order.letter_version) for order in orders} - self._compiled.keys():
            _, text = await load_letter_version(connection, *key)
            self._compiled[key] = compile_letter(text)
        names = {order.application["recruiter"] for order in orders if order.application["recruiter"]}
        wishes = {wish for order in orders for wish in (order.sender, order.sender_fallback) if wish}
        names |= {wish.removeprefix("user:") for wish in wishes if wish.startswith("user:")}
        custom = await load_custom_fields(connection, [order.application["id"] for order in orders])
        return Writing(settings, await load_users(connection, names), custom)

    def message_ids(self, settings: SystemSettings) -> Callable[[int], str]:
        """What makes Message-IDs under these settings."""
        domain = self._mail_domain or split_sender(settings.sender)[1].rpartition("@")[2]
        instance = UUID(settings.instance_id)
        return lambda order_id: message_id(instance, order_id, domain)

    def write(self, order: ClaimedOrder, writing: Writing) -> Mail:
        """Renders and composes one letter; the same order gives the same bytes on every attempt (I12)."""
        application = order.application
        recruiter = writing.users.get(application["recruiter_folded"] or "")
        sender = resolve_sender(
            (order.sender, order.sender_fallback), application["recruiter"], writing.users, writing.settings.sender
        )
        context = letter_context(
            application={**application, "custom": dict(writing.custom_fields.get(application["id"], {}))},
            recruiter=_as_mapping(recruiter),
            sender=sender,
            company_name=writing.settings.company,
            today=order.mail_date.astimezone(ZoneInfo(order.time_zone)).date(),
        )
        rendered = self._compiled[order.letter_id, order.letter_version].render(context)
        headers = MailHeaders(
            order_id=order.id,
            message_id=order.message_id,
            sender=sender,
            recipient=order.email,
            date=order.mail_date.astimezone(ZoneInfo(order.time_zone)),
        )
        return Mail(sender.email, order.email, rendered.subject, order.message_id, compose(rendered, headers))


def _as_mapping(user: User | None) -> dict[str, Any] | None:
    return {"name": user.name, "display_name": user.display_name, "email": user.email} if user else None
