from rest_framework.test import APITestCase

from catalog.models import Product
from core.tests.factories import make_clerk, make_product


class ProductApiTests(APITestCase):
    def names(self, query):
        rows = self.client.get(f"/api/products/?{query}").json()["results"]
        return [row["name"] for row in rows]

    def reprice(self, product, price):
        return self.client.patch(f"/api/products/{product.pk}/", {"price": price})

    def test_everybody_may_read(self):
        product = make_product()
        body = self.client.get("/api/products/").json()
        self.assertEqual(body["count"], 1)
        self.assertEqual(body["results"][0]["sku"], product.sku)
        self.assertEqual(body["results"][0]["category_name"], "Rigging")

    def test_an_empty_catalogue_is_no_error(self):
        self.assertEqual(self.client.get("/api/products/").json()["results"], [])

    def test_search_and_filter(self):
        make_product(name="Shackle")
        make_product(name="Rope", unit=Product.Unit.METRE)
        self.assertEqual(self.names("search=shack"), ["Shackle"])
        self.assertEqual(self.names("unit=m"), ["Rope"])

    def test_only_staff_may_write(self):
        product = make_product()
        self.assertIn(self.reprice(product, "12.50").status_code, [401, 403])
        self.client.force_authenticate(make_clerk())
        self.assertEqual(self.reprice(product, "12.50").status_code, 403)
        self.client.force_authenticate(make_clerk(is_staff=True))
        self.assertEqual(self.reprice(product, "12.50").status_code, 200)

    def test_a_price_must_be_positive(self):
        self.client.force_authenticate(make_clerk(is_staff=True))
        answer = self.reprice(make_product(), "0")
        self.assertEqual(answer.status_code, 400)
        self.assertIn("price", answer.json())
