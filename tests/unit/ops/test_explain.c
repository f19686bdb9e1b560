/* bridge/ops/explain.h; that every code of the sources has a page is tests/integration/test_explain.py's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/ops/explain.h"

static char *explain(const char *code, struct error *err) {
  char *text = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&text, &len);
  bool ok = explain_print(code, out, err);
  fclose(out);
  if (ok)
    return text;
  assert_int_equal(len, 0); /* stdout belongs to pages */
  free(text);
  return NULL;
}

static void a_page_has_meaning_and_steps(void **state) {
  (void)state;
  struct error err;
  char *page = explain("slot_missing", &err);
  assert_non_null(page);
  assert_int_equal(strncmp(page, "slot_missing: ", 14), 0);
  assert_non_null(strstr(page, "\nWhat it means\n"));
  assert_non_null(strstr(page, "\nWhat to do\n"));
  assert_non_null(strstr(page, "walferry init"));
  free(page);
}

static void the_list_has_a_line_for_each_page(void **state) {
  (void)state;
  struct error err;
  char *list = explain(NULL, &err);
  assert_non_null(list);
  for (size_t i = 0; i < explain_refusal_count; i++)
    assert_non_null(strstr(list, explain_refusals[i].summary));
  for (size_t i = 0; i < explain_inbox_count; i++)
    assert_non_null(strstr(list, explain_inbox[i].summary));
  for (size_t i = 0; i < explain_row_count; i++)
    assert_non_null(strstr(list, explain_rows[i].summary));
  for (size_t i = 0; i < explain_message_count; i++)
    assert_non_null(strstr(list, explain_messages[i].summary));
  free(list);
}

static void an_unknown_code_names_the_nearest(void **state) {
  (void)state;
  struct error err;
  assert_null(explain("slot_mising", &err));
  assert_int_equal(err.kind, ERROR_CONFIG);
  assert_non_null(strstr(err.remedy, "did you mean slot_missing?"));
  assert_null(explain("gibberish_of_any_kind", &err));
  assert_null(strstr(err.remedy, "did you mean"));
  assert_null(explain("", &err));
}

static void expect_narrow(const char *code, const char *text) {
  for (const char *line = text; line != NULL && *line != '\0';) {
    size_t len = strcspn(line, "\n");
    if (len > 80 && strncmp(line, "  ", 2) != 0) /* commands are not broken */
      fail_msg("%s: a line of %zu characters: %.*s", code, len, (int)len, line);
    if (line[len] == '\0')
      fail_msg("%s: the last line does not end", code);
    line += len + 1;
  }
}

static void expect_fit(const struct explain_page *page) {
  assert_non_null(page->steps);
  if (strlen(page->code) > 22 || strlen(page->summary) > 78)
    fail_msg("%s: %s", page->code, page->summary);
  expect_narrow(page->code, page->meaning);
  expect_narrow(page->code, page->look);
  expect_narrow(page->code, page->steps);
}

static void pages_fit_a_terminal(void **state) {
  (void)state;
  for (size_t i = 0; i < explain_refusal_count; i++)
    expect_fit(&explain_refusals[i]);
  for (size_t i = 0; i < explain_inbox_count; i++)
    expect_fit(&explain_inbox[i]);
  for (size_t i = 0; i < explain_row_count; i++)
    expect_fit(&explain_rows[i]);
  for (size_t i = 0; i < explain_message_count; i++)
    expect_fit(&explain_messages[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_page_has_meaning_and_steps),
      cmocka_unit_test(the_list_has_a_line_for_each_page),
      cmocka_unit_test(an_unknown_code_names_the_nearest),
      cmocka_unit_test(pages_fit_a_terminal),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
