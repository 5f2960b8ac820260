"""From claimed orders to bytes: what the letters are written from, loaded in batches, composed one by one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from services.mailer.compose import MailHeaders, Quoted, attachment_part, compose, message_ids, quoted_once
from services.mailer.signing import open_signing
from shared.db.letter_data import StoredLetter, load_custom_fields, load_letter_version, load_users
from shared.db.system_settings import SystemSettings
from shared.db.write_orders.claims import ClaimedOrder
from shared.domain.consent import CONSENT_LINKS
from shared.domain.letter_writing import LetterForms, Occasion, compile_forms, data_used, write_letter
from shared.domain.mail_addresses import split_sender
from shared.domain.return_paths import ReturnPaths
from shared.domain.senders import User
from shared.public_links import PublicLinks, public_links
from shared.records import record
from shared.settings import Settings

#: Signs a mail that is dated so.
Sign = Callable[[bytes, datetime], bytes]


@dataclass(frozen=True, slots=True)
class Writing:
    """Everything that a batch of letters is written from."""

    settings: SystemSettings
    users: Mapping[str, User]
    custom_fields: Mapping[int, Mapping[str, str]]


@record
class Mail:
    """A composed letter, ready to be handed over."""

    envelope_from: str
    recipient: str
    subject: str
    message_id: str
    content: bytes
    #: SHA-256, hexadecimal: evidence of what was handed over (D37).
    body_hash: str


@dataclass(frozen=True, slots=True)
class ReadyLetter:
    """One version of a letter, made ready once: its languages compiled, its attachments encoded."""

    forms: LetterForms
    attachments: tuple[bytes, ...]
    #: What all its mails have in common, as they carry it.
    quoted: Quoted


def make_ready(letter: StoredLetter) -> ReadyLetter:
    """Costs milliseconds; raises InvalidInput for a letter that a later release does not allow any more."""
    files = tuple(attachment_part(one.file_name, one.media_type, one.content) for one in letter.attachments)
    quoted = quoted_once(part for one in letter.texts for part in (one.html, one.text) if part)
    return ReadyLetter(compile_forms(letter.texts, composed=letter.composed), files, quoted)


class Letters:
    """Letters that are ready, kept by version: versions never change."""

    def __init__(
        self,
        mail_domain: str | None,
        links: PublicLinks | None = None,
        return_paths: ReturnPaths | None = None,
        sign: Sign | None = None,
    ) -> None:
        self._mail_domain, self._links, self._return_paths, self._sign = mail_domain, links, return_paths, sign
        self._ready: dict[tuple[int, int], ReadyLetter] = {}

    def under(self, links: PublicLinks | None, sign: Sign | None) -> "Letters":
        """The same letters, ready as they are here, with other links and another signature."""
        other = Letters(self._mail_domain, links, self._return_paths, sign)
        other._ready = self._ready
        return other

    async def prepare(
        self, connection: AsyncConnection, orders: Sequence[ClaimedOrder], settings: SystemSettings
    ) -> Writing:
        """Loads what these orders need beyond their claim."""
        for key in {(order.letter_id, order.letter_version) for order in orders} - self._ready.keys():
            self._ready[key] = make_ready(await load_letter_version(connection, *key))
        names = {order.application["recruiter"] for order in orders if order.application["recruiter"]}
        wishes = {wish for order in orders for wish in (order.sender, order.sender_fallback) if wish}
        names |= {wish.removeprefix("user:") for wish in wishes if wish.startswith("user:")}
        custom = await load_custom_fields(connection, [order.application["id"] for order in orders])
        return Writing(settings, await load_users(connection, names), custom)

    def message_ids(self, settings: SystemSettings) -> Callable[[int], str]:
        """What makes Message-IDs under these settings."""
        domain = self._mail_domain or split_sender(settings.sender)[1].rpartition("@")[2]
        return message_ids(UUID(settings.instance_id), domain)

    def write(self, order: ClaimedOrder, writing: Writing) -> Mail:
        """Renders and composes one letter; the same order gives the same bytes on every attempt (I12)."""
        day = order.mail_date.astimezone(ZoneInfo(order.time_zone))
        letter, application, occasion = self._filled_with(order, writing, day)
        rendered, sender = write_letter(letter.forms, application, occasion)
        headers = MailHeaders(
            order_id=order.id,
            message_id=order.message_id,
            sender=sender,
            recipient=order.email,
            date=day,
            unsubscribe=self._links.preferences(order.id) if self._links else None,
        )
        content = compose(rendered, headers, letter.attachments, letter.quoted)
        if self._sign is not None:
            content = self._sign(content, day)
        body_hash = sha256(content).hexdigest()
        envelope_from = self._return_paths.of(order.id) if self._return_paths else sender.email
        return Mail(envelope_from, order.email, rendered.subject, order.message_id, content, body_hash)

    def data_used(self, order: ClaimedOrder, writing: Writing) -> dict[str, object]:
        """What a letter is filled with, by placeholder."""
        day = order.mail_date.astimezone(ZoneInfo(order.time_zone))
        letter, application, occasion = self._filled_with(order, writing, day)
        return data_used(letter.forms, application, occasion)

    def _filled_with(
        self, order: ClaimedOrder, writing: Writing, day: datetime
    ) -> tuple[ReadyLetter, Mapping[str, Any], Occasion]:
        occasion = Occasion(
            wishes=(order.sender, order.sender_fallback),
            users=writing.users,
            system_sender=writing.settings.sender,
            company=writing.settings.company,
            today=day.date(),
            link=partial(self._link, order),
        )
        custom = dict(writing.custom_fields.get(order.application["id"], {}))
        return self._ready[order.letter_id, order.letter_version], {**order.application, "custom": custom}, occasion

    def _link(self, order: ClaimedOrder, placeholder: str) -> str | None:
        if self._links is None:
            return None
        if placeholder in CONSENT_LINKS:
            # Only a job asks for consent: a letter by hand has no such links.
            return self._links.consent(order.id, placeholder) if order.job_id is not None else None
        return self._links.preferences(order.id)


def open_letters(settings: Settings) -> Letters:
    """Letters as these settings have them made: with links, return paths and signature. Raises InvalidSettings."""
    return Letters(settings.kp_mail_domain, public_links(settings), settings.return_paths(), open_signing(settings))
