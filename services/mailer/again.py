"""A letter that was handed over, written once more: for whoever asks what was sent to them (Art. 15 GDPR)."""

import asyncio
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.mailer.letters import Writing, open_letters
from services.mailer.signing import open_signing
from shared.db.letter_data import load_applications
from shared.db.system_settings import SystemSettings, load_system_settings
from shared.db.tables import applications, contact_jobs
from shared.db.write_orders.claims import ClaimedOrder
from shared.domain.mail_addresses import usable_address
from shared.errors import KontaktpflegeError
from shared.evidence.rewriting import DIFFERS, NOT_WRITABLE, Rewritten
from shared.public_links import links_of_each_secret
from shared.settings import Settings

_J = contact_jobs.c
#: Letters that are kept ready: some jobs write to a person in turn.
_KEPT = 8


class WritingAgain:
    """Writes letters of one evidence file once more, under these settings. Raises InvalidSettings.

    A letter is written from the version that was pinned and from what is known of the person now; its links are tried
    with each key that is believed and without any, its signature likewise: its digest says which way it was. Where
    what it is written from has changed since, or was erased, none of them is it, and nobody can tell any more what
    exactly was sent. So it is where the settings have neither the key of its links nor that of its signature.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, sign = settings, open_signing(settings)
        links = links_of_each_secret(settings)
        self._keys = len(links)
        #: The way that was the last letter's comes first: mostly it is the next one's too.
        self._ways = [(link, signing) for signing in ((sign, None) if sign else (None,)) for link in (*links, None)]
        self._letters = open_letters(settings)
        self._ready: set[tuple[int, int]] = set()
        self._in_database: SystemSettings | None = None
        self._senders: dict[int, tuple[str, str | None]] = {}
        self._applications: dict[int, Mapping[str, Any]] = {}

    def means(self) -> Mapping[str, Any]:
        """What there is to do it with, without a secret."""
        named = f"{self._settings.kp_dkim_selector}._domainkey.{self._settings.kp_dkim_domain}"
        signs = any(sign for _, sign in self._ways)
        return {"public_url": self._settings.kp_public_url, "link_keys": self._keys, "dkim": named if signs else None}

    async def write(
        self, connection: AsyncConnection, order: Mapping[str, Any], message_id: str, digest: str
    ) -> Rewritten:
        """The mail of an order, if it is byte for byte the one whose SHA-256 was kept."""
        # An order keeps the address as it was given; it went to its normal form.
        if (recipient := usable_address(order["email"])) is None:
            return Rewritten(None, NOT_WRITABLE)
        claimed = await self._as_claimed(connection, order, recipient, message_id)
        try:
            writing = await self._prepare(connection, claimed)
        except KontaktpflegeError:
            return Rewritten(None, NOT_WRITABLE)
        # Apart: a signature takes some hundredths of a second, and a console has others to answer.
        return await asyncio.to_thread(self._as_digested, claimed, writing, digest)

    async def _prepare(self, connection: AsyncConnection, claimed: ClaimedOrder) -> Writing:
        if self._in_database is None:
            self._in_database = await load_system_settings(connection)
        key = (claimed.letter_id, claimed.letter_version)
        if key not in self._ready and len(self._ready) >= _KEPT:
            # With their attachments they are large.
            self._letters, self._ready = open_letters(self._settings), set()
        writing = await self._letters.prepare(connection, [claimed], self._in_database)
        self._ready.add(key)
        return writing

    def _as_digested(self, claimed: ClaimedOrder, writing: Writing, digest: str) -> Rewritten:
        why = NOT_WRITABLE
        for way in list(self._ways):
            try:
                mail = self._letters.under(*way).write(claimed, writing)
            except KontaktpflegeError:
                continue  # it needs links, and this way has none
            if sha256(mail.content).hexdigest() == digest:
                self._ways.remove(way)
                self._ways.insert(0, way)
                return Rewritten(mail.content, data=self._data(claimed, writing))
            why = DIFFERS
        return Rewritten(None, why)

    def _data(self, claimed: ClaimedOrder, writing: Writing) -> dict[str, object]:
        # A link is a key to it, and no data about anybody.
        used = self._letters.under(*self._ways[0]).data_used(claimed, writing)
        return {name: value for name, value in used.items() if not name.startswith("links.")}

    async def _as_claimed(
        self, connection: AsyncConnection, order: Mapping[str, Any], recipient: str, message_id: str
    ) -> ClaimedOrder:
        sender, fallback = await self._sender(connection, order["job_id"])
        return ClaimedOrder(
            **{name: order[name] for name in ("id", "type", "job_id", "job_name", "letter_id", "letter_version")},
            **{name: order[name] for name in ("time_zone", "mail_date", "expires_at")},
            email=recipient,
            token=0,
            attempt_no=0,
            deferrals=0,
            on_unclear="ask",
            message_id=message_id,
            sender=sender,
            sender_fallback=fallback,
            application=await self._application(connection, order["application_id"]),
        )

    async def _sender(self, connection: AsyncConnection, job_id: int | None) -> tuple[str, str | None]:
        if job_id is None:  # by hand, or the job was deleted
            return "recruiter", None
        if job_id not in self._senders:
            found = select(_J.sender, _J.sender_fallback).where(_J.id == job_id)
            row = (await connection.execute(found)).one()
            self._senders[job_id] = (row.sender, row.sender_fallback)
        return self._senders[job_id]

    async def _application(self, connection: AsyncConnection, application_id: int) -> Mapping[str, Any]:
        if application_id not in self._applications:
            (row,) = await load_applications(connection, applications.c.id == application_id)
            self._applications[application_id] = row
        return self._applications[application_id]
