"""Warehouses, what lies in them, every movement, and the nightly report."""

from django.db import models
from django.db.models import F, Q

from catalog.models import Product


class Warehouse(models.Model):
    """A place with shelves."""

    code = models.SlugField(max_length=10, unique=True)
    name = models.CharField(max_length=100)
    city = models.CharField(max_length=100, blank=True)

    class Meta:
        ordering = ["code"]

    def __str__(self):
        return self.code


class StockLevel(models.Model):
    """How much of a product lies in a warehouse, and how much of that is promised."""

    product = models.ForeignKey(
        Product, on_delete=models.PROTECT, related_name="levels"
    )
    warehouse = models.ForeignKey(
        Warehouse, on_delete=models.PROTECT, related_name="levels"
    )
    on_hand = models.PositiveIntegerField(default=0)
    reserved = models.PositiveIntegerField(default=0)
    reorder_at = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["product__sku", "warehouse__code"]
        constraints = [
            models.UniqueConstraint(
                fields=["product", "warehouse"], name="stock_level_once"
            ),
            models.CheckConstraint(
                condition=Q(reserved__lte=F("on_hand")), name="stock_reserved_is_there"
            ),
        ]

    def __str__(self):
        return f"{self.product.sku} in {self.warehouse.code}: {self.on_hand}"

    @property
    def available(self):
        """What may still be promised."""
        return self.on_hand - self.reserved


class StockMovement(models.Model):
    """One line of the stock book; lines are added, never changed."""

    class Kind(models.TextChoices):
        RECEIPT = "receipt"
        SHIPMENT = "shipment"
        CORRECTION = "correction"

    product = models.ForeignKey(
        Product, on_delete=models.PROTECT, related_name="movements"
    )
    warehouse = models.ForeignKey(
        Warehouse, on_delete=models.PROTECT, related_name="movements"
    )
    kind = models.CharField(max_length=10, choices=Kind.choices)
    quantity = models.IntegerField(help_text="Positive in, negative out.")
    reference = models.CharField(max_length=60, blank=True)
    moved_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-moved_at", "-id"]
        indexes = [
            models.Index(fields=["product", "moved_at"], name="movement_product_time")
        ]

    def __str__(self):
        return f"{self.kind} {self.quantity:+d} {self.product_id}"


class StockReport(models.Model):
    """What the nightly report found; at most one for a day."""

    day = models.DateField(unique=True)
    products = models.PositiveIntegerField()
    value = models.DecimalField(max_digits=14, decimal_places=2)
    shortages = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-day"]

    def __str__(self):
        return f"stock report of {self.day}"
