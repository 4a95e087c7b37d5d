"""The pages for participants: the list pasted, the dry run, the results, and who may do what."""

from __future__ import annotations

import csv
import html
import io

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.html import strip_tags

from bots import job_groups
from bots.admin.group_results import harmless
from bots.job_groups import Wanted
from bots.models import Bot, GroupKind, GroupState, Job, JobGroup, WorkState
from bots.tests import cast
from bots.tests.builders import make_bot, make_channel, make_person, make_space, run_lanes
from spaces.models import Channel, LocalMember
from spaces.platforms.errors import Forbidden
from spaces.testing import faulty

pytestmark = pytest.mark.django_db

PRESSES = ["run", "leave-out", "check-again", "retry", "take-up", "cancel"]


@pytest.fixture
def bot() -> Bot:
    bot = make_bot("echo", name="Echo", space=make_space("shaky", platform="faulty"))
    for name in ("anna", "bert"):
        make_person(name, space=bot.space)
    return bot


@pytest.fixture
def lobby(bot) -> Channel:
    return make_channel(bot, "lobby", people=["dora"])


def url(name: str, *args: object) -> str:
    return reverse(f"admin:bots_jobgroup_{name}", args=args)


def text_of(answer) -> str:
    return html.unescape(answer.content.decode())


def group_of(bot: Bot, lobby: Channel, *names: str, kind=GroupKind.ADD) -> JobGroup:
    wanted = Wanted(kind=kind, people=names, channels=[lobby])
    return go_on(job_groups.ask(bot, wanted, requested_by="alice"))


def go_on(group: JobGroup) -> JobGroup:
    for _ in range(10):
        job_groups.work(group.pk)
        run_lanes()
    group.refresh_from_db()
    return group


def press(client, group: JobGroup, name: str):
    return client.post(url("do", group.pk, name), follow=True)


def entered(lobby: Channel, **changes) -> dict:
    values = {"once": "x", "kind": "participants.add", "people": "@anna", "channels": [lobby.pk]}
    return values | changes


# The form ---------------------------------------------------------------------------------------


def test_an_operator_finds_the_bot_and_reads_what_it_can_do(bot):
    make_bot("mute", name="Mute", permissions=["post"])

    root = cast.root()
    page = text_of(root.get(url("choose"), {"q": "o"}))
    assert "Can add people, remove people, make moderators." in page
    assert "Mute" not in page

    page = text_of(root.get(url("choose"), {"q": "mute"}))
    assert "mute has no permission 'participants'." in page


def test_the_search_for_channels_finds_those_where_people_can_be_added(bot, lobby):
    make_channel(bot, "attic")
    root = cast.root()

    assert "attic" in text_of(root.get(url("channels", bot.pk)))
    found = text_of(root.get(url("channels", bot.pk), {"q": "LOB"}))
    assert "lobby" in found
    assert "attic" not in found
    assert "No channel of this bot" in text_of(root.get(url("channels", bot.pk), {"q": "zz\0"}))


def test_a_list_that_was_pasted_becomes_a_dry_run(bot, lobby):
    people = "E-Mail\nAnna <anna@acme.example>;\n@bert\n@bert\n"

    answer = cast.root().post(
        url("people", bot.pk), entered(lobby, people=people, moderator="on"), follow=True
    )

    group = JobGroup.objects.get()
    assert answer.redirect_chain == [(url("change", group.pk), 302)]
    page = text_of(answer)
    assert "2 people were read. Somebody was named twice 1 time; that counts once." in page
    assert "Passed over, as headings or as names beside an address: 1 (E-Mail)." in page
    assert "Add 2 people to 1 channel as moderators" in page
    assert group.requested_by == "root"


def test_a_form_that_is_sent_twice_is_one_dry_run(bot, lobby):
    root = cast.root()

    for _ in range(2):
        root.post(url("people", bot.pk), entered(lobby))

    assert JobGroup.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"people": " ,\n"}, "Nobody is named here."),
        ({"people": ""}, "This field is required."),
        ({"channels": []}, "Choose a channel."),
        ({"channels": ["nonsense"]}, "That is no channel."),
        ({"channels": [10**30]}, "That is no channel."),
        ({"channels": [10**9]}, "not in one of these channels"),
        ({"kind": "message.post"}, "Select a valid choice"),
        ({"people": "\n".join(f"p{n}" for n in range(10_001))}, "10,001 people are too many"),
    ],
)
def test_nonsense_is_answered_on_the_form(bot, lobby, changes, told):
    answer = cast.root().post(url("people", bot.pk), entered(lobby, **changes))

    assert answer.status_code == 200
    assert told in text_of(answer)
    assert not JobGroup.objects.exists()


