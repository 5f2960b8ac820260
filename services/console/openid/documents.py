"""JSON from the provider: encrypted, bounded in time and size, from the asked address and no other."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any

import httpx

from services.console.openid.attempt import ProviderTrouble
from shared.settings import is_loopback

#: Bytes of an answer, seconds for a step of a request and for all of it.
MOST_BYTES, STEP_SECONDS, WHOLE_SECONDS = 256 * 1024, 5.0, 10.0


class Documents:
    """Asks one provider. Raises ProviderTrouble, which never says what was sent."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        # The certificates that the machine trusts: a company's provider often has one of the company's own.
        self._tls = ssl.create_default_context()
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2

    def trouble(self, reason: str) -> ProviderTrouble:
        """What is wrong with this provider."""
        return ProviderTrouble(f"sign-in service {self._issuer}: {reason}")

    def may_ask(self, url: str) -> bool:
        """Whether nobody reads along: https, or this machine's loopback for a provider that is on it itself."""
        local = url.startswith("http://") and is_loopback(url) and is_loopback(self._issuer)
        return local or url.startswith("https://")

    async def get(self, url: str) -> dict[str, Any]:
        """A document that must be there."""
        status, found = await self._ask("GET", url)
        if status != 200:
            raise self.trouble(f"{url} answered {status}")
        return found

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """The answer to a form, whatever its status."""
        return await self._ask("POST", url, form, headers)

    async def _ask(
        self, method: str, url: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        if not self.may_ask(url):
            raise self.trouble(f"{url[:200]} is no https address")
        # Uncompressed, so that what is counted is what is held. A redirect is an answer like others, and not followed.
        sent = {"Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})}
        through_proxy = not is_loopback(url)
        try:
            async with (
                asyncio.timeout(WHOLE_SECONDS),
                httpx.AsyncClient(
                    verify=self._tls, timeout=STEP_SECONDS, follow_redirects=False, trust_env=through_proxy
                ) as client,
                client.stream(method, url, data=form, headers=sent) as answer,
            ):
                return answer.status_code, self._document(await self._body(answer), answer.status_code)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            raise self.trouble(f"{url} does not answer ({type(exc).__name__})") from exc

    async def _body(self, answer: httpx.Response) -> bytes:
        body = bytearray()
        async for piece in answer.aiter_raw():
            body += piece
            if len(body) > MOST_BYTES:
                raise self.trouble(f"its answer is larger than {MOST_BYTES} bytes")
        return bytes(body)

    def _document(self, body: bytes, status: int) -> dict[str, Any]:
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            return found
        if status == 200:
            raise self.trouble("its answer is not a JSON object")
        return {}
