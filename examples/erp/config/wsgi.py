"""WSGI entry point: `gunicorn config.wsgi:application`."""

import os

from config.metrics import share_between_workers
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.production")
share_between_workers()

application = get_wsgi_application()
