"""Files on their way out: from the store, from a URL, and never from a private address."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from ipaddress import ip_network

import pytest

from bots import files
from bots.models import Bot, StoredFile, WorkState
from bots.tests.builders import make_bot, make_channel, make_job, run_lanes
from spaces.models import LocalFile

pytestmark = pytest.mark.django_db


@contextmanager
def web_server(status: int = 200, body: bytes = b"hello", **headers: str):
    """A real server on this machine that answers every GET alike; gives its URL."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def near(settings):
    settings.BOTADMIN_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]


def hand_in(bot: Bot, name: str, content: bytes) -> StoredFile:
    handed = files.Handed(name=name, content=BytesIO(content), size=len(content))
    return files.store(bot, [handed])[0]


def send(*wanted: dict) -> object:
    bot = make_bot()
    job = make_job(bot, make_channel(bot), payload={"text": "see", "files": list(wanted)})
    run_lanes()
    job.refresh_from_db()
    return job


def test_a_stored_file_arrives_with_its_name_and_content():
    bot = make_bot()
    stored = hand_in(bot, "report.txt", b"all is well")
    job = make_job(bot, make_channel(bot), payload={"files": [{"id": stored.pk}]})

    run_lanes()

    job.refresh_from_db()
    arrived = LocalFile.objects.get()
    assert job.state == WorkState.SUCCEEDED
    assert (arrived.name, arrived.content_type) == ("report.txt", "text/plain")
    assert bytes(arrived.content) == b"all is well"


def test_a_file_from_a_url_arrives(near):
    with web_server(body=b"%PDF", Content_Type="application/pdf") as url:
        job = send({"url": f"{url}/plans/2026%20plan.pdf"})

    arrived = LocalFile.objects.get()
    assert job.state == WorkState.SUCCEEDED
    assert (arrived.name, arrived.content_type) == ("2026 plan.pdf", "application/pdf")


def test_a_url_that_leads_to_this_machine_is_refused_before_a_word_is_said():
    with web_server() as url:
        job = send({"url": url})

    assert (job.state, job.error_code) == (WorkState.FAILED, "private_address")


@pytest.mark.parametrize("host", ["localhost", "127.1", "0x7f000001", "2130706433", "[::1]"])
def test_other_spellings_of_this_machine_are_refused_too(host):
    with web_server() as url:
        job = send({"url": url.replace("127.0.0.1", host)})

    assert job.state != WorkState.SUCCEEDED
    assert job.error_code in ("private_address", "file_not_fetched", "platform_unavailable")
    assert not LocalFile.objects.exists()


@pytest.mark.parametrize(("status", "state"), [(404, "failed"), (302, "failed"), (503, "queued")])
def test_a_file_server_that_says_no_fails_the_job_and_one_in_trouble_lets_it_wait(
    near, status, state
):
    with web_server(status, Location="http://127.0.0.1/") as url:
        job = send({"url": url})

    assert job.state == state


def test_a_file_that_was_pruned_fails_the_job():
    job = send({"id": 12345})

    assert (job.state, job.error_code) == (WorkState.FAILED, "file_gone")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("report.txt", "report.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\plan.doc", "plan.doc"),
        ('na"me<>.txt', "name.txt"),
        ("line\nbreak.txt", "linebreak.txt"),
        ("...", "file"),
        ("", "file"),
    ],
)
def test_file_names_lose_what_a_path_or_a_header_could_read(given, kept):
    assert files.safe_name(given) == kept


def test_what_clients_hand_in_is_stored_under_a_name_of_our_own():
    stored = hand_in(make_bot(), "../../escape.txt", b"x")

    assert "escape" not in stored.content.name
    assert StoredFile.objects.get().name == "escape.txt"
