from pathlib import Path

from django.core.checks import run_checks


def ids() -> set[str]:
    found = (message.id or "" for message in run_checks())
    return {one for one in found if one.startswith("botadmin.")}


def test_the_defaults_have_nothing_to_complain_about(settings):
    settings.DATABASE_IS_SERVER = False

    assert ids() == set()


def test_a_key_that_is_none_is_an_error_that_does_not_show_it(settings):
    settings.BOTADMIN_ENCRYPTION_KEYS = [*settings.BOTADMIN_ENCRYPTION_KEYS, "hunter2"]

    found = [message for message in run_checks() if message.id == "botadmin.E001"]

    assert [message.msg for message in found] == [
        "Number 2 of BOTADMIN_ENCRYPTION_KEYS is not a Fernet key."
    ]


def test_a_data_directory_that_is_not_there_is_an_error(settings):
    settings.BOTADMIN_DATA_DIR = Path("/does/not/exist")

    assert "botadmin.E002" in ids()


def test_debug_in_the_open_is_an_error(settings):
    settings.DEBUG, settings.BOTADMIN_BIND = True, "0.0.0.0"
    assert "botadmin.E003" in ids()

    settings.BOTADMIN_BIND = "127.0.0.1"
    assert "botadmin.E003" not in ids()


def test_keys_on_one_machine_with_a_database_for_many_are_a_warning(settings, monkeypatch):
    settings.DATABASE_IS_SERVER = True
    assert "botadmin.W002" in ids()

    monkeypatch.setenv("BOTADMIN_ENCRYPTION_KEYS", settings.BOTADMIN_ENCRYPTION_KEYS[0])
    assert "botadmin.W002" not in ids()


def test_a_broker_in_memory_with_a_database_server_is_a_warning(settings):
    settings.DATABASE_IS_SERVER, settings.BROKER_IS_SERVER = True, False

    assert "botadmin.W003" in ids()
