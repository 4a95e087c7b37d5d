import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("bots", "0017_held_secrets")]

    operations = [
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["bot", "-id"], name="event_by_bot"),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("state", "queued")),
                fields=["not_before", "id"],
                name="job_queued_by_time",
            ),
        ),
        # Each of these has an index that begins with the bot by now.
        migrations.AlterField(
            model_name="event",
            name="bot",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="events",
                to="bots.bot",
            ),
        ),
        migrations.AlterField(
            model_name="job",
            name="bot",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="jobs",
                to="bots.bot",
            ),
        ),
    ]
