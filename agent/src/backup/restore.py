# Restores a backup of the application's own database beside it, and puts it in its place. Which step it is stands in WAY:
#
#   survey    what there is now, and whether this role could restore; nothing is changed
#   restore   the backup becomes a database of its own, and what that holds is told
#   discard   that database goes
#   exchange  both change names, in one transaction; what that loses is told
#
# What exists is looked up in the database each time and never remembered: a comment on each database of ours says what it is and for whom.
import contextlib
import signal
import time

BACKUP, ORDER = "/run/roadstead-restore/backup", "/run/roadstead-restore/order.json"
NOTHING = "nothing was changed"
NAME_BYTES_MAX = 63
# How often somebody who comes back is sent away before the names change; the server waits for seconds each time.
TRIES = 6


def of(text, ending):
    """A name of a database with an ending, within what PostgreSQL takes."""
    return text.encode()[: NAME_BYTES_MAX - len(ending)].decode(errors="ignore") + ending


class Place:
    """The database, as the application reaches it, and the one beside it from which databases are made and renamed."""

    def __init__(self, connection):
        with open(ORDER) as file:
            self.order = json.load(file)
        self.connection, self.looked = connection, False
        if connection.vendor != "postgresql":
            raise Refused(f"restores of {connection.vendor} are not built in", "docs/recovery.md says how to restore one by hand")
        without_pool(connection)
        connection.ensure_connection()
        self.raw, self.ask = connection.connection, asking(connection.cursor())
        first = lambda sql: self.ask(sql)[0]
        refuse_pooler(connection, self.raw, int(first("SELECT pg_catalog.pg_backend_pid()")))
        self.version = first("SELECT current_setting('server_version')")
        self.major = int(first("SELECT current_setting('server_version_num')")) // 10000
        if self.major < OLDEST:
            raise Refused(f"the server is PostgreSQL {self.version}, and restores are built in from {OLDEST} on",
                          "docs/recovery.md says how to restore a backup by hand")
        self.base = first("SELECT current_database()::text")
        self.fresh = of(self.base, f"_restoring_{self.order['rollout'].replace('-', '')}")
        self.mark = f"roadstead: {self.order['rollout']} restores {self.order['backup']}"
        self.kept_mark = f"roadstead: {self.order['rollout']} put {self.order['backup']} in its place"

    def close(self):
        self.connection.close()

    def beside(self):
        """Asks from a database that is none of both."""
        from django.db import Error

        failed = None
        for name in ("postgres", "template1"):
            try:
                return asking(self.to(name).cursor())
            except Error as error:
                failed = error
        raise Refused(f"the application's role cannot connect to the database postgres beside its own: {first_line(failed)}",
                      "databases are made and renamed from there: GRANT CONNECT ON DATABASE postgres to the role; " + NOTHING)

    def to(self, name):
        other = self.connection.copy()
        other.settings_dict["NAME"] = name
        other.ensure_connection()
        return other

    def looking(self, name):
        """Asks a database in one transaction that sees one moment."""
        ask = asking(self.to(name).cursor())
        begin(ask, self.major)
        return ask

    def marked(self, ask, mark):
        """The databases with a comment of ours."""
        sql = f"SELECT datname FROM pg_catalog.pg_database WHERE pg_catalog.shobj_description(oid, 'pg_database') = {literal(mark)}"
        return ask(sql)


def without_pool(connection):
    """A pool is one for all that is called the same, whatever database that is, and comes back by itself to one that is renamed."""
    if connection.settings_dict.get("OPTIONS", {}).get("pool"):
        connection.close()
        connection.close_pool()
        del connection.settings_dict["OPTIONS"]["pool"]


def first_line(error):
    return (str(error).strip().splitlines() or ["no reason given"])[0]


