"""The yardstick for REST: a view that does nothing, served as `manage.py up` serves ours."""

from __future__ import annotations

import signal
import socket

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=202)


urlpatterns = [path("", nothing)]


def main() -> None:
    stop = [signal.SIGTERM, signal.SIGINT]
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    settings.ROOT_URLCONF = "benchmarks.empty_view"
    application = get_wsgi_application()
    from botadmin.embedded.parts import Web  # imports models, which need Django set up

    web = Web(
        application,
        socket.create_server(("127.0.0.1", settings.BOTADMIN_PORT), backlog=1024),
        threads=settings.BOTADMIN_WEB_THREADS,
        max_body_bytes=settings.BOTADMIN_MAX_BODY_BYTES,
        behind_proxy=False,
    )
    web.start()
    signal.sigwait(stop)
    web.stop(1)


if __name__ == "__main__":
    main()
