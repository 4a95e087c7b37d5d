"""Signatures by which those who get our webhooks know that we sent them: Standard Webhooks 1.0.

What is signed is the id, the time and the body, so that nobody can send an old one again as a new
one. While a secret is being changed there are two, and a signature by each.
Source: https://www.standardwebhooks.com, its specification.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets as random
from collections.abc import Sequence
from datetime import datetime

PREFIX = "whsec_"
LEAST, MOST = 24, 64  # bytes of a secret
SIZE = 32  # bytes of those that we make


class SecretInvalid(ValueError):
    """This is no secret of Standard Webhooks; the text says why, without the secret."""


def new_secret() -> str:
    return PREFIX + base64.b64encode(random.token_bytes(SIZE)).decode("ascii")


def check_secret(secret: str) -> None:
    """Raises `SecretInvalid`."""
    _key(secret)


def headers(id: str, sent_at: datetime, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """What goes with a body that is sent now. `id` stays when it is sent again, `sent_at` does not.

    Raises `SecretInvalid`, and `ValueError` for an id that another one could be mistaken for.
    """
    if not id or "." in id or not (id.isascii() and id.isprintable()) or " " in id:
        raise ValueError("the id of a webhook holds visible ASCII characters and no full stop")
    if not secrets:
        raise SecretInvalid("There is no secret to sign with.")
    timestamp = int(sent_at.timestamp())
    signed = f"{id}.{timestamp}.".encode() + body
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(_key(secret), signed) for secret in secrets),
    }


def _signature(key: bytes, signed: bytes) -> str:
    digest = hmac.digest(key, signed, "sha256")
    return f"v1,{base64.b64encode(digest).decode('ascii')}"


def _key(secret: str) -> bytes:
    encoded = secret.removeprefix(PREFIX)
    if encoded == secret:
        raise SecretInvalid(f"A secret starts with {PREFIX}.")
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):  # the latter for what is not ASCII
        raise SecretInvalid(f"What follows {PREFIX} is not base64.") from None
    if not LEAST <= len(key) <= MOST:
        raise SecretInvalid(f"A secret has {LEAST} to {MOST} bytes, this one {len(key)}.")
    return key
