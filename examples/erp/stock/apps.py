from django.apps import AppConfig


class StockConfig(AppConfig):
    """What lies where, and how it came and went."""

    name = "stock"
