"""The nightly stock report."""

import logging

from celery import shared_task
from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import DecimalField, ExpressionWrapper, F, Sum
from django.utils import timezone

from stock.models import StockLevel, StockReport

SPREADSHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

log = logging.getLogger(__name__)


@shared_task
def nightly_stock_report():
    """Counts, values and mails the stock; a second run on the same day changes nothing."""
    today = timezone.localdate()
    levels = StockLevel.objects.select_related("product", "warehouse")
    worth = ExpressionWrapper(
        F("on_hand") * F("product__price"),
        output_field=DecimalField(max_digits=14, decimal_places=2),
    )
    shortages = [
        {
            "sku": level.product.sku,
            "warehouse": level.warehouse.code,
            "on_hand": level.on_hand,
            "reorder_at": level.reorder_at,
        }
        for level in levels.filter(on_hand__lt=F("reorder_at"))
    ]
    report, created = StockReport.objects.get_or_create(
        day=today,
        defaults={
            "products": levels.values("product").distinct().count(),
            "value": levels.aggregate(total=Sum(worth))["total"] or 0,
            "shortages": shortages,
        },
    )
    if created:
        mail_report(report, levels)
    log.info(
        "stock report of %s: %d products, %d shortages",
        today,
        report.products,
        len(report.shortages),
    )
    return report.pk


def mail_report(report, levels):
    """Sends the report with a spreadsheet of all levels."""
    text = (
        f"Stock on {report.day}: {report.products} products worth {report.value} EUR, "
        f"{len(report.shortages)} below their reorder level."
    )
    mail = EmailMessage(
        f"Stock report {report.day}", text, to=settings.STOCK_REPORT_RECIPIENTS
    )
    mail.attach(f"stock-{report.day}.xlsx", spreadsheet(levels), SPREADSHEET)
    mail.send()


def spreadsheet(levels):
    """All levels as the bytes of an .xlsx file."""
    from io import BytesIO

    from openpyxl import (
        Workbook,  # Here, because only this task needs it and it is slow to import.
    )

    book = Workbook(write_only=True)
    sheet = book.create_sheet("Stock")
    sheet.append(["SKU", "Product", "Warehouse", "On hand", "Reserved", "Reorder at"])
    for level in levels:
        sheet.append(
            [
                level.product.sku,
                level.product.name,
                level.warehouse.code,
                level.on_hand,
                level.reserved,
                level.reorder_at,
            ]
        )
    data = BytesIO()
    book.save(data)
    return data.getvalue()
