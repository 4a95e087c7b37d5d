import subprocess
import sys

import pytest

pytestmark = pytest.mark.services

ASK = """
import os, psycopg, redis
with psycopg.connect(os.environ["DATABASE_URL"]) as database:
    print(database.execute("select 1").fetchone())
print(redis.Redis.from_url(os.environ["BROKER_URL"]).ping())
raise SystemExit(7)
"""


def test_a_command_gets_servers_of_its_own_and_its_exit_code_is_kept():
    command = [sys.executable, "-m", "botadmin.testing.services", "--", sys.executable, "-c", ASK]

    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)

    assert done.stdout.split("\n") == ["(1,)", "True", ""]
    assert done.returncode == 7
