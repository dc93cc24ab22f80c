# How the worker ends while payments are on their way: in an orderly way, which
# waits for the answers, or by a crash, after which their state is unknown.
# Nothing is ever sent a second time.

use strict;
use warnings;

use DigipayTest;
use Test::More;
use Time::HiRes qw(sleep time);

# With so long a grace, who waits for it instead of the answer is found out.
my $node = DigipayTest::new_node('worker_end', restart_after_crash => 'on',
	max_prepared_transactions => 5, 'digipay.shutdown_grace' => '60s');
my $provider = DigipayTest::start_provider();
# (what is unknown shall stay so while we look)
DigipayTest::create_account($node, $provider, status_interval => 3600000);

my $bill = q{'pln', '530000000001'};
my $goes_on = qr/, which goes on without this session/;

# A payment in the background whose request has reached the provider, who holds
# his answers until he is told to release them.
sub pay_in_flight
{
	my ($ref_id) = @_;
	$provider->hold;
	my $handle = DigipayTest::async($node, "SELECT state FROM digipay_pay($bill, '$ref_id')");
	DigipayTest::wait_until { $provider->books($ref_id)->{pay_requests} } 60;
	return $handle;
}

# State of the row, and how often the provider was asked and has booked.
sub standing
{
	my ($ref_id) = @_;
	my $row = DigipayTest::payment($node, $ref_id);
	my $books = $provider->books($ref_id);
	return [ $row ? $row->{state} : undef, $books->{pay_requests} // 0, $books->{booked} // 0 ];
}

# Waits until the server has come back from a crash.
sub wait_for_restart
{
	DigipayTest::wait_until {
		# (psql that is refused may be gone before it has got the statement)
		my ($ret, $out) = eval { $node->psql('postgres', 'SELECT 1') };
		defined $out && $out eq '1';
	} 60;
	return;
}

# The row of a payment that was in flight when its worker died.  After a crash of
# the server's processes the postmaster starts the worker again, which looks by
# itself; after a new start of the server it is the next call that does it.
sub is_lost
{
	my ($ref_id, $name, $by_itself) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	if ($by_itself)
	{
		my $row = eval { DigipayTest::wait_for_state($node, $ref_id, 'unknown', seconds => 60) };
		ok($row, "$name: the worker comes back by itself, and says unknown") or diag($@);
	}
	else
	{
		is(DigipayTest::worker_pid($node), undef, "$name: no worker before somebody calls");
		is_deeply(standing($ref_id), [ 'sending', 1, 1 ], "$name: the intent is there");
	}
	is($node->safe_psql('postgres', "SELECT state FROM digipay_pay($bill, '$ref_id')"),
		'unknown', "$name: to pay again gives the row as unknown");
	is_deeply(standing($ref_id), [ 'unknown', 1, 1 ], "$name: and sends nothing");
	my $row = DigipayTest::payment($node, $ref_id);
	ok(defined $row->{next_check_at}, "$name: it will be asked about");
	is($row->{final_at}, undef, "$name: it is not final");
	like($row->{error}, qr/worker ended/, "$name: it says why");
	is_deeply(
		[
			map { $_->{kind} } DigipayTest::rows($node,
				"SELECT kind FROM digipay_event WHERE ref_id = '$ref_id'")
		],
		['recovered'],
		"$name: one event tells of it");
	is($node->safe_psql('postgres', "SELECT state FROM digipay_pay($bill, '$ref_id-next')"),
		'succeeded', "$name: the next bill is paid");
	return;
}

# --------------------------------------------------------- SIGTERM in flight

my $handle = pay_in_flight('term');
my $pid = DigipayTest::worker_pid($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
# whoever calls now has the next worker, when this one is done
my $next = DigipayTest::async($node, "SELECT state FROM digipay_pay($bill, 'term-next')");
# (that one is there and waits, but nobody waits for it longer than nine seconds)
eval {
	DigipayTest::wait_until {
		$node->safe_psql('postgres',
			q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'digipay%'}) > 1;
	} 4;
};
$provider->release;
is($handle->out, 'succeeded', 'SIGTERM of the worker: it waits for the answer');
is_deeply(standing('term'), [ 'succeeded', 1, 1 ], 'and writes it');
is($next->out, 'succeeded', 'who calls meanwhile is served by the next one');
is_deeply(standing('term-next'), [ 'succeeded', 1, 1 ], 'once');
# (the first may be seen on its way out)
ok( eval {
		DigipayTest::wait_until {
			my $new_pid = DigipayTest::worker_pid($node);
			defined $new_pid && $new_pid =~ /^\d+$/ && $new_pid != $pid;
		};
	},
	'which is another process');

# the same by worker_stop
$handle = pay_in_flight('stop');
my $stop = DigipayTest::async($node, 'SELECT digipay_worker_stop()');
DigipayTest::wait_for_waiters($node, 1, '%worker\_stop%');
sleep 0.3;
ok(!$stop->done && $stop->{out} eq '' && !$handle->done && $handle->{out} eq '',
	'worker_stop in flight waits for the answer');
$provider->release;
is($stop->out, 't', 'and ends the worker then');
is($handle->out, 'succeeded', 'which the caller gets');
is_deeply(standing('stop'), [ 'succeeded', 1, 1 ], 'and the journal');

# an outcome that a lock has kept from being written
$handle = pay_in_flight('aside');
my $session = DigipayTest::session($node);
$session->query_safe("BEGIN; SELECT 1 FROM digipay_payment WHERE ref_id = 'aside' FOR UPDATE");
$provider->release;
is($handle->out, 'sending', 'an outcome that cannot be written');
$session->query_safe('ROLLBACK');
$node->safe_psql('postgres', 'SELECT digipay_worker_stop()');
is_deeply(standing('aside'), [ 'succeeded', 1, 1 ], 'is written by a worker that ends, once it can be');

# and one that it keeps from being written for good
$handle = pay_in_flight('aside-2');
$session->query_safe("BEGIN; SELECT 1 FROM digipay_payment WHERE ref_id = 'aside-2' FOR UPDATE");
$provider->release;
is($handle->out, 'sending', 'an outcome that cannot be written');
my $began = time;
$node->safe_psql('postgres', 'SELECT digipay_worker_stop()');
cmp_ok(time - $began, '<', 30, 'does not keep the worker from ending');
$session->query_safe('ROLLBACK');
is($node->safe_psql('postgres', "SELECT state FROM digipay_pay($bill, 'aside-2')"),
	'unknown', 'it is unknown to the next one');
is_deeply(standing('aside-2'), [ 'unknown', 1, 1 ], 'and not sent again');
is( $node->safe_psql('postgres',
		q{SELECT count(*) FROM digipay_event WHERE ref_id = 'aside-2' AND convert_from(body, 'UTF8') LIKE '%"rc":"00"%'}),
	1, 'its bytes are kept');

# an idle worker
$session->quit;
$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . DigipayTest::worker_pid($node) . ')');
ok( $node->poll_query_until('postgres',
		q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'digipay%'}),
	'SIGTERM of an idle worker ends it');

