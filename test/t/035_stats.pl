# What is not over yet (digipay_unsettled), and the worker's counters
# (digipay_stats), held against the provider's books.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha1_hex);
use DigipayTest;
use JSON::PP ();
use List::Util qw(sum0);
use Test::More;
use Time::HiRes qw(sleep time);

my @BILL = ('pln', '530000000001');
my $BILL = "'$BILL[0]', '$BILL[1]'";
my $HOUR = 3_600_000;

my $node = DigipayTest::new_node('stats', restart_after_crash => 'on');
my $provider = DigipayTest::start_provider(pending => 100_000_000);
DigipayTest::create_account($node, $provider, status_interval => $HOUR, mapping => { webhook_secret => 'sst' });
# the same account, where nothing answers and where nothing is paid
DigipayTest::create_account($node, $provider, server => 'deaf', endpoint => 'http://127.0.0.1:9/x');
DigipayTest::create_account($node, $provider, server => 'resting', paused => 'true');

sub value { return $node->safe_psql('postgres', "SET client_min_messages = error;\n$_[0]") }
sub stats { return DigipayTest::row($node, 'SELECT * FROM digipay_stats()') }
sub unsettled { return { map { $_->{ref_id} => $_ } DigipayTest::rows($node, 'SELECT *, age > interval \'0\' AS aged FROM digipay_unsettled') } }
sub books_sum { my ($what) = @_; return sum0 map { $_->{$what} // 0 } values %{ $provider->books->{refs} } }
sub reply
{
	my ($ref_id, $rc, $status, $more) = @_;
	return DigipayTest::spoken(
		qq({"data":{"ref_id":"$ref_id","customer_no":"$BILL[1]","code":"$BILL[0]","rc":"$rc","status":"$status","message":"Kabar"}}) . ($more // ''));
}
sub script
{
	my ($ref_id, $body, %more) = @_;
	$provider->control(script => { ref_id => $ref_id, body => $body, %more });
	return;
}
sub webhook
{
	my ($body, $signature) = @_;
	$signature //= 'sha1=' . hmac_sha1_hex($body, 'sst');
	return sprintf "SELECT state FROM digipay_webhook('\\x%s', '%s')", unpack('H*', $body), $signature;
}

my @COUNTERS = qw(sent succeeded failed rejected refunded pending unknown not_sent review cancelled
  status_questions retries bytes_sent bytes_received in_flight queue_length webhooks webhooks_refused);

# ---------------------------------------------------------------------------
# Without a worker.

is(value('SELECT count(*) FROM digipay_stats()'), '0', 'no worker: no row');
is(DigipayTest::worker_pid($node), undef, 'and looking does not start one');
is(value('SELECT count(*) FROM digipay_unsettled'), '0', 'nothing is unsettled');

value('SELECT digipay_worker_start()');
my $zero = stats();
is(join(' ', map { $zero->{$_} } @COUNTERS), join(' ', (0) x @COUNTERS), 'a new worker: all counters are 0');
is($zero->{reply_ms_avg} // $zero->{reply_ms_max}, undef, '... and there are no times of replies');
is(value('SELECT started_at BETWEEN now() - interval \'1 minute\' AND clock_timestamp() FROM digipay_stats()'), 't', '... and since when');
is(scalar(DigipayTest::rows($node, 'SELECT * FROM digipay_stats()')), 1, 'one row');

# ---------------------------------------------------------------------------
# One outcome of each kind.  after(name => +n, ...) is what has changed.

my $last = $zero;
my $unsent = 0;		# counted as sent, though they could not leave
sub after
{
	my ($what, %expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($now, %got);
	# what a session has done by itself, the worker counts a little later
	eval {
		DigipayTest::wait_until(sub {
			$now = stats();
			%got = map { $_ => $now->{$_} - $last->{$_} } grep { !/^bytes_|^in_flight|^queue_length/ && $now->{$_} != $last->{$_} } @COUNTERS;
			return join(' ', %got{ sort keys %got }) eq join(' ', %expected{ sort keys %expected });
		});
	};
	is_deeply(\%got, \%expected, $what) or diag(explain(\%got));
	is($now->{sent} - $unsent, books_sum('pay_requests'), '... as in the books');
	is($now->{status_questions}, books_sum('status_requests'), '... the questions, too');
	$last = $now;
	return;
}

value("SELECT digipay_pay($BILL, 'ok-$_')") for 1 .. 3;
after('three that succeed', sent => 3, succeeded => 3);
value("SELECT digipay_pay($BILL, 'ok-1')");
after('one that is known: nothing');
value(q{SELECT digipay_pay('pln', '530000000006', 'failed')});
after('one that fails', sent => 1, failed => 1);
script('rejected', reply('rejected', '62', 'Gagal'));
value("SELECT digipay_pay($BILL, 'rejected')");
after('one that is rejected', sent => 1, rejected => 1);
script('refunded', reply('refunded', '74', 'Gagal'));
value("SELECT digipay_pay($BILL, 'refunded')");
after('one that is refunded at once', sent => 1, refunded => 1);
script('review', reply('review', '49', 'Gagal'));
value("SELECT digipay_pay($BILL, 'review')");
after('one for a person', sent => 1, review => 1);
value("SELECT digipay_pay('pln', '630000000001', 'pending-$_')") for 1 .. 3;
after('three that are pending', sent => 3, pending => 3);
script('unknown', 'x', book => JSON::PP::true());
value("SELECT digipay_pay($BILL, 'unknown')");
after('one that is unknown', sent => 1, unknown => 1);
{
	my $before = stats()->{sent};
	$node->psql('postgres', "SELECT digipay_pay($BILL, 'not-sent', server => 'deaf')");
	my $now = stats();
	is($now->{not_sent}, 1, 'one that could not leave');
	is($now->{sent}, $before, '... is not one that was sent');
	$unsent = $now->{sent} - $before;	# one failure is enough
	$last = $now;
}
value("SELECT digipay_inquire($BILL, 'inquired')");
after('an inquiry is no payment');

# retry, status
script('rejected', reply('rejected', '00', 'Sukses'), book => JSON::PP::true());
value(q{SELECT digipay_retry('rejected')});
after('a retry', sent => 1, retries => 1, succeeded => 1);
value(q{UPDATE digipay_payment SET sent_at = sent_at - interval '2 hours' WHERE ref_id IN ('unknown', 'pending-1')});
value(q{SELECT digipay_status('unknown')});
after('a question with an outcome', status_questions => 1, succeeded => 1);
value(q{SELECT digipay_status('unknown')});
after('what is final is not asked about');

# call-backs
value(webhook(reply('pending-1', '00', 'Sukses') =~ s/$BILL[1]/630000000001/r));
after('a call-back with an outcome', webhooks => 1, succeeded => 1);
value(webhook(reply('pending-1', '00', 'Sukses') =~ s/$BILL[1]/630000000001/r));
after('the same again: no outcome', webhooks => 1);
value(webhook(reply('ok-1', '74', 'Gagal')));
after('a refund', webhooks => 1, refunded => 1);
value(webhook(reply('ok-2', '02', 'Gagal')));
after('a contradiction', webhooks => 1, review => 1);
DigipayTest::fails_with($node, webhook(reply('ok-3', '74', 'Gagal'), 'sha1=' . '0' x 40), '42501', 'a forged one');
after('is counted as such', webhooks_refused => 1);

# taken back, by hand and by time
value("SELECT digipay_submit($BILL, 'taken-back', server => 'resting')");
value(q{SELECT digipay_cancel('taken-back', 'resting')});
after('one that is taken back', cancelled => 1);
value("SELECT digipay_submit($BILL, 'expired', server => 'resting', not_after => 'tomorrow')");
value(q{UPDATE digipay_payment SET not_after = now() WHERE ref_id = 'expired'});
value(q{SELECT digipay_wait('expired', '60 s', 'resting')});
is(DigipayTest::payment($node, 'expired')->{state}, 'cancelled', 'one that has waited too long');
after('... is counted', cancelled => 1);

# through the queue
value("SELECT digipay_submit($BILL, 'queued-$_') FROM generate_series(1, 1)") for 1 .. 2;
value(q{SELECT digipay_wait_all('{queued-1,queued-2}', '60 s')});
after('two of the queue', sent => 2, succeeded => 2);

# ---------------------------------------------------------------------------
# Bytes and times.

my $before = stats();
my $long = reply('bytes', '00', 'Sukses', ' ' x 5000);
script('bytes', $long, book => JSON::PP::true(), delay => 1000);
value("SELECT digipay_pay($BILL, 'bytes')");
my $now = stats();
is($now->{bytes_received} - $before->{bytes_received}, length $long, 'bytes of the reply');
# the command, the key's signature and the bill, as JSON
cmp_ok($now->{bytes_sent} - $before->{bytes_sent}, '>', 100, 'bytes of the request');
cmp_ok($now->{bytes_sent} - $before->{bytes_sent}, '<', 400, '... no more than those');
cmp_ok($now->{reply_ms_max}, '>=', 1000, 'the longest time to a reply');
cmp_ok($now->{reply_ms_max}, '<', 100_000, '... is in milliseconds');
cmp_ok($now->{reply_ms_avg}, '>', 0, 'the average');
cmp_ok($now->{reply_ms_avg}, '<', $now->{reply_ms_max} / 2, '... is one');
my $begun = time;
value("SELECT digipay_pay($BILL, 'short')");
my $took = (time - $begun) * 1000;
my $longest = stats()->{reply_ms_max};
# unless something held it up, so that it was the longest itself
ok($longest == $now->{reply_ms_max} || ($longest > $now->{reply_ms_max} && $longest <= $took),
	'a faster one does not change the longest') or diag("$now->{reply_ms_max}, then $longest, in $took ms");

# ---------------------------------------------------------------------------
# What is in flight, and what waits.

script("flight-$_", reply("flight-$_", '00', 'Sukses'), book => JSON::PP::true()) for 1 .. 3;
$provider->hold;
my @payers = map { DigipayTest::async($node, "SELECT state FROM digipay_pay($BILL, 'flight-$_')") } 1 .. 3;
DigipayTest::wait_until(sub { $provider->books->{in_flight} == 3 });
# (counted when the worker has nothing else to do)
eval { DigipayTest::wait_until(sub { stats()->{in_flight} == 3 }) };
is(stats()->{in_flight}, 3, 'three in flight');
my $flying = unsettled();
is(join(' ', map { "$flying->{qq(flight-$_)}{state}" } 1 .. 3), 'sending sending sending', 'they are unsettled');
like($flying->{'flight-1'}{why}, qr/way/, '... and why');
is($flying->{'flight-1'}{next_at}, undef, '... nothing is due');
$provider->release;
$_->finish for @payers;
DigipayTest::wait_until(sub { stats()->{in_flight} == 0 });
pass('and then none');

value("SELECT digipay_submit($BILL, 'waits-' || i, server => 'resting') FROM generate_series(1, 5) i");
DigipayTest::wait_until(sub { stats()->{queue_length} == 5 }, 60);
pass('five wait');
value(q{ALTER SERVER resting OPTIONS (SET paused 'false')});
value(q{SELECT digipay_wait_all('{waits-1,waits-2,waits-3,waits-4,waits-5}', '60 s', 'resting')});
DigipayTest::wait_until(sub { stats()->{queue_length} == 0 }, 60);
pass('and then none');

# ---------------------------------------------------------------------------
# What is unsettled.

value(q{ALTER SERVER resting OPTIONS (SET paused 'true')});
value("SELECT digipay_submit($BILL, 'q', true, 'resting', NULL, 'tomorrow')");
script('doubt', 'x', book => JSON::PP::true());
value("SELECT digipay_pay($BILL, 'doubt')");
my $rows = unsettled();
is(join(' ', sort keys %$rows), 'doubt ok-2 pending-2 pending-3 q review', 'what is open, or for a person; nothing that is final');
my %expected = (doubt => 'unknown', 'ok-2' => 'review', 'pending-2' => 'pending', 'pending-3' => 'pending', q => 'queued', review => 'review');
for my $ref_id (sort keys %expected)
{
	my $row = $rows->{$ref_id};
	my $payment = DigipayTest::payment($node, $ref_id);
	is($row->{state}, $expected{$ref_id}, "$ref_id: $expected{$ref_id}");
	is(join('|', map { $row->{$_} // '' } qw(server code customer_no status_checks rc message testing)),
		join('|', map { $payment->{$_} // '' } qw(server code customer_no status_checks rc message testing)), '... as in the journal');
	is($row->{aged}, 'true', '... how old');
	ok($row->{why}, '... why') and note($row->{why});
	ok($row->{next}, '... what is next') and note($row->{next});
	is(defined $row->{next_at} ? 'a time' : 'none', $expected{$ref_id} eq 'review' ? 'none' : 'a time', '... and when');
}
like($rows->{review}{next}, qr/digipay_settle/, 'a person is told what to call');
like($rows->{review}{why}, qr/ref_id/, '... and why');
like($rows->{doubt}{why}, qr/JSON/, 'an unknown one has its reason');
is($rows->{q}{testing}, 'true', 'testing is shown');
ok($rows->{q}{not_after}, 'and how long it may wait');
is(value(q{SELECT next_at > now() + interval '30 minutes' FROM digipay_unsettled WHERE ref_id = 'pending-2'}), 't', 'the next question is at its time');
value(q{SELECT digipay_settle('review', 'failed', 'seen')});
is(value(q{SELECT count(*) FROM digipay_unsettled WHERE ref_id = 'review'}), '0', 'what is settled is gone from it');

# Not for everybody.
value('CREATE ROLE nosy');
DigipayTest::fails_with($node, 'SELECT * FROM digipay_unsettled', '42501', 'not for everybody', role => 'nosy');
DigipayTest::fails_with($node, 'SELECT * FROM digipay_stats()', '42501', 'nor the counters', role => 'nosy');
value('GRANT SELECT ON digipay_unsettled TO nosy; GRANT EXECUTE ON FUNCTION digipay_stats TO nosy');
is(value('SET ROLE nosy; SELECT count(*) FROM digipay_unsettled'), '5', 'who may, may');
is(value('SET ROLE nosy; SELECT count(*) FROM digipay_stats()'), '1', '... both');

# Cheap, however much is finished.
value(q{INSERT INTO digipay_payment (ref_id, state, code, customer_no, testing, server, account, requested_by, origin, requested_at, final_at)
	SELECT 'done-' || i, 'succeeded', 'pln', '1', false, 'digipay', 'demo@127.0.0.1', 'x', gen_random_uuid(), now(), now() FROM generate_series(1, 30000) i; ANALYZE digipay_payment});
my $plan = value('EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM digipay_unsettled');
like($plan, qr/Index Scan using digipay_payment_next_check_at_idx|Bitmap Index Scan on digipay_payment_next_check_at_idx/, 'digipay_unsettled goes by the index of what is open');
unlike($plan, qr/Seq Scan/, '... and reads no more');
my ($hit, $read) = $plan =~ /Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?/;
cmp_ok(($hit // 0) + ($read // 0), '<', 30, '... a few pages') or diag($plan);
cmp_ok(value('SELECT pg_relation_size(\'digipay_payment\') / 8192'), '>', 300, '... of many');
is(value('SELECT count(*) FROM digipay_unsettled'), '5', '... with the same result');

# ---------------------------------------------------------------------------
# A new worker begins anew.

my $old = stats();
value('SELECT digipay_worker_stop()');
is(value('SELECT count(*) FROM digipay_stats()'), '0', 'the worker has been stopped: no row');
my $session = DigipayTest::session($node);
$session->query_safe('SELECT digipay_worker_start()');
my $new = stats();
is(join(' ', map { $new->{$_} } grep { $_ ne 'queue_length' } @COUNTERS), join(' ', (0) x (@COUNTERS - 1)), 'a new worker begins at 0');
is($new->{reply_ms_max}, undef, '... times, too');
ok($new->{started_at} gt $old->{started_at}, '... and says since when');
# a session that has known the former one sees the new one
value("SELECT digipay_pay($BILL, 'last')");
is($session->query_safe('SELECT sent, succeeded FROM digipay_stats()'), '1|1', 'all sessions see the same');
kill 'KILL', DigipayTest::worker_pid($node);
# the postmaster restarts the others, and perhaps the worker
DigipayTest::wait_until(sub { (eval { value('SELECT coalesce(max(sent), 0) FROM digipay_stats()') } // '') eq '0' }, 60);
pass('the worker has been killed: nothing is left of its counters');
value("SELECT digipay_pay($BILL, 'again')");
is(stats()->{sent}, 1, 'and the next one begins at 0');

my $refs = $provider->books->{refs};
is(join(' ', grep { $refs->{$_}{booked} > 1 } sort keys %$refs), '', 'nothing was booked twice');

done_testing();
