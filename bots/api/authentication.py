"""Who asks: a program with a token, or a person who is logged in to the admin."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from bots import access


class BearerToken(BaseAuthentication):
    """`Authorization: Bearer <token>`. The actor is `request.auth`."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, access.Actor] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        actor = access.from_token(text.strip())
        if actor is None:
            raise AuthenticationFailed(
                "This token is unknown, has expired, or was made by somebody who may not log in."
            )
        return AnonymousUser(), actor

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="botadmin"'


def actor_of(request: Request) -> access.Actor | None:
    """None for somebody we do not know, and for people who do not work here."""
    if isinstance(request.auth, access.Actor):
        return request.auth
    return access.from_user(request.user)


class BearerTokenScheme(OpenApiAuthenticationExtension):
    target_class = BearerToken
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}
