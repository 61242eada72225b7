from django.contrib import admin, messages

from core.errors import BusinessRuleError
from orders import services
from orders.models import Order, OrderLine


class OrderLineInline(admin.TabularInline):
    model = OrderLine
    extra = 0
    autocomplete_fields = ["product"]


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ["number", "customer", "warehouse", "status", "placed_at"]
    list_filter = ["status", "warehouse"]
    list_select_related = ["customer", "warehouse"]
    readonly_fields = ["status", "shipped_at"]
    autocomplete_fields = ["customer"]
    inlines = [OrderLineInline]
    actions = ["confirm", "ship"]

    @admin.action(description="Confirm the selected orders")
    def confirm(self, request, queryset):
        self._each(request, queryset, services.confirm)

    @admin.action(description="Ship the selected orders")
    def ship(self, request, queryset):
        self._each(request, queryset, services.ship)

    def _each(self, request, queryset, move):
        for order in queryset:
            try:
                move(order)
            except BusinessRuleError as error:
                self.message_user(request, str(error), messages.ERROR)
