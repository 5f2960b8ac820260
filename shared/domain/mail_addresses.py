"""Mail addresses (S8): which one mail can be sent to, and its forms. The only importer of email_validator."""

import re
from functools import lru_cache

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, ValidatedEmail, validate_email
from email_validator.rfc_constants import CASE_INSENSITIVE_MAILBOX_NAMES

from shared.domain.text import fold
from shared.errors import InvalidInput

#: The plain case, where the library's verdict is certain: ASCII words and dots, and a domain of two or more labels
#: without '--' in places 3 and 4 (Punycode and the like), ending in a letter.
_PLAIN = re.compile(
    r"([A-Za-z0-9_!#$%&'*+\-/=?^`{|}~]+(?:\.[A-Za-z0-9_!#$%&'*+\-/=?^`{|}~]+)*)"
    r"@((?:(?!..--)[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.)+"
    r"(?!..--)(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?))(?<=[A-Za-z])\Z"
)
_SPECIAL_ENDINGS = tuple(f".{name}" for name in SPECIAL_USE_DOMAIN_NAMES)
_LOWERED_NAMES = frozenset(CASE_INSENSITIVE_MAILBOX_NAMES)
_LONGEST = 254

_SENDER = re.compile(r'(?:"((?:[^"\\]|\\["\\])*)"|([^"<>@,;:\\()\[\]]*))\s*<([^<>\s]+)>\Z')
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def usable_address(text: str | None) -> str | None:
    """The address in normal form if mail can be sent to it, else None (D34); syntax only, without DNS.

    The verdict is email-validator's with check_deliverability=False, test_environment=True, the form its
    `normalized`: domain lower case and in Unicode. Blanks around it are not forgiven.
    """
    if not text:
        return None
    plain = _PLAIN.match(text) if len(text) <= _LONGEST else None
    if plain:
        local, domain = plain.groups()
        domain = domain.lower()
        if local.lower() not in _LOWERED_NAMES and not f".{domain}".endswith(_SPECIAL_ENDINGS):
            return f"{local}@{domain}"
    validated = _validated(text)
    return validated.normalized if validated else None


def compared_address(given: str) -> str:
    """The form in which two addresses are the same one: in whatever case, the domain as A-label or in Unicode."""
    return fold(usable_address(given) or given)


def missing_address(given: str | None) -> str:
    """Why there is nowhere to send to (D34), of an address that is not used as usable."""
    if not given:
        return "no e-mail address"
    # One that looks right is one that letters came back from.
    return f"{'letters come back from' if usable_address(given) else 'e-mail address is not valid:'} {given}"


def ascii_domain_address(address: str) -> str:
    """A usable address with its domain as A-label (S9); a local part beyond ASCII stays and needs SMTPUTF8.

    Raises InvalidInput for an address that is not usable.
    """
    local, _, domain = address.rpartition("@")
    if not domain or domain.isascii():
        return address
    return f"{local}@{_ascii_domain(domain)}"


def split_sender(text: str, place: str = "sender") -> tuple[str, str]:
    """Display name ('' if none) and address of 'a@b' or 'Name <a@b>'; raises InvalidInput.

    One address, no comments, no lists; a name with other than plain characters stands in quotes (S8).
    """
    text = text.strip()
    found = _SENDER.match(text)
    quoted, bare, address = found.groups() if found else (None, "", text)
    display = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else (bare or "").strip()
    usable = usable_address(address)
    if usable is None or _UNPRINTABLE.search(text):
        raise InvalidInput(place, text, 'write a@b.example or "Name" <a@b.example>, one address that is valid')
    return display.strip(), usable


@lru_cache(maxsize=4096)
def _ascii_domain(domain: str) -> str:
    validated = _validated(f"x@{domain}")
    if validated is None:
        raise InvalidInput("domain of a mail address", domain, "is not a valid domain")
    return validated.ascii_domain


def _validated(text: str) -> ValidatedEmail | None:
    try:
        return validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