def test_a_channel_of_another_bot_cannot_be_chosen(bot, lobby):
    theirs = make_channel(make_bot("other", space=bot.space), "secret")

    answer = cast.root().post(url("people", bot.pk), entered(theirs))

    assert "not in one of these channels" in text_of(answer)


def test_a_list_is_corrected_where_it_was(bot, lobby):
    group = group_of(bot, lobby, "@anna", "@nobody")

    page = text_of(cast.root().get(url("people", bot.pk), {"like": group.pk}))

    assert "@anna\n@nobody" in page
    assert f'name="channels" value="{lobby.pk}" checked' in page


# The dry run and what follows -------------------------------------------------------------------


def test_the_page_says_what_would_happen_and_offers_what_can_be_done(bot, lobby):
    group = group_of(bot, lobby, "@anna", "@dora", "@nobody")
    root = cast.root()

    page = text_of(root.get(url("change", group.pk)))
    assert "Leave out the 1 that cannot be done" in page
    assert "Run:" not in page
    assert "There is nobody called nobody" in page

    page = text_of(press(root, group, "leave-out"))
    assert "Run: add 1" in page
    assert "1 membership would change. Nothing has been changed yet." in page


def test_a_dry_run_is_run_and_followed_to_its_end(bot, lobby):
    group = group_of(bot, lobby, "@anna", "@dora")
    root = cast.root()

    assert "Cancel what waits" in text_of(press(root, group, "run"))
    press(root, group, "run")  # a double click
    go_on(group)

    page = text_of(root.get(url("change", group.pk)))
    assert "Finished: all 1 are done." in page
    assert "added" in page
    assert Job.objects.filter(group=group).count() == 1


def test_what_failed_is_first_and_tried_again(bot, lobby):
    group = group_of(bot, lobby, "@anna", "@dora")
    faulty.script(faulty.before(Forbidden("not today")), operation="add_participants")
    root = cast.root()
    press(root, group, "run")
    go_on(group)

    page = text_of(root.get(url("change", group.pk)))
    assert "Retry the 1 that failed" in page
    assert "not today" in page
    assert page.index("remote_forbidden") < page.index("Dora")
    assert f"<strong>{Forbidden.next_step}</strong>" in page

    press(root, group, "retry")
    assert go_on(group).failed_count == 0


def test_what_was_cancelled_is_taken_up_again_or_becomes_another_list(bot, lobby):
    group = group_of(bot, lobby, "@anna", "@dora")
    root = cast.root()
    press(root, group, "run")
    page = text_of(press(root, group, "cancel"))
    assert "being cancelled" in page
    assert "Cancel what waits" not in page
    go_on(group)

    page = text_of(root.get(url("change", group.pk)))
    assert "Finished: 1 of 1 was cancelled." in page
    assert "Correct the list" in page
    assert "Take up the 1 that were cancelled" in page

    press(root, group, "take-up")
    go_on(group)
    assert "Finished: all 1 are done." in text_of(root.get(url("change", group.pk)))


def test_a_job_that_waits_for_a_person_is_named_on_the_page_of_its_group(bot, lobby):
    group = group_of(bot, lobby, "@anna")
    root = cast.root()
    press(root, group, "run")
    job_groups.work(group.pk)
    job = group.jobs.get()

    Job.objects.update(state=WorkState.UNCERTAIN)

    page = root.get(url("change", group.pk)).content.decode()
    assert "Nobody knows whether this job was done" in page
    assert reverse("admin:bots_job_change", args=[job.pk]) in page


def test_the_page_of_a_job_leads_to_its_group(bot, lobby):
    group = group_of(bot, lobby, "@anna")
    root = cast.root()
    press(root, group, "run")
    go_on(group)

    page = text_of(root.get(reverse("admin:bots_job_change", args=[group.jobs.get().pk])))

    assert url("change", group.pk) in page


def test_undoing_asks_first_with_the_numbers(bot, lobby):
    group = group_of(bot, lobby, "@anna", "@dora")
    root = cast.root()
    press(root, group, "run")
    go_on(group)

    asked = text_of(root.get(url("undo", group.pk)))
    assert "1 membership that this change began will end again." in asked
    assert "1 stay as they are: they were members before." in asked
    assert "what the platform does not let the bot do fails" in asked
    answer = root.post(url("undo", group.pk), follow=True)

    undoing = go_on(JobGroup.objects.get(undoes=group))
    assert answer.redirect_chain == [(url("change", undoing.pk), 302)]
    inside = LocalMember.objects.filter(room=lobby.remote_id, left_seq=None)
    assert set(inside.values_list("account__username", flat=True)) == {"echo", "dora"}
    assert undone_told(root, group).startswith("finished")
    assert "failed" not in undone_told(root, group)


