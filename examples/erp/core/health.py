"""`/healthz`: this process answers. `/readyz`: it can also do its work."""

import logging

from django.conf import settings
from django.db import connections
from django.http import JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from config.version import RELEASE, VERSION

SECONDS = 2
"""How long each dependency may take to answer."""

log = logging.getLogger(__name__)


@require_safe
@never_cache
def live(request):
    """Touches nothing outside of this process: a database that is away is no reason to restart it."""
    return JsonResponse({"status": "ok", "version": VERSION, "release": RELEASE})


@require_safe
@never_cache
def ready(request):
    """Asks the database and the broker; 503 names the ones that do not answer. The reason goes to the log only."""
    checks = {
        "database": _ask("database", ask_database),
        "broker": _ask("broker", ask_broker),
    }
    down = [name for name, state in checks.items() if state != "ok"]
    body = {
        "status": "unavailable" if down else "ok",
        "version": VERSION,
        "release": RELEASE,
        "checks": checks,
        "down": down,
    }
    return JsonResponse(body, status=503 if down else 200)


def _ask(name, question):
    try:
        question()
    except Exception as error:  # Whatever it is, the answer is "not ready".
        log.warning("%s is not ready: %s: %s", name, type(error).__name__, error)
        return "down"
    return "ok"


def ask_database():
    """A connection of its own with short timeouts: the pooled one may wait much longer."""
    connection = connections["default"].copy()
    if connection.vendor == "postgresql":
        options = connection.settings_dict.setdefault("OPTIONS", {})
        milliseconds = SECONDS * 1000
        options.update(
            connect_timeout=SECONDS,
            tcp_user_timeout=milliseconds,
            options=f"{options.get('options', '')} -c statement_timeout={milliseconds}".strip(),
        )
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
    finally:
        connection.close()


def ask_broker():
    """One PING, not retried."""
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    with Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=SECONDS,
        socket_timeout=SECONDS,
        retry=Retry(NoBackoff(), 0),
    ) as client:
        client.ping()
