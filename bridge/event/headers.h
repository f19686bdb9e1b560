/* The headers of an event's record: walferry's own, the row's header columns, and those of its headers column. */
#ifndef WALFERRY_EVENT_HEADERS_H
#define WALFERRY_EVENT_HEADERS_H

#include "bridge/base/jsontext.h"
#include "bridge/event/envelope.h"
#include "bridge/event/record.h"

#define HEADERS_OWN_MAX 12
#define HEADERS_CUSTOM_MAX 100 /* the row's, of either kind */

#define HEADER_LSN "wf_lsn"
#define HEADER_TX "wf_tx"
#define HEADER_REPLAY "wf_replay"     /* a mark: the run that published the record once more */
#define HEADER_SNAPSHOT "wf_snapshot" /* a mark: the row stood in the table before the slot was made */
#define HEADER_CONTENT_TYPE "content-type"

/* The field that a header of walferry's own carries. false: it is none of those. */
bool header_field(const char *name, enum event_field *field);

struct header_list {
  struct record_header items[HEADERS_OWN_MAX + HEADERS_CUSTOM_MAX];
  int count;
  int own; /* the first so many are walferry's own, with literal names */

  /* Private: texts that items may point to. */
  bool transaction_known;
  lsn_t lsn;
  uint32_t xid;
  struct lsn_text lsn_text;
  char xid_text[11];
  struct jsontext_scratch unescaped; /* of the headers column */
};

void header_list_init(struct header_list *list);
void header_list_free(struct header_list *list);

/* For an event that has none of its own. */
struct header_defaults {
  struct slice source;
  struct envelope_content_type content_type;
  struct record_header mark; /* as in record_rules */
};

/* Fills the list anew; the items are borrowed from the event, the defaults and the list. A custom header may set what
 * the event lacks (traceparent, the content type unless the envelope fixes it), may repeat what it has, and may not
 * contradict it. false: problem is "headers_invalid". */
bool header_list_collect(struct header_list *list, const struct event *event, const struct header_defaults *defaults,
                         struct problem *problem);

/* The commit LSN and the transaction id (absent where it is 0: a row of a snapshot) as header texts, kept until another
 * transaction comes. */
void header_list_transaction(struct header_list *list, const struct event *event, struct slice *lsn, struct slice *tx);

#endif
