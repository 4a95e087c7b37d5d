"""The web application for a WSGI server: `botadmin.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "botadmin.settings")

application = get_wsgi_application()
