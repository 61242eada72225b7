from django.db import connection
from django.utils import timezone
from rest_framework.test import APITestCase

from core.tests.factories import make_clerk, make_customer
from customers.models import Customer


class LoyaltyTests(APITestCase):
    def setUp(self):
        clerk = make_clerk()
        self.client.force_authenticate(clerk)
        self.client.force_login(clerk)

    def test_a_tier_is_given_and_shown(self):
        path = f"/api/customers/{make_customer().pk}/"
        self.assertEqual(self.client.get(path).json()["loyalty_tier"], "standard")
        self.assertEqual(
            self.client.patch(path, {"loyalty_tier": "gold"}).status_code, 200
        )
        self.assertContains(self.client.get(path.removeprefix("/api")), "Gold")
        self.assertEqual(
            self.client.get("/api/customers/?loyalty_tier=gold").json()["count"], 1
        )

    def test_the_release_before_this_one_can_still_add_customers(self):
        """Version 1.0 names no tier in its INSERT while it drains beside this one."""
        columns = {
            "number": "C1",
            "name": "Old",
            "vat_id": "",
            "street": "",
            "postcode": "",
            "city": "",
            "country": "DE",
            "billing_email": "old@example.com",
            "discount_percent": 0,
            "active": True,
            "created_at": timezone.now(),
        }
        names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO customers_customer ({names}) VALUES ({marks})",
                list(columns.values()),
            )
        self.assertEqual(Customer.objects.get().loyalty_tier, Customer.Tier.STANDARD)
