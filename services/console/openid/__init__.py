"""Signing in with company accounts (OpenID Connect): off unless settings are given, and loaded only then."""

from typing import TYPE_CHECKING

from services.console.openid.registration import registration_of
from shared.errors import InvalidSettings
from shared.settings import Settings

if TYPE_CHECKING:
    from services.console.openid.provider import Provider


def open_provider(settings: Settings) -> "Provider | None":
    """The provider of the settings, not asked yet; None where there is none. Raises InvalidSettings."""
    if (registration := registration_of(settings)) is None:
        return None
    try:
        from services.console.openid.provider import Provider  # noqa: PLC0415 - an extra that few install
    except ImportError as exc:
        raise InvalidSettings(
            f"setting KP_OIDC_ISSUER: needs the package {exc.name or 'joserfc'!r}; install kontaktpflege[oidc]"
        ) from exc
    return Provider(registration)