def role(ask):
    """Refuses where the role could not do it: before anything stops."""
    name, creates, owns = json.loads(ask("""SELECT json_build_array(r.rolname, r.rolcreatedb OR r.rolsuper,
        pg_catalog.pg_has_role(r.oid, d.datdba, 'USAGE'))::text
        FROM pg_catalog.pg_roles r, pg_catalog.pg_database d WHERE r.rolname = current_user AND d.datname = current_database()""")[0])
    if not creates:
        raise Refused(f"the application's role {name} may not make databases",
                      f"as an administrator of the server: ALTER ROLE {quoted(name)} CREATEDB (and NOCREATEDB when the restore is done); {NOTHING}")
    if not owns:
        raise Refused(f"the application's role {name} does not own its database",
                      f"as an administrator of the server: ALTER DATABASE … OWNER TO {quoted(name)}; {NOTHING}")


def extensions(place):
    """Refuses where the backup makes something that this role may not make."""
    trusted = "v.trusted" if place.major >= 13 else "v.name = 'plpgsql'"
    beyond = place.ask(f"""SELECT e.extname::text FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_available_extension_versions v
        ON v.name = e.extname AND v.version = e.extversion WHERE v.superuser AND NOT {trusted}
        AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)""")
    if beyond:
        raise Refused(f"the database has extensions that a superuser alone may make: {', '.join(beyond)}",
                      f"let the application's role be a superuser for the restore, or restore by hand (docs/recovery.md); {NOTHING}")


def survey(place):
    role(place.ask)
    extensions(place)
    place.beside()
    newest_tools(place.major)
    notes, ask = [], place.ask
    begin(ask, place.major)
    tables = postgresql_tables(ask)
    others = ask("SELECT count(*)::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' "
                 f"AND {_CLASSES} AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')")
    if int(others[0]):
        notes.append(f"{others[0]} tables belong to other roles: behind a restore they belong to the application's")
    settings = ask("SELECT count(*)::text FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase "
                   "WHERE d.datname = current_database() AND s.setrole <> 0")
    if int(settings[0]):
        notes.append(f"{settings[0]} roles have settings of their own in this database (ALTER ROLE … IN DATABASE): they are not carried over")
    size = int(ask("SELECT pg_catalog.pg_database_size(current_database())::text")[0])
    notes.append(f"the server needs room for a second database: the present one has {size >> 20} MiB")
    write("surveyed", identity=f"{identity_of(ask)}/{place.base}", notes=notes,
          tables={table["name"]: count(ask, table["name"]) for table in tables}, columns=postgresql_columns(ask),
          migrations=postgresql_migrations(ask, tables))


def discard(place):
    """What an attempt before this one left behind goes, of whatever restore of this database it was."""
    ask = place.beside()
    ours = ask("SELECT datname FROM pg_catalog.pg_database WHERE pg_catalog.shobj_description(oid, 'pg_database') LIKE 'roadstead: % restores %'")
    of_this = (name for name in ours if name == of(place.base, "_restoring_" + name.rpartition("_restoring_")[2]))
    for name in of_this:
        if place.major < 13:
            ask(f"SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE datname = {literal(name)}")
        ask(f"DROP DATABASE {quoted(name)}" + (" WITH (FORCE)" if place.major >= 13 else ""))
        print(f"{name}, which an earlier attempt left, is dropped", flush=True)


