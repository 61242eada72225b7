from django.contrib import admin

from customers.models import Contact, Customer


class ContactInline(admin.TabularInline):
    model = Contact
    extra = 0


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):
    list_display = ["number", "name", "city", "country", "active"]
    list_filter = ["active", "country"]
    search_fields = ["number", "name", "vat_id"]
    inlines = [ContactInline]
