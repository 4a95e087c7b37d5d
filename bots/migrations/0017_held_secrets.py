from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("bots", "0016_open_jobs_in_channel")]

    operations = [
        migrations.CreateModel(
            name="HeldSecret",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("token", models.CharField(max_length=43, unique=True)),
                ("value", models.TextField(editable=False)),
                ("until", models.DateTimeField()),
            ],
            options={
                "indexes": [models.Index(fields=["until"], name="held_secret_until")],
            },
        ),
    ]
