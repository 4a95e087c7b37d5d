"""Where the doors are: the admin, the REST API, and one for platforms that call us."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from bots.admin import front
from bots.api.hooks import hook

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/fleet/<slug:name>/", front.follow, name="fleet"),
    path("admin/", admin.site.urls),
    path("chat/", include("bots.chat.urls")),
    path("api/v1/", include("bots.api.urls")),
    path("hooks/<slug:slug>/", hook, name="hook"),
]
