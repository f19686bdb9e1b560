/* How an instance's sessions are known to Postgres. */
#ifndef WALFERRY_OPS_INSTANCE_H
#define WALFERRY_OPS_INSTANCE_H

/* The application_name of its relays: the conninfo's own, or "walferry/<name>"; malloc'ed. */
char *instance_application_name(const char *conninfo, const char *name);
/* The name to connect under for a command that only looks, so that it is not taken for a relay; malloc'ed. */
char *instance_command_name(const char *name, const char *command);

#endif
