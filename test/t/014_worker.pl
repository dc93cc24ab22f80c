# The worker at work: it starts by itself, is only one, takes up changed
# options, writes before it sends, and sleeps when there is nothing to do.

use strict;
use warnings;

use DigipayTest;
use Digest::MD5 qw(md5_hex);
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

# debug1 tells of each background worker that is started
my $node = DigipayTest::new_node('worker',
	log_min_messages => 'debug1', wal_writer_delay => '10s', max_connections => 120,
	'digipay.shutdown_grace' => '60s');
my $provider = DigipayTest::start_provider(witness => $node);
# (what is unknown shall stay so while we look)
DigipayTest::create_account($node, $provider, status_interval => 3600000);

my $bill = q{'pln', '530000000001'};
my $workers = q{FROM pg_stat_activity WHERE backend_type LIKE 'digipay%'};

# So many sessions, all connected before the first begins, run a script of
# pgbench's once or more each; the handle of that.
sub start_together
{
	my ($name, $clients, $script, %options) = @_;
	my $file = "$PostgreSQL::Test::Utils::tmp_check/$name.sql";
	PostgreSQL::Test::Utils::append_to_file($file, "$script\n");
	my $self = { out => '', err => '' };
	$self->{run} = IPC::Run::start(
		[
			$node->installed_command('pgbench'), '-n', '-c', $clients, '-j', 2,
			'-t', $options{times} // 1,
			'-f', $file, '-d', $node->connstr('postgres')
		],
		'>', \$self->{out}, '2>', \$self->{err});
	return $self;
}

sub together
{
	my $self = start_together(@_);
	$self->{run}->finish or diag($self->{err});
	return $self->{run}->full_result(0);
}

# How many payments with a ref_id like that are in which state.
sub states
{
	my ($like) = @_;
	return $node->safe_psql('postgres',
		"SELECT coalesce(string_agg(state || ' ' || n, ', '), '') FROM (SELECT state, count(*) AS n"
		  . " FROM digipay_payment WHERE ref_id LIKE '$like' GROUP BY state ORDER BY state) s");
}

# How many ref_ids that begin so the provider has booked once, asked once.
sub paid_once
{
	my ($begin) = @_;
	my $refs = $provider->books->{refs};
	return scalar grep { /^\Q$begin\E/ && $refs->{$_}{pay_requests} == 1 && $refs->{$_}{booked} == 1 }
	  keys %$refs;
}

# The median of the times, in seconds, from an answer to the next request with a
# ref_id that begins so, by the provider's clock.
sub pause_between
{
	my ($begin) = @_;
	my $refs = $provider->books->{refs};
	my @times = sort { $a->[0] <=> $b->[0] }
	  map { [ $refs->{$_}{arrived_at}[0], $refs->{$_}{answered_at}[0] ] }
	  grep { /^\Q$begin\E/ } keys %$refs;
	my $pause = DigipayTest::median(map { $times[ $_ + 1 ][0] - $times[$_][1] } 0 .. $#times - 1);
	note("$begin: $pause s");
	return $pause;
}

# When an strace shows its process go to sleep, and after how many system calls.
# A time-out of 0 is a look at what libcurl has, not a sleep; nor is one that a
# signal has cut short.
sub looks
{
	my ($trace) = @_;
	my ($calls, @looks) = (0);
	for (split /\n/, $trace)
	{
		my ($at, $call) = /^(?:\d+ +)?(\d+\.\d+) (\w+\(.*)/ or next;
		$calls++;
		next if $call !~ /^epoll_p?wait.*\) += \d/ || $call =~ /, 0\)/;
		push @looks, [ $at, $calls ];
		$calls = 0;
	}
	return @looks;
}

# Whether a query soon says t.
sub soon
{
	my ($sql) = @_;
	return eval { DigipayTest::wait_until { $node->safe_psql('postgres', $sql) eq 't' } 60; 1 };
}

# Waits until so many sessions of "together" wait, with so many of their payments
# in flight, and a moment longer, in which one more would leave.
sub wait_for_waiters
{
	my ($name, $clients, $in_flight) = @_;
	(DigipayTest::wait_for_waiters($node, $clients, "%'$name-%")
		  && eval { DigipayTest::wait_until { $provider->books->{in_flight} >= $in_flight } 60 })
	  or diag("not all of $name wait");
	sleep 0.2;
	return;
}

# ---------------------------------------------------- fifty first calls

is(DigipayTest::worker_pid($node), undef, 'no worker before the first call');
is(together('first', 50, "SELECT digipay_pay($bill, 'first-' || :client_id);"),
	0, 'fifty sessions that call first at the same moment');
