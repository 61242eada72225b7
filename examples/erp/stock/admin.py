from django.contrib import admin

from stock.models import StockLevel, StockMovement, StockReport, Warehouse

admin.site.register(Warehouse)


@admin.register(StockLevel)
class StockLevelAdmin(admin.ModelAdmin):
    list_display = ["product", "warehouse", "on_hand", "reserved", "reorder_at"]
    list_filter = ["warehouse"]
    search_fields = ["product__sku", "product__name"]
    readonly_fields = ["on_hand", "reserved"]


@admin.register(StockMovement)
class StockMovementAdmin(admin.ModelAdmin):
    list_display = ["moved_at", "kind", "product", "warehouse", "quantity", "reference"]
    list_filter = ["kind", "warehouse"]
    date_hierarchy = "moved_at"

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False


@admin.register(StockReport)
class StockReportAdmin(admin.ModelAdmin):
    list_display = ["day", "products", "value"]
