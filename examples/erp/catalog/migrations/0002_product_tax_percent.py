from decimal import Decimal

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("catalog", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="product",
            name="tax_percent",
            field=models.DecimalField(
                decimal_places=1, default=Decimal("19.0"), max_digits=4
            ),
        ),
    ]
