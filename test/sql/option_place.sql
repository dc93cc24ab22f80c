--
-- Options that do not exist, or not there: refused with those that do
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
CREATE SERVER regress_option FOREIGN DATA WRAPPER digipay OPTIONS (endpoint 'https://127.0.0.1:9/');

-- each option at each place where it does not belong, by what comes of it
SELECT format('%s: %s: %s', place, string_agg(option, ', ' ORDER BY n), answer)
FROM (SELECT place, place_no, option, n,
		replace(pg_temp.attempt(format(statement, option, value)), format('"%s"', option),
			'%') AS answer
	FROM (VALUES
		(1, 'server', $$CREATE SERVER regress_other FOREIGN DATA WRAPPER digipay
			OPTIONS (endpoint 'https://127.0.0.1:9/', %I %L)$$),
		(2, 'mapping', $$CREATE USER MAPPING FOR PUBLIC SERVER regress_option OPTIONS (%I %L)$$),
		(3, 'wrapper', $$ALTER FOREIGN DATA WRAPPER digipay OPTIONS (ADD %I %L)$$),
		(4, 'table', $$CREATE FOREIGN TABLE regress_table (c text) SERVER regress_option
			OPTIONS (%I %L)$$),
		(5, 'column', $$CREATE FOREIGN TABLE regress_table (c text OPTIONS (%I %L))
			SERVER regress_option$$))
		AS p (place_no, place, statement),
		(VALUES (1, 'endpoint', 'https://127.0.0.1:9/'), (2, 'dialect', 'digiswitch'),
		(3, 'testing', 'true'),
		(4, 'connect_timeout', '1'), (5, 'timeout', '1'), (6, 'max_in_flight', '1'),
		(7, 'status_interval', '1'),
		(8, 'queue_ttl', '1'), (9, 'paused', 'true'), (10, 'require_inquiry', 'true'),
		(11, 'ca_file', '/x'),
		(12, 'allow_private_address', 'true'),
		(13, 'api_key_file', 'x'), (14, 'username', 'xyzzy'), (15, 'api_key', 'xyzzy'),
		(16, 'webhook_secret', 'xyzzy'),
		(17, 'no_such', 'xyzzy'), (18, 'API_KEY', 'xyzzy'), (19, 'password', 'xyzzy'))
		AS o (n, option, value)
	WHERE NOT (place = 'server' AND n <= 13)
		AND NOT (place = 'mapping' AND n BETWEEN 14 AND 16)) AS a
GROUP BY place, place_no, answer
ORDER BY place_no, min(n);

-- the validator itself, called by hand
SELECT pg_temp.attempt(format('SELECT digipay_validator(%L, %s::oid)', options, catalog))
FROM (VALUES ('{endpoint=https://127.0.0.1:9/}', '''pg_foreign_server''::regclass'),
	('{}', '''pg_foreign_server''::regclass'),
	('{endpoint}', '''pg_foreign_server''::regclass'),
	('{NULL}', '''pg_foreign_server''::regclass'),
	('{username=x,api_key=y}', '''pg_user_mapping''::regclass'),
	('{}', '''pg_user_mapping''::regclass'),
	('{endpoint=https://127.0.0.1:9/}', '0')) AS v (options, catalog);

DROP SERVER regress_option;
