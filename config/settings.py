"""Settings: everything an installation may choose comes from environment variables, listed in .env.example.

With no variable set, this is the demo: servers of our own under var/, plain HTTP on this machine only. With
DATABASE_URL set it is a production installation with secure defaults. Importing this module starts nothing.
"""

import os
import secrets
from datetime import date, timedelta
from pathlib import Path

import environ
from celery.schedules import crontab
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _
from kombu import Queue

from config import local_services, logs

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")
VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var")))

# Invoice PDFs need text-layout libraries; where they could not be installed, bootstrap.sh unpacked them here.
local_services.use_unpacked_libraries(VAR_DIR / "lib")

# --- What kind of process this is ------------------------------------------------------------------------------------

EMBEDDED_DATABASE = "DATABASE_URL" not in os.environ
EMBEDDED_BROKER = "BROKER_URL" not in os.environ
DEBUG = env.bool("DEBUG", default=False)
TEST = env.bool("TALLYRUN_TEST", default=False)
DEMO = env.bool("TALLYRUN_DEMO", default=EMBEDDED_DATABASE and not TEST)
# Set by config/wsgi.py: only pages have a time limit per statement; bill runs and commands may take their time.
WEB_PROCESS = env.str("TALLYRUN_PROCESS", default="") == "web"
HTTPS = env.bool("HTTPS", default=not (DEBUG or DEMO or TEST))


def _secret_key() -> str:
    """Return the key from the environment, or one made for this installation on its first start and kept under var/."""
    if given := env.str("SECRET_KEY", default=""):
        return given
    path = VAR_DIR / "secret_key"
    if not path.exists():
        VAR_DIR.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"secret_key.{os.getpid()}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
            handle.write(secrets.token_urlsafe(64))
        try:
            # A link never replaces: of several processes starting at once the first one's key stands.
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text(encoding="ascii").strip()


SECRET_KEY = _secret_key()
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"] if DEMO or TEST or DEBUG else [])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# --- Applications ----------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    # First, because its `migrate` replaces Django's.
    "config",
    "accounts",
    "billing",
    "usage",
    "invoicing",
    "django.contrib.admin",  # finds the admin modules; our own site stands in accounts/operator_admin.py
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "django_htmx",
    "csp",
    "axes",
    "pgtrigger",
    "django_structlog",
    "ninja",  # its copy of Swagger UI
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "accounts.problems.ProblemMiddleware",
    "config.headers.PermissionsPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
    # Innermost, so that session and message cookies are set on the response it replaces.
    "config.headers.HtmxRedirectMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

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

# --- Database --------------------------------------------------------------------------------------------------------

# The application's role owns no table, so nobody who gets hold of its connection can switch a guard off. Migrations
# connect as the owner (config/database_roles.py).
DATABASE_URL = env.str("DATABASE_URL", default=local_services.database_url(VAR_DIR))
MIGRATE_DATABASE_URL = env.str(
    "MIGRATE_DATABASE_URL", default=local_services.migrate_database_url(VAR_DIR) if EMBEDDED_DATABASE else DATABASE_URL
)


