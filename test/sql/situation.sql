--
-- Where money must not move from
--
SET client_min_messages = warning;	-- no notices about what is dropped

-- what comes of a statement
CREATE FUNCTION pg_temp.attempt(statement text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ' ' || message
		|| coalesce(E'\n\tDETAIL: ' || nullif(detail, ''), '')
		|| coalesce(E'\n\tHINT: ' || nullif(hint, ''), '');
END $$;
\pset format unaligned
\pset tuples_only on
\set SHOW_CONTEXT never
CREATE SERVER regress_server FOREIGN DATA WRAPPER digipay OPTIONS (endpoint 'https://127.0.0.1:9/');
CREATE USER MAPPING FOR PUBLIC SERVER regress_server OPTIONS (username 'u', api_key 'k');

CREATE FUNCTION pg_temp.attempt_all() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT pg_temp.attempt(statement)
	FROM unnest(ARRAY[
		'SELECT digipay_pay(''pln'', ''530000000001'', ''regress-1'',
			server => ''regress_server'')',
		'SELECT digipay_inquire(''pln'', ''530000000001'', ''regress-1'',
			server => ''regress_server'')',
		'SELECT * FROM digipay_health(''regress_server'')',
		'SELECT digipay_balance(''regress_server'')',
		'SELECT * FROM digipay_price_list(server => ''regress_server'')',
		'SELECT * FROM digipay_sync_products(''regress_server'')',
		'SELECT digipay_deposit(1000, ''BCA'', ''x'', ''regress_server'')',
		'SELECT digipay_worker_start()']) AS statement $$;

-- a transaction that may not write
BEGIN READ ONLY;
SELECT pg_temp.attempt_all();
ROLLBACK;

-- a replica's session
SET session_replication_role = replica;
SELECT pg_temp.attempt_all();
SET session_replication_role = local;
-- (local is like origin: the next check is the one that refuses)
SELECT pg_temp.attempt('SELECT digipay_pay(''pln'', ''530000000001'', '''')');
RESET session_replication_role;

-- a materialized view, when made and when refreshed
SELECT pg_temp.attempt($$CREATE MATERIALIZED VIEW regress_view AS
	SELECT * FROM digipay_pay('pln', '530000000001', 'regress-1', server => 'regress_server')$$);
CREATE MATERIALIZED VIEW regress_view AS
	SELECT * FROM digipay_inquire('pln', '530000000001', 'regress-1',
		server => 'regress_server') WITH NO DATA;
SELECT pg_temp.attempt('REFRESH MATERIALIZED VIEW regress_view');
DROP MATERIALIZED VIEW regress_view;

-- an index, through a function that claims to be immutable
CREATE FUNCTION regress_immutable(ref_id text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$ BEGIN
	RETURN (digipay_pay('pln', '530000000001', ref_id, server => 'regress_server')).state;
END $$;
CREATE TABLE regress_table (ref_id text);
INSERT INTO regress_table VALUES ('regress-1');
SELECT pg_temp.attempt('CREATE INDEX ON regress_table (regress_immutable(ref_id))');
-- (an index made while the table is empty calls it at INSERT, which cannot be
-- told from any other call; README.md says so)
DROP TABLE regress_table;

-- a parallel worker, by a function that claims to be safe there
SET force_parallel_mode = on;
SELECT regress_immutable(v) FROM (VALUES ('regress-1'), ('regress-2')) AS t (v);
\echo :LAST_ERROR_SQLSTATE
RESET force_parallel_mode;
DROP FUNCTION regress_immutable(text);

-- nothing of this has left a trace
SELECT count(*) FROM digipay_payment;
SELECT count(*) FROM digipay_inquiry;
SELECT count(*) FROM digipay_event;
SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'digipay%'
	AND datname = current_database();
DROP SERVER regress_server CASCADE;
