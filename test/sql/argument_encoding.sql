--
-- Arguments that are not ASCII
--
SELECT getdatabaseencoding() <> 'UTF8' AS skip_test \gset
\if :skip_test
\quit
\endif
SET client_encoding = 'UTF8';
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
CREATE SERVER regress_server FOREIGN DATA WRAPPER digipay OPTIONS (endpoint 'https://127.0.0.1:9/');

CREATE FUNCTION pg_temp.call(function name, arguments text[]) RETURNS text LANGUAGE sql AS $$
	SELECT pg_temp.attempt(format('SELECT %I(%L, %L, %L, server => ''regress_server'')',
		function, arguments[1], arguments[2], arguments[3])) $$;

-- letters, blanks and digits that only look like ASCII, at each place
SELECT kind || ': ' || answer || ' (' || count(*) || ')'
FROM (SELECT n, kind, replace(pg_temp.call(function, ARRAY[
			CASE name WHEN 'code' THEN value ELSE 'pln' END,
			CASE name WHEN 'customer_no' THEN value ELSE '530000000001' END,
			CASE name WHEN 'ref_id' THEN value ELSE 'regress-1' END]), name, '%') AS answer
	FROM unnest('{digipay_pay, digipay_inquire}'::name[]) AS function,
		unnest('{code, customer_no, ref_id}'::text[]) AS name,
		(VALUES (1, 'accent', 'José'), (2, 'no-break space', U&'x\00a0'),
		(3, 'zero-width space', U&'x\200b'),
		(4, 'full-width digit', '１'), (5, 'Cyrillic a', U&'\0430'), (6, 'emoji', '👍'))
		AS v (n, kind, value)) AS a
GROUP BY n, kind, answer
ORDER BY n, answer;
-- the length is one in bytes
SELECT pg_temp.call('digipay_pay', ARRAY['pln', repeat('é', 64), 'regress-1']);
SELECT pg_temp.call('digipay_pay', ARRAY['pln', repeat('é', 65), 'regress-1']);

-- options, too; the secret is not shown
SELECT pg_temp.attempt(format(
	'CREATE USER MAPPING FOR PUBLIC SERVER regress_server OPTIONS (%I %L)', option, 'xyzzyé'))
FROM unnest('{username, api_key, webhook_secret}'::text[]) AS option;
SELECT pg_temp.attempt(format(
	'CREATE SERVER regress_other FOREIGN DATA WRAPPER digipay OPTIONS (endpoint %L)', url))
FROM unnest('{https://josé.example/, https://provider.example/é,
	https://пример.example/}'::text[]) AS url;
SELECT pg_temp.attempt($$CREATE SERVER regress_other FOREIGN DATA WRAPPER digipay
	OPTIONS (endpoint 'https://127.0.0.1:9/', "tëst" 'x')$$);
-- and a server's name may be anything
SELECT pg_temp.attempt('SELECT digipay_pay(''pln'', ''1'', ''regress-1'', server => ''電気'')');

DROP SERVER regress_server CASCADE;