def _database(url: str) -> dict[str, object]:
    """Return Django's settings for one database address, with time limits on locks, statements and idle transactions."""
    config = environ.Env.db_url_config(url)
    if config["ENGINE"] != "django.db.backends.postgresql":
        raise ImproperlyConfigured("DATABASE_URL must be the address of a PostgreSQL server (postgresql://…).")
    limits = {
        "lock_timeout": env.str("DATABASE_LOCK_TIMEOUT", default="5s"),
        "idle_in_transaction_session_timeout": env.str("DATABASE_IDLE_TIMEOUT", default="60s"),
        "statement_timeout": env.str("DATABASE_STATEMENT_TIMEOUT", default="30s") if WEB_PROCESS else "0",
    }
    flags = " ".join(f"-c {name}={value}" for name, value in limits.items())
    options = config.setdefault("OPTIONS", {})
    options["options"] = f"{options.get('options', '')} {flags}".strip()
    options.setdefault("application_name", f"tallyrun {env.str('TALLYRUN_PROCESS', default='command')}")
    return {**config, "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}


DATABASES = {"default": _database(DATABASE_URL)}
# Not an entry of DATABASES, so that no query can be sent there by name.
OWNER_DATABASE = _database(MIGRATE_DATABASE_URL)

# --- Sign-in ---------------------------------------------------------------------------------------------------------

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
# The account that `seed` makes; it exists in demos only, whose web server listens on this machine alone.
DEMO_USERNAME, DEMO_PASSWORD = "approver", env.str("DEMO_PASSWORD", default="tallyrun-demo")
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
LOGOUT_REDIRECT_URL = "admin:login"
SESSION_COOKIE_AGE = 8 * 60 * 60
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
AXES_LOCKOUT_TEMPLATE = "errors/429.html"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False
# How many reverse proxies stand in front; only then may their headers be believed.
PROXY_COUNT = env.int("PROXY_COUNT", default=0)
AXES_IPWARE_PROXY_COUNT = PROXY_COUNT or None

# --- Headers ---------------------------------------------------------------------------------------------------------

SELF = "'self'"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "style-src": [SELF],
        "script-src": [SELF],
        "img-src": [SELF, "data:"],
        "frame-src": [SELF],
        "frame-ancestors": [SELF],
    }
}
X_FRAME_OPTIONS = "SAMEORIGIN"  # an invoice's PDF is shown beside its lines
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60 if HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PROXY_COUNT else None
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # whether HSTS covers other hosts of the domain is not for one of its hosts to decide
    "security.W019",  # SAMEORIGIN is meant, see above
    "security.W021",  # the browsers' preload list likewise
]
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000
DATA_UPLOAD_MAX_NUMBER_FILES = 10
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
FILE_UPLOAD_PERMISSIONS = 0o600

# --- Language, dates, files ------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
# The zone in which a moment becomes a business date.
BILLING_TIME_ZONE = env.str("BILLING_TIME_ZONE", default="UTC")


def _business_date() -> date | None:
    """Return the fixed business day of a demo or a test; elsewhere the clock cannot be set."""
    text = env.str("BUSINESS_DATE", default="")
    if not text:
        return None
    if not (DEMO or TEST):
        raise ImproperlyConfigured(
            "BUSINESS_DATE is for demos and tests: set TALLYRUN_DEMO=1, or remove BUSINESS_DATE."
        )
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"BUSINESS_DATE must be a date such as 2026-01-31, not {text!r}.") from error


BUSINESS_DATE = _business_date()

STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(VAR_DIR / "static")))
STATICFILES_DIRS = [BASE_DIR / "static"]
HASHED_STATIC_FILES = not (DEBUG or TEST)
# Compressing takes ten seconds, too long for a first look at the demo, where nothing crosses a network.
_STATIC_STORAGE = "django.contrib.staticfiles.storage.StaticFilesStorage"
if HASHED_STATIC_FILES:
    _STATIC_STORAGE = "whitenoise.storage.CompressedManifestStaticFilesStorage"
    if DEMO:
        _STATIC_STORAGE = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": _STATIC_STORAGE},
}
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = not HASHED_STATIC_FILES
MEDIA_ROOT = Path(env.str("MEDIA_ROOT", default=str(VAR_DIR / "media")))

# --- Mail ------------------------------------------------------------------------------------------------------------


# smtp://, smtp+tls:// and smtp+ssl:// addresses send; without one, each mail becomes a file that mail programs open.
USUAL_PORTS = {"smtp": 25, "smtps": 587, "smtp+tls": 587, "smtp+ssl": 465}
if EMAIL_URL := env.str("EMAIL_URL", default=""):
    mail = environ.Env.email_url_config(EMAIL_URL)
    EMAIL_BACKEND = mail["EMAIL_BACKEND"]
    EMAIL_HOST, EMAIL_FILE_PATH = mail["EMAIL_HOST"] or "localhost", mail["EMAIL_FILE_PATH"]
    EMAIL_PORT = mail["EMAIL_PORT"] or USUAL_PORTS.get(EMAIL_URL.partition(":")[0], 25)
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = mail["EMAIL_HOST_USER"] or "", mail["EMAIL_HOST_PASSWORD"] or ""
    EMAIL_USE_TLS, EMAIL_USE_SSL = mail.get("EMAIL_USE_TLS", False), mail.get("EMAIL_USE_SSL", False)
else:
    EMAIL_BACKEND = "config.mail_files.EmailBackend"
    EMAIL_FILE_PATH = str(VAR_DIR / "mail")
EMAIL_TIMEOUT = env.int("EMAIL_TIMEOUT", default=20)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Billing <billing@localhost>")
SERVER_EMAIL = env.str("SERVER_EMAIL", default=DEFAULT_FROM_EMAIL)

