"""Tasks that write down who ran them."""

import os
import time

import redis
from celery import Celery

URL = os.environ["REDIS_URL"]

app = Celery("kinds", broker=URL)
app.conf.task_default_queue = "default"
app.conf.beat_schedule = {"tick": {"task": "kinds.tasks.note", "schedule": 1.0, "args": ["tick"]}}


@app.task
def note(what):
    redis.from_url(URL).rpush(f"ran:{what}", os.environ["ROADSTEAD_VERSION"])


@app.task
def nap(name, seconds):
    who = f"{name} {os.environ['ROADSTEAD_VERSION']}"
    redis.from_url(URL).rpush("began", who)
    time.sleep(seconds)
    redis.from_url(URL).rpush("ended", who)
