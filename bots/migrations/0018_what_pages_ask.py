"""Indexes for what pages ask, instead of those that Django makes for a bot's events and jobs.

In SQL, each statement for itself: workers write jobs and then events, and whoever holds locks on
both tables, or on that of the bots as Django does to alter a field, meets them in a deadlock.
"""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # and again from the beginning after it was stopped

    dependencies = [("bots", "0017_held_secrets")]

    operations = [
        migrations.RunSQL(
            "CREATE INDEX IF NOT EXISTS event_by_bot ON bots_event (bot_id, id DESC)",
            "DROP INDEX IF EXISTS event_by_bot",
            state_operations=[
                migrations.AddIndex(
                    model_name="event",
                    index=models.Index(fields=["bot", "-id"], name="event_by_bot"),
                ),
            ],
        ),
        migrations.RunSQL(
            "CREATE INDEX IF NOT EXISTS job_queued_by_time ON bots_job (not_before, id) "
            "WHERE state = 'queued'",
            "DROP INDEX IF EXISTS job_queued_by_time",
            state_operations=[
                migrations.AddIndex(
                    model_name="job",
                    index=models.Index(
                        condition=models.Q(("state", "queued")),
                        fields=["not_before", "id"],
                        name="job_queued_by_time",
                    ),
                ),
            ],
        ),
        # Each of these has an index that begins with the bot by now.
        migrations.RunSQL(
            "DROP INDEX IF EXISTS bots_event_bot_id_7db5e7bf",
            "CREATE INDEX IF NOT EXISTS bots_event_bot_id_7db5e7bf ON bots_event (bot_id)",
            state_operations=[
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
            ],
        ),
        migrations.RunSQL(
            "DROP INDEX IF EXISTS bots_job_bot_id_a73fba75",
            "CREATE INDEX IF NOT EXISTS bots_job_bot_id_a73fba75 ON bots_job (bot_id)",
            state_operations=[
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
            ],
        ),
    ]
