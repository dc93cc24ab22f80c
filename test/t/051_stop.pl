# The server or the worker is stopped while a payment is at each of its points:
# what is on its way has until digipay.shutdown_grace to come back, and then it
# is unknown; nothing is lost, nothing is sent twice.  (T20, T23, T31)

use strict;
use warnings;

use DigipayFault;
use DigipayTest;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep time);

DigipayFault::need_points($ENV{DIGIPAY_FAULT_POINTS});

my $stuck_ms = 300;

# longer than anything that has to end by itself
my $node = DigipayTest::new_node('stop', 'digipay.shutdown_grace' => '60s',
	max_worker_processes => 32);
my $provider = DigipayTest::start_provider();
DigipayTest::create_account($node, $provider, status_interval => 86_400_000);
DigipayFault::recover($node);

sub pay { return "SELECT state FROM digipay_pay('pln', '530000000001', '$_[0]')" }

# State, requests received, and how often a row of this ref_id was cleaned up.
sub standing
{
	my ($ref_id) = @_;
	my $row = DigipayTest::payment($node, $ref_id);
	return [
		$row ? $row->{state} : 'none',
		$provider->books($ref_id)->{pay_requests} // 0,
		$node->safe_psql('postgres',
			"SELECT count(*) FROM digipay_event WHERE kind = 'recovered' AND ref_id = '$ref_id'")
	];
}

sub is_standing
{
	my ($ref_id, $state, $requests, $recovered, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is_deeply(standing($ref_id), [ $state, $requests, $recovered ], $name);
}

# Gives what is on its way so long at the worker's end.
sub grace
{
	my ($setting) = @_;
	$node->append_conf('postgresql.conf', "digipay.shutdown_grace = $setting");
	$node->restart;
	DigipayFault::recover($node);
	return;
}

# ---------------------------------------------------------------------------
# At each point.  The provider answers at once, so an orderly end sees the
# payment through; a worker stuck inside libcurl is out of an immediate stop's
# reach until it goes on, so what comes next may still happen.

my %end = (
	fast => sub { $node->stop('fast'); $node->start },
	smart => sub { $node->stop('smart'); $node->start },
	immediate => sub {
		my (undef, $stuck) = @_;
		my $worker = DigipayTest::worker_pid($node);
		my $child = DigipayFault::let_go_when($stuck, sub { DigipayFault::is_told_to_quit($worker) });
		$node->stop('immediate');
		waitpid $child, 0;
		$node->start;
	},
	terminate => sub {
		$node->safe_psql('postgres',
			'SELECT pg_terminate_backend(' . DigipayTest::worker_pid($node) . ')');
		$_[0]->finish;
	},);
my %immediately = (
	before_intent => [ 'none 0 0' ],
	after_intent => [ 'unknown 0 1' ],
	in_prereq => [ 'unknown 0 1', 'unknown 1 1' ],
	(map { $_ => ['unknown 1 1'] } qw(after_send after_headers after_body before_outcome)),
	after_outcome => ['succeeded 1 0'],);
my $asks = $node->safe_psql('postgres',
	q{SELECT count(*) FROM pg_proc WHERE proname = 'digipay_status'});

for my $point (@DigipayFault::POINTS)
{
	for my $how (sort keys %end)
	{
		my $ref_id = "$point-$how" =~ tr/_/-/r;

		# an orderly end may come a little later as well
		$how eq 'immediate' ? DigipayFault::block($node, $point) : DigipayFault::arm($node, $point, "sleep $stuck_ms");
		my $caller = DigipayTest::async($node, pay($ref_id));
		my $stuck = $how eq 'immediate' ? DigipayFault::wait_until_blocked($node, $point) : DigipayFault::wait_until_struck($node, $point);
		my $begun = time;
		$end{$how}->($caller, $stuck);
		my $took = time - $begun;
		eval { $caller->finish };
		DigipayFault::recover($node);

		# nothing waits for the grace to be over
		cmp_ok($took, '<', 30, "$how at $point: does not take long");
		if ($how eq 'immediate')
		{
			my $left = join ' ', @{ standing($ref_id) };
			# a question may have settled it meanwhile
			my @wanted = map { $asks && /^unknown 1/ ? ($_, s/unknown/succeeded/r) : $_ } @{ $immediately{$point} };
			ok((grep { $_ eq $left } @wanted), "$how at $point: what is left") or diag($left);
		}
		else
		{
			is_standing($ref_id, 'succeeded', 1, 0, "$how at $point: it is seen through");
		}
		is($caller->{out}, 'succeeded', "$how at $point: and its caller told")
		  if $how eq 'smart' || $how eq 'terminate';
	}
}
is_deeply([ DigipayFault::violations($node, $provider) ], [], 'the books agree');

# ---------------------------------------------------------------------------
# The worker is told to end, and the grace is over before the answer comes.

grace('1s');

# before the request has left: nobody answers the connection
my $deaf = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', Proto => 'tcp')
  or die "listen: $!";
my @fill;
for (1 .. 3)
{
	push @fill, IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $deaf->sockport,
		Proto => 'tcp', Blocking => 0);
}
DigipayTest::create_account($node, $provider, server => 'deaf', port => $deaf->sockport,
	connect_timeout => 80000, timeout => 80000);
