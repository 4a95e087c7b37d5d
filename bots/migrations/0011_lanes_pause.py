"""Lanes that somebody pauses. Processes of the version before go on working on them: they know of
no pause."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("bots", "0010_labels_and_bulk_actions")]

    operations = [
        migrations.AddField(
            model_name="lane",
            name="paused_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="lane",
            name="paused_by",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
    ]
