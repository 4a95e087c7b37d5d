"""The empty view, served as ours are: `application` by the web server of the Procfile, and
`python -m benchmarks.empty_server` as by `manage.py up`."""

from __future__ import annotations

import signal
import socket

from django.conf import settings
from django.core.wsgi import get_wsgi_application

settings.ROOT_URLCONF = "benchmarks.empty_view"
application = get_wsgi_application()


def main() -> None:
    stop = [signal.SIGTERM, signal.SIGINT]
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
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
