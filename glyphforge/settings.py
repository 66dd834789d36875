"""Settings of the back office: one file, read from the environment, refused at the start when wrong."""

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from glyphforge import roles
from glyphforge.environment import ADDRESS, LOG_LEVELS, LOOPBACK_HOSTS, Environment, persistent_secret, refuse
from glyphforge.navigation import PALETTE, SEARCH_BOX, UNFOLD  # noqa: F401 - settings
from glyphforge.observability import logs
from glyphforge.web.csp import STRICT

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"
env = Environment(BASE_DIR / ".env")

# --- Database -------------------------------------------------------------------------------------

# Without DATABASE_URL this is somebody's laptop or the demo: an embedded server under var/ is started on demand.
_database = env.database("DATABASE_URL")
if _database and os.environ.get("GLYPHFORGE_PROCESS") == "web":  # which may do less than the worker
    _database = env.database("WEB_DATABASE_URL") or _database
EMBEDDED_DATABASE = _database is None
DATABASES: dict[str, dict[str, Any]] = {
    "default": _database or {"ENGINE": "glyphforge.embedded.backend", "NAME": "glyphforge", "USER": "postgres"}
}
DATABASE_ROUTERS: list[str] = []
if _replica := env.database("DATABASE_REPLICA_URL"):
    DATABASES["replica"] = _replica | {"TEST": {"MIRROR": "default"}}
    DATABASE_ROUTERS = ["glyphforge.replica.Router"]
# Around PgBouncer and with rights that the application lacks: to dump everything, to create a database or a schema.
if _maintenance := env.database("MAINTENANCE_DATABASE_URL"):
    DATABASES["maintenance"] = _maintenance | {"TEST": {"MIRROR": "default"}}
# With the right to remove old rows of the logs, which nobody else needs.
if _retention := env.database("RETENTION_DATABASE_URL"):
    DATABASES["retention"] = _retention | {"TEST": {"MIRROR": "default"}}
for _config in DATABASES.values():
    _config.setdefault("OPTIONS", {}).setdefault("application_name", "glyphforge")
    _config["OPTIONS"].setdefault("connect_timeout", 10)  # seconds; a host that swallows packets is not waited for
    _config.setdefault("CONN_MAX_AGE", 60)
    _config.setdefault("CONN_HEALTH_CHECKS", True)
    # PgBouncer in transaction mode hands every transaction another server connection.
    _config.setdefault("DISABLE_SERVER_SIDE_CURSORS", True)
_pool_size = env.number("DATABASE_POOL_SIZE", default=8, minimum=1)
if os.environ.get("GLYPHFORGE_PROCESS") == "web" and not EMBEDDED_DATABASE:
    DATABASES["default"]["CONN_MAX_AGE"] = 0  # the pool keeps the connections
    DATABASES["default"]["OPTIONS"]["pool"] = {
        "min_size": 1,
        "max_size": _pool_size,
        "timeout": 5,  # seconds that a request waits for one
        # Then each request tries anew: a pause that doubles would outlast a long outage by minutes.
        "reconnect_timeout": 5,
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Where this runs ------------------------------------------------------------------------------

DEBUG = env.flag("DJANGO_DEBUG", default=EMBEDDED_DATABASE)
ALLOWED_HOSTS = env.hosts("DJANGO_ALLOWED_HOSTS", default=("localhost", "127.0.0.1", "[::1]"))
SECRET_KEY = env.matching("DJANGO_SECRET_KEY", lambda key: len(key) >= 50, "at least 50 random characters")
# One machine can keep its own; `check --deploy` asks for a shared one (glyphforge.checks).
SECRET_KEY_FALLBACKS = env.texts("DJANGO_SECRET_KEY_FALLBACKS")
SECRET_KEY_IS_LOCAL = not SECRET_KEY
SECRET_KEY = SECRET_KEY or persistent_secret(VAR_DIR / "secret_key", "DJANGO_SECRET_KEY")

# Served beyond this machine means served over TLS, ended here or at a proxy that sets X-Forwarded-Proto.
HTTPS = env.flag("DJANGO_HTTPS", default=not DEBUG and not LOOPBACK_HOSTS.issuperset(ALLOWED_HOSTS))
SECURE_SSL_REDIRECT = HTTPS
# Stripe, probes and scrapers do not follow redirects; what they send carries its own proof or no secret.
SECURE_REDIRECT_EXEMPT = [r"^webhooks/", r"^healthz$", r"^readyz$", r"^metrics$"]
PROBE_PATHS = ("/healthz", "/readyz", "/metrics")  # answered whatever the host, as they are asked by address
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
# How many of our own proxies append to X-Forwarded-For; what stands further left was written by the client.
TRUSTED_PROXIES = env.number("DJANGO_PROXIES", default=int(HTTPS), minimum=0)
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
# Second factors and new keys; sent uncompressed (glyphforge.web.compression).
PAGES_WITH_SECRETS = ("/admin/security/", "/admin/billing/apikey/new/")
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {"DIRECTIVES": STRICT}
CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS if HTTPS and not host.startswith((".", "*"))]

