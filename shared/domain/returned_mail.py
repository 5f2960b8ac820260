"""What a mail is that comes back to us: a bounce and of what kind, an automatic answer, or a person's (RFC 3464, 3834).

Pure, and bounded by `mail_parts`. A mail's claim about a letter is a claim: who believes it is decided where the letter
is known (shared/db/returned_mails.py).
"""

import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from hashlib import sha256

from shared.domain.delivery_failures import STATUS, Failure, judge_failure
from shared.domain.mail_parts import Fields, Part, TakenApart, split_head, take_apart

#: Characters kept of a subject, of a server's words and of what a person wrote.
MOST_SUBJECT, MOST_WORDS, MOST_TEXT = 200, 300, 4000
#: Message-IDs of letters that one mail may name.
MOST_NAMED = 10


class Kind(StrEnum):
    """What it is. The values are labels of a metric and words of the database."""

    HARD = "hard"
    SOFT = "soft"
    REFUSED = "refused"
    #: Not delivered yet; they go on trying.
    DELAYED = "delayed"
    #: It arrived, or was read: nothing to do.
    DELIVERED = "delivered"
    AUTO_REPLY = "auto_reply"
    #: A person wrote it.
    REPLY = "reply"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ReturnedMail:
    """A mail, understood as far as it goes. Texts are one line and bounded, except `text`."""

    kind: Kind
    #: As the mail gives it, for the log; '' if it has none.
    message_id: str
    #: Message-IDs in it that have the form of our letters', the most telling first.
    letters: tuple[str, ...]
    #: Addresses that it was delivered to, the most telling first.
    recipients: tuple[str, ...]
    #: RFC 3463, and the other side's words, of bounces.
    status: str | None = None
    words: str | None = None
    subject: str = ""
    #: What a person wrote, without what they quote.
    text: str = ""
    #: When it was written, if it says so and with its zone.
    date: datetime | None = None
    #: The same for every copy of the mail, another for every other mail.
    fingerprint: str = ""
    #: The Message-ID of the mail that came back, of bounces, if it has the form of our letters'. What merely names a
    #: letter (References) may be another mail of the same conversation.
    returned: str | None = None
    #: Whom a report says that it could not be delivered to: as the letter was addressed, and after forwarding.
    failed: tuple[str, ...] = ()
    #: The address of its author, in small letters; '' if it has none.
    author: str = ""


#: Kind, status and the other side's words.
_Judgement = tuple[Kind, str | None, str | None]

_LETTER = re.compile(r"<order-[A-Za-z0-9.-]{10,80}@[A-Za-z0-9.-]{1,255}>")
#: The first in what follows a bounce's own head: the returned mail's. Others stand in what that mail holds.
_RETURNED = re.compile(r"^message-id:[ \t]*(?:\n[ \t]+)?(\S{1,400})", re.IGNORECASE | re.MULTILINE)
_TRACES = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "x-rcpt-to", "to", "cc")
_IN_BRACKETS = re.compile(r"[^\s<>,;:\"']{1,320}@[A-Za-z0-9.-]{1,255}")

