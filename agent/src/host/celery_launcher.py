# Runs a Celery worker so that its end is seen, and is as gentle as its time allows. Once it is told to stop it tells systemd what it
# still runs ("2 tasks left: ..."). When its time is over it gives back to the broker what nobody acknowledged, and ends: a plain kill
# would leave that with Redis for its visibility timeout. This is done here and not by Celery's cold shutdown, which ends nothing in
# versions before 5.5, acknowledges what a solo worker is at, and lets threads go on with what others already run again.
#
# Arguments: how many seconds its tasks have, then celery's own.
import _thread
import os
import signal
import socket
import sys
import time

LOOK_EVERY = 0.25
# How long the broker may take to take back what it gave.
GIVE_BACK_WITHIN = 3.0
NAMES_MAX = 3
NAME_CHARACTERS_MAX = 80
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
# The exit status of a worker whose time was over; the agent knows it.
TIME_WAS_OVER = 75

seconds = float(sys.argv[1])
# systemd listens to this process alone: neither tasks nor what they start are to know of it.
notify_socket = os.environ.pop("NOTIFY_SOCKET", "")
# SIGTERM cuts no task short, whatever the environment says.
os.environ.pop("REMAP_SIGTERM", None)

import celery.__main__  # noqa: E402

sys.argv = [celery.__main__.__file__, *sys.argv[2:]]
# As celery itself does it: before anything else is imported.
celery.maybe_patch_concurrency()

from celery import signals  # noqa: E402
from celery.bin.celery import main  # noqa: E402

known = {"worker": None, "ending": False, "told": None}


def running():
    """What this worker runs, the oldest first; None when that cannot be known."""
    from celery.worker import state

    for _ in range(3):
        try:
            return sorted(state.active_requests, key=lambda request: request.time_start or time.time())
        except RuntimeError:
            # It changed meanwhile.
            continue
    return None


def words(requests, what):
    """As the agent reads it, and people in `systemctl status`."""
    tasks = "1 task" if len(requests) == 1 else f"{len(requests)} tasks"
    named = []
    for request in requests[:NAMES_MAX]:
        name = "".join(c for c in str(request.name)[:NAME_CHARACTERS_MAX] if c in NAME_CHARACTERS)
        began = time.strftime("%H:%M:%S", time.gmtime(request.time_start or time.time()))
        named.append(f"{name} since {began}")
    return f"{tasks} {what}" + (": " + ", ".join(named) if named else "")


def tell(requests, what):
    """Tells systemd, when there is something new; an end that nobody hears of is an end all the same."""
    say(words(requests, what))


def say(text):
    if text == known["told"]:
        return
    address = "\0" + notify_socket[1:] if notify_socket.startswith("@") else notify_socket
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        sender.sendto(f"STATUS={text}".encode(), address)
    known["told"] = text


def attempt(act, *arguments):
    """The end comes, whatever else fails."""
    try:
        return act(*arguments)
    except Exception as error:
        print(f"roadstead: {getattr(act, '__name__', 'acknowledge')}: {error!r}", file=sys.stderr, flush=True)
        return None


def look():
    requests = running()
    if requests is not None:
        tell(requests, "left")


def acknowledge():
    # What is to be acknowledged waits for the turn of a loop that stands still by now: in a solo worker always, in others before 5.7.
    from kombu.asynchronous import get_event_loop

    waiting = getattr(get_event_loop(), "_ready", None) or ()
    for callback in tuple(waiting):
        if getattr(getattr(callback, "fun", None), "__name__", "") == "ack_log_error":
            waiting.remove(callback)
            attempt(callback)


def cut_off():
    requests = running() or []
    again = sum(1 for request in requests if request.task.acks_late and not request.acknowledged)
    tell(requests, f"cut off, {again} to run again")


def descendants(of):
    found = []
    for thread in os.listdir(f"/proc/{of}/task"):
        with open(f"/proc/{of}/task/{thread}/children") as children:
            found.extend(int(child) for child in children.read().split())
    for child in tuple(found):
        found.extend(attempt(descendants, child) or [])
    return found


def kill(processes, number):
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue


def give_back():
    acknowledge()
    # RabbitMQ does it by itself when the connection ends. For others the worker would do this at its own end.
    qos = getattr(known["worker"].consumer.task_consumer.channel, "qos", None)
    if hasattr(qos, "restore_unacked_once"):
        qos.restore_unacked_once()


def give_back_and(done):
    attempt(give_back)
    done.append(True)


def until_the_end():
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        attempt(look)
        time.sleep(LOOK_EVERY)
    # Nothing of a task happens once another worker may have it.
    processes = attempt(descendants, os.getpid()) or []
    kill(processes, signal.SIGSTOP)
    attempt(cut_off)
    done, end = [], time.monotonic() + GIVE_BACK_WITHIN
    _thread.start_new_thread(give_back_and, (done,))
    while not done and time.monotonic() < end:
        time.sleep(0.01)
    # What was acknowledged is on its way: a connection that breaks off could take it back.
    time.sleep(0.2)
    # At once after that: Celery would acknowledge what its lost processes were at.
    kill(processes, signal.SIGKILL)
    os._exit(TIME_WAS_OVER)


def keep_written():
    """Lets the pool wait for what its processes will run, as it waits for what they run.

    A warm shutdown makes the pool forget what no process has yet said that it began: the broker is to deliver it again. One whose process
    has it already, and only did not come to say so, runs all the same, is never acknowledged, and so runs twice.
    """
    pool = known["worker"].pool
    processes = getattr(pool, "_pool", None)
    if not hasattr(processes, "_flush_writer"):
        # Pools of other kinds hand nothing through pipes.
        return
    forget = pool.flush

    def keep():
        for job in tuple(processes._cache.values()):
            process = job._write_to
            if job._accepted or process is None or not process._is_alive():
                continue
            job.discard = do_nothing
            writer = job._writer()
            if writer is not None:
                # The rest of it: what comes next through the pipe would be taken for that.
                processes._flush_writer(process, writer)

    def flush():
        attempt(keep)
        forget()

    pool.flush = flush


def do_nothing():
    pass


def remember(instance=None, **_):
    known["worker"] = instance


def loaded(**_):
    # The agent counts a worker as up from here on: its app could be imported.
    attempt(say, "app loaded")


def shutting_down(**_):
    if not known["ending"]:
        known["ending"] = True
        # Here and not in the thread: it is to be there before the worker goes on.
        attempt(keep_written)
        # Not by `threading`: its locks may be held by what the signal interrupted.
        _thread.start_new_thread(until_the_end, ())


signals.celeryd_init.connect(remember, weak=False)
signals.celeryd_after_setup.connect(loaded, weak=False)
signals.worker_shutting_down.connect(shutting_down, weak=False)
sys.exit(main())
