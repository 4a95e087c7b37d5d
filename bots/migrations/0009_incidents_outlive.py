"""Incidents outlive what they are about, so that it can be told that they closed; and who looks
learns whether somebody else changed them meanwhile."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("bots", "0008_incidents"),
        ("spaces", "0003_retention"),
    ]

    operations = [
        migrations.CreateModel(
            name="IncidentClock",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("changes", models.PositiveBigIntegerField(default=0)),
            ],
        ),
        migrations.AlterField(
            model_name="incident",
            name="bot",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="incidents",
                to="bots.bot",
            ),
        ),
        migrations.AlterField(
            model_name="incident",
            name="space",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="spaces.space",
            ),
        ),
        migrations.AlterField(
            model_name="incident",
            name="subscription",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="incidents",
                to="bots.subscription",
            ),
        ),
    ]
