from datetime import timedelta
from decimal import Decimal
from unittest import mock

from django.core import mail
from django.test import TestCase
from django.utils import timezone
from kombu.exceptions import OperationalError

from billing import services, tasks
from billing.models import Invoice
from core.errors import BusinessRuleError
from core.tests.factories import make_customer, make_order, make_product
from orders import services as orders


def make_invoice(*lines, **values):
    order = make_order(list(lines) or [(make_product(), 1)], **values)
    return orders.ship(orders.confirm(order)).invoice


class InvoiceTests(TestCase):
    def test_tax_is_rounded_once_for_each_rate(self):
        full, reduced = Decimal("19.0"), Decimal("7.0")
        lines = [
            (make_product(price=Decimal("0.33"), tax_percent=rate), 1)
            for rate in [full, full, full, reduced]
        ]
        invoice = make_invoice(*lines)
        self.assertEqual(
            (invoice.net, invoice.tax, invoice.gross),
            (Decimal("1.32"), Decimal("0.21"), Decimal("1.53")),
        )

    def test_numbers_have_no_gap(self):
        numbers = [make_invoice().number for _ in range(3)]
        year = timezone.localdate().year
        self.assertEqual(numbers, [f"INV-{year}-{n:06d}" for n in (1, 2, 3)])

    def test_lines_are_copies(self):
        product = make_product(name="Old name")
        invoice = make_invoice((product, 1))
        product.name = "New name"
        product.save()
        self.assertIn("Old name", invoice.lines.get().text)


class PaymentTests(TestCase):
    def setUp(self):
        self.invoice = make_invoice((make_product(price=Decimal("100")), 1))

    def pay(self, amount):
        return services.record_payment(
            self.invoice, Decimal(amount), timezone.localdate()
        )

    def test_parts_add_up_to_paid(self):
        self.pay("100")
        self.assertEqual(Invoice.objects.open().count(), 1)
        self.pay("19")
        self.assertEqual(Invoice.objects.get().status, Invoice.Status.PAID)
        self.assertEqual(Invoice.objects.open().count(), 0)

    def test_too_much_and_too_little_are_refused(self):
        for amount in ["119.01", "0", "-5"]:
            with self.assertRaisesMessage(BusinessRuleError, "119.00 is left to pay"):
                self.pay(amount)


class MailTests(TestCase):
    def test_shipping_mails_the_invoice_once(self):
        with self.captureOnCommitCallbacks(execute=True):
            invoice = make_invoice(
                customer=make_customer(billing_email="quay@example.com")
            )
        self.assertEqual(
            [(m.to, m.subject) for m in mail.outbox],
            [(["quay@example.com"], f"Invoice {invoice.number}")],
        )
        self.assertIn(f"Gross  {invoice.gross} EUR", mail.outbox[0].body)
        self.assertFalse(tasks.mail_invoice(invoice.pk))
        self.assertEqual(len(mail.outbox), 1)

    def test_the_order_is_shipped_although_the_broker_is_away_and_the_sweep_catches_up(
        self,
    ):
        away = mock.patch.object(
            tasks.mail_invoice, "delay", side_effect=OperationalError("broker is away")
        )
        with away, self.assertLogs("django", "ERROR"), self.captureOnCommitCallbacks(
            execute=True
        ):
            invoice = make_invoice()
        self.assertEqual(mail.outbox, [])
        self.assertEqual(tasks.mail_pending_invoices(), 1)
        self.assertEqual(len(mail.outbox), 1)
        invoice.refresh_from_db()
        self.assertIsNotNone(invoice.mailed_at)
        self.assertEqual(tasks.mail_pending_invoices(), 0)

    def test_a_mail_server_that_is_away_leaves_the_invoice_waiting(self):
        invoice = make_invoice()
        with mock.patch(
            "billing.tasks.EmailMessage.send", side_effect=ConnectionRefusedError
        ), self.assertRaises(ConnectionRefusedError):
            tasks.mail_invoice.apply(args=[invoice.pk], retries=5, throw=True)
        invoice.refresh_from_db()
        self.assertIsNone(invoice.mailed_at)


class OverdueTests(TestCase):
    def test_only_what_is_late_and_not_paid(self):
        late, paid, current = make_invoice(), make_invoice(), make_invoice()
        services.record_payment(paid, paid.gross, timezone.localdate())
        Invoice.objects.filter(pk__in=[late.pk, paid.pk]).update(
            due_on=timezone.localdate() - timedelta(days=1)
        )
        self.assertEqual(tasks.mark_overdue_invoices(), 1)
        statuses = dict(Invoice.objects.values_list("pk", "status"))
        self.assertEqual(
            [statuses[i.pk] for i in (late, paid, current)],
            ["overdue", "paid", "issued"],
        )
