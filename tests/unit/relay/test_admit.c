/* bridge/relay/admit.h: each refusal of a start has a case that is bent in one place from one that is let in. */
#include "tests/unit/relay/relay_fixture.h"

#include "bridge/relay/admit.h"

/* The position: transaction 0x1000 with end 0x1100 is in Kafka, idle up to 0x1800; the slot stands at 0x1100. */
struct scene {
  struct admit_facts facts;
  struct catalog_publication publication;
  struct catalog_publication_table tables[2];
  struct position position;
  char *columns[3];
};

static void scene_init(struct scene *s) {
  *s = (struct scene){
      .tables = {{.schema = "public", .table = "outbox", .exists = true, .entry_oid = 501},
                 {.schema = "sales", .table = "outbox", .exists = true, .entry_oid = 502}},
      .publication = {.exists = true, .oid = 500, .inserts = true, .via_root = true, .table_count = 2},
      .facts = {.slot_name = "walferry_shop",
                .publication_name = "walferry_shop",
                .plugin = "pgoutput",
                .position_topic = "walferry.position.shop",
                .database_oid = 16384,
                .database = "shop",
                .identity = {.system_id = "7312345678901234567", .timeline = 3, .flush_lsn = 0x9000},
                .slot = {.exists = true,
                         .logical = true,
                         .plugin = "pgoutput",
                         .database = "shop",
                         .active = true,
                         .confirmed_flush_lsn = 0x1100,
                         .restart_lsn = 0x800,
                         .wal_status = "reserved"},
                .fingerprint = 0xf1},
  };
  static char names[3][8] = {"id", "type", "payload"};
  for (int i = 0; i < 3; i++)
    s->columns[i] = names[i];
  for (int i = 0; i < 2; i++) {
    s->tables[i].columns = s->columns;
    s->tables[i].column_count = 3;
  }
  s->publication.tables = s->tables;
  s->facts.publication = &s->publication;
  position_init(&s->position);
  s->position.state = POSITION_SET;
  admit_fill_identity(&s->facts, &s->position);
  s->position.commit_lsn = 0x1000;
  s->position.end_lsn = 0x1100;
  s->position.idle_end_lsn = 0x1800;
  s->position.xid = 700;
  s->position.commit_time_us = 5;
  s->position.complete = true;
  position_pin(&s->position, "t", 3);
}

static void scene_free(struct scene *s) {
  position_clear(&s->position);
}

static void bend_to_none(struct scene *s) {
  position_clear(&s->position);
}

static void bend_to_intent(struct scene *s) {
  position_clear(&s->position);
  s->position.state = POSITION_INTENT;
  admit_fill_identity(&s->facts, &s->position);
}

static void bend_to_incomplete(struct scene *s) { /* 0x2000 is split; 0x1000 was before it */
  s->position.commit_lsn = 0x2000;
  s->position.xid = 701;
  s->position.complete = false;
  s->position.next_index = 40;
}

/* On an older timeline than the server, which left it at `end`. */
static void bend_to_older_timeline(struct scene *s, lsn_t end) {
  s->position.timeline = 2;
  s->facts.ancestor_found = true;
  s->facts.ancestor_end = end;
}

