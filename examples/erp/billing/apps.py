from django.apps import AppConfig


class BillingConfig(AppConfig):
    """What customers owe, and what they paid."""

    name = "billing"
