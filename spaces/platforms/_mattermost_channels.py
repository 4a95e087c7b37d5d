"""Channels of a Mattermost server as one bot sees them: found, made, changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from spaces.platforms import _mattermost_people as people
from spaces.platforms import _mattermost_wire as wire
from spaces.platforms._mattermost_api import (
    CHANNEL_ARCHIVED,
    NOT_A_MEMBER,
    Api,
    Fields,
    checked_id,
    is_id,
)
from spaces.platforms._mattermost_posts import Reader
from spaces.platforms.errors import (
    Forbidden,
    NotFound,
    OutcomeUnknown,
    PlatformError,
    RateLimited,
    Rejected,
    Unavailable,
)
from spaces.platforms.messages import (
    ChannelChange,
    ChannelInfo,
    ChannelKind,
    NewChannel,
    PersonInfo,
    PersonOutcome,
    PersonRef,
)

LONGEST_NAME = 64  # characters
GROUP_SIZE = range(3, 9)  # people in a group channel, the bot included


class Channels:
    """Works as the bot with `own_id`, in the teams with these names, the first of them being where
    channels are made; without names in all teams it is in."""

    def __init__(self, api: Api, own_id: str, reader: Reader, teams_wanted: Sequence[str]):
        self._api = api
        self._own_id = own_id
        self._reader = reader
        self._wanted = teams_wanted

    def all(self) -> Iterator[ChannelInfo]:
        return iter(self._infos(self._reader.channels()))

    def joinable(self) -> Iterator[ChannelInfo]:
        """The public ones of its teams, page by page."""
        mine = {one["id"] for one in self._reader.channels()}
        for team in teams(self._api, self._wanted):
            for one in self._api.pages(f"/teams/{team['id']}/channels", {}):
                if one["id"] not in mine:
                    yield self._info(one)

    def find(self, *, id: str = "", name: str = "", person: PersonRef | None = None) -> ChannelInfo:
        if person:
            return self._info(self._api.get(f"/channels/{self.direct_id(person)}"))
        if id:
            return self._info(self._api.get(f"/channels/{checked_id(id)}"))
        return self._info(self._named_channel(name.lstrip("#~")))

    def create(self, new: NewChannel) -> tuple[ChannelInfo, list[PersonOutcome]]:
        if new.kind in (ChannelKind.DIRECT, ChannelKind.GROUP):
            return self._create_conversation(new)
        team_id, name = self._team_for(new.name)
        told = self._api.post(
            "/channels",
            {
                "team_id": team_id,
                "name": _checked_name(name) or _name_for(new),
                "display_name": new.title or name or _name_for(new),
                "type": wire.LETTERS[new.kind],
                "header": new.topic,
                "purpose": new.purpose,
            },
        )
        return self._info(told), self._fill(told["id"], new.people)

    def _fill(self, channel_id: str, refs: Sequence[PersonRef]) -> list[PersonOutcome]:
        """Add the people of a channel that was made a moment ago: it exists, whatever this meets,
        so nothing may sound as if making it could be repeated."""
        try:
            return people.add(self._api, channel_id, refs)
        except (Unavailable, RateLimited) as error:
            raise OutcomeUnknown(f"The channel was made, not all are added: {error}") from error
        except PlatformError as error:
            return [
                PersonOutcome(asked=str(ref), code=error.code, detail=error.detail) for ref in refs
            ]

    def _create_conversation(self, new: NewChannel) -> tuple[ChannelInfo, list[PersonOutcome]]:
        """A direct or group channel: there is one for each set of people, made when needed."""
        found = people.find(self._api, new.people)
        outcomes = people.outcomes(new.people, found)
        ids = sorted({user["id"] for user in found if user} - {self._own_id})
        if new.kind is ChannelKind.DIRECT:
            if len(ids) != 1:
                raise Rejected("A direct channel has one other person.", code="wrong_people")
            told = self._api.look_up("/channels/direct", [self._own_id, *ids])
        else:
            if len(ids) + 1 not in GROUP_SIZE:
                raise Rejected("A group has two to seven others.", code="wrong_people")
            told = self._api.look_up("/channels/group", [self._own_id, *ids])
        if new.topic:
            told = self._api.put(f"/channels/{told['id']}/patch", {"header": new.topic})
        return self._info(told), outcomes

    def find_created(self, new: NewChannel) -> ChannelInfo | None:
        """By its name, which holds the job's key where none was asked for, and by who made it. A
        channel of this name that this bot made before is taken for the one."""
        if new.kind in (ChannelKind.DIRECT, ChannelKind.GROUP):
            return None  # asking for it again gives the same one
        team_id, name = self._team_for(new.name)
        told = self._channel_in(team_id, name or _name_for(new), archived=True)
        return self._info(told) if told and told.get("creator_id") == self._own_id else None

    def update(self, channel_id: str, change: ChannelChange) -> ChannelInfo:
        path = f"/channels/{checked_id(channel_id)}"
        wanted = {
            "display_name": change.title,
            "name": None if change.name is None else _checked_name(change.name),
            "header": change.topic,
            "purpose": change.purpose,
        }
        patch = {field: value for field, value in wanted.items() if value is not None}
        told = self._api.put(f"{path}/patch", patch) if patch else self._api.get(path)
        if change.kind and wire.KINDS.get(told["type"]) is not change.kind:
            told = self._api.put(f"{path}/privacy", {"privacy": wire.LETTERS[change.kind]})
        return self._info(told)

    def archive(self, channel_id: str) -> None:
        try:
            self._api.delete(f"/channels/{checked_id(channel_id)}")
        except Rejected as error:
            # It may be already, by an earlier try whose answer got lost.
            if error.code != CHANNEL_ARCHIVED:
                raise

    def restore(self, channel_id: str) -> ChannelInfo:
        told = self._channel_of(channel_id, archived=True)
        if told.get("delete_at"):
            told = self._api.post(f"/channels/{told['id']}/restore", idempotent=True)
        return self._info(told)

    def join(self, channel_id: str) -> ChannelInfo:
        told = self._channel_of(channel_id)
        if told.get("delete_at"):
            raise Rejected(
                "The channel is archived.",
                code=CHANNEL_ARCHIVED,
                next_step="Restore the channel, then join it.",
            )
        body = {"user_id": self._own_id}
        self._api.post(f"/channels/{told['id']}/members", body, idempotent=True)
        return self._info(told)

    def leave(self, channel_id: str) -> None:
        try:
            self._api.delete(f"/channels/{checked_id(channel_id)}/members/{self._own_id}")
        except NotFound as error:
            # It may have left already, by an earlier try whose answer got lost.
            if error.code != NOT_A_MEMBER:
                raise

    def direct_id(self, ref: PersonRef | None) -> str:
        other = people.one(self._api, ref or PersonRef())
        told = self._api.look_up("/channels/direct", [self._own_id, other.id])
        return str(told["id"])

    def _infos(self, told: Sequence[Fields]) -> list[ChannelInfo]:
        peers = {
            one["id"]: wire.peer_id(one, self._own_id)
            for one in told
            if wire.KINDS.get(one.get("type", "")) is ChannelKind.DIRECT
        }
        known = self._reader.people(peers.values())
        return [
            wire.channel(
                one,
                peer=known.get(peers[one["id"]], PersonInfo(id=peers[one["id"]]))
                if one["id"] in peers
                else None,
            )
            for one in told
        ]

    def _info(self, told: Fields) -> ChannelInfo:
        return self._infos([told])[0]

    def _named_channel(self, name: str, *, archived: bool = False) -> Fields:
        """By `team/name`, by its name in one of the bot's teams, or by the title of one the bot is
        in. Raises `NotFound`, also when several have this name."""
        team, _, short = name.rpartition("/")
        found = [
            channel
            for one in teams(self._api, self._wanted)
            if not team or team in (one["name"], one["display_name"])
            if (channel := self._channel_in(one["id"], short, archived=archived))
        ]
        if not found:
            among = self._reader.channels(archived=archived)
            found = [one for one in among if name and one.get("display_name") == name]
        if len(found) > 1:
            raise NotFound(
                f"Several channels are called {name!r}; write team/name.", code="ambiguous_channel"
            )
        if not found:
            raise NotFound(f"There is no channel {name!r} that this bot may see.")
        return found[0]

    def _channel_of(self, text: str, *, archived: bool = False) -> Fields:
        """By id, and else by name."""
        if is_id(text):
            try:
                return dict(self._api.get(f"/channels/{text}"))
            except (NotFound, Forbidden):
                if not archived:
                    raise
        return self._named_channel(text.lstrip("#~"), archived=archived)

    def _channel_in(self, team_id: str, name: str, *, archived: bool) -> Fields | None:
        if not re.fullmatch(r"[a-z0-9_-]{1,64}", name.lower()):
            return None
        query = {"include_deleted": "true"} if archived else None
        try:
            path = f"/teams/{team_id}/channels/name/{name.lower()}"
            return dict(self._api.get(path, query))
        except (NotFound, Forbidden):
            return None

    def _team_for(self, name: str) -> tuple[str, str]:
        """In which team a channel called so is made, and its name there."""
        team_name, _, short = name.rpartition("/")
        mine = teams(self._api, self._wanted)
        if team_name:
            mine = [team for team in mine if team["name"] == team_name]
        if not mine:
            raise Rejected(
                f"The bot is not in the team {team_name!r}." if team_name else "It is in no team.",
                code="not_in_team",
                next_step="Add the bot to the team.",
            )
        if len(mine) > 1 and not self._wanted:
            raise Rejected(
                "The bot is in several teams.",
                code="team_ambiguous",
                next_step="Name the channel team/name, or name the bot's teams in its options.",
            )
        return mine[0]["id"], short


def _checked_name(name: str) -> str:
    """As the server stores it. One that is too long meets nothing but the database's own error,
    which looks as if trying again could help. Raises `Rejected`."""
    if len(name) > LONGEST_NAME:
        raise Rejected(f"A channel's name has at most {LONGEST_NAME} characters.", code="too_long")
    return name.lower()


def _name_for(new: NewChannel) -> str:
    """A name for a channel that was only given a title: always the same for the same job."""
    words = re.findall(r"[a-z0-9]+", new.title.lower())
    return "-".join([*words, new.key[:8]])[-LONGEST_NAME:].lstrip("-_")


def teams(api: Api, wanted: Sequence[str]) -> list[Fields]:
    """The bot's teams; those with the names that are wanted, in that order, if any are."""
    mine = api.get("/users/me/teams") or []
    if not wanted:
        return sorted(mine, key=lambda team: str(team["name"]))
    place = {name: number for number, name in enumerate(wanted)}
    return sorted(
        (team for team in mine if team["name"] in place), key=lambda team: place[team["name"]]
    )
