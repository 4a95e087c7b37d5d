"""Getting into Mattermost: tokens, logins with and without a second factor, sessions that end."""

from __future__ import annotations

import time

import pytest

from spaces.platforms.contract import Memory
from spaces.platforms.errors import (
    CredentialsRefused,
    Forbidden,
    Misconfigured,
    PlatformError,
    RateLimited,
    Unavailable,
)
from spaces.testing.mattermost.making import PASSWORD
from spaces.tests.platforms.mattermost_company import BOT, Company, message

LOGIN = {"method": "POST", "path": "/api/v4/users/login"}
ALICE = {"login": "alice", "password": PASSWORD}


def to_the_next_code(company: Company) -> None:
    company.controls.advance(30)


# Tokens -------------------------------------------------------------------------------------------


def test_a_token_says_who_the_bot_is(company):
    identity = company.bot().connect()

    assert (identity.person.username, identity.person.is_bot) == (BOT, True)
    assert identity.server == "Mattermost 11.6.0"
    assert identity.permissions is not None
    assert {"create_post", "join_public_channels"} <= set(identity.permissions)


@pytest.mark.parametrize(
    "credentials", [{}, {"login": "alice"}, {"password": PASSWORD}, {"token": "  "}]
)
def test_without_a_token_or_a_login_the_bot_is_misconfigured(company, credentials):
    with pytest.raises(Misconfigured) as refused:
        company.bot(credentials).connect()

    assert refused.value.option == "token"


def revoke(company: Company) -> None:
    company.controls.revoke_token(company.token)


def disable(company: Company) -> None:
    company.controls.disable(BOT)


@pytest.mark.parametrize("end", [revoke, disable])
def test_a_token_that_is_not_valid_any_more_is_refused(company, end):
    bot = company.connected()
    end(company)

    for attempt in (bot.connect, lambda: bot.post_message(message(company.lounge))):
        with pytest.raises(CredentialsRefused):
            attempt()


def test_a_token_of_a_person_is_refused_where_those_are_switched_off(company):
    alice = company.person("alice")
    company.controls.change_settings({"ServiceSettings": {"EnableUserAccessTokens": False}})

    with pytest.raises(CredentialsRefused) as refused:
        alice.connect()

    assert "administrator" in refused.value.next_step
    assert company.bot().connect().person.username == BOT


# Logins -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", ["alice", "alice@example.com"])
def test_a_login_with_a_password_gives_a_session(company, login):
    alice = company.connected({"login": login, "password": PASSWORD})

    alice.post_message(message(company.lounge, "it is me"))

    assert company.texts() == ["it is me"]
    assert len(company.sessions("alice")) == 1


def test_a_session_is_used_by_the_next_object_too(company):
    memory = Memory()
    company.connected(ALICE, memory=memory)

    company.connected(ALICE, memory=memory)

    assert len(company.sessions("alice")) == 1


def test_a_session_that_ended_is_replaced_by_the_next_object(company):
    memory = Memory()
    alice = company.connected(ALICE, memory=memory)
    company.controls.revoke_sessions(user="alice")

    with pytest.raises(Unavailable) as ended:
        alice.post_message(message(company.lounge))
    company.connected(ALICE, memory=memory).post_message(message(company.lounge, "back"))

    assert ended.value.code == "session_ended"
    assert company.texts() == ["back"]


def test_a_session_that_ended_is_replaced_by_connecting_again(company):
    alice = company.connected(ALICE)
    company.controls.revoke_sessions(user="alice")

    alice.connect()
    alice.post_message(message(company.lounge, "back"))

    assert company.texts() == ["back"]


def test_a_session_that_another_process_got_is_taken_over(company):
    mine, theirs = Memory(), Memory()
    alice = company.connected(ALICE, memory=mine)
    company.connected(ALICE, memory=theirs)
    company.controls.revoke_sessions(token=mine.read())
    mine.write(theirs.read())

    alice.connect()

    assert len(company.sessions("alice")) == 1


def wrong_password(company: Company) -> dict[str, str]:
    return {"login": "alice", "password": "wrong"}


def nobody(company: Company) -> dict[str, str]:
    return {"login": "nobody", "password": PASSWORD}


def a_locked_account(company: Company) -> dict[str, str]:
    company.user("alice").failed_attempts = 10
    return ALICE


def a_disabled_account(company: Company) -> dict[str, str]:
    company.controls.disable("alice")
    return ALICE


def a_bot_with_a_password(company: Company) -> dict[str, str]:
    return {"login": BOT, "password": PASSWORD}


def no_second_factor(company: Company) -> dict[str, str]:
    company.make.mfa_secret("alice")
    return ALICE


def a_wrong_code(company: Company) -> dict[str, str]:
    secret = company.make.mfa_secret("alice")
    wrong = (int(company.make.mfa_code(secret)) + 1) % 1_000_000
    return ALICE | {"mfa": f"{wrong:06}"}


@pytest.mark.parametrize(
    ("credentials", "attempts", "remedy"),
    [
        (wrong_password, 1, "lock"),
        (nobody, 0, "lock"),
        (a_locked_account, 10, "administrator"),
        (a_disabled_account, 0, "administrator"),
        (a_bot_with_a_password, 0, "token"),
        (no_second_factor, 0, "MFA"),
        (a_wrong_code, 1, "MFA"),
    ],
)
def test_a_refused_login_is_made_once_and_says_what_to_do(company, credentials, attempts, remedy):
    bot = company.bot(credentials(company))

    with pytest.raises(CredentialsRefused) as refused:
        bot.connect()

    assert company.user("alice").failed_attempts == attempts
    assert remedy in refused.value.next_step
    assert PASSWORD not in refused.value.detail


