"""Many bots at once: each gets its result, whoever dies meanwhile and whoever may not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.utils import timezone

from bots import access, bulk_actions, lifecycle, secrets, tasks
from bots.models import Bot, BulkAction, BulkItem, BulkKind, Credential, ItemState, Job
from bots.refusals import Conflict, Invalid
from bots.tests import cast
from bots.tests.builders import (
    SECRET,
    database_cut_off_at,
    make_bot,
    make_space,
    make_user,
    run_lanes,
    take_queued,
)
from spaces.platforms.errors import CredentialsRefused, Unavailable
from spaces.testing import faulty

pytestmark = pytest.mark.django_db

NEW = "a new password"


@pytest.fixture
def alice() -> User:
    return make_user("alice", is_superuser=True)


@pytest.fixture
def echo() -> Bot:
    return make_bot("echo")


@pytest.fixture
def pair(echo: Bot) -> list[Bot]:
    return [echo, make_bot("bell")]


@pytest.fixture
def moody() -> Iterator[Bot]:
    """A bot on a platform that fails on command, and has only just been added."""
    yield make_bot("moody", space=make_space("moods", platform="faulty"))
    faulty.reset()


def work(action: BulkAction) -> BulkAction:
    tasks.work_on_bulk_action(action.pk)
    action.refresh_from_db()
    return action


def outcomes(action: BulkAction) -> dict[str, tuple[str, str]]:
    """State and code by the names of the bots."""
    return {item.name: (item.state, item.error_code) for item in action.items.all()}


def only(action: BulkAction) -> BulkItem:
    return action.items.get()


def let_claims_end() -> None:
    past = timezone.now() - timedelta(seconds=1)
    BulkItem.objects.exclude(claimed_until=None).update(claimed_until=past)


# What is done -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "enabled"), [(BulkKind.STOP, False), (BulkKind.START, True)])
def test_all_of_them_are_switched(kind, enabled, pair, alice):
    Bot.objects.update(enabled=not enabled)

    action = work(bulk_actions.ask(kind, Bot.objects.all(), user=alice))

    assert set(Bot.objects.values_list("enabled", flat=True)) == {enabled}
    assert outcomes(action) == {"Echo": (ItemState.DONE, ""), "Bell": (ItemState.DONE, "")}
    assert action.finished_at is not None


def test_the_last_word_counts_where_bots_are_started_and_stopped(pair, alice):
    Bot.objects.update(enabled=False)
    start = bulk_actions.ask(BulkKind.START, pair, user=alice)

    stop = work(bulk_actions.ask(BulkKind.STOP, pair[:1], user=alice))
    work(start)

    assert outcomes(stop) == {"Echo": (ItemState.DONE, "")}
    assert outcomes(start) == {
        "Echo": (ItemState.FAILED, "superseded"),
        "Bell": (ItemState.DONE, ""),
    }
    assert Bot.objects.get(slug="echo").enabled is False
    assert Bot.objects.get(slug="bell").enabled is True


def test_one_that_is_on_already_is_not_interrupted(echo, alice):
    action = work(bulk_actions.ask(BulkKind.START, [echo], user=alice))

    assert only(action).detail == "It was on already."
    assert Bot.objects.get().generation == echo.generation


def test_reconnecting_makes_holders_start_anew(echo, alice):
    work(bulk_actions.ask(BulkKind.RECONNECT, [echo], user=alice))

    assert Bot.objects.get().generation == echo.generation + 1


@pytest.mark.parametrize("kind", [BulkKind.RECONNECT, BulkKind.SYNC])
def test_one_that_is_off_is_told_apart_and_the_others_go_on(kind, pair, alice):
    lifecycle.stop(pair[0])

    action = work(bulk_actions.ask(kind, pair, user=alice))
    run_lanes()
    bulk_actions.sweep()

    assert outcomes(action) == {"Echo": (ItemState.FAILED, "switched_off"), "Bell": ("done", "")}
    assert action.items.get(bot=pair[0]).next_step


def test_a_sync_is_over_when_its_job_is(echo, alice):
    action = work(bulk_actions.ask(BulkKind.SYNC, [echo], user=alice))

    assert only(action).state == ItemState.RUNNING
    assert action.finished_at is None
    assert only(action).job.requested_by == "alice"

    run_lanes()
    tasks.sweep()

    action.refresh_from_db()
    assert only(action).state == ItemState.DONE
    assert action.finished_at is not None


def test_a_sync_that_fails_says_what_the_platform_said(moody, alice):
    faulty.script(faulty.before(CredentialsRefused("No entry.")), operation="list_channels")

    action = work(bulk_actions.ask(BulkKind.SYNC, [moody], user=alice))
    run_lanes()
    bulk_actions.sweep()

    item = only(action)
    assert (item.state, item.error_code) == (ItemState.FAILED, "credentials_refused")
    assert "No entry." in item.detail


def test_a_sync_whose_job_is_gone_does_not_wait_for_ever(echo, alice):
    action = work(bulk_actions.ask(BulkKind.SYNC, [echo], user=alice))
    Job.objects.all().delete()

    bulk_actions.sweep()

    assert outcomes(action) == {"Echo": (ItemState.FAILED, "job_removed")}


def test_with_no_bot_nothing_begins(alice):
    with pytest.raises(Invalid):
        bulk_actions.ask(BulkKind.STOP, Bot.objects.none(), user=alice)

    assert not BulkAction.objects.exists()


def test_a_bot_that_was_deleted_meanwhile_is_a_result(echo, alice):
    action = bulk_actions.ask(BulkKind.STOP, [echo], user=alice)
    lifecycle.delete(echo)

    work(action)

    assert outcomes(action) == {"Echo": (ItemState.FAILED, "not_found")}


# Who may ----------------------------------------------------------------------------------------


def test_somebody_who_lost_a_bot_meanwhile_changes_nothing_of_it(pair):
    mine, lost = pair
    user = cast.person("charlie", cast.RUNS, mine, lost)
    action = bulk_actions.ask(BulkKind.STOP, pair, user=user)
    lost.groups.clear()

    work(action)

    assert outcomes(action) == {"Echo": ("done", ""), "Bell": ("failed", "not_found")}
    lost.refresh_from_db()
    assert lost.enabled


def test_somebody_who_may_not_any_more_changes_nothing(echo):
    user = cast.person("charlie", cast.RUNS, echo)
    action = bulk_actions.ask(BulkKind.STOP, [echo], user=user)
    user.user_permissions.remove(Permission.objects.get(codename="operate_bot"))

    work(action)

    assert outcomes(action) == {"Echo": ("failed", "not_permitted")}
    assert Bot.objects.get().enabled


def test_nobody_works_for_somebody_who_is_gone(echo):
    user = cast.person("charlie", cast.RUNS, echo)
    action = bulk_actions.ask(BulkKind.STOP, [echo], user=user)
    user.delete()

    work(action)

    assert outcomes(action) == {"Echo": ("failed", "not_permitted")}


def test_an_operator_sees_what_became_of_their_own_bots_only(pair, alice):
    mine, _ = pair
    action = bulk_actions.ask(BulkKind.STOP, pair, user=alice)
    actor = access.from_user(cast.person("bob", cast.WATCHES, mine))
    stranger = access.from_user(make_user("dora"))

    assert list(access.bulk_actions(actor)) == [action]
    assert [item.bot for item in access.bulk_items(actor)] == [mine]
    assert not access.bulk_actions(stranger).exists()


# Dying in the middle ----------------------------------------------------------------------------


def test_a_worker_that_dies_in_the_middle_leaves_both_or_nothing(pair, alice):
    action = bulk_actions.ask(BulkKind.STOP, pair, user=alice)
    with database_cut_off_at('"detail" = '), pytest.raises(OperationalError):
        tasks.work_on_bulk_action(action.pk)
    assert all(Bot.objects.values_list("enabled", flat=True))  # not half of it

    work(action)  # at once: the database is back

    assert set(outcomes(action).values()) == {("done", "")}
    assert set(Bot.objects.values_list("generation", flat=True)) == {pair[0].generation + 1}


def test_what_a_dead_worker_had_claimed_is_left_to_others_for_a_moment(pair, alice):
    action = bulk_actions.ask(BulkKind.STOP, pair, user=alice)
    claimed = action.items.filter(bot=pair[0])
    claimed.update(claimed_until=timezone.now() + bulk_actions.CLAIMED)
    take_queued(tasks.work_on_bulk_action)

    bulk_actions.sweep()
    assert take_queued(tasks.work_on_bulk_action) == []

    let_claims_end()
    bulk_actions.sweep()
    assert take_queued(tasks.work_on_bulk_action) == [[action.pk]]


def test_one_whose_turn_breaks_holds_up_no_other(pair, alice):
    action = bulk_actions.rotate({bot: {"secret": NEW} for bot in pair}, user=alice)
    action.items.filter(bot=pair[0]).update(values=secrets.encrypt("nothing that we wrote"))

    work(action)

    assert outcomes(action) == {
        "Echo": ("failed", "broke"),
        "Bell": ("failed", "credentials_refused"),
    }
    assert action.items.get(bot=pair[0]).values == ""


def test_a_wake_up_that_comes_twice_does_nothing_twice(echo, alice):
    action = bulk_actions.ask(BulkKind.SYNC, [echo], user=alice)

    for _ in range(3):
        tasks.work_on_bulk_action(action.pk)

    assert Job.objects.count() == 1


def test_a_job_is_made_once_also_when_its_worker_dies(echo, alice):
    action = bulk_actions.ask(BulkKind.SYNC, [echo], user=alice)
    with database_cut_off_at('"detail" = '), pytest.raises(OperationalError):
        tasks.work_on_bulk_action(action.pk)

    work(action)

    assert only(action).job == Job.objects.get()


def test_nothing_is_woken_for_what_is_over(echo, alice):
    work(bulk_actions.ask(BulkKind.STOP, [echo], user=alice))
    take_queued(tasks.work_on_bulk_action)

    bulk_actions.sweep()

    assert take_queued(tasks.work_on_bulk_action) == []


# Retrying ---------------------------------------------------------------------------------------


def test_what_failed_is_tried_again_by_an_action_of_its_own(pair, alice):
    lifecycle.stop(pair[0])
    first = work(bulk_actions.ask(BulkKind.RECONNECT, pair, user=alice))
    lifecycle.start(pair[0])

    again = work(bulk_actions.retry(first, user=alice))

    assert outcomes(again) == {"Echo": ("done", "")}
    assert again.retry_of == first
    assert outcomes(first)["Echo"] == ("failed", "switched_off")


def test_what_was_tried_again_already_is_tried_again_from_there(pair, alice):
    lifecycle.stop(pair[0])
    first = work(bulk_actions.ask(BulkKind.RECONNECT, pair, user=alice))
    again = work(bulk_actions.retry(first, user=alice))

    with pytest.raises(Invalid):
        bulk_actions.retry(first, user=alice)

    assert bulk_actions.failed_bots(again, alice) == [pair[0]]


def test_what_somebody_decided_otherwise_since_is_not_tried_again(echo, alice):
    lifecycle.stop(echo)
    start = bulk_actions.ask(BulkKind.START, [echo], user=alice)
    work(bulk_actions.ask(BulkKind.STOP, [echo], user=alice))

    with pytest.raises(Invalid):
        bulk_actions.retry(work(start), user=alice)


def test_where_nothing_failed_there_is_nothing_to_retry(echo, alice):
    action = work(bulk_actions.ask(BulkKind.STOP, [echo], user=alice))

    with pytest.raises(Invalid):
        bulk_actions.retry(action, user=alice)


# Credentials ------------------------------------------------------------------------------------


def stored(bot: Bot) -> str:
    return secrets.decrypt(Credential.objects.get(bot=bot, name="secret").value)


def test_a_new_credential_is_used_once_the_platform_took_it(echo, alice, monkeypatch):
    monkeypatch.setenv("BOT_ECHO", SECRET)

    action = work(bulk_actions.rotate({echo: {"secret": "$BOT_ECHO"}}, user=alice))

    assert outcomes(action) == {"Echo": ("done", "")}
    row = Credential.objects.get(bot=echo)
    assert (row.reference, row.changed_by) == ("$BOT_ECHO", alice)


def test_it_waits_encrypted_and_wakes_a_worker(echo, alice, django_capture_on_commit_callbacks):
    take_queued(tasks.work_on_bulk_action)

    with django_capture_on_commit_callbacks(execute=True):
        action = bulk_actions.rotate({echo: {"secret": NEW}}, user=alice)

    assert only(action).values
    assert NEW not in only(action).values
    assert take_queued(tasks.work_on_bulk_action) == [[action.pk]]


def test_one_that_makes_no_sense_is_refused_at_once(echo, alice):
    with pytest.raises(Invalid):
        bulk_actions.rotate({echo: {"token": NEW}}, user=alice)

    assert not BulkAction.objects.exists()


def test_one_that_the_platform_refuses_changes_nothing(echo, alice):
    before = stored(echo)

    action = work(bulk_actions.rotate({echo: {"secret": NEW}}, user=alice))

    item = only(action)
    assert (item.state, item.error_code) == (ItemState.FAILED, "credentials_refused")
    assert "The old one stays in use." in item.detail
    assert NEW not in item.detail + item.next_step
    assert stored(echo) == before


def test_one_that_cannot_be_tried_is_a_result(moody, alice):
    faulty.script(faulty.before(Unavailable("No route.")), operation="connect")

    action = work(bulk_actions.rotate({moody: {"secret": NEW}}, user=alice))

    assert outcomes(action) == {"Moody": ("failed", "platform_unavailable")}


@pytest.mark.parametrize("name", ["Echo", "Moody"])
def test_what_was_entered_is_wiped_once_it_was_tried(name, echo, moody, alice):
    bots = {bot: {"secret": NEW} for bot in (echo, moody)}

    action = work(bulk_actions.rotate(bots, user=alice))

    assert action.items.get(name=name).values == ""


def test_credentials_are_not_retried_but_entered_anew(echo, alice):
    action = work(bulk_actions.rotate({echo: {"secret": NEW}}, user=alice))

    with pytest.raises(Conflict):
        bulk_actions.retry(action, user=alice)


def test_who_may_not_change_a_bot_rotates_nothing(echo):
    user = cast.person("bob", ("view_bot", "operate_bot"), echo)

    action = work(bulk_actions.rotate({echo: {"secret": NEW}}, user=user))

    assert outcomes(action) == {"Echo": ("failed", "not_permitted")}
    assert only(action).values == ""


def test_what_is_old_is_forgotten(echo, alice):
    action = work(bulk_actions.ask(BulkKind.STOP, [echo], user=alice))
    BulkAction.objects.update(finished_at=timezone.now() - bulk_actions.KEPT)

    tasks.tidy()

    assert not BulkAction.objects.filter(pk=action.pk).exists()
