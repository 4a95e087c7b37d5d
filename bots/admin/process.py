"""Processes: who works here, as their heartbeats tell."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import display

from bots.admin import looks
from bots.admin.base import ReadOnlyAdmin
from bots.models import Process
from bots.processes import ALIVE


@admin.register(Process)
class ProcessAdmin(ReadOnlyAdmin):
    list_display = ("name", "alive_shown", "seen_shown", "worked_shown", "held", "connections")
    ordering = ("name",)
    empty_hint = "No process has reported yet. Start `manage.py up`, or a worker."
    fieldsets = ((None, {"fields": ("name", "seen_shown", "worked_shown", "held", "connections")}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Process]:
        # They serve all bots and belong to none.
        return super(ModelAdmin, self).get_queryset(request)

    @display(description="State")
    def alive_shown(self, process: Process) -> str:
        if process.seen_at > timezone.now() - ALIVE:
            return looks.badge("alive", "success")
        return looks.badge("silent", "danger")

    @display(description="Last heartbeat")
    def seen_shown(self, process: Process) -> str:
        return looks.moment(process.seen_at)

    @display(description="Last ran tasks")
    def worked_shown(self, process: Process) -> str:
        return looks.moment(process.worked_at)
