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
	log_min_messages => 'debug1', wal_writer_delay => '10s', max_connections => 120);
my $provider = DigipayTest::start_provider(witness => $node);
DigipayTest::create_account($node, $provider);

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

my $row = DigipayTest::row($node,
	"SELECT datname, usename, backend_type, application_name, state, wait_event_type, wait_event, query $workers");
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
is(DigipayTest::worker_pid($node), undef, 'and is not there any more');
# (the postmaster may need a moment to notice)
for (1 .. 500)
{
	last if !kill(0, $pid);
	sleep(0.01);
}
ok(!kill(0, $pid), 'nor its process');
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

# in the middle of it all
$provider->control(delay => 10);
my $load = start_together('churn', 20,
	"\\set n random(1, 1000000000)\nSELECT digipay_pay($bill, 'churn-' || :client_id || '-' || :n);",
	times => 15);
my $stopped = 0;
while ($load->{run}->pump_nb, $load->{run}->pumpable)
{
	sleep 0.05;
	$stopped += $node->safe_psql('postgres', 'SELECT digipay_worker_stop()') eq 't';
}
$load->{run}->finish;
is($load->{run}->full_result(0), 0, 'no call fails while the worker is stopped again and again')
  or diag($load->{err});
cmp_ok($stopped, '>=', 3, "which it was, $stopped times");
$provider->control(delay => 0);
my $churned = DigipayTest::row($node, q{SELECT count(*) AS n FROM digipay_payment WHERE ref_id LIKE 'churn-%'})->{n};
is($churned, 300, 'all are in the journal');
is(states('churn-%'), 'succeeded 300', 'and succeeded');
is(paid_once('churn-'), 300, 'and were paid once');
is($node->safe_psql('postgres', "SELECT count(*) <= 1 $workers"), 't', 'there is one worker at most');

# --------------------------------------------------- what it is busy with

$provider->control(delay => 800);
my @handles = map { DigipayTest::async($node, "SELECT digipay_pay($bill, 'busy-$_')") } 1 .. 3;
ok( $node->poll_query_until('postgres',
		"SELECT query = 'digipay: 3 in flight' AND state = 'active' $workers"),
	'pg_stat_activity shows how many are in flight');
is( $node->safe_psql('postgres', "SELECT wait_event_type || ' ' || wait_event $workers"),
	$node->pg_version >= 17 ? 'Extension DigipayWorkerReply' : 'Extension Extension',
	'and that it waits for replies');
$_->finish for @handles;
$provider->control(delay => 0);

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
	$provider->control(delay => 60);
	my $began = time;
	together("places-$places", 12, "SELECT digipay_pay($bill, 'places-$places-' || :client_id);");
	# whoever waits has the place as soon as it is free
	cmp_ok(time - $began, '<', 3, "max_in_flight $places: one after the other, without a pause");
	$provider->control(delay => 0);
	is($provider->books->{max_in_flight}, $places, "max_in_flight $places");
	is(paid_once("places-$places-"), 12, 'all are paid');
}

# the same beside another server that does not answer for a while
my $hung = DigipayTest::start_provider(username => 'hung', delay => 3000);
DigipayTest::create_account($node, $hung, server => 'hung', username => 'hung');
my $hanging = DigipayTest::async($node, "SELECT state FROM digipay_pay($bill, 'hanging', server => 'hung')");
DigipayTest::wait_until { $hung->books('hanging')->{pay_requests} };
$node->safe_psql('postgres', q{ALTER SERVER digipay OPTIONS (SET max_in_flight '1')});
pays('beside-0');
my $began = time;
together('beside', 6, "SELECT digipay_pay($bill, 'beside-' || :client_id);");
cmp_ok(time - $began, '<', 1.5, 'a server that hangs does not hold up those who wait for another one');
ok(!defined $hung->books('hanging')->{answered_at}[0], 'which did hang all the time');
is($hanging->out, 'succeeded', 'and answers in the end');
$node->safe_psql('postgres', 'ALTER SERVER digipay OPTIONS (DROP max_in_flight)');

# the setting for all servers together
$node->append_conf('postgresql.conf', 'digipay.max_connections = 3');
$node->reload;
$node->poll_query_until('postgres', q{SHOW digipay.max_connections}, '3');
sleep 0.2;		# for the worker to see it, too
$provider->reset;
$provider->control(delay => 60);
together('connections', 9, "SELECT digipay_pay($bill, 'connections-' || :client_id);");
$provider->control(delay => 0);
is($provider->books->{max_in_flight}, 3, 'digipay.max_connections');
$node->append_conf('postgresql.conf', 'digipay.max_connections = 256');
$node->reload;

# ------------------------------------------------- written before it leaves

$provider->reset;
is(together('witness', 10, "\\set n random(1, 1000000000)\nSELECT digipay_pay($bill, 'witness-' || :client_id || '-' || :n);",
	times => 10), 0, 'a hundred payments before a witness');
is(paid_once('witness-'), 100, 'all are paid');
is_deeply([ $provider->complaints ], [], 'the witness found each in state sending');
# is the witness awake?
$provider->call('POST', $DigipayTest::PATH, DigipayTest::spoken_object(
	command => 'pay-pasca', username => 'demo', code => 'pln', customer_no => '530000000001',
	ref_id => 'stranger', sign => md5_hex('demodemo-keystranger')));
is(scalar($provider->complaints), 1, 'and complains about what the journal does not have');

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
my $as_ever = 'SET default_transaction_read_only = off; SET statement_timeout = 0;'
  . ' SET search_path = public; SET session_replication_role = origin; ';
$node->safe_psql('postgres', "$as_ever SELECT digipay_worker_stop()");
is($node->safe_psql('postgres', "$as_ever SELECT state FROM digipay_pay($bill, 'settings')"),
	'succeeded', 'whatever settings the database has');
$provider->control(delay => 1000);
# In one session, so that the outcome of the first is the last that is flushed.
my $crash = DigipayTest::async($node, "$as_ever SELECT state FROM digipay_pay($bill, 'flushed')");
DigipayTest::wait_until { $provider->books('flushed')->{pay_requests} };
$node->stop('immediate');
eval { $crash->finish };
$node->append_conf('postgresql.conf', 'wal_writer_delay = 200ms');
$node->start;
$node->safe_psql('postgres',
	'SET default_transaction_read_only = off; SET statement_timeout = 0; ALTER DATABASE postgres RESET ALL');
is(states('flushed'), 'sending 1', 'an intent is there after a crash, synchronous_commit or not');
is(states('settings'), 'succeeded 1', 'and so is an outcome that was returned');
$provider->control(delay => 0);
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
	system("timeout -s INT 3 $strace -f -o $trace -p $pid >$trace.err 2>&1");
	my @calls = -s $trace ? split(/\n/, PostgreSQL::Test::Utils::slurp_file($trace)) : ();
	skip 'strace may not trace here', 3 if !@calls;
	# a time-out of 0 is a look at what libcurl has, not a wait
	my $waits = grep { /epoll_p?wait/ && !/resumed/ && !/, 0\)/ } @calls;
	note(scalar(@calls) . " system calls in 3 s, of which $waits wait");
	cmp_ok($waits, '>=', 1, 'an idle worker looks whether it is wanted');
	cmp_ok($waits, '<=', 4, 'once a second');
	cmp_ok(scalar(@calls), '<=', 30, 'and does nothing else');
}

is_deeply([ grep { /PANIC|server process .* was terminated/ }
		  split /\n/, PostgreSQL::Test::Utils::slurp_file($node->logfile) ],
	[], 'nothing crashed by itself');
$node->stop('fast');
done_testing();