def undone_told(client, group: JobGroup) -> str:
    page = " ".join(strip_tags(text_of(client.get(url("change", group.pk)))).split())
    return page.partition("It is taken back by a later change: ")[2][:25]


def test_what_could_not_be_taken_back_is_not_told_as_undone(bot, lobby):
    group = group_of(bot, lobby, "@anna")
    root = cast.root()
    press(root, group, "run")
    go_on(group)
    faulty.script(faulty.before(Forbidden("not today")), operation="remove_participants")

    undoing = job_groups.undo(group, requested_by="alice")
    assert undone_told(root, group).startswith("starting")
    go_on(undoing)

    assert undone_told(root, group).startswith("finished, 1 failed")


def test_once_it_is_undone_nothing_offers_to_go_on_with_it(bot, lobby):
    group = group_of(bot, lobby, "@anna")
    group.channels.create(channel=make_channel(bot, "attic"))
    root = cast.root()
    press(root, group, "check-again")
    go_on(group)
    faulty.script(faulty.before(Forbidden("not today")), operation="add_participants")
    press(root, group, "run")
    go_on(group)
    assert "Retry the 1 that failed" in text_of(root.get(url("change", group.pk)))

    job_groups.undo(group, requested_by="alice")

    assert "Retry the" not in text_of(root.get(url("change", group.pk)))
    assert "A later change takes this back" in text_of(press(root, group, "retry"))
    assert "was run before and has finished" in text_of(press(root, group, "run"))


def test_who_was_not_found_is_told_once_however_many_the_channels(bot, lobby):
    wanted = Wanted(
        kind=GroupKind.ADD,
        people=("@anna", "@fridda", "@dorra"),
        channels=[lobby, make_channel(bot, "attic")],
    )
    group = go_on(job_groups.ask(bot, wanted, requested_by="alice"))

    page = text_of(cast.root().get(url("change", group.pk))).partition("group-results")[0]

    assert "2 people were not found:</strong> @fridda, @dorra." in page
    assert f"{url('people', bot.pk)}?like={group.pk}" in page


def test_the_table_goes_along_with_its_heading(bot, lobby):
    group = group_of(bot, lobby, "@anna")
    root = cast.root()
    before = root.get(url("follow", group.pk))
    press(root, group, "run")
    go_on(group)

    after = root.get(url("follow", group.pk), headers={"X-Mark": before["X-Mark"]})

    heading, _, table = text_of(after).partition('id="group-results"')
    assert "finished" in heading
    assert "added" in table
    assert 'hx-swap-oob="true"' in table
    same = root.get(url("follow", group.pk), headers={"X-Mark": after["X-Mark"]})
    assert same.status_code == 204


def test_there_is_no_undoing_of_a_dry_run(bot, lobby):
    group = group_of(bot, lobby, "@anna")
    root = cast.root()

    assert root.get(url("undo", group.pk)).status_code == 302
    assert "so that cannot be done" in text_of(root.post(url("undo", group.pk), follow=True))
    assert "so that cannot be done" in text_of(press(root, group, "retry"))


def test_the_page_follows_by_itself_until_it_is_over(bot, lobby):
    group = group_of(bot, lobby, "@anna")
    root = cast.root()
    press(root, group, "run")

    first = root.get(url("follow", group.pk))
    same = root.get(url("follow", group.pk), headers={"X-Mark": first["X-Mark"]})
    go_on(group)
    last = root.get(url("follow", group.pk), headers={"X-Mark": first["X-Mark"]})

    assert "hx-trigger" in text_of(first)
    assert same.status_code == 204
    assert "hx-trigger" not in text_of(last)


def test_a_dry_run_that_somebody_else_runs_shows_so_by_itself(bot, lobby):
    group = group_of(bot, lobby, "@anna")
    root = cast.root()

    checked = root.get(url("follow", group.pk))
    job_groups.run(group)
    running = root.get(url("follow", group.pk), headers={"X-Mark": checked["X-Mark"]})

    assert "hx-trigger" in text_of(checked)
    assert "starting" in text_of(running)


@pytest.mark.parametrize(
    "query", ["?plan=not_found", "?state=planned", "?q=nob", "?channel={channel}"]
)
def test_results_are_filtered(bot, lobby, query):
    group = group_of(bot, lobby, "@anna", "@dora", "@nobody")
    query = query.format(channel=lobby.pk)

    page = text_of(cast.root().get(url("follow", group.pk) + query)).partition("group-results")[2]

    assert ("@nobody" in page) == ("state" not in query)
    assert ("Anna" in page) == (query in ("?state=planned", f"?channel={lobby.pk}"))


