# What the runner tells. Its lines begin with `roadstead`; of some the agent makes what a rollout shows, and the failure (`told.rs` reads
# them): `waits` is what is waited for now, `goes on` ends that, `applied` is one that is through, `failed` and `next` are the
# failure and what helps.
import re
import sys
import threading

WORDS_MAX = 80
# Where the first value of a statement may begin: a literal, a parameter, a comment. A number within a name is none.
VALUE = re.compile(r"'|\$|--|/\*|(?<![\w\"])\d")


class Told:
    """Lines between those of `migrate`, which leaves one without an end while it works: `  Applying shop.0002_more...`."""

    def __init__(self):
        self.lock = threading.RLock()
        self.unended = ""
        self.is_broken = False
        self.is_waiting = False

    def say(self, text, kind=""):
        with self.lock:
            if self.unended and not self.is_broken:
                print()
                self.is_broken = True
            print(f"roadstead{kind}: {one_line(text)}", flush=True)

    def waits(self, text):
        self.is_waiting = True
        self.say(text, " waits")

    def goes_on(self, text):
        if self.is_waiting:
            self.is_waiting = False
            self.say(text, " goes on")

    def applying(self, migration):
        with self.lock:
            self.unended, self.is_broken = f"  Applying {migration}...", False

    def applied(self):
        """The line that migrate ends now is whole again, whatever was told in between."""
        with self.lock:
            if self.is_broken:
                print(self.unended, end="", flush=True)
            self.unended = ""


told = Told()


def one_line(text):
    return " ".join(str(text).split())


def stop(text, then):
    """Ends the run."""
    told.say(text, " failed")
    told.say(then, " next")
    raise SystemExit(1)


def first_words(statement):
    """The beginning of a statement, up to the first value in it: that may be anybody's secret."""
    text = one_line(statement)
    value = VALUE.search(text)
    cut = min(value.start() if value else len(text), WORDS_MAX)
    return text[:cut].rstrip(" ;") + ("…" if cut < len(text) else "")


def first_line(error):
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def counted(number, what):
    return f"1 {what}" if number == 1 else f"{number} {what}s"
