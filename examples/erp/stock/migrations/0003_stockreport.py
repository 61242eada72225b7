from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("stock", "0002_reorder_level"),
    ]

    operations = [
        migrations.CreateModel(
            name="StockReport",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("day", models.DateField(unique=True)),
                ("products", models.PositiveIntegerField()),
                ("value", models.DecimalField(decimal_places=2, max_digits=14)),
                ("shortages", models.JSONField(default=list)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["-day"],
            },
        ),
    ]
