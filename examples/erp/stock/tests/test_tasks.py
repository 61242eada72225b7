from datetime import date
from decimal import Decimal
from io import BytesIO

from django.core import mail
from django.test import TestCase
from openpyxl import load_workbook

from core.tests.factories import make_product, make_warehouse
from stock import services
from stock.models import StockLevel, StockReport
from stock.tasks import nightly_stock_report


class StockReportTests(TestCase):
    def setUp(self):
        warehouse = make_warehouse()
        self.short = make_product(price=Decimal("2.50"))
        services.receive(self.short, warehouse, 4)
        services.receive(make_product(price=Decimal("10.00")), warehouse, 1)
        StockLevel.objects.filter(product=self.short).update(reorder_at=5)

    def test_counts_values_and_mails(self):
        nightly_stock_report()
        report = StockReport.objects.get()
        self.assertEqual((report.products, report.value), (2, Decimal("20.00")))
        self.assertEqual([row["sku"] for row in report.shortages], [self.short.sku])
        name, data, _ = mail.outbox[0].attachments[0]
        self.assertEqual(name, f"stock-{report.day}.xlsx")
        rows = list(load_workbook(BytesIO(data)).active.values)
        self.assertEqual(len(rows), 3)

    def test_a_second_run_on_the_same_day_mails_nothing(self):
        self.assertEqual(nightly_stock_report(), nightly_stock_report())
        self.assertEqual(len(mail.outbox), 1)

    def test_an_empty_house_is_worth_nothing(self):
        StockLevel.objects.all().delete()
        nightly_stock_report()
        self.assertEqual(StockReport.objects.get().value, 0)
        self.assertIsInstance(StockReport.objects.get().day, date)