@pytest.mark.parametrize(
    "query",
    ["?plan=x", "?state=99", "?page=-1", f"?page={10**20}", "?channel=x", "?q=%00", "?page=x"],
)
def test_nonsense_in_an_address_does_no_harm(bot, lobby, query):
    group = group_of(bot, lobby, "@anna")
    root = cast.root()

    for name in ("change", "follow", "file"):
        assert root.get(url(name, group.pk) + query).status_code == 200


def test_the_file_opens_in_a_spreadsheet_and_runs_nothing_there(bot, lobby):
    group = group_of(bot, lobby, "=cmd|calc!a1", "@anna", "-1+1")

    answer = cast.root().get(url("file", group.pk))

    lines = list(csv.reader(io.StringIO(answer.getvalue().decode("utf-8-sig"))))
    assert lines[0][:4] == ["person", "name", "username", "channel"]
    assert {line[0] for line in lines[1:]} == {"'=cmd|calc!a1", "'@anna", "'-1+1"}


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@a", "\t=1", "\r=1"])
def test_a_cell_is_never_a_formula(cell):
    assert harmless(cell) == f"'{cell}"


def test_markup_in_a_list_is_shown_and_not_interpreted(bot, lobby):
    group = group_of(bot, lobby, "<script>alert(1)</script>")

    assert "<script>alert(1)" not in cast.root().get(url("change", group.pk)).content.decode()


# Who may what -----------------------------------------------------------------------------------


def test_bob_sees_everything_and_changes_nothing(bot, lobby):
    group = group_of(bot, lobby, "@anna", "@nobody")
    bob = cast.bob(bot)

    assert "Add 2 people" in text_of(bob.get(url("changelist")))
    assert "Add or remove people" not in text_of(bob.get(url("changelist")))
    page = text_of(bob.get(url("change", group.pk)))
    assert "@nobody" in page
    for label in ("Leave out the", "Check again", "Correct the list"):
        assert label not in page
    assert bob.get(url("file", group.pk)).status_code == 200
    for name in PRESSES:
        assert bob.post(url("do", group.pk, name)).status_code == 403
    for address in (url("undo", group.pk), url("people", bot.pk), url("choose")):
        assert bob.get(address).status_code == 403
        assert bob.post(address, {}).status_code == 403
    assert bob.get(url("channels", bot.pk)).status_code == 403
    group.refresh_from_db()
    assert group.state == GroupState.CHECKED


def test_for_charlie_there_is_nothing(bot, lobby):
    group = group_of(bot, lobby, "@anna")
    charlie = cast.charlie()

    assert "Add 1 person" not in text_of(charlie.get(url("changelist")))
    assert "Echo" not in text_of(charlie.get(url("choose")))
    assert charlie.get(url("change", group.pk)).status_code == 302
    for name in ("follow", "file", "undo"):
        assert charlie.get(url(name, group.pk)).status_code == 404
    for name in PRESSES:
        assert charlie.post(url("do", group.pk, name)).status_code == 404
    for name in ("people", "channels"):
        assert charlie.get(url(name, bot.pk)).status_code == 404
    assert charlie.post(url("people", bot.pk), entered(lobby)).status_code == 404


# How much it asks of the database ---------------------------------------------------------------


def queries_of(client, address: str) -> int:
    client.get(address)  # what is asked once is asked now
    with CaptureQueriesContext(
        connection,
    ) as asked:
        answer = client.get(address)
        if answer.streaming:
            b"".join(answer.streaming_content)
    return len(asked)


@pytest.mark.parametrize("name", ["change", "follow", "file"])
def test_a_page_asks_as_much_for_many_people_as_for_few(bot, lobby, name):
    few = group_of(bot, lobby, "@anna", "@dora", "@nobody")
    many = group_of(bot, lobby, "@anna", "@dora", *(f"@nobody{n}" for n in range(80)))
    root = cast.root()

    assert queries_of(root, url(name, many.pk)) == queries_of(root, url(name, few.pk))


def test_the_lists_ask_as_much_for_many_rows_as_for_few(bot, lobby):
    group_of(bot, lobby, "@anna")
    root = cast.root()
    addresses = [url("changelist"), url("choose"), url("channels", bot.pk), url("people", bot.pk)]
    few = [queries_of(root, address) for address in addresses]

    for number in range(5):
        group_of(bot, lobby, "@anna")
        make_channel(make_bot(f"bot-{number}", space=bot.space), f"room-{number}")
        make_channel(bot, f"hall-{number}")

    assert [queries_of(root, address) for address in addresses] == few
