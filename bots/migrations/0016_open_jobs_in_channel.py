from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("bots", "0015_origins"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("state", "succeeded"), _negated=True),
                fields=["bot", "channel", "-id"],
                name="job_open_in_channel",
            ),
        ),
    ]
