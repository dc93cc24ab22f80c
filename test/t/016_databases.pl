# The worker and its database: two databases at once, nobody's way barred, no
# worker to be had, and workers that start with the server.

use strict;
use warnings;

use DigipayTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = DigipayTest::new_node('databases');
my $provider = DigipayTest::start_provider();
DigipayTest::create_account($node, $provider);

my $bill = q{'pln', '530000000001'};
my $no_worker = q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'digipay%'};

sub pays
{
	my ($ref_id, $db) = @_;
	return $node->safe_psql($db // 'postgres', "SELECT state FROM digipay_pay($bill, '$ref_id')");
}

# The databases that have a worker, one of which may be seen on its way out for a
# while: soon these.
sub workers_are
{
	my ($expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $workers;

	eval {
		DigipayTest::wait_until {
			$workers = $node->safe_psql('postgres',
				q{SELECT coalesce(string_agg(datname, ' ' ORDER BY datname), '')}
				  . q{ FROM pg_stat_activity WHERE backend_type = 'digipay worker'});
			$workers eq $expected;
		};
	};
	return is($workers, $expected, $name);
}

# Whether a query soon says t.
sub soon
{
	my ($sql) = @_;
	return eval { DigipayTest::wait_until { $node->safe_psql('postgres', $sql) eq 't' } 60; 1 };
}

# A statement works while a worker might be in its way.  Where others are
# connected to a database, PostgreSQL itself gives up after five seconds; a lock
# that is never let go ends the statement, too.
sub in_time
{
	my ($sql, $name, $db) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $began = time;
	my ($ret, $out, $err) = $node->psql($db // 'postgres', "SET lock_timeout = '20s'; $sql");
	my $took = time - $began;

	is($ret, 0, sprintf('%s (%.1f s)', $name, $took)) or diag($err);
	return;
}

# ------------------------------------------------------------ two databases

$node->safe_psql('postgres', "CREATE DATABASE regress_two");
DigipayTest::create_account($node, $provider, db => 'regress_two');
$provider->hold;
my @handles = map {
	DigipayTest::async($node, "SELECT state FROM digipay_pay($bill, '$_')", db => $_)
} qw(postgres regress_two);
ok(eval { DigipayTest::wait_until { $provider->books->{in_flight} == 2 } 60 },
	'a payment of two databases at once: they do not wait for each other');
$provider->release;
is($_->out, 'succeeded', 'and both are paid') for @handles;
workers_are('postgres regress_two', 'each has its worker');
is(DigipayTest::payment($node, 'regress_two'), undef, 'each has its journal');
is($node->safe_psql('regress_two', 'SELECT digipay_worker_stop()'), 't', 'the worker of one ends');
workers_are('postgres', 'and the other one stays');
pays('again', 'regress_two');

# ------------------------------------------------- it is in nobody's way

workers_are('postgres regress_two', 'two idle workers');
in_time('ALTER DATABASE regress_two RENAME TO regress_three', 'ALTER DATABASE ... RENAME beside an idle worker');
is(pays('renamed', 'regress_three'), 'succeeded', 'it pays under its new name');
in_time('CREATE DATABASE regress_copy TEMPLATE regress_three', 'CREATE DATABASE ... TEMPLATE beside an idle worker');
is($node->safe_psql('regress_copy', q{SELECT count(*) FROM digipay_payment}),
	3, 'the copy has the journal');
pays('renamed-again', 'regress_three');
in_time('DROP DATABASE regress_copy', 'DROP DATABASE of a copy without a worker');
workers_are('postgres regress_three', 'two idle workers');
in_time('DROP DATABASE regress_three', 'DROP DATABASE beside an idle worker');
workers_are('postgres', 'its worker has gone');

# pays, and immediately after that goes
$node->safe_psql('postgres', 'CREATE DATABASE regress_short');
DigipayTest::create_account($node, $provider, db => 'regress_short');
is(pays('short', 'regress_short'), 'succeeded', 'a database that pays');
in_time('DROP DATABASE regress_short', 'DROP DATABASE right after a payment');

# in flight it is not dropped under the worker
$node->safe_psql('postgres', 'CREATE DATABASE regress_busy');
DigipayTest::create_account($node, $provider, db => 'regress_busy');
$provider->hold;
my $handle = DigipayTest::async($node, "SELECT digipay_pay($bill, 'busy')", db => 'regress_busy');
DigipayTest::wait_until { $provider->books('busy')->{pay_requests} } 60;
$handle->kill;
eval { $handle->finish };
my $drop = DigipayTest::async($node, 'DROP DATABASE regress_busy');
DigipayTest::wait_until {
	$drop->done
	  || $node->safe_psql('postgres',
		q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DROP DATABASE regress_busy%' AND state = 'active'});
} 60;
sleep 0.3;
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname = 'regress_busy'}),
	1, 'DROP DATABASE with a payment in flight: not while it is');
$provider->release;
my $ret = $drop->status;
my $row = eval { DigipayTest::payment($node, 'busy', db => 'regress_busy') };
ok($ret == 0 ? !$row : $row->{state} =~ /^(sending|succeeded)$/,
	'DROP DATABASE with a payment in flight: refused, or after it')
  or diag(explain($row));
in_time('DROP DATABASE IF EXISTS regress_busy WITH (FORCE)', 'DROP DATABASE ... WITH (FORCE)');
is($provider->books('busy')->{pay_requests}, 1, 'it was sent once');

# ------------------------------------------------------------ the extension

pays('extension');
in_time('DROP EXTENSION digipay CASCADE', 'DROP EXTENSION beside an idle worker');
DigipayTest::create_account($node, $provider);
is(pays('extension-2'), 'succeeded', 'created again, it pays');
is($node->safe_psql('postgres', 'SELECT count(*) FROM digipay_payment'), 1, 'into a journal of its own');
# at once, before the worker has had a look
$node->safe_psql('postgres', 'DROP EXTENSION digipay CASCADE; CREATE SCHEMA elsewhere; SET search_path = elsewhere; CREATE EXTENSION digipay SCHEMA elsewhere');
$node->safe_psql('postgres', 'SET search_path = elsewhere; '
	  . 'CREATE SERVER digipay FOREIGN DATA WRAPPER digipay OPTIONS (' . DigipayTest::option_list(endpoint => $provider->endpoint, allow_private_address => 'true') . ');'
	  . q{ CREATE USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (username 'demo', api_key 'demo-key')});
is( $node->safe_psql('postgres', "SELECT state FROM elsewhere.digipay_pay($bill, 'extension-3')"),
	'succeeded', 'dropped and created in one go, in another schema, it pays');
is($node->safe_psql('postgres', 'SELECT count(*) FROM elsewhere.digipay_payment'), 1, 'into that journal');
workers_are('postgres', 'by one worker');
$node->safe_psql('postgres', 'DROP EXTENSION digipay CASCADE; DROP SCHEMA elsewhere');

# with a payment in flight it waits for that
DigipayTest::create_account($node, $provider);
pays('extension-4');
$provider->hold;
$handle = DigipayTest::async($node, "SELECT state FROM digipay_pay($bill, 'extension-5')");
DigipayTest::wait_until { $provider->books('extension-5')->{pay_requests} } 60;
$drop = DigipayTest::async($node, 'DROP EXTENSION digipay CASCADE');
ok( soon(
		q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'DROP EXT%' AND wait_event_type = 'Lock'}),
	'DROP EXTENSION with a payment in flight waits');
