# Submitting, beside a plain INSERT of the same rows into the same table.  Both
# commit; in between the table is emptied, and the queue is paused.

SUBMITS=${SUBMITS:-100000}
title="$SUBMITS rows in one statement: digipay_submit, beside a plain INSERT"

# The sum of all rows but for their times.
rows_sum()
{
	value "SELECT count(*), sum(hashtextextended((to_jsonb(p) - 'requested_at' - 'next_check_at' - 'day')::text, 0))
		FROM digipay_payment p"
}

# Take a reading of a statement on an empty journal: case, statement.
submit_reading()
{
	sql -c 'TRUNCATE digipay_payment, digipay_event' -c CHECKPOINT
	sql -At -c 'SELECT extract(epoch FROM clock_timestamp())' -c "$2" \
		-c 'SELECT extract(epoch FROM clock_timestamp())' | tr '\n' ' ' |
		awk -v n="$SUBMITS" '{printf "rate,%.1f,1/s\nper row,%.3f,us\n", n / ($2 - $1), ($2 - $1) * 1e6 / n}' |
		record "$1"
}

submit_round()
{
	submit_reading 'plain INSERT' "INSERT INTO digipay_payment
			(ref_id, state, code, customer_no, testing, requested_at, server, account, requested_by, next_check_at, origin)
		SELECT 'submit-' || i, 'queued', 'pln', '530000000001', false, clock_timestamp(), 'http', '$account',
			current_user, clock_timestamp(), '$origin'
		FROM generate_series(1, $SUBMITS) AS i"
	plain=$(rows_sum)
	submit_reading digipay_submit "SELECT 1 FROM generate_series(1, $SUBMITS) AS i
		HAVING count(digipay_submit($BILL, 'submit-' || i, server => 'http')) < $SUBMITS"
	[ "$(rows_sum)" = "$plain" ] || die "$part, round $round: the two have not written the same rows"
}

part_submit()
{
	open_books
	account=$(value "SELECT account FROM digipay_payment WHERE server = 'http' LIMIT 1")
	origin=$(value "SELECT origin FROM digipay_payment WHERE server = 'http' LIMIT 1")
	sql -c "ALTER SERVER http OPTIONS (ADD paused 'true')"
	rounds submit_round
	check_books 0
	sql -c 'TRUNCATE digipay_payment, digipay_event' -c 'ALTER SERVER http OPTIONS (DROP paused)'
	ratio 'digipay_submit to INSERT' digipay_submit rate 'plain INSERT' rate 'at least 0.3'
}
