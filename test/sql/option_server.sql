--
-- Options of a server: good and bad values of each
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

-- one option, alone and beside a good endpoint
CREATE FUNCTION pg_temp.server_with(option text, value text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	answer := pg_temp.attempt(format(
		'CREATE SERVER regress_option FOREIGN DATA WRAPPER digipay OPTIONS (endpoint %L, %I %L)',
		'https://provider.example/', option, value));
	IF answer = 'accepted' THEN
		DROP SERVER regress_option;
	END IF;
	-- without the hint, which is the same each time
	RETURN format('%s = %L: %s', option, value, split_part(answer, E'\n', 1));
END $$;

-- truth values
SELECT pg_temp.server_with(option, value)
FROM unnest('{testing, paused, require_inquiry, allow_private_address}'::text[]) AS option,
	unnest('{true, false, on, off, 1, 0, 2, maybe, " ", ""}'::text[]) AS value;

-- numbers: their bounds, just outside, and what is no whole number
SELECT pg_temp.server_with(option, value)
FROM (VALUES ('connect_timeout', '86400000', '86400001'),
	('timeout', '86400000', '86400001'),
	('max_in_flight', '10000', '10001'),
	('status_interval', '86400000', '86400001'),
	('queue_ttl', '2147483647', '2147483648')) AS b (option, most, too_much),
	unnest(ARRAY['1', most, '0', '-1', too_much, '', 'x', '10s', '1.4', '0.6', '1e3', '0x10', '010', ' 7 ']) AS value;

-- the dialect
SELECT pg_temp.server_with('dialect', value)
FROM unnest('{digiswitch, digiflazz, Digiswitch, DIGIFLAZZ, " digiflazz", digi, other, ""}'::text[]) AS value;

-- files
SELECT pg_temp.server_with('ca_file', value)
FROM unnest('{/etc/ssl/provider.pem, provider.pem, ./provider.pem, ""}'::text[]) AS value;
SELECT pg_temp.server_with('api_key_file', value)
FROM unnest('{main, main.key, ../main, /etc/main, main/, .., ., .main, ""}'::text[]) AS value;

-- the hint
SELECT pg_temp.attempt($$CREATE SERVER regress_option FOREIGN DATA WRAPPER digipay
	OPTIONS (endpoint 'https://provider.example/', timeout 'soon')$$);
SELECT pg_temp.attempt($$CREATE SERVER regress_option FOREIGN DATA WRAPPER digipay
	OPTIONS (endpoint 'https://provider.example/', dialect 'digiflash')$$);

-- all together
SELECT pg_temp.attempt($$
	CREATE SERVER regress_option FOREIGN DATA WRAPPER digipay OPTIONS (
		endpoint 'https://provider.example/v1', dialect 'digiswitch', testing 'true',
		connect_timeout '1000', timeout '2000', max_in_flight '3', status_interval '4000',
		queue_ttl '5000', paused 'false', require_inquiry 'true', ca_file '/etc/ssl/provider.pem',
		allow_private_address 'true', api_key_file 'main') $$);
-- checked when changed, too; the endpoint stays required
SELECT pg_temp.attempt('ALTER SERVER regress_option OPTIONS (' || change || ')')
FROM unnest(ARRAY[$$SET dialect 'digiflazz'$$, $$SET dialect 'digi'$$, $$ADD dialect 'digiswitch'$$, $$SET timeout '0'$$, $$DROP timeout$$, $$SET endpoint 'ftp://provider.example/'$$,
	$$DROP endpoint$$, $$ADD timeout 'soon'$$]) AS change;
SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'regress_option';
DROP SERVER regress_option;
