--
-- The endpoint: https, or http to the machine itself
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

-- without the hint, which is the same each time
SELECT to_json(url) || ': ' || split_part(pg_temp.attempt(format(
	'CREATE SERVER regress_%s FOREIGN DATA WRAPPER digipay OPTIONS (endpoint %L)', n, url)),
	E'\n', 1)
FROM unnest(ARRAY[
	-- good
	'https://nobutopup.api.digiswitch.id/v1/user/api/transaction',
	'https://provider.example',
	'https://provider.example:8443/pay?branch=1',
	'HTTPS://Provider.Example/pay',
	'https://[2001:db8::1]/pay',
	'https://127.0.0.1:9/',
	'http://127.0.0.1/', 'http://127.9.9.9:8080/', 'http://localhost:8080/', 'http://LOCALHOST/',
	'http://[::1]:8080/',
	'http://127.1/', 'http://2130706433/',
	-- http to somewhere else
	'http://provider.example/', 'http://10.0.0.1/', 'http://localhost.provider.example/',
	'http://127.0.0.1.provider.example/', 'http://0.0.0.0/', 'http://[::]/',
	'http://[::ffff:8.8.8.8]/',
	-- credentials in it
	'https://user:secret@provider.example/', 'https://user@provider.example/',
	'https://:secret@provider.example/',
	'https://@provider.example/', 'http://127.0.0.1@provider.example/',
	-- other schemes, and none
	'ftp://provider.example/', 'file:///etc/passwd', 'gopher://provider.example/',
	'httpsx://provider.example/',
	'provider.example/pay', '//provider.example/', 'https:provider.example', 'https://', '',
	-- characters that do not belong in it
	' https://provider.example/', 'https://provider.example/ ', 'https://provider.example/a b',
	E'https://provider.example/\n', E'https://provider.example/\r\nHost: x',
	E'https://provider.example/\t',
	'https://provider.example/#part', E'https://provider.example\\@evil.example/',
	'https://provider.example:0x50/', 'https://provider.example:99999/', 'https://provider.example:0/',
	-- what libcurl would make sense of
	'https:///pay', 'https:/provider.example/', 'https://..', 'https://provider..example/'
	]) WITH ORDINALITY AS u (url, n);

-- long ones; neither is shown
SELECT pg_temp.attempt(format(
	'CREATE SERVER regress_long FOREIGN DATA WRAPPER digipay OPTIONS (endpoint %L)',
	'https://' || credentials || '@provider.example/'))
FROM unnest(ARRAY[repeat('u', 255), repeat('u', 300), ':' || repeat('s', 1000)]) AS credentials;

-- its length
SELECT length(url) || ': ' || pg_temp.attempt(format(
	'CREATE SERVER regress_%s FOREIGN DATA WRAPPER digipay OPTIONS (endpoint %L)',
	length(url), url))
FROM (VALUES ('https://provider.example/' || repeat('a', 1975)),
	('https://provider.example/' || repeat('a', 1976))) AS u (url);

-- without one
SELECT pg_temp.attempt('CREATE SERVER regress_none FOREIGN DATA WRAPPER digipay');
SELECT pg_temp.attempt($$CREATE SERVER regress_none FOREIGN DATA WRAPPER digipay
	OPTIONS (testing 'true')$$);

DO $$
DECLARE
	server name;
BEGIN
	FOR server IN SELECT srvname FROM pg_foreign_server WHERE srvname LIKE 'regress\_%' LOOP
		EXECUTE format('DROP SERVER %I', server);
	END LOOP;
END $$;