_MACHINE = re.compile(
    r"(mailer-?daemon|postmaster|mail-?delivery(-sub)?-?(system|service)?|mail-?router|microsoftexchange\w*)[@\"\s<]"
    r"|\b(mail delivery (sub)?system|mail router|system administrator|mail administrator|delivery status)\b",
    re.IGNORECASE,
)
_BOUNCE_SUBJECT = re.compile(
    r"(undeliver(ed|able)( mail| message)?\b|mail delivery (failed|failure|problem|status)|delivery status notification"
    r"|failure notice|returned mail|delivery (failure|notification)|non-?delivery|nondeliverable mail"
    r"|unzustellbar|nicht zustellbar|zustellung fehlgeschlagen|mail could not be delivered|warning: message \S+ delayed"
    r"|delayed mail|warning: could not send)",
    re.IGNORECASE,
)
_DELAYED = re.compile(
    r"(has not yet been delivered|is delayed|been delayed|warning message only|will (be retried|continue to try|keep)"
    r"|still (being )?(retried|trying)|delivery attempts will continue|do not need to re-?send|delivery incomplete"
    r"|noch nicht zugestellt|verzögert|weitere zustellversuche|\(delay\))",
    re.IGNORECASE,
)
#: Where a bounce without parts begins to quote the mail that it is about.
_COPY = re.compile(
    r"^\W{0,10}(this is a copy of the message|below this line is a copy|original message follows|the header of the"
    r"|unsent message below|message headers? follow|es folgt die|kopie der nachricht|received: )"
    r"|^-{2,} ?(original message|message header|returned message|unsent message)",
    re.IGNORECASE | re.MULTILINE,
)
_AUTO_SUBJECT = re.compile(
    r"\W{0,3}(auto(matic(ally)?|mated|matische)?[ -]?(reply|response|antwort|generated)|autoreply|autoresponse"
    r"|automatisch(e|er)? (antwort|abwesenheits\w*|beantwortung)|auto:|out of (the )?office|ooo:"
    r"|abwesenheits(notiz|assistent|meldung|benachrichtigung|nachricht)|abwesend|nicht im (büro|hause)\b"
    r"|vacation( reply| response| message)?:|urlaub(snotiz|smeldung|sbenachrichtigung)|urlaub:|r[ée]ponse automatique"
    r"|absence du bureau|risposta automatica|respuesta autom[áa]tica|automatisch antwoord|afwezig|autosvar"
    r"|odpowied[źz] automatyczna|eingangsbestätigung"
    r"|ich bin (zur ?zeit|derzeit|momentan)? ?(nicht|abwesend|im urlaub))",
    re.IGNORECASE,
)
_AUTO_FIELDS = (
    *("x-autoreply", "x-autoreply-from", "x-autorespond", "x-autoresponder", "x-mail-autoreply", "x-autogenerated"),
    *("x-fc-machinegenerated", "x-auto-reply-from", "list-id", "list-unsubscribe", "feedback-id", "x-loop"),
)
_QUOTE_BEGINS = re.compile(
    r"^(am .{4,120}schrieb.{0,160}:|on .{4,120}wrote:|le .{4,120}a écrit ?:|-{2,} ?(original message|ursprüngliche "
    r"nachricht|forwarded message|weitergeleitete nachricht).{0,20}|_{20,}|(von|from): .{1,200})\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_BLANKS = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def understand(raw: bytes) -> ReturnedMail:
    """Classifies a mail; never raises. What it is not sure of is UNKNOWN, and stays for people to see."""
    mail = take_apart(raw)
    kind, status, words = _judge(mail)
    return ReturnedMail(
        kind,
        message_id=_line(mail.fields.first("message-id"), MOST_SUBJECT),
        letters=_letters(mail),
        recipients=_recipients(mail.fields),
        status=status,
        words=_line(words, MOST_WORDS) if words else None,
        subject=_line(mail.fields.text("subject"), MOST_SUBJECT),
        text=_written(mail) if kind is Kind.REPLY else "",
        date=_date(mail.fields.first("date")),
        fingerprint=_fingerprint(mail),
        returned=_returned(mail),
        failed=_failed(mail),
        author=_line((_IN_BRACKETS.findall(mail.fields.first("from")) or [""])[-1].lower(), MOST_WORDS),
    )


def _judge(mail: TakenApart) -> _Judgement:
    fields, subject = mail.fields, mail.fields.text("subject")
    if not (fields.first("from") or fields.first("return-path") or fields.first("received")):
        return Kind.UNKNOWN, None, None
    judged = _judge_marked(mail) or (_judge_plain_bounce(mail, subject) if _is_bounce(fields, subject) else None)
    if judged is not None:
        return judged
    if _is_automatic(fields, subject):
        return Kind.AUTO_REPLY, None, None
    # No person writes from such an address, or without one; and no words were found that say what it is.
    is_machine = fields.first("return-path").strip() == "<>" or _is_machine(fields)
    return Kind.UNKNOWN if is_machine else Kind.REPLY, None, None


def _judge_marked(mail: TakenApart) -> _Judgement | None:
    """Mails with a part for machines, which says what they are."""
    if (report := _report(mail)) is not None:
        return _judge_report(report.content(), _text(mail))
    if mail.part("message/disposition-notification") is not None:
        return Kind.AUTO_REPLY, None, None
    if mail.part("message/feedback-report") is not None:
        return Kind.UNKNOWN, None, "a complaint (feedback report)"
    return None


def _report(mail: TakenApart) -> Part | None:
    return mail.part("message/delivery-status", "message/global-delivery-status")


def _judge_report(report: bytes, explanation: str) -> _Judgement:
    about = _groups(report)
    actions = [_action(fields) for fields in about]
    for fields in about:
        if _has_failed(fields):
            status = _status(fields)
            words = fields.first("diagnostic-code") or explanation
            failure = judge_failure(status, words) or Failure.SOFT
            better = STATUS.search(words)
            told = better[1] if better and (status or "5.0.0")[2:] in ("0.0", "1.0", "5.0") else status
            return Kind(failure), told, words
    if "delayed" in actions:
        return Kind.DELAYED, _status(about[actions.index("delayed")]), None
    if actions and all(action in ("delivered", "relayed", "expanded") for action in actions):
        return Kind.DELIVERED, None, None
    return Kind.UNKNOWN, None, None


def _groups(report: bytes) -> list[Fields]:
    """RFC 3464: groups of fields, the first about the mail, each other about a recipient; those."""
    groups: list[Fields] = []
    rest = report.replace(b"\r\n", b"\n")
    while rest.strip() and len(groups) < MOST_NAMED:
        fields, rest = split_head(rest)
        groups.append(fields)
    return [fields for fields in groups if fields.first("action") or fields.first("status")]


def _action(fields: Fields) -> str:
    return fields.first("action").split(" ")[0].lower()


def _has_failed(fields: Fields) -> bool:
    return _action(fields) == "failed" or (not _action(fields) and fields.first("status").startswith("5"))


def _status(fields: Fields) -> str | None:
    said = STATUS.search(fields.first("status"))
    return said[1] if said else None


def _failed(mail: TakenApart) -> tuple[str, ...]:
    report = _report(mail)
    about = [fields for fields in _groups(report.content()) if _has_failed(fields)] if report else []
    values = [value for fields in about for value in fields.all("final-recipient", "original-recipient")]
    return tuple(address for value in values[:MOST_NAMED] for address in _IN_BRACKETS.findall(value)[:1])


def _is_bounce(fields: Fields, subject: str) -> bool:
    """A machine wrote it, and it is about a delivery; a person's answer to a bounce names a bounce as well."""
    if "x-failed-recipients" in fields:
        return True
    if re.match(r"\W{0,3}(re|aw|antw|fwd?|wg)\b", subject, re.IGNORECASE):
        return False
    is_nobody = fields.first("return-path").strip() in ("", "<>")
    return _is_machine(fields) or (is_nobody and bool(_BOUNCE_SUBJECT.search(subject)))


def _is_machine(fields: Fields) -> bool:
    return bool(_MACHINE.search(fields.first("from") + " "))


def _judge_plain_bounce(mail: TakenApart, subject: str) -> _Judgement | None:
    """A bounce that is no report: judged by its words, up to where it quotes the letter."""
    text = _text(mail)
    copy = _COPY.search(text)
    text = text[: copy.start()] if copy else text
    status = STATUS.search(text)
    told = status[1] if status else None
    if _DELAYED.search(subject) or _DELAYED.search(text):
        return Kind.DELAYED, told, None
    failure = judge_failure(None, text)
    return (Kind(failure), told, _telling(text)) if failure else None


def _telling(text: str) -> str:
    """The line with the code, or the whole."""
    lines = [line for line in text.split("\n") if re.search(r"(?<!\d)[45]\d\d[ -]|[45]\.\d{1,3}\.\d", line)]
    return lines[0] if lines else text


def _is_automatic(fields: Fields, subject: str) -> bool:
    submitted = fields.first("auto-submitted").partition(";")[0].strip().lower()
    if submitted and submitted != "no":
        return True
    if any(name in fields for name in _AUTO_FIELDS):
        return True
    if fields.first("precedence").strip().lower() in ("bulk", "junk", "list", "auto_reply", "auto-reply"):
        return True
    if "mailbox rules" in fields.first("x-ms-exchange-generated-message-source").lower():
        return True
    if fields.first("x-auto-response-suppress").strip().lower() == "all":
        return True
    return bool(_AUTO_SUBJECT.match(subject))


def _text(mail: TakenApart) -> str:
    """What people read of it first."""
    part: Part | None = mail.part("text/plain") or mail.part("text/html")
    return part.text() if part else ""


def _written(mail: TakenApart) -> str:
    """What a person wrote, up to the quoted letter."""
    text = _text(mail)
    quote = _QUOTE_BEGINS.search(text)
    lines = (text[: quote.start()] if quote else text).split("\n")
    return "\n".join(line.rstrip() for line in lines if not line.startswith(">")).strip()[:MOST_TEXT]


def _letters(mail: TakenApart) -> tuple[str, ...]:
    told = " ".join(mail.fields.all("in-reply-to", "references"))
    # The returned letter stands in a part of its own, or quoted somewhere in the text.
    named = [*_LETTER.findall(told), *_LETTER.findall(mail.whole.decode("latin-1"))]
    return tuple(dict.fromkeys(named))[:MOST_NAMED]


def _returned(mail: TakenApart) -> str | None:
    found = _RETURNED.search(split_head(mail.whole)[1].decode("latin-1"))
    return found[1] if found and _LETTER.fullmatch(found[1]) else None


def _recipients(fields: Fields) -> tuple[str, ...]:
    values = [value for name in _TRACES for value in fields.all(name)][: 2 * MOST_NAMED]
    return tuple(dict.fromkeys(address for value in values for address in _IN_BRACKETS.findall(value)))[:MOST_NAMED]


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo is not None else None


def _fingerprint(mail: TakenApart) -> str:
    fields = mail.fields
    message_id = fields.first("message-id").strip()
    said = [message_id, fields.first("date"), fields.first("from"), fields.first("subject")]
    # Copies on different ways differ in their traces; without an id of its own a mail is known by all of its words.
    content = b"" if message_id else split_head(mail.whole)[1].strip()
    return sha256("\0".join(said).encode() + b"\0" + content).hexdigest()


def _line(text: str, most: int) -> str:
    return _BLANKS.sub(" ", text).strip()[:most]
