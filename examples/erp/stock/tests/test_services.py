from django.db import IntegrityError, transaction
from django.test import TestCase

from core.errors import BusinessRuleError
from core.tests.factories import make_product, make_warehouse
from stock import services
from stock.models import StockLevel, StockMovement


class StockTests(TestCase):
    def setUp(self):
        self.product, self.warehouse = make_product(), make_warehouse()

    def level(self, product=None):
        return StockLevel.objects.get(
            product=product or self.product, warehouse=self.warehouse
        )

    def test_a_receipt_is_counted_and_booked(self):
        services.receive(self.product, self.warehouse, 5, "delivery 1")
        services.receive(self.product, self.warehouse, 2)
        self.assertEqual(self.level().on_hand, 7)
        self.assertEqual(
            sorted(StockMovement.objects.values_list("quantity", flat=True)), [2, 5]
        )

    def test_nothing_cannot_be_received(self):
        with self.assertRaises(BusinessRuleError):
            services.receive(self.product, self.warehouse, 0)

    def test_a_promise_and_its_shipment(self):
        services.receive(self.product, self.warehouse, 5)
        services.reserve(self.warehouse, [(self.product, 2), (self.product, 1)])
        self.assertEqual(
            (self.level().on_hand, self.level().reserved, self.level().available),
            (5, 3, 2),
        )
        services.ship(self.warehouse, [(self.product, 3)], "SO-1")
        self.assertEqual((self.level().on_hand, self.level().reserved), (2, 0))
        self.assertEqual(StockMovement.objects.get(reference="SO-1").quantity, -3)

    def test_a_promise_is_whole_or_not_at_all(self):
        other = make_product()
        services.receive(self.product, self.warehouse, 5)
        with self.assertRaisesMessage(
            services.OutOfStock, f"{other.sku}: 1 wanted, 0 available"
        ):
            services.reserve(self.warehouse, [(self.product, 1), (other, 1)])
        self.assertEqual(self.level().reserved, 0)

    def test_a_promise_can_be_taken_back(self):
        services.receive(self.product, self.warehouse, 5)
        services.reserve(self.warehouse, [(self.product, 5)])
        services.release(self.warehouse, [(self.product, 5)])
        self.assertEqual(self.level().available, 5)

    def test_the_database_itself_refuses_to_promise_what_is_not_there(self):
        services.receive(self.product, self.warehouse, 1)
        with self.assertRaises(IntegrityError), transaction.atomic():
            StockLevel.objects.update(reserved=2)
