-- Orders (schema sales) and stock (schema warehouse), and what the application does: each function changes what it has
-- to and emits the event of it, in one transaction. To be run once, after `walferry init`, which makes walferry.emit.
BEGIN;
CREATE SCHEMA sales;
CREATE SCHEMA warehouse;

CREATE TABLE sales.orders (
  id text PRIMARY KEY,
  status text NOT NULL DEFAULT 'created' CHECK (status IN ('created', 'confirmed', 'rejected', 'cancelled')),
  reason text
);
CREATE TABLE sales.order_lines (
  order_id text NOT NULL REFERENCES sales.orders,
  product text NOT NULL,
  quantity integer NOT NULL CHECK (quantity > 0),
  PRIMARY KEY (order_id, product)
);

CREATE TABLE warehouse.stock (
  product text PRIMARY KEY,
  quantity integer NOT NULL CHECK (quantity >= 0)
);
CREATE TABLE warehouse.reservations (
  order_id text NOT NULL,
  product text NOT NULL REFERENCES warehouse.stock,
  quantity integer NOT NULL,
  PRIMARY KEY (order_id, product)
);

-- lines: {"apple": 3, "pear": 1}
CREATE FUNCTION sales.create_order(id text, lines jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO sales.orders (id) VALUES (create_order.id);
  INSERT INTO sales.order_lines (order_id, product, quantity)
  SELECT create_order.id, key, value::integer FROM jsonb_each_text(lines);
  PERFORM walferry.emit('orders', 'OrderCreated', create_order.id,
                        jsonb_build_object('order', create_order.id, 'lines', lines),
                        correlation_id => create_order.id);
END $$;

CREATE FUNCTION sales.cancel_order(id text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE sales.orders SET status = 'cancelled' WHERE orders.id = cancel_order.id AND status <> 'cancelled';
  IF FOUND THEN
    PERFORM walferry.emit('orders', 'OrderCancelled', cancel_order.id,
                          jsonb_build_object('order', cancel_order.id), correlation_id => cancel_order.id);
  END IF;
END $$;

INSERT INTO warehouse.stock VALUES ('apple', 100), ('pear', 50), ('quince', 3);
COMMIT;