# --- Django ---------------------------------------------------------------------------------------

INSTALLED_APPS = [
    # Each replaces templates of the next: ours those of Unfold, Unfold's those of the admin.
    "glyphforge.admin",
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "djstripe",
    "django_q",
    "ninja",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "axes",
    "csp",
    "glyphforge",
    "glyphforge.approval",
    "glyphforge.audit",
    "glyphforge.database",
    "glyphforge.staff",
    "glyphforge.web",
    "billing",
    "monitoring",
]
# What serves customers is shipped without it.
if (BASE_DIR / "demo").is_dir():
    INSTALLED_APPS.append("demo")
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "glyphforge.web.compression.PagesCompressed",
    "glyphforge.web.csp.ContentSecurityPolicy",
    # Before whoever asks the database for a session.
    "glyphforge.staff.middleware.AddressesAllowed",
    "glyphforge.web.odd_requests.OddRequestsRefused",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "glyphforge.web.probes.AnyHost",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "glyphforge.web.request_context.AuditActorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "glyphforge.staff.middleware.SessionLimits",
    "glyphforge.staff.middleware.SecondFactorRequired",
    # Last, so that it can replace the answer to a sign-in that is locked out.
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "glyphforge.urls"
WSGI_APPLICATION = "glyphforge.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "glyphforge.staff.notices.PasswordNotice"},
]
AUTHENTICATION_BACKENDS = ["glyphforge.staff.lockout.PasswordBackend"]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
LANGUAGE_CODE = "en"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
# `runserver` serves what is being edited, everything else what `collectstatic` has collected.
_SOURCES = DEBUG and "runserver" in sys.argv
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if _SOURCES
        else "glyphforge.web.static_files.HashedFiles"
    },
}
WHITENOISE_AUTOREFRESH = WHITENOISE_USE_FINDERS = _SOURCES
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# --- Staff sign-in --------------------------------------------------------------------------------

STAFF_ROLES, STAFF_ROLES_WITHOUT = roles.ROLES, roles.WITHOUT
STAFF_SECOND_FACTOR_REQUIRED = env.flag("STAFF_SECOND_FACTOR_REQUIRED", default=HTTPS)
STAFF_IDLE_SECONDS = 60 * env.number("STAFF_IDLE_MINUTES", default=30, minimum=1)
STAFF_SESSION_SECONDS = 3600 * env.number("STAFF_SESSION_HOURS", default=12, minimum=1)
SESSION_COOKIE_AGE = STAFF_SESSION_SECONDS
SESSION_EXPIRE_AT_BROWSER_CLOSE = True

# Failures are rows in PostgreSQL, so every process counts the same ones. An account and a source are each locked for
# a while after this many (glyphforge.staff.lockout).
AXES_HANDLER = "glyphforge.staff.lockout.Attempts"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_CALLABLE = "glyphforge.staff.refusal.locked_out"
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
# Networks that the back office is open to; none named, to all.
STAFF_ADDRESSES = env.networks("STAFF_ADDRESSES")
# Links for a first second factor: how long one holds, and whether nobody sets up a factor without.
PASSWORD_RESET_TIMEOUT = 24 * 3600
STAFF_INVITATION_REQUIRED = env.flag("STAFF_INVITATION_REQUIRED", default=STAFF_SECOND_FACTOR_REQUIRED)
# Superusers need a passkey; which host it is made for, where the back office is opened by several.
STAFF_PASSKEYS_REQUIRED = env.flag("STAFF_PASSKEYS_REQUIRED", default=False)
STAFF_PASSKEY_HOST = env.text("STAFF_PASSKEY_HOST")

# Password and session are Django's; allauth adds the stages in between, and single sign-on.
ACCOUNT_ADAPTER = "glyphforge.staff.adapters.AccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = SOCIALACCOUNT_EMAIL_VERIFICATION = "none"  # administrators enter the addresses
ACCOUNT_UNIQUE_EMAIL = False  # an address identifies nobody; glyphforge.staff.sso refuses a second account with it
ACCOUNT_FORMS = {"reauthenticate": "glyphforge.staff.forms.PasswordAgainForm"}
MFA_ADAPTER = "glyphforge.staff.adapters.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes", "webauthn"]
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = DEBUG  # a browser has passkeys at http://localhost too
MFA_TOTP_TOLERANCE = 1  # a clock may be half a minute off
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_FORMS = {
    "authenticate": "glyphforge.staff.forms.SecondFactorForm",
    "reauthenticate": "glyphforge.staff.forms.SecondFactorAgainForm",
    "authenticate_webauthn": "glyphforge.staff.forms.PasskeyForm",
    "reauthenticate_webauthn": "glyphforge.staff.forms.PasskeyAgainForm",
    "add_webauthn": "glyphforge.staff.forms.AddPasskeyForm",
    "activate_totp": "glyphforge.staff.forms.EnrolForm",
}

