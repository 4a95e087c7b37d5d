"""`manage.py doctor`: each fault has a finding with a stable code and a remedy."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.core.management import call_command
from django.utils import timezone

from botadmin.doctor import files
from botadmin.tests.processes import environment, manage, start_worker, until
from bots.models import (
    Attempt,
    Bot,
    Connection,
    Credential,
    Job,
    Lane,
    Process,
    Receive,
    State,
    WorkState,
)
from bots.tests.builders import make_bot, make_channel, make_job, run_lanes

AGO = timedelta(seconds=400)
NOWHERE = "127.0.0.1:1"  # where nobody listens
HIDDEN = "correct-horse-battery"


def told() -> dict[str, dict[str, str]]:
    """What the doctor of this process finds, by code."""
    output = io.StringIO()
    with contextlib.suppress(SystemExit):
        call_command("doctor", "--json", stdout=output)
    return by_code(output.getvalue())


def by_code(output: str) -> dict[str, dict[str, str]]:
    return {one["code"]: one for one in json.loads(output)["findings"]}


@pytest.fixture
def at_work(db: None) -> None:
    """A process that holds connections and runs tasks."""
    now = timezone.now()
    Process.objects.create(name="alive", seen_at=now, worked_at=now, connections=500)


def held(bot: Bot, **changes: Any) -> None:
    """The bot is held as it should be, but for the changes."""
    now = timezone.now()
    lease = {"holder": "alive", "lease_until": now + timedelta(seconds=8), "state": State.LIVE}
    Bot.objects.filter(pk=bot.pk).update(receive=Receive.WEBSOCKET)
    Connection.objects.filter(bot=bot).update(**lease | changes)


def test_an_install_that_works_has_no_errors(at_work):
    held(make_bot())

    found = told()

    assert [one for one in found.values() if one["level"] == "error"] == []
    assert {"database_writable", "workers_alive", "beat_ticks", "leases_held"} <= found.keys()
    assert {"lanes_on_time", "credentials_readable", "store_writable"} <= found.keys()


def test_every_problem_comes_with_a_remedy(db):
    held(make_bot(), holder="dead")
    Job.objects.update(state=WorkState.UNCERTAIN)

    problems = [one for one in told().values() if one["level"] != "ok"]

    assert problems
    assert all(one["text"].endswith((".", "…")) and one["remedy"] for one in problems)


def test_people_read_a_line_for_each_finding_and_what_to_do(db):
    output = io.StringIO()

    with pytest.raises(SystemExit):
        call_command("doctor", stdout=output)

    lines = output.getvalue().splitlines()
    place = next(n for n, line in enumerate(lines) if "[workers_none]" in line)
    assert lines[place].startswith("error ")
    assert "celery -A botadmin worker" in lines[place + 1]


# Settings and files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("SECRET_KEY", "short", "secret_key_weak"),
        ("DEBUG", True, "debug_on"),
        ("ALLOWED_HOSTS", ["*"], "any_host"),
        ("BOTADMIN_BIND", "0.0.0.0", "no_host"),
        ("BOTADMIN_ENCRYPTION_KEYS", ["no key"], "botadmin.E001"),
        ("MEDIA_ROOT", Path("/proc/files"), "store_not_writable"),
    ],
)
def test_a_setting_that_is_a_mistake_is_found(at_work, settings, name, value, code):
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1"]  # the test runner adds its own
    setattr(settings, name, value)

    assert code in told()


def test_credentials_under_a_key_that_is_gone_are_found(at_work, settings):
    bot = make_bot()
    foreign = "gAAAAABkjunk" + Credential.objects.get(bot=bot).value[12:]
    Credential.objects.update(value=foreign)

    found = told()["credentials_unreadable"]

    assert found["level"] == "error"
    assert bot.slug in found["text"]


def test_keys_and_secrets_that_others_can_read_are_found(at_work, settings, tmp_path):
    settings.BOTADMIN_DATA_DIR = tmp_path / "data"
    settings.KEYS_DIR = tmp_path / "data" / "keys"
    settings.BOTADMIN_SECRETS_DIR = tmp_path / "data" / "secrets"
    for folder in (settings.KEYS_DIR, settings.BOTADMIN_SECRETS_DIR):
        folder.mkdir(parents=True)
        (folder / "key").touch(mode=0o600)
    settings.BOTADMIN_DATA_DIR.chmod(0o700)
    assert "files_private" in told()

    for path in (settings.KEYS_DIR / "key", settings.BOTADMIN_SECRETS_DIR / "key"):
        path.chmod(0o644)
    settings.BOTADMIN_DATA_DIR.chmod(0o755)

    assert {"keys_open", "secrets_open", "data_open"} <= told().keys()


def test_a_disk_that_is_nearly_full_is_found(at_work, monkeypatch):
    monkeypatch.setattr(files, "LITTLE_SPACE", 2**60)
    assert told()["store_nearly_full"]["level"] == "warning"

    monkeypatch.setattr(files, "NO_SPACE", 2**60)
    assert told()["store_full"]["level"] == "error"


# Processes --------------------------------------------------------------------------------------


def test_without_any_process_workers_and_beat_are_missing(db):
    found = told()

    assert found["workers_none"]["level"] == "error"
    assert found["beat_silent"]["level"] == "error"


def test_a_beat_that_stopped_is_found(db):
    Process.objects.create(name="old", seen_at=timezone.now(), worked_at=timezone.now() - AGO)

    assert "7 min ago" in told()["beat_silent"]["text"]


def test_a_process_that_fell_silent_is_named(at_work):
    Process.objects.create(name="host:7:abc", seen_at=timezone.now() - AGO, connections=500)

    assert "host:7:abc" in told()["process_silent"]["text"]


@pytest.mark.parametrize(("off", "way"), [(60, "ahead of"), (-60, "behind")])
def test_a_worker_with_a_wrong_clock_is_found(at_work, off, way):
    bot = make_bot()
    make_job(bot, make_channel(bot))
    run_lanes()
    Attempt.objects.update(at=timezone.now() + timedelta(seconds=off))

    assert way in told()["clock_of_worker_off"]["text"]


# Connections ------------------------------------------------------------------------------------


def test_a_lease_that_ran_out_long_ago_is_found(at_work):
    held(make_bot(), lease_until=timezone.now() - AGO)

    assert told()["leases_overdue"]["level"] == "error"


def test_a_bot_that_nobody_ever_took_is_found(at_work):
    held(make_bot(), holder="", lease_until=None, since=timezone.now() - AGO)

    assert told()["leases_overdue"]["level"] == "error"


def test_one_that_waits_for_its_time_is_not_overdue(at_work):
    later = timezone.now() + AGO
    held(make_bot(), holder="", lease_until=None, since=timezone.now() - AGO, not_before=later)

    assert "leases_overdue" not in told()


def test_a_connection_that_a_dead_process_holds_is_found(at_work):
    held(make_bot(), holder="dead")

    assert told()["leases_of_dead"]["level"] == "warning"


def test_more_bots_than_the_processes_may_hold_are_found(at_work):
    Process.objects.update(connections=1)
    for slug in ("one", "two"):
        held(make_bot(slug))

    assert "room for 1" in told()["connections_no_room"]["text"]


def test_a_poll_that_is_overdue_is_found(at_work):
    bot = make_bot()
    held(bot, holder="", lease_until=None, not_before=timezone.now() - AGO)
    Bot.objects.update(receive=Receive.POLL)

    assert told()["polls_overdue"]["level"] == "error"


def test_bots_that_were_refused_are_named(at_work):
    bot = make_bot()
    Connection.objects.update(state=State.BAD_CREDENTIALS, generation=bot.generation)

    assert bot.slug in told()["bots_refused"]["text"]


# Work -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("due", "code"), [(timedelta(seconds=40), "lanes_late"), (AGO, "lanes_stuck")]
)
def test_a_lane_that_nobody_takes_is_found(at_work, due, code):
    bot = make_bot()
    make_job(bot, make_channel(bot))
    Lane.objects.update(due_at=timezone.now() - due)

    assert code in told()


def test_uncertain_jobs_are_counted(at_work):
    bot = make_bot()
    make_job(bot, make_channel(bot))
    Job.objects.update(state=WorkState.UNCERTAIN)

    assert told()["jobs_uncertain"]["text"].startswith("1 job is uncertain")


# As a command -----------------------------------------------------------------------------------


def test_a_database_and_a_broker_that_are_away_are_told_without_traceback_or_secret(tmp_path):
    env = environment(
        BOTADMIN_DATA_DIR=str(tmp_path),
        DATABASE_URL=f"postgres://botadmin:{HIDDEN}@{NOWHERE}/botadmin",
        BROKER_URL=f"redis://:{HIDDEN}@{NOWHERE}/0",
    )

    ended = manage("doctor", "--json", env=env)

    found = by_code(ended.stdout)
    assert ended.returncode == 1
    assert {"database_unreachable", "broker_unreachable", "not_looked_at"} <= found.keys()
    assert HIDDEN not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_database_that_was_not_migrated_is_told(tmp_path):
    ended = manage("doctor", "--json", env=environment(BOTADMIN_DATA_DIR=str(tmp_path)))

    found = by_code(ended.stdout)
    assert ended.returncode == 1
    assert "manage.py migrate" in found["database_not_migrated"]["remedy"]
    assert "not_looked_at" in found


# With servers -----------------------------------------------------------------------------------


@pytest.fixture
def install(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of an install on a database of its own."""
    server, _, _ = os.environ["DATABASE_URL"].rpartition("/")
    name = f"doctor_{uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as database:
        database.execute(f"CREATE DATABASE {name}".encode())
    env = environment(
        BOTADMIN_DATA_DIR=str(tmp_path),
        DATABASE_URL=f"{server}/{name}",
        BROKER_URL=os.environ["BROKER_URL"].rpartition("/")[0] + "/7",
        DJANGO_SETTINGS_MODULE="botadmin.settings",
    )
    assert manage("migrate", env=env).returncode == 0
    yield env
    with psycopg.connect(f"{server}/postgres", autocommit=True) as database:
        database.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.mark.services
