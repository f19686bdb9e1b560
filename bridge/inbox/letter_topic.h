/* Sends the dead letters of a topic to where they came from: key, value and headers of the original byte for byte, to
 * its topic and, as long as that is there, its partition; with the time of now. In Kafka transactions that hold the
 * progress too (letter_progress.h), as the offsets of the consumer group walferry.<name>.dlq, which has no members: so
 * each letter is sent once, whatever is killed, and however often it is asked for. The transactional id has the same
 * name: two such runs of an instance fence each other, and no relay. No Postgres. */
#ifndef WALFERRY_INBOX_LETTER_TOPIC_H
#define WALFERRY_INBOX_LETTER_TOPIC_H

#include "bridge/base/stop.h"
#include "bridge/event/dead_letter.h"
#include "bridge/inbox/letter_filter.h"
#include "bridge/kafka/client.h"

/* A record that is worth a line. Texts are valid during the call. */
struct letter_topic_note {
  int32_t partition; /* of the dead-letter topic */
  int64_t offset;
  const struct dead_letter_copy *letter; /* of a dry run: it would be sent; NULL: it is no letter */
  const char *why;                       /* no letter: what it lacks */
};

struct letter_topic_totals {
  uint64_t sent;        /* of a dry run: that would be */
  uint64_t passed_over; /* by the filter; they stay for another run */
  uint64_t no_letters;  /* records of another form: passed over for good */
};

struct letter_topic_settings {
  const struct kafka_settings *kafka; /* of the instance */
  const char *topic;
  const struct letter_filter *filter; /* no id; the state is no matter */
  int64_t limit;                      /* letters that are sent at most; 0: all that are there when it starts */
  int64_t max_per_second;             /* letters; 0: no limit */
  bool dry_run;                       /* sends and stores nothing, and fences nobody */
  void (*note)(void *to, const struct letter_topic_note *note);
  void *note_to;
};

/* Partition after partition, each in its order. True: all that is there and matches was sent; totals, which are filled
 * in any case, say how much that was. ERROR_CONFIG: there is no such topic. ERROR_REFUSED: what is stored as progress
 * does not belong to it (dlq_progress_invalid). ERROR_FATAL: a letter cannot be sent (its topic is gone, or refuses
 * it); those before it were. ERROR_FENCED: another run of the instance began. ERROR_STOPPED: it was stopped, which is
 * heard between two transactions. ERROR_RETRY: the brokers stay away for 60 s. */
bool letter_topic_run(const struct letter_topic_settings *settings, const struct stop *stop,
                      struct letter_topic_totals *totals, struct error *err);

#endif
