from django.apps import AppConfig


class CoreConfig(AppConfig):
    """What all other apps lean on: health, version, the dashboard."""

    name = "core"
