--
-- Every object of the extension: its name, a comment, no grant to PUBLIC that
-- is not meant, and no way in by the search_path
--
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT * FROM no_plan();

-- what belongs to the extension, and what belongs to that: indexes, constraints, columns
CREATE TEMPORARY VIEW member AS
SELECT d.classid, d.objid FROM pg_depend AS d
WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'digipay');
CREATE TEMPORARY VIEW relation AS
SELECT c.oid, c.relname, c.relkind FROM member AS m
	JOIN pg_class AS c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
UNION
SELECT c.oid, c.relname, c.relkind FROM member AS m
	JOIN pg_type AS t ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
	JOIN pg_class AS c ON t.typrelid = c.oid;

SELECT cmp_ok((SELECT count(*) FROM member), '>=', 65::bigint, 'there is something to look at');

--
-- Names
--
SELECT ok(i.name ~ '^digipay_' OR (i.type, i.name) = ('foreign-data wrapper', 'digipay'),
	i.type || ' ' || i.identity || ': name')
FROM member AS m, LATERAL (SELECT type, identity,
	coalesce(name, (regexp_match(identity, '(\w+)\('))[1]) AS name
	FROM pg_identify_object(m.classid, m.objid, 0)) AS i
ORDER BY i.type, i.identity;
SELECT ok(c.relname ~ '^digipay_', 'index ' || c.relname || ': name')
FROM relation AS r JOIN pg_index AS x ON r.oid = x.indrelid
	JOIN pg_class AS c ON x.indexrelid = c.oid ORDER BY c.relname;
-- all in the extension's own schema
SELECT is_empty($$SELECT i.* FROM member AS m, pg_identify_object(m.classid, m.objid, 0) AS i
	WHERE i.schema <> (SELECT n.nspname FROM pg_extension AS e
		JOIN pg_namespace AS n ON e.extnamespace = n.oid
		WHERE e.extname = 'digipay')$$, 'nothing is outside the extension''s schema');

--
-- Comments
--
SELECT ok(obj_description(oid, 'pg_extension') <> '', 'the extension has a comment')
	FROM pg_extension WHERE extname = 'digipay';
SELECT ok(coalesce(obj_description(m.objid, m.classid::regclass::name), '') <> '',
	i.type || ' ' || i.identity || ': comment')
FROM member AS m, pg_identify_object(m.classid, m.objid, 0) AS i
ORDER BY i.type, i.identity;
SELECT ok(coalesce(col_description(r.oid, a.attnum), '') <> '',
	'column ' || r.relname || '.' || a.attname || ': comment')
FROM relation AS r JOIN pg_attribute AS a ON r.oid = a.attrelid
WHERE r.relkind IN ('r', 'v', 'c') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY r.relname, a.attnum;
-- an index that no constraint explains
SELECT ok(coalesce(obj_description(x.indexrelid, 'pg_class'), '') <> '',
	'index ' || x.indexrelid::regclass || ': comment')
FROM relation AS r JOIN pg_index AS x ON r.oid = x.indrelid
WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = x.indexrelid)
ORDER BY x.indexrelid::regclass::text;
-- one comment each
SELECT is_empty($$SELECT description, count(*) FROM member AS m
	JOIN pg_description AS d ON d.classoid = m.classid AND d.objoid = m.objid AND d.objsubid = 0
	GROUP BY description HAVING count(*) > 1$$, 'no comment is there twice');

--
-- Grants
--
SELECT ok(NOT has_table_privilege('public', r.oid, p),
	format('PUBLIC has no %s on %s', p, r.relname))
FROM relation AS r, unnest('{SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES,
	TRIGGER}'::text[]) AS p
WHERE r.relkind IN ('r', 'v') AND (r.relname, p) <> ('digipay_response_code', 'SELECT')
ORDER BY r.relname, p;
SELECT ok(NOT has_any_column_privilege('public', r.oid, 'SELECT, INSERT, UPDATE, REFERENCES'),
	'PUBLIC has nothing on a column of ' || r.relname)
FROM relation AS r WHERE r.relkind = 'r' ORDER BY r.relname;
SELECT ok(has_table_privilege('public', 'digipay_response_code', 'SELECT'),
	'the response codes are for everybody');
SELECT ok(NOT has_sequence_privilege('public', r.oid, 'USAGE, SELECT, UPDATE'),
	'PUBLIC has nothing on ' || r.relname)
