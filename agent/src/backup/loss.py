# What one database has and another one has not, row by row: both are read side by side in the order of their keys.

# Of larger tables only the number of rows is told: nothing runs meanwhile, and reading takes its time.
ROWS_MAX = 5_000_000
FETCHED = 5_000


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def keyed(ask, sql):
    """Pairs of a key and a digest, in the order of the keys."""
    ask.cursor.execute(f"DECLARE roadstead_rows NO SCROLL CURSOR FOR {sql}")
    while True:
        ask.cursor.execute(f"FETCH {FETCHED} FROM roadstead_rows")
        rows = ask.cursor.fetchall()
        yield from rows
        if len(rows) < FETCHED:
            break
    ask.cursor.execute("CLOSE roadstead_rows")


def merged(old, new):
    """How many keys only the old side has, how many both with other values, how many only the new side."""
    lost = changed = returned = 0
    left, right = next(old, None), next(new, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left[0] < right[0]):
            lost, left = lost + 1, next(old, None)
        elif left is None or right[0] < left[0]:
            returned, right = returned + 1, next(new, None)
        else:
            changed += left[1] != right[1]
            left, right = next(old, None), next(new, None)
    return lost, changed, returned


def count(ask, table):
    return int(ask(f"SELECT count(*)::text FROM ONLY {table}")[0])


def of_table(old, new, name, key, columns):
    """What becomes of the rows of a table that both have."""
    now, then = count(old, name), count(new, name)
    told = {"name": name, "now": now, "then": then}
    if key is None or max(now, then) > ROWS_MAX or not columns:
        return told
    row = ", ".join(f"this_row.{quoted(column)}" for column in columns)
    sql = f'SELECT k, md5(r) FROM (SELECT {key} AS k, ROW({row})::text AS r FROM ONLY {name} this_row) x ORDER BY k COLLATE "C"'
    told["lost"], told["changed"], told["returned"] = merged(keyed(old, sql), keyed(new, sql))
    return told


def difference(old, new):
    """`old` asks the database that goes, `new` the one that comes, each in a transaction of its own."""
    olds, news = ({table["name"]: table for table in postgresql_tables(ask)} for ask in (old, new))
    old_columns, new_columns = postgresql_columns(old), postgresql_columns(new)
    tables, shape, done = [], [], 0
    for name in sorted(olds.keys() | news.keys()):
        done += 1
        print(f"roadstead-progress {done} {len(olds.keys() | news.keys())} comparing {name}", flush=True)
        if name not in news:
            rows = count(old, name)
            shape.append(f"table {name} is not there any more")
            tables.append({"name": name, "now": rows, "lost": rows, "changed": 0, "returned": 0})
            continue
        if name not in olds:
            shape.append(f"table {name} is back")
            tables.append({"name": name, "then": count(new, name)})
            continue
        have, had = old_columns[name], new_columns[name]
        for column in (column for column in have if column not in had):
            values = int(old(f"SELECT count({quoted(column)})::text FROM ONLY {name}")[0])
            shape.append(f"column {quoted(column)} of {name} is not there any more: it had {values} values")
        for column in (column for column in had if column not in have):
            values = int(new(f"SELECT count({quoted(column)})::text FROM ONLY {name}")[0])
            shape.append(f"column {quoted(column)} of {name} is back, with {values} values")
        same_key = olds[name]["key"] if olds[name]["key"] == news[name]["key"] else None
        tables.append(of_table(old, new, name, same_key, [column for column in had if column in have]))
    had, has = postgresql_migrations(old, list(olds.values())), postgresql_migrations(new, list(news.values()))
    return {"tables": tables, "shape": shape, "migrations": [name for name in had if name not in has]}
