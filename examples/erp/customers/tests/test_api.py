from rest_framework.test import APITestCase

from core.tests.factories import make_clerk, make_customer


class CustomerApiTests(APITestCase):
    def test_strangers_see_nothing(self):
        self.assertIn(self.client.get("/api/customers/").status_code, [401, 403])

    def test_a_customer_is_made_and_found_with_its_contacts(self):
        self.client.force_authenticate(make_clerk())
        made = self.client.post(
            "/api/customers/",
            {"number": "C1", "name": "Quay & Sons", "billing_email": "q@example.com"},
        )
        self.assertEqual(made.status_code, 201, made.content)
        contact = {
            "customer": made.json()["id"],
            "name": "Ada Quay",
            "email": "ada@example.com",
        }
        self.assertEqual(self.client.post("/api/contacts/", contact).status_code, 201)
        found = self.client.get("/api/customers/?search=quay").json()["results"]
        self.assertEqual([c["name"] for c in found[0]["contacts"]], ["Ada Quay"])

    def test_a_number_is_given_once(self):
        self.client.force_authenticate(make_clerk())
        taken = make_customer().number
        answer = self.client.post(
            "/api/customers/",
            {"number": taken, "name": "Other", "billing_email": "o@example.com"},
        )
        self.assertEqual(answer.status_code, 400)
        self.assertIn("number", answer.json())

    def test_a_discount_has_a_ceiling(self):
        self.client.force_authenticate(make_clerk())
        answer = self.client.patch(
            f"/api/customers/{make_customer().pk}/", {"discount_percent": "51"}
        )
        self.assertEqual(answer.status_code, 400)
