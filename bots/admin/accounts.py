"""Users and groups: Django's own pages in the look of the others."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from bots.admin.base import ListAdmin

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class OperatorUserAdmin(UserAdmin, ListAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:
        """Django's, and what the audit log says of it, or neither."""
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)


@admin.register(Group)
class OperatorGroupAdmin(GroupAdmin, ListAdmin):
    empty_hint = "A group holds permissions, and sees the bots that name it."