is(states('first-%'), 'succeeded 50', 'are all served');
is(paid_once('first-'), 50, 'and each payment was made once');
is($node->safe_psql('postgres', "SELECT count(*) $workers"), 1, 'there is one worker');
my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);
is(scalar(() = $log =~ /starting background worker process "digipay worker/g),
	1, 'and never was another one');

my $row;
eval {
	# it looks around once a second
	DigipayTest::wait_until {
		$row = DigipayTest::row($node,
			"SELECT datname, usename, backend_type, application_name, state, wait_event_type, wait_event, query $workers");
		return $row->{state} eq 'idle' && defined $row->{wait_event};
	};
};
is_deeply(
	[ @$row{qw(datname backend_type application_name state)} ],
	[ 'postgres', 'digipay worker', 'digipay worker', 'idle' ],
	'it tells in pg_stat_activity what it is');
is($row->{wait_event_type}, 'Extension', 'and that it waits in an extension');
is($row->{wait_event}, $node->pg_version >= 17 ? 'DigipayWorkerIdle' : 'Extension', 'for work');

# ----------------------------------------------------------- start and stop

my $pid = DigipayTest::worker_pid($node);
is($node->safe_psql('postgres', 'SELECT digipay_worker_start()'), 'f', 'worker_start: there is one');
is($node->safe_psql('postgres', 'SELECT digipay_worker_stop()'), 't', 'worker_stop: it has ended');
# (it may be seen on its way out)
ok(soon("SELECT count(*) = 0 $workers"), 'and is not there any more');
# (the postmaster may need a moment to notice)
ok(eval { DigipayTest::wait_until { !kill(0, $pid) } 60 }, 'nor its process');
is($node->safe_psql('postgres', 'SELECT digipay_worker_stop()'), 'f', 'worker_stop: there was none');
is($node->safe_psql('postgres', 'SELECT digipay_worker_start()'), 't', 'worker_start: it was started');
isnt(DigipayTest::worker_pid($node), $pid, 'another process');

# one session that outlives its worker
my $session = DigipayTest::session($node);
like($session->query_safe("SELECT digipay_pay($bill, 'outlive-1')"),
	qr/,succeeded,/, 'a session pays');
$node->safe_psql('postgres', 'SELECT digipay_worker_stop()');
like($session->query_safe("SELECT digipay_pay($bill, 'outlive-2')"),
	qr/,succeeded,/, 'and again after its worker has ended');
is( $session->query_safe('SELECT digipay_worker_stop(), digipay_worker_start(), digipay_worker_start(), digipay_worker_stop()'),
	't|t|f|t', 'all of it in one statement');
$session->quit;

# in the middle of it all; once more where it was over before enough has happened
$provider->control(delay => 10);
my ($stopped, $calls, $failed) = (0, 0, '');
while ($stopped < 3 && $calls < 3000)
{
	my $load = start_together("churn-$calls", 20,
		"\\set n random(1, 1000000000)\nSELECT digipay_pay($bill, 'churn-$calls-' || :client_id || '-' || :n);",
		times => 15);
	while ($load->{run}->pump_nb, $load->{run}->pumpable)
	{
		sleep 0.05;
		$stopped += $node->safe_psql('postgres', 'SELECT digipay_worker_stop()') eq 't';
	}
	$load->{run}->finish;
	$failed .= "$load->{err}\n" if $load->{run}->full_result(0) != 0;
	$calls += 300;
}
is($failed, '', 'no call fails while the worker is stopped again and again');
cmp_ok($stopped, '>=', 3, "which it was, $stopped times");
$provider->control(delay => 0);
my $churned = DigipayTest::row($node, q{SELECT count(*) AS n FROM digipay_payment WHERE ref_id LIKE 'churn-%'})->{n};
is($churned, $calls, 'all are in the journal');
is(states('churn-%'), "succeeded $calls", 'and succeeded');
is(paid_once('churn-'), $calls, 'and were paid once');
ok(soon("SELECT count(*) <= 1 $workers"), 'there is one worker at most');

# --------------------------------------------------- what it is busy with

$provider->hold;
my @handles = map { DigipayTest::async($node, "SELECT digipay_pay($bill, 'busy-$_')") } 1 .. 3;
ok( $node->poll_query_until('postgres',
		"SELECT query = 'digipay: 3 in flight' AND state = 'active' $workers"),
	'pg_stat_activity shows how many are in flight');
my $awaited = $node->pg_version >= 17 ? 'Extension DigipayWorkerReply' : 'Extension Extension';
ok(soon("SELECT wait_event_type || ' ' || wait_event = '$awaited' $workers"), 'and that it waits for replies');
$provider->release;
$_->finish for @handles;

# ------------------------------------------- changed options take effect

sub pays
{
	my ($ref_id) = @_;
	return $node->safe_psql('postgres',
		"SELECT concat_ws(' ', state, rc) FROM digipay_pay($bill, '$ref_id')");
}
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (SET api_key 'wrong')});
is(pays('key-1'), 'rejected 41', 'a wrong key: rejected');
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (SET api_key 'demo-key')});
is(pays('key-2'), 'succeeded 00', 'the right key is used with the next payment');
is($provider->booked('key-1'), 0, 'what was rejected was not booked');

