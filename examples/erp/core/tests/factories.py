"""Small builders of rows for tests."""

from decimal import Decimal
from itertools import count

from django.contrib.auth.models import User

from catalog.models import Category, Product
from customers.models import Customer
from orders.models import Order, OrderLine
from stock import services
from stock.models import Warehouse

_serial = count(1)


def make_customer(**values):
    number = f"C{next(_serial):05d}"
    return Customer.objects.create(
        **{
            "number": number,
            "name": f"Customer {number}",
            "billing_email": f"{number}@example.com",
        }
        | values
    )


def make_product(**values):
    category, _ = Category.objects.get_or_create(
        slug="rigging", defaults={"name": "Rigging"}
    )
    sku = f"sku-{next(_serial)}"
    return Product.objects.create(
        **{
            "sku": sku,
            "name": f"Product {sku}",
            "category": category,
            "price": Decimal("10.00"),
        }
        | values
    )


def make_warehouse(**values):
    return Warehouse.objects.create(
        **{"code": f"w{next(_serial)}", "name": "Main warehouse"} | values
    )


def make_order(lines, customer=None, stocked=True, **values):
    """An order of `(product, quantity)` pairs, with the goods in its warehouse unless `stocked` is false."""
    order = Order.objects.create(
        customer=customer or make_customer(), warehouse=make_warehouse(), **values
    )
    for product, quantity in lines:
        OrderLine.objects.create(
            order=order, product=product, quantity=quantity, price=product.price
        )
        if stocked:
            services.receive(product, order.warehouse, quantity)
    return order


def make_clerk(**values):
    return User.objects.create_user(
        f"clerk{next(_serial)}", password="secret-of-the-clerk", **values
    )
