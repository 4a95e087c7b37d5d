"""What a process asks of its system."""

from __future__ import annotations

import resource

import pytest

from bots import processes


@pytest.fixture
def few_files():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_who_holds_many_connections_may_open_as_many_files(few_files):
    processes.allow_files(connections=400)

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft >= 2 * 400


def test_a_process_that_holds_few_keeps_the_limit_of_its_system(few_files):
    processes.allow_files(connections=10)

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == 512


def test_more_connections_than_the_system_allows_files_for_are_told(few_files, caplog):
    processes.allow_files(connections=1_000_000_000)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard
    assert "LimitNOFILE" in caplog.text
