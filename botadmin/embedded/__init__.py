"""Everything in one process: what `manage.py up` puts together."""
