"""The HTTP side: every request's way through faults, limits and login to its route and back."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
from email.utils import formatdate
from http.cookies import SimpleCookie
from urllib.parse import unquote

from aiohttp import web

from . import assumptions, sessions, sockets
from .calls import Answer, Call, check_params
from .controls import CONTROL_PATH, Controls
from .errors import ApiError, no_route, not_logged_in, too_large
from .faults import Cut, Fault, Kind, Place
from .limits import Charge
from .routes import ROUTES
from .settings import BUILD
from .simulation import Simulation
from .state import Session, new_id

WEBSOCKET_PATH = "/api/v4/websocket"
EXTRA_PAYLOAD = 512
CACHED_PREFIXES = tuple(f"/api/v4/{name}" for name in ("posts", "users", "channels", "bots"))
DELETE_COOKIE = "MMAUTHTOKEN=; Path=/; Max-Age=0; HttpOnly"


class Door:
    """Takes every request; one per server."""

    def __init__(self, simulation: Simulation, controls: Controls):
        self._simulation = simulation
        self._controls = controls
        # Connections that asked for a control: a shutdown must not cut off its own answer.
        self.controlling: set[asyncio.BaseTransport] = set()

    async def take(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == CONTROL_PATH or request.path.startswith(f"{CONTROL_PATH}/"):
            return await self._control(request)
        try:
            return await self._pass(request)
        except Cut:
            if request.transport:
                request.transport.abort()
            # Nobody is left to read it, but the HTTP library wants to have an answer.
            return web.Response(status=502)

    async def _control(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            return web.Response(status=502)
        self.controlling.add(transport)
        try:
            return await self._controls.answer(request)
        finally:
            self.controlling.discard(transport)

    async def _pass(self, request: web.BaseRequest) -> web.StreamResponse:
        token, source = token_of(request)
        known = self._simulation.world.sessions.get(token)
        access = self._simulation.world.tokens.get(token)
        user_id = known.user_id if known else access.user_id if access else ""
        fault = await self._meet(Place.BEFORE, request, user_id)
        if fault:
            return _faulty(fault)
        charges = self._charge(request, token, user_id)
        headers = [header for charge in charges for header in charge.headers]
        if not all(charge.allowed for charge in charges):
            return _limited(headers)
        if request.path == WEBSOCKET_PATH and request.method == "GET":
            return await self._upgrade(request, token, source)
        request_id = new_id()
        with self._simulation.traffic.of(token):
            answer = await self._answer(request, request_id, token, source)
        fault = await self._meet(Place.AFTER, request, user_id)
        if fault and fault.kind == Kind.BREAK_OFF:
            answer = _broken_off(answer, request_id)
        elif fault:
            return _faulty(fault)
        return self._response(request, request_id, answer, headers)

    async def _meet(self, place: Place, request: web.BaseRequest, user_id: str) -> Fault | None:
        """Let the request run into what was set up for it; a fault that answers is returned."""
        fault = self._simulation.faults.take(place, request.method, request.path, user_id)
        if fault is None:
            return None
        if fault.kind == Kind.STALL:
            await self._simulation.faults.hang(fault)
            return None
        if fault.kind == Kind.CUT:
            if place == Place.BEFORE:
                await request.read()
            raise Cut
        return fault

    def _charge(self, request: web.BaseRequest, token: str, user_id: str) -> list[Charge]:
        limiter = self._simulation.limiter
        if not limiter.is_on():
            return []
        named = self._simulation.setting("RateLimitSettings", "VaryByHeader")
        keys = limiter.keys(
            address=request.remote or "",
            token=token,
            user_id=user_id,
            header=request.headers.get(named, "") if named else "",
        )
        return [limiter.charge(key) for key in keys]

    async def _upgrade(
        self, request: web.BaseRequest, token: str, source: str
    ) -> web.StreamResponse:
        if source == "query":
            refusal = ApiError(401, "api.context.token_provided.app_error")
            return self._response(request, new_id(), _refused(refusal, ""), [])
        if not sockets.origin_is_allowed(self._simulation, request):
            return web.Response(status=403, text="Forbidden\n")
        session = sessions.by_token(self._simulation, token)
        return await sockets.serve(self._simulation, request, session)

    async def _answer(
        self, request: web.BaseRequest, request_id: str, token: str, source: str
    ) -> Answer:
        call = Call(self._simulation, request, request_id, None)
        try:
            answer = await self._handle(call, token, source)
        except ApiError as refusal:
            answer = _refused(refusal, request_id)
            if refusal.status == 401 and token and call.session is None:
                answer.cookies.append(DELETE_COOKIE)
        except ConnectionError:
            raise Cut from None
        answer.cookies += call.set_cookies
        return answer

    async def _handle(self, call: Call, token: str, source: str) -> Answer:
        simulation, request = self._simulation, call.request
        if len(request.path_qs) > simulation.setting("ServiceSettings", "MaximumURLLength"):
            raise ApiError(414, "basic_security_check.url.too_long_error")
        found = ROUTES.find(request.method, unquote(request.path))
        if found is None:
            raise no_route()
        route, params = found
        if not route.takes_files:
            call.body = await self._read(request)
        session = sessions.by_token(simulation, token) if token else None
        if source == "query" and session:
            raise ApiError(401, "api.context.token_provided.app_error")
        if route.needs_login:
            if session is None:
                raise not_logged_in()
            call.session = session
            self._check_csrf(request, session, source)
            self._check_second_factor(session)
        call.session = session
        call.params = check_params(params, session)
        result = route.handler(call)
        if inspect.isawaitable(result):
            result = await result
        return result if isinstance(result, Answer) else Answer(result)

    async def _read(self, request: web.BaseRequest) -> bytes:
        most = self._simulation.setting("ServiceSettings", "MaximumPayloadSizeBytes")
        most += EXTRA_PAYLOAD
        body = bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > most:
                raise too_large()
        return bytes(body)

    def _check_second_factor(self, session: Session) -> None:
        if not self._simulation.setting("ServiceSettings", "EnforceMultifactorAuthentication"):
            return
        world = self._simulation.world
        user = world.users[session.user_id]
        if not user.mfa_active and user.id not in world.bots:
            raise ApiError(403, "api.context.mfa_required.app_error")

    def _check_csrf(self, request: web.BaseRequest, session: Session, source: str) -> None:
        if source != "cookie" or request.method == "GET":
            return
        if request.headers.get("X-CSRF-Token") == session.csrf:
            return
        strict = self._simulation.setting("ServiceSettings", "ExperimentalStrictCSRFEnforcement")
        if not strict and request.headers.get("X-Requested-With") == "XMLHttpRequest":
            return
        raise not_logged_in()

    def _response(
        self,
        request: web.BaseRequest,
        request_id: str,
        answer: Answer,
        extra: list[tuple[str, str]],
    ) -> web.StreamResponse:
        is_json = not isinstance(answer.body, bytes)
        body = json.dumps(answer.body).encode() + b"\n" if is_json else answer.body
        response = web.Response(status=answer.status, body=body)
        response.headers["Content-Type"] = "application/json"
        response.headers["X-Request-Id"] = request_id
        response.headers["X-Version-Id"] = BUILD
        response.headers["Date"] = formatdate(self._simulation.clock.seconds(), usegmt=True)
        response.headers["Vary"] = "Origin, Accept-Encoding"
        if request.method == "GET":
            response.headers["Expires"] = "0"
        for name, value in [*answer.headers.items(), *extra]:
            if name in answer.headers:
                response.headers[name] = value
            else:
                response.headers.add(name, value)
        for cookie in answer.cookies:
            response.headers.add("Set-Cookie", cookie)
        if is_json and answer.status == 200 and request.method == "GET":
            _add_etag(request, response, body)
        if len(body) >= assumptions.COMPRESS_FROM_BYTES and is_json:
            response.enable_compression()
        return response


def token_of(request: web.BaseRequest) -> tuple[str, str]:
    """(token, where it came from): cookie before header before query; "" when there is none."""
    cookies = SimpleCookie(request.headers.get("Cookie", ""))
    if "MMAUTHTOKEN" in cookies and cookies["MMAUTHTOKEN"].value:
        return cookies["MMAUTHTOKEN"].value, "cookie"
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() in ("bearer", "token") and value:
        return value.strip()[: sessions.TOKEN_LENGTH], "header"
    if request.query.get("access_token"):
        return request.query["access_token"], "query"
    return "", ""


def _refused(refusal: ApiError, request_id: str) -> Answer:
    return Answer(refusal.as_json() | {"request_id": request_id}, status=refusal.status)


def _broken_off(answer: Answer, request_id: str) -> Answer:
    """A list whose rows were written one by one, until something failed."""
    if not isinstance(answer.body, list):
        return answer
    written = answer.body[: len(answer.body) // 2]
    error = ApiError(500, "app.channel.get_channels.get.app_error").as_json()
    rows = [json.dumps(row) for row in [*written, error | {"request_id": request_id}]]
    return Answer(("[" + ",".join(rows)).encode())


def _add_etag(request: web.BaseRequest, response: web.Response, body: bytes) -> None:
    if not request.path.startswith(CACHED_PREFIXES):
        return
    etag = f'"{BUILD}.{hashlib.sha1(body).hexdigest()}"'
    response.headers["Etag"] = etag
    if request.headers.get("If-None-Match") == etag:
        response.set_status(304)
        response.body = b""


def _limited(headers: list[tuple[str, str]]) -> web.Response:
    response = web.Response(status=429, text="limit exceeded\n")
    for name, value in headers:
        response.headers.add(name, value)
    return response


def _faulty(fault: Fault) -> web.Response:
    """An answer that comes from no handler: a full bucket, or something broken in between."""
    if fault.kind == Kind.TOO_MANY:
        after = str(fault.retry_after)
        return _limited(
            [
                ("X-RateLimit-Limit", "101"),
                ("X-RateLimit-Remaining", "0"),
                ("X-RateLimit-Reset", after),
                ("Retry-After", after),
            ]
        )
    if fault.by == "proxy":
        page = f"<html><body><h1>{fault.status}</h1></body></html>"
        return web.Response(status=fault.status, text=page, content_type="text/html")
    error = ApiError(fault.status, "simulated.fault.app_error", "A fault was set up for this.")
    return web.json_response(error.as_json() | {"request_id": new_id()}, status=fault.status)
