"""A letter sent to a tester: the same way over the same relay, without order, status or contact entry."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from services.mailer.compose import MailHeaders, attachment_part, compose
from services.mailer.outcome import Sent
from services.mailer.signing import open_signing
from services.mailer.smtp import SmtpPool
from services.mailer.smtp_address import parse_smtp_url
from shared.db.letter_trials import TrialMail
from shared.domain.mail_addresses import usable_address
from shared.errors import InvalidInput, Refused
from shared.settings import Settings

#: Marks a test for people and for programs.
SUBJECT_MARK = "[Test] "
HEADER = {"X-Kontaktpflege-Test": "1"}


async def send_trial_mail(mail: TrialMail, settings: Settings, now: datetime, log: Any) -> str:
    """Sends it now; the relay's answer. Raises InvalidInput for the address, Refused if the relay does not take it."""
    to = usable_address(mail.to)
    if to is None:
        raise InvalidInput("--to", mail.to, "is not a valid e-mail address")
    headers = MailHeaders(
        order_id=None,
        message_id=f"<test-{uuid4().hex}@{mail.sender.email.rpartition('@')[2]}>",
        sender=mail.sender,
        recipient=to,
        date=now,
        extra=HEADER,
    )
    files = [attachment_part(one.file_name, one.media_type, one.content) for one in mail.attachments]
    content = compose(replace(mail.letter, subject=SUBJECT_MARK + mail.letter.subject), headers, files)
    if (sign := open_signing(settings)) is not None:
        content = sign(content, now)
    password = settings.smtp_password.get_secret_value() if settings.smtp_password else None
    relay = parse_smtp_url(settings.smtp_url.get_secret_value(), password)
    seconds = min(settings.kp_smtp_timeout_seconds, 30.0)
    pool = SmtpPool(relay, size=1, timeout=seconds, final_timeout=seconds, log=log)
    try:
        outcome = await pool.send(mail.sender.email, to, content, _granted)
    finally:
        await pool.close()
    if isinstance(outcome, Sent):
        return f"{outcome.code} {outcome.text}".strip()
    raise Refused(f"{relay.address} did not take the test letter: {outcome.reason}")


async def _granted() -> bool:
    return True
