from django.db import migrations
from django.db.models import F


def mark(apps, schema_editor):
    """Invoices from before the mail task were sent by post: they must not be mailed now."""
    apps.get_model("billing", "Invoice").objects.filter(mailed_at__isnull=True).update(
        mailed_at=F("issued_on")
    )


class Migration(migrations.Migration):
    dependencies = [("billing", "0003_invoice_mailed_at")]

    operations = [migrations.RunPython(mark, migrations.RunPython.noop)]
