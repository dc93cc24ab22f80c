--
-- Arguments: refused before anything else is looked at
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
CREATE SERVER regress_server FOREIGN DATA WRAPPER digipay OPTIONS (endpoint 'https://127.0.0.1:9/');

CREATE FUNCTION pg_temp.call(function name, arguments text[]) RETURNS text LANGUAGE sql AS $$
	SELECT pg_temp.attempt(format('SELECT %I(%L, %L, %L, server => ''regress_server'')',
		function, arguments[1], arguments[2], arguments[3])) $$;

-- each of the three with everything that is wrong, in both functions
SELECT kind || ': ' || answer || ' (' || count(*) || ')'
FROM (SELECT n, kind, replace(pg_temp.call(function, ARRAY[
			CASE name WHEN 'code' THEN value ELSE 'pln' END,
			CASE name WHEN 'customer_no' THEN value ELSE '530000000001' END,
			CASE name WHEN 'ref_id' THEN value ELSE 'regress-1' END]), name, '%') AS answer
	FROM unnest('{digipay_pay, digipay_inquire}'::name[]) AS function,
		unnest('{code, customer_no, ref_id}'::text[]) AS name,
		(VALUES (1, 'NULL', NULL), (2, 'empty', ''), (3, 'blank', ' '), (4, 'blank before', ' x'),
		(5, 'blank behind', 'x '), (6, 'tab behind', E'x\t'), (7, 'newline', E'x\ny'),
		(8, 'return', E'x\r'),
		(9, 'escape', E'\x1b'), (10, 'delete', E'x\x7f')) AS v (n, kind, value)) AS a
GROUP BY n, kind, answer
ORDER BY n, answer;

-- the longest ones get past this check (what is missing is the mapping), one byte more does not
SELECT name || ', ' || length || ': ' || pg_temp.call('digipay_pay', ARRAY[
		CASE name WHEN 'code' THEN repeat('x', length) ELSE 'pln' END,
		CASE name WHEN 'customer_no' THEN repeat('x', length) ELSE '530000000001' END,
		CASE name WHEN 'ref_id' THEN repeat('x', length) ELSE 'regress-1' END])
FROM (VALUES ('code', 64), ('code', 65), ('customer_no', 128), ('customer_no', 129),
	('ref_id', 64), ('ref_id', 65)) AS v (name, length);
-- all that is printable is fine, blanks inside too
SELECT pg_temp.call('digipay_pay', ARRAY['pln', 'B 1234 XY,0212502110170100',
	'!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~']);
-- a huge one
SELECT pg_temp.call('digipay_pay', ARRAY['pln', '1', repeat('x', 10000000)]);

-- what comes after: limits and details of an inquiry
CREATE USER MAPPING FOR PUBLIC SERVER regress_server OPTIONS (username 'u', api_key 'k');
SELECT max_price || ': ' || split_part(pg_temp.attempt(format(
	'SELECT digipay_pay(''pln'', ''530000000001'', ''regress-1'', server => ''regress_server'',
		max_price => %L)', max_price)), E'\n', 1)
FROM unnest('{-1, -0.01, NaN, Infinity, -Infinity}'::text[]) AS max_price;
SELECT pg_temp.attempt(format(
	'SELECT digipay_pay(''pln'', ''530000000001'', ''regress-1'', server => ''regress_server'',
		max_price => %s)', repeat('9', 101)));
SELECT year || ': ' || split_part(pg_temp.attempt(format(
	'SELECT digipay_inquire(''cimahi'', ''329801092375999991'', ''regress-1'',
		server => ''regress_server'', year => %s)', year)), E'\n', 1)
FROM unnest('{0, -2024, 24, 1899, 3000, 20240, 2147483647, -2147483648}'::integer[]) AS year;
SELECT amount || ': ' || split_part(pg_temp.attempt(format(
	'SELECT digipay_inquire(''emoney'', ''082100000001'', ''regress-1'',
		server => ''regress_server'', amount => %L)', amount)), E'\n', 1)
FROM unnest('{0, -1000, 1, 999, 1001, 1500, 1000.5, 0.001, NaN, Infinity,
	-Infinity}'::text[]) AS amount;

-- the functions are not STRICT: NULL is an error, never a NULL row
SELECT pg_temp.attempt('SELECT digipay_pay(NULL, NULL, NULL)');
SELECT pg_temp.attempt('SELECT digipay_inquire(NULL, NULL, NULL)');

-- nothing of this has left a trace
SELECT count(*) FROM digipay_payment;
SELECT count(*) FROM digipay_inquiry;
SELECT count(*) FROM digipay_event;
SELECT count(*) FROM digipay_fence;
SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'digipay%'
	AND datname = current_database();
DROP SERVER regress_server CASCADE;
