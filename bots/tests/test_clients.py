"""Clients: logged in once, used again, and dropped when they are no good any more."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from bots import clients, lifecycle
from bots.models import Bot, Credential, Job, WorkState
from bots.tests.builders import (
    SECRET,
    let_time_pass,
    make_bot,
    make_channel,
    make_job,
    make_space,
    run_lanes,
)
from spaces.models import LocalAccount
from spaces.platforms.errors import CredentialsRefused, Misconfigured, Unavailable
from spaces.testing import faulty

pytestmark = pytest.mark.django_db

TIMEOUT = 10


@pytest.fixture
def bot() -> Bot:
    bot = make_bot(space=make_space(platform="faulty"))
    clients.close_idle(older_than=0)
    faulty.reset()
    yield bot
    faulty.reset()
    clients.close_idle(older_than=0)


def logins() -> int:
    return sum(call.operation == "connect" for call in faulty.calls)


def test_one_login_serves_one_piece_of_work_after_the_other(bot):
    with clients.borrow(bot) as first:
        pass
    with clients.borrow(bot) as second:
        pass

    assert second is first
    assert logins() == 1


def test_two_pieces_of_work_at_once_have_a_client_each(bot):
    with clients.borrow(bot) as first, clients.borrow(bot) as second:
        assert first is not second

    assert logins() == 2


def test_changed_settings_need_a_new_login(bot):
    with clients.borrow(bot) as first:
        pass

    lifecycle.reconnect(bot)

    with clients.borrow(bot) as second:
        assert second is not first
    assert logins() == 2


def test_a_client_that_failed_is_not_used_again(bot):
    with pytest.raises(Unavailable), clients.borrow(bot) as first:
        raise Unavailable("The connection broke.")

    with clients.borrow(bot) as second:
        assert second is not first


def test_a_client_that_nobody_uses_is_closed(bot):
    with clients.borrow(bot) as first:
        pass

    clients.close_idle()
    with clients.borrow(bot) as again:
        assert again is first
    clients.close_idle(older_than=0)

    with clients.borrow(bot) as second:
        assert second is not first


def test_a_refused_login_leaves_nothing_to_use(bot):
    lifecycle.set_credentials(bot, {"secret": "wrong"}, user=None)

    for _ in range(2):
        with pytest.raises(CredentialsRefused), clients.borrow(bot):
            pass

    assert logins() == 1  # the second was not tried: accounts get locked
    lifecycle.set_credentials(bot, {"secret": SECRET}, user=None)
    with clients.borrow(bot):
        pass
    assert logins() == 2


@pytest.mark.django_db(transaction=True)
def test_of_many_who_log_in_at_once_only_the_first_meets_a_refusal(bot):
    lifecycle.set_credentials(bot, {"secret": "wrong"}, user=None)
    together = threading.Barrier(6)

    def log_in(_: int) -> str:
        together.wait(TIMEOUT)
        try:
            with clients.borrow(bot):
                return "in"
        except CredentialsRefused:
            return "refused"
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(log_in, range(6))) == ["refused"] * 6
    assert logins() == 1


def test_a_login_that_hangs_does_not_make_others_wait_as_long(bot, monkeypatch):
    monkeypatch.setattr(clients, "LOGIN_PATIENCE_SECONDS", 0.01)

    def meanwhile(do):
        with pytest.raises(Unavailable, match="Another login"), clients.borrow(bot):
            pass
        return do()

    faulty.script(meanwhile, operation="connect")
    with clients.borrow(bot):
        pass

    assert logins() == 1


def test_a_client_on_which_a_send_failed_is_not_kept(bot):
    channel = make_channel(bot)
    before = logins()
    faulty.script(faulty.before(Unavailable("The connection broke.")), operation="post_message")
    make_job(bot, channel)

    run_lanes()
    let_time_pass()
    run_lanes()

    assert Job.objects.get().state == WorkState.SUCCEEDED
    assert logins() == before + 1


def test_each_process_closes_what_it_does_not_need_any_more(bot, monkeypatch):
    monkeypatch.setattr(clients, "LOOK_SECONDS", -1)
    monkeypatch.setattr(clients, "IDLE_SECONDS", 0)

    with clients.borrow(bot) as first:
        pass

    with clients.borrow(bot) as second:
        assert second is not first


def test_a_credential_that_is_missing_is_named_and_nobody_logs_in(bot):
    Credential.objects.filter(bot=bot).delete()

    with pytest.raises(Misconfigured) as caught, clients.borrow(bot):
        pass

    assert "Account password" in caught.value.detail
    assert caught.value.option == "secret"
    assert logins() == 0


def test_a_credential_may_be_named_by_an_environment_variable(bot, monkeypatch):
    monkeypatch.setenv("BOT_ECHO_SECRET", SECRET)
    lifecycle.set_credentials(bot, {"secret": "$BOT_ECHO_SECRET"}, user=None)

    with clients.borrow(bot):
        pass

    monkeypatch.delenv("BOT_ECHO_SECRET")
    lifecycle.reconnect(bot)
    with pytest.raises(Misconfigured, match="BOT_ECHO_SECRET"), clients.borrow(bot):
        pass


def test_what_a_bot_says_wins_over_its_space_and_the_space_over_the_default(bot):
    assert clients.options(bot)["poll_seconds"] == 5

    bot.space.options = {"poll_seconds": 10, "messages_per_second": 3}
    bot.options = {"poll_seconds": 20}

    options = clients.options(bot)
    assert (options["poll_seconds"], options["messages_per_second"]) == (20, 3)


def test_no_secret_shows_in_what_a_platform_is_told(bot):
    assert clients.account(bot).credentials == {"secret": SECRET}
    assert SECRET not in repr(clients.account(bot))


def test_a_login_tells_who_the_bot_is(bot):
    Bot.objects.filter(pk=bot.pk).update(person=None, identity={})
    bot.refresh_from_db()

    with clients.borrow(bot):
        pass

    bot.refresh_from_db()
    assert bot.person.username == "echo"
    assert bot.identity["person"]["username"] == "echo"


def test_a_bot_that_hides_its_reading_does_so_from_its_first_login():
    bot = make_bot(read_receipts=False)

    assert LocalAccount.objects.get(username="echo").read_receipts is False
    assert bot.read_receipts is False


def test_where_receipts_may_not_be_switched_off_the_bot_says_so_itself():
    bot = make_bot(
        space=make_space("strict", options={"read_receipts_locked": True}), read_receipts=False
    )

    bot.refresh_from_db()
    assert bot.read_receipts is True
