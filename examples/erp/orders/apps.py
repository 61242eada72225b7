from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """What customers want, from the draft to the van."""

    name = "orders"
