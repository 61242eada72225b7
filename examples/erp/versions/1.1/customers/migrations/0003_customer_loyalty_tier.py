from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("customers", "0002_customer_discount"),
    ]

    operations = [
        migrations.AddField(
            model_name="customer",
            name="loyalty_tier",
            field=models.CharField(
                choices=[
                    ("standard", "Standard"),
                    ("silver", "Silver"),
                    ("gold", "Gold"),
                ],
                db_default="standard",
                default="standard",
                max_length=10,
            ),
        ),
    ]
