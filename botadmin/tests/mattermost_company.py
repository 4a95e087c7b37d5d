"""A company on a simulated Mattermost: five bots run by botadmin, people who write, clients that
send. Where it stands in the end is looked up on both sides and compared.

Bots have tokens, except the last, which logs in with a password. Heartbeats, timeouts and delays
are short, so that what breaks heals while somebody watches.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import requests

from botadmin.tests.processes import DEADLINE, TOKEN, Install, until
from spaces.testing.mattermost import SimulatedMattermost
from spaces.testing.mattermost.making import PASSWORD
from spaces.testing.mattermost.state import Channel, Post

BOTS = ("bot-0", "bot-1", "bot-2", "bot-3", "bot-4")
LOGIN_BOT = BOTS[-1]
PEOPLE = ("alice", "bob", "charlie")
HEARTBEAT_SECONDS = 1.0
OPTIONS: dict[str, Any] = {
    "websocket_ping_seconds": HEARTBEAT_SECONDS,
    "heartbeat_seconds": HEARTBEAT_SECONDS,
    "timeout_seconds": 2,
    "long_timeout_seconds": 1,
    "reconnect_first_seconds": 0.1,
    "reconnect_longest_seconds": 1,
}
# What bots send to, each by a client of its own: (bot, target).
SENDS: tuple[tuple[str, dict[str, str]], ...] = (
    ("bot-0", {"channel": "lobby"}),
    ("bot-0", {"person": "alice"}),
    ("bot-1", {"channel": "ops"}),
    ("bot-2", {"channel": "builds"}),
    ("bot-3", {"channel": "lobby"}),
    ("bot-4", {"channel": "ops"}),
    ("bot-4", {"person": "bob"}),
)
UNFINISHED = "SELECT id FROM bots_job WHERE state IN ('queued', 'running')"
EVENTS = """SELECT b.slug, e.data, e.catch_up FROM bots_event e JOIN bots_bot b ON b.id = e.bot_id
    WHERE e.kind = 'message.posted' ORDER BY e.id"""
GAPS = "SELECT data FROM bots_event WHERE kind = 'gap'"
STATES = """SELECT e.data FROM bots_event e JOIN bots_bot b ON b.id = e.bot_id
    WHERE e.kind = 'connection.changed' AND b.slug = '{bot}' ORDER BY e.id"""


class Company:
    """The server's side is made at once, botadmin's by `enrol`."""

    def __init__(self, server: SimulatedMattermost, install: Install) -> None:
        self.server = server
        self.install = install
        self.tokens: dict[str, str] = {}
        self.url = server.url  # as botadmin knows it: something may be in between
        self._api = f"http://127.0.0.1:{install.port}/api/v1"
        self._opened_at = 0  # of the server's clock, in ms: posts are counted from then on
        self._found()

    def _found(self) -> None:
        make = self.server.make
        make.admin()
        for name in PEOPLE:
            make.user(name)
        for name in BOTS:
            if name == LOGIN_BOT:
                make.user(name)
            else:
                _, self.tokens[name] = make.bot(name, owner="admin")
        make.team("acme", *PEOPLE, *BOTS)
        self.channels: dict[str, Channel] = {
            "lobby": make.channel("acme", "lobby", *PEOPLE, *BOTS),
            "builds": make.channel("acme", "builds", "alice", "bob", *BOTS[:3]),
            "ops": make.channel("acme", "ops", "alice", "charlie", *BOTS[1:], type="P"),
            "alice": make.direct_channel("alice", "bot-0"),
            "bob": make.direct_channel("bob", "bot-4"),
            "group": make.group_channel("alice", "bob", "bot-3"),
        }

    def enrol(self, *bots: str) -> None:
        """Enter the space and these bots in botadmin, and wait until they are live and know
        their channels."""
        space = {"slug": "chat", "name": "Chat", "platform": "mattermost", "url": self.url}
        self.ask("POST", "/spaces/", {**space, "options": OPTIONS})
        for slug in bots:
            bot = {"slug": slug, "name": slug, "space": "chat"}
            self.ask("POST", "/bots/", {**bot, "credentials": self._credentials(slug)})
        until(lambda: self.are_live(*bots), lambda: str(self.connections()))
        until(lambda: not self.install.rows(UNFINISHED))
        self._opened_at = self.server.simulation.now()

    def _credentials(self, slug: str) -> dict[str, str]:
        if slug == LOGIN_BOT:
            return {"login": slug, "password": PASSWORD}
        return {"token": self.tokens[slug]}

    # Asking botadmin ------------------------------------------------------------------------------

    def request(self, method: str, path: str, **what: Any) -> requests.Response:
        """Any answer. Raises what `requests` raises where there is none."""
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {TOKEN}"
            return session.request(method, self._api + path, timeout=DEADLINE, **what)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer = self.request(method, path, json=body, headers=headers)
        assert answer.ok, f"{answer.status_code} {answer.text}"
        return answer.json()

    def connections(self) -> dict[str, dict[str, Any]]:
        """What the screen says of each of our bots."""
        return _connections(self.ask("GET", "/bots/"))

    def connections_if_told(self) -> dict[str, dict[str, Any]]:
        """As above, or nothing while the web or its database is away."""
        try:
            answer = self.request("GET", "/bots/")
        except requests.RequestException:
            return {}
        return _connections(answer.json()) if answer.ok else {}

    def are_live(self, *bots: str) -> bool:
        shown = self.connections()
        return all(shown[bot]["state"] == "live" for bot in bots or shown)

    def states(self, bot: str) -> list[str]:
        """All that its connection went through."""
        return [_json(data)["state"] for data in self.install.rows(STATES.format(bot=bot))]

    def say(self, *texts: str, person: str = "alice", channel: str = "lobby") -> None:
        for text in texts:
            self.server.make.post(person, self.channels[channel], text)

    def client(self, bot: str, to: dict[str, str], chance: random.Random, **how: float) -> Client:
        return Client(f"{self._api}/bots/{bot}/messages/", bot, to, chance, **how)

    # Comparing ------------------------------------------------------------------------------------

    def posts(self, bot: str) -> list[Post]:
        """What others wrote where the bot is, since it came, in the order of the server."""
        world = self.server.world
        user = world.user_named(bot)
        assert user
        channels = [id for id, members in list(world.members.items()) if user.id in members]
        return [
            post
            for id in channels
            for post in list(world.posts_of.get(id, ()))
            if post.create_at >= self._opened_at and post.user_id != user.id and not post.type
        ]

    def sent(self) -> set[str]:
        """The texts that bots have posted, as the server has them."""
        world = self.server.world
        bots = {user.id for user in map(world.user_named, BOTS) if user}
        written = [post for posts in list(world.posts_of.values()) for post in list(posts)]
        return {post.message for post in written if post.user_id in bots}

    def compare(self, bots: Iterable[str], clients: Iterable[Client]) -> Comparison:
        found = Comparison(gaps=[_json(data)["why"] for data in self.install.rows(GAPS)])
        heard: dict[str, list[tuple[str, bool]]] = defaultdict(list)
        for slug, data, catch_up in self.install.records(EVENTS):
            data = _json(data)
            if not data.get("own"):
                heard[slug].append((data["message"]["remote_id"], catch_up))
        for bot in bots:
            self._compare_events(bot, heard[bot], found)
        for client in clients:
            self._compare_sends(client, found)
        return found

    def _compare_events(self, bot: str, heard: Sequence[tuple[str, bool]], to: Comparison) -> None:
        written = {post.id: (number, post) for number, post in enumerate(self.posts(bot))}
        times = Counter(id for id, _ in heard)
        missing = [post for id, (_, post) in written.items() if not times[id]]
        to.posts += len(written)
        to.lost += [f"{bot} did not hear {post.message}" for post in missing]
        to.doubled += [f"{bot} heard {id} {n} times" for id, n in times.items() if n > 1]
        to.caught_up += sum(catch_up for id, catch_up in heard if id in written)
        heard_in: dict[str, list[tuple[int, Post]]] = defaultdict(list)
        for number, post in (written[id] for id, _ in heard if id in written):
            heard_in[post.channel_id].append((number, post))
        for entries in heard_in.values():
            to.events_out_of_order += [f"{bot} heard {p.message} late" for p in _late(entries)]

    def _compare_sends(self, client: Client, to: Comparison) -> None:
        user = self.server.world.user_named(client.bot)
        assert user
        posts = [post for post in self._written_to(client.to) if post.user_id == user.id]
        sent = [post.message for post in posts if post.create_at >= self._opened_at]
        times = Counter(sent)
        to.sends += len(client.accepted)
        to.lost += [f"{client.bot} did not send {t}" for t in client.accepted if not times[t]]
        to.doubled += [f"{client.bot} sent {text} {n} times" for text, n in times.items() if n > 1]
        to.doubled += [f"{client.bot} sent {t} unasked" for t in times.keys() - {*client.accepted}]
        as_dated = sorted(posts, key=lambda post: post.create_at)
        if posts != as_dated or list(times) != [t for t in client.accepted if times[t]]:
            to.sends_out_of_order.append(f"{client.bot} to {client.to}")

    def _written_to(self, to: dict[str, str]) -> list[Post]:
        channel = self.channels[next(iter(to.values()))]
        return list(self.server.world.posts_of.get(channel.id, ()))

    def settle(
        self,
        bots: Sequence[str],
        clients: Sequence[Client],
        *,
        patience_seconds: float = DEADLINE,
    ) -> Comparison:
        """Wait until the bots are live, nothing is left to do and nothing is missing; or until it
        lasts too long, and say what is missing then."""
        deadline = time.monotonic() + patience_seconds
        while True:
            is_late = time.monotonic() > deadline
            if is_late or (self.are_live(*bots) and not self.install.rows(UNFINISHED)):
                found = self.compare(bots, clients)
                if is_late or not found.lost:
                    return found
            time.sleep(0.2)

    def secrets_on_disk(self) -> list[str]:
        """Files of the install, its log among them, in which a secret can be read."""
        secrets = {PASSWORD, *self.tokens.values(), *list(self.server.world.sessions)}
        files = [path for path in self.install.data.rglob("*") if path.is_file()]
        contents = {path: path.read_bytes() for path in [*files, self.install.log]}
        return [
            str(path)
            for path, content in contents.items()
            if any(secret.encode() in content for secret in secrets)
        ]


@dataclass
class Comparison:
    """What is on both sides, and what is not as it should be."""

    posts: int = 0  # of others, counted for each bot that could see them
    caught_up: int = 0  # of these, fetched after the fact
    sends: int = 0
    gaps: list[str] = field(default_factory=list)  # losses that were told
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    sends_out_of_order: list[str] = field(default_factory=list)
    events_out_of_order: list[str] = field(default_factory=list)


# People and clients ---------------------------------------------------------------------------


class Person(threading.Thread):
    """Writes something somewhere until told to stop. What goes wrong with it is nobody's loss:
    what the server has stored is what was said."""

    def __init__(
        self, company: Company, name: str, chance: random.Random, *, pause_seconds: float
    ) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()
        self._chance = chance
        self._pause_seconds = pause_seconds
        self._name = name
        self._url = f"{company.server.url}/api/v4/posts"
        self._token = company.server.make.token(name)
        user = company.server.world.user_named(name)
        assert user
        members = company.server.world.members
        self._channels = [c.id for c in company.channels.values() if user.id in members[c.id]]

    def stop(self) -> None:
        self._over.set()

    def run(self) -> None:
        number = 0
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {self._token}"
            while not self._over.wait(self._pause_seconds * 2 * self._chance.random()):
                number += 1
                body = {
                    "channel_id": self._chance.choice(self._channels),
                    "message": f"{self._name} {number}",
                }
                try:
                    session.post(self._url, json=body, timeout=5)
                except requests.RequestException:
                    continue


class Client(threading.Thread):
    """Sends to one target, one request after the other, until told to stop. Some requests are made
    twice under their key. With patience all have one, and are made again for so long when the
    answer does not come or says that something is away."""

    def __init__(
        self,
        url: str,
        bot: str,
        to: dict[str, str],
        chance: random.Random,
        *,
        pause_seconds: float = 1.0,
        patience_seconds: float = 0.0,
    ) -> None:
        super().__init__(daemon=True)
        self.bot = bot
        self.to = to
        self.accepted: list[str] = []  # texts, in this order
        self._over = threading.Event()
        self._chance = chance
        self._pause_seconds = pause_seconds
        self._patience_seconds = patience_seconds
        self._url = url
        self.problem = ""

    def stop(self) -> None:
        self._over.set()

    def run(self) -> None:
        with self._session() as session:
            while not self._over.wait(self._pause_seconds * 2 * self._chance.random()):
                self._send(session, self._chance.choice((1, 1, 1, 3, 10)))

    def send(self, number: int) -> None:
        """At once, in the thread of the caller."""
        with self._session() as session:
            self._send(session, number)

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {TOKEN}"
        return session

    def _send(self, session: requests.Session, number: int) -> None:
        first = len(self.accepted)
        texts = [f"{self.bot} {next(iter(self.to.values()))} {first + n}" for n in range(number)]
        messages = [{**self.to, "text": text} for text in texts]
        if number == 1 and not self._patience_seconds and self._chance.random() < 0.3:
            self._post(session, "", messages[0], {})
        else:
            path, body = ("bulk/", {"messages": messages}) if number > 1 else ("", messages[0])
            headers = {"Idempotency-Key": uuid4().hex}
            told = self._post(session, path, body, headers)
            if self._chance.random() < 0.3 and self._post(session, path, body, headers) != told:
                self.problem = "a repeated request got another answer"
        self.accepted += texts

    def _post(
        self, session: requests.Session, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> Any:
        """The ids of the jobs."""
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                answer = session.post(
                    self._url + path, json=body, headers=headers, timeout=DEADLINE
                )
            except requests.RequestException as error:
                said = repr(error)
            else:
                if answer.status_code == 202:
                    told = answer.json()
                    return [job["id"] for job in told.get("results", [told])]
                said = f"{answer.status_code} {answer.text}"
                if answer.status_code < 500:
                    break
            if time.monotonic() >= deadline:
                break
            time.sleep(0.1)  # a client's patience, not ours
        self.problem = said
        self.stop()
        return None


def _connections(told: Any) -> dict[str, dict[str, Any]]:
    return {bot["slug"]: bot["connection"] for bot in told["results"] if bot["space"] == "chat"}


def _late(entries: Sequence[tuple[int, Post]]) -> list[Post]:
    """Those heard after one that came later, both by the order in which the server stored them and
    by their times: what is heard live has the one order, what is caught up with the other."""
    late, newest = [], -1
    for place, (number, post) in enumerate(entries):
        if number < newest and any(
            earlier > number and other.create_at > post.create_at
            for earlier, other in entries[:place]
        ):
            late.append(post)
        newest = max(newest, number)
    return late


def _json(value: Any) -> Any:
    """SQLite gives JSON as a text, PostgreSQL as what it says."""
    return json.loads(value) if isinstance(value, str) else value
