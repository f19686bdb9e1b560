/* What the tests of the loader share: a small file that loads, and pieces to put into it. */
#ifndef WALFERRY_TESTS_CONFIG_FIXTURE_H
#define WALFERRY_TESTS_CONFIG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"

#define PG "name: shop\npostgres: {conninfo: host=db}\n"   /* two lines */
#define BASE PG "kafka: {brokers: \"k:9092\"}\n"           /* three lines */
#define RELAY BASE "relay:\n  tables: [{table: outbox}]\n" /* five lines; more keys of relay may follow */
#define INBOX BASE "inbox:\n  group: g\n  topics: [t]\n  handlers: [{type: A, call: s.f}]\n" /* seven lines */

struct refusal {
  const char *name;
  const char *yaml;
  const char *place;  /* "LINE:COLUMN" */
  const char *what;   /* part of the message */
  const char *remedy; /* part of the remedy */
};

static inline struct config *load(const char *yaml) {
  struct error err = {.kind = ERROR_NONE};
  struct config *config = config_parse("f.yaml", yaml, strlen(yaml), &err);
  if (config == NULL)
    print_error("%s\n", err.message);
  assert_non_null(config);
  assert_int_equal(err.kind, ERROR_NONE);
  return config;
}

static inline void assert_part(const char *name, const char *text, const char *part) {
  if (strstr(text, part) == NULL)
    fail_msg("%s: \"%s\" lacks \"%s\"", name, text, part);
}

static inline void assert_refused_len(const struct refusal *refusal, size_t len) {
  struct error err = {.kind = ERROR_NONE};
  struct config *config = config_parse("f.yaml", refusal->yaml, len, &err);
  if (config != NULL) {
    config_free(config);
    fail_msg("%s: it loads", refusal->name);
  }
  char start[64];
  snprintf(start, sizeof start, "f.yaml:%s: ", refusal->place);
  if (strncmp(err.message, start, strlen(start)) != 0)
    fail_msg("%s: \"%s\" does not start with %s", refusal->name, err.message, start);
  assert_part(refusal->name, err.message, refusal->what);
  assert_part(refusal->name, err.remedy, refusal->remedy);
  if (err.remedy[0] == '\0')
    fail_msg("%s: no remedy", refusal->name);
  assert_int_equal(err.kind, ERROR_CONFIG);
  assert_int_equal(error_exit_code(&err), 2);
}

static inline void assert_refused(const struct refusal *refusals, size_t count) {
  for (size_t i = 0; i < count; i++)
    assert_refused_len(&refusals[i], strlen(refusals[i].yaml));
}
#define ASSERT_REFUSED(table) assert_refused(table, sizeof(table) / sizeof(table)[0])

#endif
