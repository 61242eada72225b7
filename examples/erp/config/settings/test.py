"""Tests: SQLite in memory, or the PostgreSQL that DATABASE_URL names. Nothing leaves the process."""

import dj_database_url

from config.settings.base import *  # noqa: F403

SECRET_KEY = "test-only-test-only-test-only-test-only"
ALLOWED_HOSTS = ["testserver", "localhost"]
DATABASES = {"default": dj_database_url.config(default="sqlite://:memory:")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
CELERY_TASK_ALWAYS_EAGER = True
CELERY_TASK_EAGER_PROPAGATES = True
WHITENOISE_AUTOREFRESH = True
LOGGING["root"]["level"] = "CRITICAL"  # noqa: F405
