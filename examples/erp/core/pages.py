"""The dashboard."""

from django.db.models import Count, F, Sum
from django.shortcuts import render

from billing.models import Invoice
from catalog.models import Product
from orders.models import Order
from stock.models import StockLevel


def dashboard(request):
    """What a visitor may know, and what the staff must know first thing in the morning."""
    context = {"products": Product.objects.filter(active=True).count()}
    if request.user.is_authenticated:
        open_invoices = Invoice.objects.open()
        context |= {
            "orders_by_status": Order.objects.values("status")
            .annotate(number=Count("id"))
            .order_by("status"),
            "recent_orders": Order.objects.select_related("customer").order_by(
                "-placed_at"
            )[:10],
            "short_of": StockLevel.objects.filter(
                on_hand__lt=F("reorder_at")
            ).select_related("product", "warehouse")[:10],
            "receivable": open_invoices.aggregate(total=Sum("gross"))["total"] or 0,
            "overdue": open_invoices.filter(status=Invoice.Status.OVERDUE).count(),
        }
    return render(request, "dashboard.html", context)