# ---------------------------------------------------------- killed in flight

$handle = pay_in_flight('kill');
$pid = DigipayTest::worker_pid($node);
kill 'KILL', $pid;
$handle->finish;
$provider->release;
unlike($handle->{out}, qr/./, 'kill -9 of the worker: the caller has no row');
wait_for_restart();
is_lost('kill', 'kill -9 of the worker', 1);

# of a caller, which ends all sessions and the worker as well
$handle = pay_in_flight('kill-caller');
my $caller = $node->safe_psql('postgres',
	q{SELECT pid FROM pg_stat_activity WHERE query LIKE '%kill-caller%' AND pid <> pg_backend_pid()});
kill 'KILL', $caller;
$handle->finish;
$provider->release;
wait_for_restart();
is_lost('kill-caller', 'kill -9 of the caller', 1);

# of the postmaster: the worker must not go on without it
$handle = pay_in_flight('kill-postmaster');
$pid = DigipayTest::worker_pid($node);
# (which waits for all the others as well)
ok(eval { DigipayTest::crash($node); 1 } && !kill(0, $pid), 'kill -9 of the postmaster: the worker ends');
eval { $handle->finish };
$provider->release;
$node->start;
is_lost('kill-postmaster', 'kill -9 of the postmaster');

# ------------------------------------------------------------ server stopped

