"""API tokens in the admin: shown once, and never worth more than who made them."""

import html
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from bots import access
from bots.models import ApiToken
from bots.tests import cast
from bots.tests.builders import make_bot

pytestmark = pytest.mark.django_db

ADD = "admin:bots_apitoken_add"
FORM = {"name": "ci", "scopes": ["read", "send"], "all_bots": "on"}


def text_of(answer) -> str:
    return html.unescape(answer.content.decode())


def maker(name: str, *bots):
    """Somebody who may make tokens, for what they may do themselves."""
    user = cast.person(name, (*cast.RUNS, "add_apitoken", "view_apitoken"), *bots)
    return cast.browser(user)


def test_a_token_is_shown_once():
    root = cast.root()

    answer = root.post(reverse(ADD), FORM)

    text = answer.context["text"]
    token = ApiToken.objects.get()
    assert text in text_of(answer)
    assert access.from_token(text).token == token
    assert token.created_by.get_username() == "root"
    for url in (
        reverse("admin:bots_apitoken_change", args=[token.pk]),
        reverse("admin:bots_apitoken_changelist"),
        reverse("admin:bots_apitoken_history", args=[token.pk]),
        reverse("admin:index"),
    ):
        assert text not in text_of(root.get(url))


def test_changing_a_token_leaves_its_text_alone():
    root = cast.root()
    text = root.post(reverse(ADD), FORM).context["text"]
    token = ApiToken.objects.get()

    root.post(reverse("admin:bots_apitoken_change", args=[token.pk]), FORM | {"scopes": ["read"]})

    assert access.from_token(text).scopes == {"read"}


def test_a_token_without_bots_is_an_error_of_the_form():
    answer = cast.root().post(reverse(ADD), {"name": "ci", "scopes": ["read"]})

    assert "Choose bots, or all of them." in text_of(answer)


def test_a_token_that_has_expired_already_is_an_error_of_the_form():
    past = timezone.now() - timedelta(days=2)
    when = {"expires_at_0": past.strftime("%Y-%m-%d"), "expires_at_1": "12:00:00"}

    answer = cast.root().post(reverse(ADD), FORM | when)

    assert "This time has passed." in text_of(answer)


def test_nobody_gives_a_token_bots_they_do_not_see():
    hers, other = make_bot("hers"), make_bot("other")
    alice = maker("alice", hers)

    for entered in (FORM, FORM | {"all_bots": "", "bots": [other.pk]}):
        assert alice.post(reverse(ADD), entered).status_code == 200
    assert not ApiToken.objects.exists()

    alice.post(reverse(ADD), {"name": "ci", "scopes": ["read"], "bots": [hers.pk]})
    assert list(ApiToken.objects.get().bots.all()) == [hers]


def test_nobody_gives_a_token_scopes_they_do_not_have():
    bot = make_bot()
    user = cast.person("bob", (*cast.WATCHES, "add_apitoken"), bot)

    answer = cast.browser(user).post(
        reverse(ADD), {"name": "ci", "scopes": ["manage"], "bots": [bot.pk]}
    )

    assert "is not one of the available choices" in text_of(answer)
    assert not ApiToken.objects.exists()


def test_one_sees_the_tokens_one_made():
    bot = make_bot()
    maker("alice", bot).post(
        reverse(ADD), {"name": "of alice", "scopes": ["read"], "bots": [bot.pk]}
    )
    eve = maker("eve", bot)

    assert "of alice" not in text_of(eve.get(reverse("admin:bots_apitoken_changelist")))


def test_making_tokens_is_a_permission_of_its_own():
    assert Permission.objects.filter(codename="add_apitoken").exists()
    assert cast.alice(make_bot()).get(reverse(ADD)).status_code == 403


def test_a_token_that_outlives_the_calendar_is_an_error_of_the_form(settings):
    settings.TIME_ZONE = "America/New_York"

    answer = cast.root().post(
        reverse(ADD), FORM | {"expires_at_0": "9999-12-31", "expires_at_1": "23:59"}
    )

    assert "Leave it empty" in text_of(answer)


def test_managing_bots_in_part_gives_no_token_that_manages_them():
    bot = make_bot()
    user = cast.person("bob", ("view_bot", "change_bot", "add_apitoken"), bot)

    answer = cast.browser(user).post(
        reverse(ADD), {"name": "ci", "scopes": ["manage"], "bots": [bot.pk]}
    )

    assert "is not one of the available choices" in text_of(answer)
