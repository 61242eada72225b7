"""The public catalogue."""

from django.views.generic import DetailView, ListView

from catalog.models import Category, Product


class ProductList(ListView):
    template_name = "catalog/list.html"
    paginate_by = 50

    def get_queryset(self):
        products = Product.objects.filter(active=True).select_related("category")
        shelf = self.request.GET.get("category")
        return products.filter(category__slug=shelf) if shelf else products

    def get_context_data(self, **kwargs):
        return super().get_context_data(categories=Category.objects.all(), **kwargs)


class ProductDetail(DetailView):
    queryset = Product.objects.filter(active=True).select_related("category")
    template_name = "catalog/detail.html"
    slug_field = "sku"
    slug_url_kwarg = "sku"
