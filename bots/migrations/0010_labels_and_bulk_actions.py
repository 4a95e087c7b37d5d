from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("bots", "0009_incidents_outlive"),
    ]

    operations = []
