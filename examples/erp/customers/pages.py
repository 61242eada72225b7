"""Pages of customers."""

from django.contrib.auth.mixins import LoginRequiredMixin
from django.views.generic import DetailView, ListView

from customers.models import Customer


class CustomerList(LoginRequiredMixin, ListView):
    queryset = Customer.objects.filter(active=True)
    template_name = "customers/list.html"
    paginate_by = 50


class CustomerDetail(LoginRequiredMixin, DetailView):
    queryset = Customer.objects.prefetch_related("contacts", "orders")
    template_name = "customers/detail.html"
