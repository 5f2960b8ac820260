"""Signing letters (DKIM, RFC 6376): off unless settings are given, and loaded only then."""

from collections.abc import Callable
from datetime import datetime

from shared.errors import InvalidSettings
from shared.settings import Settings


def open_signing(settings: Settings) -> Callable[[bytes, datetime], bytes] | None:
    """What signs a mail; None where nothing is to be signed. Raises InvalidSettings, also for a key that is none."""
    given = {
        "KP_DKIM_DOMAIN": settings.kp_dkim_domain,
        "KP_DKIM_SELECTOR": settings.kp_dkim_selector,
        "KP_DKIM_KEY_FILE": settings.kp_dkim_key_file,
    }
    if not any(given.values()):
        return None
    missing = [name for name, value in given.items() if not value]
    if missing or not (settings.kp_dkim_domain and settings.kp_dkim_selector and settings.kp_dkim_key_file):
        raise InvalidSettings(f"setting {missing[0]}: is needed too for signing letters (DKIM)")
    try:
        from services.mailer.dkim_signature import DkimSignature  # noqa: PLC0415 - an extra that few install
    except ImportError as exc:
        raise InvalidSettings(
            f"setting KP_DKIM_DOMAIN: needs the package {exc.name or 'dkimpy'!r}; install kontaktpflege[dkim]"
        ) from exc
    return DkimSignature(settings.kp_dkim_domain, settings.kp_dkim_selector, settings.kp_dkim_key_file).sign
