from django.contrib import admin

from billing.models import Invoice, InvoiceLine, Payment


class InvoiceLineInline(admin.TabularInline):
    model = InvoiceLine
    extra = 0
    can_delete = False
    readonly_fields = ["text", "quantity", "net", "tax_percent"]


@admin.register(Invoice)
class InvoiceAdmin(admin.ModelAdmin):
    list_display = [
        "number",
        "order",
        "status",
        "issued_on",
        "due_on",
        "gross",
        "mailed_at",
    ]
    list_filter = ["status"]
    search_fields = ["number", "order__customer__name"]
    date_hierarchy = "issued_on"
    readonly_fields = [
        "number",
        "order",
        "issued_on",
        "net",
        "tax",
        "gross",
        "mailed_at",
    ]
    inlines = [InvoiceLineInline]

    def has_add_permission(self, request):
        return False


@admin.register(Payment)
class PaymentAdmin(admin.ModelAdmin):
    list_display = ["invoice", "amount", "received_on", "reference"]
