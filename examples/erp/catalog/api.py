"""The API of the catalogue: public to read."""

from rest_framework import serializers, viewsets

from catalog.models import Category, Product
from core.api import ReadForAllWriteForStaff


class CategorySerializer(serializers.ModelSerializer):
    class Meta:
        model = Category
        fields = ["id", "name", "slug", "parent", "icon"]


class ProductSerializer(serializers.ModelSerializer):
    category_name = serializers.CharField(source="category.name", read_only=True)

    class Meta:
        model = Product
        fields = [
            "id",
            "sku",
            "name",
            "description",
            "category",
            "category_name",
            "unit",
            "price",
            "tax_percent",
            "active",
        ]


class CategoryViewSet(viewsets.ModelViewSet):
    queryset = Category.objects.all()
    serializer_class = CategorySerializer
    permission_classes = [ReadForAllWriteForStaff]
    filterset_fields = ["parent"]


class ProductViewSet(viewsets.ModelViewSet):
    queryset = Product.objects.select_related("category")
    serializer_class = ProductSerializer
    permission_classes = [ReadForAllWriteForStaff]
    filterset_fields = ["category", "category__slug", "active", "unit"]
    search_fields = ["sku", "name"]
    ordering_fields = ["sku", "name", "price"]
