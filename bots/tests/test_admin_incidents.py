"""The front page tells what is wrong first, and the list of incidents what was."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from bots import incidents, lifecycle, processes, receivers
from bots.admin.fleet.tour import FEW
from bots.connections import states
from bots.models import Bot, Connection, Ended, Incident, Job, State, WorkState
from bots.tests import cast
from bots.tests.builders import SECRET, make_bot, make_channel, make_job, make_subscription
from spaces.platforms.errors import CredentialsRefused

pytestmark = pytest.mark.django_db

FRONT = reverse("admin:index")
LIST = reverse("admin:bots_incident_changelist")


@pytest.fixture(autouse=True)
def _somebody_looks():
    processes.worked()


def make_refused_bot(slug: str = "treasury", why: str = "No entry.") -> Bot:
    """A bot about which an incident is open."""
    bot = make_bot(slug, name=slug.title())
    states.refuse(bot, CredentialsRefused(why))
    incidents.look()
    return bot


def end_subscription() -> None:
    subscription, _ = make_subscription(name="ledger")
    receivers.end(subscription, Ended.GONE, code="status_410", detail="It answered 410.")
    incidents.look()


def page(client: Client, url: str = FRONT) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_all_is_well_where_nothing_is_wrong():
    make_bot()

    assert "all is well" in page(cast.root())


def test_nothing_is_called_well_while_nobody_looks():
    processes.leave()

    front = page(cast.root())

    assert "all is well" not in front
    assert "nobody looks" in front


def test_an_incident_stays_in_the_list_when_its_bot_is_deleted():
    lifecycle.delete(make_refused_bot())

    page_of_it = reverse("admin:bots_incident_change", args=[Incident.objects.get().pk])
    root = cast.root()
    assert "bot treasury" in rows(page(root, f"{LIST}?state=closed"))
    assert "bot treasury" in page(root, page_of_it)
    make_bot()
    assert "all is well" in page(root)


def test_what_is_wrong_stands_first_with_what_to_do():
    bot = make_refused_bot()

    front = page(cast.root())

    assert "all is well" not in front
    told = text_of(front)
    for words in ("1 open incident", "Credentials refused", "bot treasury", "No entry."):
        assert words in told
    assert Incident.objects.get().next_step in told
    assert reverse("admin:bots_bot_change", args=[bot.pk]) in front


def test_the_worst_stands_first():
    late = make_bot("late")
    lifecycle.set_expiries(late, {"secret": timezone.now().date() + timedelta(days=1)})
    incidents.look()
    make_refused_bot()

    front = page(cast.root())

    assert front.index("Credentials refused") < front.index("Credentials expire")


def test_of_many_the_first_are_shown_and_all_are_counted():
    for n in range(30):
        states.refuse(make_bot(f"bot{n}"), CredentialsRefused("No entry."))
    incidents.look()

    told = text_of(page(cast.root()))

    assert "30 open incidents" in told
    assert told.count("Credentials refused bot bot") == 10
    assert "All 30 of them" in told


def test_a_closed_incident_is_in_the_list_with_its_duration():
    bot = make_refused_bot()
    lifecycle.set_credentials(bot, {"secret": SECRET}, user=None)
    incidents.look()
    an_hour_ago = timezone.now() - timedelta(hours=3)
    Incident.objects.exclude(closed_at=None).update(opened_at=an_hour_ago)
    root = cast.root()

    assert "Credentials refused" not in page(root)
    assert "Credentials refused" not in rows(page(root, f"{LIST}?state=open"))
    closed = rows(page(root, f"{LIST}?state=closed"))
    assert "Credentials refused" in closed
    assert "3 h" in closed


@pytest.mark.parametrize(
    ("query", "is_shown"),
    [
        ("code__exact=credentials_refused", True),
        ("code__exact=lane_late", False),
        ("q=treas", True),
    ],
)
def test_the_list_is_filtered_and_searched(query, is_shown):
    make_refused_bot()

    assert ("bot treasury" in rows(page(cast.root(), f"{LIST}?{query}"))) == is_shown


def rows(html: str) -> str:
    """What the table of a list says."""
    return html.partition('id="changelist-form"')[2].partition('id="changelist-filter"')[0]


def test_what_may_not_last_is_shown_to_nobody():
    bot = make_bot("treasury")
    row = Connection.objects.get(bot=bot)
    states.move(row, State.RECONNECTING, fence=row.fence, reason="No answer.")
    incidents.look()
    noticed = Incident.objects.get()
    root = cast.root()

    assert "all is well" in page(root)
    assert "bot treasury" not in rows(page(root, LIST))
    assert root.get(reverse("admin:bots_incident_change", args=[noticed.pk])).status_code == 302


def test_people_see_the_incidents_of_their_bots():
    mine = make_refused_bot("mine")
    make_refused_bot("other")
    end_subscription()

    for client in (cast.alice(mine), cast.bob(mine)):
        for told in (text_of(page(client)), rows(page(client, LIST))):
            assert "bot mine" in told
            assert "bot other" not in told
            assert "ledger" not in told
        assert "1 open incident" in text_of(page(client))
    assert "incident" not in text_of(page(cast.charlie()))
    assert "3 open incidents" in text_of(page(cast.root()))


def test_charlie_opens_no_page_of_anothers_incident():
    make_refused_bot()
    url = reverse("admin:bots_incident_change", args=[Incident.objects.get().pk])

    assert cast.charlie().get(url).status_code == 302
    assert cast.root().get(url).status_code == 200


def test_who_may_see_no_bots_is_told_nothing():
    bot = make_refused_bot()

    front = page(cast.browser(cast.person("dora", (), bot)))

    assert "treasury" not in front
    assert "all is well" not in front


def test_what_others_wrote_is_shown_and_not_interpreted():
    make_refused_bot(why="<script>alert(1)</script>")
    root = cast.root()

    for url in (FRONT, reverse("admin:bots_incident_change", args=[Incident.objects.get().pk])):
        assert "<script>alert(1)" not in page(root, url)
        assert "&lt;script&gt;alert(1)" in page(root, url)


def test_figures_tell_how_things_stand():
    bot = make_bot()
    make_refused_bot()
    channel = make_channel(bot)
    for _ in range(3):
        make_job(bot, channel)
    Job.objects.filter(pk=make_job(bot, channel).pk).update(state=WorkState.UNCERTAIN)

    told = text_of(page(cast.root()))

    for words in ("1 starting", "1 bad credentials", "3 jobs waiting", "1 job uncertain"):
        assert words in told
    assert "0 jobs waiting" in text_of(page(cast.alice(make_bot("other"))))


def test_the_front_page_takes_as_many_queries_for_many_bots_as_for_few():
    root = cast.root()

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(root)
        return len(captured)

    for n in range(FEW + 1):
        make_refused_bot(f"first{n}")
    queries()  # what is looked up once per process
    few = queries()
    for n in range(10):
        make_refused_bot(f"bot{n}")
        end_subscription()

    assert queries() == few


# Until when a credential works ------------------------------------------------------------------


def credentials_of(bot: Bot) -> str:
    return reverse("admin:bots_bot_credentials", args=[bot.pk])


def test_an_operator_says_until_when_a_credential_works():
    bot = make_bot()
    root = cast.root()

    answer = root.post(credentials_of(bot), {"expires_secret": "2030-12-31"})

    assert answer.status_code == 302
    assert bot.credentials.get().expires_on == date(2030, 12, 31)
    assert "2030-12-31" in page(root, reverse("admin:bots_bot_change", args=[bot.pk]))
    assert 'value="2030-12-31"' in page(root, credentials_of(bot))


def test_a_new_value_has_no_date_until_one_is_entered():
    bot = make_bot()
    root = cast.root()
    url = credentials_of(bot)
    root.post(url, {"expires_secret": "2030-12-31"})

    root.post(url, {"expires_secret": "2030-12-31", "credential_secret": SECRET})
    root.post(url, {"use": ""})
    assert bot.credentials.get().expires_on is None

    root.post(url, {"expires_secret": "2031-12-31", "credential_secret": SECRET})
    root.post(url, {"use": ""})
    assert bot.credentials.get().expires_on == date(2031, 12, 31)
