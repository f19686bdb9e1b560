# The second half of `scripts/quickstart inbox`, sourced by it once build and servers are there: the example of the orders
# and its warehouse, through relay, broker and inbox. Its exit code is the script's.

WRITERS=3
ORDERS=200    # of each writer
APPLES=500    # fewer than ordered
EXAMPLE=$ROOT/config/examples/orders

sql() { psql -XAtq -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$PGPORT" -U postgres -d orders "$@"; }

start_inbox() {
    "$BIN" inbox "$CONFIG" --log-format json >>"$DIR/inbox.out" 2>>"$DIR/inbox.log" </dev/null &
    INBOX=$!
}

# order_apples WRITER: business transactions, each of an order and its event, every fifth rolled back and tried again.
order_apples() {
    awk -v writer="$1" -v count="$ORDERS" 'BEGIN {
        for (n = 1; n <= count; n++) {
            order = sprintf("select sales.create_order(\047order-%d-%d\047, \047{\"apple\": 1}\047) \\g /dev/null\n", writer, n)
            if (n % 5 == 0)
                printf "begin;\n%srollback;\n", order
            printf "%sselect pg_sleep(0.015) \\g /dev/null\n", order
        }
    }' | sql -f -
}

count_orders() { sql -c "select count(*) from sales.orders where status = '$1'"; }
progress() {
    printf '      %5d orders, %5d confirmed, %5d rejected\n' "$(sql -c 'select count(*) from sales.orders')" \
        "$(count_orders confirmed)" "$(count_orders rejected)"
}
# wait_until SQL: it says t, within a minute and a half.
wait_until() {
    local i
    for ((i = 0; i < 900; i++)); do
        [ "$(sql -c "$1")" = t ] && return 0
        sleep 0.1
    done
    fail "waited in vain for: $1"
}

step "the example: config/examples/orders, with walferry init and its SQL"
# With the ports in it, so that commands that are tried afterwards need no environment.
CONFIG=$DIR/orders.yaml
sed "s/\\\${PGHOST:-127.0.0.1}/$PGHOST/; s/\\\${PGPORT:-5432}/$PGPORT/; s/\\\${KAFKA_BROKERS:-[^}]*}/$KAFKA_BROKERS/" \
    "$EXAMPLE/orders.yaml" >"$CONFIG" || exit 1
psql -Xq -h 127.0.0.1 -U postgres -c "create database orders" postgres || fail "could not create the database"
"$BIN" init "$CONFIG" --admin "host=127.0.0.1 port=$PGPORT dbname=orders user=postgres" >"$DIR/init.log" 2>&1 || {
    cat "$DIR/init.log" >&2
    fail "walferry init failed"
}
sql -f "$EXAMPLE/schema.sql" -f "$EXAMPLE/handlers.sql" -c "update warehouse.stock set quantity = $APPLES where product = 'apple'" ||
    fail "the example's SQL failed"
touch "$DIR/relay.log" "$DIR/inbox.log"
start_relay
start_inbox
wait_for_relay 1
done_in "walferry relay runs, pid $RELAY, and walferry inbox, pid $INBOX"

step "orders: $WRITERS writers, $((WRITERS * ORDERS)) orders for $APPLES apples, and one for a unicorn"
sql -c "select sales.create_order('order-0', '{\"unicorn\": 1}')" >/dev/null || fail "no order could be placed"
writers=()
for ((w = 1; w <= WRITERS; w++)); do
    order_apples "$w" 2>"$DIR/writer$w.log" &
    writers+=($!)
    HELPERS+=($!)
done
wait_until "select count(*) > 30 from sales.orders where status = 'confirmed'"
progress
process_alive "${writers[0]}" || fail "the writers were done before the kill: $(cat "$DIR"/writer*.log)"
kill -KILL "$RELAY" "$INBOX"
wait "$RELAY" "$INBOX" 2>/dev/null
printf '      SIGKILL for both halves, in the middle of it\n'
sleep 0.5
start_relay
start_inbox
printf '      started again, pids %d and %d; the group gives up the dead member after 6 s\n' "$RELAY" "$INBOX"
for pid in "${writers[@]}"; do
    wait "$pid" || fail "a writer failed: $(cat "$DIR"/writer*.log)"
done
wait_until "select count(*) = $((WRITERS * ORDERS)) from sales.orders where status in ('confirmed', 'rejected')"
progress
done_in "all orders for apples are answered"

step "the count"
"$BIN" dlq "$CONFIG" list 2>/dev/null | cut -c1-110 | sed 's/^/      /'
letters=$(sql -c "select count(*) from walferry.inbox_dead_letters")
sql -c "insert into warehouse.stock values ('unicorn', 1)"
"$BIN" dlq "$CONFIG" replay 2>/dev/null | sed 's/^/      a unicorn is bought, and walferry dlq replay: /;1!d'
wait_until "select status = 'confirmed' from sales.orders where id = 'order-0'"
confirmed=$(count_orders confirmed)
rejected=$(count_orders rejected)
left=$(sql -c "select quantity from warehouse.stock where product = 'apple'")
events=$(sql -c "select count(*) from outbox")
answers=$(kcat -b "$KAFKA_BROKERS" -C -t inventory.events.v1 -X isolation.level=read_committed -q -u -e -o beginning -f '%k\n' | sort)
twice=$(uniq -d <<<"$answers" | wc -l)
cat <<RESULT

      confirmed       $confirmed   ($APPLES apples and a unicorn)
      rejected        $rejected
      apples left     $left
      answers         $(wc -l <<<"$answers")   (orders with two of them: $twice)
      dead letters    $letters   (replayed)
RESULT
printf '\n      %s in all\n' "$(seconds_since "$BEGAN")"

if [ "$KEEP" = yes ]; then
    KEEP=running
    cat <<NEXT

Everything is still running, in $DIR. Try:

  place an order   psql -h 127.0.0.1 -p $PGPORT -U postgres orders -c "select sales.create_order('mine', '{\"pear\": 2}')"
  what became      psql -h 127.0.0.1 -p $PGPORT -U postgres orders -c "table sales.orders" -c "table warehouse.stock"
  the handlers     $EXAMPLE/handlers.sql
  dead letters     $BIN dlq $CONFIG list
  how far is it    $BIN status $CONFIG
  who caused what  kcat -b $KAFKA_BROKERS -C -e -t inventory.events.v1 -X isolation.level=read_committed -f '%k %h\n'
  another member   $BIN inbox $CONFIG
  the logs         tail -f $DIR/relay.log $DIR/inbox.log
  stop and clean   kill $RELAY $INBOX $(cat "$DIR/kafka/kafka.pid") && sleep 2 && kill -INT $(cat "$DIR/postgres/postgres.pid") && sleep 2 && rm -rf $DIR
NEXT
fi
[ "$confirmed" = $((APPLES + 1)) ] && [ "$rejected" = $((WRITERS * ORDERS - APPLES)) ] && [ "$left" = 0 ] &&
    [ "$twice" = 0 ] && [ "$letters" = 1 ] && [ "$events" = $((2 * (WRITERS * ORDERS + 1))) ]
