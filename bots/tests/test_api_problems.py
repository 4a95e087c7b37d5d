"""Whatever goes wrong below /api/ is told as a problem; nothing that a client sends is a 500."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from celery import current_app
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from bots import processes
from bots.models import Lane, Process
from bots.tests.builders import make_bot, make_channel, make_client, make_job, make_token

pytestmark = pytest.mark.django_db

BOTS = "/api/v1/bots/"
MESSAGES = f"{BOTS}echo/messages/"


@pytest.fixture
def alice():
    make_channel(make_bot("echo"), "lobby")
    return make_client()


def is_problem(answer, status, code):
    body = answer.json()
    assert answer["Content-Type"] == "application/problem+json"
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code)
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["detail"]
    return True


def test_an_unknown_path_is_a_problem(alice):
    assert is_problem(alice.get("/api/v1/nothing/"), 404, "not_found")


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_path_without_its_slash_is_no_redirect(alice, method):
    answer = getattr(alice, method)(MESSAGES.rstrip("/"))

    assert is_problem(answer, 404, "not_found")
    assert "slash" in answer.json()["detail"]


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "TRACE", "PROPFIND"])
def test_a_method_that_is_not_offered_is_a_problem(alice, method):
    answer = alice.generic(method, BOTS)

    assert is_problem(answer, 405, "method_not_allowed")
    assert "GET" in answer["Allow"]


def test_what_we_cannot_speak_is_a_problem(alice):
    assert is_problem(alice.get(BOTS, headers={"Accept": "text/csv"}), 406, "not_acceptable")
    form = alice.post(MESSAGES, "a=b", content_type="application/x-www-form-urlencoded")
    assert is_problem(form, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"channel": "lobby", "text": NaN}',
        b'{"channel": "lobby", "text": "x", "n": Infinity}',
        b'{"n": 1e999}',
        b'{"n": 99999999999999999999}',
        b'{"n": ' + b"9" * 10_000 + b"}",
        b'{"text": "a\\u0000b"}',
        b'{"a\\u0000b": 1}',
        b'{"text": "\\ud800"}',
        b'{"text": "a", "text": "b"}',
        b"[" * 60 + b"]" * 60,
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_json_that_is_none_is_refused_with_the_reason(alice, body):
    answer = alice.post(MESSAGES, body, content_type="application/json")

    assert is_problem(answer, 400, "invalid")


@pytest.mark.parametrize("body", [b"[]", b"7", b'"text"', b"null", b"true"])
def test_json_that_is_no_object_is_refused(alice, body):
    for call, path in ((alice.post, MESSAGES), (alice.post, BOTS), (alice.patch, f"{BOTS}echo/")):
        assert is_problem(call(path, body, content_type="application/json"), 400, "invalid")


def test_a_form_that_is_none_is_refused(alice):
    answer = alice.generic("POST", MESSAGES, b"rubbish", content_type="multipart/form-data")

    assert is_problem(answer, 400, "invalid")


def test_a_body_that_is_too_large_is_refused_unread(alice, settings):
    settings.BOTADMIN_MAX_BODY_BYTES = 100

    answer = alice.post(MESSAGES, {"channel": "lobby", "text": "x" * 100}, format="json")

    assert is_problem(answer, 413, "payload_too_large")


@pytest.mark.parametrize("length", ["99999999999999999999999999", "-5", "many"])
def test_a_length_that_cannot_be_is_refused(alice, length):
    answer = alice.generic("POST", MESSAGES, b"{}", CONTENT_LENGTH=length)

    assert answer.status_code in (400, 413)
    assert answer["Content-Type"] == "application/problem+json"


def test_chunks_without_a_length_are_refused_instead_of_lost(alice):
    answer = alice.generic(
        "POST", MESSAGES, b"{}", CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked"
    )

    assert is_problem(answer, 411, "length_required")


def test_a_foreign_host_is_a_problem(alice):
    assert is_problem(alice.get(BOTS, headers={"Host": "evil.example"}), 400, "invalid")


@pytest.mark.parametrize(
    "path", [f"{BOTS}%00/", f"{BOTS}%FF/", f"{BOTS}{'x' * 5000}/", f"{BOTS}%ED%A0%80/"]
)
def test_a_strange_path_is_a_404(alice, path):
    assert is_problem(alice.get(path), 404, "not_found")


@pytest.mark.parametrize("query", ["cursor=%FF%00", "page_size=%00", "x=%00", "a=1&" * 2000])
def test_a_strange_query_is_a_400(alice, query):
    assert is_problem(alice.get(f"{BOTS}?{query}"), 400, "invalid")


@pytest.fixture
def broken_database(alice):
    """A table is gone: the kind of thing that nobody expects."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE bots_message RENAME TO bots_message_gone")
    return alice


