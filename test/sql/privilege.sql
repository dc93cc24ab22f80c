--
-- Who may call and read what
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
CREATE ROLE regress_owner;
CREATE ROLE regress_cashier;
CREATE ROLE regress_nobody;
GRANT USAGE ON FOREIGN DATA WRAPPER digipay TO regress_owner;
GRANT EXECUTE ON FUNCTION digipay_pay, digipay_inquire TO regress_cashier;
SET ROLE regress_owner;
CREATE SERVER regress_server FOREIGN DATA WRAPPER digipay OPTIONS (endpoint 'https://127.0.0.1:9/');
RESET ROLE;

-- everything that calls out or moves money, and every table
SET ROLE regress_nobody;
SELECT pg_temp.attempt(statement)
FROM unnest(ARRAY[
	$$SELECT digipay_pay('pln', '530000000001', 'regress-1', server => 'regress_server')$$,
	$$SELECT digipay_inquire('pln', '530000000001', 'regress-1', server => 'regress_server')$$,
	$$SELECT * FROM digipay_health('regress_server')$$,
	$$SELECT digipay_balance('regress_server')$$,
	$$SELECT * FROM digipay_price_list(server => 'regress_server')$$,
	$$SELECT * FROM digipay_sync_products('regress_server')$$,
	$$SELECT digipay_is_open('pln', server => 'regress_server')$$,
	$$SELECT digipay_deposit(1000, 'BCA', 'x', 'regress_server')$$,
	$$SELECT digipay_worker_start()$$,
	$$SELECT digipay_worker_stop()$$,
	$$TABLE digipay_payment$$,
	$$TABLE digipay_inquiry$$,
	$$TABLE digipay_event$$,
	$$TABLE digipay_ticket$$,
	$$TABLE digipay_catalogue$$,
	$$TABLE digipay_catalogue_change$$,
	$$TABLE digipay_price_list_call$$,
	$$TABLE digipay_fence$$,
	$$TABLE digipay_event_id_seq$$,
	$$CREATE SERVER regress_other FOREIGN DATA WRAPPER digipay
		OPTIONS (endpoint 'https://127.0.0.1:9/')$$,
	-- these are for everybody
	$$TABLE digipay_response_code$$,
	$$SELECT digipay_response_codes()$$,
	$$SELECT digipay_detail_json('{"detail": {"periode": "01"}}')$$,
	$$SELECT digipay_detail(NULL::digipay_payment)$$
	]) AS statement;
RESET ROLE;

-- EXECUTE without USAGE, and of the effective user
SET ROLE regress_cashier;
SELECT pg_temp.attempt($$SELECT digipay_pay('pln', '530000000001', 'regress-1',
	server => 'regress_server')$$);
SELECT pg_temp.attempt($$SELECT digipay_inquire('pln', '530000000001', 'regress-1',
	server => 'regress_server')$$);
RESET ROLE;
SELECT pg_temp.attempt('GRANT USAGE ON FOREIGN SERVER regress_server TO regress_cashier');
SET ROLE regress_cashier;
SELECT pg_temp.attempt($$SELECT digipay_pay('pln', '530000000001', 'regress-1',
	server => 'regress_server')$$);
-- a mapping of its own, which USAGE allows, is ignored
CREATE USER MAPPING FOR regress_cashier SERVER regress_server
	OPTIONS (username 'mine', api_key 'mine');
SELECT pg_temp.attempt($$SELECT digipay_pay('pln', '530000000001', 'regress-1',
	server => 'regress_server')$$);
SELECT pg_temp.attempt($$SELECT digipay_inquire('pln', '530000000001', 'regress-1',
	server => 'regress_server')$$);
-- and the one for PUBLIC is not its to make or change
SELECT pg_temp.attempt($$CREATE USER MAPPING FOR PUBLIC SERVER regress_server
	OPTIONS (username 'u', api_key 'k')$$);
RESET ROLE;

-- USAGE is asked of the one whose rights count, not of the session's user
REVOKE USAGE ON FOREIGN SERVER regress_server FROM regress_cashier;
CREATE FUNCTION regress_till() RETURNS digipay_payment LANGUAGE sql SECURITY DEFINER
AS $$ SELECT digipay_pay('pln', '530000000001', 'regress-1', server => 'regress_server') $$;
SET ROLE regress_cashier;
SELECT pg_temp.attempt('SELECT regress_till()');
RESET ROLE;
ALTER FUNCTION regress_till() OWNER TO regress_cashier;
SELECT pg_temp.attempt('SELECT regress_till()');
DROP FUNCTION regress_till();

-- the key of the mapping for PUBLIC, in the view that everybody may read
CREATE USER MAPPING FOR PUBLIC SERVER regress_server
	OPTIONS (username 'u', api_key 'xyzzy', webhook_secret 'plugh');
GRANT USAGE ON FOREIGN SERVER regress_server TO regress_nobody;
SET ROLE regress_nobody;
SELECT usename, umoptions FROM pg_user_mappings WHERE srvname = 'regress_server' ORDER BY usename;
SELECT pg_temp.attempt('TABLE pg_user_mapping');
SELECT count(*) AS options_seen FROM information_schema.user_mapping_options
WHERE foreign_server_name = 'regress_server' AND option_value IS NOT NULL;
RESET ROLE;

DROP SERVER regress_server CASCADE;
DROP OWNED BY regress_cashier, regress_owner, regress_nobody;
DROP ROLE regress_cashier, regress_owner, regress_nobody;
