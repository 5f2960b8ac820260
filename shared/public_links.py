"""Links in letters that lead to the candidates' page."""

from dataclasses import dataclass

from shared.domain.consent import Answer
from shared.domain.link_tokens import LinkTokens, Purpose, split_secrets
from shared.settings import Settings

#: A link for one answer is none for the other.
CONSENT_PURPOSES = {Answer.STAY: Purpose.CONSENT_STAY, Answer.DELETE: Purpose.CONSENT_DELETE}


@dataclass(frozen=True, slots=True)
class PublicLinks:
    """Makes links below the address at which candidates reach the page."""

    url: str
    tokens: LinkTokens

    def preferences(self, order_id: int) -> str:
        """Where the recipient of an order says what contact care may be; a POST there is RFC 8058's one click."""
        return f"{self.url}/p/{self.tokens.sign_id(Purpose.PREFERENCES, order_id)}"

    def consent(self, order_id: int, placeholder: str) -> str:
        """Where the recipient of a consent letter gives the answer that the placeholder (`links.stay`) stands for."""
        answer = Answer(placeholder.removeprefix("links."))
        return f"{self.url}/consent/{answer}/{self.tokens.sign_id(CONSENT_PURPOSES[answer], order_id)}"


def public_links(settings: Settings) -> PublicLinks | None:
    """None unless both the address and the secrets are set: letters then have no such link."""
    tokens = settings.link_tokens()
    if not settings.kp_public_url or tokens is None:
        return None
    return PublicLinks(settings.kp_public_url.rstrip("/"), tokens)


def links_of_each_secret(settings: Settings) -> list[PublicLinks]:
    """Links as each of the secrets signs them, the newest first: letters have kept those of their time."""
    if not settings.kp_public_url or not settings.kp_link_keys:
        return []
    secrets = split_secrets(settings.kp_link_keys.get_secret_value())
    return [PublicLinks(settings.kp_public_url.rstrip("/"), LinkTokens([secret])) for secret in secrets]
