from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("bots", "0011_lanes_pause"),
    ]

    operations = []
