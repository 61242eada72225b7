from django.apps import AppConfig


class CustomersConfig(AppConfig):
    """Who buys from us, and whom we talk to there."""

    name = "customers"
