--
-- Options of a user mapping; what may be secret is in no message
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

CREATE FUNCTION pg_temp.mapping_with(option text, value text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	answer := pg_temp.attempt(format(
		'CREATE USER MAPPING FOR PUBLIC SERVER regress_option OPTIONS (%I %L)', option, value));
	IF answer = 'accepted' THEN
		DROP USER MAPPING FOR PUBLIC SERVER regress_option;
	END IF;
	RETURN split_part(answer, E'\n', 1);
END $$;

-- with each kind of value; it is only shown here, never in the message
SELECT option || ', ' || kind || ': ' || pg_temp.mapping_with(option, value)
FROM unnest('{username, api_key, webhook_secret}'::text[]) AS option,
	(VALUES ('good', 'secret-0815'), ('all printable', '!"#$%&()*+,-./:;<=>?@[\]^_`{|}~'),
	('one character', 's'), ('128', repeat('s', 128)), ('129', repeat('s', 129)),
	('1000', repeat('s', 1000)), ('1001', repeat('s', 1001)),
	('empty', ''), ('blank', ' '), ('blank before', ' secret'), ('blank behind', 'secret '),
	('blank inside', 'sec ret'), ('tab', E'secret\t'), ('newline behind', E'secret\n'),
	('newline inside', E'sec\nret'), ('carriage return', E'secret\r\n'), ('escape', E'\x1bsecret'),
	('delete', E'secret\x7f')) AS v (kind, value);
SELECT count(*), 'messages show a part of the value'
FROM unnest('{username, api_key, webhook_secret}'::text[]) AS option,
	unnest(ARRAY['xyzzy plugh', E'xyzzy\n', E'plugh\t', repeat('xyzzy', 201), ' plugh']) AS value,
	pg_temp.mapping_with(option, value) AS answer
WHERE answer LIKE '%xyzzy%' OR answer LIKE '%plugh%' OR answer = 'accepted';

-- all together, changed, and taken away
SELECT pg_temp.attempt(statement)
FROM unnest(ARRAY[
	$$CREATE USER MAPPING FOR PUBLIC SERVER regress_option
		OPTIONS (username 'u', api_key 'k', webhook_secret 's')$$,
	$$ALTER USER MAPPING FOR PUBLIC SERVER regress_option OPTIONS (SET api_key 'xyzzy ')$$,
	$$ALTER USER MAPPING FOR PUBLIC SERVER regress_option OPTIONS (SET api_key 'k2')$$,
	$$ALTER USER MAPPING FOR PUBLIC SERVER regress_option
		OPTIONS (DROP webhook_secret)$$]) AS statement;
SELECT umoptions FROM pg_user_mappings WHERE srvname = 'regress_option';
DROP SERVER regress_option CASCADE;
