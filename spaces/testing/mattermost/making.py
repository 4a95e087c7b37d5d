"""Making people, places and posts without going through HTTP: the start of every story.

Things are named, not numbered: `make.channel("acme", "builds")`, `make.post("alice", channel, …)`.
"""

from __future__ import annotations

import base64
import secrets

from . import people, places, posting, sessions, views
from .simulation import Simulation
from .state import Channel, Post, Session, StoredFile, Team, User

PASSWORD = "correct-horse"


class Maker:
    def __init__(self, simulation: Simulation):
        self._simulation = simulation

    def user(
        self, username: str, *, password: str = PASSWORD, roles: str = "system_user", **names: str
    ) -> User:
        """Somebody with the e-mail `{username}@example.com`."""
        names.setdefault("email", f"{username}@example.com")
        return people.create(
            self._simulation, username=username, password=password, roles=roles, **names
        )

    def admin(self, username: str = "admin") -> User:
        return self.user(username, roles="system_admin system_user")

    def bot(
        self, username: str, *, owner: str = "", display_name: str = "", roles: str = "system_user"
    ) -> tuple[User, str]:
        """A bot account and its token. It is in no team yet."""
        owner_id = self._user(owner).id if owner else ""
        bot = people.create_bot(
            self._simulation, username=username, owner_id=owner_id, display_name=display_name
        )
        user = self._simulation.world.users[bot.user_id]
        user.roles = roles
        return user, self.token(username)

    def token(self, username: str) -> str:
        """A new personal access token."""
        user = self._user(username)
        return people.create_token(self._simulation, user.id, "made for a test").token

    def session(self, username: str) -> Session:
        """As if they had logged in with their password."""
        return sessions.start(self._simulation, self._user(username))

    def mfa_secret(self, username: str) -> str:
        """Switch on codes for this account; the secret in base32."""
        user = self._user(username)
        user.mfa_secret = base64.b32encode(secrets.token_bytes(20)).decode()
        user.mfa_active = True
        return user.mfa_secret

    def mfa_code(self, secret: str) -> str:
        """What an authenticator shows now, on the server's clock."""
        return sessions.mfa_code(secret, self._simulation.clock.seconds())

    def team(self, name: str, *usernames: str, display_name: str = "") -> Team:
        """A team with `town-square`, `off-topic` and these members."""
        team = places.create_team(
            self._simulation, name=name, display_name=display_name or name.title()
        )
        for username in usernames:
            self.join_team(team, username)
        return team

    def join_team(self, team: Team | str, username: str) -> None:
        places.join_team(self._simulation, self._team(team), self._user(username))

    def leave_team(self, team: Team | str, username: str) -> None:
        user = self._user(username)
        places.leave_team(self._simulation, self._team(team), user, user)

    def channel(
        self,
        team: Team | str,
        name: str,
        *usernames: str,
        type: str = "O",
        display_name: str = "",
        creator: str = "",
    ) -> Channel:
        """A channel with these members; they must be in the team."""
        channel = places.create_channel(
            self._simulation,
            team_id=self._team(team).id,
            name=name,
            display_name=display_name or name.replace("-", " ").title(),
            type=type,
            creator=self._user(creator) if creator else None,
        )
        for username in usernames:
            self.join_channel(channel, username)
        return channel

    def direct_channel(self, username: str, other: str) -> Channel:
        return places.direct_channel(self._simulation, self._user(username), self._user(other))[0]

    def group_channel(self, creator: str, *usernames: str) -> Channel:
        users = [self._user(name) for name in usernames]
        return places.group_channel(self._simulation, users, self._user(creator))[0]

    def join_channel(self, channel: Channel, username: str, *, adder: str = "") -> None:
        by = self._user(adder) if adder else None
        places.join_channel(self._simulation, channel, self._user(username), adder=by)

    def leave_channel(self, channel: Channel, username: str, *, remover: str = "") -> None:
        user = self._user(username)
        by = self._user(remover) if remover else user
        places.leave_channel(self._simulation, channel, user, by)

    def file(self, username: str, channel: Channel, name: str, content: bytes) -> StoredFile:
        """Uploaded, and attached to nothing yet."""
        file = StoredFile(
            user_id=self._user(username).id,
            channel_id=channel.id,
            name=name,
            mime_type=views.mime_type(name),
            content=content,
            create_at=self._simulation.now(),
        )
        self._simulation.world.files[file.id] = file
        return file

    def post(
        self,
        username: str,
        channel: Channel,
        message: str,
        *,
        root: Post | None = None,
        file_ids: tuple[str, ...] = (),
    ) -> Post:
        """Write as a person, with all the events that follow."""
        now = self._simulation.now()
        post = Post(
            channel_id=channel.id,
            user_id=self._user(username).id,
            message=message,
            root_id=root.id if root else "",
            file_ids=list(file_ids),
            create_at=now,
            update_at=now,
        )
        posting.check(self._simulation, post)
        posting.complete(self._simulation, post)
        posting.store(self._simulation, post)
        self._simulation.outgoing.on_post(post)
        return post

    def edit(self, post: Post, message: str) -> Post:
        return posting.change(self._simulation, post, {"message": message})

    def delete(self, post: Post) -> None:
        posting.delete(self._simulation, post, self._simulation.world.users[post.user_id])

    def react(self, username: str, post: Post, emoji_name: str) -> None:
        posting.react(self._simulation, post, self._user(username), emoji_name)

    def unreact(self, username: str, post: Post, emoji_name: str) -> None:
        posting.unreact(self._simulation, post, self._user(username), emoji_name)

    def _user(self, username: str) -> User:
        user = self._simulation.world.user_named(username)
        if user is None:
            raise ValueError(f"there is no user {username!r}")
        return user

    def _team(self, team: Team | str) -> Team:
        found = self._simulation.world.team_named(team) if isinstance(team, str) else team
        if found is None:
            raise ValueError(f"there is no team {team!r}")
        return found
