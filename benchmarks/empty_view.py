"""The yardstick for REST: a view that does nothing. `benchmarks.empty_server` serves it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=202)


urlpatterns = [path("", nothing)]