@pytest.mark.long
def test_on_servers_everything_is_found_that_is_missing_and_nothing_else(install, tmp_path):
    alone = by_code(manage("doctor", "--json", env=install).stdout)

    worker = start_worker("--connections", "5", "--beat", env=install, output=tmp_path / "log")
    try:

        def is_well() -> bool:
            return manage("doctor", env=install).returncode == 0

        until(is_well, lambda: manage("doctor", env=install).stdout)
        together = by_code(manage("doctor", "--json", env=install).stdout)
    finally:
        worker.terminate()
        worker.wait(30)

    assert {code for code, one in alone.items() if one["level"] == "error"} == {
        "workers_none",
        "beat_silent",
    }
    ours = {"database_reachable", "database_migrated", "database_writable", "clock_right"}
    assert ours | {"broker_reachable", "workers_alive", "beat_ticks"} <= together.keys()


@pytest.mark.services
def test_a_server_that_forgets_is_told(install):
    found = by_code(manage("doctor", "--json", env=install).stdout)

    # The servers of tests do not wait for the disk.
    assert found["database_forgetful"]["level"] == "warning"


@pytest.mark.services
def test_a_database_that_cannot_be_written_is_told(install):
    with psycopg.connect(install["DATABASE_URL"], autocommit=True) as database:
        name = install["DATABASE_URL"].rpartition("/")[2]
        setting = "default_transaction_read_only"
        database.execute(f"ALTER DATABASE {name} SET {setting} = on".encode())

    found = by_code(manage("doctor", "--json", env=install).stdout)

    assert found["database_not_writable"]["level"] == "error"
