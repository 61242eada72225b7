"""All URLs: health, pages, API, admin."""

from django.contrib import admin
from django.contrib.auth import views as auth_views
from django.urls import include, path
from rest_framework.routers import DefaultRouter

from billing.api import InvoiceViewSet, PaymentViewSet
from billing.pages import InvoiceDetail, InvoiceList
from catalog.api import CategoryViewSet, ProductViewSet
from catalog.pages import ProductDetail, ProductList
from core import health
from core.pages import dashboard
from customers.api import ContactViewSet, CustomerViewSet
from customers.pages import CustomerDetail, CustomerList
from orders.api import OrderViewSet
from orders.pages import OrderDetail, OrderList
from stock.api import StockLevelViewSet, StockMovementViewSet, WarehouseViewSet

api = DefaultRouter()
api.register("categories", CategoryViewSet)
api.register("products", ProductViewSet)
api.register("customers", CustomerViewSet)
api.register("contacts", ContactViewSet)
api.register("warehouses", WarehouseViewSet)
api.register("stock-levels", StockLevelViewSet)
api.register("stock-movements", StockMovementViewSet)
api.register("orders", OrderViewSet)
api.register("invoices", InvoiceViewSet)
api.register("payments", PaymentViewSet)

urlpatterns = [
    path("healthz", health.live, name="live"),
    path("readyz", health.ready, name="ready"),
    path("", include("django_prometheus.urls")),
    path("", dashboard, name="dashboard"),
    path("catalogue/", ProductList.as_view(), name="product-list-page"),
    path("catalogue/<slug:sku>/", ProductDetail.as_view(), name="product-page"),
    path("customers/", CustomerList.as_view(), name="customer-list-page"),
    path("customers/<int:pk>/", CustomerDetail.as_view(), name="customer-page"),
    path("orders/", OrderList.as_view(), name="order-list-page"),
    path("orders/<int:pk>/", OrderDetail.as_view(), name="order-page"),
    path("invoices/", InvoiceList.as_view(), name="invoice-list-page"),
    path("invoices/<int:pk>/", InvoiceDetail.as_view(), name="invoice-page"),
    path(
        "login/", auth_views.LoginView.as_view(template_name="login.html"), name="login"
    ),
    path("logout/", auth_views.LogoutView.as_view(), name="logout"),
    path("api/", include(api.urls)),
    path("admin/", admin.site.urls),
]
