# Standbys: a synchronous one that is down holds up the intent, so nothing leaves,
# and a hot one refuses to pay.

use strict;
use warnings;

use DigipayTest;
use Test::More;
use Time::HiRes qw(time);

# With so long a grace, a stop that waits for it is found out.
my $node = DigipayTest::new_node('primary', init => [ allows_streaming => 1 ],
	'digipay.shutdown_grace' => '60s');
my $provider = DigipayTest::start_provider();
# (what is unknown shall stay so while we look)
DigipayTest::create_account($node, $provider, status_interval => 3600000);

my $bill = q{'pln', '530000000001'};

is($node->safe_psql('postgres', "SELECT state FROM digipay_pay($bill, 'before')"),
	'succeeded', 'a payment to begin with');

# ---------------------------------------------------------------------------
# A hot standby refuses at once, whatever it is asked.

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;

for my $call ("digipay_pay($bill, 'on-standby')", "digipay_inquire($bill, 'on-standby')",
	'digipay_health()', 'digipay_worker_start()')
{
	my $begun = time;
	my $error = DigipayTest::error_of($standby, "SELECT * FROM $call");
	is($error->{sqlstate}, '25006', "$call on a standby: refused");
	like($error->{message}, qr/during recovery/, '... and why');
	# (a worker would have been waited for nine seconds)
	cmp_ok(time - $begun, '<', 9, '... at once');
}
is($standby->safe_psql('postgres', "SELECT state FROM digipay_payment WHERE ref_id = 'before'"),
	'succeeded', 'a standby reads the journal');
is($provider->books('on-standby')->{pay_requests} // 0, 0, 'nothing was sent from it');
$standby->stop;

# ---------------------------------------------------------------------------
# A synchronous standby that is down.

sub worker_waits
{
	return $node->safe_psql('postgres',
		"SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'digipay worker'") eq 'SyncRep';
}

sub require_standby
{
	my ($name) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = '$name'");
	$node->reload;
	DigipayTest::wait_until {
		$node->safe_psql('postgres', 'SHOW synchronous_standby_names') eq $name };
	# it is the checkpointer who puts it in force: once a commit waits for it
	my $waits;
	DigipayTest::wait_until {
		my $commit = DigipayTest::async($node, q{SELECT pg_logical_emit_message(true, '', '')});
		until ($commit->done)
		{
			$waits += $node->safe_psql('postgres',
				q{SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity}
				  . q{ WHERE query LIKE 'SELECT pg_logical_emit%' AND wait_event = 'SyncRep'});
		}
		$commit->finish;
		$waits;
	} 60;
	return;
}

require_standby('nobody');
my $caller = DigipayTest::async($node, "SELECT state FROM digipay_pay($bill, 'unreplicated')");
DigipayTest::wait_until { worker_waits() } 60;
$node->safe_psql('postgres',
	q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%unreplicated%' AND pid <> pg_backend_pid()});
is($caller->error->{sqlstate}, '57014', 'the intent waits for the standby, and the caller may stop waiting');
is($provider->books('unreplicated')->{pay_requests} // 0, 0, 'nothing was sent');

# whoever cancels the worker must not make the payment leave
$node->safe_psql('postgres',
	"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'digipay worker'");
select(undef, undef, undef, 0.5);
ok(eval { DigipayTest::wait_until { worker_waits() } }, 'a cancel does not end the wait');
is($provider->books('unreplicated')->{pay_requests} // 0, 0, 'and nothing is sent by it');

# a fast stop ends the wait, but sends nothing either
my $begun = time;
$node->stop('fast');
cmp_ok(time - $begun, '<', 30, 'a fast stop does not wait for the standby');
is($provider->books('unreplicated')->{pay_requests} // 0, 0, 'nothing was sent by the stop');

$node->append_conf('postgresql.auto.conf', "synchronous_standby_names = ''");
$node->start;
is($node->safe_psql('postgres', "SELECT state FROM digipay_pay($bill, 'unreplicated')"),
	'unknown', 'the next worker finds the intent, and does not send it');
is($provider->books('unreplicated')->{pay_requests} // 0, 0, 'really not');
is($node->safe_psql('postgres', "SELECT state FROM digipay_pay($bill, 'after')"),
	'succeeded', 'payments go on');
is($provider->booked('after'), 1, 'once');

done_testing();