FROM relation AS r WHERE r.relkind = 'S';
SELECT set_eq($$SELECT p.proname FROM member AS m
	JOIN pg_proc AS p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
	WHERE has_function_privilege('public', p.oid, 'EXECUTE')$$,
	$$VALUES ('digipay_bill_json'::name), ('digipay_detail'), ('digipay_detail_json'),
		('digipay_period'), ('digipay_price_list_json'), ('digipay_response_codes'), ('digipay_rupiah'), ('digipay_samsat_no'),
		('digipay_to_boolean'), ('digipay_to_date'), ('digipay_to_integer'), ('digipay_to_numeric'),
		('digipay_to_time'), ('digipay_validator')$$,
	'PUBLIC may call the pure functions only');
SELECT ok(NOT has_foreign_data_wrapper_privilege('public', 'digipay', 'USAGE'),
	'PUBLIC cannot make a server');
SELECT is_empty($$SELECT r.relname, a.grantee FROM relation AS r
	JOIN pg_class AS c ON r.oid = c.oid, aclexplode(c.relacl) AS a
	WHERE a.grantee <> c.relowner AND NOT (r.relname = 'digipay_response_code' AND a.grantee = 0
		AND a.privilege_type = 'SELECT' AND NOT a.is_grantable)$$,
	'no role has been given anything on a relation');

--
-- The search_path: objects of the same name in front of everything, even of
-- pg_catalog, change nothing
--
SELECT is_empty($$SELECT p.proname FROM member AS m
	JOIN pg_proc AS p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
	JOIN pg_language AS l ON p.prolang = l.oid
	WHERE l.lanname NOT IN ('c', 'internal') AND p.prosqlbody IS NULL
		AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS s WHERE s LIKE 'search\_path=%')$$,
	'every function that is not in C is parsed already, or fixes its search_path');

CREATE TEMPORARY TABLE expected AS SELECT * FROM digipay_response_code;
CREATE SCHEMA regress_hostile;
CREATE FUNCTION regress_hostile.digipay_response_codes() RETURNS TABLE (rc text)
	LANGUAGE sql AS 'SELECT ''hostile''::text';
CREATE FUNCTION regress_hostile.timezone(text, timestamptz) RETURNS timestamp IMMUTABLE
	LANGUAGE sql AS 'SELECT ''2001-01-01''::timestamp';
CREATE FUNCTION regress_hostile.clock_timestamp() RETURNS timestamptz
	LANGUAGE sql AS 'SELECT ''2001-01-01''::timestamptz';
CREATE DOMAIN regress_hostile.date AS text;
CREATE DOMAIN regress_hostile.numeric AS text CHECK (value = 'hostile');
CREATE TABLE regress_hostile.digipay_payment (ref_id text);
CREATE TYPE regress_hostile.digipay_detail_row AS (hostile text);
CREATE FUNCTION regress_hostile.equal(text, text) RETURNS boolean IMMUTABLE
	LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR regress_hostile.= (LEFTARG = text, RIGHTARG = text,
	FUNCTION = regress_hostile.equal);

CREATE FUNCTION pg_temp.probe() RETURNS TABLE (day date, status_checks integer, at boolean,
	codes bigint, periods text) LANGUAGE plpgsql AS $$
DECLARE
	home text := (SELECT quote_ident(n.nspname) FROM pg_catalog.pg_extension AS e
		JOIN pg_catalog.pg_namespace AS n ON e.extnamespace = n.oid WHERE e.extname = 'digipay');
	amount pg_catalog.numeric;
