"""Pages of orders."""

from django.contrib.auth.mixins import LoginRequiredMixin
from django.views.generic import DetailView, ListView

from orders.models import Order


class OrderList(LoginRequiredMixin, ListView):
    queryset = Order.objects.select_related("customer", "warehouse")
    template_name = "orders/list.html"
    paginate_by = 50


class OrderDetail(LoginRequiredMixin, DetailView):
    queryset = Order.objects.select_related("customer", "warehouse").prefetch_related(
        "lines__product"
    )
    template_name = "orders/detail.html"
