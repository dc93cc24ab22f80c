# digipay_detail: is it linear, and how does it compare with plain SQL?
#
# Plain SQL that makes the same of a bill has to tell a list from a single period
# and from none, number the periods, convert nine columns, and keep what has no
# column.  That is what is compared with; beside it, for the record, is what does
# no more than convert the columns.  In one thing plain SQL does less: an amount
# that is none ends the statement there, and goes to "extra" in digipay_detail.
# The journal here has no such bill, and no bill twice.

DETAIL_ROWS=$((${ROWS:-1000000} < 1000000 ? ${ROWS:-1000000} : 1000000))
title="digipay_detail: bills of many periods, and $DETAIL_ROWS payments of two"
# what one call costs: memoizing helps only where bills are the same
PLAN='SET jit = off; SET max_parallel_workers_per_gather = 0; SET enable_memoize = off'

# The periods of a payment p in plain SQL.
PERIOD_COLUMNS='periode text, nilai_tagihan numeric, admin numeric, denda numeric, biaya_lain numeric,
	meter_awal text, meter_akhir text, no_ref text, usage text'
NAMES=$(echo "$PERIOD_COLUMNS" | sed 's/ text//g; s/ numeric//g')
LIST="CASE jsonb_typeof(p.\"desc\"->'detail') WHEN 'array' THEN p.\"desc\"->'detail'
	WHEN 'object' THEN jsonb_build_array(p.\"desc\"->'detail') END"
PLAIN_PERIODS="(SELECT no, $NAMES, nullif(period - '{$(echo "$NAMES" | tr -d ' \n\t')}'::text[], '{}') AS extra
	FROM (SELECT $LIST) AS list (list), ROWS FROM (jsonb_to_recordset(list) AS ($PERIOD_COLUMNS), jsonb_array_elements(list))
	WITH ORDINALITY AS period ($NAMES, period, no)) AS d"
PLAIN_COLUMNS="(SELECT no, $NAMES, NULL AS extra
	FROM ROWS FROM (jsonb_to_recordset(p.\"desc\"->'detail') AS ($PERIOD_COLUMNS)) WITH ORDINALITY AS period ($NAMES, no)) AS d"
PERIOD="d.no, d.$(echo $NAMES | sed 's/, /, d./g'), d.extra"

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

# Take a reading of the stored payments: case, where the periods d of a payment p
# come from.  All must find the same.
detail_reading()
{
	ms=$(statement_ms "SELECT count(*), sum(d.no), sum(d.nilai_tagihan), sum(d.denda), count(d.periode), max(d.meter_awal),
		count(d.extra) FROM digipay_payment p, LATERAL $2")
	grep '|' "$work/answer" >"$work/periods"
	[ -s "$work/all_periods" ] || cp "$work/periods" "$work/all_periods"
	cmp -s "$work/periods" "$work/all_periods" || die "$part: $1 reads something else"
	reading "stored payments, $1" rate "$(echo "$ms" | awk -v n="$DETAIL_ROWS" '{print n * 1000 / $1}')" 1/s
}

detail_stored()
{
	detail_reading digipay_detail 'digipay_detail(p) AS d'
	detail_reading digipay_detail_json 'digipay_detail_json(p."desc") AS d'
	detail_reading 'plain SQL' "$PLAIN_PERIODS"
	detail_reading 'plain SQL, columns only' "$PLAIN_COLUMNS"
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
	[ "$different" = 0 ] || die "$part: digipay_detail and plain SQL read $different payments differently"
	# all from memory, or from the same cache of the system
	value 'SELECT count("desc") FROM digipay_payment' >/dev/null
	rounds detail_round
	ratio '10,000 periods to 100, time per period' 'bill of 10000 periods' 'per period' 'bill of 100 periods' 'per period' 'about 1'
	ratio 'digipay_detail to plain SQL' 'stored payments, digipay_detail' rate \
		'stored payments, plain SQL' rate 'at least 1'
	ratio 'digipay_detail_json to plain SQL' 'stored payments, digipay_detail_json' rate \
		'stored payments, plain SQL' rate ''
	ratio 'digipay_detail to plain SQL, columns only' 'stored payments, digipay_detail' rate \
		'stored payments, plain SQL, columns only' rate ''
	end_database detail
}
