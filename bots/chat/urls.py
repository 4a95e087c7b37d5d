"""The addresses of the chat page. All want a login, as the admin does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.urls import URLPattern
from django.urls import path as plain_path

from bots.chat import message_views, talk_views, views


def path(route: str, view: Callable[..., Any], name: str) -> URLPattern:
    return plain_path(route, admin.site.admin_view(view), name=name)


app_name = "chat"
BOT = "<slug:slug>/"
ROOM = f"{BOT}<int:room_id>/"
MESSAGE = f"{ROOM}message/<int:message_id>/"

urlpatterns = [
    path("", views.choose, "choose"),
    path(BOT, views.rooms_page, "rooms"),
    path(f"{BOT}rooms/", views.rooms_piece, "rooms_piece"),
    path(f"{BOT}state/", views.state_piece, "state_piece"),
    path(ROOM, views.room_page, "room"),
    path(f"{ROOM}log/", views.log, "log"),
    path(f"{ROOM}say/", talk_views.say, "say"),
    path(f"{ROOM}preview/", talk_views.preview, "preview"),
    path(f"{ROOM}older/", talk_views.read_older, "older"),
    path(f"{ROOM}pinned/", message_views.pinned_sheet, "pinned"),
    path(f"{ROOM}job/<int:job_id>/<slug:name>/", talk_views.steer, "steer"),
    path(MESSAGE, message_views.sheet, "message"),
    path(f"{MESSAGE}file/<int:number>/", message_views.file, "file"),
    path(f"{MESSAGE}image/<int:number>/", message_views.image, "image"),
    path(f"{MESSAGE}<slug:name>/", message_views.act, "act"),
    path(f"{ROOM}<int:thread_id>/", views.thread_page, "thread"),
    path(f"{ROOM}<int:thread_id>/log/", views.log, "thread_log"),
    path(f"{ROOM}<int:thread_id>/say/", talk_views.say, "thread_say"),
    path(f"{ROOM}<int:thread_id>/preview/", talk_views.preview, "thread_preview"),
]
