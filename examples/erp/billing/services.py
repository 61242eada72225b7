"""Invoices are issued and paid here."""

from collections import defaultdict
from datetime import timedelta
from decimal import Decimal

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from billing.models import Invoice, InvoiceLine, NumberRange, Payment
from billing.tasks import mail_invoice
from core.errors import BusinessRuleError

CENT = Decimal("0.01")


@transaction.atomic
def issue_invoice(order):
    """Writes the invoice of a shipped order; it is mailed once this is committed."""
    today = timezone.localdate()
    lines = list(order.lines.select_related("product"))
    net = sum((line.net for line in lines), Decimal(0))
    tax = _tax(lines)
    invoice = Invoice.objects.create(
        number=_next_number(today.year),
        order=order,
        issued_on=today,
        due_on=today + timedelta(days=settings.INVOICE_PAYMENT_DAYS),
        net=net,
        tax=tax,
        gross=net + tax,
    )
    InvoiceLine.objects.bulk_create(
        InvoiceLine(
            invoice=invoice,
            text=str(line.product),
            quantity=line.quantity,
            net=line.net,
            tax_percent=line.product.tax_percent,
        )
        for line in lines
    )
    # Robust: an order is shipped although the broker is away; the next sweep mails the invoice.
    transaction.on_commit(lambda: mail_invoice.delay(invoice.pk), robust=True)
    return invoice


@transaction.atomic
def record_payment(invoice, amount, received_on, reference=""):
    """Books money; the invoice is paid when nothing is left to pay."""
    invoice = Invoice.objects.select_for_update().get(pk=invoice.pk)
    left = invoice.gross - (
        invoice.payments.aggregate(total=Sum("amount"))["total"] or 0
    )
    if not 0 < amount <= left:
        raise BusinessRuleError(
            f"{invoice.number}: {amount} cannot be booked, {left} is left to pay"
        )
    payment = Payment.objects.create(
        invoice=invoice, amount=amount, received_on=received_on, reference=reference
    )
    if amount == left:
        invoice.status = Invoice.Status.PAID
        invoice.save(update_fields=["status"])
    return payment


def _tax(lines):
    """Rounded once for each rate, as the tax office wants it."""
    by_rate = defaultdict(Decimal)
    for line in lines:
        by_rate[line.product.tax_percent] += line.net
    return sum(
        ((net * rate / 100).quantize(CENT) for rate, net in by_rate.items()), Decimal(0)
    )


def _next_number(year):
    NumberRange.objects.get_or_create(year=year)
    numbers = NumberRange.objects.select_for_update().get(year=year)
    numbers.last += 1
    numbers.save(update_fields=["last"])
    return f"INV-{year}-{numbers.last:06d}"
