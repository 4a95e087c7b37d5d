"""Job groups: people added to or removed from many channels at once."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("bots", "0013_audit"),
        ("spaces", "0003_retention"),
    ]

    operations = [
        migrations.CreateModel(
            name="JobGroup",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("participants.add", "Add people"),
                            ("participants.remove", "Remove people"),
                        ],
                        max_length=30,
                    ),
                ),
                ("moderator", models.BooleanField(default=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("checking", "Checking"),
                            ("checked", "Checked"),
                            ("stopped", "Stopped"),
                            ("starting", "Starting"),
                            ("running", "Running"),
                            ("finished", "Finished"),
                        ],
                        default="checking",
                        max_length=10,
                    ),
                ),
                ("requested_by", models.CharField(max_length=200)),
                ("people_count", models.PositiveIntegerField()),
                ("channel_count", models.PositiveIntegerField()),
                ("failed_count", models.PositiveIntegerField(default=0)),
                ("figures", models.JSONField(default=list)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("checked_at", models.DateTimeField(null=True)),
                ("started_at", models.DateTimeField(null=True)),
                ("cancelled_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("tries", models.PositiveIntegerField(default=0)),
                ("error_code", models.CharField(blank=True, max_length=60)),
                ("error_detail", models.TextField(blank=True)),
                ("next_step", models.TextField(blank=True)),
                ("claimed_until", models.DateTimeField(null=True)),
                (
                    "bot",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="job_groups",
                        to="bots.bot",
                    ),
                ),
                (
                    "undoes",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="undone_by",
                        to="bots.jobgroup",
                    ),
                ),
            ],
            options={
                "verbose_name": "change of participants",
                "verbose_name_plural": "participants",
                "ordering": ["-pk"],
            },
        ),
        migrations.CreateModel(
            name="GroupPerson",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                ("asked", models.CharField(max_length=255)),
                (
                    "found",
                    models.SmallIntegerField(
                        choices=[
                            (0, "Unasked"),
                            (1, "Known"),
                            (2, "Nobody"),
                            (3, "Several"),
                            (4, "Double"),
                            (5, "Unaskable"),
                        ],
                        default=0,
                    ),
                ),
                ("detail", models.TextField(blank=True)),
                (
                    "person",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="spaces.person",
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="people",
                        to="bots.jobgroup",
                    ),
                ),
            ],
            options={
                "ordering": ["number"],
            },
        ),
        migrations.CreateModel(
            name="GroupItem",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "plan",
                    models.SmallIntegerField(
                        choices=[
                            (0, "ambiguous"),
                            (1, "not found"),
                            (2, "not possible"),
                            (3, "will be added"),
                            (4, "becomes moderator"),
                            (5, "will be removed"),
                            (6, "is there already"),
                            (7, "is not there"),
                        ]
                    ),
                ),
                (
                    "state",
                    models.SmallIntegerField(
                        choices=[
                            (0, "failed"),
                            (1, "waiting"),
                            (2, "planned"),
                            (3, "to decide"),
                            (4, "done"),
                            (5, "cancelled"),
                            (6, "left out"),
                            (7, "nothing to do"),
                        ]
                    ),
                ),
                ("moderator", models.BooleanField(default=False)),
                ("code", models.CharField(blank=True, max_length=60)),
                ("detail", models.TextField(blank=True)),
                (
                    "channel",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="spaces.channel",
                    ),
                ),
                (
                    "job",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="bots.job",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="bots.groupperson",
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="items",
                        to="bots.jobgroup",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.CreateModel(
            name="GroupChannel",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("is_read", models.BooleanField(default=False)),
                ("is_planned", models.BooleanField(default=False)),
                ("known_at", models.DateTimeField(null=True)),
                ("error_code", models.CharField(blank=True, max_length=60)),
                ("error_detail", models.TextField(blank=True)),
                (
                    "channel",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="spaces.channel",
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="channels",
                        to="bots.jobgroup",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.AddField(
            model_name="job",
            name="group",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="jobs",
                to="bots.jobgroup",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("group__isnull", False)),
                fields=["group", "id"],
                name="job_by_group",
            ),
        ),
        migrations.AddIndex(
            model_name="jobgroup",
            index=models.Index(
                condition=models.Q(("state__in", ["checking", "starting", "running"])),
                fields=["id"],
                name="job_group_open",
            ),
        ),
        migrations.AddIndex(
            model_name="groupperson",
            index=models.Index(fields=["group", "found", "number"], name="group_person_by_found"),
        ),
        migrations.AddConstraint(
            model_name="groupperson",
            constraint=models.UniqueConstraint(
                fields=("group", "number"), name="group_person_numbered_once"
            ),
        ),
        migrations.AddIndex(
            model_name="groupitem",
            index=models.Index(fields=["group", "plan", "id"], name="group_item_by_plan"),
        ),
        migrations.AddIndex(
            model_name="groupitem",
            index=models.Index(fields=["group", "state", "plan", "id"], name="group_item_by_state"),
        ),
        migrations.AddIndex(
            model_name="groupitem",
            index=models.Index(fields=["job", "state"], name="group_item_by_job"),
        ),
    ]
