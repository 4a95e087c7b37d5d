"""Events that were stored before there were numbers get theirs first, in the order of their ids."""

from typing import Any

from django.apps.registry import Apps
from django.db import connection, migrations, transaction
from django.db.models import Max

BATCH = 10_000


def begin(apps: Apps, schema_editor: Any) -> None:
    last = apps.get_model("bots", "Event").objects.aggregate(last=Max("pk"))["last"] or 0
    for start in range(0, last, BATCH):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO bots_unnumbered (event_id) SELECT id FROM bots_event"
                " WHERE id > %s AND id <= %s AND NOT EXISTS (SELECT 1 FROM bots_sequenceentry"
                " WHERE event_id = bots_event.id) ON CONFLICT DO NOTHING",
                [start, start + BATCH],
            )


class Migration(migrations.Migration):
    atomic = False  # in batches, and again from the beginning after it was stopped

    dependencies = [
        ("bots", "0006_events_out"),
    ]

    operations = [migrations.RunPython(begin, migrations.RunPython.noop)]
