"""Whether a role's stored verifier belongs to a password, decided on this side so that no login is needed for it.

The format is PostgreSQL's `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>` (RFC 5802, RFC 7677).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata


def verifies(stored: str | None, password: str) -> bool:
    """Whether `stored` (pg_authid.rolpassword) is a SCRAM-SHA-256 verifier of `password`; False for any other kind."""
    if not stored or not stored.startswith("SCRAM-SHA-256$"):
        return False
    try:
        _, parameters, keys = stored.split("$")
        iterations, salt = parameters.split(":")
        expected = base64.b64decode(keys.split(":")[0], validate=True)
        salted = hashlib.pbkdf2_hmac(
            "sha256",
            unicodedata.normalize("NFKC", password).encode(),
            base64.b64decode(salt, validate=True),
            int(iterations),
        )
    except ValueError:
        return False
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), expected)
