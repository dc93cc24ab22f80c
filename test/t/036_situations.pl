# Odd situations: pg_upgrade's mode, pools that hand a session from one to the
# next, settings that change while a payment is on its way.  (T16, T35, T39)

use strict;
use warnings;

use DigipayTest;
use Test::More;

my $BILL = q{'pln', '530000000001'};
my $provider = DigipayTest::start_provider();
my $other = DigipayTest::start_provider(username => 'other', 'api-key' => 'other-key');
my $node = DigipayTest::new_node('situations', shared_preload_libraries => 'digipay', 'digipay.databases' => 'postgres');
DigipayTest::create_account($node, $provider, status_interval => 300);

sub value { return $node->safe_psql('postgres', "SET client_min_messages = error;\n$_[0]") }

# ---------------------------------------------------------------------------
# T35: nothing is kept in the session that the next user of it could miss, or find

my $out = value(<<"SQL");
SELECT state FROM digipay_pay($BILL, 'pool-1');
DISCARD ALL;
SELECT state FROM digipay_submit($BILL, 'pool-2');
DISCARD ALL;
SELECT state FROM digipay_wait('pool-2');
DISCARD ALL;
SELECT state FROM digipay_pay($BILL, 'pool-1');
SQL
is($out, "succeeded\nqueued\nsucceeded\nsucceeded", 'DISCARD ALL between the calls changes nothing');
is($provider->booked('pool-1') . $provider->booked('pool-2'), '11', 'each is booked once');
my $session = DigipayTest::async($node, "PREPARE p AS SELECT state FROM digipay_pay($BILL, \$1);\n"
	  . "EXECUTE p('pool-3');\nSELECT digipay_worker_stop();\nEXECUTE p('pool-4');\nDEALLOCATE ALL;");
like($session->out, qr/succeeded.*succeeded/s, 'a session outlives its worker');

# ---------------------------------------------------------------------------
# T39: a payment goes on with the options and the key that it has begun with

$provider->hold;
my $slow = DigipayTest::async($node, "SELECT state, account FROM digipay_pay($BILL, 'change-1')");
DigipayTest::wait_until(sub { $provider->books->{in_flight} == 1 });
my $endpoint = 'http://127.0.0.1:' . $other->http_port . $DigipayTest::PATH;
value("ALTER SERVER digipay OPTIONS (SET endpoint '$endpoint', ADD timeout '300');\n"
	  . "ALTER USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (SET username 'other', SET api_key 'other-key');");
# longer than the new time-out, were it that of the payment on its way
value('SELECT pg_sleep(1)');
$provider->release;
like($slow->out, qr/^succeeded\|demo\@127\.0\.0\.1$/m, 'options that change meanwhile do not touch what is on its way');
is($provider->booked('change-1'), 1, 'it is booked where it was sent');
value('ALTER SERVER digipay OPTIONS (DROP timeout)');
is(value("SELECT state, account FROM digipay_pay($BILL, 'change-2')"), 'succeeded|other@127.0.0.1', 'the next payment has the new ones');
is($other->booked('change-2') . ($provider->books('change-2')->{booked} // 0), '10', 'and goes to the new place');

# a payment of the old account is not asked about under the new one, which is there
# before the answer, and so before the first question
value("ALTER SERVER digipay OPTIONS (SET endpoint 'http://127.0.0.1:" . $provider->http_port . "$DigipayTest::PATH');\n"
	  . "ALTER USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (SET username 'demo', SET api_key 'demo-key');");
$provider->hold;
$slow = DigipayTest::async($node, q{SELECT state FROM digipay_pay('pln', '630000000001', 'old-account')});
DigipayTest::wait_until(sub { $provider->books->{in_flight} == 1 });
value("ALTER USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (SET username 'other', SET api_key 'other-key');");
$provider->release;
is($slow->out, 'pending', 'one that stays open');
value('SELECT pg_sleep(2)');
is(value(q{SELECT state, status_checks FROM digipay_payment WHERE ref_id = 'old-account'}), 'pending|0', 'is not asked about under another account');
value("ALTER USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (SET username 'demo', SET api_key 'demo-key');");
is(value(q{SELECT state FROM digipay_wait('old-account', '60 s')}), 'succeeded', 'and is, when the account is back');

# ---------------------------------------------------------------------------
# T16: as pg_upgrade starts the old cluster, nothing is paid

value(q{ALTER SERVER digipay OPTIONS (ADD paused 'true')});
value("SELECT digipay_submit($BILL, 'upgrade-1')");
# (the worker first, which would pay it)
value('SELECT digipay_worker_stop(); ALTER SERVER digipay OPTIONS (DROP paused)');
$provider->reset;
$node->stop;
is(system('pg_ctl', '-s', '-w', '-D', $node->data_dir, '-l', $node->logfile, '-o', '-b', 'start'), 0, 'the server starts in binary upgrade mode');
for my $call ("digipay_pay($BILL, 'upgrade-2')", "digipay_submit($BILL, 'upgrade-2')", 'digipay_worker_start()')
{
	my ($rc, $stdout, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");
	like($stderr, qr/55000.*binary upgrade/, "$call is refused there");
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'digipay worker'}), '0', 'there is no worker');
is(system('pg_ctl', '-s', '-w', '-D', $node->data_dir, '-m', 'fast', 'stop'), 0, 'and it stops');
is($provider->books->{requests}, 0, 'nothing was sent');
$node->start;
is(DigipayTest::poll_until($node, q{SELECT state = 'succeeded' FROM digipay_payment WHERE ref_id = 'upgrade-1'}) ? 'paid' : 'not paid', 'paid',
	'what was queued is paid when all is over');
is($provider->booked('upgrade-1'), 1, 'once');

done_testing();
