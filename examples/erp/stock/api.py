"""The API of the stock. Levels are changed by movements only."""

from rest_framework import mixins, serializers, viewsets

from stock import services
from stock.models import StockLevel, StockMovement, Warehouse


class WarehouseSerializer(serializers.ModelSerializer):
    class Meta:
        model = Warehouse
        fields = ["id", "code", "name", "city"]


class StockLevelSerializer(serializers.ModelSerializer):
    sku = serializers.CharField(source="product.sku", read_only=True)

    class Meta:
        model = StockLevel
        fields = [
            "id",
            "product",
            "sku",
            "warehouse",
            "on_hand",
            "reserved",
            "available",
            "reorder_at",
        ]


class StockMovementSerializer(serializers.ModelSerializer):
    class Meta:
        model = StockMovement
        fields = [
            "id",
            "product",
            "warehouse",
            "kind",
            "quantity",
            "reference",
            "moved_at",
        ]
        read_only_fields = ["kind", "moved_at"]


class WarehouseViewSet(viewsets.ModelViewSet):
    queryset = Warehouse.objects.all()
    serializer_class = WarehouseSerializer


class StockLevelViewSet(viewsets.ReadOnlyModelViewSet):
    queryset = StockLevel.objects.select_related("product", "warehouse")
    serializer_class = StockLevelSerializer
    filterset_fields = ["product", "product__sku", "warehouse"]


class StockMovementViewSet(mixins.CreateModelMixin, viewsets.ReadOnlyModelViewSet):
    """Posting a movement is a receipt of goods; shipments are booked by orders."""

    queryset = StockMovement.objects.all()
    serializer_class = StockMovementSerializer
    filterset_fields = ["product", "warehouse", "kind"]

    def perform_create(self, serializer):
        data = serializer.validated_data
        level = services.receive(
            data["product"],
            data["warehouse"],
            data["quantity"],
            data.get("reference", ""),
        )
        serializer.instance = level.product.movements.filter(
            warehouse=level.warehouse
        ).first()
