/* The sections of the file: each function turns raw texts into checked values and writes them to the config. What was
 * written before a failure stays there, for config_free. */
#ifndef WALFERRY_CONFIG_SECTIONS_H
#define WALFERRY_CONFIG_SECTIONS_H

#include <stdbool.h>

#include "config/config.h"
#include "config/loading.h"
#include "config/raw.h"

/* config->name must be there already: defaults follow from it. */
bool section_postgres(const struct loading *loading, const struct raw_postgres *raw, struct config *config);
bool section_kafka(const struct loading *loading, const struct raw_kafka *raw, struct config *config);
bool section_relay(const struct loading *loading, const struct raw_relay *raw, struct config *config);
bool section_inbox(const struct loading *loading, const struct raw_inbox *raw, struct config *config);

/* A list of texts at key ("inbox.topics"), each once; check is one of names.h, remedy says what it wants. */
bool section_strings(const struct loading *loading, const char *key, char *const *raw, unsigned count,
                     const char *(*check)(const char *text), const char *remedy, struct config_strings *out);
/* A text of names.h's form. */
bool section_name(const struct loading *loading, const char *key, const char *raw, const char *fallback,
                  const char *(*check)(const char *text), const char *remedy, char **out);
/* The one line of text in the file that raw names (NULL: no such key, *out is NULL), relative to the config file. Warns
 * (log event "config.secret_readable") of a file that everybody may read. No error quotes what is in it. */
bool section_secret(const struct loading *loading, const char *key, const char *raw, char **out);

#define SECTION_TOPIC_REMEDY "Kafka takes 1 to 249 of a-z A-Z 0-9 . _ -"

#endif