my $caller = DigipayTest::async($node,
	"SELECT state FROM digipay_pay('pln', '530000000001', 'term-before', server => 'deaf')");
DigipayTest::wait_for_state($node, 'term-before', 'sending');
my $begun = time;
$end{terminate}->($caller);
cmp_ok(time - $begun, '<', 30, 'the worker ends within the grace');
like($caller->err, qr/PY001|PY003/, 'its caller knows that nothing was sent');
my $row = DigipayTest::payment($node, 'term-before');
is($row->{state}, 'not_sent', 'what had not left was not sent');

# the same from the queue: it goes back there
DigipayFault::recover($node);
$node->safe_psql('postgres',
	"SELECT digipay_submit('pln', '530000000001', 'term-queued', server => 'deaf')");
DigipayTest::wait_for_state($node, 'term-queued', 'sending');
$node->safe_psql('postgres', 'SELECT digipay_worker_stop()');
is(DigipayTest::payment($node, 'term-queued')->{state}, 'queued', 'what had not left is queued again');
is($node->safe_psql('postgres', q{SELECT state FROM digipay_cancel('term-queued', server => 'deaf')}),
	'cancelled', 'and can be taken back');

# after it
$provider->hold;
$caller = DigipayTest::async($node, pay('term-after'));
DigipayTest::wait_until { $provider->books('term-after')->{pay_requests} };
$begun = time;
$end{terminate}->($caller);
cmp_ok(time - $begun, '<', 30, 'the worker ends within the grace');
is($caller->out, 'unknown', 'what had left, its caller is told as unknown');
$provider->release;

# ---------------------------------------------------------------------------
# A worker that is slow is still the owner of what it has sent.

grace('60s');
DigipayFault::block($node, 'after_body');
$caller = DigipayTest::async($node, pay('slow'));
my $stuck = DigipayFault::wait_until_blocked($node, 'after_body');
is($node->safe_psql('postgres', 'SELECT digipay_worker_start()'), 'f', 'a stuck worker is a worker');
my $beside = DigipayTest::async($node, pay('beside-slow'));
sleep 1;
is_standing('slow', 'sending', 1, 0, 'nobody cleans up behind its back');
DigipayFault::let_go($stuck);
is($caller->out, 'succeeded', 'it goes on, and tells its caller');
is($beside->out, 'succeeded', 'and whoever waited meanwhile');
is_standing('slow', 'succeeded', 1, 0, 'the row says so');

# nor while it ends and the next one is there already
DigipayFault::block($node, 'after_body');
$provider->hold;
$caller = DigipayTest::async($node, pay('slow-end'));
DigipayTest::wait_until { $provider->books('slow-end')->{pay_requests} };
my $old_pid = DigipayTest::worker_pid($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($old_pid)");
# it takes nothing new
DigipayTest::wait_until { $node->safe_psql('postgres', 'SELECT count(*) FROM digipay_stats()') eq '0' };
$provider->release;
$stuck = DigipayFault::wait_until_blocked($node, 'after_body');
$beside = DigipayTest::async($node, pay('beside-slow-end'));
DigipayTest::wait_until {
	$node->safe_psql('postgres',
		q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'digipay%'}) > 1;
};
sleep 0.5;
is_standing('slow-end', 'sending', 1, 0, 'the next worker waits until its predecessor has gone');
DigipayFault::let_go($stuck);
is($caller->out, 'succeeded', 'which writes its outcome first');
is($beside->out, 'succeeded', 'then it is the next one\'s turn');
is_standing('slow-end', 'succeeded', 1, 0, 'the row says so');
is_deeply([ DigipayFault::violations($node, $provider) ], [], 'the books agree');

$node->stop('fast');
done_testing();
