"""The Django project: settings, Celery app, system checks, and `manage.py up`."""

from botadmin.celery import app as celery_app

__all__ = ["celery_app"]
