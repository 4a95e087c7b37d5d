"""Every setting of botadmin: name, type, unit and default stand beside each other.

All are optional and come from the environment. Secrets may also come from a file: NAME_FILE.
"""

from __future__ import annotations

import secrets
from logging import ERROR, LogRecord
from pathlib import Path
from typing import Any

import dj_database_url
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy

from botadmin import env
from botadmin.keyfiles import private_folder, read_or_create

VERSION = "0.1.0"
BASE_DIR = Path(__file__).resolve().parent.parent

# Where it runs

BOTADMIN_BIND = env.text("BOTADMIN_BIND", "127.0.0.1")  # address `manage.py up` listens on
BOTADMIN_PORT = env.integer("BOTADMIN_PORT", 8000, least=1, most=65535)  # TCP port
# Database, keys and files; removed = fresh start.
BOTADMIN_DATA_DIR = private_folder(env.folder("BOTADMIN_DATA_DIR", BASE_DIR / "var"))
# Where `file:` references in credentials may point to.
BOTADMIN_SECRETS_DIR = env.folder("BOTADMIN_SECRETS_DIR", BOTADMIN_DATA_DIR / "secrets")
# Name, in that folder, of the file that `netrc:` references read.
BOTADMIN_NETRC = env.text("BOTADMIN_NETRC", "netrc")
KEYS_DIR = BOTADMIN_DATA_DIR / "keys"

# First start

BOTADMIN_ADMIN_USER = env.text("BOTADMIN_ADMIN_USER", "admin")
BOTADMIN_ADMIN_PASSWORD = env.secret("BOTADMIN_ADMIN_PASSWORD")  # empty: generated
BOTADMIN_API_TOKEN = env.secret("BOTADMIN_API_TOKEN")  # empty: generated

# Size

BOTADMIN_WEB_THREADS = env.integer("BOTADMIN_WEB_THREADS", 8, least=1, most=256)
# Streams, and requests that wait for events, at once: each holds a thread, and a web process has so
# many more than BOTADMIN_WEB_THREADS.
BOTADMIN_STREAMS = env.integer("BOTADMIN_STREAMS", 32, least=0, most=1000)
BOTADMIN_WORKER_THREADS = env.integer("BOTADMIN_WORKER_THREADS", 16, least=1, most=256)
# Largest request body, in bytes.
BOTADMIN_MAX_BODY_BYTES = env.integer(
    "BOTADMIN_MAX_BODY_BYTES", 25 * 1024 * 1024, least=1024, most=1024**3
)
# Connections that `manage.py up` holds at most.
BOTADMIN_CONNECTIONS = env.integer("BOTADMIN_CONNECTIONS", 500, least=0, most=10_000)
# How long `manage.py up` waits for work that is under way when it is told to stop, in seconds.
BOTADMIN_STOP_SECONDS = env.number("BOTADMIN_STOP_SECONDS", 5.0, least=0.5, most=600)

# For how long a web process believes what it read about a token, a bot that sends and its channels,
# in seconds: a revoked token works, and a permission that was taken away lasts, at most this long.
BOTADMIN_RECENT_SECONDS = env.number("BOTADMIN_RECENT_SECONDS", 1.0, least=0, most=10)

# Security

DEBUG = env.boolean("BOTADMIN_DEBUG", False)
SECRET_KEY = env.secret("BOTADMIN_SECRET_KEY") or read_or_create(
    KEYS_DIR / "secret_key", lambda: secrets.token_urlsafe(48)
)
# Fernet keys that credentials are encrypted with: the first encrypts, all of them decrypt.
BOTADMIN_ENCRYPTION_KEYS = env.secrets("BOTADMIN_ENCRYPTION_KEYS") or (
    read_or_create(KEYS_DIR / "encryption_keys", lambda: Fernet.generate_key().decode())
    .replace(",", "\n")
    .split()
)
# Host names the web server answers to, besides those of this machine; `*` = any.
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *env.strings("BOTADMIN_ALLOWED_HOSTS")]
CSRF_TRUSTED_ORIGINS = env.origins("BOTADMIN_CSRF_TRUSTED_ORIGINS")
# A proxy in front speaks TLS and sets X-Forwarded-Proto: believe it, and keep cookies to https.
BOTADMIN_BEHIND_PROXY = env.boolean("BOTADMIN_BEHIND_PROXY", False)
# How the names of environment variables begin that credentials may refer to as `$NAME`.
BOTADMIN_CREDENTIAL_VARIABLES = env.strings("BOTADMIN_CREDENTIAL_VARIABLES", ["BOT_"])
# Private networks (CIDR) that webhooks and URLs of files to send may point to nevertheless.
BOTADMIN_ALLOWED_NETWORKS = env.networks("BOTADMIN_ALLOWED_NETWORKS")
# Webhooks may go to any address over plain http, which anybody in between can read; otherwise they
# do to those networks alone.
BOTADMIN_ALLOW_HTTP_WEBHOOKS = env.boolean("BOTADMIN_ALLOW_HTTP_WEBHOOKS", False)

