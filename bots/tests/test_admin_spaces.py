"""Spaces in the admin: a platform, then what it declares."""

import html

import pytest
from django.urls import reverse

from bots.admin import space as space_pages
from bots.models import Bot
from bots.tests import cast
from bots.tests.builders import make_bot, make_space
from spaces.models import Space

pytestmark = pytest.mark.django_db

ADD = "admin:spaces_space_add"
FORM = {"name": "Acme", "slug": "acme"}


def page_of(space: Space) -> str:
    return reverse("admin:spaces_space_change", args=[space.pk])


def text_of(answer) -> str:
    return html.unescape(answer.content.decode())


def test_adding_a_space_begins_with_its_platform():
    page = text_of(cast.root().get(reverse(ADD)))

    assert "?platform=local" in page


def test_a_platform_that_is_none_leads_back_to_the_choice():
    page = text_of(cast.root().get(reverse(ADD, query={"platform": "irc"})))

    assert "?platform=local" in page


def test_a_space_is_added_with_the_options_of_its_platform():
    entered = FORM | {"option_poll_seconds": "2.5", "option_read_receipts_locked": "true"}

    answer = cast.root().post(reverse(ADD, query={"platform": "local"}), entered)

    assert answer.status_code == 302
    space = Space.objects.get()
    assert space.platform == "local"
    assert space.options == {"poll_seconds": 2.5, "read_receipts_locked": True}


@pytest.mark.parametrize("url", ["127.0.0.1:8065", "http://bot:secret@127.0.0.1", "http://x:99999"])
def test_an_address_that_cannot_be_one_is_an_error_of_the_form(url):
    entered = FORM | {"url": url}

    answer = cast.root().post(reverse(ADD, query={"platform": "mattermost"}), entered)

    assert answer.context["adminform"].form.errors["url"]
    assert not Space.objects.exists()


def test_a_platform_without_a_server_asks_for_no_address():
    form = cast.root().get(reverse(ADD, query={"platform": "local"})).context["adminform"].form

    assert "url" not in form.fields


def test_an_address_is_in_its_field_and_nowhere_beside_it():
    space = make_space(platform="mattermost", url="http://127.0.0.1:8066")

    page = text_of(cast.root().get(page_of(space)))

    assert page.count(space.url) == 1


def test_saving_a_space_untouched_changes_none_of_its_options():
    space = make_space(options={"poll_seconds": 7, "read_receipts_locked": False})
    root = cast.root()
    form = root.get(page_of(space)).context["adminform"].form
    shown = {f.name: f.value() for f in form if f.value() is not None}

    root.post(page_of(space), shown)

    space.refresh_from_db()
    assert space.options == {"poll_seconds": 7, "read_receipts_locked": False}


def test_how_long_things_are_kept_is_part_of_the_page():
    bot = make_bot()
    root = cast.root()
    form = root.get(page_of(bot.space)).context["adminform"].form
    shown = {f.name: f.value() for f in form if f.value() is not None}

    root.post(page_of(bot.space), shown | {"keep_jobs_days": "7", "keep_events_days": ""})

    space = Space.objects.get()
    assert (space.keep_jobs_days, space.keep_events_days) == (7, 90)
    assert Bot.objects.get().generation == bot.generation


def test_the_bots_of_a_changed_space_start_anew():
    bot = make_bot()

    cast.root().post(page_of(bot.space), FORM | {"option_poll_seconds": "9"})

    assert Bot.objects.get().generation > bot.generation


def test_the_slug_stays():
    space = make_space()

    cast.root().post(page_of(space), FORM | {"slug": "other"})

    space.refresh_from_db()
    assert space.slug == "acme"


def test_a_slug_that_is_taken_is_an_error_of_the_form():
    make_space()

    answer = cast.root().post(reverse(ADD, query={"platform": "local"}), FORM)

    assert "slug" in answer.context["adminform"].form.errors


def test_a_space_whose_platform_went_away_stays_visible_and_is_left_alone():
    space = make_space(options={"poll_seconds": 7})
    Space.objects.update(platform="gone")
    root = cast.root()

    page = text_of(root.get(page_of(space)))

    assert "gone (not installed)" in page
    assert "poll_seconds" in page
    assert root.post(page_of(space), FORM).status_code == 403


def test_a_space_with_bots_is_not_deleted():
    bot = make_bot("echo", name="Echo")
    root = cast.root()
    url = reverse("admin:spaces_space_delete", args=[bot.space_id])

    page = text_of(root.get(url))
    root.post(url, {"post": "yes"})

    assert "still has bots" in page
    assert "Bot Echo" in page
    assert Space.objects.exists()


def test_of_thousands_of_bots_that_keep_a_space_some_are_named(monkeypatch):
    monkeypatch.setattr(space_pages, "NAMED", 2)
    space = make_space()
    for name in ("Delta", "Alpha", "Charlie", "Bravo"):
        make_bot(name.lower(), space=space, name=name)
    root = cast.root()

    one = text_of(root.get(reverse("admin:spaces_space_delete", args=[space.pk])))
    action = {"action": "delete_selected", "_selected_action": [space.pk]}
    some = text_of(root.post(reverse("admin:spaces_space_changelist"), action))

    for page in (one, some):
        assert page.index("Bot Alpha") < page.index("Bot Bravo") < page.index("and 2 more")
        assert "Charlie" not in page


def test_a_space_without_bots_is_deleted():
    space = make_space()

    cast.root().post(reverse("admin:spaces_space_delete", args=[space.pk]), {"post": "yes"})

    assert not Space.objects.exists()


def test_many_spaces_at_once_are_deleted_only_if_none_has_bots():
    bot, empty = make_bot(), make_space("empty")
    root = cast.root()
    action = {"action": "delete_selected", "post": "yes"}
    url = reverse("admin:spaces_space_changelist")

    root.post(url, action | {"_selected_action": [bot.space_id, empty.pk]})
    assert Space.objects.count() == 2

    root.post(url, action | {"_selected_action": [empty.pk]})
    assert list(Space.objects.all()) == [bot.space]


def test_alice_sees_the_space_of_her_bot_and_no_other():
    bot = make_bot()
    make_space("second", name="Elsewhere")

    page = text_of(cast.alice(bot).get(reverse("admin:spaces_space_changelist")))

    assert bot.space.name in page
    assert "Elsewhere" not in page


def test_a_space_is_changed_and_deleted_only_by_those_who_see_all_bots():
    space = make_space()
    permissions = ("view_bot", "view_space", "change_space", "delete_space")
    member = cast.browser(cast.person("dora", permissions, make_bot("hers", space=space)))

    changed = member.post(page_of(space), {"name": "Mine"})
    deleted = member.post(reverse("admin:spaces_space_delete", args=[space.pk]), {"post": "yes"})

    assert member.get(page_of(space)).status_code == 200
    assert (changed.status_code, deleted.status_code) == (403, 403)
    space.refresh_from_db()
    assert space.name == "Acme"
