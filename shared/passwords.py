"""Passwords of users: hashed with argon2, never kept or logged as given. The only importer of pwdlib."""

from pwdlib import PasswordHash

from shared.errors import InvalidInput

#: Shortest password, in characters (NIST SP 800-63B asks for length, not for kinds of characters).
SHORTEST = 12
#: Longest, in characters: hashing must stay bounded.
LONGEST = 1024


def hash_password(password: str) -> str:
    """The hash to store; raises InvalidInput, which does not show the password."""
    if not SHORTEST <= len(password) <= LONGEST:
        length = f"{len(password)} characters"
        raise InvalidInput("password", length, f"must have {SHORTEST} to {LONGEST} characters")
    return PasswordHash.recommended().hash(password)


def is_password(password: str, stored: str | None) -> bool:
    """Whether the password is that of the stored hash; False without one."""
    return stored is not None and len(password) <= LONGEST and PasswordHash.recommended().verify(password, stored)
