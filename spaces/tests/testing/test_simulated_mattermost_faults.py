"""Trouble on command: every fault does what it says, once, and nothing else."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from django.core.management import CommandError, call_command


@pytest.fixture
def builds(server):
    return server.make.channel("acme", "builds", "alice", "helper-bot")


@pytest.fixture
def in_background():
    with ThreadPoolExecutor() as pool:
        yield pool.submit


def texts(server, channel):
    return [post.message for post in server.world.posts_of[channel.id] if not post.type]


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it never happened")
        time.sleep(0.005)


def test_a_swallowed_answer_leaves_the_post_behind(server, rest, builds):
    bot = rest("helper-bot")
    body = {"channel_id": builds.id, "message": "once", "pending_post_id": "job-1"}
    server.controls.swallow_answers(method="POST", path="/api/v4/posts")

    with pytest.raises(requests.ConnectionError):
        bot.post("/posts", body)
    again = bot.post("/posts", body)

    assert again.status_code == 201
    assert texts(server, builds) == ["once"]


def test_a_reset_connection_leaves_nothing_behind(server, rest, builds):
    server.controls.reset_connections(user="helper-bot", method="POST")
    body = {"channel_id": builds.id, "message": "hi"}
    assert rest("alice").post("/posts", body).status_code == 201

    with pytest.raises(requests.ConnectionError):
        rest("helper-bot").post("/posts", body)

    assert texts(server, builds) == ["hi"]


@pytest.mark.parametrize(("place", "posts"), [("before", []), ("after", ["hi"])])
def test_an_error_comes_before_or_after_the_work(server, rest, builds, place, posts):
    server.controls.fail(status=502, place=place, path="/api/v4/posts")

    answer = rest("alice").post("/posts", {"channel_id": builds.id, "message": "hi"})

    assert answer.status_code == 502
    assert texts(server, builds) == posts


def test_a_retry_while_the_first_request_is_in_progress_is_told_so(
    server, rest, builds, in_background
):
    bot = rest("helper-bot")
    body = {"channel_id": builds.id, "message": "once", "pending_post_id": "job-1"}
    server.controls.stall(place="during", times=1)
    first = in_background(bot.post, "/posts", body)
    wait_until(lambda: server.simulation.dedupe.get("job-1") == "")

    meanwhile = bot.post("/posts", body)
    server.controls.release()

    assert (meanwhile.status_code, meanwhile.json()["id"]) == (
        500,
        "api.post.deduplicate_create_post.pending",
    )
    assert first.result().status_code == 201
    assert bot.post("/posts", body).json()["id"] == first.result().json()["id"]
    assert texts(server, builds) == ["once"]


def test_an_answer_can_be_late_though_the_work_is_done(server, rest, builds, in_background):
    server.controls.stall(seconds=60, place="after", path="/api/v4/posts")
    late = in_background(rest("alice").post, "/posts", {"channel_id": builds.id, "message": "slow"})
    wait_until(lambda: texts(server, builds) == ["slow"])
    assert not late.done()

    server.controls.advance(60)

    assert late.result().status_code == 201


def test_a_storm_of_429_passes_with_the_clock(server, rest):
    server.controls.limit_rate(seconds=10, retry_after=7)
    alice = rest("alice")

    refused = alice.get("/users/me")

    assert (refused.status_code, refused.text) == (429, "limit exceeded\n")
    assert refused.headers["Retry-After"] == "7"
    server.controls.advance(11)
    assert alice.get("/users/me").status_code == 200


def test_a_restart_forgets_what_was_in_memory_only(server, rest, builds):
    bot = rest("helper-bot")
    body = {"channel_id": builds.id, "message": "twice", "pending_post_id": "job-1"}
    bot.post("/posts", body)

    server.controls.restart()

    assert bot.post("/posts", body).status_code == 201
    assert texts(server, builds) == ["twice", "twice"]


def test_a_restart_loses_the_requests_that_hang(server, rest, builds, in_background):
    server.controls.stall(place="during")
    body = {"channel_id": builds.id, "message": "lost", "pending_post_id": "job-1"}
    hanging = in_background(rest("alice").post, "/posts", body)
    wait_until(lambda: server.simulation.dedupe.get("job-1") == "")

    server.controls.restart()

    with pytest.raises(requests.ConnectionError):
        hanging.result()
    assert texts(server, builds) == []


def test_a_server_that_is_down_refuses_and_comes_back_by_the_clock(server, rest, connect):
    alice, socket_ = rest("alice"), connect("alice")
    server.controls.go_down(seconds=120)
    assert socket_.close_code() == 1006
    with pytest.raises(requests.ConnectionError):
        alice.get("/users/me")

    server.controls.advance(120)

    def is_back():
        try:
            return alice.get("/users/me").status_code == 200
        except requests.ConnectionError:
            return False

    wait_until(is_back)


def test_controls_are_reached_and_listed_over_http(server, rest):
    listed = requests.get(f"{server.url}/_control/", timeout=5).json()
    assert {"drop_sockets", "swallow_answers", "advance", "restart"} <= listed.keys()

    def control(name, **arguments):
        return requests.post(f"{server.url}/_control/{name}", json=arguments, timeout=5)

    assert control("fail", status=503).json() == {"result": None}
    assert rest("alice").get("/users/me").status_code == 503
    assert control("restart").status_code == 200
    assert control("fail", user="nobody").status_code == 400
    assert control("explode").status_code == 404
    assert control("advance", seconds=5).json()["result"] > time.time()


def test_the_command_says_when_its_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match="Choose another --port"):
            call_command("simulate", "mattermost", port=port)


def test_the_command_runs_a_small_company_until_it_is_told_to_stop():
    command = [sys.executable, "manage.py", "simulate", "mattermost", "--port", "0"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    printed = []
    while "Ctrl-C" not in (line := running.stdout.readline()):
        printed.append(line.split())
    url, token = printed[0][-1], next(row[1] for row in printed if row[:1] == ["helper-bot"])
    me = requests.get(
        f"{url}/api/v4/users/me", headers={"Authorization": f"Bearer {token}"}, timeout=5
    )
    running.send_signal(signal.SIGTERM)

    assert me.json()["username"] == "helper-bot"
    assert running.wait(timeout=10) == 0
    running.stdout.close()
