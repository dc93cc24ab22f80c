# For the benchmarks: the scene, the readings, and what several parts do.
# Sourced by run.sh, after script/lib.sh and disk.sh.

USERNAME=bench
API_KEY=bench-key
export BENCH_USERNAME=$USERNAME BENCH_API_KEY=$API_KEY
# digipay_submit warns of a worker that is not preloaded
export PGOPTIONS='-c client_min_messages=error'
BILL="'pln', '530000000001'"
all_cpus=$(taskset -cp $$ | sed 's/.*: //')
one_cpu=${all_cpus%%[,-]*}

part=			# the part that runs
round=1			# and its round

# ---------------------------------------------------------------- readings

# Write readings down, "metric,value,unit" a line from standard input, of case $1.
record()
{
	sed "s|^|$part,$round,\"$1\",|" >>"$OUT/results.csv"
}

# One reading: case, metric, value, unit.
reading()
{
	echo "$2,$3,$4" | record "$1"
}

# Say which readings make a ratio: name, case and metric above, case and metric
# below, what is aimed at.
ratio()
{
	printf '%s|%s|%s|%s|%s|%s|%s\n' "$part" "$@" >>"$work/ratios"
}

# Run the rounds of a part: a function of each.
rounds()
{
	round=1
	while [ $round -le "$ROUNDS" ]; do
		"$1"
		round=$((round + 1))
	done
}

# The readings and the ratios as tables of the session, for the SQL that follows.
readings_as_sql()
{
	echo 'CREATE TEMP TABLE reading (number serial, part text, round integer, "case" text, metric text, value numeric, unit text);'
	echo 'COPY reading (part, round, "case", metric, value, unit) FROM STDIN (FORMAT csv, HEADER);'
	cat "$OUT/results.csv"
	printf '%s\n' '\.' 'CREATE TEMP TABLE ratio (number serial, part text, name text, case_above text, metric_above text, case_below text, metric_below text, aim text);'
	echo "COPY ratio (part, name, case_above, metric_above, case_below, metric_below, aim) FROM STDIN (DELIMITER '|');"
	cat "$work/ratios"
	echo '\.'
}

# Medians and ratios of part $1 as tables, to standard output and results.md.
summarize()
{
	{ readings_as_sql; cat "$here/test/bench/summary.sql"; } | sql -v part="$1" >"$work/summary" ||
		die "the readings of $1 cannot be summed up"
	# from psql's frames to Markdown's
	awk '/^\+/ {if (++n % 3 == 2) {gsub(/\+/, "|"); print}; if (n % 3 == 0) {print ""}; next} NF {print}' "$work/summary" |
		tee -a "$OUT/results.md"
}

# ------------------------------------------------------------------- books

# Empty the provider's books.
open_books()
{
	curl -sf -X POST "$provider_url/books/reset" >/dev/null || die 'the books cannot be emptied'
}

# Stop unless the books say that so many payments were booked, one for each
# request, and nobody complained.
check_books()
{
	books=$(curl -sf "$provider_url/books?summary=1") || die 'the books cannot be read'
	echo "$books" | jq -e ".requests == $1 and .bookings == $1 and .complaint_count == 0" >/dev/null ||
		die "$part, round $round: $1 payments should be booked, but the books say $books"
}

# Change how the provider behaves: a JSON object.
control()
{
	curl -sf -o /dev/null -d "$1" "$provider_url/control" || die "the provider does not take $1"
}

# ----------------------------------------------------------------- the floor

# The endpoint by scheme $1, and the authorities for it.
endpoint_of()
{
	case $1 in
		https*) echo "https://127.0.0.1:$https_port/v1/user/api/transaction" ;;
		*) echo "$DIGIPAY_ENDPOINT" ;;
	esac
}

# Take a reading of the floor: case, scheme, mode, requests, how many in flight,
# prefix of the ref_ids.
floor()
{
	open_books
	# shellcheck disable=SC2046,SC2086	# words
	$pinned "$work/floor" "$3" "$(endpoint_of "$2")" "${6:-f$round}" "$4" ${5:-} \
		$([ "$2" = http ] || echo "$authorities") >"$work/reading" || die "$part: the floor program failed"
	check_books $(($4 + ${5:-1}))
	record "$1" <"$work/reading"
}

# --------------------------------------------------------------- processors

pinned=			# words before a command

# Put the provider and the database server on one processor, or back on all.
place_all()
{
	postmaster=$(head -1 "$disk/server/data/postmaster.pid")
	for pid in $provider_pid $postmaster $(pgrep -P "$postmaster"); do
		taskset -acp "$1" "$pid" >/dev/null 2>&1 || :	# it may have ended
	done
}
pin()
{
	place_all "$one_cpu"
	pinned="taskset -c $one_cpu"
}
unpin()
{
	place_all "$all_cpus"
	pinned=
}

# ------------------------------------------------------------- the database

# Create a server $1 whose endpoint is $2, with further options $3.
create_server()
{
	sql -c "CREATE SERVER $1 FOREIGN DATA WRAPPER digipay OPTIONS (
			endpoint '$2', allow_private_address 'true'${3:+, $3})" \
		-c "CREATE USER MAPPING FOR PUBLIC SERVER $1 OPTIONS (username '$USERNAME', api_key '$API_KEY')"
}