def make(place, ask):
    """A database as the present one: of its encoding and locale, its settings and who may connect."""
    # what a database has beyond the common differs by the server's version
    row = json.loads(ask(f"""SELECT to_json(d)::text FROM (SELECT *, pg_catalog.pg_encoding_to_char(encoding) AS charset
        FROM pg_catalog.pg_database WHERE datname = {literal(place.base)}) d""")[0])
    words = f"TEMPLATE template0 ENCODING {literal(row['charset'])} LC_COLLATE {literal(row['datcollate'])} LC_CTYPE {literal(row['datctype'])}"
    if row.get("datlocprovider") == "i":
        words += f" LOCALE_PROVIDER icu ICU_LOCALE {literal(row.get('daticulocale') or row.get('datlocale'))}"
    ask(f"CREATE DATABASE {quoted(place.fresh)} {words}")
    ask(f"COMMENT ON DATABASE {quoted(place.fresh)} IS {literal(place.mark)}")
    if row.get("datacl") is not None:
        ask(f"REVOKE ALL ON DATABASE {quoted(place.fresh)} FROM PUBLIC")
        grants = ask(f"""SELECT json_build_array(a.privilege_type, coalesce(r.rolname, ''), a.is_grantable)::text
            FROM pg_catalog.pg_database d CROSS JOIN LATERAL pg_catalog.aclexplode(d.datacl) a
            LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee WHERE d.datname = {literal(place.base)}""")
        for privilege, grantee, grantable in map(json.loads, grants):
            to = quoted(grantee) if grantee else "PUBLIC"
            ask(f"GRANT {privilege} ON DATABASE {quoted(place.fresh)} TO {to}" + (" WITH GRANT OPTION" if grantable and grantee else ""))
    for setting in ask(f"""SELECT unnest(s.setconfig) FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
            WHERE d.datname = {literal(place.base)} AND s.setrole = 0"""):
        name, _, value = setting.partition("=")
        # lists of names are kept as PostgreSQL wrote them: already quoted where they need it
        value = value if name in ("search_path", "DateStyle", "session_preload_libraries", "local_preload_libraries") else literal(value)
        ask(f"ALTER DATABASE {quoted(place.fresh)} SET {name} TO {value or literal('')}")


def restoring(place, tables):
    tools = newest_tools(place.major)
    words = [os.path.join(tools, "pg_restore"), "--no-password", "--no-owner", "--no-publications", "--no-subscriptions", "--no-security-labels",
             "--exit-on-error", "--verbose", f"--dbname={conninfo(place.raw, dbname=place.fresh)}"]
    assumed = place.connection.settings_dict.get("OPTIONS", {}).get("assume_role")
    if assumed:
        words.append(f"--role={assumed}")
    jobs = place.order["jobs"]
    words += [f"--jobs={jobs}", unpacked(BACKUP, os.path.join(FOLDER, "parts"), jobs)]
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                             errors="replace", env=hide_password(place.raw))
    begun, kept = 0, []
    for line in child.stderr:
        found = re.search(r'processing data for table "(.*)"$', line.rstrip())
        if found:
            begun += 1
            tell(begun, tables, f"restoring {found.group(1)}")
        kept = (kept + [line.rstrip()])[-20:]
    if child.wait() != 0:
        raise Refused(f"the backup cannot be restored: pg_restore ended with exit status {child.returncode}",
                      "see its last output; the database is as it was", "\n".join(kept))


def called_off(number, frame):
    raise Refused("the restore was called off", "the database is as it was")


def restore(place):
    """What is not whole does not stay."""
    role(place.ask)
    discard(place)
    signal.signal(signal.SIGTERM, called_off)
    try:
        into_fresh(place, place.beside())
    except BaseException:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        discard(place)
        raise


def into_fresh(place, ask):
    make(place, ask)
    restoring(place, len(place.order["every"]))
    fresh = asking(place.to(place.fresh).cursor())
    fresh("ANALYZE")
    begin(fresh, place.major)
    tables = postgresql_tables(fresh)
    facts = postgresql_facts(fresh, tables, place.order["every"])
    write("restored", facts=facts, sequences=postgresql_sequences(fresh), major=place.major)


def sessions(place, ask):
    """Whoever is connected with the present database, in words, and whether this role can send them away."""
    return [json.loads(text) for text in ask(f"""SELECT json_build_object('pid', pid, 'ours', pg_catalog.pg_has_role(usesysid, 'USAGE'), 'words',
        format('pid %s (%s, user %s, %s, %s)', pid, coalesce(nullif(application_name, ''), 'no name'), usename,
        coalesce(host(client_addr), 'a socket'), coalesce(state, 'state unknown')))::text FROM pg_catalog.pg_stat_activity
        WHERE datname = {literal(place.base)} AND backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()""")]


