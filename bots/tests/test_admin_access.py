"""Who sees what in the admin, and who may press what."""

import pytest
from django.template.loader import render_to_string
from django.urls import reverse

from bots import jobs, lifecycle
from bots.admin.posting import NOTHING_DONE
from bots.models import AuditEntry, Bot, Event, Job, Lane, Message
from bots.tests import cast
from bots.tests.builders import make_bot, make_channel, make_job, run_lanes
from spaces.models import Channel, Person

pytestmark = pytest.mark.django_db

SECRET_WORD = "sesame-word"
LISTS = [
    "bots_bot",
    "spaces_channel",
    "spaces_person",
    "bots_message",
    "bots_job",
    "bots_event",
    "bots_lane",
]
PRESSES = ["test", "start", "stop", "reconnect", "sync"]
ASKS = ["send", "create-channel", "add-participants", "remove-participants"]


@pytest.fixture
def bot() -> Bot:
    bot = make_bot("treasury", name="Treasury")
    channel = make_channel(bot, "vault", people=["dagobert"])
    make_job(bot, channel, SECRET_WORD)
    run_lanes()
    bot.refresh_from_db()
    return bot


def rows_of(bot: Bot):
    return [
        bot,
        Channel.objects.get(name="vault"),
        Person.objects.get(username="dagobert"),
        Message.objects.first(),
        Job.objects.first(),
        Event.objects.first(),
        Lane.objects.first(),
    ]


def page_of(row) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def test_nobody_gets_in_without_logging_in(client, bot):
    for name in LISTS:
        answer = client.get(reverse(f"admin:{name}_changelist"))
        assert answer.status_code == 302
        assert answer.url.startswith(reverse("admin:login"))


def test_a_person_who_does_not_work_here_gets_in_nowhere(bot):
    user = cast.person("dora", cast.RUNS, bot)
    user.is_staff = False
    user.save()

    assert cast.browser(user).get(page_of(bot)).status_code == 302


@pytest.mark.parametrize("name", LISTS)
def test_charlie_finds_nothing_in_any_list(name, bot):
    html = cast.charlie().get(reverse(f"admin:{name}_changelist")).content.decode()

    for word in ("Treasury", "vault", "dagobert", SECRET_WORD):
        assert word not in html


def test_charlie_opens_no_page_of_anothers_bot(bot):
    charlie = cast.charlie()

    for row in rows_of(bot):
        answer = charlie.get(page_of(row))
        assert answer.status_code == 302, row
        assert answer.url == reverse("admin:index")


@pytest.mark.parametrize("name", PRESSES)
def test_charlie_presses_no_button_of_anothers_bot(name, bot):
    url = reverse("admin:bots_bot_do", args=[bot.pk, name])

    assert cast.charlie().post(url).status_code == 404


@pytest.mark.parametrize("name", ASKS)
def test_charlie_asks_nothing_of_anothers_bot(name, bot):
    url = reverse("admin:bots_bot_ask", args=[bot.pk, name])
    charlie = cast.charlie()

    assert charlie.get(url).status_code == 404
    assert charlie.post(url, {}).status_code == 404


def test_charlie_changes_and_deletes_no_bot_of_others(bot):
    charlie = cast.charlie()

    charlie.post(page_of(bot), {"name": "Mine"})
    charlie.post(reverse("admin:bots_bot_delete", args=[bot.pk]), {"post": "yes"})
    charlie.post(
        reverse("admin:bots_bot_changelist"),
        {"action": "stop_chosen", "_selected_action": [bot.pk]},
    )

    bot.refresh_from_db()
    assert bot.name == "Treasury"
    assert bot.enabled


def test_charlie_cannot_cancel_a_job_of_anothers_bot(bot):
    job = make_job(bot, Channel.objects.get(name="vault"))

    answer = cast.charlie().post(reverse("admin:bots_job_do", args=[job.pk, "cancel"]))

    assert answer.status_code == 404
    job.refresh_from_db()
    assert job.state == "queued"


def test_charlie_is_offered_no_filter_by_anothers_bot(bot):
    make_bot("other")
    html = cast.charlie().get(reverse("admin:bots_job_changelist")).content.decode()

    assert "Treasury" not in html


@pytest.mark.parametrize("number", range(len(LISTS)))
def test_bob_sees_every_page(number, bot):
    answer = cast.bob(bot).get(page_of(rows_of(bot)[number]))

    assert answer.status_code == 200


@pytest.mark.parametrize("name", LISTS)
def test_bob_sees_every_list(name, bot):
    html = cast.bob(bot).get(reverse(f"admin:{name}_changelist")).content.decode()

    assert "There is nothing" not in html
    assert 'id="result_list"' in html


def test_bob_is_offered_no_button(bot):
    bob = cast.bob(bot)

    html = bob.get(page_of(bot)).content.decode()
    channel = bob.get(page_of(Channel.objects.get(name="vault"))).content.decode()

    assert "/do/" not in html
    assert "/ask/" not in html
    assert "/ask/" not in channel
    assert 'type="password"' not in html


@pytest.mark.parametrize("name", PRESSES)
def test_bob_presses_no_button(name, bot):
    answer = cast.bob(bot).post(reverse("admin:bots_bot_do", args=[bot.pk, name]))

    assert answer.status_code == 403