static void nothing(struct scene *s) {
  (void)s;
}
static void lost(struct scene *s) {
  strcpy(s->facts.slot.wal_status, "lost");
}
static void invalidated(struct scene *s) {
  strcpy(s->facts.slot.invalidation_reason, "rows_removed");
}
static void intent_and_lost(struct scene *s) {
  bend_to_intent(s);
  lost(s);
}
static void none_adopt_and_invalidated(struct scene *s) {
  bend_to_none(s);
  s->facts.adopt = true;
  invalidated(s);
}
static void physical(struct scene *s) {
  s->facts.slot.logical = false;
  s->facts.slot.plugin[0] = '\0';
}
static void temporary(struct scene *s) {
  s->facts.slot.temporary = true;
}
static void two_phase(struct scene *s) {
  s->facts.slot.two_phase = true;
}
static void slot_plugin(struct scene *s) {
  strcpy(s->facts.slot.plugin, "wal2json");
}
static void slot_database(struct scene *s) {
  strcpy(s->facts.slot.database, "shop2");
}
static void none_and_slot_plugin(struct scene *s) {
  bend_to_none(s);
  s->facts.adopt = true;
  slot_plugin(s);
}
static void both_plugins(struct scene *s) {
  slot_plugin(s);
  s->facts.plugin = "wal2json";
}
static void other_cluster(struct scene *s) {
  strcpy(s->facts.identity.system_id, "7312345678901234568");
}
static void intent_of_other_cluster(struct scene *s) {
  bend_to_intent(s);
  other_cluster(s);
}
static void other_database_oid(struct scene *s) {
  s->facts.database_oid = 16385;
}
static void other_slot_name(struct scene *s) {
  s->facts.slot_name = "walferry_other";
}
static void intent_of_other_slot(struct scene *s) {
  bend_to_intent(s);
  other_slot_name(s);
}
static void no_position(struct scene *s) {
  bend_to_none(s);
}
static void snapshot_too_late(struct scene *s) {
  s->facts.snapshot = true;
}
static void snapshot_of_other_tables(struct scene *s) {
  s->position.snapshot = (struct position_snapshot){.state = POSITION_SNAPSHOT_OPEN, .next = 3, .rows = 9};
  s->facts.fingerprint = 0xf2;
}
static void snapshot_that_is_done(struct scene *s) {
  s->position.snapshot = (struct position_snapshot){.state = POSITION_SNAPSHOT_DONE, .next = 9, .rows = 9};
  s->facts.snapshot = true;
}
static void open_snapshot_without_the_option(struct scene *s) {
  s->position.snapshot = (struct position_snapshot){.state = POSITION_SNAPSHOT_OPEN, .next = 3, .rows = 9};
}
static void adopt_with_position(struct scene *s) {
  s->facts.adopt = true;
}
static void publication_gone(struct scene *s) {
  s->publication.exists = false;
}
static void publication_oid(struct scene *s) {
  s->publication.oid = 900;
}
static void entry_gone(struct scene *s) {
  s->tables[1].entry_oid = 0;
}
static void entry_readded(struct scene *s) {
  s->tables[0].entry_oid = 601;
}
static void timeline_newer_than_server(struct scene *s) {
  s->position.timeline = 4;
  s->facts.ancestor_found = true;
  s->facts.ancestor_end = 0x9000;
}
static void timeline_unknown(struct scene *s) {
  bend_to_older_timeline(s, 0x9000);
  s->facts.ancestor_found = false;
}
static void timeline_left_before_end(struct scene *s) {
  bend_to_older_timeline(s, 0x10FF);
}
static void timeline_left_at_split_commit(struct scene *s) {
  bend_to_incomplete(s);
  bend_to_older_timeline(s, 0x2000);
}
static void timeline_left_before_first(struct scene *s) {
  s->position.commit_lsn = 0;
  bend_to_older_timeline(s, 0x10FF);
}
static void behind_end(struct scene *s) {
  s->position.idle_end_lsn = 0;
  s->facts.identity.flush_lsn = 0x10FF;
}
static void behind_idle_end(struct scene *s) {
  s->facts.identity.flush_lsn = 0x17FF;
}
static void behind_split_commit(struct scene *s) {
  bend_to_incomplete(s);
  s->facts.identity.flush_lsn = 0x2000;
}
static void advanced(struct scene *s) {
  s->facts.slot.confirmed_flush_lsn = 0x1801;
}
static void advanced_beyond_split(struct scene *s) {
  bend_to_incomplete(s);
  s->position.idle_end_lsn = 0;
  s->facts.slot.confirmed_flush_lsn = 0x2000;
}
static void advanced_beyond_cut(struct scene *s) { /* idle progress on the timeline that was left does not count */
  bend_to_older_timeline(s, 0x1500);
  s->facts.slot.confirmed_flush_lsn = 0x1501;
}
static void split_and_rules_changed(struct scene *s) {
  bend_to_incomplete(s);
  s->facts.fingerprint = 0xf2;
}

