--
-- The periods of a bill that is not as documented: never an error; what has no
-- column, or does not fit it, is in extra
--
-- no periods: missing, null, empty; desc itself of another kind
SELECT "desc", count(d.no)
FROM unnest(ARRAY['{}', '{"detail": null}', '{"detail": []}', '{"detail": {}}', '{"detail": ""}',
	'{"Detail": [{"periode": "01"}]}', '{"lain": {"detail": [{"periode": "01"}]}}',
	'[]', '[{"detail": [{"periode": "01"}]}]', '["detail"]', '"detail"', '""', '1', 'true', 'null',
	NULL
	]::jsonb[]) WITH ORDINALITY AS v ("desc", n)
	LEFT JOIN LATERAL digipay_detail_json("desc") AS d ON true
GROUP BY n, "desc" ORDER BY n;

-- a single object counts as one; so does what is no object, in extra
SELECT "desc", d.no, d.periode, d.extra
FROM unnest(ARRAY['{"detail": {"periode": "01"}}', '{"detail": "01"}', '{"detail": 1}',
	'{"detail": 0}',
	'{"detail": true}', '{"detail": false}',
	'{"detail": [1, "two", null, true, [], [3], {}, {"periode": "08"}]}',
	'{"detail": [[{"periode": "01"}]]}',
	'{"detail": [null]}', '{"detail": [[]]}'
	]::jsonb[]) WITH ORDINALITY AS v ("desc", n),
	digipay_detail_json("desc") AS d
ORDER BY n, d.no;

-- amounts: numbers and texts alike, exactly; what is none goes into extra
SELECT value, d.nilai_tagihan, d.extra
FROM unnest(ARRAY['8000', '"8000"', '8000.50', '"8000.50"', '"008000"', '0', '"0"', '-500',
	'"-500"',
	'12345678901234567890123456789012345678901234567890.00000000000000000001',
	'"12345678901234567890123456789012345678901234567890.00000000000000000001"',
	'1e3', '0.1e-10', 'null',
	'""', '" 8000"', '"8000 "', '"8.000,00"', '"8,000"', '"Rp8000"', '"1e3"', '"0x10"', '"1_000"',
	'"+1"', '"."', '"1."', '".5"', '"--1"',
	'"NaN"', '"Infinity"', '"-"', 'true', '[]', '{}', '[8000]', '{"amount": 8000}'
	]::jsonb[]) WITH ORDINALITY AS v (value, n),
	digipay_detail_json(jsonb_build_object('detail',
		jsonb_build_object('nilai_tagihan', value))) AS d
ORDER BY n;

-- huge ones
SELECT kind, length(d.nilai_tagihan::text) AS digits, d.nilai_tagihan = value::numeric AS exact,
	length(d.extra::text) AS extra
FROM (VALUES (1, 'number of 5000 digits', repeat('9', 5000)),
	(2, 'number of 100000 digits', repeat('9', 100000)),
	(3, 'fraction of 10000 digits', '0.' || repeat('3', 10000)),
	(4, 'exponent', '1e100000')) AS v (n, kind, value),
	digipay_detail_json(format('{"detail": {"nilai_tagihan": %s}}', value)::jsonb) AS d
ORDER BY n;
SELECT length, length(d.nilai_tagihan::text) AS digits, length(d.extra ->> 'nilai_tagihan') AS extra
FROM unnest('{99, 100, 101, 200000}'::integer[]) AS length,
	digipay_detail_json(jsonb_build_object('detail',
		jsonb_build_object('nilai_tagihan', repeat('9', length)))) AS d
ORDER BY length;

-- every column of amounts behaves so
SELECT d.*
FROM digipay_detail_json('{"detail": [
	{"nilai_tagihan": "1.50", "admin": 2500, "denda": "0", "biaya_lain": -0.5},
	{"nilai_tagihan": "x1", "admin": "x2", "denda": "x3", "biaya_lain": "x4"},
	{"nilai_tagihan": null, "admin": null, "denda": null, "biaya_lain": null}]}') AS d;

-- texts: zeros in front are kept, numbers become text, the rest is extra
SELECT d.*
FROM digipay_detail_json('{"detail": [
	{"periode": "001", "meter_awal": "00080000", "meter_akhir": "00090000", "no_ref": "0205A",
		"usage": "007"},
	{"periode": 201901, "meter_awal": 80000, "meter_akhir": 90000.10, "no_ref": 1e2, "usage": -1},
	{"periode": "", "meter_awal": " ", "meter_akhir": "a\nb\tc", "no_ref": "\"quoted\"",
		"usage": "\\"},
	{"periode": true, "meter_awal": [], "meter_akhir": {}, "no_ref": ["1"], "usage": {"kwh": "7"}},
	{"periode": null, "meter_awal": null, "meter_akhir": null, "no_ref": null,
		"usage": null}]}') AS d;

-- unknown keys, also those that look like a column
SELECT d.*
FROM digipay_detail_json('{"detail": [
	{"periode": "01", "standmeter": "1", "pajak": 1.10, "lain": null,
		"dalam": {"a": [1, {"b": null}]}},
	{"no": 7, "extra": "mine", "Periode": "01", "periode ": "01", "": "nameless",
		"nilai": "1"}]}') AS d;

-- the same key or the same period twice
SELECT d.no, d.periode, d.nilai_tagihan, d.extra
FROM digipay_detail_json('{"detail": [{"periode": "01", "periode": "02", "x": 1, "x": 2},
	{"periode": "02"}, {"periode": "02", "nilai_tagihan": "1"}]}') AS d;

-- many
SELECT count(*), min(no), max(no), count(DISTINCT no), sum(nilai_tagihan), count(extra)
FROM digipay_detail_json((SELECT jsonb_build_object('detail', jsonb_agg(
		jsonb_build_object('periode', n, 'nilai_tagihan', n::text)))
	FROM generate_series(1, 10000) AS n));
SELECT bool_and(periode = no::text AND nilai_tagihan = no) AS in_order
FROM digipay_detail_json((SELECT jsonb_build_object('detail', jsonb_agg(
		jsonb_build_object('periode', n, 'nilai_tagihan', n::text) ORDER BY n))
	FROM generate_series(1, 10000) AS n));
-- more than work_mem
SET work_mem = '64kB';
SELECT count(*), sum(length(extra ->> 'x'))
FROM digipay_detail_json((SELECT jsonb_build_object('detail',
	jsonb_agg(jsonb_build_object('x', repeat('y', 1000))))
	FROM generate_series(1, 2000)));
RESET work_mem;
-- deep
SELECT d.no, length(d.extra::text)
FROM digipay_detail_json(('{"detail": {"x": ' || repeat('[', 1000) || repeat(']', 1000)
	|| '}}')::jsonb) AS d;

-- where a set-returning function may stand
SELECT digipay_detail_json('{"detail": [{"periode": "01"}, {"periode": "02"}]}');
SELECT (digipay_detail_json('{"detail": [{"periode": "01"}, {"periode": "02"}]}')).periode;
SELECT * FROM ROWS FROM (digipay_detail_json('{"detail": {"periode": "01"}}'),
	generate_series(1, 2)) WITH ORDINALITY;
SELECT count(*) FROM digipay_detail_json(NULL);
SELECT d.no FROM digipay_detail_json("desc" => '{"detail": {"periode": "01"}}') AS d;
