"""How the scripted SMTP server misbehaves: by name, and for whom."""

import hashlib
from collections.abc import Callable

#: Chooses a misbehaviour. Asked once per connection with "", once per MAIL with the sender's address and once per RCPT
#: with the recipient's; the attempt counts from 1 for each of them.
Script = Callable[[str, int], str | None]

#: Misbehaviours that are just another reply at a command; after 421 and after such a banner the connection is closed.
REPLIES = {
    "421_banner": ("BANNER", "421 too busy"),
    "450_banner": ("BANNER", "450 not now"),
    "554_banner": ("BANNER", "554 no service here"),
    "421_at_ehlo": ("EHLO", "421 going down"),
    "defer_ehlo_451": ("EHLO", "451 try again"),
    "refuse_ehlo_554": ("EHLO", "554 not to you"),
    "421_after_mail": ("MAIL", "421 going down"),
    "defer_mail_451": ("MAIL", "451 try again"),
    "reject_mail_from_5xx": ("MAIL", "553 sender not allowed"),
    "421_after_rcpt": ("RCPT", "421 going down"),
    "defer_rcpt_450": ("RCPT", "450 4.2.0 greylisted"),
    "refuse_rcpt_550": ("RCPT", "550 5.1.1 no such user"),
    "refuse_rcpt_550_but_354": ("RCPT", "550 5.1.1 no such user"),
    "421_at_data": ("DATA", "421 going down"),
    "defer_data_451": ("DATA", "451 try again"),
    "refuse_data_554": ("DATA", "554 no"),
    # Said when some of the body has arrived.
    "early_250_in_body": ("BODY", "250 too early"),
    "421_in_body": ("BODY", "421 going down"),
    "refuse_in_body_554": ("BODY", "554 enough of that"),
    "defer_dot_451": ("DOT", "451 4.3.0 try again"),
    "defer_dot_452": ("DOT", "452 4.3.1 no space"),
    "421_at_dot": ("DOT", "421 going down"),
    "reject_dot_554": ("DOT", "554 5.7.1 content rejected"),
    "ok_252": ("DOT", "252 accepted, cannot verify"),
}
#: The stages of a conversation, in their order; the body's is reached when some of it has arrived.
STAGES = ("banner", "ehlo", "mail", "rcpt", "data", "body", "dot")
#: What a server can do at each of them instead of answering: close in order, reset the connection (RST), be silent for
#: ever, say what is no reply, or a reply of a megabyte. At the dot, nonsense is said about a letter that is stored.
BREAKS = ("close", "reset", "hang", "garbage", "long")
BROKEN = tuple(f"{how}_at_{stage}" for stage in STAGES for how in BREAKS)
#: The same at the dot, of a letter that was stored.
STORED = ("stored_then_close", "stored_then_reset", "stored_then_hang")
NONSENSE = {"garbage": b"what was that?\r\n", "long": b"250 " + b"x" * 2**20 + b"\r\n"}
#: At the dot too.
CONFUSED = ("two_codes_after_dot", "close_after_250")
#: More after the dot than its answer: what comes next must not be taken for another letter's.
TOO_MUCH = {
    "two_replies_after_dot": b"250 queued\r\n250 and more\r\n",
    "250_and_550_after_dot": b"250 queued\r\n550 what?\r\n",
    "250_twice_and_550_after_dot": b"250 queued\r\n250 and more\r\n550 what?\r\n",
    "250_and_421_after_dot": b"250 queued\r\n421 going down\r\n",
}
#: Throws away what comes along with a dot.
DEAF = "deaf_behind_dot"
#: Good replies in an unusual form, at every stage; besides, `slow:SECONDS` waits before each.
FORMS = ("split_reply", "multi_line_reply", "drip")


def well_behaved(_address: str, _attempt: int) -> None:
    """Takes everything."""


def always(misbehaviour: str) -> Script:
    """The same misbehaviour for everybody; each shows at its own stage."""
    return lambda _address, _attempt: misbehaviour


def first(times: int, misbehaviour: str) -> Script:
    """So many attempts of every address misbehave, then all is well."""
    return lambda _address, attempt: misbehaviour if attempt <= times else None


def broken_at(stage: str, misbehaviour: str | None) -> str | None:
    """How the conversation breaks at a stage (lower case), if it does."""
    how, _, where = (misbehaviour or "").partition("_at_")
    return how if where == stage and how in BREAKS else None


def _showing_at(*stages: str) -> list[str]:
    replies = [name for name, (stage, _) in REPLIES.items() if stage.lower() in stages]
    return replies + [name for name in BROKEN if name.rpartition("_at_")[2] in stages]


_AT_CONNECTION, _AT_MAIL = _showing_at("banner", "ehlo"), _showing_at("mail")
#: A small letter whose body nobody reads is handed over for its sender and never arrives: an unclear one too many (G6).
_OF_LETTERS = [name for name in _showing_at("rcpt", "data", "body", "dot") if name != "hang_at_body"]
#: One connection in so many, and one MAIL of a sender, meets a misbehaviour of these.
_RARE = 50


def mixed(address: str, attempt: int) -> str | None:
    """One recipient in ten meets one of the misbehaviours, chosen by the address alone; from the third try on none.

    So does one connection in fifty, and one MAIL of a sender, chosen by their number.
    """
    if attempt % _RARE == 0:
        names = _AT_MAIL if "@" in address else _AT_CONNECTION
        return names[attempt // _RARE % len(names)]
    number = int.from_bytes(hashlib.sha256(address.encode()).digest()[:4], "big")
    names = [*_OF_LETTERS, *STORED, *CONFUSED, *FORMS]
    return names[number // 10 % len(names)] if "@" in address and number % 10 == 0 and attempt < 3 else None


def mixed_and_slow(address: str, attempt: int) -> str | None:
    """`mixed`, and one recipient in ten whom the server answers slowly, so that others are held meanwhile."""
    number = int.from_bytes(hashlib.sha256(address.encode()).digest()[4:8], "big")
    return mixed(address, attempt) or ("slow:0.6" if "@" in address and number % 10 == 0 else None)


def script_named(name: str) -> Script:
    """A script for the command line: plain, greylist, mixed, or one misbehaviour for everybody."""
    named: dict[str, Script] = {"plain": well_behaved, "greylist": first(2, "defer_rcpt_450"), "mixed": mixed}
    if name in named:
        return named[name]
    misbehaviours = [*REPLIES, *BROKEN, *STORED, *CONFUSED, *FORMS]
    if name in misbehaviours or name.startswith("slow:"):
        return always(name)
    raise SystemExit(f"no script {name!r}; there are {', '.join([*named, *misbehaviours])}, slow:SECONDS")


def in_form(form: str, reply: bytes, seconds: float) -> list[tuple[float, bytes]]:
    """A reply as pieces, each with the seconds to wait before it."""
    match form:
        case "slow":
            return [(seconds, reply)]
        case "split_reply":
            return [(0.001, reply[:2]), (0.005, reply[2:-1]), (0.005, reply[-1:])]
        case "drip":
            return [(0.001, reply[i : i + 1]) for i in range(len(reply))]
    code = reply[:3]
    return [(0.001, code + b"-first line\r\n" + code + b"-\r\n"), (0.002, reply)]
