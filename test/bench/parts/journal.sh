# The queue with a long journal, beside the queue with an empty one, in two
# databases of the server.

ROWS=${ROWS:-10000000}
title="the queue's rate with up to $ROWS final payments in the journal"

journal_round()
{
	floor "$rows, floor" http multi "$PAYMENTS" 64
	export PGDATABASE=journal_empty
	sql -c 'TRUNCATE digipay_payment, digipay_event'
	queue "$rows, empty journal" http "$PAYMENTS" 64
	export PGDATABASE=journal_full
	queue "$rows, full journal" http "$PAYMENTS" 64
}

part_journal()
{
	for database in journal_empty journal_full; do
		sql -c "CREATE DATABASE $database"
		(export PGDATABASE=$database && create_objects)
	done
	for rows in $(printf '%s\n' $((ROWS < 1000000 ? ROWS : 1000000)) "$ROWS" | uniq); do
		export PGDATABASE=journal_full
		fill "$rows"
		reading "$rows, full journal" 'table' "$(value "SELECT pg_table_size('digipay_payment') / 1048576")" MB
		reading "$rows, full journal" 'indexes' "$(value "SELECT pg_indexes_size('digipay_payment') / 1048576")" MB
		rounds journal_round
		ratio "$rows payments to none" "$rows, full journal" rate "$rows, empty journal" rate 'at least 0.9'
		ratio "$rows payments to floor" "$rows, full journal" rate "$rows, floor" rate ''
		ratio "none to floor (beside $rows)" "$rows, empty journal" rate "$rows, floor" rate ''
	done
	end_database journal_empty
	end_database journal_full
}