static void what_is_in_doubt_is_refused(void **state) {
  (void)state;
  static const struct {
    const char *name;
    void (*bend)(struct scene *);
    const char *code;
  } cases[] = {
      {"lost", lost, "slot_invalidated"},
      {"invalidation reason", invalidated, "slot_invalidated"},
      {"intent, lost", intent_and_lost, "slot_invalidated"},
      {"adopt, invalidated", none_adopt_and_invalidated, "slot_invalidated"},
      {"physical", physical, "slot_mismatch"},
      {"temporary", temporary, "slot_mismatch"},
      {"two-phase", two_phase, "slot_mismatch"},
      {"the slot's plugin", slot_plugin, "slot_mismatch"},
      {"the slot's database", slot_database, "slot_mismatch"},
      {"adopt, the slot's plugin", none_and_slot_plugin, "slot_mismatch"},
      {"slot and config changed their plugin", both_plugins, "slot_mismatch"},
      {"system id", other_cluster, "cluster_changed"},
      {"intent of another system", intent_of_other_cluster, "cluster_changed"},
      {"database OID", other_database_oid, "instance_conflict"},
      {"slot name", other_slot_name, "instance_conflict"},
      {"intent for another slot", intent_of_other_slot, "instance_conflict"},
      {"slot alone", no_position, "slot_unknown"},
      {"adopt in spite of a position", adopt_with_position, "position_exists"},
      {"a snapshot of a slot made without one", snapshot_too_late, "snapshot_too_late"},
      {"an open snapshot of other tables", snapshot_of_other_tables, "resume_mismatch"},
      {"publication gone", publication_gone, "publication_missing"},
      {"publication made again", publication_oid, "publication_changed"},
      {"table taken out", entry_gone, "publication_changed"},
      {"table taken out and added again", entry_readded, "publication_changed"},
      {"timeline newer than the server's", timeline_newer_than_server, "timeline_diverged"},
      {"timeline not in the history", timeline_unknown, "timeline_diverged"},
      {"timeline left before the last end", timeline_left_before_end, "timeline_diverged"},
      {"timeline left at the split one's commit", timeline_left_at_split_commit, "timeline_diverged"},
      {"timeline left before the consistent point", timeline_left_before_first, "timeline_diverged"},
      {"WAL ends before the last end", behind_end, "server_behind"},
      {"WAL ends before the idle end", behind_idle_end, "server_behind"},
      {"WAL ends at the split one's commit", behind_split_commit, "server_behind"},
      {"slot ahead", advanced, "slot_advanced"},
      {"slot ahead of a split one", advanced_beyond_split, "slot_advanced"},
      {"slot ahead of what is left of idle progress", advanced_beyond_cut, "slot_advanced"},
      {"split, and the rules changed", split_and_rules_changed, "resume_mismatch"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct scene s;
    scene_init(&s);
    cases[i].bend(&s);
    struct buffer before, after;
    buffer_init(&before, BUFFER_MAX_ROW);
    buffer_init(&after, BUFFER_MAX_ROW);
    enum position_state state_before = s.position.state;
    position_encode(&s.position, &before);
    bool changed, expect_last;
    struct error err = {.kind = ERROR_NONE};
    if (admit_position(&s.facts, &s.position, &changed, &expect_last, &err))
      fail_msg("%s was let in", cases[i].name);
    expect_refusal(cases[i].name, &err, cases[i].code);
    position_encode(&s.position, &after);
    if (s.position.state != state_before || !slice_equal(buffer_slice(&before), buffer_slice(&after)))
      fail_msg("%s: the position was touched", cases[i].name);
    buffer_free(&before);
    buffer_free(&after);
    scene_free(&s);
  }
}

static void confirmed_at_commit(struct scene *s) {
  s->facts.slot.confirmed_flush_lsn = 0x1000;
}
static void confirmed_before_commit(struct scene *s) { /* Postgres crashed, or a synced standby took over */
  s->facts.slot.confirmed_flush_lsn = 0x900;
}
static void confirmed_just_behind_commit(struct scene *s) {
  s->facts.slot.confirmed_flush_lsn = 0x1001;
}
static void confirmed_at_idle_end(struct scene *s) {
  s->facts.slot.confirmed_flush_lsn = 0x1800;
}
static void wal_ends_at_idle_end(struct scene *s) {
  s->facts.identity.flush_lsn = 0x1800;
}
static void split_at_end_before(struct scene *s) {
  bend_to_incomplete(s);
}
static void nothing_published_yet(struct scene *s) {
  s->position.commit_lsn = 0;
  s->position.idle_end_lsn = 0;
  s->facts.slot.confirmed_flush_lsn = 0x900;
}
static void rules_changed(struct scene *s) {
  s->facts.fingerprint = 0xf2;
}
static void table_newly_configured(struct scene *s) { /* the position knows the first only */
  free(s->position.tables[1].origin);
  s->position.table_count = 1;
  s->facts.fingerprint = 0xf2;
}
static void tables_newly_configured(struct scene *s) { /* beside messages, which were all until now */
  for (int i = 0; i < 2; i++)
    free(s->position.tables[i].origin);
  s->position.table_count = 0;
  s->facts.fingerprint = 0xf2;
}
static void failover_behind_all(struct scene *s) {
  bend_to_older_timeline(s, 0x1800);
}
static void failover_cuts_idle(struct scene *s) {
  bend_to_older_timeline(s, 0x1500);
}
static void failover_at_last_end(struct scene *s) {
  bend_to_older_timeline(s, 0x1100);
}
static void failover_cuts_idle_ahead_of_server(struct scene *s) { /* the WAL is shorter than the idle progress was */
  bend_to_older_timeline(s, 0x1200);
  s->facts.identity.flush_lsn = 0x1300;
}
static void failover_just_behind_split_commit(struct scene *s) {
  bend_to_incomplete(s);
  bend_to_older_timeline(s, 0x2001);
}

static void what_fits_goes_on(void **state) {
  (void)state;
  static const struct {
    const char *name;
    void (*bend)(struct scene *);
    bool changed, expect_last;
    lsn_t idle_end_lsn;
  } cases[] = {
      {"as it was", nothing, false, false, 0x1800},
      {"slot at the last commit", confirmed_at_commit, false, true, 0x1800},
      {"slot before the last commit", confirmed_before_commit, false, true, 0x1800},
      {"slot just behind the last commit", confirmed_just_behind_commit, false, false, 0x1800},
      {"slot at the idle end", confirmed_at_idle_end, false, false, 0x1800},
      {"WAL ends at the idle end", wal_ends_at_idle_end, false, false, 0x1800},
      {"split", split_at_end_before, false, true, 0x1800},
      {"nothing published yet", nothing_published_yet, false, false, 0},
      {"rules changed between transactions", rules_changed, true, false, 0x1800},
      {"a table newly configured", table_newly_configured, true, false, 0x1800},
      {"the first tables newly configured", tables_newly_configured, true, false, 0x1800},
      {"failover behind all progress", failover_behind_all, true, false, 0x1800},
      {"failover cuts idle progress", failover_cuts_idle, true, false, 0x1500},
      {"failover at the last end", failover_at_last_end, true, false, 0x1100},
      {"failover to a shorter WAL", failover_cuts_idle_ahead_of_server, true, false, 0x1200},
      {"a snapshot that is done, and asked for again", snapshot_that_is_done, false, false, 0x1800},
      {"a snapshot that is open, without the option", open_snapshot_without_the_option, false, false, 0x1800},
      {"failover behind a split one's commit", failover_just_behind_split_commit, true, true, 0x1800},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct scene s;
    scene_init(&s);
    cases[i].bend(&s);
    struct position before;
    position_init(&before);
    position_copy(&before, &s.position);
    bool changed, expect_last;
    struct error err = {.kind = ERROR_NONE};
    if (!admit_position(&s.facts, &s.position, &changed, &expect_last, &err))
      fail_msg("%s: %s: %s", cases[i].name, err.code, err.message);
    if (changed != cases[i].changed || expect_last != cases[i].expect_last)
      fail_msg("%s: changed %d, expect_last %d", cases[i].name, changed, expect_last);
    assert_lsn(s.position.idle_end_lsn, cases[i].idle_end_lsn);
    before.idle_end_lsn = s.position.idle_end_lsn;
    if (!position_same_progress(&before, &s.position) || s.position.topic_count != 1 || s.position.table_count != 2)
      fail_msg("%s: more than idle progress changed", cases[i].name);
    assert_int_equal(s.position.timeline, 3);
    assert_true(s.position.fingerprint == s.facts.fingerprint);
    bool first = cases[i].bend == tables_newly_configured, second = cases[i].bend == table_newly_configured;
    assert_lsn(s.position.tables[0].since, first ? 0x1001 : 0);
    assert_lsn(s.position.tables[1].since, first || second ? 0x1001 : 0);
    position_clear(&before);
    scene_free(&s);
  }
}

static void first_position_is_made_from_the_slot(void **state) {
  (void)state;
  for (int adopt = 0; adopt < 2; adopt++) {
    struct scene s;
    scene_init(&s);
    if (adopt)
      bend_to_none(&s);
    else
      bend_to_intent(&s);
    s.facts.adopt = adopt;
    bool changed, expect_last;
    struct error err = {.kind = ERROR_NONE};
    assert_true(admit_position(&s.facts, &s.position, &changed, &expect_last, &err));
    assert_true(changed);
    assert_false(expect_last);
    assert_int_equal(s.position.state, POSITION_SET);
    assert_lsn(s.position.commit_lsn, 0);
    assert_lsn(position_ack_lsn(&s.position), 0x1100);
    assert_true(s.position.complete);
    assert_false(position_covers(&s.position, 0x1100));
    assert_string_equal(s.position.slot, "walferry_shop");
    assert_string_equal(s.position.system_id, "7312345678901234567");
    assert_int_equal(s.position.table_count, 2);
    assert_string_equal(s.position.tables[1].origin, "sales.outbox");
    assert_int_equal(s.position.tables[1].entry_oid, 502);
    /* And it is one that goes on from there. */
    s.facts.adopt = false;
    assert_true(admit_position(&s.facts, &s.position, &changed, &expect_last, &err));
    assert_false(changed);
    scene_free(&s);
  }
}

static void failover_before_last_end(struct scene *s) {
  bend_to_older_timeline(s, 0x10ff);
}
static void wal_ends_before_last_end(struct scene *s) {
  s->facts.identity.flush_lsn = 0x1080;
}
static void failover_before_split_commit(struct scene *s) {
  bend_to_incomplete(s);
  bend_to_older_timeline(s, 0x2000);
}
static void older_timeline_than_the_positions(struct scene *s) {
  s->position.timeline = s->facts.identity.timeline + 1;
  s->facts.identity.flush_lsn = 0x1080;
}

static void what_is_lost_begins_where_the_history_ends(void **state) {
  (void)state;
  static const struct {
    const char *name;
    void (*bend)(struct scene *);
    lsn_t from; /* 0: nothing is */
  } cases[] = {
      {"as it was", nothing, 0},
      {"nothing published yet", bend_to_none, 0},
      {"another cluster", other_cluster, 0},
      {"failover behind all", failover_behind_all, 0},
      {"failover cuts idle progress", failover_cuts_idle, 0},
      {"failover at the last end", failover_at_last_end, 0},
      {"failover before the last end", failover_before_last_end, 0x10ff},
      {"failover before a split one's commit", failover_before_split_commit, 0x2000},
      {"older image", wal_ends_before_last_end, 0x1080},
      {"older image of an older timeline", older_timeline_than_the_positions, 0x1080},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct scene s;
    scene_init(&s);
    cases[i].bend(&s);
    lsn_t from = 0;
    bool any = admit_lost_from(&s.facts, &s.position, &from);
    if (any != (cases[i].from != 0) || (any && from != cases[i].from))
      fail_msg("%s: %d, %s", cases[i].name, any, lsn_format(from).text);
    scene_free(&s);
  }
}

static void a_slot_is_created_only_where_nothing_was_published(void **state) {
  (void)state;
  static const struct {
    const char *name;
    void (*bend)(struct scene *);
    const char *code; /* NULL: allowed */
  } cases[] = {
      {"nothing stored", bend_to_none, NULL},
      {"intent", bend_to_intent, NULL},
      {"intent of another cluster", intent_of_other_cluster, "cluster_changed"},
      {"intent for another slot", intent_of_other_slot, "instance_conflict"},
      {"position", nothing, "slot_missing"},
      {"position of another cluster", other_cluster, "cluster_changed"},
      {"position of another database", other_database_oid, "instance_conflict"},
      {"position with --adopt-slot", adopt_with_position, "slot_missing"},
      {"split", bend_to_incomplete, "slot_missing"},
      {"failover that left the slot behind", failover_behind_all, "slot_missing"},
      {"failover that lost events, and the slot", failover_before_last_end, "timeline_diverged"},
      {"older image without the slot", wal_ends_before_last_end, "server_behind"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct scene s;
    scene_init(&s);
    cases[i].bend(&s);
    struct error err = {.kind = ERROR_NONE};
    bool ok = admit_creation(&s.facts, &s.position, &err);
    if (ok != (cases[i].code == NULL))
      fail_msg("%s: %d, %s", cases[i].name, ok, err.message);
    if (!ok)
      expect_refusal(cases[i].name, &err, cases[i].code);
    scene_free(&s);
  }
}

static void the_way_on_with_a_half_published_snapshot_is_another(void **state) {
  (void)state;
  struct scene s;
  scene_init(&s);
  open_snapshot_without_the_option(&s);
  struct error err = {.kind = ERROR_NONE};
  assert_false(admit_creation(&s.facts, &s.position, &err));
  assert_non_null(strstr(err.remedy, "`walferry drop CONFIG --confirm NAME`"));
  assert_null(strstr(err.remedy, "position CONFIG set new")); /* is refused */
  expect_refusal("gone", &err, "slot_missing");
  strcpy(s.facts.slot.wal_status, "lost");
  assert_false(admit_slot(&s.facts, &err));
  assert_non_null(strstr(err.remedy, "`walferry drop CONFIG --confirm NAME`"));
  expect_refusal("lost", &err, "slot_invalidated");
  scene_free(&s);
}

static void no_inserts(struct scene *s) {
  s->publication.inserts = false;
}
static void table_gone(struct scene *s) {
  s->tables[1].exists = false;
}
static void unlogged(struct scene *s) {
  s->tables[0].unlogged = true;
}
static void under_root(struct scene *s) {
  strcpy(s->tables[0].replica_root, "public.events");
}
static void row_filter(struct scene *s) {
  s->tables[1].row_filter = true;
}
static void column_list(struct scene *s) {
  s->tables[1].column_list = true;
  s->tables[1].column_count = 2;
}
static void column_dropped(struct scene *s) {
  s->tables[0].column_count = 2;
}
static void column_list_without_loss(struct scene *s) {
  s->tables[0].column_list = true;
}
static void no_tables(struct scene *s) { /* messages only */
  s->publication.table_count = 0;
}

static void publication_has_to_send_all(void **state) {
  (void)state;
  static const struct {
    const char *name;
    void (*bend)(struct scene *);
    const char *code; /* NULL: fits */
    const char *said; /* in message or remedy */
  } cases[] = {
      {"fits", nothing, NULL, NULL},
      {"no tables", no_tables, NULL, NULL},
      {"column list with all", column_list_without_loss, NULL, NULL},
      {"missing", publication_gone, "publication_missing", "walferry init"},
      {"no inserts", no_inserts, "publication_incomplete", "publish = 'insert'"},
      {"no table", table_gone, "table_missing", "sales.outbox"},
      {"unlogged", unlogged, "publication_incomplete", "ALTER TABLE public.outbox SET LOGGED"},
      {"partition of a root", under_root, "publication_incomplete", "public.events"},
      {"not covered", entry_gone, "publication_incomplete", "ADD TABLE sales.outbox"},
      {"row filter", row_filter, "publication_incomplete", "WHERE"},
      {"column list lacks one", column_list, "column_missing", "payload of sales.outbox (it has a column list)"},
      {"no such column", column_dropped, "column_missing", "no such column"},
  };
  static const char *const required[] = {"id", "payload", NULL};
  static const char *const *const per_table[] = {required, required, NULL};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct scene s;
    scene_init(&s);
    cases[i].bend(&s);
    struct error err = {.kind = ERROR_NONE};
    bool ok = admit_publication("shop_pub", &s.publication, per_table, &err);
    if (ok != (cases[i].code == NULL))
      fail_msg("%s: %d, %s", cases[i].name, ok, err.message);
    if (!ok) {
      if (strstr(err.message, cases[i].said) == NULL && strstr(err.remedy, cases[i].said) == NULL)
        fail_msg("%s: \"%s\" is neither in %s nor in %s", cases[i].name, cases[i].said, err.message, err.remedy);
      expect_refusal(cases[i].name, &err, cases[i].code);
    }
    scene_free(&s);
  }
}

static void columns_are_looked_at_only_where_required(void **state) {
  (void)state;
  struct scene s;
  scene_init(&s);
  s.tables[0].column_count = s.tables[1].column_count = 0;
  static const char *const *const none_of_first[] = {NULL, NULL};
  struct error err = {.kind = ERROR_NONE};
  assert_true(admit_publication("shop_pub", &s.publication, NULL, &err));
  assert_true(admit_publication("shop_pub", &s.publication, none_of_first, &err));
  scene_free(&s);
}

static void slot_gone(struct scene *s) { /* the stream itself reports that */
  s->facts.slot = (struct catalog_slot){.exists = false, .confirmed_flush_lsn = 0x9999};
}

static void running_ends_when_slot_or_publication_were_touched(void **state) {
  (void)state;
  static const struct {
    const char *name;
    void (*bend)(struct scene *);
    const char *code; /* NULL: goes on */
  } cases[] = {
      {"as it was", nothing, NULL},
      {"slot at the idle end", confirmed_at_idle_end, NULL},
      {"slot gone", slot_gone, NULL},
      {"newly configured", table_newly_configured, NULL},
      {"slot moved", advanced, "slot_advanced"},
      {"publication gone", publication_gone, "publication_missing"},
      {"publication made again", publication_oid, "publication_changed"},
      {"table taken out", entry_gone, "publication_changed"},
      {"table added again", entry_readded, "publication_changed"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct scene s;
    scene_init(&s);
    cases[i].bend(&s);
    struct error err = {.kind = ERROR_NONE};
    bool ok = admit_still(&s.facts, &s.position, &err);
    if (ok != (cases[i].code == NULL))
      fail_msg("%s: %d, %s", cases[i].name, ok, err.message);
    if (!ok)
      expect_refusal(cases[i].name, &err, cases[i].code);
    scene_free(&s);
  }
}

/* As catalog_tables tells of them: no publication, the tables' own OIDs. */
static void scene_init_without_publication(struct scene *s) {
  scene_init(s);
  s->facts.publication_name = NULL;
  s->facts.plugin = "wal2json";
  strcpy(s->facts.slot.plugin, "wal2json");
  s->publication = (struct catalog_publication){.table_count = 2, .tables = s->tables};
  admit_fill_identity(&s->facts, &s->position);
}

static void partitioned(struct scene *s) {
  s->tables[0].partitioned = true;
}
static void table_gone_with_its_oid(struct scene *s) {
  s->tables[1] = (struct catalog_publication_table){.schema = "sales", .table = "outbox"};
}

static void without_a_publication_the_tables_are_judged(void **state) {
  (void)state;
  static const struct {
    const char *name;
    void (*bend)(struct scene *);
    const char *code;  /* by admit_publication; NULL: fits */
    const char *still; /* by admit_position and admit_still; NULL: goes on */
    const char *said;
  } cases[] = {
      {"fits", nothing, NULL, NULL, NULL},
      {"partitioned", partitioned, NULL, NULL, NULL},
      {"newly configured", table_newly_configured, NULL, NULL, NULL},
      {"unlogged", unlogged, "publication_incomplete", NULL, "SET LOGGED"},
      {"no such column", column_dropped, "column_missing", NULL, "table public.outbox has no column payload"},
      {"gone", table_gone_with_its_oid, "table_missing", "table_missing", "sales.outbox"},
      {"made again", entry_readded, NULL, "table_changed", "public.outbox was dropped and created again"},
  };
  static const char *const required[] = {"id", "payload", NULL};
  static const char *const *const per_table[] = {required, required, NULL};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct scene s;
    scene_init_without_publication(&s);
    cases[i].bend(&s);
    struct error err = {.kind = ERROR_NONE};
    bool ok = admit_publication(NULL, &s.publication, per_table, &err);
    if (ok != (cases[i].code == NULL))
      fail_msg("%s: %d, %s", cases[i].name, ok, err.message);
    if (!ok && strstr(err.message, cases[i].said) == NULL && strstr(err.remedy, cases[i].said) == NULL)
      fail_msg("%s: %s does not say \"%s\"", cases[i].name, err.message, cases[i].said);
    if (!ok)
      expect_refusal(cases[i].name, &err, cases[i].code);
    ok = admit_still(&s.facts, &s.position, &err);
    if (ok != (cases[i].still == NULL))
      fail_msg("%s: %d, %s", cases[i].name, ok, err.message);
    if (!ok)
      expect_refusal(cases[i].name, &err, cases[i].still);
    bool changed, expect_last;
    ok = admit_position(&s.facts, &s.position, &changed, &expect_last, &err);
    if (ok != (cases[i].still == NULL))
      fail_msg("%s: %d, %s", cases[i].name, ok, err.message);
    if (!ok)
      expect_refusal(cases[i].name, &err, cases[i].still);
    scene_free(&s);
  }
}

static void the_remedy_names_the_decoder_that_the_slot_was_made_for(void **state) {
  (void)state;
  static const struct {
    const char *plugin, *remedy;
  } cases[] = {{"wal2json", "set postgres.decoder: wal2json"}, {"test_decoding", "choose another postgres.slot"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct scene s;
    scene_init(&s);
    strcpy(s.facts.slot.plugin, cases[i].plugin);
    struct error err = {.kind = ERROR_NONE};
    assert_false(admit_slot(&s.facts, &err));
    assert_memory_equal(err.remedy, cases[i].remedy, strlen(cases[i].remedy));
    expect_refusal(cases[i].plugin, &err, "slot_mismatch");
    scene_free(&s);
  }
}

static void identity_is_filled_and_progress_left(void **state) {
  (void)state;
  struct scene s;
  scene_init(&s);
  s.facts.identity.timeline = 9;
  s.facts.fingerprint = 0xabc;
  s.publication.table_count = 1;
  s.publication.oid = 77;
  admit_fill_identity(&s.facts, &s.position);
  assert_int_equal(s.position.timeline, 9);
  assert_int_equal(s.position.publication_oid, 77);
  assert_true(s.position.fingerprint == 0xabc);
  assert_int_equal(s.position.table_count, 1);
  assert_string_equal(s.position.tables[0].origin, "public.outbox");
  assert_lsn(s.position.commit_lsn, 0x1000);
  assert_lsn(s.position.idle_end_lsn, 0x1800);
  assert_int_equal(position_partitions(&s.position, "t"), 3);
  scene_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_in_doubt_is_refused),
      cmocka_unit_test(what_fits_goes_on),
      cmocka_unit_test(first_position_is_made_from_the_slot),
      cmocka_unit_test(a_slot_is_created_only_where_nothing_was_published),
      cmocka_unit_test(the_way_on_with_a_half_published_snapshot_is_another),
      cmocka_unit_test(what_is_lost_begins_where_the_history_ends),
      cmocka_unit_test(publication_has_to_send_all),
      cmocka_unit_test(columns_are_looked_at_only_where_required),
      cmocka_unit_test(running_ends_when_slot_or_publication_were_touched),
      cmocka_unit_test(without_a_publication_the_tables_are_judged),
      cmocka_unit_test(the_remedy_names_the_decoder_that_the_slot_was_made_for),
      cmocka_unit_test(identity_is_filled_and_progress_left),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
