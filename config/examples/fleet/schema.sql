-- The tables of the fleet, and what its application does with them: each function changes what it has to and emits the
-- event of it, in one transaction. To be run once, after `walferry init`, which makes walferry.emit.
BEGIN;
CREATE SCHEMA fleet;
CREATE SCHEMA accounting;

CREATE TABLE fleet.vehicles (
  id text PRIMARY KEY,
  daily_rate numeric(10,2) NOT NULL,
  km_rate numeric(10,2) NOT NULL,
  km integer NOT NULL DEFAULT 0,
  rental text,       -- for which it is out
  maintenance text,  -- by which it is blocked
  status text GENERATED ALWAYS AS (CASE WHEN maintenance IS NOT NULL THEN 'blocked'
                                        WHEN rental IS NOT NULL THEN 'rented' ELSE 'available' END) STORED
);

CREATE TABLE fleet.rentals (
  id text PRIMARY KEY,
  vehicle text NOT NULL REFERENCES fleet.vehicles,
  customer text NOT NULL,
  days integer NOT NULL CHECK (days > 0),
  status text NOT NULL DEFAULT 'reserved'  -- returned: by the application; charged and settled: by the handlers
    CHECK (status IN ('reserved', 'returned', 'charged', 'settled')),
  paid numeric(10,2) NOT NULL DEFAULT 0
);

-- Accounting knows rentals by their events; a foreign key would ask whether they can be seen already (docs/handlers.md,
-- "Transactions").
CREATE TABLE accounting.charges (
  rental text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('initial', 'extra_days', 'kilometres')),
  amount numeric(10,2) NOT NULL,
  PRIMARY KEY (rental, kind)  -- whatever happens, nothing is charged twice
);

CREATE TABLE accounting.payments (
  id text PRIMARY KEY,
  rental text NOT NULL,
  amount numeric(10,2) NOT NULL CHECK (amount > 0)
);

CREATE FUNCTION fleet.reserve(rental text, vehicle text, customer text, days integer) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v fleet.vehicles;
BEGIN
  UPDATE fleet.vehicles SET rental = reserve.rental WHERE id = reserve.vehicle AND status = 'available'
  RETURNING * INTO v;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'vehicle % is not available', vehicle;
  END IF;
  INSERT INTO fleet.rentals (id, vehicle, customer, days) VALUES (rental, vehicle, customer, days);
  PERFORM walferry.emit('rentals', 'RentalReserved', rental,
    jsonb_build_object('rental', rental, 'vehicle', vehicle, 'days', days, 'daily_rate', v.daily_rate),
    correlation_id => rental);
END $$;

CREATE FUNCTION fleet.complete(rental text, days integer, km integer) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  r fleet.rentals;
  v fleet.vehicles;
BEGIN
  UPDATE fleet.rentals SET status = 'returned' WHERE id = complete.rental AND status = 'reserved' RETURNING * INTO r;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'rental % is not under way', rental;
  END IF;
  SELECT * INTO v FROM fleet.vehicles WHERE id = r.vehicle;
  PERFORM walferry.emit('rentals', 'RentalCompleted', rental,
    jsonb_build_object('rental', rental, 'vehicle', r.vehicle, 'extra_days', greatest(days - r.days, 0), 'km', km,
                       'daily_rate', v.daily_rate, 'km_rate', v.km_rate),
    correlation_id => rental);
END $$;

CREATE FUNCTION fleet.schedule_maintenance(maintenance text, vehicle text) RETURNS void
LANGUAGE sql AS $$
  SELECT walferry.emit('vehicles', 'MaintenanceScheduled', vehicle,
                       jsonb_build_object('maintenance', maintenance, 'vehicle', vehicle));
$$;

CREATE FUNCTION fleet.complete_maintenance(maintenance text, vehicle text) RETURNS void
LANGUAGE sql AS $$
  SELECT walferry.emit('vehicles', 'MaintenanceCompleted', vehicle,
                       jsonb_build_object('maintenance', maintenance, 'vehicle', vehicle));
$$;

-- No table of ours changes when the bank calls: the event goes through the WAL alone.
CREATE FUNCTION accounting.receive_payment(payment text, rental text, amount numeric) RETURNS void
LANGUAGE sql AS $$
  SELECT walferry.emit_message('rentals', 'PaymentReceived', rental,
                               jsonb_build_object('payment', payment, 'rental', rental, 'amount', amount),
                               correlation_id => rental);
$$;

INSERT INTO fleet.vehicles (id, daily_rate, km_rate)
VALUES ('van-1', 80, 0.30), ('van-2', 80, 0.30), ('car-1', 45, 0.20), ('car-2', 45, 0.20), ('bike-1', 12, 0);
COMMIT;
