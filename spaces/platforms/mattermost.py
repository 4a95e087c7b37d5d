"""Mattermost: everything a bot can do there, over its REST API and its websocket.

Verified against the source of server 11.6. The parts: `_mattermost_api` asks and understands
refusals, `_mattermost_wire` puts their words into ours, `_mattermost_posts` reads posts,
`_mattermost_catching_up` fetches what was missed, `_mattermost_stream` holds the websocket,
`_mattermost_listening` and `_mattermost_events` say what it tells, `_mattermost_hooks` what a
webhook does, `_mattermost_channels` and `_mattermost_people` change channels and who takes part,
`_mattermost_check` tells operators what is missing.

A post carries its key twice: as `pending_post_id`, by which the server drops repeats for 30
seconds, and among its props, where `find_sent` finds it for ever.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, BinaryIO
from urllib.parse import quote, unquote, urlencode

from spaces.platforms import _mattermost_check as checking
from spaces.platforms import _mattermost_hooks as hooks
from spaces.platforms import _mattermost_people as people
from spaces.platforms import _mattermost_wire as wire
from spaces.platforms import http, nested
from spaces.platforms._mattermost_api import (
    IDS_PER_REQUEST,
    THREAD_NOT_FOUND,
    Api,
    Fields,
    checked_id,
    spent,
)
from spaces.platforms._mattermost_catching_up import CatchingUp, Position, starting_position
from spaces.platforms._mattermost_channels import Channels, teams
from spaces.platforms._mattermost_listening import Listening
from spaces.platforms._mattermost_posts import Reader
from spaces.platforms._mattermost_stream import (
    NO_HELLO,
    MattermostStream,
    resume_of,
    websocket_arguments,
    websocket_url,
)
from spaces.platforms.contract import (
    Ability,
    Account,
    Credential,
    Limits,
    Option,
    Platform,
    Stream,
)
from spaces.platforms.errors import (
    CredentialsRefused,
    Forbidden,
    Misconfigured,
    NotFound,
    RateLimited,
    Rejected,
    Unavailable,
)
from spaces.platforms.messages import (
    Answer,
    Batch,
    ChannelChange,
    ChannelInfo,
    Cursor,
    CustomRequest,
    CustomResponse,
    File,
    Finding,
    Identity,
    Incoming,
    NewChannel,
    Outgoing,
    ParticipantInfo,
    PersonInfo,
    PersonOutcome,
    PersonRef,
    Presence,
    Sent,
    Webhook,
    WebhookRequest,
    WebhookResponse,
)
from spaces.platforms.registry import register
from spaces.platforms.websocket import NoWebSocket, WebSocketStream

TEXT_LIMIT = 16_383  # code points, unless the server's own configuration says more
FILE_BYTES = 100 * 1024 * 1024  # the server's default
LONGEST_QUOTED_NAME = 1_500  # characters; the server refuses URLs of more than 2,048
LONGEST_SUFFIX = 20  # characters
SENT_SLACK_MS = 120_000  # how far back of its first try a post is looked for
# For rate limits, until something was read; a poll's lease is renewed by what it brings.
CATCH_UP_PATIENCE_SECONDS = 300.0
POLL_PATIENCE_SECONDS = 60.0
LONGEST_RUNNING_TIMEOUTS = 20  # how many of ours a post that hangs over there may last
SECONDS_PER_PERSON = 0.5  # where many are added or removed
LOOKUP_SECONDS = 10.0  # names that a request has to look up first, at most
_CUSTOM_PATH = re.compile(r"(/[A-Za-z0-9_.~:@!$&'()*+,;=%-]+)+")


@register
class Mattermost(Platform):
    name = "mattermost"
    label = "Mattermost"
    abilities = frozenset(Ability) - {Ability.READ_RECEIPTS}
    permission_words = checking.WORDS
    guide = checking.WHAT_AN_ACCOUNT_NEEDS
    credentials = (
        Credential(
            name="token",
            label="Token",
            required=False,
            help="Of the bot account, or a personal access token.",
            guide=checking.HOW_TO_GET_A_TOKEN,
        ),
        Credential(
            name="login",
            label="Login",
            secret=False,
            required=False,
            help="Username or e-mail, for accounts without a token.",
            usual=False,
        ),
        Credential(
            name="password",
            label="Password",
            required=False,
            help="For the login. Bot accounts have none.",
            usual=False,
        ),
        Credential(
            name="mfa",
            label="MFA",
            required=False,
            help="Secret of the second factor, from which codes are made; or one code.",
            guide=(
                "Mattermost shows the secret once, when the second factor of the account is set "
                "up: profile picture, Profile, Security, Multi-factor Authentication.",
            ),
            usual=False,
        ),
        Credential(
            name="webhook_tokens",
            label="Tokens of outgoing webhooks and slash commands",
            required=False,
            help="One or more, separated by spaces. Mattermost calls /hooks/<bot>/ with them.",
            guide=(
                "In the product menu of Mattermost open Integrations, then Outgoing Webhooks or "
                "Slash Commands, and add one whose address is /hooks/<bot>/ of botadmin.",
                "Its token is shown when it was added, and later in the list there.",
            ),
            usual=False,
        ),
    )
    options = (
        *http.OPTIONS,
        Option(
            name="base_path",
            label="Base path of the API",
            default="/api/v4",
            help="What follows the URL of the space.",
        ),
        Option(
            name="websocket_url",
            label="Websocket URL",
            help="ws:// or wss://, for a websocket elsewhere. Empty: from the URL of the space.",
        ),
        Option(
            name="teams",
            label="Teams",
            on=("space", "bot"),
            help="Names, separated by commas. Empty: all teams of the bot. New channels are made "
            "in the first.",
        ),
        Option(
            name="websocket_ping_seconds",
            label="Websocket ping",
            type="number",
            default=30,
            unit="s",
            minimum=1,
            maximum=3600,
            help="How often the connection is asked for a sign of life.",
        ),
        Option(
            name="heartbeat_seconds",
            label="Heartbeat",
            type="number",
            default=30,
            unit="s",
            minimum=1,
            maximum=3600,
            help="How often the server itself is, which also finds sessions that were revoked.",
        ),
        Option(
            name="websocket_arguments",
            label="Extra websocket arguments",
            help='JSON: {"headers": {…}, "query": {…}, "subprotocols": […]}.',
            secret=True,
        ),
        Option(
            name="hide_deleted",
            label="Hide deleted messages",
            type="boolean",
            default=True,
            on=("space", "bot"),
            help="Messages deleted before they could be fetched are told without their text.",
        ),
        Option(
            name="show_online",
            label="Posting shows the bot online",
            type="boolean",
            default=True,
            on=("space", "bot"),
        ),
    )
    limits = Limits(text=TEXT_LIMIT, files=10, file_bytes=FILE_BYTES, people_per_request=1_000)

    def __init__(self, account: Account):
        super().__init__(account)
        options = account.options
        self._api = Api(_base(account), account)
        self._me: Fields = {}
        self._stream: MattermostStream | None = None
        self.longest_call_seconds = (
            LOOKUP_SECONDS + 2 * self._api.http.default_seconds + self._api.http.long_seconds
        )
        # Its own timeouts are some minutes where ours are seconds.
        self.longest_running_seconds = LONGEST_RUNNING_TIMEOUTS * self._api.http.long_seconds
        self._teams_wanted = tuple(filter(None, re.split(r"[,\s]+", options["teams"])))
        self._listening = Listening(self._api, self._teams_wanted)

    def seconds_for(self, operation: str, *args: Any) -> float:
        seconds = self.longest_call_seconds
        match operation, args:
            case "post_message", (message, *_):
                seconds += len(message.files) * self._api.http.asset_seconds
            case "create_channel", (new, *_):
                seconds += self._seconds_for_people(len(new.people))
            case "add_participants" | "remove_participants", (_, refs, *_):
                seconds += self._seconds_for_people(len(refs))
        return seconds

    def _seconds_for_people(self, quantity: int) -> float:
        """The server writes a message about each of them, and some are asked for one by one."""
        pieces = -(-quantity // IDS_PER_REQUEST)
        return pieces * self._api.http.long_seconds + quantity * SECONDS_PER_PERSON

    # Identity -----------------------------------------------------------------------------------

    @classmethod
    def spent(cls, memories: Iterable[str]) -> str:
        return spent(memories)

    def connect(self) -> Identity:
        self._me = self._api.enter()
        config, version = self._config()
        self.limits = replace(
            type(self).limits,
            text=max(_number(config.get("MaxPostSize")), 0) or TEXT_LIMIT,
            file_bytes=_number(config.get("MaxFileSize")) or FILE_BYTES,
        )
        return Identity(
            person=wire.person(self._me),
            permissions=checking.permissions(self._api, self._me),
            server=f"Mattermost {version}".rstrip(),
        )

    def reach(self) -> Finding:
        try:
            config, _ = self._config()
        except NotFound:
            config = {}
        if not config.get("Version"):
            raise Misconfigured(
                "There is no Mattermost at this URL.",
                option="url",
                next_step="Correct the URL: it is the address at which people open Mattermost, "
                "without the name of a team.",
            )
        return Finding(level="ok", code="server", text=f"Mattermost {config['Version']} answers.")

    def _config(self) -> tuple[Fields, str]:
        """The configuration that clients may see, and the server's version."""
        answer = self._api.request("GET", "/config/client", query={"format": "old"})
        version = ".".join(answer.headers.get("X-Version-Id", "").split(".")[:3])
        return self._api.as_json(answer), version

    def check(self, identity: Identity) -> list[Finding]:
        findings = checking.findings(self._api, self._me, identity, teams_wanted=self._teams_wanted)
        return [*findings, self._check_websocket()]

    def _check_websocket(self) -> Finding:
        try:
            self.open_stream({}).close()
        except (Unavailable, RateLimited, Misconfigured) as error:
            return Finding(
                level="warning",
                code="websocket_blocked",
                text=f"The websocket does not open: {error.detail}",
                remedy="Let the proxy in front of the server pass websockets, or set the bot's "
                "receive mode to poll.",
            )
        return Finding(level="ok", code="websocket", text="The websocket opens.")

    def close(self) -> None:
        self._api.close()

    @property
    def _own_id(self) -> str:
        self._require_known()
        return str(self._me["id"])

    def _require_known(self) -> None:
        if not self._me:
            self._me = self._api.enter()

    def _reader(self, patience_seconds: float = 0) -> Reader:
        return Reader(
            self._api,
            self._own_id,
            patience_seconds=patience_seconds,
            team_ids=self._wanted_team_ids if self._teams_wanted else None,
        )

    def _wanted_team_ids(self) -> frozenset[str]:
        return frozenset(team["id"] for team in teams(self._api, self._teams_wanted))

    # Messages -----------------------------------------------------------------------------------

    def post_message(self, message: Outgoing) -> Sent:
        channel_id = checked_id(message.channel or self._channels.direct_id(message.person))
        body: Fields = {
            "channel_id": channel_id,
            "message": message.text,
            "props": {wire.KEY_PROP: message.key},
        }
        if message.card:
            body["props"]["attachments"] = [wire.card_out(message.card)]
        if message.thread:
            body["root_id"] = message.thread
        if message.only_for:
            return self._post_ephemeral(body, message.only_for)
        body["pending_post_id"] = message.key
        if message.files:
            body["file_ids"] = [self._upload(channel_id, file) for file in message.files]
        try:
            return self._post(body)
        except Rejected as error:
            if error.code != THREAD_NOT_FOUND or not (root_id := self._root_of(message.thread)):
                raise
        # Threads are one level deep: who answers an answer answers its root.
        return self._post({**body, "root_id": root_id})

    def _post(self, body: Fields) -> Sent:
        how: dict[str, Any] = {"timeout_seconds": self._api.http.long_seconds}
        if not self.account.options["show_online"]:
            how["query"] = {"set_online": "false"}
        with self._explained(body["channel_id"]):
            return _sent(self._api.post("/posts", body, **how))

    def _post_ephemeral(self, body: Fields, only_for: PersonRef) -> Sent:
        user_id = self.find_person(only_for).id
        try:
            return _sent(self._api.post("/posts/ephemeral", {"user_id": user_id, "post": body}))
        except Forbidden as error:
            raise Forbidden(
                error.detail,
                next_step="As a server comes, only system administrators may do this: an "
                "administrator gives the bot a role with create_post_ephemeral.",
            ) from error

    def _root_of(self, message_id: str) -> str:
        try:
            return str(self._api.get(f"/posts/{checked_id(message_id)}").get("root_id") or "")
        except (NotFound, Forbidden):
            return ""

    def _upload(self, channel_id: str, file: File) -> str:
        """Send the bytes as they are read. The server takes them raw, named by the query; what
        no post names later is nobody's."""
        if not file.size:
            raise Rejected(
                f"{file.name} is empty; Mattermost takes no empty files.", code="file_empty"
            )
        if file.size > self.limits.file_bytes:
            # The server would hang up in the middle, which looks like a broken network.
            raise Rejected(f"{file.name} is too large for this server.", code="file_too_large")
        with file.open() as stream, self._explained(channel_id):
            told = self._api.post(
                "/files",
                _Sized(stream, file.size),
                query={"channel_id": channel_id, "filename": _short_name(file.name)},
                headers={"Content-Type": "application/octet-stream"},
                timeout_seconds=self._api.http.asset_seconds,
                idempotent=True,
            )
        return str(told["file_infos"][0]["id"])

    def find_sent(self, message: Outgoing) -> Sent | None:
        if message.only_for:
            raise Rejected(
                "A message for one person leaves no trace on the server.",
                code="outcome_unknown",
                next_step="Ask the person, then resolve the job as sent or not sent.",
            )
        channel_id = message.channel or self._channels.direct_id(message.person)
        skew = self._api.http.clock_skew_seconds * 1000
        at = message.not_before.timestamp() * 1000 if message.not_before else 0
        since = max(0, int(at + skew) - SENT_SLACK_MS)
        for post in self._reader().posted_since(checked_id(channel_id), since):
            if (post.get("props") or {}).get(wire.KEY_PROP) == message.key:
                return _sent(post)
        return None

    def edit_message(self, channel_id: str, message_id: str, text: str) -> None:
        with self._explained_message(message_id):
            self._api.put(f"/posts/{checked_id(message_id)}/patch", {"message": text})

    def delete_message(self, channel_id: str, message_id: str) -> None:
        with self._explained_message(message_id):
            # Done twice it ends as "no such message": the answer tells whether it was us.
            self._api.delete(f"/posts/{checked_id(message_id)}", idempotent=False)

    def react(self, channel_id: str, message_id: str, name: str) -> None:
        body = {"user_id": self._own_id, "post_id": checked_id(message_id), "emoji_name": name}
        with self._explained_message(message_id):
            self._api.post("/reactions", body, idempotent=True)

    def unreact(self, channel_id: str, message_id: str, name: str) -> None:
        with self._explained_message(message_id):
            self._api.delete(f"/users/me/posts/{checked_id(message_id)}/reactions/{_emoji(name)}")

    def pin_message(self, channel_id: str, message_id: str) -> None:
        with self._explained_message(message_id):
            self._api.post(f"/posts/{checked_id(message_id)}/pin", idempotent=True)

    def unpin_message(self, channel_id: str, message_id: str) -> None:
        with self._explained_message(message_id):
            self._api.post(f"/posts/{checked_id(message_id)}/unpin", idempotent=True)

    def list_pinned(self, channel_id: str) -> Iterator[Incoming]:
        with self._explained(channel_id):
            return iter(self._reader().pinned(checked_id(channel_id)))

    def typing(self, channel_id: str) -> None:
        body = {"channel_id": checked_id(channel_id)}
        with self._explained(channel_id):
            self._api.post(f"/users/{self._own_id}/typing", body, idempotent=True)

    def set_presence(self, presence: Presence, text: str = "") -> None:
        status = {"user_id": self._own_id, "status": presence.value}
        self._api.put(f"/users/{self._own_id}/status", status)
        path = f"/users/{self._own_id}/status/custom"
        if text:
            self._api.put(path, {"emoji": "speech_balloon", "text": text})
        else:
            with suppress(Rejected):  # the server may have no such texts at all
                self._api.delete(path)

    # Channels -----------------------------------------------------------------------------------

    def list_channels(self) -> Iterator[ChannelInfo]:
        return self._channels.all()

    def list_joinable_channels(self) -> Iterator[ChannelInfo]:
        return self._channels.joinable()

    def find_channel(
        self, *, id: str = "", name: str = "", person: PersonRef | None = None
    ) -> ChannelInfo:
        return self._channels.find(id=id, name=name, person=person)

    def create_channel(self, new: NewChannel) -> tuple[ChannelInfo, list[PersonOutcome]]:
        return self._channels.create(new)

    def find_created(self, new: NewChannel) -> ChannelInfo | None:
        return self._channels.find_created(new)

    def update_channel(self, channel_id: str, change: ChannelChange) -> ChannelInfo:
        return self._channels.update(channel_id, change)

    def archive_channel(self, channel_id: str) -> None:
        self._channels.archive(channel_id)

    def restore_channel(self, channel_id: str) -> ChannelInfo:
        return self._channels.restore(channel_id)

    def join_channel(self, channel_id: str) -> ChannelInfo:
        return self._channels.join(channel_id)

    def leave_channel(self, channel_id: str) -> None:
        self._channels.leave(channel_id)

    @property
    def _channels(self) -> Channels:
        return Channels(self._api, self._own_id, self._reader(), self._teams_wanted)

    # People -------------------------------------------------------------------------------------

    def find_person(self, ref: PersonRef) -> PersonInfo:
        return people.one(self._api, ref)

    def list_participants(self, channel_id: str) -> Iterator[ParticipantInfo]:
        with self._explained(channel_id):
            yield from people.participants(self._api, checked_id(channel_id))

    def add_participants(
        self, channel_id: str, people_: Sequence[PersonRef], *, moderator: bool = False
    ) -> list[PersonOutcome]:
        outcomes = people.add(self._api, checked_id(channel_id), people_)
        return people.promote(self._api, channel_id, outcomes) if moderator else outcomes

    def remove_participants(
        self, channel_id: str, people_: Sequence[PersonRef]
    ) -> list[PersonOutcome]:
        return people.remove(self._api, checked_id(channel_id), people_)

    # Receipts -----------------------------------------------------------------------------------

    def mark_read(self, channel_id: str, message_id: str) -> None:
        """Mattermost knows no reading up to a message: the whole channel is viewed."""
        body = {"channel_id": checked_id(channel_id)}
        with self._explained(channel_id):
            self._api.post(f"/channels/members/{self._own_id}/view", body, idempotent=True)

    # Receiving ----------------------------------------------------------------------------------

    def start_cursor(self) -> Cursor:
        return starting_position(self._reader()).cursor()

    def catch_up(self, cursor: Cursor) -> Iterator[Batch]:
        polls = self._stream is None
        reading = CatchingUp(
            self._reader(POLL_PATIENCE_SECONDS if polls else CATCH_UP_PATIENCE_SECONDS),
            hide_deleted=bool(self.account.options["hide_deleted"]),
        )
        # Who polls looks for edits and the like less often than for posts.
        for batch in reading.since(Position.of(cursor), sweep=not polls):
            self._listening.reach(batch.cursor)
            yield batch

    def open_stream(self, cursor: Cursor) -> Stream:
        self._listening.begin(self._own_id, cursor)
        resume = resume_of(cursor)
        try:
            self._stream = self._open(resume)
        except Unavailable as error:
            # The server is silent to those it does not know, and a proxy in front of it may turn
            # everybody away: this says whether it is our credentials.
            self._me = self._api.enter()
            if resume is None or error.code != NO_HELLO:
                raise
            self._stream = self._open(None)  # it was what we wanted to resume
        return self._stream

    def _open(self, resume: tuple[str, int] | None) -> MattermostStream:
        options = self.account.options
        return MattermostStream(
            self._open_socket,
            resume=resume,
            ping_seconds=float(options["websocket_ping_seconds"]),
            heartbeat_seconds=float(options["heartbeat_seconds"]),
        )

    def _open_socket(self, query: dict[str, str]) -> WebSocketStream:
        options = self.account.options
        extra = websocket_arguments(options["websocket_arguments"])
        url = options["websocket_url"] or websocket_url(_base(self.account))
        query = {**extra.get("query", {}), **query}
        try:
            return WebSocketStream(
                f"{url}?{urlencode(query)}" if query else url,
                heartbeat_seconds=float(options["websocket_ping_seconds"]),
                timeout_seconds=self._api.http.default_seconds,
                # In the header: one that authenticates later cannot resume.
                headers={**extra.get("headers", {}), "Authorization": self._api.authorization()},
                subprotocols=tuple(extra.get("subprotocols", ())),
                tls=http.tls_context(options),
                proxy=options["proxy"],
            )
        except (CredentialsRefused, NoWebSocket) as error:
            # The server itself opens one to anybody: that is somebody in front of it.
            raise Unavailable(
                error.detail,
                code="websocket_blocked",
                next_step="Let the proxy in front of the server pass websockets, or set the bot's "
                "receive mode to poll.",
            ) from error

    def decode(self, frame: bytes) -> list[Incoming]:
        connection_id = self._stream.connection_id if self._stream else ""
        return self._listening.decode(frame, connection_id=connection_id)

    def parse_webhook(self, request: WebhookRequest) -> Webhook:
        return hooks.parse(request, self.account.credentials.get("webhook_tokens", ""))

    def answer_webhook(self, request: WebhookRequest, answer: Answer | None) -> WebhookResponse:
        return hooks.answer(request, answer)

    def history(
        self,
        channel_id: str,
        *,
        quantity: int | None = None,
        stop_id: str = "",
        up_to: datetime | None = None,
        with_attachment: bool = False,
    ) -> Iterator[Incoming]:
        left = quantity
        if left == 0:
            return
        for told in self._newest_first(channel_id):
            if told.message_id == stop_id or (up_to and told.occurred_at < up_to):
                return
            if with_attachment and not told.files:
                continue
            yield told
            if left is not None:
                left -= 1
                if left == 0:
                    return

    def _newest_first(self, channel_id: str) -> Iterator[Incoming]:
        with self._explained(channel_id):
            yield from self._reader().newest_first(checked_id(channel_id))

    def download_file(self, file_id: str) -> BinaryIO:
        return self._api.download(f"/files/{checked_id(file_id)}")

    # Whatever else there is -----------------------------------------------------------------------

    def custom_request(self, request: CustomRequest) -> CustomResponse:
        # What is written as %2e%2e is two dots again before it leaves.
        steps = unquote(request.path).split("/")
        if not _CUSTOM_PATH.fullmatch(request.path) or ".." in steps:
            raise Rejected("The path must be one below the server's API.", code="invalid_path")
        answer = self._api.ask(
            request.method,
            request.path,
            query=request.query,
            body=request.body,
            idempotent=request.method in ("GET", "HEAD"),
            timeout_seconds=self._api.http.long_seconds,
        )
        try:
            body = nested.loads(answer.content)
            return CustomResponse(status=answer.status, body=body)
        except ValueError:
            return CustomResponse(status=answer.status, body=answer.text)

    # Refusals, told better ------------------------------------------------------------------------

    @contextmanager
    def _explained(self, channel_id: str) -> Iterator[None]:
        """The server forbids what it does not want to say is missing. This says which it was."""
        try:
            yield
        except Forbidden as error:
            if not self._sees(f"/channels/{checked_id(channel_id)}"):
                raise NotFound(
                    "There is no such channel, or the bot is not a member of it.",
                    next_step="Check the id; add the bot to the channel.",
                ) from error
            raise Forbidden(
                error.detail, next_step="Add the bot to the channel, with a role that may do this."
            ) from error

    @contextmanager
    def _explained_message(self, message_id: str) -> Iterator[None]:
        try:
            yield
        except Forbidden as error:
            if not self._sees(f"/posts/{checked_id(message_id)}"):
                raise NotFound("There is no such message where the bot is.") from error
            raise

    def _sees(self, path: str) -> bool:
        try:
            self._api.get(path)
        except (NotFound, Forbidden):
            return False
        return True


