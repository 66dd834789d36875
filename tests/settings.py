"""The product's settings for the suite, on the server of `DATABASE_URL` or else an embedded cluster of its own."""

import os
from datetime import UTC, datetime
from pathlib import Path

from glyphforge import embedded

os.environ.update(
    DJANGO_DEBUG="false",
    DJANGO_HTTPS="false",
    DJANGO_ALLOWED_HOSTS="testserver,localhost,127.0.0.1",
    API_KEY_PEPPER="the-suite-keeps-no-key-of-anybody-0123456789",
    DJANGO_SECRET_KEY="the-suite-signs-nothing-that-leaves-this-machine-0123456789",
    STRIPE_LIVE_MODE="false",
    STRIPE_TEST_SECRET_KEY="sk_test_" + "0" * 24,
    STRIPE_WEBHOOK_SECRET="whsec_current,whsec_previous",
    EMAIL_URL="memorymail://",
)
for _name in (
    "SLACK_WEBHOOK_URL",
    "ALERT_EMAIL",
    "METRICS_TOKEN",
    "SENTRY_DSN",
    "STRIPE_API_HOST",
    "DATABASE_REPLICA_URL",
    "MAINTENANCE_DATABASE_URL",
    "RETENTION_DATABASE_URL",
    "WEB_DATABASE_URL",
    "BACKUP_DIR",
    "BACKUP_KEEP",
    "STAFF_OIDC_ISSUER",
    "STAFF_ADDRESSES",
    "API_SERVICE_TOKENS",
):
    os.environ[_name] = ""  # nothing from a developer's .env may leak in

# Inherited by xdist's workers, so that a suite that runs past the end of a month keeps to one template.
os.environ.setdefault("SUITE_MONTH", f"{datetime.now(UTC):%Y-%m}")

TEST_SERVER = None
# xdist's workers inherit the variable that the first process sets below.
if os.environ.get("DATABASE_URL", "") == os.environ.get("SUITE_DATABASE_URL", ""):
    # Nothing here must outlive a power cut, so the suite does without fsync; killed backends are still survived.
    TEST_SERVER = embedded.server(
        Path(__file__).resolve().parent.parent / "var" / "test-postgres",
        options={"fsync": "off", "max_connections": "200", "shared_buffers": "256MB"},
    )
    TEST_SERVER.start()
    os.environ["DATABASE_URL"] = os.environ["SUITE_DATABASE_URL"] = TEST_SERVER.url("postgres")

from glyphforge.settings import *  # noqa: E402, F403 - the environment above must be set first
from glyphforge.settings import STATIC_ROOT, STORAGES  # noqa: E402

# Hashing costs what it should in production; here it would be most of the run.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
API_KEY_BCRYPT_ROUNDS = 4
# Nothing is collected for the suite; whitenoise warns on every request about a missing folder.
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
