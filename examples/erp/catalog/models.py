"""Products and the tree that they are found in."""

from decimal import Decimal

from django.core.validators import MinValueValidator
from django.db import models


class Category(models.Model):
    """A shelf of the catalogue; shelves may lie within shelves."""

    name = models.CharField(max_length=100)
    slug = models.SlugField(unique=True)
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="children"
    )
    icon = models.CharField(max_length=40, default="product")

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "categories"

    def __str__(self):
        return self.name


class Product(models.Model):
    """Something with a price."""

    class Unit(models.TextChoices):
        PIECE = "pc", "piece"
        METRE = "m", "metre"
        KILOGRAM = "kg", "kilogram"
        PACK = "pk", "pack"

    sku = models.SlugField("SKU", max_length=40, unique=True)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    category = models.ForeignKey(
        Category, on_delete=models.PROTECT, related_name="products"
    )
    unit = models.CharField(max_length=2, choices=Unit.choices, default=Unit.PIECE)
    price = models.DecimalField(
        max_digits=10, decimal_places=2, validators=[MinValueValidator(Decimal("0.01"))]
    )
    tax_percent = models.DecimalField(
        max_digits=4, decimal_places=1, default=Decimal("19.0")
    )
    active = models.BooleanField(default=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["sku"]
        indexes = [
            models.Index(fields=["category", "active"], name="product_category_active")
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(price__gt=0), name="product_price_positive"
            )
        ]

    def __str__(self):
        return f"{self.sku} {self.name}"
