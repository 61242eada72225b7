from django.test import TestCase

from billing.models import Invoice
from core.errors import BusinessRuleError
from core.tests.factories import make_order, make_product
from orders import services
from orders.models import Order
from stock.models import StockLevel
from stock.services import OutOfStock


class OrderLifeTests(TestCase):
    def test_from_draft_to_invoice(self):
        order = make_order([(make_product(), 2)])
        order = services.confirm(order)
        self.assertEqual(StockLevel.objects.get().reserved, 2)
        order = services.ship(order)
        self.assertEqual(order.status, Order.Status.SHIPPED)
        self.assertIsNotNone(order.shipped_at)
        self.assertEqual(
            (StockLevel.objects.get().on_hand, StockLevel.objects.get().reserved),
            (0, 0),
        )
        self.assertEqual(Invoice.objects.get().order, order)

    def test_without_goods_it_stays_a_draft(self):
        order = make_order([(make_product(), 2)], stocked=False)
        with self.assertRaises(OutOfStock):
            services.confirm(order)
        order.refresh_from_db()
        self.assertEqual(order.status, Order.Status.DRAFT)

    def test_an_empty_order_is_not_confirmed(self):
        with self.assertRaisesMessage(BusinessRuleError, "has no lines"):
            services.confirm(make_order([]))

    def test_cancelling_gives_the_goods_back(self):
        order = services.confirm(make_order([(make_product(), 2)]))
        services.cancel(order)
        self.assertEqual(StockLevel.objects.get().available, 2)

    def test_steps_are_not_skipped_or_repeated(self):
        order = make_order([(make_product(), 2)])
        with self.assertRaisesMessage(
            BusinessRuleError, "is draft: expected confirmed"
        ):
            services.ship(order)
        services.ship(services.confirm(order))
        for step in [services.confirm, services.ship, services.cancel]:
            with self.assertRaises(BusinessRuleError):
                step(order)
        self.assertEqual(Invoice.objects.count(), 1)