# Single sign-on: off until an issuer is named, for example https://cognito-idp.us-east-1.amazonaws.com/<pool>.
STAFF_OIDC_ISSUER = env.url("STAFF_OIDC_ISSUER", schemes=("http", "https") if DEBUG else ("https",))
# group=role pairs; a group that is not named here gives nothing.
STAFF_OIDC_GROUPS = env.pairs("STAFF_OIDC_GROUPS", default={role: role for role in STAFF_ROLES})
for _role in STAFF_OIDC_GROUPS.values():
    if _role not in STAFF_ROLES:
        refuse("STAFF_OIDC_GROUPS", f"{_role!r} is no role; there are {', '.join(STAFF_ROLES)}")
SOCIALACCOUNT_ADAPTER = "glyphforge.staff.sso.SingleSignOn"
SOCIALACCOUNT_LOGIN_ON_GET = True  # a form could not be redirected to the issuer under our form-action policy
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": []}}
if STAFF_OIDC_ISSUER:
    SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"] = [
        {
            "provider_id": "sso",
            "name": "single sign-on",
            "client_id": env.required("STAFF_OIDC_CLIENT_ID", because="STAFF_OIDC_ISSUER is set"),
            "secret": env.required("STAFF_OIDC_CLIENT_SECRET", because="STAFF_OIDC_ISSUER is set"),
            # The token's claims are all that is needed, and what it says was not said by a browser.
            "settings": {"server_url": STAFF_OIDC_ISSUER, "fetch_userinfo": False},
        }
    ]

# --- API keys -------------------------------------------------------------------------------------

# name=token pairs, one for each API server; a token is at least 32 random characters.
API_SERVICE_TOKENS = env.pairs("API_SERVICE_TOKENS", default={})
if any(len(token) < 32 for token in API_SERVICE_TOKENS.values()):
    refuse("API_SERVICE_TOKENS", "each token must have at least 32 random characters")
# The file with the public keys of who may report keys that they found in the open, as GitHub publishes its own.
LEAK_SCANNER_KEYS = env.text("LEAK_SCANNER_KEYS")
if LEAK_SCANNER_KEYS and not Path(LEAK_SCANNER_KEYS).is_file():
    refuse("LEAK_SCANNER_KEYS", f"there is no file {LEAK_SCANNER_KEYS}")
API_KEY_BCRYPT_ROUNDS = 12  # a quarter of a second, once a key and pepper
# The secret under which a key is checked without bcrypt; while it is rotated, the new one and the old ones.
API_KEY_PEPPERS = env.texts("API_KEY_PEPPER")
if any(len(pepper) < 32 for pepper in API_KEY_PEPPERS):
    refuse("API_KEY_PEPPER", "each of its comma-separated values must have at least 32 random characters")
# One machine can keep its own; `check --deploy` asks for a shared one (glyphforge.checks).
API_KEY_PEPPER_IS_LOCAL = not API_KEY_PEPPERS
API_KEY_PEPPERS = API_KEY_PEPPERS or [persistent_secret(VAR_DIR / "api_key_pepper", "API_KEY_PEPPER")]

# --- Stripe ---------------------------------------------------------------------------------------


def _is_stripe_key(prefix: str) -> Any:
    return lambda key: key.startswith((f"sk_{prefix}_", f"rk_{prefix}_")) and key.split("_", 2)[2].isalnum()


STRIPE_LIVE_MODE = env.flag("STRIPE_LIVE_MODE", default=False)
STRIPE_TEST_SECRET_KEY = env.matching(
    "STRIPE_TEST_SECRET_KEY", _is_stripe_key("test"), "a Stripe key that starts with sk_test_"
)
STRIPE_LIVE_SECRET_KEY = env.matching(
    "STRIPE_LIVE_SECRET_KEY", _is_stripe_key("live"), "a Stripe key that starts with sk_live_"
)
if STRIPE_LIVE_MODE and not STRIPE_LIVE_SECRET_KEY:
    refuse("STRIPE_LIVE_SECRET_KEY", "must be set when STRIPE_LIVE_MODE is on")
