"""The API of orders."""

from django.db import transaction
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from core.errors import BusinessRuleError
from orders import services
from orders.models import Order, OrderLine


class OrderLineSerializer(serializers.ModelSerializer):
    net = serializers.DecimalField(max_digits=12, decimal_places=2, read_only=True)

    class Meta:
        model = OrderLine
        fields = ["id", "product", "quantity", "price", "discount_percent", "net"]
        read_only_fields = ["price", "discount_percent"]


class OrderSerializer(serializers.ModelSerializer):
    lines = OrderLineSerializer(many=True)
    net = serializers.DecimalField(max_digits=12, decimal_places=2, read_only=True)

    class Meta:
        model = Order
        fields = [
            "id",
            "number",
            "customer",
            "warehouse",
            "status",
            "customer_reference",
            "placed_at",
            "shipped_at",
            "net",
            "lines",
        ]
        read_only_fields = ["status", "placed_at", "shipped_at"]

    @transaction.atomic
    def create(self, validated):
        lines = validated.pop("lines")
        order = Order.objects.create(**validated)
        self._write(order, lines)
        return order

    @transaction.atomic
    def update(self, order, validated):
        if order.status != Order.Status.DRAFT:
            raise BusinessRuleError(
                f"{order.number} is {order.status}: only a draft can be changed"
            )
        lines = validated.pop("lines", None)
        order = super().update(order, validated)
        if lines is not None:
            order.lines.all().delete()
            self._write(order, lines)
        return order

    @staticmethod
    def _write(order, lines):
        """Price and discount are those of today: the client does not choose them."""
        discount = order.customer.discount_percent
        OrderLine.objects.bulk_create(
            OrderLine(
                order=order,
                price=line["product"].price,
                discount_percent=discount,
                **line,
            )
            for line in lines
        )


class OrderViewSet(viewsets.ModelViewSet):
    queryset = Order.objects.select_related("customer").prefetch_related("lines")
    serializer_class = OrderSerializer
    filterset_fields = ["status", "customer", "warehouse"]
    ordering_fields = ["placed_at"]
    http_method_names = ["get", "post", "put", "patch", "head", "options"]

    @action(detail=True, methods=["post"])
    def confirm(self, request, pk=None):
        return self._moved(services.confirm(self.get_object()))

    @action(detail=True, methods=["post"])
    def ship(self, request, pk=None):
        return self._moved(services.ship(self.get_object()))

    @action(detail=True, methods=["post"])
    def cancel(self, request, pk=None):
        return self._moved(services.cancel(self.get_object()))

    def _moved(self, order):
        return Response(self.get_serializer(order).data)
