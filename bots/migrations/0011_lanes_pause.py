from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("bots", "0010_labels_and_bulk_actions"),
    ]

    operations = []
