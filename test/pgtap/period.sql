--
-- What a bill's words for time mean: digipay_period and digipay_to_date, which
-- understand what billers write, give NULL for the rest, and never raise
--
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT * FROM no_plan();

-- one word for a result: "2019-05", "months 1", "-" for not understood, or the error
CREATE FUNCTION pg_temp.meaning(periode text, family text DEFAULT NULL)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	p record;
BEGIN
	SELECT * INTO p FROM digipay_period(periode, family);
	IF p.kind = 'month' AND p.number IS NULL
		AND p.month = daterange(lower(p.month), (lower(p.month) + interval '1 month')::date)
		AND extract(day FROM lower(p.month)) = 1
	THEN
		RETURN to_char(lower(p.month), 'YYYY-MM');
	ELSIF p.kind IN ('months', 'instalment', 'tax_year') AND p.month IS NULL AND p.number > 0 THEN
		RETURN p.kind || ' ' || p.number;
	ELSIF p.kind IS NULL AND p.month IS NULL AND p.number IS NULL THEN
		RETURN '-';
	END IF;
	RETURN 'oddly ' || p::text;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

CREATE FUNCTION pg_temp.day(value text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN coalesce(to_char(digipay_to_date(value), 'YYYY-MM-DD'), '-');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

--
-- The documented formats, each with the family that writes it, and what is left
-- of them where the family is not known
--
SELECT is(pg_temp.meaning(periode, family), wanted, format('%L, %s', periode, coalesce(family, 'no family')))
FROM (VALUES
	('201901', 'pln', '2019-01'), ('201912', 'pdam', '2019-12'), ('201901', NULL, '2019-01'),
	('MEI 2019', 'internet', '2019-05'), ('MEI 22', 'tv', '2022-05'), ('MEI 22', NULL, '2022-05'),
	('NOV25', 'tv', '2025-11'), ('NOP 25', 'internet', '2025-11'), ('NOV2025', NULL, '2025-11'),
	('0320', 'pgas', '2020-03'), ('1220', 'pgas', '2020-12'), ('0320', NULL, '2020-03'),
	('01', 'bpjs', 'months 1'), ('12', 'bpjs', 'months 12'), ('1', 'bpjs', 'months 1'),
	('002', 'multifinance', 'instalment 2'), ('2', 'multifinance', 'instalment 2'),
	('120', 'multifinance', 'instalment 120'), ('030', 'multifinance', 'instalment 30'),
	('2019', 'pbb', 'tax_year 2019'), ('2019', 'pdl', 'tax_year 2019'), ('2019', NULL, 'tax_year 2019')
) AS v (periode, family, wanted);

-- digits alone: the family decides
SELECT is(pg_temp.meaning(periode, family), wanted, format('%L, %s', periode, coalesce(family, 'no family')))
FROM (VALUES
	('01', NULL, '-'), ('01', 'pln', '-'), ('01', 'pgas', '-'), ('01', 'pbb', '-'),
	('01', 'multifinance', 'instalment 1'), ('002', NULL, '-'), ('002', 'pln', '-'),
	('002', 'bpjs', 'months 2'), ('002', 'pbb', '-'),
	('0320', 'bpjs', '2020-03'), ('0320', 'multifinance', 'instalment 320'), ('0320', 'pln', '2020-03'),
	('0320', 'pbb', '-'), ('0320', 'nothing-known', '2020-03'),
	('2019', 'pln', '-'), ('2019', 'pgas', '-'), ('2019', 'bpjs', '-'), ('2019', 'nothing-known', '-'),
	('2019', '', 'tax_year 2019'), ('2019', 'multifinance', 'instalment 2019'),
	('201901', 'pgas', '2019-01'), ('201901', 'bpjs', '2019-01'), ('201901', 'multifinance', '2019-01'),
	('201901', 'pbb', '2019-01'),
	-- the month's name is plain whatever the family
	('MEI 22', 'bpjs', '2022-05'), ('MEI 22', 'multifinance', '2022-05'), ('MEI 2022', 'pbb', '2022-05')
) AS v (periode, family, wanted);
SELECT is(pg_temp.meaning('02', upper(f)), pg_temp.meaning('02', f), f || ' in capitals')
FROM unnest('{bpjs, multifinance}'::text[]) AS f;

-- the edges of what is meant
SELECT is(pg_temp.meaning(periode, family), wanted, format('%L, %s', periode, coalesce(family, 'no family')))
FROM (VALUES
	('198001', NULL, '1980-01'), ('197912', NULL, '-'), ('209912', NULL, '2099-12'), ('210001', NULL, '-'),
	('201900', NULL, '-'), ('201913', NULL, '-'), ('000000', NULL, '-'), ('999999', NULL, '-'),
	('0100', NULL, '2000-01'), ('1299', NULL, '2099-12'), ('0020', NULL, '-'), ('1320', NULL, '-'),
	('1980', NULL, 'tax_year 1980'), ('1979', NULL, '-'), ('2099', NULL, 'tax_year 2099'), ('2100', NULL, '-'),
	('1979', 'pbb', '-'), ('2100', 'pdl', '-'), ('1980', 'pbb', 'tax_year 1980'),
	('MEI 1979', NULL, '-'), ('MEI 1980', NULL, '1980-05'), ('MEI 2099', NULL, '2099-05'),
	('MEI 2100', NULL, '-'), ('MEI 00', NULL, '2000-05'), ('MEI 99', NULL, '2099-05'),
	('MEI', NULL, '-'), ('MEI 2', NULL, '-'), ('MEI 022', NULL, '-'), ('MEI 20220', NULL, '-'),
	('0', 'bpjs', '-'), ('000', 'bpjs', '-'), ('999', 'bpjs', 'months 999'),
	('0', 'multifinance', '-'), ('0000', 'multifinance', '-'), ('9999', 'multifinance', 'instalment 9999'),
	('12345', NULL, '-'), ('2019011', NULL, '-'), ('20190101', NULL, '-')
) AS v (periode, family, wanted);

--
-- Every spelling of a month, in every way to write the year
--
CREATE TEMPORARY TABLE spelling (word text, month integer);
INSERT INTO spelling VALUES ('JAN', 1), ('FEB', 2), ('PEB', 2), ('MAR', 3), ('APR', 4), ('MEI', 5),
	('MAY', 5), ('JUN', 6), ('JUL', 7), ('AGU', 8), ('AGT', 8), ('AUG', 8), ('SEP', 9), ('OKT', 10),
	('OCT', 10), ('NOV', 11), ('NOP', 11), ('DES', 12), ('DEC', 12),
	('JANUARI', 1), ('FEBRUARI', 2), ('PEBRUARI', 2), ('MARET', 3), ('APRIL', 4), ('JUNI', 6),
	('JULI', 7), ('AGUSTUS', 8), ('SEPTEMBER', 9), ('OKTOBER', 10), ('NOVEMBER', 11),
	('NOPEMBER', 11), ('DESEMBER', 12);
SELECT is((SELECT string_agg(DISTINCT pg_temp.meaning(way), ' ') FROM unnest(ARRAY[
		s.word || ' 2021', s.word || '2021', s.word || ' 21', s.word || '21', s.word || '-2021',
		s.word || '/21', s.word || '  2021', lower(s.word) || ' 2021', initcap(s.word) || '-21',
		' ' || s.word || ' 2021 ']) AS way),
	'2021-' || to_char(s.month, 'FM00'), s.word || ' in every way')
FROM spelling AS s;
SELECT is(pg_temp.meaning(word || ' 2021'), '-', word || ' is no month')
FROM unnest('{JANU, FE, MARE, MEII, XJAN, AGUST, S, DESEMBERR, M E I, ROMADHON, 5, V}'::text[]) AS word;

--
-- Nonsense of every sort, for all families
--
CREATE TEMPORARY TABLE nonsense (value text);
INSERT INTO nonsense VALUES (NULL), (''), (' '), ('-'), ('NULL'), ('null'), ('{}'), ('[]'), ('NaN'),
	('Infinity'), ('-201901'), ('+201901'), ('201901.0'), ('2019-01'), ('2019/01'), ('2.01901e5'),
	('0x201'), ('20 1901'), ('201901 x'), ('x201901'), ('MEI 2019 x'), ('2019 MEI x'), ('MEI-'),
	('MEI 20-19'), ('MEI'), ('MEI MEI'), ('20MEI19'), (E'201901\n'), (E'\t201901'), (E'MEI\t2019'),
	(E'MEI\n2019'), (E'201901\x01'), ('２０１９０１'), ('MEI ２０１９'), ('٢٠١٩٠١'), ('２０１９'),
	('MÉI 2019'), ('МАЙ 2019'), ('五月 2019'), (E'MEI\u00a02019'), (E'201901\u200b'), (E'\u202e201901'),
	('🎂 2019'), ('ＭＥＩ 2019'), ('ſep 2019'), ('JULİ 2019'), ('99999999999999999999'),
	('4294969315'), ('18446744073709553635'), ('-1'), ('0'), ('00'), ('0000'),
	(repeat('9', 1000)), (repeat('1', 1000000)), (repeat('x', 1000000)), (repeat('é', 1000000)),
	(repeat('MEI ', 1000)), ('MEI' || repeat(' ', 1000) || '2019'), (repeat(' ', 1000000)),
	('MEI' || repeat('-', 1000000) || '2019'), (repeat('0', 1000) || '201901'), (repeat('-', 40)),
	('MEI 2019' || repeat('0', 32)), (repeat('A', 41)), (repeat('A', 40)), (repeat('A', 39));
CREATE TEMPORARY TABLE family (name text);
INSERT INTO family VALUES (NULL), (''), ('pln'), ('pdam'), ('hp'), ('internet'), ('tv'), ('pgas'),
	('pbb'), ('pdl'), ('emoney'), ('bpjs'), ('multifinance'), ('nothing-known'), (repeat('bpjs', 100000)), ('ｂｐｊｓ'),
		(E'bpjs\n');
SELECT is((SELECT string_agg(format('%L: %s', left(f.name, 20),
		pg_temp.meaning(n.value, f.name)), E'\n') FROM family AS f
	WHERE pg_temp.meaning(n.value, f.name) <> '-'), NULL,
	format('nonsense %s of %s characters', to_jsonb(left(n.value, 20)), length(n.value)))
FROM nonsense AS n ORDER BY n.value;

-- at random: never an error, and never another shape than one of the four
CREATE TEMPORARY TABLE at_random AS
SELECT setseed(0.25) IS NULL AS seeded, '' AS periode, NULL AS family;
INSERT INTO at_random
SELECT true, (SELECT string_agg((string_to_array('0,1,2,9,20,19,MEI,NOV,nop,des, ,-,/,é,２,x,',','))
			[1 + floor(random() * 17)], '') FROM generate_series(1, 1 + i % 7)),
	('{bpjs,multifinance,pbb,pdl,pln,NULL,NULL}'::text[])[1 + floor(random() * 7)]
FROM generate_series(1, 20000) AS i;
SELECT is((SELECT string_agg(format('%L %L: %s', periode, family, pg_temp.meaning(periode, family)), E'\n')
	FROM (SELECT * FROM at_random WHERE pg_temp.meaning(periode, family)
		!~ '^(-|(19[89]|20[0-9])[0-9]-(0[1-9]|1[0-2])|(months|instalment|tax_year) [1-9][0-9]*)$'
		LIMIT 5) AS bad), NULL, 'no random text gives an error or another shape');
SELECT cmp_ok((SELECT count(DISTINCT pg_temp.meaning(periode, family)) FROM at_random), '>', 100::bigint,
	'and they mean many things');

--
-- Pure: the same whatever the settings, in an index, in a parallel worker
--
CREATE TEMPORARY TABLE before AS
SELECT s.word, p::text AS period, (digipay_to_date('9 ' || s.word || ' 2021') - date '2000-01-01') AS days
FROM spelling AS s, digipay_period(s.word || ' 2021') AS p;
SELECT lives_ok($$CREATE INDEX regress_period_idx ON spelling
	(lower((digipay_period(word || ' 2021')).month))$$, 'digipay_period in an index');
SELECT lives_ok($$CREATE INDEX regress_day_idx ON spelling (digipay_to_date('9 ' || word || ' 2021'))$$,
	'digipay_to_date in an index');
SET LOCAL datestyle = 'SQL, DMY';
SET LOCAL timezone = 'Pacific/Kiritimati';
SELECT is((SELECT string_agg(b.word, ' ') FROM before AS b, digipay_period(b.word || ' 2021') AS p
		WHERE lower(p.month) <> ('2021-' || (SELECT s.month FROM spelling AS s WHERE s.word = b.word) || '-01')::date
			OR digipay_to_date('9 ' || b.word || ' 2021') <> date '2000-01-01' + b.days),
	NULL, 'neither DateStyle nor TimeZone matters');
RESET datestyle;
RESET timezone;

CREATE FUNCTION pg_temp.plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
		plan := plan || line || E'\n';
	END LOOP;
	RETURN plan;
END $$;
-- (a temporary table is not for parallel workers)
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SELECT ok(set_config(name, 'on', true) = 'on', name) FROM pg_settings
WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
CREATE TABLE regress_period AS
SELECT periode, family, pg_temp.meaning(periode, family) AS meaning, pg_temp.day(periode) AS day FROM at_random;
ANALYZE regress_period;
CREATE FUNCTION pg_temp.in_parallel() RETURNS text LANGUAGE sql AS
	$$SELECT 'SELECT count(*) FROM regress_period AS r, digipay_period(r.periode, r.family) AS p
		WHERE r.meaning = coalesce(p.kind || '' '' || p.number, to_char(lower(p.month), ''YYYY-MM''), ''-'')
			AND r.day = coalesce(to_char(digipay_to_date(r.periode), ''YYYY-MM-DD''), ''-'')'$$;
SELECT matches(pg_temp.plan(pg_temp.in_parallel()), 'Gather', 'a query with them may run in parallel');
SELECT results_eq(pg_temp.in_parallel(), 'SELECT count(*) FROM regress_period',
	'and they say the same there');

--
-- Days
--
SELECT is(pg_temp.day(value), wanted, format('day %L', value))
FROM (VALUES
	('20210309', '2021-03-09'), ('20120524', '2012-05-24'), ('2021-03-09', '2021-03-09'),
	('09-03-2021', '2021-03-09'), ('9-3-2021', '2021-03-09'), ('09/03/2021', '2021-03-09'),
	('2021/03/09', '2021-03-09'), (' 20210309 ', '2021-03-09'),
	('1-15 DES 2014', '2014-12-15'), ('15 DES 2014', '2014-12-15'), ('15-DES-2014', '2014-12-15'),
	('15 des 14', '2014-12-15'), ('1-31 MEI 2019', '2019-05-31'), ('9 MARET 2021', '2021-03-09'),
	('29-02-2020', '2020-02-29'), ('29-02-2019', '-'), ('29 FEB 2000', '2000-02-29'), ('29-02-1900', '-'),
	('20210230', '-'), ('31 APR 2020', '-'), ('30 APR 2020', '2020-04-30'), ('20211301', '-'),
	('20210001', '-'), ('20210100', '-'), ('00000000', '-'), ('99991231', '9999-12-31'),
	('18991231', '-'), ('19000101', '1900-01-01'), ('31-12-10000', '-'), ('2021-3-9', '2021-03-09'),
	('1-32 DES 2014', '-'), ('0 DES 2014', '-'), ('DES 2014', '-'), ('1-15 DES', '-'),
	('2021-03/09', '-'), ('20210309 00:00', '-'), ('2021-03-09T00:00:00', '-'), ('03-2021', '-'),
	('1-2-3', '-'), ('2021030', '-'), ('202103099', '-'), ('2021-03-09-', '-'), ('-20210309', '-'),
	('now', '-'), ('today', '-'), ('infinity', '-'), ('epoch', '-')
) AS v (value, wanted);
SELECT is(pg_temp.day(value), '-', 
	format('day: nonsense %s of %s characters', to_jsonb(left(value, 20)), length(value))) FROM nonsense
WHERE value <> '20MEI19' ORDER BY value;
SELECT is(digipay_to_date(NULL), NULL, 'no day of nothing');
SELECT is((SELECT string_agg(format('%L: %s', periode, pg_temp.day(periode)), E'\n')
	FROM at_random WHERE pg_temp.day(periode) !~ '^(-|[0-9]{4}-[0-9]{2}-[0-9]{2})$'), NULL,
	'no random text is an error as a day');

SELECT * FROM finish();
ROLLBACK;
