/* The trace context that a row carries. Source: W3C Trace Context, section 3.2. */
#ifndef WALFERRY_EVENT_TRACEPARENT_H
#define WALFERRY_EVENT_TRACEPARENT_H

#include "bridge/base/slice.h"

/* version 2 hex, "-", trace id 32 hex, "-", parent id 16 hex, "-", flags 2 hex; lower case; neither id all zero. A
 * version above 00 may have more behind another "-"; ff is none. *trace_id is borrowed from text, and untouched on
 * failure. */
bool traceparent_parse(struct slice text, struct slice *trace_id);

#endif
