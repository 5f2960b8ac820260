"""A small OpenID provider on a port of its own: real addresses, keys, codes and tokens, and faults on request."""

import base64
import hashlib
import html
import json
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus, urlencode

import uvicorn
from joserfc import jws, jwt
from joserfc.jwk import ECKey, RSAKey
from joserfc.registry import HeaderParameter
from starlette.applications import Starlette
from starlette.datastructures import FormData, QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT_ID, CLIENT_SECRET = "kontaktpflege", "ein Geheimnis: 100% + mehr"
Claims = dict[str, Any]


def new_key(name: str) -> RSAKey:
    """A key for signatures, of a size that is accepted."""
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig", "alg": "RS256"})


def signed(claims: Claims, key: RSAKey | ECKey, header: Claims | None = None) -> str:
    """A token as providers make them."""
    head = {"alg": "RS256" if isinstance(key, RSAKey) else "ES256", "kid": key.kid, **(header or {})}
    own = {name: HeaderParameter("of a test", "str") for name in ("rh", "strange")}
    return jwt.encode(head, claims, key, registry=jws.JWSRegistry(own, ["RS256", "ES256"]))


def unsigned(header: Claims, claims: Claims) -> tuple[str, str]:
    """Header and claims as they stand before a signature."""
    return base64_of(json.dumps(header).encode()), base64_of(json.dumps(claims).encode())


def base64_of(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


#: One for all: making one takes longer than most tests.
FIRST_KEY = new_key("first")


@dataclass
class Grant:
    """What a code stands for, once."""

    user: str
    asked: QueryParams


@dataclass
class OpenIdProvider:
    """The provider as an administrator would see it; what is not set is as the standard has it."""

    host: str = "127.0.0.1"
    #: Answers by https.
    tls: ssl.SSLContext | None = None
    #: Whom it signs in without asking; None: a page asks.
    user: str | None = "u.edit"
    keys: list[RSAKey | ECKey] = field(default_factory=lambda: [FIRST_KEY])
    #: What to say otherwise in the discovery document; None leaves it out.
    discovery: Claims = field(default_factory=dict)
    #: Makes the token from its claims, instead of signing them with the first key.
    token_of: Callable[[Claims], str] | None = None
    #: Changes claims before they are signed; None leaves one out.
    claims: Claims = field(default_factory=dict)
    #: Answers an address instead of the provider.
    instead: dict[str, Callable[[], Response]] = field(default_factory=dict)
    #: What was asked, by address.
    asked: list[str] = field(default_factory=list)
    grants: dict[str, Grant] = field(default_factory=dict)

    def __enter__(self) -> "OpenIdProvider":
        self._listening = socket.create_server((self.host, 0))
        # It does not wait for who keeps a connection.
        config = uvicorn.Config(
            self._app(), log_config=None, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=1
        )
        config.load()
        config.ssl = self.tls
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listening]}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._listening.close()

    @property
    def issuer(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{self.host}:{self._listening.getsockname()[1]}"

    def settings(self, console_url: str) -> dict[str, str]:
        """The console's settings for it."""
        return {
            "KP_CONSOLE_URL": console_url,
            "KP_OIDC_ISSUER": self.issuer,
            "KP_OIDC_CLIENT_ID": CLIENT_ID,
            "KP_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        }

    def _app(self) -> Starlette:
        pages = {
            "/.well-known/openid-configuration": self._discovery,
            "/authorize": self._authorize,
            "/token": self._token,
            "/keys": self._keys,
        }
        routes = [Route(path, self._watched(path, page), methods=["GET", "POST"]) for path, page in pages.items()]
        return Starlette(routes=routes)

    def _watched(self, path: str, page: Callable[[Request, FormData], Response]) -> Any:
        async def answer(request: Request) -> Response:
            self.asked.append(path)
            return self.instead[path]() if path in self.instead else page(request, await request.form())

        return answer

    def _discovery(self, request: Request, form: FormData) -> Response:
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "authorization_response_iss_parameter_supported": True,
            **self.discovery,
        }
        return JSONResponse({key: value for key, value in document.items() if value is not None})

    def _keys(self, request: Request, form: FormData) -> Response:
        return JSONResponse({"keys": [key.as_dict(private=False) for key in self.keys]})

    def _authorize(self, request: Request, form: FormData) -> Response:
        asked = request.query_params
        assert asked["response_type"] == "code" and asked["client_id"] == CLIENT_ID, asked
        assert "openid" in asked["scope"].split() and asked["code_challenge_method"] == "S256", asked
        assert asked["redirect_uri"].endswith("/sign-in/company/answer"), asked
        user = form.get("user") or self.user
        if user is None:
            return HTMLResponse(
                f'<title>Firma</title><form method="post" action="{html.escape(str(request.url))}">'
                '<label>Konto <input name="user"></label><button>Weiter</button></form>'
            )
        code = secrets.token_urlsafe(16)
        self.grants[code] = Grant(str(user), asked)
        answer = {"code": code, "state": asked["state"], "iss": self.issuer}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(answer)}", 303)

    def _token(self, request: Request, form: FormData) -> Response:
        if not self._is_client(request, form):
            return JSONResponse({"error": "invalid_client"}, 401)
        grant = self.grants.pop(str(form["code"]), None)
        if grant is None or not self._fits(grant, form):
            return JSONResponse({"error": "invalid_grant", "error_description": "gone"}, 400)
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": f"id-of-{grant.user}",
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": grant.asked["nonce"],
            "preferred_username": grant.user,
            **self.claims,
        }
        claims = {key: value for key, value in claims.items() if value is not None}
        token = self.token_of(claims) if self.token_of else signed(claims, self.keys[0])
        return JSONResponse({"access_token": "unused", "token_type": "Bearer", "id_token": token})

    def _is_client(self, request: Request, form: FormData) -> bool:
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if kind != "Basic":
            return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        name, _, secret = base64.b64decode(value).decode().partition(":")
        return (unquote_plus(name), unquote_plus(secret)) == (CLIENT_ID, CLIENT_SECRET)

    @staticmethod
    def _fits(grant: Grant, form: FormData) -> bool:
        challenge = base64_of(hashlib.sha256(str(form["code_verifier"]).encode()).digest())
        same = form["redirect_uri"] == grant.asked["redirect_uri"] and form["grant_type"] == "authorization_code"
        return same and challenge == grant.asked["code_challenge"]