BEGIN
	EXECUTE 'INSERT INTO ' || home || '.digipay_payment (ref_id, state, code, customer_no, testing,
		requested_at, server, account, requested_by, origin)
		VALUES (''regress-1'', ''succeeded'', ''pln'', ''1'', false, ''2024-05-01 17:00:00+00'',
			''s'', ''a'', ''r'', ''00000000-0000-0000-0000-000000000000'')
		RETURNING day, status_checks' INTO day, status_checks;
	EXECUTE 'INSERT INTO ' || home || '.digipay_event (server, ref_id, kind) VALUES (''s'',
		''regress-1'', ''untrusted'')
		RETURNING at > ''2020-01-01''' INTO at;
	EXECUTE 'SELECT count(*) FROM ' || home
		|| '.digipay_response_code WHERE meaning IS NOT NULL' INTO codes;
	EXECUTE 'SELECT nilai_tagihan, periode FROM ' || home
		|| '.digipay_detail_json(''{"detail": {"periode": "01", "nilai_tagihan": "8000"}}'')'
		INTO amount, periods;
	RETURN NEXT;
END $$;
SET LOCAL search_path = regress_hostile, pg_catalog, public;
CREATE TEMPORARY TABLE result AS SELECT * FROM pg_temp.probe();
SET LOCAL search_path = public;
SELECT is((SELECT day FROM result), '2024-05-02'::date,
	'the day is computed by the system''s functions');
SELECT is((SELECT at FROM result), true, 'so is an event''s time');
SELECT is((SELECT codes FROM result), (SELECT count(*) FROM expected),
	'the view reads its own function');
SELECT is((SELECT periods FROM result), '01', 'the details come as the extension''s own type');

-- in another schema
DROP SCHEMA regress_hostile CASCADE;
DROP EXTENSION digipay;
CREATE SCHEMA regress_home;
-- where somebody waits with what fits some expression better than the system's own
CREATE FUNCTION regress_home.divide(bigint, numeric) RETURNS numeric IMMUTABLE LANGUAGE sql AS 'SELECT 666.0';
CREATE OPERATOR regress_home./ (LEFTARG = bigint, RIGHTARG = numeric, FUNCTION = regress_home.divide);
CREATE FUNCTION regress_home.join(integer, text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT ''hostile''::text';
CREATE OPERATOR regress_home.|| (LEFTARG = integer, RIGHTARG = text, FUNCTION = regress_home.join);
CREATE FUNCTION regress_home.same(name, text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR regress_home.= (LEFTARG = name, RIGHTARG = text, FUNCTION = regress_home.same);
CREATE FUNCTION regress_home.left(name, integer) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT ''hostile''::text';
CREATE FUNCTION regress_home.round(bigint, integer) RETURNS numeric IMMUTABLE LANGUAGE sql AS 'SELECT 666.0';
CREATE FUNCTION regress_home.coalesce(text, text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT ''hostile''::text';
CREATE TEMPORARY TABLE waiting AS
SELECT 'pg_proc'::regclass AS classid, oid FROM pg_proc WHERE pronamespace = 'regress_home'::regnamespace
UNION ALL
SELECT 'pg_operator'::regclass, oid FROM pg_operator WHERE oprnamespace = 'regress_home'::regnamespace;
CREATE EXTENSION digipay SCHEMA regress_home;
SELECT is_empty($$SELECT pg_describe_object(d.classid, d.objid, 0), pg_describe_object(d.refclassid, d.refobjid, 0)
	FROM pg_depend AS d JOIN waiting AS w ON d.refclassid = w.classid AND d.refobjid = w.oid
	WHERE NOT EXISTS (SELECT FROM waiting AS o WHERE o.classid = d.classid AND o.oid = d.objid)$$,
	'nothing calls what waited in the schema that it was made in');
SELECT is_empty($$SELECT i.* FROM pg_depend AS d, pg_identify_object(d.classid, d.objid, 0) AS i
	WHERE d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'digipay')
	AND i.schema <> 'regress_home'$$, 'all of it goes to the schema that is named');
SELECT is((SELECT count(*) FROM regress_home.digipay_response_code),
	(SELECT count(*) FROM expected), 'and works there');
SELECT is((SELECT periode FROM regress_home.digipay_detail_json('{"detail": {"periode": "01"}}')),
	'01', 'details, too');
SELECT throws_ok($$SELECT regress_home.digipay_pay('pln', '1', 'regress-1',
	server => 'regress_none')$$, '42704', NULL, 'payments, too');
SELECT throws_ok('ALTER EXTENSION digipay SET SCHEMA public', '0A000', NULL, 'and stays there');
DROP EXTENSION digipay;
CREATE SCHEMA "Kas %s; 100%";
SELECT lives_ok('CREATE EXTENSION digipay SCHEMA "Kas %s; 100%"', 'a schema of any name');
SELECT lives_ok('SELECT * FROM "Kas %s; 100%".digipay_pln, "Kas %s; 100%".digipay_balance_gap', 'works as well');

SELECT * FROM finish();
ROLLBACK;
