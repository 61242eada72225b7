from django.test import TestCase

from config.version import VERSION
from core.tests.factories import make_clerk, make_customer, make_order, make_product
from orders import services


class PageTests(TestCase):
    def test_the_dashboard_is_public_but_shows_no_business_figures(self):
        make_product()
        response = self.client.get("/")
        self.assertContains(response, "Products<b>1</b>")
        self.assertContains(response, f"ERP {VERSION}")
        self.assertNotContains(response, "Receivable")

    def test_the_catalogue_is_public_and_hides_what_is_not_sold(self):
        shown, hidden = make_product(), make_product(active=False)
        response = self.client.get("/catalogue/?category=rigging")
        self.assertContains(response, shown.name)
        self.assertNotContains(response, hidden.name)
        self.assertEqual(self.client.get(f"/catalogue/{shown.sku}/").status_code, 200)
        self.assertEqual(self.client.get(f"/catalogue/{hidden.sku}/").status_code, 404)

    def test_business_pages_ask_for_a_login(self):
        for path in ["/customers/", "/orders/", "/invoices/"]:
            self.assertRedirects(self.client.get(path), f"/login/?next={path}")

    def test_a_clerk_sees_everything(self):
        customer = make_customer()
        order = make_order([(make_product(), 3)], customer)
        services.ship(services.confirm(order))
        self.client.force_login(make_clerk())
        self.assertContains(self.client.get("/"), "35.70")
        self.assertContains(self.client.get("/customers/"), customer.name)
        self.assertContains(self.client.get(f"/customers/{customer.pk}/"), order.number)
        self.assertContains(
            self.client.get(f"/orders/{order.pk}/"), order.invoice.number
        )
        self.assertContains(self.client.get("/invoices/"), order.invoice.number)
        self.assertContains(self.client.get(f"/invoices/{order.invoice.pk}/"), "5.70")

    def test_the_page_of_an_order_without_an_invoice(self):
        self.client.force_login(make_clerk())
        order = make_order([(make_product(), 1)])
        self.assertNotContains(self.client.get(f"/orders/{order.pk}/"), "INV-")

    def test_the_admin_lists_every_model(self):
        services.ship(services.confirm(make_order([(make_product(), 1)])))
        self.client.force_login(make_clerk(is_staff=True, is_superuser=True))
        for path in [
            "customers/customer",
            "catalog/category",
            "catalog/product",
            "stock/warehouse",
            "stock/stocklevel",
            "stock/stockmovement",
            "stock/stockreport",
            "orders/order",
            "billing/invoice",
            "billing/payment",
        ]:
            self.assertEqual(self.client.get(f"/admin/{path}/").status_code, 200, path)
