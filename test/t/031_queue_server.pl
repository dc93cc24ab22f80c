# The queue outlives the worker, the server and odd databases.

use strict;
use warnings;

use DigipayTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = DigipayTest::new_node('queue_server', max_prepared_transactions => 5,
	'digipay.idle_timeout' => 2, restart_after_crash => 'on');
my $provider = DigipayTest::start_provider();
my $other = DigipayTest::start_provider(username => 'other');
DigipayTest::create_account($node, $provider);

my $bill = q{'pln', '530000000001'};

sub sql { my ($query, $db) = @_; return $node->safe_psql($db // 'postgres', "SET client_min_messages = error;\n$query") }
sub state { my ($ref_id, $db) = @_; my $row = DigipayTest::payment($node, $ref_id, db => $db // 'postgres'); return $row ? $row->{state} : 'none' }
sub requests { my ($ref_id, $at) = @_; return ($at // $provider)->books($ref_id)->{pay_requests} // 0 }
sub paused { my ($on, $db) = @_; return sql("ALTER SERVER digipay OPTIONS (SET paused '$on')", $db) }

# Paid, once; the worker is not called for help but by a look at the table.
sub is_paid
{
	my ($ref_id, $name, %params) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $at = delete $params{at} // $provider;
	my $row = eval { DigipayTest::wait_for_state($node, $ref_id, 'succeeded', seconds => 60, %params) };
	my $books = $at->books($ref_id);
	is_deeply([ $row ? $row->{state} : state($ref_id, $params{db}), $books->{pay_requests}, $books->{booked} ],
		[ 'succeeded', 1, 1 ], $name);
	return;
}

# ----------------------------------------------------------- without a worker

sql('SELECT digipay_worker_start()');
sql(q{ALTER SERVER digipay OPTIONS (ADD paused 'true')});
sql("SELECT digipay_submit($bill, 'idle-1')");
sleep 3.5;
ok(DigipayTest::worker_pid($node), 'the worker does not end while something is queued');
sql(q{SELECT digipay_cancel('idle-1')});
paused('false');
DigipayTest::wait_until { !DigipayTest::worker_pid($node) } 60;
pass('it ends when nothing is');
sql("SELECT digipay_submit($bill, 'idle-2')");
is_paid('idle-2', 'digipay_submit starts it again');

# a session that has known an earlier worker
my $one = DigipayTest::session($node);
$one->query("SELECT digipay_submit($bill, 'idle-3')");
is_paid('idle-3', 'a payment');
DigipayTest::wait_until { !DigipayTest::worker_pid($node) } 60;
$one->query("SELECT digipay_submit($bill, 'idle-4')");
is_paid('idle-4', 'a session that knew an earlier worker starts a new one');

# the worker ends while a transaction is open
$one->query("BEGIN; SELECT digipay_submit($bill, 'idle-5')");
# (where it has just ended by itself, one that has not is wanted)
my $stopped = eval { DigipayTest::wait_until { sql('SELECT digipay_worker_start(); SELECT digipay_worker_stop()') =~ /t\z/ }; 1 };
ok($stopped, 'the worker is stopped before COMMIT');
$one->query('COMMIT');
is_paid('idle-5', 'COMMIT starts it again');
$one->query("BEGIN; SELECT digipay_submit($bill, 'idle-6'); PREPARE TRANSACTION 'p1'");
DigipayTest::wait_until { DigipayTest::worker_pid($node) };
sleep 3.5;
ok(DigipayTest::worker_pid($node), 'nobody tells of COMMIT PREPARED, so the worker stays while there is a prepared transaction');

# killed with the queue full
paused('true');
sql("SELECT count(digipay_submit($bill, 'killed-' || i)) FROM generate_series(1, 200) i");
$provider->hold;
paused('false');
DigipayTest::wait_until { requests('killed-1') } 60;
my $log_at = -s $node->logfile;
kill 'KILL', DigipayTest::worker_pid($node) // die 'there is no worker';
# (the server answers for a while before it has noticed)
$node->wait_for_log(qr/database system is ready to accept connections/, $log_at);
DigipayTest::wait_until { eval { sql('SELECT 1'); 1 } } 60;
$provider->release;
sql(q{SELECT digipay_worker_start()});
$one = DigipayTest::session($node);
my $left = eval { DigipayTest::wait_until { sql(q{SELECT count(*) FROM digipay_payment WHERE ref_id LIKE 'killed-%' AND state IN ('queued', 'sending')}) eq '0' } 60; 1 };
ok($left, 'the queue goes on after the worker was killed') or diag(sql(q{SELECT state, count(*) FROM digipay_payment GROUP BY 1}));
my $refs = $provider->books->{refs};
is(join(',', grep { /^killed-/ && ($refs->{$_}{pay_requests} // 0) > 1 } keys %$refs), '', 'none of it was sent twice');
is(sql(q{SELECT count(*) FROM digipay_payment WHERE ref_id LIKE 'killed-%' AND state NOT IN ('succeeded', 'unknown')}), 0, 'each is paid, or asked about');

# ---------------------------------------------------------------- two restarts

paused('true');
sql("SELECT digipay_submit($bill, 'restart-$_')") for 1 .. 2;
$one->quit;
$node->stop('fast');
$node->start;
sleep 2.5;
is(DigipayTest::worker_pid($node), undef, 'after a restart without preload nobody is there');
is_deeply([ state('restart-1'), state('restart-2') ], [ 'queued', 'queued' ], 'and the queue waits');
paused('false');
sql(q{COMMIT PREPARED 'p1'});
like(sql(q{SELECT state FROM digipay_wait('restart-1', '60 s')}), qr/succeeded/, 'digipay_wait starts the worker');
is_paid("restart-$_", "restart-$_: paid") for 1 .. 2;
is_paid('idle-6', 'and what was prepared before the restart and committed after it');

paused('true');
sql("SELECT digipay_submit($bill, 'restart-3')");
$node->stop('immediate');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'digipay'\ndigipay.databases = 'postgres'\n");
$node->start;
paused('false');
is_paid('restart-3', 'after a crash with preload the queue goes on by itself');
my ($out, $err);
$node->psql('postgres', "SELECT digipay_submit($bill, 'restart-4')", stdout => \$out, stderr => \$err);
is($err, '', 'and digipay_submit has nothing to warn of');
is_paid('restart-4', 'paid');

# ------------------------------------------------------------- other databases

sql('CREATE DATABASE elsewhere');
DigipayTest::create_account($node, $other, db => 'elsewhere', username => 'other', paused => 'true');
($out, $err) = ('', '');
$node->psql('elsewhere', "SELECT digipay_submit($bill, 'elsewhere-1')", stderr => \$err);
like($err, qr/WARNING: .*restart/, 'a database that digipay.databases does not list: the warning');
ok(eval { DigipayTest::wait_until { DigipayTest::worker_pid($node, 'elsewhere') } }, 'it has a worker, and something queued');
# Where the worker stayed it would be an error after five seconds, however often
# it is tried; a worker that is held up may need more than five.
my $dropped = DigipayTest::error_of($node, 'DROP DATABASE elsewhere');
$dropped = DigipayTest::error_of($node, 'DROP DATABASE elsewhere') if $dropped;
is($dropped, undef, 'DROP DATABASE does not wait for the queue');
is(requests('elsewhere-1', $other), 0, 'nothing of it is sent');

# another schema, with a name to be quoted, and LATIN1
sql(q{CREATE DATABASE odd ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0});
sql(q{CREATE SCHEMA "Pay; now"; CREATE EXTENSION digipay SCHEMA "Pay; now"}, 'odd');
DigipayTest::create_account($node, $other, db => 'odd', username => 'other', status_interval => 1000);
$other->control(script => { ref_id => 'odd-2', http_status => 200, book => JSON::PP::true(), command => 'pay-pasca',
	body => '{"data":{"ref_id":"odd-2","customer_no":"530000000001","code":"pln","rc":"00","status":"Sukses","message":"\u20ac \u00e9","name":"Ren\u00e9","sn":"1","price":10}}' });
sql(qq{SELECT "Pay; now".digipay_submit($bill, 'odd-' || i) FROM generate_series(1, 3) i}, 'odd');
sql(qq{SELECT "Pay; now".digipay_submit('pln', '630000000001', 'odd-4')}, 'odd');
my $waited = eval { DigipayTest::wait_until { sql(q{SELECT count(*) FROM "Pay; now".digipay_payment WHERE state = 'succeeded'}, 'odd') eq '4' } 60; 1 };
ok($waited, 'in another schema of a LATIN1 database: paid, and asked about') or diag(sql(q{SELECT ref_id, state, error FROM "Pay; now".digipay_payment}, 'odd'));
is($other->booked("odd-$_"), 1, "odd-$_ once") for 1 .. 4;
my $row = DigipayTest::row($node, q{SELECT name, message, error IS NOT NULL AS note, reply IS NULL AS unstored FROM "Pay; now".digipay_payment WHERE ref_id = 'odd-2'}, db => 'odd');
is($row->{name}, "Ren\x{e9}", 'what LATIN1 has is there');
is_deeply([ @$row{qw(message note unstored)} ], [ undef, 'true', 'true' ], 'what it has not is noted, and changes nothing');
is(sql(q{SELECT count(*) FROM "Pay; now".digipay_unsettled}, 'odd'), 0, 'nothing is left open');

is(join(',', $provider->complaints, $other->complaints), '', 'the providers have no complaints');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/PANIC|TRAP|signal 11|signal 6/, 'nothing has crashed but what was killed');
done_testing();
