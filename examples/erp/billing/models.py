"""Invoices, their lines and payments."""

from django.db import models

from orders.models import Order


class InvoiceQuerySet(models.QuerySet):
    def open(self):
        """Those that are not yet paid."""
        return self.exclude(status=Invoice.Status.PAID)


class Invoice(models.Model):
    """What was sent to the customer; its sums never change afterwards."""

    class Status(models.TextChoices):
        ISSUED = "issued"
        OVERDUE = "overdue"
        PAID = "paid"

    number = models.CharField(max_length=20, unique=True)
    order = models.OneToOneField(
        Order, on_delete=models.PROTECT, related_name="invoice"
    )
    status = models.CharField(
        max_length=10, choices=Status.choices, default=Status.ISSUED
    )
    issued_on = models.DateField()
    due_on = models.DateField()
    net = models.DecimalField(max_digits=12, decimal_places=2)
    tax = models.DecimalField(max_digits=12, decimal_places=2)
    gross = models.DecimalField(max_digits=12, decimal_places=2)
    mailed_at = models.DateTimeField(null=True, blank=True)

    objects = InvoiceQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        indexes = [
            models.Index(
                fields=["due_on"],
                name="invoice_open_due",
                condition=~models.Q(status="paid"),
            ),
            models.Index(
                fields=["id"],
                name="invoice_not_mailed",
                condition=models.Q(mailed_at__isnull=True),
            ),
        ]

    def __str__(self):
        return self.number


class InvoiceLine(models.Model):
    """A copy of an order line, so that a renamed product does not rewrite history."""

    invoice = models.ForeignKey(Invoice, on_delete=models.CASCADE, related_name="lines")
    text = models.CharField(max_length=250)
    quantity = models.PositiveIntegerField()
    net = models.DecimalField(max_digits=12, decimal_places=2)
    tax_percent = models.DecimalField(max_digits=4, decimal_places=1)

    class Meta:
        ordering = ["id"]

    def __str__(self):
        return self.text


class Payment(models.Model):
    """Money that came in for an invoice."""

    invoice = models.ForeignKey(
        Invoice, on_delete=models.PROTECT, related_name="payments"
    )
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    received_on = models.DateField()
    reference = models.CharField(max_length=60, blank=True)

    class Meta:
        ordering = ["received_on", "id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(amount__gt=0), name="payment_amount_positive"
            )
        ]

    def __str__(self):
        return f"{self.amount} for {self.invoice_id}"


class NumberRange(models.Model):
    """The last invoice number of a year: locked while one is taken, so that the numbers have no gap."""

    year = models.PositiveSmallIntegerField(primary_key=True)
    last = models.PositiveIntegerField(default=0)

    def __str__(self):
        return f"{self.year}: {self.last}"
