from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("customers", "0002_customer_discount"),
        ("orders", "0001_initial"),
        ("stock", "0003_stockreport"),
    ]

    operations = [
        migrations.AddField(
            model_name="order",
            name="customer_reference",
            field=models.CharField(blank=True, max_length=60),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("shipped_at__isnull", False), ("status", "shipped")),
                    models.Q(
                        models.Q(("status", "shipped"), _negated=True),
                        ("shipped_at__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="order_shipped_has_time",
            ),
        ),
    ]
