/* bridge/event/router.h */
#include "tests/unit/event/event_fixture.h"

#include <string.h>

#include "bridge/event/router.h"

/* The topic, or "!" and why. */
static const char *route(const struct route_spec *specs, int count, const struct event *event) {
  static char out[2048];
  struct error err = {0};
  struct router *router = router_new(specs, count, &err);
  if (router == NULL)
    fail_msg("%s", err.message);
  struct buffer topic;
  buffer_init(&topic, 1000);
  char why[128];
  bool round_robin;
  if (router_topic(router, event, slice_of("shop.public.outbox"), &topic, &round_robin, why, sizeof why))
    snprintf(out, sizeof out, "%.*s", SLICE_ARG(buffer_slice(&topic)));
  else
    snprintf(out, sizeof out, "!%s", why);
  buffer_free(&topic);
  router_free(router);
  return out;
}

static void only_a_route_that_says_so_is_spread(void **state) {
  (void)state;
  static const struct route_spec specs[] = {{.type = "Rental*", .topic = "t", .round_robin = true},
                                            {.type = "*", .topic = "t"}};
  static const struct {
    const char *type, *topic;
    bool round_robin;
  } cases[] = {{"Rental", NULL, true}, {"Other", NULL, false}, {"Rental", "own", false}};
  struct router *router = router_new(specs, 2, NULL);
  struct buffer topic;
  buffer_init(&topic, 100);
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct event event = fixture_event();
    event.fields[FIELD_TYPE] = slice_of(cases[i].type);
    event.fields[FIELD_TOPIC] = slice_of(cases[i].topic);
    bool round_robin = !cases[i].round_robin;
    char why[128];
    assert_true(router_topic(router, &event, slice_of("s"), &topic, &round_robin, why, sizeof why));
    assert_int_equal(round_robin, cases[i].round_robin);
  }
  buffer_free(&topic);
  router_free(router);
}

static void the_first_match_wins(void **state) {
  (void)state;
  static const struct route_spec specs[] = {{.type = "Rental*", .topic = "fleet.rentals"},
                                            {.type = "*", .topic = "${aggregate}.events.v1"}};
  struct event event = fixture_event();
  assert_string_equal(route(specs, 2, &event), "fleet.rentals");
  event.fields[FIELD_TYPE] = slice_of("Other");
  assert_string_equal(route(specs, 2, &event), "Rental.events.v1");
}

static void a_template_takes_the_events_fields(void **state) {
  (void)state;
  struct event event = fixture_event();
  event.fields[FIELD_TENANT_ID] = slice_of("acme");
  event.fields[FIELD_VERSION] = slice_of("2");
  const struct route_spec spec = {.type = "*",
                                  .topic = "${aggregate}-${type}-${key}.${tenant_id}_${version}${source}.x"};
  assert_string_equal(route(&spec, 1, &event), "Rental-RentalReserved-r-17.acme_2shop.public.outbox.x");
  event.fields[FIELD_SOURCE] = slice_of("other");
  assert_string_equal(route(&spec, 1, &event), "Rental-RentalReserved-r-17.acme_2other.x");
}

static void an_events_own_topic_beats_the_routes(void **state) {
  (void)state;
  struct event event = fixture_event();
  event.fields[FIELD_TOPIC] = slice_of("mine");
  assert_string_equal(route(&(struct route_spec){.type = "*", .topic = "t"}, 1, &event), "mine");
  assert_string_equal(route(NULL, 0, &event), "mine");
}

static void an_event_without_a_route_is_told_why(void **state) {
  (void)state;
  struct event event = fixture_event();
  assert_string_equal(route(NULL, 0, &event), "!no route matches type \"RentalReserved\"");
  event.fields[FIELD_TYPE] = slice_of("\xff");
  assert_string_equal(route(NULL, 0, &event), "!no route matches the event's type");
  event.fields[FIELD_TYPE] = SLICE_ABSENT;
  assert_string_equal(route(NULL, 0, &event), "!no route matches the event's type");
}

static void a_field_that_is_absent_or_empty_makes_no_topic(void **state) {
  (void)state;
  const struct route_spec spec = {.type = "*", .topic = "${tenant_id}.events"};
  struct event event = fixture_event();
  const char *why = "!the topic \"${tenant_id}.events\" needs the event's tenant_id, which is absent";
  assert_string_equal(route(&spec, 1, &event), why);
  event.fields[FIELD_TENANT_ID] = slice_of("");
  assert_string_equal(route(&spec, 1, &event), why);
}

static void a_bad_route_is_named_with_what_is_wrong(void **state) {
  (void)state;
  char long_name[300];
  memset(long_name, 'a', sizeof long_name - 1);
  long_name[sizeof long_name - 1] = '\0';
  const struct {
    struct route_spec spec;
    const char *says;
  } cases[] = {
      {{.type = "*", .topic = "${payload}"}, "${payload} is not a field"},
      {{.type = "*", .topic = "${}"}, "${} is not a field"},
      {{.type = "*", .topic = "a.${type"}, "not of the form ${field}"},
      {{.type = "*", .topic = "a$type"}, "not of the form ${field}"},
      {{.type = "*", .topic = "a$"}, "not of the form ${field}"},
      {{.type = "*", .topic = "a$$b"}, "cannot hold a dollar"},
      {{.type = "*", .topic = ""}, "not a topic name"},
      {{.type = "*", .topic = NULL}, "not a topic name"},
      {{.type = "*", .topic = ".."}, "not a topic name"},
      {{.type = "*", .topic = long_name}, "not a topic name"},
      {{.type = "*", .topic = "a b"}, "does not take"},
      {{.type = "*", .topic = "${type}/x"}, "does not take"},
      {{.type = "", .topic = "t"}, "the type is empty"},
      {{.type = NULL, .topic = "t"}, "the type is empty"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct route_spec specs[] = {{.type = "x", .topic = "fine"}, cases[i].spec};
    struct error err = {0};
    assert_null(router_new(specs, 2, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    if (strstr(err.message, "route 2") == NULL || strstr(err.message, cases[i].says) == NULL)
      fail_msg("%s", err.message);
  }
}

static void the_topics_known_without_an_event_are_listed_once(void **state) {
  (void)state;
  static const struct route_spec specs[] = {{.type = "a", .topic = "one"},
                                            {.type = "b", .topic = "${type}"},
                                            {.type = "c", .topic = "two"},
                                            {.type = "d", .topic = "one"},
                                            {.type = "e", .topic = "three"}};
  struct router *router = router_new(specs, 5, NULL);
  const char *topics[5];
  assert_int_equal(router_literal_topics(router, topics, 5), 3);
  assert_string_equal(topics[0], "one");
  assert_string_equal(topics[1], "two");
  assert_string_equal(topics[2], "three");
  assert_int_equal(router_literal_topics(router, topics, 2), 2);
  router_free(router);
  router_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(only_a_route_that_says_so_is_spread),
      cmocka_unit_test(the_first_match_wins),
      cmocka_unit_test(a_template_takes_the_events_fields),
      cmocka_unit_test(an_events_own_topic_beats_the_routes),
      cmocka_unit_test(an_event_without_a_route_is_told_why),
      cmocka_unit_test(a_field_that_is_absent_or_empty_makes_no_topic),
      cmocka_unit_test(a_bad_route_is_named_with_what_is_wrong),
      cmocka_unit_test(the_topics_known_without_an_event_are_listed_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