@pytest.mark.parametrize("spaced", [False, True])
def test_a_second_factor_is_made_from_its_secret(company, spaced):
    secret = company.make.mfa_secret("alice")
    if spaced:  # as Mattermost shows it
        secret = " ".join(secret[i : i + 4] for i in range(0, len(secret), 4)).lower()

    company.connected(ALICE | {"mfa": secret})

    assert len(company.sessions("alice")) == 1


def test_a_second_factor_follows_the_servers_clock(company):
    company.controls.advance(3600)

    company.connected(ALICE | {"mfa": company.make.mfa_secret("alice")})

    assert len(company.sessions("alice")) == 1


def test_a_one_time_code_serves_once(company):
    memory = Memory()
    code = company.make.mfa_code(company.make.mfa_secret("alice"))
    company.connected(ALICE | {"mfa": code}, memory=memory)
    company.controls.revoke_sessions(user="alice")

    with pytest.raises(CredentialsRefused) as refused:
        company.bot(ALICE | {"mfa": code}, memory=memory).connect()

    assert "code" in refused.value.next_step
    assert company.user("alice").failed_attempts == 0


def test_no_code_is_tried_twice_when_a_session_ends_within_its_half_minute(company):
    memory = Memory()
    credentials = ALICE | {"mfa": company.make.mfa_secret("alice")}
    company.connected(credentials, memory=memory)
    company.controls.revoke_sessions(user="alice")

    with pytest.raises(Unavailable) as waits:
        company.bot(credentials, memory=memory).connect()
    to_the_next_code(company)
    company.connected(credentials, memory=memory)

    assert waits.value.code == "code_used"
    assert company.user("alice").failed_attempts == 0
    assert len(company.sessions("alice")) == 1


def test_no_code_is_tried_twice_when_the_answer_to_a_login_got_lost(company):
    memory = Memory()
    credentials = ALICE | {"mfa": company.make.mfa_secret("alice")}
    company.controls.swallow_answers(**LOGIN)

    for _ in range(2):
        with pytest.raises(Unavailable):
            company.bot(credentials, memory=memory).connect()
    to_the_next_code(company)
    company.connected(credentials, memory=memory)

    assert company.user("alice").failed_attempts == 0


def test_a_code_that_the_server_never_saw_is_not_used_up(company):
    memory = Memory()
    code = company.make.mfa_code(company.make.mfa_secret("alice"))
    company.controls.go_down()
    with pytest.raises(Unavailable):
        company.bot(ALICE | {"mfa": code}, memory=memory).connect()
    company.controls.come_up()
    company.controls.limit_rate()
    with pytest.raises(RateLimited):
        company.bot(ALICE | {"mfa": code}, memory=memory).connect()

    company.connected(ALICE | {"mfa": code}, memory=memory)

    assert len(company.sessions("alice")) == 1


@pytest.mark.parametrize("mfa", ["12345", "not a secret!", "ABC1"])
def test_a_second_factor_that_is_neither_code_nor_secret_is_misconfigured(company, mfa):
    company.make.mfa_secret("alice")

    with pytest.raises(Misconfigured) as refused:
        company.bot(ALICE | {"mfa": mfa}).connect()

    assert refused.value.option == "mfa"


def test_a_second_factor_that_the_server_demands_and_the_account_lacks_is_told(company):
    company.controls.change_settings(
        {"ServiceSettings": {"EnforceMultifactorAuthentication": True}}
    )

    with pytest.raises(CredentialsRefused) as refused:
        company.bot(ALICE).connect()

    assert "second factor" in refused.value.next_step


def test_a_door_keeper_in_front_of_the_server_is_no_refusal_of_the_login(company):
    company.controls.fail(status=403, path="/api/v4/users/me")

    with pytest.raises(Forbidden):
        company.bot(ALICE).connect()


@pytest.mark.parametrize("trouble", [{"status": 500}, {"status": 502, "place": "after"}])
def test_a_login_that_meets_a_broken_server_is_tried_again_later(company, trouble):
    company.controls.fail(**trouble, **LOGIN)
    memory = Memory()

    with pytest.raises(Unavailable):
        company.bot(ALICE, memory=memory).connect()

    company.connected(ALICE, memory=memory)


# Where the server is ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v4", "api/v4/", "/api/v4/"])
def test_the_base_path_may_be_written_as_one_likes(company, path):
    company.connected(base_path=path).post_message(message(company.lounge, "here"))

    assert company.texts() == ["here"]


def test_a_wrong_base_path_is_misconfigured(company):
    with pytest.raises(Misconfigured) as refused:
        company.bot(base_path="/api/v9").connect()

    assert refused.value.option == "url"


def test_a_space_whose_url_ends_with_a_slash_works(company):
    assert company.bot(url=f"{company.server.url}/").connect().person.username == BOT


def test_a_server_that_is_slow_is_unavailable_after_the_timeout(company):
    company.controls.stall(path="/api/v4/users/me")
    began = time.monotonic()

    with pytest.raises(Unavailable):
        company.bot(timeout_seconds=0.2).connect()

    assert time.monotonic() - began < 20
    company.controls.release()


def test_what_a_login_meets_is_an_error_that_callers_know(company):
    """No trouble of the server's, at no place of the way in, looks like something else."""
    for status in (400, 403, 404, 409, 429, 500, 501, 503):
        for path in ("/api/v4/users/login", "/api/v4/users/me", "/api/v4/config/client"):
            company.controls.fail(status=status, path=path)
            with pytest.raises((PlatformError, Misconfigured)):
                company.bot(ALICE).connect()
            company.controls.heal()