# Drop database $1 when its worker has ended, and go back to the first one.
end_database()
{
	sql -d "$1" -c 'SELECT digipay_worker_stop()' >/dev/null
	export PGDATABASE=postgres
	sql -c "DROP DATABASE $1 WITH (FORCE)"
}

# One value.
value()
{
	sql -At -c "$1"
}

# The worker of this database.
worker_pid()
{
	value "SELECT pid FROM pg_stat_activity
		WHERE backend_type = 'digipay worker' AND datname = current_database()"
}

# Microseconds of processor time that a process has taken.
cpu_of()
{
	awk '{printf "%.0f", $1 / 1000}' "/proc/$1/schedstat"
}

# End a program that was started beside, of which clean_up knows.
end_helper()
{
	kill "$1" 2>/dev/null || :
	wait "$1" 2>/dev/null || :
	providers=$(echo "$providers" | sed "s/\\b$1\\b//")
}

# Let so many requests be in flight.
allow_in_flight()
{
	sql -c "ALTER SERVER http OPTIONS (SET max_in_flight '$1')" \
		-c "ALTER SERVER https OPTIONS (SET max_in_flight '$1')"
	sql -c "LOAD 'digipay'" -c "ALTER SYSTEM SET digipay.max_connections = $(($1 > 256 ? $1 : 256))" \
		-c 'SELECT pg_reload_conf()' >/dev/null
}

# Run a program whose readings are of case $1.
readings_of()
{
	case=$1
	shift
	# shellcheck disable=SC2086	# words
	$pinned "$@" >"$work/reading" || die "$part, round $round: $1 failed"
	record "$case" <"$work/reading"
}

# ---------------------------------------------------------------- the queue

# Wait until nothing is open.
wait_until_final()
{
	waited=0
	until [ "$(value 'SELECT NOT EXISTS (SELECT 1 FROM digipay_payment WHERE next_check_at IS NOT NULL)')" = t ]; do
		waited=$((waited + 1))
		[ $waited -lt 3000 ] || die "$part, round $round: the queue is not empty after ten minutes"
		sleep 0.2
	done
}

# The payments of a prefix at server $2, as a condition that the primary key
# answers: "." comes after "-".
payments_of()
{
	echo "server = '$2' AND ref_id >= '$1-' AND ref_id < '$1.'"
}

# Stop unless all payments of the prefix at server $2 have succeeded, and are $3.
check_payments()
{
	counts=$(value "SELECT count(*), count(*) FILTER (WHERE state = 'succeeded')
		FROM digipay_payment WHERE $(payments_of "$1" "$2")")
	[ "$counts" = "$3|$3" ] ||
		die "$part, round $round: of $3 payments $1-% there are, and have succeeded: $counts"
}

# Submit so many payments with a prefix at server $3 in one statement, and print
# when it had begun and when it was committed.
submit()
{
	sql -At -c 'SELECT extract(epoch FROM clock_timestamp())' \
		-c "SELECT 1 FROM generate_series(1, $2) AS i HAVING count(digipay_submit($BILL, '$1-' || i, server => '$3')) < $2" \
		-c 'SELECT extract(epoch FROM clock_timestamp())'
}

# Take a reading of the queue: case, server, payments, how many in flight go
# first and do not count, prefix of the ref_ids.  From the COMMIT of the one statement that submits
# them ("rate"), or from its beginning ("whole"), until the last is final.
queue()
{
	open_books
	prefix=${5:-q-$(date +%s%N)}
	submit "$prefix-warm" "$4" "$2" >/dev/null
	wait_until_final
	sql -c CHECKPOINT
	worker=$(worker_pid)
	cpu_before=$(cpu_of "$worker")
	times=$(submit "$prefix" "$3" "$2")
	wait_until_final
	cpu_after=$(cpu_of "$worker")
	[ "$(worker_pid)" = "$worker" ] || die "$part, round $round: the worker is another one now"
	check_books $(($3 + $4))
	check_payments "$prefix" "$2" $(($3 + $4))
	ended=$(value "SELECT extract(epoch FROM max(final_at)) FROM digipay_payment WHERE $(payments_of "$prefix" "$2")")
	echo "$times $ended $cpu_before $cpu_after" | tr '\n' ' ' | awk -v n="$3" '{
		printf "rate,%.1f,1/s\nwhole,%.1f,1/s\ncpu,%.2f,us\n", n / ($3 - $2), n / ($3 - $1), ($5 - $4) / n
	}' | record "$1"
	reading "$1" connections "$(echo "$books" | jq .connections)" 1
}

# ------------------------------------------------------------- a long journal

# Fill the journal of this database up to so many final payments.
fill()
{
	filled=$(value "SELECT count(*) FROM digipay_payment WHERE server = 'http' AND ref_id LIKE 'fill-%'")
	say "Filling in payments up to $1 ..."
	while [ "$filled" -lt "$1" ]; do
		until=$((filled + 500000 < $1 ? filled + 500000 : $1))
		sql -v from="$((filled + 1))" -v until="$until" -f "$here/test/bench/fill.sql" || die 'the journal cannot be filled'
		filled=$until
	done
	sql -c 'VACUUM (ANALYZE) digipay_payment' -c CHECKPOINT
}