@pytest.mark.parametrize("name", ASKS)
def test_bob_asks_nothing(name, bot):
    url = reverse("admin:bots_bot_ask", args=[bot.pk, name])
    bob = cast.bob(bot)

    assert bob.get(url).status_code == 403
    assert bob.post(url, {}).status_code == 403


def test_bob_changes_nothing(bot):
    bob = cast.bob(bot)

    assert bob.post(page_of(bot), {"name": "Mine"}).status_code == 403
    assert bob.post(reverse("admin:bots_bot_delete", args=[bot.pk])).status_code == 403
    assert bob.get(reverse("admin:bots_bot_add")).status_code == 403
    assert bob.get(reverse("admin:spaces_space_add")).status_code == 403
    bob.post(
        reverse("admin:bots_bot_changelist"),
        {"action": "stop_chosen", "_selected_action": [bot.pk]},
    )

    bot.refresh_from_db()
    assert bot.name == "Treasury"
    assert bot.enabled


def test_the_sidebar_shows_only_what_one_may_see(bot):
    html = cast.bob(bot).get(reverse("admin:index")).content.decode()

    assert reverse("admin:bots_bot_changelist") in html
    assert reverse("admin:bots_apitoken_changelist") not in html
    assert reverse("admin:auth_user_changelist") not in html


@pytest.mark.parametrize("name", PRESSES)
def test_a_button_does_nothing_when_it_is_only_looked_at(name, bot):
    asked = Job.objects.count()

    answer = cast.alice(bot).get(reverse("admin:bots_bot_do", args=[bot.pk, name]), follow=True)

    assert answer.redirect_chain[-1][0] == reverse("admin:bots_bot_change", args=[bot.pk])
    assert NOTHING_DONE in answer.content.decode()
    assert Job.objects.count() == asked
    assert Bot.objects.get(pk=bot.pk).enabled


@pytest.mark.parametrize("name", ["stop_many", "rotate_many"])
def test_what_is_done_with_many_leads_back_to_the_list_when_it_is_only_looked_at(name, bot):
    answer = cast.root().get(reverse(f"admin:bots_bot_{name}"), follow=True)

    assert answer.redirect_chain[-1][0] == reverse("admin:bots_bot_changelist")
    assert NOTHING_DONE in answer.content.decode()


def test_a_button_wants_the_csrf_token(bot):
    alice = cast.alice(bot)
    alice.handler.enforce_csrf_checks = True

    answer = alice.post(reverse("admin:bots_bot_do", args=[bot.pk, "stop"]))

    assert answer.status_code == 403
    bot.refresh_from_db()
    assert bot.enabled


def test_what_was_pressed_is_in_the_history(bot):
    cast.alice(bot).post(reverse("admin:bots_bot_do", args=[bot.pk, "stop"]))

    entry = AuditEntry.objects.first()
    assert (entry.actor_label, entry.action, entry.bot) == ("alice", "bot.stopped", bot)


def test_tables_that_product_writes_cannot_be_changed_even_by_root(bot):
    root = cast.root()
    for name in LISTS[1:]:
        assert root.get(reverse(f"admin:{name}_add")).status_code == 403
    job = jobs.submit(
        bot,
        jobs.Request(kind="message.post", channel=Channel.objects.get(), payload={"text": "x"}),
        requested_by="test",
    )
    assert root.post(page_of(job), {"state": "succeeded"}).status_code == 403
    assert root.post(reverse("admin:bots_job_delete", args=[job.pk])).status_code == 403


def test_who_adds_a_bot_sees_it(bot):
    lifecycle.stop(bot)
    alice = cast.alice(bot)

    alice.post(
        f"{reverse('admin:bots_bot_add')}?space={bot.space_id}",
        {
            "name": "New",
            "slug": "new",
            "receive": "off",
            "credential_secret": "long enough",
            "do": "anyway",
        },
    )

    assert alice.get(page_of(Bot.objects.get(slug="new"))).status_code == 200


# Pages of errors --------------------------------------------------------------------------------


def test_a_refusal_is_one_line_in_the_log_and_leads_on(bot, caplog):
    answer = cast.bob().get(reverse("admin:bots_bot_add"))

    assert answer.status_code == 403
    assert '<a href="/admin/">To the front page</a>' in answer.content.decode()
    told = [record for record in caplog.records if record.name == "django.request"]
    assert [record.getMessage() for record in told] == [
        "Forbidden (Permission denied): /admin/bots/bot/add/"
    ]
    assert "Traceback" not in caplog.text


def test_a_room_that_is_not_there_leads_back_to_the_chat(bot):
    page = cast.root().get(reverse("chat:room", args=[bot.slug, 0])).content.decode()

    assert '<a href="/chat/">To the chat</a>' in page
    assert '<a href="/admin/">To the front page</a>' in page


def test_what_breaks_leads_on_too():
    page = render_to_string("500.html")

    assert "To the front page" in page
    assert "To the chat" not in page


@pytest.mark.parametrize("path", ["/nothing/", "/chat/nothing/", "/admin/nothing/"])
def test_pages_of_errors_have_the_icon_of_all_others(path):
    page = cast.root().get(path).content.decode()

    assert 'href="/static/bots/icon.svg"' in page
