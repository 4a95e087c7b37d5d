#!/usr/bin/env python3
"""Everything that is done from the command line; `manage.py up` runs botadmin itself."""

import os
import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from bots import who

EXIT_MISCONFIGURED = 2


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "botadmin.settings")
    try:
        _ = settings.INSTALLED_APPS  # loads them, so that no command can hide what is wrong
    except ImproperlyConfigured as error:
        sys.stderr.write(f"manage.py: {error}\n")
        sys.exit(EXIT_MISCONFIGURED)
    with who.acting(who.command()):  # its threads are nobody's
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