# The version that stripe-python 15.6 was generated for; what we read from objects is written for it.
STRIPE_API_VERSION = "2026-08-26.dahlia"
STRIPE_WEBHOOK_SECRETS = env.texts("STRIPE_WEBHOOK_SECRET")
# Only defined when set: dj-stripe takes the mere presence of the name for a value.
if _api_host := env.url("STRIPE_API_HOST"):
    STRIPE_API_HOST = _api_host
    if DEBUG:  # the demo's local Stripe; `check --deploy` still warns
        SILENCED_SYSTEM_CHECKS = ["djstripe.W002"]
# What a live subscription must be to give its plan's limits; others of these have the free plan's. It reaches the
# database by `migrate` and `database init`.
ENTITLED_STATUSES = env.choices(
    "ENTITLED_STATUSES",
    ("active", "past_due", "trialing", "paused", "unpaid"),
    default=("active", "trialing", "past_due"),
)
# Which requests count against a month's limit: all, or those that were served, without 429 and 5xx. It reaches the
# database in the same way.
QUOTA_COUNTS = env.choice("QUOTA_COUNTS", ("all", "served"), default="all")
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"
MIGRATION_MODULES = {"djstripe": "billing.stripe.mirror_migrations"}

# --- Queue ----------------------------------------------------------------------------------------

# The ORM broker delivers at least once; our inbox and job_runs make that exactly once, and do the retrying.
Q_CLUSTER = {
    "name": "glyphforge",
    "orm": "default",
    "broker_class": "monitoring.worker.broker.Broker",
    "workers": 2,
    "timeout": 300,
    # Longer than any task may take, jobs included: a task still running is not given out again.
    "retry": 1200,
    "max_attempts": 1,
    "ack_failures": True,
    "bulk": 1,
    "queue_limit": 10,
    "catch_up": False,
    "save_limit": -1,
    "poll": 0.5,
    "recycle": 500,
    "label": "Queue",
}

# --- Logs -----------------------------------------------------------------------------------------

LOG_DIR = env.folder("LOG_DIR")
LOG_LEVEL = env.matching("LOG_LEVEL", "|".join(LOG_LEVELS), f"one of {', '.join(LOG_LEVELS)}", default="INFO")
LOGGING = logs.configuration(level=LOG_LEVEL, plain=DEBUG, folder=LOG_DIR, stream=logs.stream_for(sys.argv))

# --- Backups --------------------------------------------------------------------------------------

# Whether it is there and can be written to is found out by the job that needs it: not every process may write there.
BACKUP_DIR = env.matching("BACKUP_DIR", lambda value: Path(value).is_absolute(), "an absolute path")
BACKUP_KEEP = env.number("BACKUP_KEEP", default=14, minimum=1)

# --- Alerts, mail and other services --------------------------------------------------------------

SLACK_WEBHOOK_URL = env.url("SLACK_WEBHOOK_URL")
ALERT_EMAIL = env.matching("ALERT_EMAIL", ADDRESS, "one e-mail address")
vars().update(env.email("EMAIL_URL", default="consolemail://" if DEBUG else "smtp://localhost:25"))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.matching(
    "EMAIL_FROM",
    rf"{ADDRESS}|[^<>]*<{ADDRESS}>",
    "an e-mail address, or a name and <address>",
    default=f"Glyph Forge back office <backoffice@{ALLOWED_HOSTS[0].lstrip('.*') or 'localhost'}>",
)
# Where links in messages lead; a proxy may serve the back office under another name than the first allowed host.
BACKOFFICE_URL = env.url("BACKOFFICE_URL") or (
    f"https://{ALLOWED_HOSTS[0].lstrip('.*') or 'localhost'}" if HTTPS else "http://localhost:8000"
)
METRICS_TOKEN = env.text("METRICS_TOKEN")
HEARTBEAT_URL = env.url("HEARTBEAT_URL")
AWS_REGION = env.matching("AWS_REGION", r"[a-z]+(-[a-z]+)+-[0-9]+", "a region such as us-east-1", default="us-east-1")
AWS_ACCOUNT_ID = env.matching("AWS_ACCOUNT_ID", "[0-9]{12}", "12 digits")
COGNITO_USER_POOL_ID = env.matching(
    "COGNITO_USER_POOL_ID", r"[\w-]+_[0-9a-zA-Z]+", "the id of a pool, such as us-east-1_AbCdEfGhI"
)
SENTRY_DSN = env.matching(
    "SENTRY_DSN", r"https?://\w+(:\w+)?@[\w.-]+(:[0-9]+)?/([\w./-]+/)?[0-9]+", "of the form https://key@host/project"
)
