--
-- From the server's name to the account: what is missing is said before
-- anything leaves
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
CREATE FUNCTION pg_temp.pay(server name) RETURNS text LANGUAGE sql AS $$
	SELECT pg_temp.attempt(format(
		'SELECT digipay_pay(''pln'', ''530000000001'', ''regress-1'', server => %L)', server))
		|| E'\n' || pg_temp.attempt(format(
		'SELECT digipay_inquire(''pln'', ''530000000001'', ''regress-1'', server => %L)',
			server)) $$;

-- no server: neither the setting's nor one that is named
SELECT pg_temp.pay(NULL);
SELECT pg_temp.pay('regress_none');
SELECT pg_temp.pay('Regress "None"');
SELECT pg_temp.pay('');
SET digipay.server = 'regress_setting';
SELECT pg_temp.pay(NULL);
RESET digipay.server;

-- of another wrapper
CREATE FOREIGN DATA WRAPPER regress_wrapper;
CREATE SERVER regress_foreign FOREIGN DATA WRAPPER regress_wrapper
	OPTIONS (endpoint 'https://127.0.0.1:9/');
CREATE USER MAPPING FOR PUBLIC SERVER regress_foreign OPTIONS (username 'u', api_key 'k');
SELECT pg_temp.pay('regress_foreign');
DROP FOREIGN DATA WRAPPER regress_wrapper CASCADE;

-- no mapping, then one without a user name
CREATE SERVER regress_server FOREIGN DATA WRAPPER digipay OPTIONS (endpoint 'https://127.0.0.1:9/');
SELECT pg_temp.pay('regress_server');
CREATE USER MAPPING FOR PUBLIC SERVER regress_server OPTIONS (api_key 'k');
SELECT pg_temp.pay('regress_server');
DROP USER MAPPING FOR PUBLIC SERVER regress_server;

-- a role's own mapping is not the account
CREATE USER MAPPING FOR CURRENT_USER SERVER regress_server OPTIONS (username 'mine', api_key 'k');
SELECT pg_temp.pay('regress_server');

DROP SERVER regress_server CASCADE;
