"""The API of customers and contacts."""

from rest_framework import serializers, viewsets

from customers.models import Contact, Customer


class ContactSerializer(serializers.ModelSerializer):
    class Meta:
        model = Contact
        fields = ["id", "customer", "name", "role", "email", "phone"]


class CustomerSerializer(serializers.ModelSerializer):
    contacts = ContactSerializer(many=True, read_only=True)

    class Meta:
        model = Customer
        fields = [
            "id",
            "number",
            "name",
            "vat_id",
            "street",
            "postcode",
            "city",
            "country",
            "billing_email",
            "discount_percent",
            "loyalty_tier",
            "active",
            "contacts",
        ]


class CustomerViewSet(viewsets.ModelViewSet):
    queryset = Customer.objects.prefetch_related("contacts")
    serializer_class = CustomerSerializer
    filterset_fields = ["active", "country", "city", "loyalty_tier"]
    search_fields = ["number", "name"]


class ContactViewSet(viewsets.ModelViewSet):
    queryset = Contact.objects.all()
    serializer_class = ContactSerializer
    filterset_fields = ["customer"]
