from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("billing", "0002_payment"),
        ("orders", "0002_customer_reference_and_shipped_check"),
    ]

    operations = [
        migrations.AddField(
            model_name="invoice",
            name="mailed_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name="invoice",
            index=models.Index(
                condition=models.Q(("mailed_at__isnull", True)),
                fields=["id"],
                name="invoice_not_mailed",
            ),
        ),
    ]
