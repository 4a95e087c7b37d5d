from botadmin.tests.processes import environment, manage


def test_migrations_say_the_same_as_the_models(tmp_path):
    # A process of its own: the suite makes its tables without migrations and sees none.
    given = environment(BOTADMIN_DATA_DIR=str(tmp_path))

    done = manage("makemigrations", "--check", "--dry-run", env=given)

    assert done.returncode == 0, done.stdout + done.stderr
