from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("bots", "0011_lanes_pause"),
    ]

    operations = [
        migrations.CreateModel(
            name="TallyClock",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("position", models.PositiveBigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="Tally",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("bot_id", models.BigIntegerField()),
                (
                    "minutes",
                    models.PositiveSmallIntegerField(choices=[(5, "Few"), (30, "Many")]),
                ),
                ("at", models.DateTimeField()),
                (
                    "what",
                    models.CharField(
                        choices=[("heard", "Heard"), ("sent", "Sent"), ("failed", "Failed")],
                        max_length=10,
                    ),
                ),
                ("code", models.CharField(blank=True, default="", max_length=60)),
                ("count", models.PositiveIntegerField()),
            ],
            options={
                "verbose_name_plural": "tallies",
                "indexes": [models.Index(fields=["minutes", "at"], name="tally_by_time")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("bot_id", "minutes", "at", "what", "code"), name="tally_once"
                    )
                ],
            },
        ),
    ]
