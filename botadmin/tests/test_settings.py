import stat

import pytest

from botadmin.tests.processes import environment, manage


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("BOTADMIN_PORT", "abc", "BOTADMIN_PORT is 'abc', expected a whole number"),
        ("BOTADMIN_PORT", "70000", "BOTADMIN_PORT is '70000', expected a whole number"),
        ("BOTADMIN_DEBUG", "perhaps", "BOTADMIN_DEBUG is 'perhaps', expected on or off"),
        ("BOTADMIN_LOG_LEVEL", "loud", "BOTADMIN_LOG_LEVEL is 'loud', expected one of"),
        ("BOTADMIN_TIME_ZONE", "Nowhere", "BOTADMIN_TIME_ZONE is 'Nowhere', expected"),
        ("BOTADMIN_DATA_DIR", __file__, "expected a directory, but this is a file"),
        ("DATABASE_URL", "mysql://root:hunter2@db/x", "DATABASE_URL is"),
        ("DATABASE_URL", "postgres://u:hunter2@h:port/x", "DATABASE_URL is"),
        ("DATABASE_URL", "postgres://u:hunter2@h/", "DATABASE_URL names no database"),
        ("BROKER_URL", "kafka://:hunter2@h", "BROKER_URL is"),
    ],
)
def test_nonsense_in_the_environment_ends_the_start_with_one_line(tmp_path, name, given, said):
    given_environment = {"BOTADMIN_DATA_DIR": str(tmp_path)} | {name: given}

    done = manage("check", env=environment(**given_environment))

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("manage.py: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


def test_nothing_needs_to_be_set(tmp_path):
    done = manage("check", env=environment(BOTADMIN_DATA_DIR=str(tmp_path / "var")))

    assert (done.returncode, done.stderr) == (0, "")


def test_generated_keys_stay_the_same_and_are_for_their_owner_only(tmp_path):
    data = tmp_path / "var"
    manage("check", env=environment(BOTADMIN_DATA_DIR=str(data)))
    keys = {path: path.read_text() for path in (data / "keys").iterdir()}

    manage("check", env=environment(BOTADMIN_DATA_DIR=str(data)))

    assert {path.name for path in keys} == {"secret_key", "encryption_keys"}
    assert {path: path.read_text() for path in (data / "keys").iterdir()} == keys
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_given_keys_leave_no_key_files(tmp_path):
    given = {
        "BOTADMIN_SECRET_KEY": "x" * 60,
        "BOTADMIN_ENCRYPTION_KEYS": "bWFrZS1iZWxpZXZlLWtleS1vZi0zMi1ieXRlcy0xMjM=",
    }

    done = manage("check", env=environment(BOTADMIN_DATA_DIR=str(tmp_path), **given))

    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []
