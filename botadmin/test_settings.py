"""Settings for the test suite: a data directory of its own that goes when the process ends."""

import atexit
import os
import shutil
import tempfile

# What the developer has set for a botadmin of their own must not change what the tests prove.
for name in list(os.environ):
    if name.startswith("BOTADMIN_") and not name.startswith("BOTADMIN_TEST_"):
        del os.environ[name]
os.environ["BOTADMIN_DATA_DIR"] = tempfile.mkdtemp(prefix="botadmin-tests-")
atexit.register(shutil.rmtree, os.environ["BOTADMIN_DATA_DIR"], ignore_errors=True)

from botadmin.settings import *  # noqa: E402, F403
from botadmin.settings import BOTADMIN_DATA_DIR, DATABASE_IS_SERVER, DATABASES  # noqa: E402

# Tests of the real broker start processes of their own; in here nothing travels far.
CELERY_BROKER_URL = "memory://localhost"
CELERY_BROKER_TRANSPORT_OPTIONS = {"polling_interval": 0.01}
BOTADMIN_RECENT_SECONDS = 0  # what a test changes counts at once
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
WHITENOISE_AUTOREFRESH = True  # finds a file when it is asked for, instead of all at start

if DATABASE_IS_SERVER:
    # A test that runs in a transaction may wait for something else for as long as it likes.
    DATABASES["default"]["OPTIONS"]["options"] += " -c idle_in_transaction_session_timeout=0"
else:
    # A file as in real life: SQLite's shared memory databases lock differently between threads.
    DATABASES["default"]["TEST"] = {"NAME": str(BOTADMIN_DATA_DIR / "test.sqlite3")}
