# What a database holds, told so that the same can be asked of its backup once that is restored: tables with their rows and a sum over a
# sample of them, definitions, sequences. `ask` runs one statement and gives the rows of its single column, texts of JSON.
import hashlib
import json

# Rows of a table that are compared one by one, about; of smaller ones all are.
SAMPLE = 10_000

# What values look like as text must not depend on who asks. All of it ends with the transaction.
SAME_TEXT = [
    f"SET LOCAL {setting}"
    for setting in (
        "search_path TO ''", "timezone TO 'UTC'", "datestyle TO 'ISO, YMD'", "intervalstyle TO 'iso_8601'", "bytea_output TO 'hex'",
        "extra_float_digits TO 1", "lc_monetary TO 'C'", "statement_timeout TO 0", "lock_timeout TO '60s'",
        "idle_in_transaction_session_timeout TO 0",
    )
]

# Schemas of the server itself are no part of a backup, nor is what an extension brings along.
_OURS = """n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.deptype = 'e' AND e.classid = '{catalog}'::regclass AND e.objid = {oid})"""
_CLASSES = _OURS.format(catalog="pg_catalog.pg_class", oid="c.oid")

TABLES = f"""
SELECT json_build_object('name', format('%I.%I', n.nspname, c.relname), 'listed', n.nspname || ' ' || c.relname, 'bytes', pg_catalog.pg_table_size(c.oid),
    'estimate', c.reltuples::bigint, 'row', (SELECT string_agg(format('this_row.%I', a.attname), ', ' ORDER BY a.attname)
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), 'key', (
        SELECT string_agg(format('this_row.%I::text', a.attname), ' || chr(31) || ' ORDER BY k.place)
        FROM pg_catalog.pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(number, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
        WHERE i.indrelid = c.oid AND i.indisprimary))::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {_CLASSES} ORDER BY n.nspname, c.relname"""

# Those that only grow: others may stand before where they stood.
SEQUENCES = f"""
SELECT json_build_object('name', format('%I.%I', n.nspname, c.relname), 'value',
    CASE c.relkind WHEN 'S' THEN pg_catalog.pg_sequence_last_value(c.oid) END)::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid AND s.seqincrement > 0 AND NOT s.seqcycle
WHERE {_CLASSES} AND CASE c.relkind WHEN 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE') END
ORDER BY n.nspname, c.relname"""

LARGE_OBJECTS = "SELECT json_build_object('count', count(*))::text FROM pg_catalog.pg_largeobject_metadata"

# Roles that policies and user mappings name: a backup that is restored elsewhere needs them.
ROLES = """SELECT DISTINCT to_json(role)::text FROM (SELECT unnest(roles)::text FROM pg_catalog.pg_policies
    UNION ALL SELECT usename::text FROM pg_catalog.pg_user_mappings) p(role) WHERE role <> 'public' AND role !~ '^pg_' LIMIT 1000"""

# What is defined, by its structure. The text of an expression is no part of it: PostgreSQL words the same one otherwise once it was dumped
# and restored (a list of strings, a BETWEEN, parentheses).
_OBJECTS = [
    f"""SELECT 'columns', format('%I.%I', n.nspname, c.relname), c.relkind::text || string_agg(format('%I %s %s %s %s%s', a.attname,
        pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef, a.attidentity, a.attgenerated), ',' ORDER BY a.attname)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't' AND {_CLASSES} GROUP BY n.nspname, c.relname, c.relkind""",
    f"""SELECT 'index', format('%I.%I', n.nspname, x.relname), concat_ws(' ', c.relname, i.indisunique, i.indisprimary, i.indnkeyatts,
        i.indpred IS NOT NULL, (SELECT amname FROM pg_catalog.pg_am WHERE oid = x.relam), (SELECT string_agg(coalesce(a.attname, '()'), ','
        ORDER BY k.place) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(number, place)
        LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number))
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE i.indisvalid AND c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND {_CLASSES}""",
    f"""SELECT 'constraint', format('%I.%I %I', n.nspname, c.relname, k.conname), concat_ws(' ', k.contype, k.convalidated, k.condeferrable,
        k.condeferred, k.confupdtype, k.confdeltype, (SELECT r.relname FROM pg_catalog.pg_class r WHERE r.oid = k.confrelid),
        (SELECT string_agg(a.attname, ',' ORDER BY a.attname) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)))
    FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND k.conparentid = 0 AND c.relpersistence <> 't' AND {_CLASSES}""",
    f"""SELECT 'trigger', format('%I.%I %I', n.nspname, c.relname, t.tgname), concat_ws(' ', t.tgtype, t.tgenabled, p.proname)
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid WHERE NOT t.tgisinternal AND {_CLASSES}""",
    f"""SELECT 'function', format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), p.prosrc
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE p.prokind IN ('f', 'p') AND {_OURS.format(catalog="pg_catalog.pg_proc", oid="p.oid")}""",
    f"""SELECT 'enum', format('%I.%I', n.nspname, t.typname), string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder)
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_enum e ON e.enumtypid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    WHERE {_OURS.format(catalog="pg_catalog.pg_type", oid="t.oid")} GROUP BY n.nspname, t.typname""",
    """SELECT 'policy', format('%I.%I %I', schemaname, tablename, policyname), concat_ws(' ', permissive, cmd)
    FROM pg_catalog.pg_policies""",
]
OBJECTS = "SELECT json_build_object('kind', kind, 'name', name, 'is', md5(coalesce(definition, '')))::text FROM (" + (
    " UNION ALL ".join(f"({part})" for part in _OBJECTS)
) + ") o(kind, name, definition) ORDER BY kind COLLATE \"C\", name COLLATE \"C\""


