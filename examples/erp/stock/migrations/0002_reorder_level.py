from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("catalog", "0003_category_icon_and_price_check"),
        ("stock", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="stocklevel",
            name="reorder_at",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddIndex(
            model_name="stockmovement",
            index=models.Index(
                fields=["product", "moved_at"], name="movement_product_time"
            ),
        ),
    ]