def alone(place, ask):
    """Ends the sessions of the application's role; those of others are named."""
    found = sessions(place, ask)
    for session in (session for session in found if session["ours"]):
        print(f"ended: {session['words']}, which was connected with {place.base}", flush=True)
        ask(f"SELECT pg_catalog.pg_terminate_backend({session['pid']})::text")
    others = [session["words"] for session in found if not session["ours"]]
    if others:
        raise Refused(f"others are connected with {place.base}: {', '.join(others[:5])}", "end their sessions, and ask for the restore again")


def rename(place, ask, kept):
    """Both names change, or none. What was kept can be read, and is written to only by who asks for that."""
    old_comment = (ask(f"SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database WHERE datname = {literal(place.base)}") or [None])[0]
    comment = literal(old_comment) if old_comment else "NULL"
    ask("BEGIN")
    try:
        ask(f"ALTER DATABASE {quoted(place.base)} RENAME TO {quoted(kept)}")
        ask(f"ALTER DATABASE {quoted(place.fresh)} RENAME TO {quoted(place.base)}")
        ask(f"COMMENT ON DATABASE {quoted(kept)} IS {literal(place.kept_mark)}")
        ask(f"COMMENT ON DATABASE {quoted(place.base)} IS {comment}")
        ask(f"ALTER DATABASE {quoted(kept)} SET default_transaction_read_only TO on")
    except Exception:
        with contextlib.suppress(Exception):
            ask("ROLLBACK")
        raise
    ask("COMMIT")


def exchange(place):
    from django.db import Error, InterfaceError, OperationalError

    ask = place.beside()
    done = place.marked(ask, place.kept_mark)
    # from here on it is known that the names have not changed, or that they have
    place.looked = True
    if not done:
        if place.fresh not in place.marked(ask, place.mark):
            raise Refused("what was restored is not there any more", "ask for the restore again; the database is as it was")
        told, kept = lost(place, place.base, place.fresh), of(place.base, f"_before_restore_{time.strftime('%Y%m%d_%H%M%S', time.gmtime())}")
        place.close()
        for last in [False] * (TRIES - 1) + [True]:
            alone(place, ask)
            try:
                rename(place, ask, kept)
                break
            except (InterfaceError, OperationalError) as error:
                # somebody was quicker, or the connection is lost: the database says which of both
                place.looked = False
                ask = again(place)
                place.looked = True
                if place.marked(ask, place.kept_mark):
                    break
                if last:
                    raise Refused(f"the databases cannot be renamed: {first_line(error)}", "see who is connected; the database is as it was")
                time.sleep(0.5)
            except Error as error:
                raise Refused(f"the databases cannot be renamed: {first_line(error)}", "the database is as it was")
    else:
        kept = done[0]
        told = lost(place, kept, place.base)
    write("exchanged", kept=kept, **told)


def again(place):
    """A new session, when the server is there again."""
    for _ in range(60):
        try:
            return place.beside()
        except Refused:
            time.sleep(0.5)
    return place.beside()


def lost(place, old, new):
    """What the one has and the other has not. Nobody is connected with either of them afterwards."""
    asks = [place.looking(name) for name in (old, new)]
    try:
        return difference(*asks)
    finally:
        for ask in asks:
            ask.cursor.db.close()


def work():
    from django.db import Error, connections

    place = None
    try:
        place = Place(connections["default"])
        {"survey": survey, "restore": restore, "discard": discard, "exchange": exchange}[WAY](place)
        if WAY == "discard":
            write("discarded")
    except (Error, Refused) as error:
        if WAY == "exchange" and not (place and place.looked):
            # an attempt before this one may have changed the names: nobody can say that it did not
            print(f"it cannot be seen which database is in its place: {first_line(error)}", flush=True)
            os._exit(3)
        if isinstance(error, Refused):
            raise
        raise Refused(f"the database does not let it be done: {first_line(error)}", "see what it says; the database is as it was")


instead(work)
