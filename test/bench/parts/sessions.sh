# Many sessions that pay, beside as many that do the two one-row commits alone.

title='sessions of digipay_pay, beside the two one-row commits alone'

# Run pgbench for some seconds: case, sessions, prefix; the script comes from
# standard input.  Prints how many transactions there were.
pgbench_reading()
{
	cat >"$work/script"
	rm -f "$work"/log.*
	# shellcheck disable=SC2086	# words
	$pinned "$bindir/pgbench" -n -M prepared -c "$2" -j "$(($2 < 2 ? 1 : 2))" -T "${SECONDS_OF:-5}" \
		-D n=0 -D prefix="$3" -l --log-prefix="$work/log" -f "$work/script" >"$work/pgbench" 2>&1 ||
		{ cat "$work/pgbench" >&2; die "$part, round $round: pgbench failed"; }
	reading "$1" rate "$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$work/pgbench")" 1/s
	cat "$work"/log.* | awk '{print $3}' | sort -n | awk '{t[NR] = $1}
		END {printf "p50,%d,us\np99,%d,us\n", t[int((NR + 1) / 2)], t[int(NR * 0.99 + 0.5)]}' | record "$1"
	cat "$work"/log.* | wc -l
}

# Take a reading of so many sessions that pay.
sessions_pay()
{
	open_books
	prefix=s$(date +%s%N)
	worker=$(worker_pid)
	cpu_before=$(cpu_of "$worker")
	paid=$(pgbench_reading "$1 sessions, digipay_pay" "$1" "$prefix" <<-'END'
		\set n :n + 1
		SELECT state FROM digipay_pay('pln', '530000000001', :prefix || '-' || :client_id || '-' || :n, server => 'http');
	END
	)
	reading "$1 sessions, digipay_pay" cpu "$(echo "$cpu_before $(cpu_of "$worker") $paid" | awk '{print ($2 - $1) / $3}')" us
	check_books "$paid"
	check_payments "$prefix" http "$paid"
}

# The same of so many that commit twice.
sessions_commit()
{
	commits=$(pgbench_reading "$1 sessions, two commits" "$1" "c$(date +%s%N)" <<-'END'
		\set n :n + 1
		INSERT INTO bench_floor (id, state) VALUES (:prefix || '-' || :client_id || '-' || :n, 'sending');
		UPDATE bench_floor SET state = 'succeeded' WHERE id = :prefix || '-' || :client_id || '-' || :n;
	END
	)
	[ "$commits" -gt 0 ] || die 'no commits were made'
}

sessions_round()
{
	for sessions in 1 8 64; do
		sessions_commit $sessions
		sessions_pay $sessions
	done
}

part_sessions()
{
	rounds sessions_round
	ratio '64 sessions to one' '64 sessions, digipay_pay' rate '1 sessions, digipay_pay' rate 'at least 3'
	for sessions in 1 8 64; do
		aim=
		[ $sessions != 64 ] || aim='at least 0.7'
		ratio "$sessions sessions: digipay_pay to two commits" "$sessions sessions, digipay_pay" rate \
			"$sessions sessions, two commits" rate "$aim"
	done
}
