# digipay_detail: is it linear, and how does it compare with plain SQL?

DETAIL_ROWS=$((${ROWS:-1000000} < 1000000 ? ${ROWS:-1000000} : 1000000))
title="digipay_detail: bills of many periods, and $DETAIL_ROWS payments of two"
PLAN='SET jit = off; SET max_parallel_workers_per_gather = 0'

# What the periods hold, in plain SQL.
PLAIN_PERIODS="ROWS FROM (jsonb_to_recordset(p.\"desc\"->'detail') AS (periode text, nilai_tagihan numeric,
	admin numeric, denda numeric, biaya_lain numeric, meter_awal text, meter_akhir text, no_ref text, usage text))
	WITH ORDINALITY AS d (periode, nilai_tagihan, admin, denda, biaya_lain, meter_awal, meter_akhir, no_ref, usage, no)"
PERIOD='d.no, d.periode, d.nilai_tagihan, d.admin, d.denda, d.biaya_lain, d.meter_awal, d.meter_akhir, d.no_ref, d.usage'

# Milliseconds of a statement.
statement_ms()
{
	sql -At -c "$PLAN" -c '\timing on' -c "$1" >"$work/answer" || die "$part: failed: $1"
	sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' "$work/answer"
}

# As many periods in all, of bills of so many.
detail_linear()
{
	for periods in 100 1000 10000; do
		ms=$(statement_ms "SELECT count(*), count(d) FROM bench_bill b, generate_series(1, $((500000 / periods))) i,
			LATERAL digipay_detail_json(CASE WHEN i > 0 THEN b.\"desc\" END) d WHERE periods = $periods")
		grep -qx '500000|500000' "$work/answer" || die "$part: not all periods were read"
		reading "bill of $periods periods" 'per period' "$(echo "$ms" | awk '{print $1 * 1000 / 500000}')" us
	done
}

# The stored payments, by us and in plain SQL.
detail_stored()
{
	aggregates='count(*), sum(d.no), sum(d.nilai_tagihan), sum(d.denda), count(d.periode), max(d.meter_awal)'
	ms=$(statement_ms "SELECT $aggregates FROM digipay_payment p, digipay_detail(p) d")
	grep '|' "$work/answer" >"$work/ours"
	reading 'stored payments, digipay_detail' rate "$(echo "$ms" | awk -v n="$DETAIL_ROWS" '{print n * 1000 / $1}')" 1/s
	ms=$(statement_ms "SELECT $aggregates FROM digipay_payment p, $PLAIN_PERIODS")
	grep '|' "$work/answer" | cmp -s - "$work/ours" || die "$part: the two do not read the same"
	reading 'stored payments, jsonb_to_recordset' rate "$(echo "$ms" | awk -v n="$DETAIL_ROWS" '{print n * 1000 / $1}')" 1/s
}

detail_round()
{
	detail_linear
	detail_stored
}

part_detail()
{
	export PGDATABASE=detail
	sql -d postgres -c 'CREATE DATABASE detail'
	create_objects
	sql <<-'END'
		CREATE TABLE bench_bill AS
		SELECT periods, jsonb_build_object('detail', (SELECT jsonb_agg(jsonb_build_object('periode', to_char(i, 'FM000000'),
			'nilai_tagihan', i::text, 'admin', '2500', 'denda', '500', 'meter_awal', to_char(i, 'FM00000000'),
			'meter_akhir', to_char(i + 1, 'FM00000000'))) FROM generate_series(1, periods) AS i)) AS "desc"
		FROM unnest('{100, 1000, 10000}'::int[]) AS periods
	END
	# a bill of two periods
	sql -c "DELETE FROM digipay_payment" -c "SELECT digipay_pay('pln', '530000000002', 'first', server => 'http')" >/dev/null
	fill "$DETAIL_ROWS"
	sql -c "DELETE FROM digipay_payment WHERE ref_id = 'first'" -c 'VACUUM (ANALYZE) digipay_payment'
	different=$(value "SELECT count(*) FROM (SELECT * FROM digipay_payment LIMIT 1000) p
		WHERE (SELECT array_agg(ROW($PERIOD)::text ORDER BY d.no) FROM digipay_detail(p) d)
			IS DISTINCT FROM (SELECT array_agg(ROW($PERIOD)::text ORDER BY d.no) FROM $PLAIN_PERIODS)")
	[ "$different" = 0 ] || die "$part: digipay_detail and jsonb_to_recordset read $different payments differently"
	# both from memory, or from the same cache of the system
	value 'SELECT count("desc") FROM digipay_payment' >/dev/null
	rounds detail_round
	ratio '10,000 periods to 100, time per period' 'bill of 10000 periods' 'per period' 'bill of 100 periods' 'per period' 'about 1'
	ratio 'digipay_detail to jsonb_to_recordset' 'stored payments, digipay_detail' rate \
		'stored payments, jsonb_to_recordset' rate 'at least 1'
	end_database detail
}
