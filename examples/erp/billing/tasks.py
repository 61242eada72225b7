"""What billing does in the background. A task may run twice: each looks first whether its work is done."""

import logging

from celery import shared_task
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import timezone

from billing.models import Invoice

log = logging.getLogger(__name__)


@shared_task(autoretry_for=(OSError,), retry_backoff=30, max_retries=5)
def mail_invoice(invoice_id):
    """Mails an invoice that was not yet mailed. The row is locked, so that two workers do not both send it."""
    with transaction.atomic():
        waiting = Invoice.objects.select_for_update().filter(
            pk=invoice_id, mailed_at__isnull=True
        )
        invoice = waiting.first()
        if invoice is None:
            return False
        customer = invoice.order.customer
        body = render_to_string(
            "billing/invoice_mail.txt", {"invoice": invoice, "customer": customer}
        )
        EmailMessage(
            f"Invoice {invoice.number}", body, to=[customer.billing_email]
        ).send()
        invoice.mailed_at = timezone.now()
        invoice.save(update_fields=["mailed_at"])
    log.info("invoice %s was mailed", invoice.number)
    return True


@shared_task
def mail_pending_invoices():
    """Catches up on invoices whose task was lost, as when the broker was away."""
    pending = list(
        Invoice.objects.filter(mailed_at__isnull=True)
        .order_by("pk")
        .values_list("pk", flat=True)[:500]
    )
    for invoice_id in pending:
        mail_invoice.delay(invoice_id)
    return len(pending)


@shared_task
def mark_overdue_invoices():
    """Every night: issued, past its day, not paid."""
    late = Invoice.objects.filter(
        status=Invoice.Status.ISSUED, due_on__lt=timezone.localdate()
    )
    number = late.update(status=Invoice.Status.OVERDUE)
    log.info("%d invoices became overdue", number)
    return number
