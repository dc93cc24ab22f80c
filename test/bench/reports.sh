#!/bin/sh
#
# Measures the reports of one month over a big journal, cold and warm.  Ten
# million payments take 25 GB of disk and a quarter of an hour.
#
#	sh test/bench/reports.sh
#
# From the environment:
#	ROWS			payments (10000000)
#	RUNS			warm runs of each report, of which the median counts (3)
#	DISK			where the data directory goes (/var/tmp): not memory
#	PLANS			a file for the plans, as EXPLAIN (ANALYZE, BUFFERS) tells them

here=$(cd "$(dirname "$0")/../.." && pwd)
. "$here/script/lib.sh"
. "$here/test/bench/disk.sh"

rows=${ROWS:-10000000}
last=2026-10-31
month="day BETWEEN '2026-05-01' AND '2026-05-31'"

# Name and statement of each report of the month.
reports()
{
	cat <<-EOF
	digipay_bill|SELECT family, month, count(*), sum(amount), sum(fine), sum(other), sum(admin) FROM digipay_bill WHERE $month GROUP BY family, month
	digipay_daily|SELECT * FROM digipay_daily WHERE $month
	digipay_product_stats|SELECT * FROM digipay_product_stats WHERE $month
	digipay_product_stats(since, until)|SELECT * FROM digipay_product_stats('2026-05-01', '2026-05-31')
	digipay_response_stats|SELECT * FROM digipay_response_stats WHERE $month
	digipay_balance_trend|SELECT * FROM digipay_balance_trend WHERE $month
	digipay_balance_gap|SELECT * FROM digipay_balance_gap WHERE $month
	digipay_amount_mismatch|SELECT * FROM digipay_amount_mismatch WHERE $month
	digipay_pln|SELECT tarif, count(*), sum(daya), sum(selling_price) FROM digipay_pln WHERE $month GROUP BY tarif
	digipay_pending_age|SELECT * FROM digipay_pending_age
	digipay_receipt|SELECT digipay_receipt('20260509-77')
	look-up by ref_id|SELECT state FROM digipay_payment WHERE server = 'digipay' AND ref_id = '20260509-77'
	EOF
}

# Milliseconds that a statement takes in a new session, its rows fetched.
milliseconds()
{
	"$bindir/psql" -X -q -c '\timing on' -c '\o /dev/null' -c "$1" | sed -n 's/^Time: \([0-9]*\).*/\1/p'
}

# Stop the server and take its files out of the system's cache.
make_cold()
{
	stop_server "$disk/server/data"
	find "$disk/server" -type f -size +8k -exec dd if={} iflag=nocache count=0 status=none \;
	as_server_user "$bindir/pg_ctl" -D "$disk/server/data" -w -t 120 -l "$disk/server/log" start >/dev/null ||
		die 'the server did not start again'
}


make_work
make_disk
install_needed
say 'Building ...'
copy_tree "$here" "$work/tree"
build_extension "$work/tree" "$work/root" with_llvm=no || die 'digipay could not be built'
build_provider "$work/tree" || die "the provider's double could not be built"
start_provider || die "the provider's double did not start"
# defaults, but for what filling would wait for
start_server "$disk/server" "$work/root" <<'EOF' || die 'the server did not start'
max_wal_size = '8GB'
EOF

sql -c 'CREATE EXTENSION digipay' -c "CREATE SERVER digipay FOREIGN DATA WRAPPER digipay OPTIONS (
		endpoint '$DIGIPAY_ENDPOINT', allow_private_address 'true')" \
	-c "CREATE USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (username 'demo', api_key 'demo-key')"
sql -c "SELECT count(digipay_pay(code, '88888', 'sample-' || code)) FROM unnest('{pln,pdam,hp,internet,bpjs,
	multifinance,pbb,pgas,tv,plnnontaglis,emoney,samsat}'::text[]) AS code" -c 'SELECT digipay_worker_stop()' >/dev/null
say "Filling in $rows payments ..."
sql -v rows="$rows" -v last="$last" <"$here/test/bench/reports.sql" || die 'the journal could not be filled'

echo "date     $(date -u +%Y-%m-%d)"
echo "machine  $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) CPUs, $(sed -n 's/^MemTotal: *//p' /proc/meminfo) of memory"
echo "system   $(. /etc/os-release && echo "$PRETTY_NAME"), Linux $(uname -r), $("$PG_CONFIG" --version), its default settings"
sql -At -F ', ' -c "SELECT 'journal  ' || count(*) || ' payments, ' || count(*) FILTER (WHERE $month) || ' in the month',
		pg_size_pretty(pg_table_size('digipay_payment')) || ' and indexes of ' || pg_size_pretty(pg_indexes_size('digipay_payment')),
		round(avg(pg_column_size(p)) FILTER (WHERE $month)) || ' bytes a row'
	FROM digipay_payment p" || die 'the journal cannot be read'
make_cold
echo "disk     $(dd if="$(find "$disk/server" -type f -printf '%s %p\n' | sort -n | sed -n '$s/^[0-9]* //p')" of=/dev/null bs=1M 2>&1 | sed -n 's/.*, //p') read in sequence"
echo
printf '%-36s %10s %10s   ms\n' report cold warm
[ -z "${PLANS:-}" ] || : >"$PLANS"
reports | while IFS='|' read -r name statement; do
	make_cold
	cold=$(milliseconds "$statement")
	warm=$(for _ in $(seq "${RUNS:-3}"); do milliseconds "$statement"; done | sort -n | sed -n "$(((${RUNS:-3} + 1) / 2))p")
	printf '%-36s %10s %10s\n' "$name" "${cold:-failed}" "${warm:-failed}"
	[ -z "${PLANS:-}" ] || {
		echo "-- $name"
		"$bindir/psql" -X -At -c "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) $statement"
		echo
	} >>"$PLANS"
done
