"""How the scripted SMTP server misbehaves: by name, and for whom."""

import hashlib
from collections.abc import Callable

#: Chooses a misbehaviour. Asked once per connection with "", once per MAIL with the sender's address and once per RCPT
#: with the recipient's; the attempt counts from 1 for each of them.
Script = Callable[[str, int], str | None]

#: Misbehaviours that are just another reply at a command; after 421 and after such a banner the connection is closed.
REPLIES = {
    "421_banner": ("BANNER", "421 too busy"),
    "554_banner": ("BANNER", "554 no service here"),
    "421_after_mail": ("MAIL", "421 going down"),
    "defer_mail_451": ("MAIL", "451 try again"),
    "reject_mail_from_5xx": ("MAIL", "553 sender not allowed"),
    "421_after_rcpt": ("RCPT", "421 going down"),
    "defer_rcpt_450": ("RCPT", "450 4.2.0 greylisted"),
    "refuse_rcpt_550": ("RCPT", "550 5.1.1 no such user"),
    "refuse_rcpt_550_but_354": ("RCPT", "550 5.1.1 no such user"),
    "defer_data_451": ("DATA", "451 try again"),
    "refuse_data_554": ("DATA", "554 no"),
    "defer_dot_451": ("DOT", "451 4.3.0 try again"),
    "defer_dot_452": ("DOT", "452 4.3.1 no space"),
    "421_at_dot": ("DOT", "421 going down"),
    "reject_dot_554": ("DOT", "554 5.7.1 content rejected"),
    "ok_252": ("DOT", "252 accepted, cannot verify"),
}
#: Misbehaviours that cut the connection, stay silent or talk nonsense.
CUTS = (
    "hang_at_banner",
    "close_before_354",
    "close_mid_body",
    "early_250_in_body",
    "accept_then_drop",
    "drop_after_dot",
    "hang_after_dot",
    "garbage_after_dot",
    "two_codes_after_dot",
    "long_line",
    "close_after_250",
)
#: Good replies in an unusual form, from RCPT on; besides, `slow:SECONDS` waits before each.
FORMS = ("split_reply", "multi_line_reply", "drip")


def well_behaved(_address: str, _attempt: int) -> None:
    """Takes everything."""


def always(misbehaviour: str) -> Script:
    """The same misbehaviour for everybody; each shows at its own stage."""
    return lambda _address, _attempt: misbehaviour


def first(times: int, misbehaviour: str) -> Script:
    """So many attempts of every address misbehave, then all is well."""
    return lambda _address, attempt: misbehaviour if attempt <= times else None


def mixed(address: str, attempt: int) -> str | None:
    """One recipient in ten meets one of the misbehaviours, chosen by the address alone; from the third try on none."""
    number = int.from_bytes(hashlib.sha256(address.encode()).digest()[:4], "big")
    names = [*REPLIES, *CUTS, *FORMS]
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
    if name in (*REPLIES, *CUTS, *FORMS) or name.startswith("slow:"):
        return always(name)
    raise SystemExit(f"no script {name!r}; there are {', '.join([*named, *REPLIES, *CUTS, *FORMS])}, slow:SECONDS")


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
