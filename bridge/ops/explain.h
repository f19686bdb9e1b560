/* `walferry explain`: a page for each code of a refusal, of an error, of a quarantined row, or of a dead letter. */
#ifndef WALFERRY_OPS_EXPLAIN_H
#define WALFERRY_OPS_EXPLAIN_H

#include <stddef.h>
#include <stdio.h>

#include "bridge/base/error.h"

enum explain_kind {
  EXPLAIN_REFUSAL = 1, /* exit 3, or a FAIL of `check` */
  EXPLAIN_PARTITION,   /* one partition that the inbox does not read on */
  EXPLAIN_ERROR,       /* another end of a run, or a reason to try again */
  EXPLAIN_ROW,         /* in quarantine, or behind row_invalid */
  EXPLAIN_MESSAGE      /* a dead letter */
};

struct explain_page {
  const char *code;
  enum explain_kind kind;
  const char *summary; /* one line, as in docs/operations.md and README */
  const char *meaning; /* lines of at most 80 characters; so all below */
  const char *look;    /* what to look at, with commands; NULL: nothing */
  const char *steps;   /* what to do */
  const char *section; /* of the documents, which goes on from here: by OPERATIONS, RUNBOOK or README */
};

/* A section as a link names it. A test looks whether it is there. */
#define OPERATIONS(anchor) "docs/operations.md#" anchor
#define RUNBOOK(anchor) "docs/events/replay-runbook.md#" anchor
#define README(anchor) "README.md#" anchor

/* All of them, in the order in which they are listed (explain_pages.c, explain_inbox.c, explain_rows.c,
 * explain_messages.c). */
extern const struct explain_page explain_refusals[];
extern const size_t explain_refusal_count;
extern const struct explain_page explain_inbox[];
extern const size_t explain_inbox_count;
extern const struct explain_page explain_rows[];
extern const size_t explain_row_count;
extern const struct explain_page explain_messages[];
extern const size_t explain_message_count;

/* The page of a code, or with NULL the list of all. ERROR_CONFIG for a code that there is not, with the nearest. */
bool explain_print(const char *code, FILE *out, struct error *err);

#endif
