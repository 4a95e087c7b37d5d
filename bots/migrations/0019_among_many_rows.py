"""Indexes for what pages ask of a few rows among many: a room's jobs about messages instead of all
its jobs, one message as all bots of a channel saw it, what failed beside all that was said.

In SQL, each statement for itself, as in the migration before.
"""

import django.db.models.deletion
from django.db import migrations, models

ABOUT_MESSAGES = [
    "message.post",
    "message.edit",
    "message.delete",
    "reaction.add",
    "reaction.remove",
    "message.pin",
    "message.unpin",
]


class Migration(migrations.Migration):
    atomic = False  # and again from the beginning after it was stopped

    dependencies = [("bots", "0018_what_pages_ask"), ("spaces", "0003_retention")]

    operations = [
        migrations.RunSQL(
            "CREATE INDEX IF NOT EXISTS job_open_about_messages "
            "ON bots_job (bot_id, channel_id, id DESC) WHERE NOT (state = 'succeeded') "
            f"AND kind IN ({', '.join(repr(kind) for kind in ABOUT_MESSAGES)})",
            "DROP INDEX IF EXISTS job_open_about_messages",
            state_operations=[
                migrations.AddIndex(
                    model_name="job",
                    index=models.Index(
                        condition=models.Q(
                            models.Q(("state", "succeeded"), _negated=True),
                            ("kind__in", ABOUT_MESSAGES),
                        ),
                        fields=["bot", "channel", "-id"],
                        name="job_open_about_messages",
                    ),
                ),
            ],
        ),
        migrations.RunSQL(
            "DROP INDEX IF EXISTS job_open_in_channel",
            "CREATE INDEX IF NOT EXISTS job_open_in_channel "
            "ON bots_job (bot_id, channel_id, id DESC) WHERE NOT (state = 'succeeded')",
            state_operations=[
                migrations.RemoveIndex(model_name="job", name="job_open_in_channel"),
            ],
        ),
        migrations.RunSQL(
            "CREATE INDEX IF NOT EXISTS message_in_channel ON bots_message (channel_id, remote_id)",
            "DROP INDEX IF EXISTS message_in_channel",
            state_operations=[
                migrations.AddIndex(
                    model_name="message",
                    index=models.Index(fields=["channel", "remote_id"], name="message_in_channel"),
                ),
            ],
        ),
        migrations.RunSQL(
            "DROP INDEX IF EXISTS bots_message_channel_id_3fbd9c6d",
            "CREATE INDEX IF NOT EXISTS bots_message_channel_id_3fbd9c6d "
            "ON bots_message (channel_id)",
            state_operations=[
                migrations.AlterField(
                    model_name="message",
                    name="channel",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="messages",
                        to="spaces.channel",
                    ),
                ),
            ],
        ),
        migrations.RunSQL(
            "CREATE INDEX IF NOT EXISTS tally_failed ON bots_tally (minutes, at) "
            "WHERE what = 'failed'",
            "DROP INDEX IF EXISTS tally_failed",
            state_operations=[
                migrations.AddIndex(
                    model_name="tally",
                    index=models.Index(
                        condition=models.Q(("what", "failed")),
                        fields=["minutes", "at"],
                        name="tally_failed",
                    ),
                ),
            ],
        ),
    ]
