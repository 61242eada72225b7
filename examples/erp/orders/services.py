"""The life of an order: draft, confirmed, shipped; or cancelled before it is shipped."""

from django.db import transaction
from django.utils import timezone

from billing import services as billing
from core.errors import BusinessRuleError
from orders.models import Order
from stock import services as stock


@transaction.atomic
def confirm(order):
    """Promises the goods."""
    order = _lock(order, Order.Status.DRAFT)
    lines = _lines(order)
    if not lines:
        raise BusinessRuleError(
            f"{order.number} has no lines: add what was ordered first"
        )
    stock.reserve(order.warehouse, lines)
    return _move(order, Order.Status.CONFIRMED)


@transaction.atomic
def ship(order):
    """Sends the goods and the invoice."""
    order = _lock(order, Order.Status.CONFIRMED)
    stock.ship(order.warehouse, _lines(order), order.number)
    order.shipped_at = timezone.now()
    _move(order, Order.Status.SHIPPED)
    billing.issue_invoice(order)
    return order


@transaction.atomic
def cancel(order):
    """Takes the order back, and the promise with it."""
    order = _lock(order, Order.Status.DRAFT, Order.Status.CONFIRMED)
    if order.status == Order.Status.CONFIRMED:
        stock.release(order.warehouse, _lines(order))
    return _move(order, Order.Status.CANCELLED)


def _lock(order, *expected):
    locked = Order.objects.select_for_update().get(pk=order.pk)
    if locked.status not in expected:
        raise BusinessRuleError(
            f"{locked.number} is {locked.status}: expected {' or '.join(expected)}"
        )
    return locked


def _lines(order):
    return [
        (line.product, line.quantity) for line in order.lines.select_related("product")
    ]


def _move(order, status):
    order.status = status
    order.save(update_fields=["status", "shipped_at"])
    return order