$handle = pay_in_flight('fast');
$pid = DigipayTest::worker_pid($node);
# what pg_ctl does, which would wait
kill 'INT', $node->{_pid};
my $error = $handle->error;
is($error->{sqlstate}, '57P01', 'the caller is told that the server ends');
like($error->{context} // '', $goes_on, 'and that the payment goes on');
sleep 0.3;
ok(kill(0, $pid), 'a fast stop waits for the answer');
$provider->release;
$began = time;
DigipayTest::wait_until { !-e $node->data_dir . '/postmaster.pid' } 120;
my $took = time - $began;
note("a fast stop took $took s after the answer");
cmp_ok($took, '<', 30, 'and not for the end of the grace');
$node->_update_pid(0);
$node->start;
is_deeply(standing('fast'), [ 'succeeded', 1, 1 ], 'a fast stop: the outcome is in the journal');

$node->append_conf('postgresql.conf', q{digipay.shutdown_grace = '500ms'});
$node->reload;
$handle = pay_in_flight('grace');
$began = time;
$node->stop('fast');
$took = time - $began;
note("a fast stop with a grace of 500 ms took $took s");
cmp_ok($took, '<', 30, 'a fast stop waits no longer than digipay.shutdown_grace');
cmp_ok($took, '>', 0.4, 'but that long');
eval { $handle->finish };
$provider->release;
$node->append_conf('postgresql.conf', q{digipay.shutdown_grace = '60s'});
$node->start;
is_deeply(standing('grace'), [ 'unknown', 1, 1 ], 'the grace is over: unknown, before any worker looks');
my $row = DigipayTest::payment($node, 'grace');
ok(defined $row->{next_check_at} && !defined $row->{final_at}, 'and to be asked about');
like($row->{error}, qr/stopped/, 'and says why');
is($node->safe_psql('postgres', "SELECT state FROM digipay_pay($bill, 'grace')"),
	'unknown', 'paid again, it is the same row');
is_deeply(standing('grace'), [ 'unknown', 1, 1 ], 'and not sent again');

$handle = pay_in_flight('immediate');
$node->stop('immediate');
eval { $handle->finish };
$provider->release;
$node->start;
is_lost('immediate', 'an immediate stop');

# what somebody has locked beyond the crash (a prepared transaction) is left for
# later, and keeps nobody else waiting
$handle = pay_in_flight('locked');
$node->safe_psql('postgres', q{
	BEGIN; SELECT 1 FROM digipay_payment WHERE ref_id = 'locked' FOR UPDATE; PREPARE TRANSACTION 'holder'});
kill 'KILL', DigipayTest::worker_pid($node);
eval { $handle->finish };
wait_for_restart();
$provider->release;
is($node->safe_psql('postgres', "SELECT state FROM digipay_pay($bill, 'beside-locked')"),
	'succeeded', 'a locked row of the last worker does not keep the next one from working');
is($node->safe_psql('postgres', "SELECT state FROM digipay_pay($bill, 'locked')"),
	'sending', 'the row itself stays as it is');
$node->safe_psql('postgres', q{COMMIT PREPARED 'holder'});
ok(eval { DigipayTest::wait_for_state($node, 'locked', 'unknown', seconds => 60) },
	'until the lock is gone: unknown');
is_deeply(standing('locked'), [ 'unknown', 1, 1 ], 'and it was sent once');

# a smart stop, which waits for sessions, but not for an idle worker
$began = time;
$node->stop('smart');
cmp_ok(time - $began, '<', 30, 'a smart stop beside an idle worker');
$node->start;

# -------------------------------------------------------------- in the end

my $books = $provider->books;
is_deeply([ grep { $books->{refs}{$_}{pay_requests} > 1 } sort keys %{ $books->{refs} } ],
	[], 'no ref_id was asked to be paid twice');
my %state = map { $_->{ref_id} => $_->{state} }
  DigipayTest::rows($node, 'SELECT ref_id, state FROM digipay_payment');
is_deeply(
	[ grep { $books->{refs}{$_}{booked} && ($state{$_} // '') !~ /^(succeeded|unknown)$/ }
		  sort keys %{ $books->{refs} } ],
	[], 'the journal knows all that is booked');

$node->stop('fast');
done_testing();
