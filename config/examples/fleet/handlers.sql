-- What happens upon the events of the fleet. Each handler runs in the transaction that also moves the inbox's offset:
-- no duplicate reaches it, and no half of it stays. docs/handlers.md is the guide. To be run again whenever it changed,
-- also while an inbox runs: the new functions count from the COMMIT on.
BEGIN;

-- What more than one handler does.

CREATE OR REPLACE FUNCTION accounting.charge(rental text, kind text, amount numeric) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF amount = 0 THEN
    RETURN;
  END IF;
  INSERT INTO accounting.charges (rental, kind, amount) VALUES (charge.rental, charge.kind, charge.amount)
  ON CONFLICT DO NOTHING;
  IF FOUND THEN
    PERFORM walferry.emit('rentals', 'RentalCharged', charge.rental,
                          jsonb_build_object('rental', charge.rental, 'kind', charge.kind, 'amount', charge.amount));
  END IF;
END $$;

-- Everything charged is paid, and nothing more will be charged. (Whether the vehicle was returned would not do: tables
-- may be ahead of the events that are handled.)
CREATE OR REPLACE FUNCTION accounting.settle(rental text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE fleet.rentals r SET status = 'settled'
  WHERE r.id = settle.rental AND r.status = 'charged'
    AND r.paid >= (SELECT sum(c.amount) FROM accounting.charges c WHERE c.rental = r.id);
  IF FOUND THEN
    PERFORM walferry.emit('rentals', 'RentalSettled', settle.rental, jsonb_build_object('rental', settle.rental));
  END IF;
END $$;

-- The handlers. They run with the rights of their owner (SECURITY DEFINER), so that the inbox's role needs none on the
-- tables; names are written in full, as nobody else's search_path may decide what they mean.

CREATE OR REPLACE FUNCTION accounting.on_rental_reserved(event jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p jsonb := event->'payload';
BEGIN
  PERFORM accounting.charge(p->>'rental', 'initial', (p->>'days')::integer * (p->>'daily_rate')::numeric);
END $$;

CREATE OR REPLACE FUNCTION fleet.on_rental_completed(event jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p jsonb := event->'payload';
  now_available boolean;
BEGIN
  PERFORM accounting.charge(p->>'rental', 'extra_days', (p->>'extra_days')::integer * (p->>'daily_rate')::numeric);
  PERFORM accounting.charge(p->>'rental', 'kilometres', (p->>'km')::integer * (p->>'km_rate')::numeric);
  -- By its key alone: so it waits for the transaction of fleet.complete, should that not be visible yet.
  UPDATE fleet.rentals SET status = 'charged' WHERE id = p->>'rental';
  PERFORM accounting.settle(p->>'rental');  -- it may have been paid in advance

  UPDATE fleet.vehicles SET rental = NULL, km = km + (p->>'km')::integer
  WHERE id = p->>'vehicle' AND rental = p->>'rental'
  RETURNING status = 'available' INTO now_available;
  IF now_available THEN
    PERFORM walferry.emit('vehicles', 'VehicleReleased', p->>'vehicle', jsonb_build_object('vehicle', p->>'vehicle'));
  END IF;
END $$;

CREATE OR REPLACE FUNCTION fleet.on_maintenance(event jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p jsonb := event->'payload';
  now_available boolean;
BEGIN
  CASE event->>'type'
    WHEN 'MaintenanceScheduled' THEN
      UPDATE fleet.vehicles SET maintenance = p->>'maintenance' WHERE id = p->>'vehicle';
    WHEN 'MaintenanceCompleted' THEN
      UPDATE fleet.vehicles SET maintenance = NULL WHERE id = p->>'vehicle' AND maintenance = p->>'maintenance'
      RETURNING status = 'available' INTO now_available;
      IF now_available THEN
        PERFORM walferry.emit('vehicles', 'VehicleReleased', p->>'vehicle',
                              jsonb_build_object('vehicle', p->>'vehicle'));
      END IF;
  END CASE;  -- another type is an error (case_not_found), and so a dead letter: not lost
END $$;

CREATE OR REPLACE FUNCTION accounting.on_payment_received(event jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p jsonb := event->'payload';
BEGIN
  -- The bank's number is the key: two events that tell of the same payment have different ids, and count once.
  INSERT INTO accounting.payments (id, rental, amount)
  VALUES (p->>'payment', p->>'rental', (p->>'amount')::numeric)
  ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  UPDATE fleet.rentals SET paid = paid + (p->>'amount')::numeric WHERE id = p->>'rental';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'payment % is for a rental that does not exist', p->>'payment' USING ERRCODE = 'no_data_found';
  END IF;
  PERFORM accounting.settle(p->>'rental');
END $$;

-- Functions are everybody's unless it is said otherwise.
REVOKE ALL ON FUNCTION accounting.on_rental_reserved(jsonb), fleet.on_rental_completed(jsonb),
  fleet.on_maintenance(jsonb), accounting.on_payment_received(jsonb) FROM PUBLIC;
GRANT USAGE ON SCHEMA fleet, accounting TO walferry;
GRANT EXECUTE ON FUNCTION accounting.on_rental_reserved(jsonb), fleet.on_rental_completed(jsonb),
  fleet.on_maintenance(jsonb), accounting.on_payment_received(jsonb) TO walferry;
COMMIT;
