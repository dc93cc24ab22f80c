# What grows: over calls of which half are errors, and over many payments.

MANY=${MANY:-1000000}
title="what grows over ${CALLS:-10000} calls, half of them errors, and over $MANY payments"

# What the worker and the journal hold after so many payments.
flat_sizes()
{
	worker=$(worker_pid)
	awk '/^RssAnon|^VmRSS/ {sub(":", "", $1); printf "worker %s,%d,kB\n", $1, $2}' "/proc/$worker/status" | record "$1"
	value "SELECT format(E'%1\$s dead rows,%2\$s,1\n%1\$s live rows,%3\$s,1\n%1\$s autovacuums,%4\$s,1\n%1\$s table,%5\$s,MB\n%1\$s indexes,%6\$s,MB',
			substr(relname, 9), n_dead_tup, n_live_tup, autovacuum_count, pg_table_size(relid) / 1048576, pg_indexes_size(relid) / 1048576)
		FROM pg_stat_user_tables WHERE relname IN ('digipay_payment', 'digipay_event') ORDER BY relname DESC" | record "$1"
}

part_flat()
{
	export PGDATABASE=flat
	sql -d postgres -c 'CREATE DATABASE flat'
	create_objects
	create_server raw "http://127.0.0.1:$raw_port/v1/user/api/transaction"
	create_server down 'http://127.0.0.1:9/v1/user/api/transaction'
	"$work/bench" flat http "${CALLS:-10000}" >"$work/reading" || die 'flat failed'
	sed "s/^/flat calls,$round,/" "$work/reading" >>"$OUT/results.csv"
	summarize 'flat calls'
	echo | tee -a "$OUT/results.md"
	done=0
	while [ $done -lt "$MANY" ]; do
		more=$((MANY - done < MANY / 10 || MANY < 10 ? MANY - done : MANY / 10))
		done=$((done + more))
		queue "$done payments" http $more 64
		flat_sizes "$done payments"
	done
	end_database flat
}
