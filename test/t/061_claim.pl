# What a payment costs the journal.  Taking it from the queue stays an update in
# place, without a new entry in any index.  And each step finds it by its key,
# whatever the planner has been told when it plans: that nothing is due, that a
# table has no rows, or three.

use strict;
use warnings;

use DigipayTest;
use Test::More;

my $COUNT = 2000;
# rows and index entries that a payment may read of one table or index, from
# digipay_submit to its outcome: three, and what nobody has cleaned up yet, the more the
# longer it all takes; a step that does not find it by its key reads half of them all
my $FEW = 200;

my $node = DigipayTest::new_node('claim', autovacuum => 'off');
my $provider = DigipayTest::start_provider();
DigipayTest::create_account($node, $provider, max_in_flight => 64);
my $round = 0;

sub sql { return $node->safe_psql('postgres', $_[0]) }

# What has been read so far: entries of each index, and rows of each table that
# was read in sequence.
sub reads
{
	return map { split /=/ } split /\n/, sql(q{
		SELECT format('%s=%s', indexrelname, idx_tup_read) FROM pg_stat_user_indexes WHERE relname ^@ 'digipay_'
		UNION ALL
		SELECT format('%s in sequence=%s', relname, seq_tup_read) FROM pg_stat_user_tables WHERE relname ^@ 'digipay_'});
}

# Ends the worker, which reports its last figures before it is gone.
sub end_worker
{
	sql('SELECT digipay_worker_stop()');
	DigipayTest::wait_until { !defined DigipayTest::worker_pid($node) };
	return;
}

# Two tests: the payments of a statement read few rows and index entries each,
# and succeed.  A new worker has planned the first steps before them, for one
# payment.  Parameters:
#	scene => SQL	before the worker plans
#	then => SQL		after it has planned
sub reads_few
{
	my ($name, $statement, %params) = @_;
	my $prefix = 'r' . ++$round;

	sql($params{scene}) if $params{scene};
	sql(qq{SELECT digipay_pay('pln', '530000000001', '$prefix-first')});
	sql($params{then} =~ s/PREFIX/$prefix/gr) if $params{then};
	my %before = reads();
	$provider->reset;
	sql($statement =~ s/PREFIX/$prefix/gr);
	DigipayTest::wait_until { $provider->call('GET', '/books?summary=1')->{bookings} == $COUNT } 300;
	end_worker();
	my %after = reads();
	my %each = map { $_ => ($after{$_} - $before{$_}) / $COUNT } keys %after;
	note map { sprintf "%8.2f of %s\n", $each{$_}, $_ } grep { $each{$_} } sort keys %each;
	is(join(', ', map { sprintf '%.0f of %s', $each{$_}, $_ } grep { $each{$_} > $FEW } sort keys %each),
		'', "$name: each payment reads few rows");
	is(sql(qq{SELECT count(*) FROM digipay_payment WHERE ref_id ^@ '$prefix-' AND state = 'succeeded'}),
		$COUNT + 1, "$name: all have succeeded");
	return;
}

# ------------------------------------------------------------------- in place

sql("SELECT digipay_submit('pln', '530000000001', 'c-' || i) FROM generate_series(1, 100) AS i");
DigipayTest::poll_until($node, q{SELECT count(*) = 100 FROM digipay_payment WHERE state = 'succeeded'});
end_worker();

# one update for the claim and one for the outcome, which leaves the worker's
# index
my ($updates, $in_place) = split /\|/,
  sql(q{SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'digipay_payment'});
is($updates, 200, 'two updates each');
# a page may be full before its last row is updated
cmp_ok($in_place, '>=', 75, 'and the claim in place');

# --------------------------------------------------------------------- by key

my $SUBMIT = "SELECT digipay_submit('pln', '530000000001', 'PREFIX-' || i) FROM generate_series(1, $COUNT) AS i";
my $PAY = $SUBMIT =~ s/digipay_submit/digipay_pay/r;
my $WITH_PRICE = "SELECT digipay_submit('pln', '530000000001', 'PREFIX-' || i, max_price => 99999999)"
  . " FROM generate_series(1, $COUNT) AS i";

reads_few('submit', $SUBMIT);
# the index of what is due seems to be empty
reads_few('submit, analyzed while nothing was due', $SUBMIT, scene => 'VACUUM ANALYZE digipay_payment');
reads_few('pay', $PAY, scene => 'VACUUM ANALYZE digipay_payment');
reads_few('submit, emptied', $SUBMIT, scene => 'TRUNCATE digipay_payment');
reads_few('pay, emptied', $PAY, scene => 'TRUNCATE digipay_payment');
reads_few('submit, analyzed while empty', $SUBMIT, scene => 'TRUNCATE digipay_payment; VACUUM ANALYZE digipay_payment');

# three inquiries when the steps are planned, as many as payments when they run
sql("SELECT digipay_inquire('pln', '530000000001', 'i-' || i) FROM generate_series(1, 3) AS i");
my $INQUIRIES = q{
	INSERT INTO digipay_inquiry
	SELECT (jsonb_populate_record(q, jsonb_build_object('ref_id', 'PREFIX-' || i))).*
	FROM digipay_inquiry q, generate_series(1, } . $COUNT . q{) AS i WHERE q.ref_id = 'i-1'};
reads_few('submit, few inquiries', $WITH_PRICE, scene => 'VACUUM ANALYZE digipay_inquiry', then => $INQUIRIES);
sql(q{DELETE FROM digipay_inquiry WHERE ref_id !~ '^i'});
reads_few('pay, few inquiries', $WITH_PRICE =~ s/digipay_submit/digipay_pay/r,
	scene => 'VACUUM ANALYZE digipay_inquiry', then => $INQUIRIES);

done_testing();
