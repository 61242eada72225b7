"""The Celery app: `celery -A config.celery worker` and `celery -A config.celery beat`."""

import os

from celery import Celery, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.production")

app = Celery("erp")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.setup_logging.connect
def keep_the_logging_of_django(**options):
    """A receiver is all it takes: Celery then leaves LOGGING, and so LOG_LEVEL, alone."""
