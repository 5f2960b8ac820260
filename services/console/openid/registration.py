"""How the console is registered at the company's OpenID provider."""

from dataclasses import dataclass, field

from shared.settings import Settings

#: Where the provider sends the browser back to.
ANSWER_PATH = "/sign-in/company/answer"


@dataclass(frozen=True, slots=True)
class Registration:
    """The provider's name for itself and for us, the shared secret, and the claim that has a user's name."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    user_claim: str
    #: Where people reach the console, without a slash at its end.
    console_url: str

    @property
    def answer_url(self) -> str:
        """The address that has to be registered at the provider."""
        return self.console_url + ANSWER_PATH

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach the console by https."""
        return self.console_url.startswith("https:")

    @property
    def scope(self) -> str:
        """What we ask to be told of a person: no more than the claim needs."""
        return "openid email" if self.user_claim == "email" else "openid profile"


def registration_of(settings: Settings) -> Registration | None:
    """The registration that the settings describe; None where there is none (they are checked to be whole)."""
    secret = settings.kp_oidc_client_secret
    if not (settings.kp_oidc_issuer and settings.kp_oidc_client_id and secret and settings.kp_console_url):
        return None
    return Registration(
        settings.kp_oidc_issuer,
        settings.kp_oidc_client_id,
        secret.get_secret_value(),
        settings.kp_oidc_user_claim,
        settings.kp_console_url.rstrip("/"),
    )