$node->safe_psql('postgres', q{ALTER SERVER digipay OPTIONS (ADD paused 'true')});
my $requests = $provider->books->{requests};
DigipayTest::fails_with($node, "SELECT digipay_pay($bill, 'paused')",
	'PY004', 'a paused server does not pay', hint => qr/paused 'false'/);
is($provider->books->{requests}, $requests, 'nothing was sent');
is(DigipayTest::payment($node, 'paused'), undef, 'nor written');
is(pays('key-2'), 'succeeded 00', 'what is final is returned all the same');
is($node->safe_psql('postgres', "SELECT rc FROM digipay_inquire($bill, 'paused')"),
	'00', 'and questions go on');
$node->safe_psql('postgres', q{ALTER SERVER digipay OPTIONS (SET paused 'false')});
is(pays('paused'), 'succeeded 00', 'until it is paused no more');

for my $places (1, 8)
{
	$node->safe_psql('postgres', 'ALTER SERVER digipay OPTIONS ('
		  . ($places == 1 ? 'ADD' : 'SET') . " max_in_flight '$places')");
	# this is the next payment; those that follow find the new limit
	pays("places-$places");
	$provider->reset;
	$provider->hold;
	my $load = start_together("places-$places", 12, "SELECT digipay_pay($bill, 'places-$places-' || :client_id);");
	wait_for_waiters("places-$places", 12, $places);
	is($provider->books->{in_flight}, $places, "max_in_flight $places: all places are taken");
	$provider->release;
	$load->{run}->finish or diag($load->{err});
	# whoever waits has the place as soon as it is free, not only when the worker
	# looks around again
	cmp_ok(pause_between("places-$places-"), '<', 0.5, 'one after the other, without a pause')
	  if $places == 1;
	is($provider->books->{max_in_flight}, $places, "max_in_flight $places");
	is(paid_once("places-$places-"), 12, 'all are paid');
}

# the same beside another server that does not answer for a while
my $hung = DigipayTest::start_provider(username => 'hung');
$hung->hold;
DigipayTest::create_account($node, $hung, server => 'hung', username => 'hung');
my $hanging = DigipayTest::async($node, "SELECT state FROM digipay_pay($bill, 'hanging', server => 'hung')");
DigipayTest::wait_until { $hung->books('hanging')->{pay_requests} };
$node->safe_psql('postgres', q{ALTER SERVER digipay OPTIONS (SET max_in_flight '1')});
pays('beside-0');
is(together('beside', 12, "SELECT digipay_pay($bill, 'beside-' || :client_id);"), 0, 'those who wait for another one are served');
cmp_ok(pause_between('beside-'), '<', 0.5, 'a server that hangs does not hold up those who wait for another one');
ok(!defined $hung->books('hanging')->{answered_at}[0], 'which did hang all the time');
$hung->release;
is($hanging->out, 'succeeded', 'and answers in the end');
$node->safe_psql('postgres', 'ALTER SERVER digipay OPTIONS (DROP max_in_flight)');

# the setting for all servers together
$node->append_conf('postgresql.conf', 'digipay.max_connections = 3');
$node->reload;
$node->poll_query_until('postgres', q{SHOW digipay.max_connections}, '3');
# the worker has been told before this payment comes to it, and so before the next
pays('connections');
$provider->reset;
$provider->hold;
my $nine = start_together('connections', 9, "SELECT digipay_pay($bill, 'connections-' || :client_id);");
wait_for_waiters('connections', 9, 3);
$provider->release;
$nine->{run}->finish or diag($nine->{err});
is($provider->books->{max_in_flight}, 3, 'digipay.max_connections');
$node->append_conf('postgresql.conf', 'digipay.max_connections = 256');
$node->reload;

# ------------------------------------------------- written before it leaves

$provider->reset;
is(together('witness', 10, "\\set n random(1, 1000000000)\nSELECT digipay_pay($bill, 'witness-' || :client_id || '-' || :n);",
	times => 10), 0, 'a hundred payments before a witness');
