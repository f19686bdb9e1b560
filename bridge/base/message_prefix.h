/* Prefixes of logical messages that are walferry's own. */
#ifndef WALFERRY_BASE_MESSAGE_PREFIX_H
#define WALFERRY_BASE_MESSAGE_PREFIX_H

#define MESSAGE_PREFIX_DEAD_LETTER "walferry.dead_letter" /* the inbox's, to the relay of the same config */

#endif
