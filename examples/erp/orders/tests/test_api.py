from rest_framework.test import APITestCase

from core.tests.factories import (
    make_clerk,
    make_customer,
    make_order,
    make_product,
    make_warehouse,
)
from stock import services


class OrderApiTests(APITestCase):
    def setUp(self):
        self.client.force_authenticate(make_clerk())
        self.product, self.warehouse = make_product(), make_warehouse()
        self.customer = make_customer(discount_percent=10)

    def place(self, quantity=3):
        lines = [{"product": self.product.pk, "quantity": quantity, "price": "0.01"}]
        order = {
            "customer": self.customer.pk,
            "warehouse": self.warehouse.pk,
            "lines": lines,
        }
        return self.client.post("/api/orders/", order, format="json")

    def test_price_and_discount_are_ours_to_set(self):
        answer = self.place()
        self.assertEqual(answer.status_code, 201, answer.content)
        line = answer.json()["lines"][0]
        self.assertEqual(
            (line["price"], line["discount_percent"], line["net"]),
            ("10.00", "10.0", "27.00"),
        )

    def test_confirm_and_ship(self):
        services.receive(self.product, self.warehouse, 3)
        order = self.place().json()["id"]
        self.assertEqual(
            self.client.post(f"/api/orders/{order}/confirm/").json()["status"],
            "confirmed",
        )
        self.assertEqual(
            self.client.post(f"/api/orders/{order}/ship/").json()["status"], "shipped"
        )
        invoices = self.client.get(
            f"/api/invoices/?order__customer={self.customer.pk}"
        ).json()["results"]
        self.assertEqual([i["gross"] for i in invoices], ["32.13"])

    def test_a_broken_rule_is_a_conflict_with_its_reason(self):
        order = self.place().json()["id"]
        answer = self.client.post(f"/api/orders/{order}/confirm/")
        self.assertEqual(answer.status_code, 409)
        self.assertIn("3 wanted, 0 available", answer.json()["detail"])

    def test_an_order_of_nothing_is_refused(self):
        self.assertEqual(self.place(quantity=0).status_code, 400)

    def test_a_draft_can_be_changed_and_a_confirmed_order_cannot(self):
        order = self.place().json()["id"]
        lines = {"lines": [{"product": self.product.pk, "quantity": 1}]}
        changed = self.client.patch(f"/api/orders/{order}/", lines, format="json")
        self.assertEqual(changed.json()["net"], "9.00")
        services.receive(self.product, self.warehouse, 3)
        self.client.post(f"/api/orders/{order}/confirm/")
        self.assertEqual(
            self.client.patch(
                f"/api/orders/{order}/", lines, format="json"
            ).status_code,
            409,
        )

    def test_orders_are_never_deleted(self):
        order = make_order([])
        self.assertEqual(
            self.client.delete(f"/api/orders/{order.pk}/").status_code, 405
        )
