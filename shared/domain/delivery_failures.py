"""What a mail server's words about a failed delivery mean for the address: gone, in trouble, or not to blame.

Status codes as in RFC 3463 and its registry; the words as servers write them. In doubt an address is not gone:
wrongly given up, a person hears from us no more, while a few more mails to a dead address do no harm.
"""

import re
from enum import StrEnum


class Failure(StrEnum):
    """Why it was given up."""

    #: There is no such mailbox or domain, or it is closed for good.
    HARD = "hard"
    #: It may pass: mailbox full, server away, not known why.
    SOFT = "soft"
    #: They do not want this mail or this sender: it says nothing about the address.
    REFUSED = "refused"


#: Characters of a server's words that are looked at.
MOST_WORDS = 8000

STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_REPLY = re.compile(r"(?<![\d.])([45]\d\d)[ -]")
#: Addresses hold any word.
_ADDRESS = re.compile(r"[^\s<>]{1,320}@[^\s<>]{1,255}")

_POLICY = re.compile(
    r"\b(spam\w*|blocked|blacklist\w*|block(ed)? ?list\w*|dnsbl|rbl|reputation|spf|dkim|dmarc|virus\w*|malware|policy|"
    r"policies|unsolicited|unerwünscht\w*|bulk|content (rejected|filter\w*)|banned|not authori[sz]ed|"
    r"authentication required|rate limit\w*|too many (messages|connections|recipients)|size limit|too large|zu groß|"
    r"exceeds? (the )?(maximum|size)|restricted|permission)\b",
    re.IGNORECASE,
)
_GONE = re.compile(
    r"(user|recipient|mailbox|account|address|alias|benutzer|empfänger|postfach|adresse|"
    r"local part)\W{0,3}(\S{1,80} )?(is |was |has been |wurde |ist |existiert |does |doesn't |could )?(\w{1,12} )?"
    r"(unknown|not (be )?found|not known|not exist|exist\b|disabled|inactive|deactivated|closed|deleted|suspended|"
    r"unbekannt|nicht|deaktiviert|gelöscht|geschlossen|no longer|not listed|undeliverable)"
    r"|no (such|valid) (user|recipient|mailbox|account|address|person|domain|host)"
    r"|(unknown|invalid|non-?existent|unbekannter?|ungültige?r?|bad|no) (user|recipient|mailbox|account|address|local"
    r"|e-?mail address|destination mailbox|empfänger|benutzer|adresse|local[- ]part|mail ?box here)"
    r"|mailbox unavailable|unrouteable address|unroutable|not listed in (the )?(domino|public)"
    r"|doesn't have a [\w.-]{1,80} account|this user doesn't have|does not exist|existiert nicht|gibt es nicht"
    r"|recipient address rejected: access denied|resolver\.adr\.(recip\w*|ex)notfound|recipnotfound"
    r"|(host|domain)( or domain)?( name)?( \S{1,255})? (not found|unknown|does not exist|doesn't exist|nicht gefunden)"
    r"|(unknown|no such) (host|domain)|nxdomain|null ?mx|couldn't find any host named|domain is not valid"
    r"|delivery to the following recipients? failed permanently",
    re.IGNORECASE,
)
_FULL = re.compile(
    r"mail ?box (is |ist )?(full|voll)|mailbox \S{1,320} is full|over ?quota|out of storage|quota|postfach (ist )?voll"
    r"|(storage|space) (limit|exceeded|exhausted)|exceeded storage|insufficient (system )?storage|inbox is full"
    r"|mailfolder is full|hat sein speicher",
    re.IGNORECASE,
)
_PASSES = re.compile(
    r"gr[ea]y-?list\w*|try again|temporar\w+|timed? ?out|connection (refused|lost|dropped)|retry time\w*|retr(y|ies)"
    r"|too long|expired|unreachable|nicht erreichbar|message (is )?delayed|could not connect|service unavailable"
    r"|loop\w*|hop count|too many hops|server error|internal error|congestion|resources",
    re.IGNORECASE,
)
#: What a status says by itself, by its subject and detail; exactly, or of a whole subject.
_GONE_BY_STATUS = frozenset(["1.1", "1.2", "1.3", "1.6", "1.10", "2.1", "4.310"])
_REFUSED_BY_STATUS = frozenset(["1.7", "1.8", "2.3", "3.4"])
_VAGUE = frozenset(["0.0", "1.0", "2.0", "3.0", "4.0", "4.1", "4.4", "5.0", "7.1"])


def judge_failure(status: str | None, words: str) -> Failure | None:
    """Of a delivery that was given up; None if nothing says that it was. `status` as in RFC 3463, `words` bounded."""
    words = _ADDRESS.sub(" ", words[:MOST_WORDS])
    said = STATUS.findall(words)
    # A gateway's own status is often vague, the other side's in its words seldom.
    if said and (status is None or status[2:] in _VAGUE):
        status = said[0]
    reply = _REPLY.search(words)
    if status is None and reply is None:
        return _judge_words(words)
    if (status or "5") < "5" and not (reply and reply[1] >= "5" and status is None):
        return Failure.SOFT
    return _judge_permanent((status or "5.0.0")[2:], words)


def _judge_permanent(detail: str, words: str) -> Failure:
    if detail in _REFUSED_BY_STATUS or detail.startswith("6."):
        return Failure.REFUSED
    is_policy = bool(_POLICY.search(words))
    if _FULL.search(words) or detail == "2.2":
        return Failure.SOFT
    if detail in _GONE_BY_STATUS:
        # Some say of everything that there is no such user; but who names spam, means it.
        return Failure.REFUSED if is_policy and not _GONE.search(words) else Failure.HARD
    if is_policy:
        return Failure.REFUSED
    if _GONE.search(words):
        return Failure.HARD
    return Failure.REFUSED if detail.startswith("7.") else Failure.SOFT


def _judge_words(words: str) -> Failure | None:
    """Of servers that give no code at all."""
    if _FULL.search(words):
        return Failure.SOFT
    if _POLICY.search(words):
        return Failure.REFUSED
    if _GONE.search(words):
        return Failure.HARD
    return Failure.SOFT if _PASSES.search(words) else None
