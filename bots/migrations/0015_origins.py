"""What led to what: which turn of a handler asked for a job, which event told of a message. Of what
was there before it stays unknown. And what the list of jobs is narrowed down by."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("bots", "0014_job_groups")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="handler_run",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="jobs",
                to="bots.handlerrun",
            ),
        ),
        migrations.AddField(
            model_name="message",
            name="event",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="bots.event",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("error_code", ""), _negated=True),
                fields=["error_code", "-id"],
                name="job_by_error",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("kind", "message.post"), _negated=True),
                fields=["kind", "-id"],
                name="job_by_other_kind",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("handler_run__isnull", False)),
                fields=["handler_run"],
                name="job_by_handler_run",
            ),
        ),
    ]
