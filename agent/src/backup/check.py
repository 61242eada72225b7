# Looks at a backup in a place of its own: without a network, as a user that owns nothing, in folders that nobody else uses. It is read
# from end to end, or restored into a database that is thrown away afterwards, and what that holds is told.
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys

BACKUP, PLACE = "/run/roadstead-check/backup", "/run/roadstead-check/place"
# A name that no role of an app has.
OWNER = "roadstead_restores"
SERVER = {
    "listen_addresses": "", "unix_socket_directories": PLACE, "fsync": "off", "full_page_writes": "off", "synchronous_commit": "off",
    "wal_level": "minimal", "max_wal_senders": "0", "autovacuum": "off", "jit": "off", "dynamic_shared_memory_type": "mmap",
    "shared_buffers": "64MB", "max_connections": "20", "logging_collector": "off",
}


# Less than that is a full disk, which says nothing about a backup.
FULL = 16 * 1024 * 1024


class Refused(Exception):
    """The backup does not pass: what is wrong, what to do, and the last output that tells."""


class Unable(Refused):
    """It cannot be looked at here."""


def full():
    return shutil.disk_usage(PLACE).free < FULL


def run(words, what, fault=Unable, **more):
    done = subprocess.run(words, stdin=more.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", **more)
    if done.returncode != 0:
        raise (Unable if full() else fault)(f"{what} ended with exit status {done.returncode}", "see its last output; nothing was changed",
                                            "\n".join(done.stdout.splitlines()[-20:]))
    return done.stdout


def tool(taken, name):
    path = os.path.join(taken["tools"], name)
    if not os.path.exists(path):
        raise Unable(f"{path} is not here, and a backup is restored with it",
                      f"install postgresql-{taken['major']} on this host (its own server need not run), or let \"listed\" be enough")
    return path


def parts(taken):
    return unpacked(BACKUP, os.path.join(PLACE, "parts"), taken.get("jobs", 1))


def listed(taken):
    """Reads all of a backup back."""
    if taken["format"] == "sqlite":
        return sqlite_copy()
    backup = parts(taken)
    run([tool(taken, "pg_restore"), "--file=/dev/null", backup], "reading the backup back with pg_restore", Refused)
    listing = run([tool(taken, "pg_restore"), "--list", backup], "listing the backup with pg_restore", Refused)
    rows = [line.partition(" TABLE DATA ")[2] for line in listing.splitlines()]
    found = (name for listed, name in taken["listed"].items() if any(row.startswith(f"{listed} ") for row in rows))
    return "listed", {"tables": sorted(found)}


def sqlite_copy():
    connection = sqlite3.connect(f"file:{BACKUP}?mode=ro&immutable=1", uri=True)
    found = connection.execute("PRAGMA integrity_check(5)").fetchall()
    if found != [("ok",)]:
        raise Refused(f"the copy is damaged: {found[0][0]}", "look at the disk of the host; nothing was changed")
    return "restored", {"facts": sqlite_facts(connection), "sequences": {}, "major": None}


def restored(taken):
    """Restores a backup and tells what it holds."""
    if taken["format"] == "sqlite":
        return sqlite_copy()
    data = os.path.join(PLACE, "data")
    shutil.rmtree(data, ignore_errors=True)
    control = tool(taken, "pg_ctl")
    run([tool(taken, "initdb"), "-D", data, "-U", OWNER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"], "initdb")
    # All jobs together stay within what this unit may have.
    SERVER["maintenance_work_mem"] = f"{max(16, 256 // taken.get('jobs', 1))}MB"
    with open(os.path.join(data, "postgresql.auto.conf"), "a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in SERVER.items())
    run([control, "-D", data, "-l", os.path.join(PLACE, "log"), "-w", "-t", "120", "start"], "starting a server to restore into")
    try:
        return in_server(taken)
    finally:
        subprocess.run([control, "-D", data, "-m", "immediate", "-w", "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(data, ignore_errors=True)


def in_server(taken):
    at = ["-h", PLACE, "-U", OWNER]
    psql = [tool(taken, "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *at]

    def said(database, statements):
        return run([*psql, "-d", database], "psql", stdin=None, input="".join(f"{sql};\n" for sql in statements))

    def ask(sql):
        return [line for line in said("restored", ["BEGIN", *SAME_TEXT, sql, "COMMIT"]).splitlines() if line]

    quoted = lambda name: '"' + name.replace('"', '""') + '"'
    encoding = "".join(c for c in taken["encoding"] if c.isalnum() or c == "_")
    create(said, encoding, taken)
    said("postgres", [f"CREATE ROLE {quoted(role)} NOLOGIN" for role in taken["roles"]] or ["SELECT"])
    restoring(taken, [tool(taken, "pg_restore"), *at, f"--jobs={taken.get('jobs', 1)}", "--dbname=restored", "--no-owner", "--no-privileges", "--no-tablespaces",
                      "--no-publications", "--no-subscriptions", "--no-security-labels", "--exit-on-error", "--verbose", parts(taken)])
    tables = postgresql_tables(ask)
    major = int(ask("SELECT current_setting('server_version_num')")[0]) // 10000
    return "restored", {"facts": postgresql_facts(ask, tables, taken["every"]), "sequences": postgresql_sequences(ask), "major": major}


def create(said, encoding, taken):
    """A database as the one that was backed up: of its locale, where this host has that; upper and lower case go by it."""
    quoted = lambda text: "'" + text.replace("'", "''") + "'"
    locales = [(taken["collate"], taken["ctype"]), ("C.UTF-8", "C.UTF-8"), ("C", "C")]
    for collate, ctype in locales:
        words = f"CREATE DATABASE restored TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE {quoted(collate)} LC_CTYPE {quoted(ctype)}"
        try:
            said("postgres", [words])
        except Unable:
            if (collate, ctype) == ("C", "C"):
                raise
            print(f"this host has no locale {ctype}: the backup is restored with another one", flush=True)
        else:
            return


def restoring(taken, words):
    tables, begun, kept = len(taken["facts"]["tables"]), 0, []
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    for line in child.stderr:
        found = re.search(r'processing data for table "(.*)"$', line.rstrip())
        if found:
            begun += 1
            print(f"roadstead-progress {begun} {tables} restoring {found.group(1)}", flush=True)
        kept = (kept + [line.rstrip()])[-20:]
    if child.wait() != 0:
        raise (Unable if full() else Refused)(f"the backup cannot be restored: pg_restore ended with exit status {child.returncode}",
                                              "see its last output; nothing was changed", "\n".join(kept))


def main():
    os.umask(0o077)
    with open("/run/roadstead-check/taken.json") as file:
        taken = json.load(file)["taken"]
    try:
        outcome, told = {"listed": listed, "restored": restored}[sys.argv[1]](taken)
    except Refused as refused:
        outcome = "unable" if isinstance(refused, Unable) else "refused"
        told = {"what": refused.args[0], "next": refused.args[1], "detail": "".join(refused.args[2:])}
    except OSError as error:
        outcome, told = "unable", {"what": f"the backup cannot be looked at: {error}", "next": "look at the disk of the host, and make room"}
    finally:
        shutil.rmtree(os.path.join(PLACE, "parts"), ignore_errors=True)
    with open(os.path.join(PLACE, "checked.json"), "w") as file:
        json.dump({outcome: {"name": taken["name"], **told}}, file)


main()
