--
-- Options by which a server's owner could reach into the host or its network:
-- for superusers only
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
GRANT USAGE ON FOREIGN DATA WRAPPER digipay TO regress_owner;

SET ROLE regress_owner;
CREATE SERVER regress_option FOREIGN DATA WRAPPER digipay OPTIONS (endpoint 'https://127.0.0.1:9/');
SELECT pg_temp.attempt(statement)
FROM unnest(ARRAY[
	$$ALTER SERVER regress_option OPTIONS (ADD ca_file '/etc/ssl/provider.pem')$$,
	$$ALTER SERVER regress_option OPTIONS (ADD allow_private_address 'true')$$,
	$$ALTER SERVER regress_option OPTIONS (ADD allow_private_address 'false')$$,
	$$ALTER SERVER regress_option OPTIONS (ADD api_key_file 'main')$$,
	$$CREATE SERVER regress_other FOREIGN DATA WRAPPER digipay
		OPTIONS (endpoint 'https://127.0.0.1:9/', api_key_file 'main')$$,
	$$ALTER SERVER regress_option OPTIONS (ADD timeout '1000')$$,
	$$CREATE USER MAPPING FOR PUBLIC SERVER regress_option OPTIONS (username 'u', api_key 'k')$$
	]) AS statement;
RESET ROLE;

-- a superuser sets one: the owner cannot turn it to another end
ALTER SERVER regress_option OPTIONS (ADD api_key_file 'main', ADD ca_file '/etc/ssl/provider.pem',
	ADD allow_private_address 'true');
SET ROLE regress_owner;
SELECT pg_temp.attempt(statement)
FROM unnest(ARRAY[
	$$ALTER SERVER regress_option OPTIONS (SET api_key_file 'other')$$,
	$$ALTER SERVER regress_option OPTIONS (SET endpoint 'https://evil.example/')$$,
	$$ALTER SERVER regress_option OPTIONS (DROP ca_file, SET endpoint 'https://evil.example/')$$
	]) AS statement;
RESET ROLE;
SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'regress_option';

DROP SERVER regress_option CASCADE;
REVOKE USAGE ON FOREIGN DATA WRAPPER digipay FROM regress_owner;
DROP ROLE regress_owner;
