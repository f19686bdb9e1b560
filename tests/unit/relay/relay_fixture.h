/* Shared by the relay's unit tests: cmocka, and how an LSN, a code and an error are compared. */
#ifndef WALFERRY_TESTS_RELAY_FIXTURE_H
#define WALFERRY_TESTS_RELAY_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bridge/base/buffer.h"
#include "bridge/base/error.h"
#include "bridge/base/lsn.h"

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static inline void expect_lsn(const char *file, int line, lsn_t actual, lsn_t expected) {
  if (actual != expected)
    fail_msg("%s:%d: expected %s, got %s", file, line, lsn_format(expected).text, lsn_format(actual).text);
}
#define assert_lsn(actual, expected) expect_lsn(__FILE__, __LINE__, actual, expected)

/* A refusal has its code, says what it found and what the operator can do; then the error is cleared. */
static inline void expect_refusal(const char *name, struct error *err, const char *code) {
  if (err->kind != ERROR_REFUSED || err->code == NULL || strcmp(err->code, code) != 0)
    fail_msg("%s: expected %s, got kind %s, code %s: %s", name, code, error_kind_name(err->kind),
             err->code == NULL ? "(none)" : err->code, err->message);
  if (err->message[0] == '\0' || err->remedy[0] == '\0')
    fail_msg("%s: %s lacks its message or its remedy", name, code);
  if (strlen(err->remedy) + 1 >= sizeof err->remedy)
    fail_msg("%s: the remedy of %s is cut off", name, code);
  error_clear(err);
}

#endif
