/* See partitions.h. */
#include "bridge/relay/partitions.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/base/clock.h"
#include "bridge/base/log.h"
#include "bridge/base/memory.h"
#include "bridge/relay/worklist.h"

#define uthash_malloc(size) memory_alloc(size)
#include <uthash.h>

#define VISIBLE_POLL_MS 5
#define ENTRIES_MAX 10000 /* of all tables of the database; beyond, those that are no partitions are forgotten */

struct entry {
  char *key; /* of schema and table */
  int table; /* index of the configured table, or -1 */
  /* Where it is none: */
  uint64_t serial;                /* of the relation that this was found out about */
  bool look_alike;                /* it could be one by its columns */
  struct catalog_horizon checked; /* then: it was none for the transactions of this horizon */
  bool told;                      /* in the log */
  UT_hash_handle hh;
};

/* One to be put down to a table. */
struct row {
  const struct relation *relation;
  lsn_t commit_lsn;
  uint32_t xid;
};

struct partitions {
  const struct table_spec *tables;
  int table_count;
  bool *partitioned; /* per configured table */
  bool any;
  const char *conninfo;
  const char *name;
  int timeout_ms;
  struct connection *conn; /* NULL until the first lookup */
  struct entry *entries;
  struct entry *last;
};

/* The length keeps a dot in a name from being taken for the one between the two. */
static char *make_key(const char *schema, const char *table) {
  return memory_format("%zu %s.%s", strlen(schema), schema, table);
}

static struct entry *add_entry(struct partitions *p, char *key, int table) {
  struct entry *e = memory_alloc(sizeof *e);
  e->key = key;
  e->table = table;
  HASH_ADD_KEYPTR(hh, p->entries, e->key, strlen(e->key), e);
  return e;
}

static void forget(struct partitions *p, bool all) {
  struct entry *e, *next;
  HASH_ITER(hh, p->entries, e, next) {
    if (!all && e->table >= 0)
      continue;
    HASH_DEL(p->entries, e);
    catalog_horizon_free(&e->checked);
    free(e->key);
    free(e);
  }
  p->last = NULL;
}

static struct entry *find_entry(struct partitions *p, const struct relation *relation) {
  if (p->last != NULL && p->last->serial == relation->serial)
    return p->last;
  char *key = make_key(relation->schema, relation->table);
  struct entry *e;
  HASH_FIND(hh, p->entries, key, strlen(key), e);
  if (e != NULL) {
    free(key);
  } else {
    if (HASH_COUNT(p->entries) >= ENTRIES_MAX)
      forget(p, false);
    e = add_entry(p, key, -1);
  }
  p->last = e;
  return e;
}

/* The partitions there are now: known even if they are dropped or detached before their rows come. */
static bool read_present(struct partitions *p, struct connection *conn, struct error *err) {
  for (int i = 0; i < p->table_count; i++) {
    struct catalog_names leaves = {.count = 0};
    if (!p->partitioned[i])
      continue;
    if (!catalog_partitions(conn, p->tables[i].schema, p->tables[i].table, &leaves, err))
      return false;
    for (int k = 0; k < leaves.count; k++)
      add_entry(p, make_key(leaves.names[k][0], leaves.names[k][1]), i);
    catalog_names_free(&leaves);
  }
  return true;
}

struct partitions *partitions_new(const struct table_spec *tables, const struct catalog_publication *facts,
                                  struct connection *conn, const char *conninfo, const char *name, int timeout_ms,
                                  struct error *err) {
  struct partitions *p = memory_alloc(sizeof *p);
  *p = (struct partitions){.tables = tables,
                           .table_count = facts->table_count,
                           .partitioned = memory_alloc((size_t)facts->table_count * sizeof(bool)),
                           .conninfo = conninfo,
                           .name = name,
                           .timeout_ms = timeout_ms};
  for (int i = 0; i < p->table_count; i++) {
    p->partitioned[i] = facts->tables[i].partitioned;
    p->any = p->any || p->partitioned[i];
  }
  if (read_present(p, conn, err))
    return p;
  partitions_free(p);
  return NULL;
}

void partitions_free(struct partitions *p) {
  if (p == NULL)
    return;
  forget(p, true);
  connection_close(p->conn);
  free(p->partitioned);
  free(p);
}

static bool has_column(const struct relation *relation, const char *name) {
  for (int i = 0; i < relation->column_count; i++)
    if (strcmp(relation->columns[i].name, name) == 0)
      return true;
  return false;
}

