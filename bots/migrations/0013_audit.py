from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("bots", "0012_tallies"),
    ]

    operations = []