if BOTADMIN_BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BOTADMIN_BEHIND_PROXY
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

DATA_UPLOAD_MAX_MEMORY_SIZE = BOTADMIN_MAX_BODY_BYTES
MEDIA_ROOT = BOTADMIN_DATA_DIR / "files"
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o700

# Database

DATABASE_URL = env.url(
    "DATABASE_URL",
    f"sqlite:///{BOTADMIN_DATA_DIR / 'db.sqlite3'}",
    schemes=("postgres", "postgresql", "sqlite"),
)
SQLITE_OPTIONS = {
    # A transaction that reads first and writes later cannot wait for its turn: SQLite refuses it
    # at once. Asking for the write lock at the start makes every writer queue up instead.
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,  # seconds a writer waits for its turn
    # FULL, because a 202 means stored: with NORMAL a power cut takes the last transactions along.
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
    "PRAGMA journal_size_limit=67108864; PRAGMA cache_size=-16000",
}
# A network that loses everything says nothing: without these, both sides would wait for hours, and
# the server would keep the locks of a transaction that nobody ends.
SILENCE_SECONDS = 10  # what was sent and never acknowledged ends a connection after so long
IDLE_SECONDS = 3  # and so does doing nothing in the middle of a transaction
KEEPALIVES = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}  # seconds
_ON_THE_SERVER = {f"tcp_{name}": value for name, value in KEEPALIVES.items()} | {
    "tcp_user_timeout": SILENCE_SECONDS * 1000,
    # Of a process that is frozen nobody can say so: only that it does nothing. See the engine.
    # Three of its transactions may wait for one another and be ended one by one, within a lease.
    "idle_in_transaction_session_timeout": IDLE_SECONDS * 1000,
}
POSTGRESQL_OPTIONS = {
    **KEEPALIVES,
    "tcp_user_timeout": SILENCE_SECONDS * 1000,  # milliseconds
    "connect_timeout": 3,  # seconds
    "options": " ".join(f"-c {name}={value}" for name, value in _ON_THE_SERVER.items()),
    # As many as there are threads that may want one: 16 open bots' connections, some close them,
    # supervisor and inbox have one each. In web processes there is room for streams, of which one
    # follows the sequence for all, and two at a time read what they missed.
    "pool": {
        "min_size": 1,
        "max_size": BOTADMIN_WEB_THREADS + BOTADMIN_WORKER_THREADS + 24,
        "timeout": 5,  # seconds to wait for one; a database that is away must not hang requests
        # Seconds until one that cannot be opened is given up and asked for anew. Otherwise the pool
        # tries ever more seldom, and is away for as long again as the database was.
        "reconnect_timeout": 2,
    },
}


def _database() -> dict[str, Any]:
    try:
        database: dict[str, Any] = dict(dj_database_url.parse(DATABASE_URL))
    except (dj_database_url.ParseError, ValueError, KeyError):
        raise ImproperlyConfigured(
            "DATABASE_URL is not usable, expected postgres://user:password@host:5432/name"
            " or sqlite:////path/to/file."
        ) from None
    if not database["NAME"]:
        raise ImproperlyConfigured("DATABASE_URL names no database, expected …://…/name.")
    options = dict(database.get("OPTIONS") or {})
    if database["ENGINE"].endswith("sqlite3"):
        # Opening one costs more than most queries; a thread keeps its own.
        return database | {
            "OPTIONS": SQLITE_OPTIONS | options,
            "CONN_MAX_AGE": None,
            "CONN_HEALTH_CHECKS": False,
        }
    return database | {
        "ENGINE": "botadmin.postgresql",
        "OPTIONS": POSTGRESQL_OPTIONS | options,
        "CONN_MAX_AGE": 0,  # back to the pool after each request or task
        "CONN_HEALTH_CHECKS": True,
    }


