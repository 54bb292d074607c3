#!/usr/bin/env python
"""Tallyrun's command line: `manage.py up` starts everything, `manage.py help` lists the rest."""

import os
import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import OperationalError

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        execute_from_command_line(sys.argv)
    except OperationalError as error:
        if not settings.EMBEDDED_DATABASE or "connection" not in str(error):
            raise
        sys.exit("No database server is running here: `make demo` starts one, or set DATABASE_URL to yours.")
