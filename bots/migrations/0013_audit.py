import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("bots", "0012_tallies"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("actor_label", models.CharField(max_length=200, verbose_name="who")),
                ("actor_key", models.CharField(max_length=200)),
                (
                    "door",
                    models.CharField(
                        choices=[
                            ("admin", "Admin"),
                            ("api", "REST API"),
                            ("command", "Command line"),
                            ("botadmin", "botadmin itself"),
                        ],
                        max_length=10,
                    ),
                ),
                ("action", models.CharField(max_length=60, verbose_name="what")),
                ("kind", models.CharField(max_length=40, verbose_name="kind of object")),
                ("object_id", models.CharField(max_length=40)),
                ("label", models.CharField(max_length=200, verbose_name="object")),
                ("changes", models.JSONField(default=list)),
                ("note", models.TextField(blank=True)),
                (
                    "bot",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="bots.bot",
                    ),
                ),
            ],
            options={
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit log",
                "ordering": ["-pk"],
                "indexes": [
                    models.Index(fields=["kind", "object_id", "-id"], name="audit_by_object"),
                    models.Index(fields=["bot", "-id"], name="audit_by_bot"),
                    models.Index(fields=["actor_key", "-id"], name="audit_by_actor"),
                    models.Index(fields=["actor_label", "-id"], name="audit_by_name"),
                    models.Index(fields=["action", "-id"], name="audit_by_action"),
                    models.Index(fields=["at"], name="audit_by_time"),
                ],
            },
        ),
    ]
