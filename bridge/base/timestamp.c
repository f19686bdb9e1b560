/* See timestamp.h. */
#include "bridge/base/timestamp.h"

#define SECOND_US INT64_C(1000000)
#define DAY_SECONDS INT64_C(86400)
#define FIRST_US (INT64_C(-62135596800) * SECOND_US)    /* 0001-01-01 00:00:00 */
#define LAST_US (INT64_C(253402300800) * SECOND_US - 1) /* 9999-12-31 23:59:59.999999 */

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar, years from March so that the leap day comes
 * last. Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil; years above 0 only. */
static int64_t days_of_date(int64_t year, int64_t month, int64_t day) {
  year -= month <= 2;
  int64_t era = year / 400;
  int64_t year_of_era = year - era * 400;
  int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

/* The inverse, civil_from_days of the same source. */
static void date_of_days(int64_t days, int64_t *year, int64_t *month, int64_t *day) {
  days += 719468;
  int64_t era = days / 146097;
  int64_t day_of_era = days - era * 146097;
  int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  int64_t shifted = (5 * day_of_year + 2) / 153;
  *day = day_of_year - (153 * shifted + 2) / 5 + 1;
  *month = shifted < 10 ? shifted + 3 : shifted - 9;
  *year = year_of_era + era * 400 + (*month <= 2);
}

static int64_t days_in_month(int64_t year, int64_t month) {
  static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return month == 2 && leap ? 29 : days[month - 1];
}

struct cursor {
  const char *at;
  const char *end;
};

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool take(struct cursor *c, char wanted) {
  if (c->at == c->end || *c->at != wanted)
    return false;
  c->at++;
  return true;
}

/* Exactly so many digits, within a range. */
static bool take_digits(struct cursor *c, int count, int64_t min, int64_t max, int64_t *value) {
  int64_t sum = 0;
  for (int i = 0; i < count; i++, c->at++) {
    if (c->at == c->end || !is_digit(*c->at))
      return false;
    sum = sum * 10 + (*c->at - '0');
  }
  *value = sum;
  return sum >= min && sum <= max;
}

/* Behind the point: at least one digit; six count. */
static bool take_fraction(struct cursor *c, int64_t *us) {
  if (c->at == c->end || !is_digit(*c->at))
    return false;
  int64_t unit = 100000, sum = 0;
  for (; c->at < c->end && is_digit(*c->at); c->at++, unit /= 10)
    sum += unit * (*c->at - '0');
  *us = sum;
  return true;
}

/* Z, or +05, +05:30, +05:30:15 (local mean times of long ago), or nothing. */
static bool take_offset(struct cursor *c, int64_t *seconds) {
  *seconds = 0;
  if (c->at == c->end || take(c, 'Z') || take(c, 'z'))
    return true;
  bool west = take(c, '-');
  if (!west && !take(c, '+'))
    return false;
  int64_t hours, minutes = 0, rest = 0;
  if (!take_digits(c, 2, 0, 23, &hours))
    return false;
  if (take(c, ':') && !take_digits(c, 2, 0, 59, &minutes))
    return false;
  if (take(c, ':') && !take_digits(c, 2, 0, 59, &rest))
    return false;
  *seconds = hours * 3600 + minutes * 60 + rest;
  if (west)
    *seconds = -*seconds;
  return true;
}

bool timestamp_parse(struct slice text, int64_t *unix_us) {
  if (text.len == 0)
    return false;
  struct cursor c = {.at = text.data, .end = text.data + text.len};
  int64_t year, month, day, hour, minute, second, fraction = 0, offset;
  if (!take_digits(&c, 4, 1, 9999, &year) || !take(&c, '-') || !take_digits(&c, 2, 1, 12, &month) || !take(&c, '-') ||
      !take_digits(&c, 2, 1, days_in_month(year, month), &day))
    return false;
  if (!take(&c, ' ') && !take(&c, 'T') && !take(&c, 't'))
    return false;
  /* 60 is a leap second, and the same instant as the next minute's start. */
  if (!take_digits(&c, 2, 0, 23, &hour) || !take(&c, ':') || !take_digits(&c, 2, 0, 59, &minute) || !take(&c, ':') ||
      !take_digits(&c, 2, 0, 60, &second))
    return false;
  if (take(&c, '.') && !take_fraction(&c, &fraction))
    return false;
  if (!take_offset(&c, &offset) || c.at != c.end)
    return false;
  int64_t seconds = days_of_date(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second - offset;
  int64_t us = seconds * SECOND_US + fraction;
  if (us < FIRST_US || us > LAST_US)
    return false;
  *unix_us = us;
  return true;
}

static char *put_digits(char *at, int count, int64_t value) {
  for (int i = count - 1; i >= 0; i--, value /= 10)
    at[i] = (char)('0' + value % 10);
  return at + count;
}

static char *put_char(char *at, char c) {
  *at = c;
  return at + 1;
}

size_t timestamp_format(int64_t unix_us, char text[TIMESTAMP_TEXT_SIZE]) {
  if (unix_us < FIRST_US)
    unix_us = FIRST_US;
  if (unix_us > LAST_US)
    unix_us = LAST_US;
  int64_t since_first = unix_us - FIRST_US; /* not negative, so that / and % round down */
  int64_t fraction = since_first % SECOND_US;
  int64_t second_of_day = since_first / SECOND_US % DAY_SECONDS;
  int64_t year, month, day;
  date_of_days(since_first / SECOND_US / DAY_SECONDS + FIRST_US / SECOND_US / DAY_SECONDS, &year, &month, &day);

  char *at = put_char(put_digits(text, 4, year), '-');
  at = put_char(put_digits(at, 2, month), '-');
  at = put_char(put_digits(at, 2, day), 'T');
  at = put_char(put_digits(at, 2, second_of_day / 3600), ':');
  at = put_char(put_digits(at, 2, second_of_day / 60 % 60), ':');
  at = put_digits(at, 2, second_of_day % 60);
  if (fraction != 0)
    at = put_digits(put_char(at, '.'), 6, fraction);
  at = put_char(at, 'Z');
  *at = '\0';
  return (size_t)(at - text);
}

int64_t timestamp_floor_ms(int64_t unix_us) {
  return unix_us / 1000 - (unix_us % 1000 < 0);
}
