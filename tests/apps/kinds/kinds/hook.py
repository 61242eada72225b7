"""What a hook does here: writes down that it ran, and fails, hangs or waits when the story says so."""

import os
import subprocess
import sys
import time

import redis

what, version = sys.argv[1], os.environ["ROADSTEAD_VERSION"]
store = redis.from_url(os.environ["REDIS_URL"])
print(f"hook {what} of {version} begins", flush=True)
store.rpush("hooks", f"{what} {version} {os.uname().nodename}")
if store.get(f"fail:{what}"):
    sys.exit(f"hook {what} was told to fail")
if os.environ.get("BROKEN_MODE") == what:
    sys.exit("broken on this host")
if store.get(f"hang:{what}"):
    # children in sessions of their own, which no signal to the parent reaches
    sleeper = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(900)  # left behind"]
    subprocess.Popen(sleeper, start_new_session=True)
    subprocess.Popen(sleeper, start_new_session=True)
    print("hook hangs", flush=True)
    time.sleep(900)
while store.get(f"hold:{what}"):
    time.sleep(0.1)
print(f"hook {what} of {version} ends", flush=True)