def _base(account: Account) -> str:
    path = str(account.options["base_path"]).strip("/")
    return "/".join(filter(None, [account.url.rstrip("/"), path]))


def _short_name(name: str) -> str:
    """A file's name with as much before its suffix as the server takes in a URL."""
    stem, suffix = os.path.splitext(name)
    suffix = suffix[:LONGEST_SUFFIX]
    while stem and len(quote(stem + suffix)) > LONGEST_QUOTED_NAME:
        stem = stem[:-1]
    return stem + suffix


def _emoji(name: str) -> str:
    """An emoji's name as part of a path. Raises `Rejected` for what cannot be one."""
    if not re.fullmatch(r"[A-Za-z0-9_+-]{1,64}", name):
        raise Rejected(f"{name!r} is no emoji's name.", code="unknown_reaction")
    return name


def _sent(post: Fields) -> Sent:
    return Sent(
        message_id=post["id"],
        channel_id=post["channel_id"],
        sent_at=wire.moment(post["create_at"]),
    )


def _number(text: Any) -> int:
    """A number from the configuration, where all values are texts; 0 for none."""
    return int(text) if isinstance(text, str) and text.isdecimal() else 0


class _Sized:
    """A stream that says how long it is: a server may not take one of unknown length."""

    def __init__(self, stream: BinaryIO, size: int):
        self._stream = stream
        self._size = size

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)
