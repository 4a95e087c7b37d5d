"""People of a Mattermost server: finding them, and changing who takes part in a channel.

Adding many at once gives those that it worked for and is silent about the others, so whoever is
missing is asked for alone, and the reason told for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from urllib.parse import quote

from spaces.platforms import _mattermost_wire as wire
from spaces.platforms._mattermost_api import (
    CHANNEL_ARCHIVED,
    IDS_PER_REQUEST,
    PAGE,
    Api,
    Fields,
    is_id,
)
from spaces.platforms.errors import (
    Forbidden,
    NotFound,
    PlatformError,
    RateLimited,
    Rejected,
    Unavailable,
)
from spaces.platforms.messages import ParticipantInfo, PersonInfo, PersonOutcome, PersonRef, Role

NOT_FOUND = "person_not_found"
NOT_IN_TEAM = "not_in_team"


def find(api: Api, refs: Sequence[PersonRef]) -> list[Fields | None]:
    """The user for each, in order, `None` for those that do not exist. Few requests, except for
    e-mail addresses: those are asked for one by one."""
    usernames = sorted({ref.username.lower() for ref in refs if ref.username})
    ids = sorted({ref.id for ref in refs if is_id(ref.id)})
    by_name = {user["username"]: user for user in api.in_pieces("/users/usernames", usernames)}
    by_id = {user["id"]: user for user in api.in_pieces("/users/ids", ids)}
    emails = {ref.email.lower() for ref in refs if ref.email}
    by_email = {email: _by_email(api, email) for email in emails}
    return [
        by_id.get(ref.id) or by_name.get(ref.username.lower()) or by_email.get(ref.email.lower())
        for ref in refs
    ]


def one(api: Api, ref: PersonRef) -> PersonInfo:
    """Raises `NotFound`."""
    (found,) = find(api, [ref])
    if found is None:
        raise NotFound(
            _nobody(ref), code=NOT_FOUND, next_step="Correct the username, address or id."
        )
    return wire.person(found)


def _by_email(api: Api, email: str) -> Fields | None:
    try:
        return dict(api.get(f"/users/email/{quote(email, safe='@')}"))
    except (NotFound, Forbidden):
        return None  # servers may keep addresses to themselves


def _nobody(ref: PersonRef) -> str:
    if ref.email:
        return f"There is no person {ref}, or the server keeps addresses to itself."
    return f"There is no person {ref}."


def outcomes(refs: Sequence[PersonRef], found: Sequence[Fields | None]) -> list[PersonOutcome]:
    """It worked for those that exist."""
    return [
        PersonOutcome(asked=str(ref), person=wire.person(user))
        if user
        else PersonOutcome(asked=str(ref), code=NOT_FOUND, detail=_nobody(ref))
        for ref, user in zip(refs, found, strict=True)
    ]


def participants(api: Api, channel_id: str) -> Iterator[ParticipantInfo]:
    """Ordered by username: the server's listing of members has no order, so its pages repeat and
    miss some. What that listing alone knows is asked for by ids."""
    users = api.pages("/users", {"in_channel": channel_id})
    while piece := [user for _, user in zip(range(PAGE), users, strict=False)]:
        ids = [user["id"] for user in piece]
        rows = api.look_up(f"/channels/{channel_id}/members/ids", ids) or []
        admins = {row["user_id"] for row in rows if _is_admin(row)}
        for user in piece:
            role = Role.MODERATOR if user["id"] in admins else Role.MEMBER
            yield ParticipantInfo(person=wire.person(user), role=role)


def _is_admin(member: Fields) -> bool:
    return bool(member.get("scheme_admin")) or "channel_admin" in str(member.get("roles")).split()


def add(api: Api, channel_id: str, refs: Sequence[PersonRef]) -> list[PersonOutcome]:
    """Raises only what concerns the channel as a whole."""
    if not refs:
        return []
    found = find(api, refs)
    wanted = list(dict.fromkeys(user["id"] for user in found if user))
    failed = _add_all(api, channel_id, wanted) if wanted else {}
    return [
        replace(outcome, code=error.code, detail=error.detail)
        if outcome.person and (error := failed.get(outcome.person.id))
        else outcome
        for outcome in outcomes(refs, found)
    ]


def _add_all(api: Api, channel_id: str, ids: list[str]) -> dict[str, PlatformError]:
    """Why it failed, for those that it failed for."""
    path = f"/channels/{channel_id}/members"
    inside: set[str] = set()
    for start in range(0, len(ids), IDS_PER_REQUEST):
        inside |= _added(api, channel_id, ids[start : start + IDS_PER_REQUEST])
    missing = [id for id in ids if id not in inside]
    if not missing:
        return {}
    channel = api.get(f"/channels/{channel_id}")
    if not inside:
        _require_open(channel)
    strangers = _not_in_team(api, channel, missing)
    failed: dict[str, PlatformError] = {id: _stranger() for id in strangers}
    for id in missing:
        if id not in strangers and (error := _add_one(api, path, id)):
            failed[id] = error
    return failed


def _added(api: Api, channel_id: str, ids: list[str]) -> set[str]:
    """Those of a request that it worked for. Raises what concerns the channel."""
    try:
        rows = api.post(
            f"/channels/{channel_id}/members",
            {"user_ids": ids},
            idempotent=True,
            timeout_seconds=api.http.long_seconds,
        )
    except (Unavailable, RateLimited):
        raise
    except Forbidden:
        api.get(f"/channels/{channel_id}")  # there is none, or the bot may not add anybody
        raise
    except PlatformError:
        return set()  # it failed for each of them
    return {row["user_id"] for row in rows}


def _require_open(channel: Fields) -> None:
    """Raises `Rejected` for a channel that takes nobody, rather than have each of them refused."""
    if channel.get("delete_at"):
        raise Rejected(
            "The channel is archived.",
            code=CHANNEL_ARCHIVED,
            next_step="Restore the channel, then add people.",
        )
    if not channel.get("team_id"):
        raise Rejected(
            "Nobody can be added to a conversation.",
            code="wrong_kind",
            next_step="Create a group of all of them, or a private channel.",
        )


def _add_one(api: Api, path: str, id: str) -> PlatformError | None:
    try:
        api.post(path, {"user_id": id}, idempotent=True)
    except (Unavailable, RateLimited):
        raise
    except PlatformError as error:
        return error
    return None


def _stranger() -> PlatformError:
    return NotFound(
        "The person is not in the channel's team. Add them to the team first.", code=NOT_IN_TEAM
    )


def _not_in_team(api: Api, channel: Fields, ids: list[str]) -> set[str]:
    if not channel.get("team_id"):
        return set()
    path = f"/teams/{channel['team_id']}/members/ids"
    members = {row["user_id"] for row in api.in_pieces(path, ids) if not row.get("delete_at")}
    return set(ids) - members


def promote(api: Api, channel_id: str, outcomes: Sequence[PersonOutcome]) -> list[PersonOutcome]:
    """Make channel admins of those that it worked for."""
    return [_promoted(api, channel_id, outcome) for outcome in outcomes]


def _promoted(api: Api, channel_id: str, outcome: PersonOutcome) -> PersonOutcome:
    if not outcome.ok or not outcome.person:
        return outcome
    path = f"/channels/{channel_id}/members/{outcome.person.id}/schemeRoles"
    try:
        api.put(path, {"scheme_user": True, "scheme_admin": True})
    except (Unavailable, RateLimited):
        raise
    except PlatformError as error:
        return replace(outcome, code=error.code, detail=f"Added, but: {error.detail}")
    return outcome


def remove(api: Api, channel_id: str, refs: Sequence[PersonRef]) -> list[PersonOutcome]:
    if not refs:
        return []
    api.get(f"/channels/{channel_id}")  # that it is missing must not look like an absent member
    found = find(api, refs)
    return [
        _removed(api, channel_id, outcome) if outcome.person else outcome
        for outcome in outcomes(refs, found)
    ]


def _removed(api: Api, channel_id: str, outcome: PersonOutcome) -> PersonOutcome:
    assert outcome.person
    try:
        api.delete(f"/channels/{channel_id}/members/{outcome.person.id}")
    except NotFound:
        return outcome  # is not a member
    except (Unavailable, RateLimited):
        raise
    except PlatformError as error:
        return replace(outcome, code=error.code, detail=error.detail)
    return outcome