is(paid_once('witness-'), 100, 'all are paid');
# (a look that takes him two seconds says nothing about the journal, if it is rare)
my $too_slow = qr/could not be read: .*statement timeout/;
is_deeply([ grep { !/$too_slow/ } $provider->complaints ], [], 'the witness found each in state sending');
cmp_ok(scalar(grep { /$too_slow/ } $provider->complaints), '<', 10, 'which he could see');
# is the witness awake?
my $missed = 0;
for my $ref_id (map { "stranger-$_" } 1 .. 5)
{
	$provider->call('POST', $DigipayTest::PATH, DigipayTest::spoken_object(
		command => 'pay-pasca', username => 'demo', code => 'pln', customer_no => '530000000001',
		ref_id => $ref_id, sign => md5_hex("demodemo-key$ref_id")));
	my @complaints = grep { /ref_id $ref_id / } $provider->complaints;
	$missed += grep { /says nothing of it/ } @complaints;
	last if !grep { /$too_slow/ } @complaints;
}
is($missed, 1, 'and complains about what the journal does not have');

# Whatever the database and the role say, a commit of the worker's is flushed.
# With so long a wal_writer_delay, one that is not is lost when the server is
# killed.
$node->safe_psql('postgres', <<'SQL');
ALTER DATABASE postgres SET synchronous_commit = off;
ALTER ROLE ALL SET synchronous_commit = off;
ALTER ROLE CURRENT_USER SET synchronous_commit = off;
ALTER ROLE CURRENT_USER IN DATABASE postgres SET synchronous_commit = off;
-- and some more that would break it
ALTER DATABASE postgres SET default_transaction_read_only = on;
ALTER DATABASE postgres SET default_transaction_isolation = 'serializable';
ALTER DATABASE postgres SET statement_timeout = '1ms';
ALTER DATABASE postgres SET search_path = 'nowhere';
ALTER DATABASE postgres SET session_replication_role = replica;
SQL
{
	# our own sessions are as ever, from their start: any statement may take 1 ms
	local $ENV{PGOPTIONS} = '-c default_transaction_read_only=off -c statement_timeout=0'
	  . ' -c search_path=public -c session_replication_role=origin';
	$node->safe_psql('postgres', 'SELECT digipay_worker_stop()');
	is($node->safe_psql('postgres', "SELECT state FROM digipay_pay($bill, 'settings')"),
		'succeeded', 'whatever settings the database has');
	$provider->hold;
	my $crash = DigipayTest::async($node, "SELECT state FROM digipay_pay($bill, 'flushed')");
	DigipayTest::wait_until { $provider->books('flushed')->{pay_requests} } 60;
	$node->stop('immediate');
	eval { $crash->finish };
	$provider->release;
	$node->append_conf('postgresql.conf', 'wal_writer_delay = 200ms');
	$node->start;
	$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET ALL');
}
is(states('flushed'), 'sending 1', 'an intent is there after a crash, synchronous_commit or not');
is(states('settings'), 'succeeded 1', 'and so is an outcome that was returned');
is(pays('flushed'), 'unknown', 'the next worker calls it unknown');
is($provider->books('flushed')->{pay_requests}, 1, 'and does not send it again');

# ------------------------------------------------------------------ asleep

SKIP:
{
	$pid = DigipayTest::worker_pid($node);
	my $strace = `sh -c 'command -v strace' 2>/dev/null`;
	chomp $strace;
	skip 'no strace', 3 if $strace eq '';
	my $trace = "$PostgreSQL::Test::Utils::tmp_check/strace";
	# after a payment has gone out and the connection is kept
	sleep 1.5;
	# until it has looked around so often
	my @looks;
	my $run = IPC::Run::start([ 'timeout', '-s', 'INT', 60, $strace, '-ttt', '-f', '-o', $trace, '-p', $pid ],
		'>', "$trace.out", '2>', "$trace.err");
	do
	{
		sleep 0.2;
		@looks = looks(-s $trace ? PostgreSQL::Test::Utils::slurp_file($trace) : '');
		$run->pump_nb;
	} while ($run->pumpable && @looks < 5);
	$run->signal('INT');
	eval { $run->finish };
	skip 'strace may not trace here', 3 if !-s $trace;
	note(map { "at $_->[0] after $_->[1] system calls\n" } @looks);
	cmp_ok(scalar(@looks), '>=', 5, 'an idle worker looks whether it is wanted');
	cmp_ok(DigipayTest::median(map { $looks[ $_ + 1 ][0] - $looks[$_][0] } 0 .. $#looks - 1), '>=', 0.7, 'once a second');
	cmp_ok(DigipayTest::median(map { $_->[1] } @looks), '<=', 10, 'and does nothing else');
}

is_deeply([ grep { /PANIC|server process .* was terminated/ }
		  split /\n/, PostgreSQL::Test::Utils::slurp_file($node->logfile) ],
	[], 'nothing crashed by itself');
$node->stop('fast');
done_testing();