sleep 0.3;
ok(!$drop->done, 'until the answer is there');
$provider->release;
is($handle->out, 'succeeded', 'the caller has the row')
  or diag($handle->err);
is($drop->status, 0, 'and it goes on then');
is($provider->books('extension-5')->{pay_requests}, 1, 'it was sent once');

# before it is committed there is no extension for the worker
DigipayTest::create_account($node, $provider);
is(pays('extension-6'), 'succeeded', 'created once more, it pays');

# -------------------------------------------------------------- idle_timeout

pays('idle-1');
workers_are('postgres', 'a worker');
$node->append_conf('postgresql.conf', 'digipay.idle_timeout = 1s');
$node->reload;
my $began = time;
ok(soon($no_worker), 'that is idle for digipay.idle_timeout ends');
cmp_ok(time - $began, '<', 30, 'in time, which were five minutes before');
is(pays('idle-2'), 'succeeded', 'the next call starts another one');
$node->append_conf('postgresql.conf', 'digipay.idle_timeout = 300s');

# ------------------------------------- a database whose worker cannot start

# it fails over and over, but must not use up the places of all others
$node->safe_psql('postgres', 'CREATE DATABASE regress_closed');
DigipayTest::create_account($node, $provider, db => 'regress_closed');
my $inside = DigipayTest::session($node, db => 'regress_closed');
$inside->query('SELECT 1');
$node->safe_psql('postgres', 'ALTER DATABASE regress_closed ALLOW_CONNECTIONS false');
$began = time;
$inside->query("SELECT digipay_pay($bill, 'closed')");
like($inside->{stderr}, qr/PY003.*could not be started/s, 'a worker that cannot connect');
unlike($inside->{stderr}, qr/All places/, 'is not taken for a lack of places');
cmp_ok(time - $began, '<', 30, 'after nine seconds, and not for ever');
is(pays('beside-closed'), 'succeeded', 'the worker of another database starts all the same');
is($provider->books('closed')->{pay_requests} // 0, 0, 'nothing was sent');
$inside->quit;
$node->safe_psql('postgres', 'DROP DATABASE regress_closed');

# ------------------------------------------------------- no worker to be had

# the launcher of logical replication takes the only place
$node->append_conf('postgresql.conf', 'max_worker_processes = 1');
$node->restart;
$began = time;
my $requests = $provider->books->{requests};
DigipayTest::fails_with($node, "SELECT digipay_pay($bill, 'none')",
	'PY003', 'no place for a background worker', hint => qr/max_worker_processes/,
	detail => qr/Nothing was sent/);
DigipayTest::fails_with($node, "SELECT digipay_inquire($bill, 'none')",
	'PY003', 'for an inquiry neither', hint => qr/max_worker_processes/);
cmp_ok(time - $began, '<', 18, 'that is said before two waits of nine seconds are over');
is($provider->books->{requests}, $requests, 'nothing was sent');
is(DigipayTest::payment($node, 'none'), undef, 'nor written');
my %health = map { $_->{item} => $_ } DigipayTest::rows($node, 'SELECT * FROM digipay_health()');
is($health{worker}{ok}, 'false', 'digipay_health says so, too') or diag(explain(\%health));

# one place: the first database has it
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->restart;
$node->safe_psql('postgres', 'CREATE DATABASE regress_second');
DigipayTest::create_account($node, $provider, db => 'regress_second');
is(pays('none'), 'succeeded', 'one place: one database pays');
DigipayTest::fails_with($node, "SELECT digipay_pay($bill, 'second')",
	'PY003', 'the other one is told that there is none', db => 'regress_second');
my $pid = DigipayTest::worker_pid($node);
$node->safe_psql('postgres', 'SELECT digipay_worker_stop()');
# (the server may need a moment to notice)
DigipayTest::wait_until { !kill(0, $pid) } 60;
is(pays('second', 'regress_second'), 'succeeded', 'until the place is free');

# ------------------------------------------------------------------ preload

$node->append_conf('postgresql.conf', <<'CONF');
max_worker_processes = 8
shared_preload_libraries = 'digipay'
digipay.databases = 'postgres, regress_nowhere, regress_second, "regress_Odd name", regress_without'
digipay.idle_timeout = 1s
CONF
$node->safe_psql('postgres', 'CREATE DATABASE "regress_Odd name"');
$node->safe_psql('postgres', 'CREATE DATABASE regress_without');
DigipayTest::create_account($node, $provider, db => 'regress_Odd name');
my $log_size = -s $node->logfile;
$node->restart;
ok( soon(
		q{SELECT count(*) >= 3 FROM pg_stat_activity WHERE backend_type = 'digipay worker'}),
	'with preload, the workers of digipay.databases start with the server');
workers_are('postgres regress_Odd name regress_second', 'of those that have the extension');
$pid = DigipayTest::worker_pid($node);
like(PostgreSQL::Test::Utils::slurp_file($node->logfile, $log_size),
	qr/database "regress_nowhere" of digipay\.databases does not exist/,
	'the log tells of a database that does not exist');
is(pays('preload'), 'succeeded', 'it pays');
sleep 2.5;
is(DigipayTest::worker_pid($node), $pid, 'and is not ended by digipay.idle_timeout');
is($node->safe_psql('postgres', 'SHOW digipay.databases'),
	'postgres, regress_nowhere, regress_second, "regress_Odd name", regress_without',
	'the setting as it was given');
is( $node->safe_psql('postgres', q{SELECT context FROM pg_settings WHERE name = 'digipay.databases'}),
	'postmaster', 'is fixed at server start');
is($node->safe_psql('postgres', 'SELECT digipay_worker_stop()'), 't', 'it can be stopped');
workers_are('regress_Odd name regress_second', 'and it has gone');
in_time('DROP DATABASE regress_second', 'DROP DATABASE beside a preloaded worker');
is(DigipayTest::worker_pid($node), undef, 'and stays so');
in_time('DROP EXTENSION digipay CASCADE', 'DROP EXTENSION beside a preloaded worker', 'regress_Odd name');
ok(soon($no_worker), 'whose worker ends');
is($node->safe_psql('postgres', 'SELECT digipay_worker_start()'), 't', 'and one can be started again');

my $books = $provider->books;
is_deeply([ grep { $books->{refs}{$_}{pay_requests} > 1 } sort keys %{ $books->{refs} } ],
	[], 'no ref_id was asked to be paid twice');
my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);
unlike($log, qr/PANIC|server process .* was terminated/, 'nothing crashed');
is(scalar(() = $log =~ /background worker "digipay .* exited with exit code [^0]/g),
	scalar(() = $log =~ /FATAL: .*database "regress_closed" is not currently accepting connections/g),
	'no worker failed but those that could not connect');

$node->stop('fast');
done_testing();
