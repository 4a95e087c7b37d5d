"""Files on their way out: from the store, from a URL, and never from a private address."""

from __future__ import annotations

import gzip
import resource
import threading
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from ipaddress import ip_network

import pytest
from django.utils import timezone
from urllib3.util import make_headers

from bots import clients, files
from bots.models import Bot, Job, Lane, LaneKind, StoredFile, WorkState
from bots.tests.builders import make_bot, make_channel, make_job, make_space, run_lanes
from spaces.models import LocalFile
from spaces.platforms.errors import Rejected, Unavailable
from spaces.testing import faulty
from spaces.testing.http_server import HttpServer, answer

pytestmark = pytest.mark.django_db


@contextmanager
def web_server(
    status: int = 200, body: bytes = b"hello", *, seconds_per_byte: float = 0, **headers: str
):
    """A real server on this machine that answers every GET alike; gives its URL."""

    never = threading.Event()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            with suppress(ConnectionError):  # whoever asked has had enough
                if not seconds_per_byte:
                    self.wfile.write(body)
                    return
                for byte in body:
                    never.wait(seconds_per_byte)
                    self.wfile.write(bytes([byte]))

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
    return send_from(make_bot(), *wanted)


def send_from(bot: Bot, *wanted: dict) -> object:
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

    assert (job.state, job.error_code) == (WorkState.FAILED, "private_address")


@pytest.mark.parametrize("url", ["https://exa mple.com/", "http://[::1/", "http://1.2.3.4:99999/"])
def test_what_is_no_url_fails_the_job(url):
    job = send({"url": url})

    assert (job.state, job.error_code) == (WorkState.FAILED, "file_not_fetched")


def test_a_file_server_that_is_not_there_lets_the_job_wait(near):
    with web_server() as url:
        pass

    job = send({"url": url})

    assert (job.state, job.error_code) == (WorkState.QUEUED, "platform_unavailable")


def test_a_file_that_was_packed_for_the_way_arrives_unpacked(near):
    with web_server(body=gzip.compress(b"all is well"), Content_Encoding="gzip") as url:
        send({"url": f"{url}/report.txt"})

    assert bytes(LocalFile.objects.get().content) == b"all is well"


def test_a_file_behind_a_password_arrives(near):
    with HttpServer() as server:
        server.will(answer(b"secret"))
        send({"url": server.url.replace("http://", "http://ann:p%40ss@")})

    assert (
        server.requests[0].headers["Authorization"]
        == make_headers(basic_auth="ann:p@ss")["authorization"]
    )
    assert bytes(LocalFile.objects.get().content) == b"secret"


@pytest.mark.parametrize(("status", "state"), [(404, "failed"), (302, "failed"), (503, "queued")])
def test_a_file_server_that_says_no_fails_the_job_and_one_in_trouble_lets_it_wait(
    near, status, state
):
    with web_server(status, Location="http://127.0.0.1/") as url:
        job = send({"url": url})

    assert job.state == state


def test_a_file_that_trickles_in_is_given_up_and_the_job_waits(near, monkeypatch):
    monkeypatch.setattr(files, "FETCH_SECONDS", 0.2)

    with web_server(body=b"x" * 1_000, seconds_per_byte=0.02) as url:
        job = send({"url": f"{url}/slow.txt"})

    assert (job.state, job.error_code) == (WorkState.QUEUED, "platform_unavailable")
    assert "did not arrive" in job.error_detail


def test_a_file_for_which_the_disk_has_no_room_lets_the_job_wait(near):
    bot = make_bot()
    with web_server(body=b"x" * 200_000) as url:
        job = make_job(bot, make_channel(bot), payload={"files": [{"url": url}]})

        with files_grow_to(100_000), ExitStack() as stack, pytest.raises(Unavailable) as refused:
            files.outgoing(job, stack)

    assert "could not be kept" in refused.value.detail


@contextmanager
def files_grow_to(size: int):
    """What a full disk is to those who write files: beyond this size, in bytes, is no room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_lane_is_leased_for_as_long_as_its_files_may_take(near):
    bot = make_bot(space=make_space(platform="faulty"))
    leased_for = []

    def look(do):
        until = Lane.objects.get(kind=LaneKind.JOBS).claimed_until
        leased_for.append((until - timezone.now()).total_seconds())
        return do()

    faulty.script(look)
    with web_server() as url:
        make_job(bot, make_channel(bot), payload={"text": "see", "files": [{"url": f"{url}/a"}]})
        run_lanes()

    assert leased_for[0] > files.FETCH_SECONDS


def test_a_received_file_that_is_too_large_is_refused(monkeypatch):
    bot = make_bot()
    job = send_from(bot, {"id": hand_in(bot, "a.txt", b"x" * 11).pk})
    assert job.state == WorkState.SUCCEEDED
    monkeypatch.setattr(files, "LARGEST_FETCH", 10)

    with clients.borrow(bot) as platform, pytest.raises(Rejected) as caught:
        files.incoming(platform, str(LocalFile.objects.get().pk))

    assert caught.value.code == "file_too_large"


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


def test_files_of_jobs_that_ended_long_ago_are_pruned():
    bot = make_bot()
    channel = make_channel(bot)
    long_ago, lately = (timezone.now() - timedelta(days=days) for days in (8, 6))
    for name, state, finished_at in (
        ("sent long ago", WorkState.SUCCEEDED, long_ago),
        ("failed lately", WorkState.FAILED, lately),
        ("uncertain", WorkState.UNCERTAIN, long_ago),
        ("queued", WorkState.QUEUED, None),
    ):
        job = make_job(bot, channel)
        Job.objects.filter(pk=job.pk).update(state=state, finished_at=finished_at)
        hand_in(bot, name, b"x")
        StoredFile.objects.filter(name=name).update(job=job)
    gone = StoredFile.objects.get(name="sent long ago").content

    assert files.prune() == 1

    kept = StoredFile.objects.values_list("name", flat=True)
    assert set(kept) == {"failed lately", "uncertain", "queued"}
    assert not gone.storage.exists(gone.name)


def test_a_file_that_no_job_came_to_name_is_pruned_after_a_day():
    hand_in(make_bot(), "new", b"x")
    old = hand_in(make_bot("other"), "old", b"x")
    StoredFile.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=2))

    assert files.prune() == 1
    assert StoredFile.objects.get().name == "new"


def test_pruning_costs_the_same_queries_however_many(django_assert_num_queries):
    bot = make_bot()
    for name in "abcde":
        hand_in(bot, name, b"x")
    StoredFile.objects.update(created_at=timezone.now() - timedelta(days=2))

    with django_assert_num_queries(3):  # a batch, its removal, and that there is no other
        assert files.prune() == 5


def test_nothing_is_left_of_files_of_which_one_cannot_be_stored(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    closed = BytesIO(b"y")
    closed.close()
    handed = [
        files.Handed(name="good", content=BytesIO(b"x"), size=1),
        files.Handed(name="bad", content=closed, size=1),
    ]

    with pytest.raises(ValueError, match="closed"):
        files.store(make_bot(), handed)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
