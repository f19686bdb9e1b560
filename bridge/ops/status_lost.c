/* See status_lost.h. */
#include "bridge/ops/status_lost.h"

#include <inttypes.h>
#include <stdlib.h>

#include "bridge/base/jsonobject.h"
#include "bridge/ops/instance.h"
#include "bridge/postgres/replication.h"
#include "bridge/relay/admit.h"
#include "bridge/relay/lost.h"

#define LINE_MAX_BYTES (1 << 20)

struct listing {
  FILE *out;
  bool json;
  struct buffer line;
};

/* system id and timeline of the server, and where it left the position's timeline */
static bool read_server(const struct relay_settings *relay, const struct position *position, struct admit_facts *facts,
                        struct error *err) {
  char *name = instance_command_name(relay->name, "status");
  struct replication *rep = replication_open(relay->conninfo, name, err);
  bool ok = rep != NULL && replication_identify(rep, &facts->identity, err);
  if (ok && position->timeline != facts->identity.timeline)
    ok = replication_timeline_end(rep, facts->identity.timeline, position->timeline, &facts->ancestor_found,
                                  &facts->ancestor_end, err);
  replication_close(rep);
  free(name);
  return ok;
}

static void print_event(void *ctx, const struct lost_event *event) {
  struct listing *l = ctx;
  buffer_clear(&l->line);
  if (l->json) {
    jsonobject_open(&l->line, NULL);
    jsonobject_text(&l->line, "topic", event->topic);
    jsonobject_integer(&l->line, "partition", event->partition);
    jsonobject_integer(&l->line, "offset", event->offset);
    jsonobject_slice(&l->line, "id", event->id);
    jsonobject_slice(&l->line, "type", event->type);
    jsonobject_lsn(&l->line, "lsn", event->lsn);
    jsonobject_close(&l->line);
  } else {
    buffer_printf(&l->line, "%s %" PRId32 " %" PRId64 "  %s  %.*s  %.*s", event->topic, event->partition, event->offset,
                  lsn_format(event->lsn).text, (int)event->id.len, slice_present(event->id) ? event->id.data : "",
                  (int)event->type.len, slice_present(event->type) ? event->type.data : "");
  }
  fprintf(l->out, "%.*s\n", (int)l->line.len, l->line.data);
}

static bool list(const struct relay_settings *relay, const struct position *position, lsn_t from,
                 const struct stop *stop, bool json, FILE *out, struct error *err) {
  struct listing l = {.out = out, .json = json};
  struct lost_limits limits = {.deadline_ms = INT64_MAX, .stop = &stop->requested};
  struct lost_found found;
  buffer_init(&l.line, LINE_MAX_BYTES);
  if (!json)
    fprintf(out, "# topic partition offset  commit  id  type: of transactions from %s on, unknown to the database\n",
            lsn_format(from).text);
  lost_find(&relay->publisher.kafka, position, from, &limits, print_event, &l, &found);
  buffer_free(&l.line);
  if (!json)
    fprintf(out, "# %" PRId64 " events\n", found.events);
  if (!json && found.doubtful > 0)
    fprintf(out, "# %" PRId64 " more may be, if their `source` is the rows' own: it looks like another instance's\n",
            found.doubtful);
  return found.topics_unread == 0 || error_set(err, ERROR_RETRY, "%d of %d topics could not be read, the last: %s",
                                               found.topics_unread, position->topic_count, found.why.message);
}

bool status_lost_run(const struct relay_settings *relay, const struct stop *stop, bool json, FILE *out,
                     struct error *err) {
  struct publisher *publisher = publisher_new(&relay->publisher, stop);
  struct position position;
  struct admit_facts facts = {.ancestor_found = false};
  position_init(&position);
  lsn_t from;
  bool ok = publisher_peek(publisher, &position, err) && read_server(relay, &position, &facts, err);
  if (ok && admit_lost_from(&facts, &position, &from))
    ok = list(relay, &position, from, stop, json, out, err);
  else if (ok && !json)
    fprintf(out, "# none: the server's history reaches the stored position, or has nothing in common with it\n");
  position_clear(&position);
  publisher_free(publisher);
  return ok;
}
