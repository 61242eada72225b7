"""Tasks that write down when they begin and end, in a store that is not their broker's."""

import os
import time

import redis
from celery import Celery

VERSION = os.environ["ROADSTEAD_VERSION"]

app = Celery("jobs", broker=os.environ["BROKER_URL"])
app.conf.task_default_queue = "jobs"
app.conf.broker_connection_retry_on_startup = True


def note(what, name):
    redis.from_url(os.environ["STORE_URL"]).rpush(what, f"{name} {VERSION}")


def work(name, seconds):
    note("begin", name)
    time.sleep(seconds)
    note("end", name)


@app.task
def early(name, seconds):
    work(name, seconds)


@app.task(acks_late=True)
def late(name, seconds):
    work(name, seconds)
