"""One line that the next page shows: what the last click did."""

import base64
import binascii

NOTICE_COOKIE = "kp_notice"
#: Characters of a notice: a cookie holds little more.
LONGEST = 800


def pack(text: str) -> str:
    """The text as a cookie's value."""
    return base64.urlsafe_b64encode(text[:LONGEST].encode()).decode()


def unpack(value: str) -> str:
    """The text of a cookie; empty where it is none of ours."""
    try:
        return base64.urlsafe_b64decode(value.encode()).decode()[:LONGEST]
    except (binascii.Error, UnicodeError, ValueError):
        return ""