def test_what_breaks_is_told_without_a_word_of_how_and_logged(broken_database, caplog):
    with caplog.at_level(logging.ERROR):
        answer = broken_database.get(MESSAGES)

    assert answer.status_code in (500, 503)
    assert answer["Content-Type"] == "application/problem+json"
    assert b"bots_message" not in answer.content
    assert "bots_message" in caplog.text


def test_a_page_of_the_admin_is_left_alone(client):
    assert client.get("/admin/nothing/")["Content-Type"].startswith("text/html")


# The document -----------------------------------------------------------------------------------


def test_the_document_and_its_page_are_open_and_ask_no_foreign_host(client):
    document = client.get("/api/v1/schema/", headers={"Accept": "application/json"})
    page = client.get("/api/v1/docs/")

    assert document.status_code == 200
    assert page.status_code == 200
    assert b"https://" not in page.content
    assert b"http://" not in page.content


@pytest.mark.parametrize("path", ["/api/v1/schema/", "/api/v1/docs/"])
def test_the_document_is_only_read(client, path):
    assert client.options(path).status_code == 405
    assert client.head(path).status_code == 200


def test_the_document_is_complete(tmp_path):
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "schema.yml"))


# Health -----------------------------------------------------------------------------------------


def test_a_process_that_answers_is_alive():
    answer = Client().get("/api/v1/health/live/", headers={"Authorization": "Bearer nonsense"})

    assert (answer.status_code, answer.json()) == (200, {"live": True})


def test_an_install_is_ready_when_all_of_its_parts_are():
    processes.worked()

    answer = Client().get("/api/v1/health/ready/")

    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "database": {"ok": True},
        "broker": {"ok": True},
        "oldest_due_job": {"ok": True, "seconds": 0.0},
        "workers": {"ok": True, "alive": 1},
    }


def test_without_a_worker_it_is_not_ready():
    processes.beat(connections=10)  # holds connections, runs no tasks

    answer = Client().get("/api/v1/health/ready/")

    assert answer.status_code == 503
    assert answer.json()["workers"] == {"ok": False, "alive": 0}
    assert Process.objects.count() == 1


def test_a_job_that_waits_too_long_for_a_worker_is_seen():
    bot = make_bot("echo")
    make_job(bot, make_channel(bot))
    processes.worked()
    Lane.objects.update(due_at=timezone.now() - timedelta(seconds=200))
    assert Client().get("/api/v1/health/ready/").status_code == 200

    Lane.objects.update(due_at="2020-01-01T00:00:00Z")

    answer = Client().get("/api/v1/health/ready/")

    assert answer.status_code == 503
    assert answer.json()["oldest_due_job"]["seconds"] > 60


def test_a_broker_that_is_away_is_seen(monkeypatch):
    monkeypatch.setattr(current_app.conf, "broker_write_url", "redis://127.0.0.1:1/0")
    processes.worked()

    answer = Client().get("/api/v1/health/ready/")

    assert answer.status_code == 503
    assert answer.json()["broker"] == {"ok": False}


def test_health_tells_nothing_that_a_token_guards():
    make_bot("echo")
    make_token()

    told = Client().get("/api/v1/health/ready/").content

    assert b"echo" not in told
