"""Sales orders and their lines."""

from decimal import Decimal

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from catalog.models import Product
from customers.models import Customer
from stock.models import Warehouse

CENT = Decimal("0.01")


class Order(models.Model):
    """What one customer ordered at one time."""

    class Status(models.TextChoices):
        DRAFT = "draft"
        CONFIRMED = "confirmed"
        SHIPPED = "shipped"
        CANCELLED = "cancelled"

    customer = models.ForeignKey(
        Customer, on_delete=models.PROTECT, related_name="orders"
    )
    warehouse = models.ForeignKey(
        Warehouse, on_delete=models.PROTECT, related_name="orders"
    )
    status = models.CharField(
        max_length=10, choices=Status.choices, default=Status.DRAFT
    )
    customer_reference = models.CharField(max_length=60, blank=True)
    placed_at = models.DateTimeField(default=timezone.now)
    shipped_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-placed_at", "-id"]
        indexes = [
            models.Index(fields=["status", "placed_at"], name="order_status_placed")
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="shipped", shipped_at__isnull=False)
                | (~Q(status="shipped") & Q(shipped_at__isnull=True)),
                name="order_shipped_has_time",
            )
        ]

    def __str__(self):
        return self.number

    @property
    def number(self):
        """How people call it."""
        return f"SO-{self.pk:06d}" if self.pk else "SO-new"

    @property
    def net(self):
        """The sum of the lines."""
        return sum((line.net for line in self.lines.all()), Decimal(0))


class OrderLine(models.Model):
    """A product and how much of it, at the price of that day."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(
        Product, on_delete=models.PROTECT, related_name="order_lines"
    )
    quantity = models.PositiveIntegerField(validators=[MinValueValidator(1)])
    price = models.DecimalField(max_digits=10, decimal_places=2)
    discount_percent = models.DecimalField(max_digits=4, decimal_places=1, default=0)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(quantity__gt=0), name="order_line_quantity_positive"
            )
        ]

    def __str__(self):
        return f"{self.quantity} x {self.product_id}"

    @property
    def net(self):
        """Quantity times price less discount, in whole cents."""
        return (
            self.quantity * self.price * (100 - self.discount_percent) / 100
        ).quantize(CENT)
