"""The local platform's own words, for requests that nothing else covers.

| request | answers |
| --- | --- |
| `GET /me` | the account that asks |
| `GET /rooms` | the rooms it is in; `?archived=true`: those that were archived |

Anything else is a 404, and any other method a 405, as a server would say it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from spaces.models.local import LocalAccount, LocalRoom
from spaces.platforms import _local_accounts as accounts
from spaces.platforms import _local_rooms as rooms
from spaces.platforms.errors import Rejected
from spaces.platforms.messages import CustomRequest, CustomResponse, Json


def answer(me: LocalAccount, request: CustomRequest) -> CustomResponse:
    """Raises `Rejected` for a path that leads out of these."""
    if not request.path.startswith("/") or ".." in request.path.split("/"):
        raise Rejected("A path begins with / and stays below it.", code="path_outside")
    ask = _ANSWERS.get(request.path.rstrip("/"))
    if ask is None:
        return CustomResponse(status=404, body={"error": f"There is nothing at {request.path}."})
    if request.method not in ("GET", "HEAD"):
        return CustomResponse(status=405, body={"error": f"Only GET is possible, {request.path}."})
    body = ask(me, request)
    return CustomResponse(status=200, body=None if request.method == "HEAD" else body)


def _me(me: LocalAccount, request: CustomRequest) -> Json:
    return asdict(accounts.info(me)) | {
        "presence": me.presence,
        "presence_text": me.presence_text,
        "read_receipts": me.read_receipts,
    }


def _rooms(me: LocalAccount, request: CustomRequest) -> Json:
    archived = request.query.get("archived") == "true"
    mine = LocalRoom.objects.filter(members__account=me, members__left_seq=None)
    found = mine.filter(archived_at__isnull=not archived).order_by("pk")
    return [asdict(info) for info in rooms.infos(found, me)]


_ANSWERS: dict[str, Callable[[LocalAccount, CustomRequest], Json]] = {
    "/me": _me,
    "/rooms": _rooms,
}
