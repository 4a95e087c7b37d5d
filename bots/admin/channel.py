"""Channels: what is known of them, who is in them, and what bots heard and said there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display
from unfold.views import ChangeList

from bots import access, naming, targets
from bots.admin import lane, looks
from bots.admin.base import GrowingAdmin, NamedBot, Rows, SearchedFilter, actor_of
from bots.admin.bot_page import lane_told
from bots.admin.operations import OPERATIONS
from bots.models import Bot, Lane, LaneKind, Message
from spaces.models import Channel
from spaces.platforms.messages import ChannelKind

LATEST = 50
OPERATIONS_HERE = ("send", "change-channel", "add-participants", "remove-participants")


class BotInIt(NamedBot):
    def of(self, rows: QuerySet[Any], bots: QuerySet[Bot]) -> QuerySet[Any]:
        members = bots.exclude(person=None).values("person")
        return rows.filter(participants__person__in=members)


class ChannelRows(Rows):
    """The rows of a page, with what each is called: for no bot, so by all who are in it."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        names = naming.names((None, channel) for channel in self.result_list)
        for channel in self.result_list:
            channel.called = names[None, channel.pk]


@admin.register(Channel)
class ChannelAdmin(GrowingAdmin):
    list_display = ("shown", "name", "kind", "space", "archived_shown", "synced_shown")
    list_select_related = ("space",)
    list_filter = (BotInIt, ("space", SearchedFilter), ("kind", ChoicesDropdownFilter), "archived")
    search_fields = ("name", "title", "=remote_id")
    empty_hint = (
        "Channels appear when a bot is in them. Open a bot and press Create channel, or press "
        "Sync after the bot was added to a channel on its platform."
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "space",
                    "kind",
                    "name",
                    "title",
                    "topic",
                    "purpose",
                    "archived_shown",
                    "remote_id",
                    "synced_shown",
                )
            },
        ),
    )
    change_form_outer_after_template = "admin/bots/tables.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ChannelRows

    def beside(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        bots = access.bots(actor_of(request))
        asks = OPERATIONS_HERE if self.has_operate_permission(request, row) else ()
        return {
            "subtitle": naming.name(None, row),
            "tables": [_bots(request, row, bots, asks), _participants(row), _messages(row, bots)],
        }

    @display(description="Channel")
    def shown(self, channel: Any) -> str:
        called: str = channel.called
        return called

    @display(description="Archived")
    def archived_shown(self, channel: Channel) -> str:
        return looks.yes(channel.archived)

    @display(description="Last sync")
    def synced_shown(self, channel: Channel) -> str:
        return looks.moment(channel.synced_at)


def _bots(
    request: HttpRequest, channel: Channel, bots: QuerySet[Bot], asks: Sequence[str]
) -> dict[str, Any]:
    found = list(bots.filter(person__participations__channel=channel)[: LATEST + 1])
    here = found[:LATEST]
    lanes = _lanes(channel, here)
    rows = (
        (
            looks.link(bot),
            _links(bot, channel, asks),
            _lane(request, channel, lanes.get(bot.pk), may_steer=bool(asks)),
        )
        for bot in here
    )
    return {
        "title": "Bots in this channel",
        "table": looks.table(("Bot", "Ask it to", "What waits for here"), rows),
        "all_url": f"{reverse('admin:bots_bot_changelist')}?channel={channel.pk}",
        "more": len(found) > LATEST,
        "nothing": "None.",
    }


def _lanes(channel: Channel, bots: Sequence[Bot]) -> dict[int, Lane]:
    """By bot: the lane in which its work for the channel waits, if it has any."""
    # Only a conversation between two is called otherwise by each of its bots.
    is_direct = channel.kind == ChannelKind.DIRECT
    named = bots if is_direct else bots[:1]
    keys = {targets.lanes_of_channels(bot, [channel])[channel.pk] for bot in named}
    rows = Lane.objects.filter(kind=LaneKind.JOBS, bot__in=bots, key__in=keys).select_related("bot")
    return {row.bot_id: row for row in rows if row.bot_id}


def _lane(
    request: HttpRequest, channel: Channel, row: Lane | None, *, may_steer: bool
) -> SafeString | str:
    if row is None:
        return "Nothing waits."
    names = ("pause", "resume") if may_steer else ()
    presses = [(name, lane.PRESSES[name]) for name in names]
    context = {
        "lane": row,
        "told": lane_told(row),
        "presses": [(name, press) for name, press in presses if press.offered(row)],
        "back": reverse("admin:spaces_channel_change", args=[channel.pk]),
    }
    return render_to_string("admin/bots/lane/here.html", context, request)


def _links(bot: Bot, channel: Channel, asks: Sequence[str]) -> SafeString:
    links = (
        (
            reverse("admin:bots_bot_ask", args=[bot.pk, name]),
            urlencode({"channel": channel.pk}),
            OPERATIONS[name].label,
        )
        for name in asks
    )
    return format_html_join(" · ", '<a class="text-link" href="{}?{}">{}</a>', links)


def _participants(channel: Channel) -> dict[str, Any]:
    rows = list(channel.participants.select_related("person").order_by("pk")[: LATEST + 1])
    return {
        "title": "Participants",
        "table": looks.table(
            ("Person", "Username", "Role", "Joined"),
            (
                (
                    looks.link(row.person),
                    row.person.username or looks.NOTHING,
                    row.role,
                    looks.moment(row.joined_at),
                )
                for row in rows[:LATEST]
            ),
        ),
        "all_url": f"{reverse('admin:spaces_person_changelist')}?channel={channel.pk}",
        "more": len(rows) > LATEST,
        "nothing": "Nobody is known to be here. Press Sync on a bot of this channel.",
    }


def _messages(channel: Channel, bots: QuerySet[Bot]) -> dict[str, Any]:
    """As one bot heard and said it: the others in the channel have rows of their own for it."""
    here = bots.filter(person__participations__channel=channel)
    # Nobody may be in it any more.
    bot = here.first() or bots.filter(Exists(_heard(channel, OuterRef("pk")))).first()
    rows = list(_heard(channel, bot).select_related("sender")[: LATEST + 1])
    of_bot = urlencode({"channel__id__exact": channel.pk, "bot__id__exact": bot.pk if bot else 0})
    return {
        "title": f"Latest messages, as {bot} saw them" if bot else "Latest messages",
        "table": looks.table(
            ("Sent", "From", "Text"),
            (
                (
                    looks.link(row, looks.moment(row.sent_at)),
                    str(row.sender or looks.NOTHING),
                    Truncator(row.text).chars(200) or looks.NOTHING,
                )
                for row in rows[:LATEST]
            ),
        ),
        "all_url": f"{reverse('admin:bots_message_changelist')}?{of_bot}",
        "more": len(rows) > LATEST,
        "nothing": "Nothing was said here yet.",
    }


def _heard(channel: Channel, bot: Bot | OuterRef | None) -> QuerySet[Message]:
    return Message.objects.filter(channel=channel, bot=bot).order_by("-sent_at", "-pk")
