"""The API of invoices and payments."""

from rest_framework import mixins, serializers, viewsets

from billing import services
from billing.models import Invoice, InvoiceLine, Payment


class InvoiceLineSerializer(serializers.ModelSerializer):
    class Meta:
        model = InvoiceLine
        fields = ["text", "quantity", "net", "tax_percent"]


class InvoiceSerializer(serializers.ModelSerializer):
    lines = InvoiceLineSerializer(many=True, read_only=True)

    class Meta:
        model = Invoice
        fields = [
            "id",
            "number",
            "order",
            "status",
            "issued_on",
            "due_on",
            "net",
            "tax",
            "gross",
            "mailed_at",
            "lines",
        ]


class PaymentSerializer(serializers.ModelSerializer):
    class Meta:
        model = Payment
        fields = ["id", "invoice", "amount", "received_on", "reference"]


class InvoiceViewSet(viewsets.ReadOnlyModelViewSet):
    """Read-only: an invoice comes into being when its order is shipped."""

    queryset = Invoice.objects.prefetch_related("lines")
    serializer_class = InvoiceSerializer
    filterset_fields = {
        "status": ["exact"],
        "due_on": ["lt", "gte"],
        "order__customer": ["exact"],
    }
    search_fields = ["number"]


class PaymentViewSet(mixins.CreateModelMixin, viewsets.ReadOnlyModelViewSet):
    queryset = Payment.objects.all()
    serializer_class = PaymentSerializer
    filterset_fields = ["invoice"]

    def perform_create(self, serializer):
        serializer.instance = services.record_payment(**serializer.validated_data)
