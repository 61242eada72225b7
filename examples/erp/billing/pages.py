"""Pages of invoices."""

from django.contrib.auth.mixins import LoginRequiredMixin
from django.views.generic import DetailView, ListView

from billing.models import Invoice


class InvoiceList(LoginRequiredMixin, ListView):
    queryset = Invoice.objects.select_related("order__customer")
    template_name = "billing/list.html"
    paginate_by = 50


class InvoiceDetail(LoginRequiredMixin, DetailView):
    queryset = Invoice.objects.select_related("order__customer").prefetch_related(
        "lines", "payments"
    )
    template_name = "billing/detail.html"