/* The configured partitioned table whose partition the relation could be by its columns, or -1. */
static int looks_like(const struct partitions *p, const struct relation *relation) {
  if (worklist_holds(relation)) /* a copy of it, and dropped before it is streamed */
    return -1;
  for (int i = 0; i < p->table_count; i++) {
    bool like = p->partitioned[i];
    for (enum event_field field = 0; like && field < FIELD_COUNT; field++) {
      const char *column = event_required_column(&p->tables[i], field);
      like = column == NULL || has_column(relation, column);
    }
    if (like)
      return i;
  }
  return -1;
}

static bool refuse_unknown(const struct partitions *p, const struct relation *relation, int like, struct error *err) {
  const struct table_spec *spec = &p->tables[like];
  error_refuse(err, "partition_unknown",
               "table %s.%s got rows, has the columns of %s.%s, and does not exist any more: it may have been a "
               "partition that was dropped before its rows were published",
               relation->schema, relation->table, spec->schema, spec->table);
  return error_remedy(err,
                      "the rows are still in the WAL. If it was a partition, create an empty one of that name, let the "
                      "relay publish them, and drop it again: CREATE TABLE %s.%s PARTITION OF %s.%s FOR VALUES ...; if "
                      "it was another table, create an empty table of that name, and drop it once the relay has passed "
                      "those rows: CREATE TABLE %s.%s (LIKE %s.%s)",
                      relation->schema, relation->table, spec->schema, spec->table, relation->schema, relation->table,
                      spec->schema, spec->table);
}

/* The topmost configured ancestor, or -1. */
static int configured_ancestor(const struct partitions *p, const struct catalog_names *ancestors) {
  for (int k = 0; k < ancestors->count; k++)
    for (int i = 0; i < p->table_count; i++)
      if (strcmp(p->tables[i].schema, ancestors->names[k][0]) == 0 &&
          strcmp(p->tables[i].table, ancestors->names[k][1]) == 0)
        return i;
  return -1;
}

/* Waits until the catalogs show what the transaction did: it may have attached the partition itself. */
static bool wait_visible(struct partitions *p, const struct row *row, struct catalog_horizon *horizon,
                         struct error *err) {
  for (int64_t end = clock_monotonic_ms() + p->timeout_ms;; clock_sleep_ms(VISIBLE_POLL_MS)) {
    catalog_horizon_free(horizon);
    if (!catalog_horizon(p->conn, horizon, err))
      return false;
    if (catalog_horizon_covers(horizon, row->commit_lsn, row->xid))
      return true;
    if (clock_monotonic_ms() >= end)
      return error_set(err, ERROR_RETRY,
                       "xid %" PRIu32 " is in the WAL, but not visible yet: most likely it waits for a synchronous "
                       "standby. Only then can be seen whose partition table %s.%s is",
                       row->xid, row->relation->schema, row->relation->table);
  }
}

/* The horizon first: what it covers is seen by the look that follows. So a table that is no partition then was none for
 * any of its transactions. */
static bool look_up(struct partitions *p, const struct row *row, int like, struct entry *e, struct error *err) {
  const struct relation *relation = row->relation;
  if (p->conn == NULL) {
    p->conn = connection_open(p->conninfo, p->name, err);
    if (p->conn == NULL || !connection_set_timeout(p->conn, p->timeout_ms, err))
      return false;
  }
  bool exists;
  struct catalog_names ancestors = {.count = 0};
  if (!wait_visible(p, row, &e->checked, err) ||
      !catalog_ancestors(p->conn, relation->schema, relation->table, &exists, &ancestors, err))
    return false;
  e->table = configured_ancestor(p, &ancestors);
  catalog_names_free(&ancestors);
  if (!exists)
    return refuse_unknown(p, relation, like, err);
  if (e->table < 0 && !e->told)
    log_info("relay.table_passed_over", log_string("schema", relation->schema), log_string("table", relation->table),
             log_string("reason", "it has the columns of a configured table, but is no partition of it"));
  e->told = true;
  return true;
}

bool partitions_find(struct partitions *p, const struct relation *relation, lsn_t commit_lsn, uint32_t xid, int *table,
                     struct error *err) {
  struct row row = {.relation = relation, .commit_lsn = commit_lsn, .xid = xid};
  *table = -1;
  if (!p->any)
    return true;
  struct entry *e = find_entry(p, relation);
  bool known = e->serial == relation->serial;
  e->serial = relation->serial;
  if (e->table < 0) {
    int like = known && !e->look_alike ? -1 : looks_like(p, relation);
    e->look_alike = like >= 0;
    bool checked = known && catalog_horizon_covers(&e->checked, commit_lsn, xid);
    if (e->look_alike && !checked && !look_up(p, &row, like, e, err))
      return error_wrap(err, "transaction %s", lsn_format(commit_lsn).text);
  }
  *table = e->table;
  return true;
}
