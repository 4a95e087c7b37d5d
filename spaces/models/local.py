"""The tables of the local platform: a chat server small enough to live in our own database.

Only `spaces/platforms/local.py` and its event hub touch these rows. Everybody else meets local
rooms and people as those of any other platform: as channels, people and events.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from spaces.models.space import Space
from spaces.platforms.messages import ChannelKind, Presence, Role


class LocalClock(models.Model):
    """Numbers the events of a space, and is the lock that every write in the space takes first.

    A plain auto-increment would not do: two transactions may take numbers 7 and 8 and commit 8
    first, and a reader that then asks for "after 8" never sees 7. Because a writer holds this row
    until it commits, numbers have no holes and appear in order, on every database.
    """

    space = models.OneToOneField(
        Space, on_delete=models.CASCADE, primary_key=True, related_name="local_clock"
    )
    seq = models.BigIntegerField(default=0)  # of the newest event
    # Events up to this one have been removed from the log, and when the last of them happened.
    pruned_seq = models.BigIntegerField(default=0)
    pruned_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.space_id} at {self.seq}"


class LocalAccount(models.Model):
    # Not the space itself: this way one query reads the account and locks the clock.
    clock = models.ForeignKey(LocalClock, on_delete=models.CASCADE, related_name="accounts")
    username = models.CharField(max_length=100)
    name = models.CharField(max_length=200, blank=True)
    email = models.CharField(max_length=254, blank=True)  # lower case
    is_bot = models.BooleanField()
    password_hash = models.CharField(max_length=200, blank=True)  # empty: nobody can log in
    presence = models.CharField(
        max_length=10, choices=[(p.value, p.value) for p in Presence], default=Presence.OFFLINE
    )
    presence_text = models.CharField(max_length=200, blank=True)
    read_receipts = models.BooleanField(default=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["clock", "username"], name="local_username_once_per_space"
            ),
            models.UniqueConstraint(
                fields=["clock", "email"], condition=~Q(email=""), name="local_email_once_per_space"
            ),
        ]

    def __str__(self) -> str:
        return self.username


class LocalRoom(models.Model):
    space = models.ForeignKey(Space, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=10, choices=[(k.value, k.value) for k in ChannelKind])
    name = models.CharField(max_length=100, blank=True)
    title = models.CharField(max_length=200, blank=True)
    topic = models.TextField(blank=True)
    purpose = models.TextField(blank=True, default="")
    creator = models.ForeignKey(LocalAccount, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255, blank=True)  # NewChannel.key
    pair_key = models.CharField(max_length=50, blank=True)  # of a direct room: "lower:higher" ids
    created_at = models.DateTimeField()
    archived_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            # An archived room gives its name free.
            models.UniqueConstraint(
                fields=["space", "name"],
                condition=Q(archived_at=None) & ~Q(name=""),
                name="local_room_name_once_per_space",
            ),
            models.UniqueConstraint(
                fields=["creator", "key"], condition=~Q(key=""), name="local_room_created_once"
            ),
            models.UniqueConstraint(
                fields=["pair_key"], condition=~Q(pair_key=""), name="local_direct_room_once"
            ),
        ]

    def __str__(self) -> str:
        return self.title or self.name or str(self.pk)


class LocalMember(models.Model):
    """One stay of an account in a room. Kept when it ends: it says which events one may see."""

    room = models.ForeignKey(LocalRoom, on_delete=models.CASCADE, related_name="members")
    account = models.ForeignKey(
        LocalAccount, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    role = models.CharField(
        max_length=10, choices=[(r.value, r.value) for r in Role], default=Role.MEMBER
    )
    joined_at = models.DateTimeField()
    # The first and the last event of the room that this stay covers.
    joined_seq = models.BigIntegerField()
    left_seq = models.BigIntegerField(null=True)
    read_message_id = models.BigIntegerField(default=0)  # the newest message read, 0 = none

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["room", "account"],
                condition=Q(left_seq=None),
                name="local_member_once_per_room",
            ),
        ]
        indexes = [
            # Catching up: was this account in the event's room at the time? Also "my rooms".
            models.Index(fields=["account", "room", "joined_seq"], name="local_member_stays"),
        ]

    def __str__(self) -> str:
        return f"{self.account_id} in {self.room_id}"


class LocalMessage(models.Model):
    room = models.ForeignKey(
        LocalRoom, on_delete=models.CASCADE, related_name="messages", db_index=False
    )
    author = models.ForeignKey(LocalAccount, on_delete=models.CASCADE, related_name="+")
    seq = models.BigIntegerField()  # of the event that announced it: history repeats its id
    text = models.TextField(blank=True)
    card = models.JSONField(null=True)
    thread = models.ForeignKey("self", on_delete=models.CASCADE, null=True, related_name="+")
    key = models.CharField(max_length=255, blank=True)  # Outgoing.key
    posted_at = models.DateTimeField()
    edited_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)
    pinned_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["author", "key"], condition=~Q(key=""), name="local_message_posted_once"
            ),
        ]
        indexes = [
            # History: the messages of a room, newest first.
            models.Index(fields=["room", "id"], name="local_message_history"),
        ]

    def __str__(self) -> str:
        return f"{self.pk} in {self.room_id}"


class LocalFile(models.Model):
    message = models.ForeignKey(LocalMessage, on_delete=models.CASCADE, related_name="files")
    name = models.CharField(max_length=255)
    content_type = models.CharField(max_length=255)
    size = models.PositiveIntegerField()  # bytes
    content = models.BinaryField()

    def __str__(self) -> str:
        return self.name


class LocalReaction(models.Model):
    message = models.ForeignKey(LocalMessage, on_delete=models.CASCADE, related_name="reactions")
    account = models.ForeignKey(LocalAccount, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=100)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["message", "account", "name"], name="local_reaction_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} on {self.message_id}"


class LocalEvent(models.Model):
    """The log that catching up and streams read. Never changed; old ones are pruned.

    Room and actor have no index: nobody asks for their events, and each one would make every post
    dearer. A room of null means that everybody in the space is told; with `only_for` this account
    alone is, if it listens.
    """

    space = models.ForeignKey(Space, on_delete=models.CASCADE, related_name="+", db_index=False)
    seq = models.BigIntegerField()
    kind = models.CharField(max_length=40)
    room = models.ForeignKey(
        LocalRoom, on_delete=models.CASCADE, null=True, related_name="+", db_index=False
    )
    actor = models.ForeignKey(
        LocalAccount, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    only_for = models.ForeignKey(
        LocalAccount, on_delete=models.CASCADE, null=True, related_name="+", db_index=False
    )
    payload = models.JSONField()
    at = models.DateTimeField()

    class Meta:
        constraints = [
            # Also the index for reading on: what came after this number?
            models.UniqueConstraint(fields=["space", "seq"], name="local_event_numbered_once"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.kind}"
