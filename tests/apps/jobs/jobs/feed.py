"""Hands tasks to the broker, as an app does. Arguments: KIND,NAME,SECONDS each."""

import sys

from jobs import tasks

with tasks.app.connection_or_acquire() as connection:
    for words in sys.argv[1:]:
        kind, name, seconds = words.split(",")
        getattr(tasks, kind).apply_async(args=[name, float(seconds)], connection=connection)
