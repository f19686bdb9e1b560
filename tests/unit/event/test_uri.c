/* bridge/event/uri.h: what becomes of a text that is to be a URI reference. */
#include "tests/unit/event/event_fixture.h"

#include "bridge/event/uri.h"

static void what_may_not_stand_is_encoded_and_the_rest_stays(void **state) {
  (void)state;
  static const struct {
    const char *text, *expected;
  } cases[] = {
      {"shop.public.outbox", "shop.public.outbox"},
      {"https://example.org/a/b?c=d&e#f", "https://example.org/a/b?c=d&e#f"},
      {"urn:uuid:6b3f", "urn:uuid:6b3f"},
      {"/a:b/%20-._~!$&'()*+,;=@", "/a:b/%20-._~!$&'()*+,;=@"},
      {"shop.sales.my table", "shop.sales.my%20table"},
      {"b\u00fccher\n\"\\<>^`{|}", "b%C3%BCcher%0A%22%5C%3C%3E%5E%60%7B%7C%7D"},
      {"100%", "100%25"},
      {"%2", "%252"},
      {"%2g%zz%a0", "%252g%25zz%a0"},
      {"#a#b", "#a%23b"},
      {"[1]", "%5B1%5D"},
      /* A colon in the first segment would make a scheme of what stands before it. */
      {"1a:b", "1a%3Ab"},
      {":a", "%3Aa"},
      {"a b:c/d:e", "a%20b%3Ac/d:e"},
      {"a b?c:d", "a%20b?c:d"},
      {"a+1-.x:b:c", "a+1-.x:b:c"},
      {"", ""},
  };
  struct buffer out;
  buffer_init(&out, 1000);
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    buffer_clear(&out);
    uri_append_reference(&out, slice_of(cases[i].text));
    assert_text(buffer_slice(&out), cases[i].expected);
  }
  buffer_clear(&out);
  uri_append_reference(&out, slice_from("a\0b", 3));
  assert_text(buffer_slice(&out), "a%00b");
  buffer_free(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_may_not_stand_is_encoded_and_the_rest_stays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