def rows_of(table, every):
    """How many rows a table has, and a sum over one in `every` of them, chosen by what identifies them."""
    chosen = "true"
    # columns by their names: those of a table that inherits may come back in another order
    row = f"ROW({table['row'] or ''})::text"
    if every > 1:
        chosen = f"('x' || substr(md5({table['key'] or row}), 1, 8))::bit(32)::bigint % {int(every)} = 0"
    return f"""SELECT json_build_object('rows', count(*), 'compared', count(*) FILTER (WHERE chosen), 'sum', coalesce(sum(hash), 0)::text)::text
FROM (SELECT chosen, CASE WHEN chosen THEN ('x' || substr(md5(line), 1, 15))::bit(60)::bigint END AS hash
    FROM (SELECT {row} AS line, {chosen} AS chosen FROM ONLY {table['name']} this_row) r) h"""


def postgresql_sequences(ask):
    return {found["name"]: found["value"] or 0 for found in map(json.loads, ask(SEQUENCES))}


def postgresql_tables(ask):
    return [json.loads(text) for text in ask(TABLES)]


def postgresql_facts(ask, tables, every):
    """All but the sequences. `every` says which share of each table's rows is compared; a table that it does not name, all."""
    facts = {"tables": {}, "objects": {}, "large_objects": json.loads(ask(LARGE_OBJECTS)[0])["count"]}
    for text in ask(OBJECTS):
        found = json.loads(text)
        facts["objects"][f"{found['kind']} {found['name']}"] = found["is"]
    for table in tables:
        facts["tables"][table["name"]] = json.loads(ask(rows_of(table, every.get(table["name"], 1)))[0])
    return facts


COLUMNS = f"""
SELECT json_build_object('table', format('%I.%I', n.nspname, c.relname), 'columns', (SELECT coalesce(json_agg(a.attname ORDER BY a.attnum), '[]')
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {_CLASSES} ORDER BY n.nspname, c.relname"""


def postgresql_columns(ask):
    return {found["table"]: found["columns"] for found in map(json.loads, ask(COLUMNS))}


def postgresql_migrations(ask, tables):
    """What Django has recorded as applied, in its order."""
    recorded = [table["name"] for table in tables if table["name"].endswith(".django_migrations")]
    return [name for table in recorded[:1] for name in ask(f"SELECT app || '.' || name FROM {table} ORDER BY id")]


def sqlite_facts(connection):
    """The same of a file of SQLite, whose rows are all compared."""
    quoted = lambda name: '"' + name.replace('"', '""') + '"'
    facts = {"tables": {}, "objects": {}, "large_objects": 0}
    objects = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2").fetchall()
    # what is no UTF-8 is compared all the same
    connection.text_factory = bytes
    for kind, name, sql in objects:
        facts["objects"][f"{kind} {name}"] = hashlib.md5(sql.encode()).hexdigest()
        if kind != "table" or sql.upper().startswith("CREATE VIRTUAL"):
            continue
        rows, total = 0, 0
        for row in connection.execute(f"SELECT * FROM {quoted(name)}"):
            rows += 1
            digest = hashlib.md5(repr(tuple(row)).encode()).digest()
            total += int.from_bytes(digest[:7], "big")
        facts["tables"][name] = {"rows": rows, "compared": rows, "sum": str(total)}
    return facts
