--
-- The journal as a table
--
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never
CREATE FUNCTION pg_temp.add(server name, account text, ref_id text, requested_at timestamptz)
	RETURNS void LANGUAGE sql AS $$
	INSERT INTO digipay_payment (ref_id, state, code, customer_no, testing, requested_at, server,
		account, requested_by, origin)
	VALUES (ref_id, 'succeeded', 'pln', '530000000001', false, requested_at, server, account,
		'regress_cashier',
		'00000000-0000-0000-0000-000000000000') $$;

-- the day is Jakarta's, whatever the session's time zone: midnight there is 17:00 UTC
BEGIN;
SELECT pg_temp.add('regress_server', 'u@provider.example', 'regress-' || n, at)
FROM unnest(ARRAY['2024-02-28 16:59:59.999999+00', '2024-02-28 17:00:00+00',
	'2024-02-29 16:59:59+00',
	'2024-12-31 16:59:59.999999+00', '2024-12-31 17:00:00+00', '2024-06-30 23:59:59+07',
	'2024-07-01 00:00:00+07']::timestamptz[]) WITH ORDINALITY AS v (at, n);
SELECT requested_at, day FROM digipay_payment ORDER BY ref_id;
SET LOCAL timezone = 'America/New_York';
UPDATE digipay_payment SET requested_at = requested_at + interval '1 day'
	WHERE ref_id = 'regress-5';
SELECT requested_at AT TIME ZONE 'UTC' AS requested_at,
	day FROM digipay_payment WHERE ref_id = 'regress-5';
SET LOCAL timezone = 'UTC';
-- not to be set
SAVEPOINT before;
UPDATE digipay_payment SET day = '2024-01-01';
ROLLBACK TO before;

-- a ref_id is once in a server, and once in an account, by whatever server
SELECT pg_temp.add('regress_server', 'u@provider.example', 'regress-1', now());
ROLLBACK TO before;
SELECT pg_temp.add('regress_server', 'v@provider.example', 'regress-1', now());
ROLLBACK TO before;
SELECT pg_temp.add('regress_other', 'u@provider.example', 'regress-1', now());
ROLLBACK TO before;
SELECT pg_temp.add('regress_other', 'v@provider.example', 'regress-1', now());
SELECT server, account, ref_id FROM digipay_payment WHERE ref_id = 'regress-1' ORDER BY server;
-- it is compared byte by byte
SELECT pg_temp.add('regress_server', 'u@provider.example', 'REGRESS-1', now());
ROLLBACK;

-- what a row must have
BEGIN;
SAVEPOINT before;
SELECT a.attname FROM pg_attribute AS a
WHERE a.attrelid = 'digipay_payment'::regclass AND a.attnum > 0 AND a.attnotnull ORDER BY a.attnum;
\set VERBOSITY terse
INSERT INTO digipay_payment DEFAULT VALUES;
ROLLBACK TO before;
SELECT pg_temp.add('regress_server', 'u@provider.example', 'regress-1', NULL);
ROLLBACK TO before;
SELECT pg_temp.add('regress_server', NULL, 'regress-1', now());
ROLLBACK TO before;
SELECT pg_temp.add('regress_server', 'u@provider.example', 'regress-1', now());
SELECT status_checks, next_check_at FROM digipay_payment;
UPDATE digipay_payment SET state = 'paid';
ROLLBACK TO before;

-- events are numbered by the table alone, and the fence is one row
INSERT INTO digipay_event (server, ref_id, kind, body)
	VALUES ('regress_server', 'regress-1', 'untrusted', '\x00ff0a');
SELECT server, ref_id, at BETWEEN now() AND clock_timestamp() AS at, kind, body FROM digipay_event;
INSERT INTO digipay_event (id, server, ref_id, kind)
	VALUES (1, 'regress_server', 'regress-1', 'untrusted');
ROLLBACK TO before;
INSERT INTO digipay_fence VALUES (true, '00000000-0000-0000-0000-000000000000', 1, 1, 1, 1, 1);
INSERT INTO digipay_fence VALUES (false, '00000000-0000-0000-0000-000000000000', 1, 1, 1, 1, 1);
ROLLBACK TO before;
INSERT INTO digipay_fence SELECT true, '00000000-0000-0000-0000-000000000000', 1, 1, 1, 1, 1
	FROM generate_series(1, 2);
ROLLBACK;

-- what a dump carries: not the fence, or the copy would take itself for the original
SELECT relation::regclass, condition
FROM pg_extension, unnest(extconfig, extcondition) AS c (relation, condition)
WHERE extname = 'digipay' ORDER BY relation::regclass::text;

-- nobody writes but the owner
CREATE ROLE regress_cashier;
GRANT EXECUTE ON FUNCTION digipay_pay TO regress_cashier;
SET ROLE regress_cashier;
INSERT INTO digipay_payment (ref_id) VALUES ('regress-1');
UPDATE digipay_payment SET state = 'not_sent';
DELETE FROM digipay_payment;
TRUNCATE digipay_payment;
SELECT * FROM digipay_payment FOR UPDATE;
INSERT INTO digipay_inquiry (ref_id) VALUES ('regress-1');
INSERT INTO digipay_event (ref_id) VALUES ('regress-1');
DELETE FROM digipay_event;
UPDATE digipay_fence SET origin = '00000000-0000-0000-0000-000000000000';
SELECT nextval('digipay_event_id_seq');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION digipay_pay FROM regress_cashier;
DROP ROLE regress_cashier;