# --- Background work -------------------------------------------------------------------------------------------------

# A message only says "look"; what is to be done stands in the database, so losing messages costs a short delay.
CELERY_BROKER_URL = env.str("BROKER_URL", default=local_services.broker_url(VAR_DIR))
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CONNECTION_TIMEOUT = 2
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600, "socket_connect_timeout": 2, "socket_timeout": 30}
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.1, "interval_step": 0.1, "interval_max": 0.2}
CELERY_TASK_DEFAULT_QUEUE = "billing"
CELERY_TASK_QUEUES = [Queue("billing"), Queue("pdf"), Queue("mail"), Queue("usage")]
CELERY_TASK_ROUTES = {"invoicing.tasks.send_mail": {"queue": "mail"}}
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_TIME_LIMIT = 600
CELERY_TASK_SOFT_TIME_LIMIT = 540
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 30
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
# The tick keeps no state of its own, hence no schedule file.
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"

BILL_RUN_CHUNK_ACCOUNTS = env.int("BILL_RUN_CHUNK_ACCOUNTS", default=2_000)
BILL_RUN_ATTEMPTS = env.int("BILL_RUN_ATTEMPTS", default=3)
# Chunks that one worker process has in hand at once: while PostgreSQL stores one, Python prices the next.
BILL_RUN_STREAMS = env.int("BILL_RUN_STREAMS", default=2)
# How many workers are woken for a run; more find nothing to do.
BILL_RUN_WORKERS = env.int("BILL_RUN_WORKERS", default=2)
BILL_RUN_SWEEP_SECONDS = env.int("BILL_RUN_SWEEP_SECONDS", default=30)
BILL_RUN_STALLED_SECONDS = env.int("BILL_RUN_STALLED_SECONDS", default=120)
# How far ahead a target date may lie: a typing error in the year must not bill a decade.
BILL_RUN_TARGET_HORIZON_MONTHS = env.int("BILL_RUN_TARGET_HORIZON_MONTHS", default=36)

# The largest usage file that may be uploaded, and what it may expand to.
USAGE_FILE_MAX_BYTES = env.int("USAGE_FILE_MAX_BYTES", default=512 * 1024**2)
USAGE_SHEET_MAX_BYTES = env.int("USAGE_SHEET_MAX_BYTES", default=128 * 1024**2)
USAGE_FILE_MAX_EXPANDED_BYTES = env.int("USAGE_FILE_MAX_EXPANDED_BYTES", default=2 * 1024**3)
# How often a step of a usage import may end its worker before the import is given up.
USAGE_IMPORT_ATTEMPTS = env.int("USAGE_IMPORT_ATTEMPTS", default=3)

# The hour (UTC) of the nightly audit of the whole database.
AUDIT_HOUR = env.int("AUDIT_HOUR", default=3)

CELERY_BEAT_SCHEDULE = {
    "sweep": {
        "task": "invoicing.tasks.sweep",
        "schedule": BILL_RUN_SWEEP_SECONDS,
        # A tick nobody took in time is worthless: the next one does the same.
        "options": {"expires": BILL_RUN_SWEEP_SECONDS},
    },
    "sweep usage imports": {
        "task": "usage.tasks.sweep_imports",
        "schedule": BILL_RUN_SWEEP_SECONDS,
        "options": {"expires": BILL_RUN_SWEEP_SECONDS},
    },
    "audit": {"task": "invoicing.tasks.audit_all", "schedule": crontab(hour=AUDIT_HOUR, minute=17)},
}

# --- API -------------------------------------------------------------------------------------------------------------

# Of each token; beyond it the API answers 429 until the minute is over.
API_REQUESTS_PER_MINUTE = env.int("API_REQUESTS_PER_MINUTE", default=600)

# --- Logs ------------------------------------------------------------------------------------------------------------

LOG_FORMAT = env.str("LOG_FORMAT", default="console" if DEMO or DEBUG or TEST else "json")
LOGGING = logs.logging_config(
    log_format=LOG_FORMAT, level=env.str("LOG_LEVEL", default="INFO"), quiet_requests=DEMO or TEST
)
DJANGO_STRUCTLOG_CELERY_ENABLED = True
logs.configure_structlog()

if TEST:
    # Hashing on purpose slowly would be most of the tests' time.
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