DATABASES = {"default": _database()}
DATABASE_IS_SERVER = not DATABASES["default"]["ENGINE"].endswith("sqlite3")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Celery

# Where wake-ups travel. Rows in the database are the truth: losing the broker costs latency only.
CELERY_BROKER_URL = env.url(
    "BROKER_URL", "memory://localhost", schemes=("redis", "rediss", "amqp", "amqps", "memory")
)
BROKER_IS_SERVER = not CELERY_BROKER_URL.startswith("memory://")
_TRANSPORT_OPTIONS: dict[str, dict[str, Any]] = {
    "memory": {"polling_interval": 0.003},  # seconds between two looks at the queue
    "redis": {
        "socket_connect_timeout": 1,  # seconds
        "socket_timeout": 1,  # seconds
        "visibility_timeout": 3600,  # seconds
        # Seconds between two looks at whether the broker still answers those who wait for work; one
        # that fell silent is left after twice as long.
        "health_check_interval": 5,
        "max_retries": 0,  # of connecting to publish; workers have their own patience
    },
}
_transport = CELERY_BROKER_URL.partition("://")[0].replace("rediss", "redis")
CELERY_BROKER_TRANSPORT_OPTIONS = _TRANSPORT_OPTIONS.get(_transport, {})
# A request that wants to wake a worker must not hang on a broker that is away.
CELERY_BROKER_CONNECTION_TIMEOUT = 1  # seconds
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True  # workers do wait for it
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# Tasks a thread runs before it opens its database connection anew: a pool does that better, and a
# SQLite file needs it never.
CELERY_DB_REUSE_MAX = 0 if DATABASE_IS_SERVER else 1_000_000_000
CELERY_TASK_DEFAULT_QUEUE = "botadmin"
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1  # what waits, waits where every worker can take it
CELERY_WORKER_ENABLE_REMOTE_CONTROL = BROKER_IS_SERVER
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
# All times are in seconds, and a lost schedule file would mean nothing: keep it in memory.
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"
CELERY_BEAT_SCHEDULE = {
    # Old ones are dropped: when workers were away, one of each is enough.
    "sweep": {"task": "bots.tasks.sweep", "schedule": 1.0, "options": {"expires": 5}},
    "poll": {"task": "bots.tasks.poll_due", "schedule": 1.0, "options": {"expires": 5}},
    "incidents": {
        "task": "bots.tasks.look_for_incidents",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "news": {"task": "bots.tasks.tell_of_incidents", "schedule": 5.0, "options": {"expires": 5}},
    "tallies": {"task": "bots.tasks.count_events", "schedule": 2.0, "options": {"expires": 5}},
    "tidy": {"task": "bots.tasks.tidy", "schedule": 60.0, "options": {"expires": 60}},
    "prune": {"task": "bots.tasks.prune", "schedule": 60.0, "options": {"expires": 60}},
}

# Days that the audit log keeps who changed what; 0 = for ever
BOTADMIN_KEEP_AUDIT_DAYS = env.integer("BOTADMIN_KEEP_AUDIT_DAYS", 0, least=0, most=36_500)

# Incidents: where they are told besides the admin and the events

EMAIL_HOST = env.text("BOTADMIN_MAIL_HOST", "")  # empty: no mail is sent
EMAIL_PORT = env.integer("BOTADMIN_MAIL_PORT", 587, least=1, most=65535)  # TCP port
EMAIL_HOST_USER = env.text("BOTADMIN_MAIL_USER", "")  # empty: no login
EMAIL_HOST_PASSWORD = env.secret("BOTADMIN_MAIL_PASSWORD")
BOTADMIN_MAIL_SECURITY = env.choice(
    "BOTADMIN_MAIL_SECURITY", "starttls", ("starttls", "tls", "none")
)
EMAIL_USE_TLS = BOTADMIN_MAIL_SECURITY == "starttls"
EMAIL_USE_SSL = BOTADMIN_MAIL_SECURITY == "tls"
EMAIL_TIMEOUT = 10  # seconds
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text("BOTADMIN_MAIL_FROM", "botadmin@localhost")
BOTADMIN_INCIDENT_MAIL = env.strings("BOTADMIN_INCIDENT_MAIL")  # addresses that get it
# A bot, by its slug, and the channel it tells, by id or name. Both, or nothing is told there.
BOTADMIN_INCIDENT_BOT = env.text("BOTADMIN_INCIDENT_BOT", "")
BOTADMIN_INCIDENT_CHANNEL = env.text("BOTADMIN_INCIDENT_CHANNEL", "")

# Applications

INSTALLED_APPS = [
    "unfold",  # before the admin, whose templates it replaces
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "spaces.apps.SpacesConfig",
    "bots.apps.BotsConfig",
    "botadmin.apps.BotadminConfig",
    *env.apps("BOTADMIN_APPS"),  # apps of your own, with handlers, by their import paths
]
MIDDLEWARE = [
    "bots.api.middleware.Problems",  # first: it answers for what breaks in all others
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "bots.doors.Doors",  # after those that find out who asks
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "botadmin.urls"
WSGI_APPLICATION = "botadmin.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Language, time, static files

LANGUAGE_CODE = "en"
USE_TZ = True
TIME_ZONE = env.time_zone("BOTADMIN_TIME_ZONE", "UTC")  # what the admin shows; stored is UTC

STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # from where the packages keep them: no collectstatic to forget

# REST

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "bots.api.authentication.BearerToken",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["bots.api.permissions.MayAct"],
    "DEFAULT_PARSER_CLASSES": ["bots.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "rest_framework.renderers.BrowsableAPIRenderer",
    ],
    "DEFAULT_PAGINATION_CLASS": "bots.api.pagination.Pagination",
    "DEFAULT_SCHEMA_CLASS": "bots.api.schema.Schema",
    "EXCEPTION_HANDLER": "bots.api.problems.handler",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "botadmin",
    "DESCRIPTION": "Configure and drive chat bots on several platforms.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "DEFAULT_GENERATOR_CLASS": "bots.api.schema.Generator",
    "ENUM_NAME_OVERRIDES": {
        "Ability": "spaces.platforms.contract.Ability",
        "AuditDoor": "bots.api.audit.DOOR_NAMES",
        "ChannelKind": "spaces.platforms.messages.ChannelKind",
        "ConnectionState": "bots.models.State.values",
        "DeliveryState": "bots.api.deliveries.STATES",
        "EventKind": "bots.api.subscriptions.KINDS",
        "JobKind": "bots.models.JobKind.values",
        "JobState": "bots.models.WorkState.values",
        "Permission": "bots.models.Permission.values",
        "Receive": "bots.models.Receive.values",
        "Role": "spaces.platforms.messages.Role",
        "SubscriptionState": "bots.models.SubscriptionState.values",
    },
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    # Served by ourselves: the page works without the internet and tells nobody who reads it.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# Admin

UNFOLD = {
    "SITE_TITLE": "botadmin",
    "SITE_HEADER": "botadmin",
    "SITE_SYMBOL": "smart_toy",
    "SHOW_VIEW_ON_SITE": False,
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("bots/icon.svg"),
        }
    ],
    "STYLES": [lambda request: static("bots/botadmin.css")],
    "SCRIPTS": [
        lambda request: static("bots/live.js"),
        lambda request: static("bots/widgets.js"),
    ],
    "DASHBOARD_CALLBACK": "bots.admin.front.front",
    "SIDEBAR": {"navigation": "bots.admin.navigation.sidebar"},
}

# Logging

BOTADMIN_LOG_LEVEL = env.choice(
    "BOTADMIN_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
)


def _without_traceback_of_refusals(record: LogRecord) -> bool:
    """What somebody may not see or do is one line: nothing broke that has to be found."""
    if record.levelno < ERROR:
        record.exc_info = None
    return True


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "refusals": {
            "()": "django.utils.log.CallbackFilter",
            "callback": _without_traceback_of_refusals,
        }
    },
    "formatters": {
        "line": {
            "class": "bots.scrub.Formatter",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": BOTADMIN_LOG_LEVEL},
    "loggers": {
        # Django's own handlers would print each line a second time.
        "django": {"handlers": [], "level": BOTADMIN_LOG_LEVEL, "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
        "django.request": {"filters": ["refusals"]},
        # They tell about every task and every socket; DEBUG shows it.
        **{
            name: {"level": "WARNING" if BOTADMIN_LOG_LEVEL == "INFO" else BOTADMIN_LOG_LEVEL}
            for name in ("celery", "kombu", "waitress", "urllib3", "websocket")
        },
    },
}
