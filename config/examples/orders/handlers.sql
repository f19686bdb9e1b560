-- What warehouse and sales do upon each other's events. docs/handlers.md is the guide. To be run again whenever it
-- changed, also while an inbox runs.
BEGIN;

-- Takes all of an order from stock, or nothing. "Not enough" is an answer like any other: an event. A product that
-- nobody knows is an error that no further attempt would mend: an exception, and so a dead letter.
CREATE OR REPLACE FUNCTION warehouse.on_order_created(event jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ordered text := event->'payload'->>'order';
  lines jsonb := event->'payload'->'lines';
  line record;
  there integer;
  missing text[] := '{}';
BEGIN
  -- In one order for all, so that two orders of the same products do not lock each other out.
  FOR line IN SELECT key AS product, value::integer AS wanted FROM jsonb_each_text(lines) ORDER BY key LOOP
    SELECT s.quantity INTO there FROM warehouse.stock s WHERE s.product = line.product FOR UPDATE;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'order % wants a product that does not exist', ordered
        USING ERRCODE = 'foreign_key_violation', DETAIL = line.product;
    END IF;
    IF there < line.wanted THEN
      missing := missing || line.product;
    END IF;
  END LOOP;

  IF cardinality(missing) > 0 THEN
    PERFORM walferry.emit('inventory', 'InventoryRejected', ordered,
                          jsonb_build_object('order', ordered, 'missing', missing));
    RETURN;
  END IF;
  INSERT INTO warehouse.reservations (order_id, product, quantity)
  SELECT ordered, key, value::integer FROM jsonb_each_text(lines);
  UPDATE warehouse.stock s SET quantity = s.quantity - l.value::integer
  FROM jsonb_each_text(lines) l WHERE s.product = l.key;
  PERFORM walferry.emit('inventory', 'InventoryAdjusted', ordered,
                        jsonb_build_object('order', ordered, 'taken', lines));
END $$;

-- What was reserved goes back. Where nothing was, there is nothing to tell.
CREATE OR REPLACE FUNCTION warehouse.on_order_cancelled(event jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  cancelled text := event->'payload'->>'order';
  returned jsonb;
BEGIN
  WITH freed AS (
    DELETE FROM warehouse.reservations r WHERE r.order_id = cancelled RETURNING r.product, r.quantity
  ), adjusted AS (
    UPDATE warehouse.stock s SET quantity = s.quantity + f.quantity FROM freed f WHERE s.product = f.product
  )
  SELECT jsonb_object_agg(product, quantity) INTO returned FROM freed;
  IF returned IS NOT NULL THEN
    PERFORM walferry.emit('inventory', 'InventoryAdjusted', cancelled,
                          jsonb_build_object('order', cancelled, 'returned', returned));
  END IF;
END $$;

CREATE OR REPLACE FUNCTION sales.on_inventory(event jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p jsonb := event->'payload';
BEGIN
  -- An event may be faster than the visibility of what it came with: tried again, until the order is there.
  PERFORM FROM sales.orders o WHERE o.id = p->>'order' FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'order % is not there', p->>'order' USING ERRCODE = '40001';
  END IF;
  CASE event->>'type'
    WHEN 'InventoryAdjusted' THEN
      UPDATE sales.orders o SET status = 'confirmed' WHERE o.id = p->>'order' AND o.status = 'created';
    WHEN 'InventoryRejected' THEN
      UPDATE sales.orders o SET status = 'rejected', reason = 'not enough of: ' || (p->>'missing')
      WHERE o.id = p->>'order' AND o.status = 'created';
  END CASE;  -- another type is an error (case_not_found), and so a dead letter: not lost
END $$;

-- Functions are everybody's unless it is said otherwise.
REVOKE ALL ON FUNCTION warehouse.on_order_created(jsonb), warehouse.on_order_cancelled(jsonb), sales.on_inventory(jsonb)
  FROM PUBLIC;
GRANT USAGE ON SCHEMA warehouse, sales TO walferry;
GRANT EXECUTE ON FUNCTION warehouse.on_order_created(jsonb), warehouse.on_order_cancelled(jsonb),
  sales.on_inventory(jsonb) TO walferry;
COMMIT;
