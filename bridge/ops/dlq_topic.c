/* See dlq_topic.h. */
#include "bridge/ops/dlq_topic.h"

#include <inttypes.h>

#include "bridge/base/jsonobject.h"
#include "bridge/base/log.h"
#include "bridge/ops/dlq_print.h"

struct printer {
  const struct dlq_settings *settings;
  FILE *out;
};

/* What is no letter is told in the log too where stdout is for the statistics alone. */
static void print_note(void *to, const struct letter_topic_note *note) {
  const struct printer *p = to;
  const char *topic = p->settings->from_topic;
  if (note->letter == NULL)
    log_warn("dlq.no_letter", log_string("topic", topic), log_int("partition", note->partition),
             log_int("offset", note->offset), log_string("why", note->why));
  if (p->settings->json)
    return;
  fprintf(p->out, "--  %s/%" PRId32 "@%" PRId64 "  ", topic, note->partition, note->offset);
  if (note->letter == NULL) {
    fprintf(p->out, "is no dead letter: %s\n", note->why);
    return;
  }
  const struct received_record *original = &note->letter->original;
  dlq_print_tame(p->out, slice_present(note->letter->type) ? note->letter->type : slice_of("-"));
  fprintf(p->out, "  would be sent to %s/%" PRId32 " (was %" PRId64 ")\n", original->topic, original->partition,
          original->offset);
}

static void print_totals(const struct printer *p, const struct letter_topic_totals *totals) {
  const struct dlq_settings *s = p->settings;
  if (s->dry_run)
    fputs("a dry run: nothing was sent, and nothing is remembered\n", p->out);
  fprintf(p->out, "%s: %" PRIu64 "\n", s->dry_run ? "would be sent to their topics" : "sent to their topics",
          totals->sent);
  if (letter_filter_narrows(&s->filter))
    fprintf(p->out, "passed over by the filters: %" PRIu64 "\n", totals->passed_over);
  if (totals->no_letters > 0)
    fprintf(p->out, "no dead letters: %" PRIu64 "\n", totals->no_letters);
}

static void print_totals_json(const struct printer *p, const struct letter_topic_totals *totals) {
  struct buffer json;
  buffer_init(&json, BUFFER_MAX_ROW);
  jsonobject_open(&json, NULL);
  jsonobject_text(&json, "topic", p->settings->from_topic);
  jsonobject_bool(&json, "dry_run", p->settings->dry_run);
  jsonobject_integer(&json, "sent", (int64_t)totals->sent);
  jsonobject_integer(&json, "passed_over", (int64_t)totals->passed_over);
  jsonobject_integer(&json, "no_letters", (int64_t)totals->no_letters);
  jsonobject_close(&json);
  buffer_append_char(&json, '\n');
  fwrite(buffer_slice(&json).data, 1, json.len, p->out);
  buffer_free(&json);
}

bool dlq_topic_run(const struct dlq_settings *settings, const struct kafka_settings *kafka, const struct stop *stop,
                   FILE *out, struct error *err) {
  struct printer printer = {.settings = settings, .out = out};
  struct letter_topic_settings run = {.kafka = kafka,
                                      .topic = settings->from_topic,
                                      .filter = &settings->filter,
                                      .limit = settings->limit,
                                      .max_per_second = settings->max_per_second,
                                      .dry_run = settings->dry_run,
                                      .note = print_note,
                                      .note_to = &printer};
  struct letter_topic_totals totals;
  bool ok = letter_topic_run(&run, stop, &totals, err);
  (settings->json ? print_totals_json : print_totals)(&printer, &totals);
  return ok;
}
