/* See router.h. */
#include "bridge/event/router.h"

#include <stdio.h>
#include <stdlib.h>

#include "bridge/base/jsontext.h"
#include "bridge/base/memory.h"
#include "bridge/base/pattern.h"
#include "bridge/base/topic_name.h"

/* A template is a run of these: a literal, or a field of the event. */
struct part {
  struct slice literal; /* present: this text */
  enum event_field field;
};

struct route {
  char *type;
  char *topic;      /* as configured; part literals point into it */
  char *known_name; /* the topic, if no field is needed for it; else NULL */
  struct part *parts;
  int part_count;
  bool round_robin;
};

struct router {
  struct route *routes;
  int count;
};

static const enum event_field template_fields[] = {FIELD_AGGREGATE, FIELD_TYPE,    FIELD_KEY,
                                                   FIELD_TENANT_ID, FIELD_VERSION, FIELD_SOURCE};
#define TEMPLATE_FIELD_COUNT (sizeof template_fields / sizeof *template_fields)

static bool find_template_field(struct slice name, enum event_field *field) {
  for (size_t i = 0; i < TEMPLATE_FIELD_COUNT; i++)
    if (slice_is(name, event_field_name(template_fields[i]))) {
      *field = template_fields[i];
      return true;
    }
  return false;
}

static void add_part(struct route *route, struct part part) {
  route->parts[route->part_count++] = part;
}

/* A dollar of the template, which begins ${field}; moves *at behind it. $$ is an error here and not at each event:
 * Kafka takes no dollar in a name. */
static bool compile_dollar(struct route *route, const char **at, struct error *err) {
  const char *p = *at;
  if (p[1] == '$')
    return error_set(err, ERROR_CONFIG, "a topic name cannot hold a dollar");
  const char *close = p[1] == '{' ? strchr(p, '}') : NULL;
  if (close == NULL)
    return error_set(err, ERROR_CONFIG, "\"%.40s\" is not of the form ${field}", p);
  struct slice name = slice_from(p + 2, (size_t)(close - p - 2));
  struct part part = {.literal = SLICE_ABSENT};
  if (!find_template_field(name, &part.field))
    return error_set(err, ERROR_CONFIG,
                     "${%.*s} is not a field that a topic can be made of: aggregate, type, key, tenant_id, version, "
                     "source",
                     SLICE_ARG(name));
  add_part(route, part);
  *at = close + 1;
  return true;
}

static bool compile(struct route *route, struct error *err) {
  if (*route->type == '\0')
    return error_set(err, ERROR_CONFIG, "the type is empty; \"*\" takes every type");
  /* No more parts than bytes. */
  route->parts = memory_alloc((strlen(route->topic) + 1) * sizeof *route->parts);
  bool needs_event = false;
  for (const char *at = route->topic; *at != '\0';) {
    if (*at == '$') {
      needs_event = true;
      if (!compile_dollar(route, &at, err))
        return false;
      continue;
    }
    size_t len = strcspn(at, "$");
    for (size_t i = 0; i < len; i++)
      if (!topic_name_char_legal(at[i]))
        return error_set(err, ERROR_CONFIG,
                         "\"%s\" holds a character that Kafka does not take in a topic name: only "
                         "letters, digits, dot, underscore and hyphen",
                         route->topic);
    add_part(route, (struct part){.literal = slice_from(at, len)});
    at += len;
  }
  if (needs_event)
    return true;
  if (!topic_name_legal(slice_of(route->topic)))
    return error_set(err, ERROR_CONFIG, "\"%.260s\" is not a topic name: 1 to 249 characters, not \".\" or \"..\"",
                     route->topic);
  route->known_name = route->topic;
  return true;
}

struct router *router_new(const struct route_spec *routes, int count, struct error *err) {
  struct router *router = memory_alloc(sizeof *router);
  router->routes = memory_alloc((size_t)count * sizeof *router->routes);
  router->count = count;
  for (int i = 0; i < count; i++) {
    struct route *route = &router->routes[i];
    route->type = memory_string(routes[i].type == NULL ? "" : routes[i].type);
    route->topic = memory_string(routes[i].topic == NULL ? "" : routes[i].topic);
    route->round_robin = routes[i].round_robin;
    if (!compile(route, err)) {
      error_wrap(err, "route %d (type \"%s\", topic \"%s\")", i + 1, route->type, route->topic);
      router_free(router);
      return NULL;
    }
  }
  return router;
}

void router_free(struct router *router) {
  if (router == NULL)
    return;
  for (int i = 0; i < router->count; i++) {
    free(router->routes[i].type);
    free(router->routes[i].topic);
    free(router->routes[i].parts);
  }
  free(router->routes);
  free(router);
}

static const struct route *find_route(const struct router *router, struct slice type) {
  for (int i = 0; i < router->count; i++)
    if (pattern_matches(router->routes[i].type, type))
      return &router->routes[i];
  return NULL;
}

bool router_topic(const struct router *router, const struct event *event, struct slice default_source,
                  struct buffer *topic, bool *round_robin, char *why, size_t why_size) {
  *round_robin = false;
  if (slice_present(event->fields[FIELD_TOPIC])) {
    buffer_append_slice(topic, event->fields[FIELD_TOPIC]);
    return true;
  }
  struct slice type = event->fields[FIELD_TYPE];
  const struct route *route = find_route(router, type);
  if (route == NULL) {
    if (slice_present(type) && type.len <= 80 && utf8_valid(type))
      snprintf(why, why_size, "no route matches type \"%.*s\"", SLICE_ARG(type));
    else
      snprintf(why, why_size, "no route matches the event's type");
    return false;
  }
  for (int i = 0; i < route->part_count; i++) {
    const struct part *part = &route->parts[i];
    struct slice text = slice_present(part->literal) ? part->literal : event->fields[part->field];
    if (!slice_present(text) && part->field == FIELD_SOURCE)
      text = default_source;
    if (text.len == 0) { /* an empty one would make a name that nobody meant, as ".events.v1" */
      snprintf(why, why_size, "the topic \"%.60s\" needs the event's %s, which is absent", route->topic,
               event_field_name(part->field));
      return false;
    }
    buffer_append_slice(topic, text);
  }
  *round_robin = route->round_robin;
  return true;
}

int router_literal_topics(const struct router *router, const char **topics, int max) {
  int found = 0;
  for (int i = 0; i < router->count && found < max; i++) {
    const char *name = router->routes[i].known_name;
    bool new_one = name != NULL;
    for (int j = 0; j < found && new_one; j++)
      new_one = strcmp(topics[j], name) != 0;
    if (new_one)
      topics[found++] = name;
  }
  return found;
}

int router_template_prefixes(const struct router *router, struct slice *prefixes, int max) {
  int found = 0;
  for (int i = 0; i < router->count && found < max; i++) {
    const struct route *route = &router->routes[i];
    struct slice prefix = slice_from(route->topic, strcspn(route->topic, "$"));
    bool new_one = route->known_name == NULL;
    for (int j = 0; j < found && new_one; j++)
      new_one = !slice_equal(prefixes[j], prefix);
    if (new_one)
      prefixes[found++] = prefix;
  }
  return found;
}
