/* Objects written member by member. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/base/jsonobject.h"

static void commas_stand_between_members_and_elements_only(void **state) {
  (void)state;
  struct buffer json;
  buffer_init(&json, 4096);
  jsonobject_open(&json, NULL);
  jsonobject_text(&json, "text", "a \"b\" {");
  jsonobject_text(&json, "none", NULL);
  jsonobject_open(&json, "empty");
  jsonobject_close(&json);
  jsonobject_open(&json, "inner");
  jsonobject_bool(&json, "yes", true);
  jsonobject_integer(&json, "n", INT64_MIN);
  jsonobject_close(&json);
  jsonobject_key(&json, "list");
  buffer_append_char(&json, '[');
  for (int i = 0; i < 2; i++) {
    jsonobject_open(&json, NULL);
    jsonobject_lsn(&json, "lsn", (lsn_t)i);
    jsonobject_close(&json);
  }
  buffer_append_char(&json, ']');
  jsonobject_bool(&json, "last", false);
  jsonobject_close(&json);
  buffer_append_char(&json, '\0');
  assert_string_equal(json.data, "{\"text\":\"a \\\"b\\\" {\",\"none\":null,\"empty\":{},"
                                 "\"inner\":{\"yes\":true,\"n\":-9223372036854775808},"
                                 "\"list\":[{\"lsn\":null},{\"lsn\":\"0/1\"}],\"last\":false}");
  buffer_free(&json);
}

static void names_are_escaped(void **state) {
  (void)state;
  struct buffer json;
  buffer_init(&json, 4096);
  jsonobject_open(&json, NULL);
  jsonobject_integer(&json, "a\"b", 1);
  jsonobject_close(&json);
  assert_true(slice_is(buffer_slice(&json), "{\"a\\\"b\":1}"));
  buffer_free(&json);
}

static void what_was_cut_within_a_character_is_still_json(void **state) {
  (void)state;
  struct buffer json;
  buffer_init(&json, 4096);
  jsonobject_open(&json, NULL);
  jsonobject_text(&json, "whole", "Schl\xC3\xBCssel");
  jsonobject_text(&json, "cut", "Schl\xC3");
  jsonobject_close(&json);
  assert_true(slice_is(buffer_slice(&json), "{\"whole\":\"Schl\xC3\xBCssel\",\"cut\":\"Schl\xEF\xBF\xBD\"}"));
  buffer_free(&json);
}

static void moments_are_rfc_3339(void **state) {
  (void)state;
  struct buffer json;
  buffer_init(&json, 4096);
  jsonobject_open(&json, NULL);
  jsonobject_moment(&json, "at", 1000000);
  jsonobject_moment(&json, "never", 0);
  jsonobject_close(&json);
  assert_true(slice_is(buffer_slice(&json), "{\"at\":\"1970-01-01T00:00:01Z\",\"never\":null}"));
  buffer_free(&json);
}

static void bytes_from_elsewhere_are_json_all_the_same(void **state) {
  (void)state;
  struct buffer json;
  buffer_init(&json, 4096);
  jsonobject_open(&json, NULL);
  jsonobject_slice(&json, "n\xff", slice_from("\xff\0", 2));
  jsonobject_slice(&json, "none", SLICE_ABSENT);
  jsonobject_verbatim(&json, "as_it_is", slice_of("{\"a\" : 1.50}"));
  jsonobject_base64(&json, "bytes", slice_from("\xff\0", 2));
  jsonobject_close(&json);
  assert_true(slice_is(buffer_slice(&json), "{\"n\xEF\xBF\xBD\":\"\xEF\xBF\xBD\\u0000\",\"none\":null,"
                                            "\"as_it_is\":{\"a\" : 1.50},\"bytes\":\"/wA=\"}"));
  buffer_free(&json);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(commas_stand_between_members_and_elements_only), cmocka_unit_test(names_are_escaped),
      cmocka_unit_test(what_was_cut_within_a_character_is_still_json),  cmocka_unit_test(moments_are_rfc_3339),
      cmocka_unit_test(bytes_from_elsewhere_are_json_all_the_same),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
