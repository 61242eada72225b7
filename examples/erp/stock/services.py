"""Changes of stock.

Each locks its rows, and always in the order of their ids, so that two never wait for each other.
"""

from collections import Counter

from django.db import transaction

from core.errors import BusinessRuleError
from stock.models import StockLevel, StockMovement


class OutOfStock(BusinessRuleError):
    """There is less than was asked for."""


@transaction.atomic
def receive(product, warehouse, quantity, reference=""):
    """Goods came in."""
    if quantity <= 0:
        raise BusinessRuleError(
            f"cannot receive {quantity} of {product.sku}: the quantity must be positive"
        )
    StockLevel.objects.get_or_create(product=product, warehouse=warehouse)
    level = StockLevel.objects.select_for_update().get(
        product=product, warehouse=warehouse
    )
    level.on_hand += quantity
    level.save(update_fields=["on_hand"])
    _book(level, StockMovement.Kind.RECEIPT, quantity, reference)
    return level


@transaction.atomic
def reserve(warehouse, lines):
    """Promises `(product, quantity)` pairs; all of them or none."""
    wanted = _total(lines)
    levels = _lock(warehouse, wanted)
    missing = []
    for product, quantity in wanted.items():
        level = levels.get(product.pk)
        available = level.available if level else 0
        if available < quantity:
            missing.append(f"{product.sku}: {quantity} wanted, {available} available")
        else:
            level.reserved += quantity
    if missing:
        raise OutOfStock(f"not enough in {warehouse.code}: " + "; ".join(missing))
    StockLevel.objects.bulk_update(levels.values(), ["reserved"])


@transaction.atomic
def release(warehouse, lines):
    """Takes promises back."""
    wanted = _total(lines)
    levels = _lock(warehouse, wanted)
    for product, quantity in wanted.items():
        levels[product.pk].reserved -= quantity
    StockLevel.objects.bulk_update(levels.values(), ["reserved"])


@transaction.atomic
def ship(warehouse, lines, reference):
    """What was promised leaves the house."""
    wanted = _total(lines)
    levels = _lock(warehouse, wanted)
    for product, quantity in wanted.items():
        level = levels[product.pk]
        level.reserved -= quantity
        level.on_hand -= quantity
        _book(level, StockMovement.Kind.SHIPMENT, -quantity, reference)
    StockLevel.objects.bulk_update(levels.values(), ["reserved", "on_hand"])


def _total(lines):
    total = Counter()
    for product, quantity in lines:
        total[product] += quantity
    return total


def _lock(warehouse, wanted):
    levels = (
        StockLevel.objects.select_for_update()
        .filter(warehouse=warehouse, product__in=wanted)
        .order_by("id")
    )
    return {level.product_id: level for level in levels}


def _book(level, kind, quantity, reference):
    StockMovement.objects.create(
        product_id=level.product_id,
        warehouse_id=level.warehouse_id,
        kind=kind,
        quantity=quantity,
        reference=reference,
    )
