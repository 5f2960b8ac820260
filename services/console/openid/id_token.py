"""Whether an ID token proves who somebody is: signature, issuer, audience, time, nonce."""

import hmac
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import ClaimError, JoseError
from joserfc.jwk import ECKey, RSAKey

from services.console.openid.attempt import NotTrusted

#: Signatures that only the provider can make: no `none`, nothing made with a secret that we share or publish.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
#: Seconds that the provider's clock may be apart from ours.
LEEWAY_SECONDS = 60
#: Bits of an RSA key at least.
LEAST_RSA_BITS = 2048
_LONGEST_NAME = 200

Key = RSAKey | ECKey
_KINDS: Mapping[str, type[RSAKey] | type[ECKey]] = {"RSA": RSAKey, "EC": ECKey}


class UnknownKey(NotTrusted):
    """The token names a signature key that is not known: the provider may have changed its keys since."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Whose token it must be, for whom, and for which sign-in."""

    issuer: str
    client_id: str
    nonce: str


def usable_keys(document: Mapping[str, Any]) -> list[Key]:
    """The public keys of a JWKS document that may have signed a token; what is none of them is passed over."""
    listed = document.get("keys")
    found = [_usable(one) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return [key for key in found if key is not None]


def _usable(document: dict[str, Any]) -> Key | None:
    kind = _KINDS.get(str(document.get("kty")))
    if kind is None or document.get("use", "sig") != "sig":
        return None
    try:
        key: Key = kind.import_key(document)
        if isinstance(key, RSAKey) and key.public_key.key_size < LEAST_RSA_BITS:
            return None
    except (JoseError, ValueError, KeyError, TypeError):
        return None
    return key


def verified_claims(token: str, keys: Sequence[Key], expected: Expected, now: float) -> dict[str, Any]:
    """What the token says, once all of it is proved; raises NotTrusted with a reason that holds nothing of it."""
    # Headers that we do not know are to be ignored, unless `crit` says otherwise.
    registry = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    registry.max_header_length = 8192
    try:
        header = jws.extract_compact(token.encode(), registry=registry).headers()
        claims = jwt.decode(token, _key_for(header, keys), registry=registry).claims
        _check(claims, expected, now)
    except ClaimError as exc:
        raise NotTrusted(f"{exc.error}: {exc.claim}") from exc
    except JoseError as exc:
        raise NotTrusted(exc.error or "not a signed token") from exc
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise NotTrusted("not a signed token") from exc
    return claims


def _key_for(header: Mapping[str, Any], keys: Sequence[Key]) -> Key:
    """The key that the header names; without a name the only one there is."""
    name, algorithm = header.get("kid"), header.get("alg")
    if algorithm not in ALGORITHMS:
        raise NotTrusted("the algorithm is not allowed")
    fitting = [key for key in keys if key.get("alg", algorithm) == algorithm]
    named = [key for key in fitting if key.kid == name] if name is not None else fitting
    if len(named) != 1:
        raise UnknownKey("the key is not known" if name is not None else "no key is named")
    return named[0]


def _check(claims: dict[str, Any], expected: Expected, now: float) -> None:
    jwt.JWTClaimsRegistry(
        now=math.floor(now),
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": expected.issuer},
        sub={"essential": True},
        aud={"essential": True, "value": expected.client_id},
        exp={"essential": True},
        iat={"essential": True},
    ).validate(claims)
    nonce, audience = claims.get("nonce"), claims["aud"]
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise NotTrusted("the nonce is not that of this sign-in")
    # A token for several must say which of them asked for it.
    several = isinstance(audience, list) and len(audience) > 1
    if (several or "azp" in claims) and claims.get("azp") != expected.client_id:
        raise NotTrusted("it was made for somebody else (azp)")


def name_in(claims: Mapping[str, Any], claim: str) -> str:
    """The user's name; raises NotTrusted where the claim has none that can be relied on."""
    name = claims.get(claim)
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        raise NotTrusted(f"the claim {claim} has no name")
    if any(unicodedata.category(character).startswith("C") for character in name):
        raise NotTrusted(f"the claim {claim} has control characters")
    if claim == "email" and claims.get("email_verified") is not True:
        raise NotTrusted("the e-mail address is not verified")
    return name
