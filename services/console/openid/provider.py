"""The company's OpenID provider: where to send a browser, and whom its answer is about."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote_plus, urlencode

from services.console.openid.attempt import Attempt, NotTrusted, ProviderTrouble
from services.console.openid.documents import Documents
from services.console.openid.id_token import Expected, Key, UnknownKey, name_in, usable_keys, verified_claims
from services.console.openid.registration import Registration

#: Seconds for which addresses and keys are kept. A key that the provider withdraws is trusted no longer than this.
KEPT_SECONDS = 3600.0
#: An unknown key is looked for at once, unless the keys were fetched just now; a provider that is away is left alone.
ASK_AGAIN_SECONDS, LEFT_ALONE_SECONDS = 10.0, 3.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The provider's addresses, from its discovery document."""

    authorization: str
    token: str
    keys: str
    #: The secret goes into the form instead of the header.
    secret_in_form: bool
    #: Each answer names its issuer (RFC 9207).
    names_issuer: bool


class _Kept(Generic[T]):
    """Something fetched, for a while; many who want it wait for one request."""

    def __init__(self, fetch: Callable[[], Awaitable[T]]) -> None:
        self._fetch, self._lock = fetch, asyncio.Lock()
        self._found: tuple[float, T] | None = None
        self._failed: tuple[float, str] | None = None

    async def get(self, oldest: float = KEPT_SECONDS) -> T:
        """As it was not longer than `oldest` seconds ago."""
        async with self._lock:
            now = time.monotonic()
            if self._found and now - self._found[0] < oldest:
                return self._found[1]
            if self._failed and now - self._failed[0] < LEFT_ALONE_SECONDS:
                raise ProviderTrouble(self._failed[1])
            try:
                self._found = (time.monotonic(), found := await self._fetch())
            except ProviderTrouble as exc:
                self._failed = (time.monotonic(), str(exc))
                raise
            return found


class Provider:
    """One provider with one registration; tokens are judged by real time, whatever clock a rehearsal has."""

    def __init__(self, registration: Registration, now: Callable[[], float] = time.time) -> None:
        self.registration, self._now = registration, now
        self._documents = Documents(registration.issuer)
        self._endpoints = _Kept(self._discover)
        self._keys = _Kept(self._fetch_keys)

    async def address(self, attempt: Attempt) -> str:
        """Where the browser is to go; raises ProviderTrouble."""
        page = (await self._endpoints.get()).authorization
        query = {
            "response_type": "code",
            "client_id": self.registration.client_id,
            "redirect_uri": self.registration.answer_url,
            "scope": self.registration.scope,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        return f"{page}{'&' if '?' in page else '?'}{urlencode(query)}"

    async def user_name(self, attempt: Attempt, code: str, issuer: str | None) -> str:
        """The user that a code stands for; raises NotTrusted, ProviderTrouble.

        `issuer`: as the answer names it.
        """
        endpoints = await self._endpoints.get()
        if issuer != self.registration.issuer and (issuer is not None or endpoints.names_issuer):
            raise NotTrusted("the answer is another issuer's")
        token = await self._redeem(endpoints, attempt, code)
        expected = Expected(self.registration.issuer, self.registration.client_id, attempt.nonce)
        try:
            claims = verified_claims(token, await self._keys.get(), expected, self._now())
        except UnknownKey:
            keys = await self._keys.get(ASK_AGAIN_SECONDS)
            claims = verified_claims(token, keys, expected, self._now())
        return name_in(claims, self.registration.user_claim)

    async def look(self) -> str:
        """What can be said of the provider, for `doctor`; raises ProviderTrouble."""
        await self._endpoints.get()
        keys = await self._keys.get()
        if not keys:
            raise self._documents.trouble("it has no key of a kind that is accepted here")
        return f"{self.registration.issuer}, {len(keys)} keys; it has to know {self.registration.answer_url}"

    async def _redeem(self, endpoints: Endpoints, attempt: Attempt, code: str) -> str:
        known = self.registration
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": known.answer_url,
            "code_verifier": attempt.verifier,
        }
        headers = {}
        if endpoints.secret_in_form:
            form |= {"client_id": known.client_id, "client_secret": known.client_secret}
        else:
            pair = f"{quote_plus(known.client_id)}:{quote_plus(known.client_secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        status, answer = await self._documents.post(endpoints.token, form, headers)
        if status == 400 and answer.get("error") == "invalid_grant":
            raise NotTrusted("the code is not valid (any more)")
        if status != 200:
            raise self._documents.trouble(f"{endpoints.token} answered {status} {_error_of(answer)}".rstrip())
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise NotTrusted("the answer has no ID token")
        return token

    async def _discover(self) -> Endpoints:
        issuer = self.registration.issuer
        found = await self._documents.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise self._documents.trouble(f"it calls itself {str(found.get('issuer'))[:200]!r}, not as KP_OIDC_ISSUER")
        pages = {name: found.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
        for name, page in pages.items():
            if not isinstance(page, str) or not self._documents.may_ask(page):
                raise self._documents.trouble(f"its {name} is no https address")
        listed = found.get("token_endpoint_auth_methods_supported")
        ways = listed if isinstance(listed, list) else ["client_secret_basic"]
        return Endpoints(
            authorization=str(pages["authorization_endpoint"]),
            token=str(pages["token_endpoint"]),
            keys=str(pages["jwks_uri"]),
            secret_in_form="client_secret_basic" not in ways and "client_secret_post" in ways,
            names_issuer=found.get("authorization_response_iss_parameter_supported") is True,
        )

    async def _fetch_keys(self) -> list[Key]:
        return usable_keys(await self._documents.get((await self._endpoints.get()).keys))


def _error_of(answer: dict[str, Any]) -> str:
    """The provider's error code, which OAuth bounds to a few plain characters."""
    code = str(answer.get("error", ""))
    return code if code.replace("_", "").isalnum() and len(code) <= 40 else ""
