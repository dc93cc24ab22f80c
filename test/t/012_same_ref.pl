# Many callers at once: of one ref_id, of many, and beside somebody's locks.

use strict;
use warnings;

use DigipayTest;
use IO::Socket::INET;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = DigipayTest::new_node('same_ref',
	max_connections => 120, deadlock_timeout => '100ms');
my $provider = DigipayTest::start_provider();
my $other_provider = DigipayTest::start_provider(username => 'other');
DigipayTest::create_account($node, $provider);
DigipayTest::create_account($node, $provider, server => 'second_name');
DigipayTest::create_account($node, $other_provider, server => 'other', username => 'other');
# a port where nobody listens; kept, so that nobody else has it meanwhile
my $nobody = IO::Socket::INET->new(Proto => 'tcp', LocalAddr => '127.0.0.1', LocalPort => 0)
  or die "no port: $@";
DigipayTest::create_account($node, $provider, server => 'down', port => $nobody->sockport);

my $bill = q{'pln', '530000000001'};
$node->safe_psql('postgres',
	'CREATE TABLE outcome (run text, client int, began timestamptz, ended timestamptz, p digipay_payment)');
# how long it takes to pay a bill, NULL if that does not succeed
$node->safe_psql('postgres', qq{
	CREATE FUNCTION seconds_to_pay(ref_id text) RETURNS double precision LANGUAGE plpgsql AS \$\$
	DECLARE
		began timestamptz := clock_timestamp();
		paid bool := (digipay_pay($bill, ref_id)).state = 'succeeded';
	BEGIN
		RETURN CASE WHEN paid THEN extract(epoch FROM clock_timestamp() - began) END;
	END \$\$});

# So many sessions, all connected before the first begins, call digipay_pay
# once each; the rows go to the table outcome.  With "held" the provider holds
# all answers until they all wait, with so many of their payments in flight;
# "waited" of the result is how many it found waiting then, and "seconds" how
# long it took from there until the last had its answer.
sub together
{
	my ($run, $clients, $arguments, %options) = @_;
	my $file = "$PostgreSQL::Test::Utils::tmp_check/$run.sql";
	my $released = "(SELECT min(began) FROM outcome WHERE run = '$run')";
	my ($out, $err) = ('', '');

	PostgreSQL::Test::Utils::append_to_file($file,
		"INSERT INTO outcome SELECT '$run', :client_id, statement_timestamp(), clock_timestamp(), p"
		  . " FROM digipay_pay($arguments) p;\n");
	$provider->hold if $options{held};
	my $bench = IPC::Run::start(
		[
			$node->installed_command('pgbench'), '-n', '-c', $clients, '-j', 2, '-t', 1,
			'-f', $file, '-d', $node->connstr('postgres')
		],
		'>', \$out, '2>', \$err);
	if ($options{held})
	{
		(DigipayTest::wait_for_waiters($node, $clients, "%INTO outcome SELECT '$run',%")
			  && eval { DigipayTest::wait_until { $provider->books->{in_flight} == $options{held} } 60 })
		  or diag("not all of $run wait");
		# whatever should not leave has had a moment for it
		sleep 0.2;
		$released = DigipayTest::literal($node->safe_psql('postgres', 'SELECT clock_timestamp()')) . '::timestamptz';
		$provider->release;
	}
	$bench->finish or diag($err);
	return DigipayTest::row($node,
		'SELECT count(*) AS rows, count(DISTINCT p::text) AS different,'
		  . ' min((p).state) AS least, max((p).state) AS most,'
		  . " count(*) FILTER (WHERE began < $released AND ended > $released) AS waited,"
		  . " extract(epoch FROM max(ended) - $released) AS seconds"
		  . " FROM outcome WHERE run = '$run'");
}

# The journal's state, and how often the provider was asked and has booked.
sub standing
{
	my ($ref_id, $at) = @_;
	my $row = DigipayTest::payment($node, $ref_id);
	my $books = ($at // $provider)->books($ref_id);
	return [ $row ? $row->{state} : undef, $books->{pay_requests} // 0, $books->{booked} // 0 ];
}

# A payment in the background whose request has reached the provider.
sub pay_in_flight
{
	my ($ref_id, %options) = @_;
	my $handle = DigipayTest::async($node,
		'SELECT state FROM digipay_pay(' . ($options{bill} // $bill) . ", '$ref_id')");
	DigipayTest::wait_until { $provider->books($ref_id)->{pay_requests} } 60;
	return $handle;
}

# Makes a payment's row not_sent.
sub not_sent
{
	my ($ref_id) = @_;
	my $error = DigipayTest::error_of($node, "SELECT digipay_pay($bill, '$ref_id', server => 'down')");
	die $error->{text} if $error->{sqlstate} ne 'PY001';
	return;
}

# Inserts a row as somebody might who has the right to.
sub insertion
{
	my ($ref_id, $state) = @_;
	$state //= 'succeeded';
	return 'INSERT INTO digipay_payment (ref_id, state, code, customer_no, testing, requested_at,'
	  . ' server, account, requested_by, origin) SELECT '
	  . "'$ref_id', '$state', $bill, false, now(), 'digipay', 'demo\@127.0.0.1', 'postgres', origin"
	  . ' FROM digipay_fence';
}

# Whether a session soon waits for that.
sub wait_for_wait
{
	my ($query_like, $wait_event) = @_;
	return eval {
		DigipayTest::wait_until {
			$node->safe_psql('postgres',
				"SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '$query_like'"
				  . " AND pid <> pg_backend_pid() AND wait_event_type = 'Lock' AND wait_event = '$wait_event'")
			  eq 't';
		} 60;
		1;
	};
}

# ------------------------------------------------------ thirty of one ref_id

my $result = together('thirty', 30, "$bill, 'thirty'", held => 1);
is($result->{rows}, 30, 'thirty callers of one ref_id: thirty rows');
is($result->{different}, 1, 'all equal');
is($result->{least}, 'succeeded', 'and succeeded');
is_deeply(standing('thirty'), [ 'succeeded', 1, 1 ], 'from one request');
is_deeply($provider->books->{max_in_flight}, 1, 'and there was no other');
is($result->{waited}, 30, 'all answered by that one answer');

# (nor for the worker, who stands still meanwhile)
my $worker = DigipayTest::worker_pid($node);
kill 'STOP', $worker;
$result = together('thirty-again', 30, "$bill, 'thirty'");
kill 'CONT', $worker;
is_deeply([ @$result{qw(rows different least)} ], [ 30, 1, 'succeeded' ], 'thirty replays');
is_deeply(standing('thirty'), [ 'succeeded', 1, 1 ], 'send nothing');
cmp_ok($result->{seconds}, '<', 9, 'and wait for nobody');

# two names of one account
$result = together('names', 20,
	"$bill, 'names', server => (CASE WHEN :client_id % 2 = 0 THEN 'digipay' ELSE 'second_name' END)::name",
	held => 1);
is_deeply([ @$result{qw(rows different least)} ], [ 20, 1, 'succeeded' ],
	'twenty callers by two names of the account: one row');
is_deeply(standing('names'), [ 'succeeded', 1, 1 ], 'from one request');

# another account is another matter
$other_provider->control(delay => 100);
my ($one, $two) = map {
	DigipayTest::async($node, "SELECT state FROM digipay_pay($bill, 'accounts', server => '$_')")
} qw(digipay other);
is_deeply([ $one->out, $two->out ], [ 'succeeded', 'succeeded' ],
	'two accounts, one ref_id: both paid');
is($provider->booked('accounts'), 1, 'once by the one');
is($other_provider->booked('accounts'), 1, 'and once by the other');
is( $node->safe_psql('postgres',
		"SELECT string_agg(account || ' ' || server, ', ' ORDER BY account) FROM digipay_payment WHERE ref_id = 'accounts'"),
	'demo@127.0.0.1 digipay, other@127.0.0.1 other',
	'and two rows in the journal');

# a server that has become another account's: its old ref_ids are not free
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER second_name OPTIONS (SET username 'renamed')});
$node->safe_psql('postgres', "SELECT digipay_pay($bill, 'renamed-1', server => 'second_name')");
is(DigipayTest::payment($node, 'renamed-1')->{account},
	'renamed@127.0.0.1', 'the account is that of the moment');
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER second_name OPTIONS (SET username 'demo')});
DigipayTest::fails_with($node, "SELECT digipay_pay($bill, 'renamed-1', server => 'second_name')",
	'PY002', 'a ref_id that the server has used under another account',
	detail => qr/renamed\@127\.0\.0\.1/);
is_deeply([ @{ $provider->books('renamed-1') }{qw(pay_requests booked)} ],
	[ 1, 0 ], 'only the first was sent, which was refused');

# --------------------------------------------------- many at the same time

for my $clients (60, 64)
{
	$provider->reset;
	$result = together("many-$clients", $clients, "$bill, 'many-$clients-' || :client_id", held => $clients);
	is_deeply([ @$result{qw(rows different least most)} ],
		[ $clients, $clients, 'succeeded', 'succeeded' ], "$clients callers, $clients payments");
	my $books = $provider->books;
	is($books->{max_in_flight}, $clients, 'all in flight at once, by the books');
	my @refs = values %{ $books->{refs} };
	is(scalar(grep { $_->{pay_requests} == 1 && $_->{booked} == 1 } @refs), $clients,
		'each one request');
	# (a third of a second for each would be more)
	cmp_ok($result->{seconds}, '<', 20, 'and answered together');
	note("$clients callers, after the answers: $result->{seconds} s");
}

# more than the server's max_in_flight
$provider->reset;
$result = together('more', 80, "$bill, 'more-' || :client_id", held => 64);
is_deeply([ @$result{qw(rows different least)} ], [ 80, 80, 'succeeded' ], '80 callers');
is($provider->books->{max_in_flight}, 64, 'of whom 64 have their payment in flight');

# ------------------------------------------ the same ref_id, another bill

$provider->hold;
my $handle = pay_in_flight('bill');
DigipayTest::fails_with($node, "SELECT digipay_pay('pdam', '530000000001', 'bill')",
	'PY002', 'in flight: another code');
DigipayTest::fails_with($node, "SELECT digipay_pay('pln', '530000000002', 'bill')",
	'PY002', 'in flight: another customer_no');
DigipayTest::fails_with($node, "SELECT digipay_pay($bill, 'bill', testing => true)",
	'PY002', 'in flight: another testing');
DigipayTest::fails_with($node, "SELECT digipay_pay('pdam', '530000000001', 'bill', server => 'second_name')",
	'PY002', 'in flight: another code, by another name');
is_deeply(standing('bill'), [ 'sending', 1, 1 ], 'none of them waited for the answer');
$provider->release;
is($handle->out, 'succeeded', 'the payment itself goes well');
DigipayTest::fails_with($node, "SELECT digipay_pay('pdam', '530000000001', 'bill')",
	'PY002', 'final: another code', hint => qr/new ref_id/);
DigipayTest::fails_with($node, "SELECT digipay_pay('pln', '530000000002', 'bill')",
	'PY002', 'final: another customer_no');
DigipayTest::fails_with($node, "SELECT digipay_pay($bill, 'bill', testing => true)",
	'PY002', 'final: another testing');
DigipayTest::fails_with($node, "SELECT digipay_inquire('pdam', '530000000001', 'bill')",
	'PY002', 'an inquiry about another bill');
is_deeply(standing('bill'), [ 'succeeded', 1, 1 ], 'nothing more was sent');

$node->safe_psql('postgres', "SELECT digipay_inquire($bill, 'inquired')");
DigipayTest::fails_with($node, "SELECT digipay_pay('pln', '530000000002', 'inquired')",
	'PY002', 'a ref_id that another bill was inquired about under', detail => qr/inquiry/);
is_deeply(standing('inquired'), [ undef, 0, 0 ], 'nothing was sent');
is($node->safe_psql('postgres', "SELECT state FROM digipay_pay($bill, 'inquired')"),
	'succeeded', 'the bill itself is paid');

# --------------------------------------------------------------- max_price

sub with_limit
{
	my ($ref_id, $limit) = @_;
	return "SELECT state FROM digipay_pay($bill, '$ref_id', max_price => $limit)";
}
DigipayTest::fails_with($node, with_limit('limit', 20000),
	'PY006', 'max_price without an inquiry', hint => qr/digipay_inquire/);
is_deeply(standing('limit'), [ undef, 0, 0 ], 'nothing was sent');
# an inquiry that failed says no price
$node->safe_psql('postgres', "SELECT digipay_inquire('pln', '530000000003', 'limit-failed')");
DigipayTest::fails_with($node,
	"SELECT digipay_pay('pln', '530000000003', 'limit-failed', max_price => 20000)",
	'PY006', 'max_price with an inquiry that failed');
is_deeply(standing('limit-failed'), [ undef, 0, 0 ], 'nothing was sent');
$node->safe_psql('postgres', "SELECT digipay_inquire($bill, 'limit')");
DigipayTest::fails_with($node, with_limit('limit', $_), 'PY006', "max_price $_ is too low",
	detail => qr/10000/, hint => qr/higher/)
  for ('9999', '9999.99', '0');
DigipayTest::fails_with($node, with_limit('limit', $_), '22023', "max_price $_ is refused")
  for ('-1', q{'NaN'});
DigipayTest::fails_with($node,
	"SELECT digipay_pay('pln', '530000000002', 'limit', max_price => 20000)",
	'PY002', 'max_price, and the inquiry was for another bill');
is_deeply(standing('limit'), [ undef, 0, 0 ], 'nothing was sent');
is($node->safe_psql('postgres', with_limit('limit', '10000')),
	'succeeded', 'a max_price that is just enough');
is(DigipayTest::payment($node, 'limit')->{max_price}, '10000', 'and it is in the journal');
is_deeply(standing('limit'), [ 'succeeded', 1, 1 ], 'paid once');
$node->safe_psql('postgres', "SELECT digipay_inquire($bill, 'limit-2')");
is($node->safe_psql('postgres', with_limit('limit-2', '123456.78')),
	'succeeded', 'a higher max_price');

# a row that is not_sent is held against the inquiry and the price as well
not_sent('limit-3');
DigipayTest::fails_with($node, with_limit('limit-3', 20000),
	'PY006', 'not_sent: max_price without an inquiry');
is_deeply(standing('limit-3'), [ 'not_sent', 0, 0 ], 'nothing was sent');

# ---------------------------------------------------------- not_sent again

not_sent('again');
is_deeply(standing('again'), [ 'not_sent', 0, 0 ], 'not sent');
is_deeply([ @{ DigipayTest::payment($node, 'again') }{qw(server sent_at next_check_at)} ],
	[ 'down', undef, undef ], 'and final');
DigipayTest::fails_with($node, "SELECT digipay_pay('pdam', '530000000001', 'again')",
	'PY002', 'another bill under that ref_id is an error all the same');
# by a working name of the same account, twenty at once
$result = together('again', 20, "$bill, 'again'", held => 1);
is_deeply([ @$result{qw(rows different least)} ], [ 20, 1, 'succeeded' ],
	'the next call sends it, and all that wait have that answer');
is_deeply(standing('again'), [ 'succeeded', 1, 1 ], 'one request');
is(DigipayTest::payment($node, 'again')->{server}, 'digipay', 'through the server that was named');

# all who wait for what cannot leave share that answer
my @waiting = map {
	DigipayTest::async($node, "SELECT digipay_pay($bill, 'share', server => 'down')")
} 1 .. 5;
is_deeply([ map { ($_->error // {})->{sqlstate} } @waiting ],
	[ ('PY001') x 5 ], 'five callers of what cannot leave: PY001 to each');
is_deeply(standing('share'), [ 'not_sent', 0, 0 ], 'and one row');

# ------------------------------------------- somebody else's transaction

my $session = DigipayTest::session($node);
$session->query_safe('BEGIN');
$session->query_safe(insertion('manual-1'));
$handle = DigipayTest::async($node, "SELECT state FROM digipay_pay($bill, 'manual-1')");
ok(wait_for_wait('%manual-1%', 'transactionid'),
	'a row that is not committed: the caller waits where everybody can see it');
is($node->safe_psql('postgres', "SELECT state FROM digipay_pay($bill, 'meanwhile-1')"),
	'succeeded', 'others pay meanwhile');
is_deeply(standing('manual-1'), [ undef, 0, 0 ], 'and nothing was sent for that one');
$session->query_safe('ROLLBACK');
is($handle->out, 'succeeded', 'after the ROLLBACK it is paid');
is_deeply(standing('manual-1'), [ 'succeeded', 1, 1 ], 'by one request');

$session->query_safe('BEGIN');
$session->query_safe(insertion('manual-2'));
$handle = DigipayTest::async($node, "SELECT state FROM digipay_pay($bill, 'manual-2')");
wait_for_wait('%manual-2%', 'transactionid');
$session->query_safe('COMMIT');
is($handle->out, 'succeeded', 'after a COMMIT the caller gets that row');
is_deeply(standing('manual-2'), [ 'succeeded', 0, 0 ], 'and nothing is sent');

# the wait can be cancelled
$session->query_safe('BEGIN');
$session->query_safe(insertion('manual-3'));
DigipayTest::fails_with($node, "SELECT digipay_pay($bill, 'manual-3')",
	'57014', 'the wait ends by statement_timeout', before => "SET statement_timeout = '200ms';\n");
is_deeply(standing('manual-3'), [ undef, 0, 0 ], 'and nothing was sent');

# one's own
my $text = $session->query("SELECT digipay_pay($bill, 'manual-3')");
like($session->{stderr}, qr/ERROR:  55000:/, q{a row of one's own transaction: an error});
$session->{stderr} = '';
$session->query_safe('ROLLBACK');
is_deeply(standing('manual-3'), [ undef, 0, 0 ], 'and nothing was sent');

# one's own again, but gone with a savepoint
$session->query_safe('BEGIN; SAVEPOINT s');
$session->query_safe(insertion('manual-4') . '; ROLLBACK TO s');
like($session->query_safe("SELECT digipay_pay($bill, 'manual-4')"),
	qr/,succeeded,/, 'what a savepoint has undone is no hindrance');
$session->query_safe('COMMIT');
is_deeply(standing('manual-4'), [ 'succeeded', 1, 1 ], 'paid once');

# --------------------------------------------------------------- row locks

# who would wait for ever is cancelled after a while, which is the wrong error
my %bounded = (before => "SET statement_timeout = '60s';\n");
# and this, which the worker says who waits for somebody else, is no answer
my $stuck = qr/the digipay worker does not react/;

not_sent('locked');
$session->query_safe('BEGIN');
$session->query_safe("SELECT 1 FROM digipay_payment WHERE ref_id = 'locked' FOR UPDATE");
my $began = time;
DigipayTest::fails_with($node, "SELECT digipay_pay($bill, 'locked')",
	'55P03', 'the row of a payment that could be sent is locked', detail => qr/[Nn]othing was sent/, %bounded);
cmp_ok(time - $began, '<', 30, 'that is said in bounded time');
is_deeply(standing('locked'), [ 'not_sent', 0, 0 ], 'and nothing was sent');
is($node->safe_psql('postgres', "SELECT state FROM digipay_pay($bill, 'meanwhile-2')"),
	'succeeded', 'others pay meanwhile');
# the locker himself
$began = time;
$text = $session->query("SELECT digipay_pay($bill, 'locked')");
like($session->{stderr}, qr/ERROR:  55(P03|000):/, q{one's own lock: an error});
cmp_ok(time - $began, '<', 30, 'in bounded time');
$session->{stderr} = '';
$session->query_safe('ROLLBACK');
is_deeply(standing('locked'), [ 'not_sent', 0, 0 ], 'and nothing was sent');
is($node->safe_psql('postgres', "SELECT state FROM digipay_pay($bill, 'locked')"),
	'succeeded', 'when the lock is gone it is paid');
is_deeply(standing('locked'), [ 'succeeded', 1, 1 ], 'once');

# an outcome that cannot be written
$provider->hold;
$handle = pay_in_flight('outcome');
$session->query_safe('BEGIN');
$session->query_safe("SELECT 1 FROM digipay_payment WHERE ref_id = 'outcome' FOR UPDATE");
$provider->release;
is($handle->out, 'sending', 'a lock in the way of the outcome: the row as it stands');
my $others = DigipayTest::row($node,
	q{SELECT count(seconds) AS n, percentile_disc(0.25) WITHIN GROUP (ORDER BY seconds) AS seconds}
	  . q{ FROM (SELECT seconds_to_pay('meanwhile-3-' || n) AS seconds FROM generate_series(1, 20) n) s});
is($others->{n}, 20, 'others pay meanwhile');
# were the row waited for each time, none would take less than a wait
cmp_ok($others->{seconds}, '<', 0.2, 'without much delay');
is($node->safe_psql('postgres', "SELECT state FROM digipay_pay($bill, 'outcome')"),
	'sending', 'asked for again, it is the same row, at once');
is_deeply(standing('outcome'), [ 'sending', 1, 1 ], 'and nothing is sent again');
$session->query_safe('ROLLBACK');
DigipayTest::wait_for_state($node, 'outcome', 'succeeded', seconds => 60);
is_deeply(standing('outcome'), [ 'succeeded', 1, 1 ], 'the outcome is written once the lock has gone');
is(DigipayTest::payment($node, 'outcome')->{price}, '10000', 'whole');

# --------------------------------------------------------------- deadlocks

my @sessions = ($session, DigipayTest::session($node));
$sessions[$_]->query_safe('BEGIN; ' . insertion("deadlock-$_")) for 0, 1;
# each pays what the other one holds
$sessions[$_]->{stdin} .= "SELECT 'paid ' || state FROM digipay_pay($bill, 'deadlock-" . (1 - $_) . "');\n\\warn done\n"
  for 0, 1;
my %done;
DigipayTest::wait_until
{
	for my $i (0, 1)
	{
		$sessions[$i]->{run}->pump_nb;
		# the victim's transaction ends, so that the other one can go on
		if (!$done{$i} && $sessions[$i]->{stderr} =~ /done/)
		{
			$done{$i} = $sessions[$i]->{stdout} . $sessions[$i]->{stderr};
			$sessions[$i]->{$_} = '' for qw(stdout stderr);
			$sessions[$i]->query('ROLLBACK');
		}
	}
	keys %done == 2;
} 60;
my @victims = grep { $done{$_} =~ /ERROR:  40P01: deadlock detected/ } 0, 1;
my @payers = grep { $done{$_} =~ /paid succeeded/ } 0, 1;
is(scalar(@victims), 1, 'two sessions, each paying what the other holds: one deadlock error');
is(scalar(@payers), 1, 'and the other one pays');
is_deeply(standing('deadlock-' . (1 - $payers[0])), [ 'succeeded', 1, 1 ], 'once') if @payers;
is_deeply(standing('deadlock-' . (1 - $victims[0])), [ undef, 0, 0 ], 'and nothing for the victim')
  if @victims;

# ------------------------------------------------------------- table locks

# before: the caller waits for the table as anybody would
$session->query_safe('BEGIN; LOCK TABLE digipay_payment IN ACCESS EXCLUSIVE MODE');
DigipayTest::fails_with($node, "SELECT digipay_pay($bill, 'table-1')",
	'55P03', 'the journal is locked: the caller waits no longer than his lock_timeout',
	before => "SET lock_timeout = '300ms';\n");
$handle = DigipayTest::async($node, "SELECT state FROM digipay_pay($bill, 'table-2')");
ok(wait_for_wait('%table-2%', 'relation'), 'where everybody can see it');
is_deeply($provider->books('table-1'), {}, 'and nothing was sent');
is_deeply($provider->books('table-2'), {}, 'for neither');
# the locker himself: the worker cannot get at the table
$began = time;
$session->query("SELECT digipay_pay($bill, 'table-3')");
like($session->{stderr}, qr/ERROR:  (55P03|PY003): (?!$stuck)/, 'one who has locked the journal himself: an error');
cmp_ok(time - $began, '<', 30, 'in bounded time');
like($session->{stderr}, qr/[Nn]othing (was|has been) sent/, 'that says that nothing was sent');
$session->{stderr} = '';
is_deeply($provider->books('table-3'), {}, 'which is so');
$session->query_safe('ROLLBACK');
is($handle->out, 'succeeded', 'when the lock is gone, it goes on');
is_deeply(standing('table-2'), [ 'succeeded', 1, 1 ], 'and pays once');

# the inquiries' table, which a payment has to look at
$session->query_safe('BEGIN; LOCK TABLE digipay_inquiry IN ACCESS EXCLUSIVE MODE');
$began = time;
my $error = DigipayTest::error_of($node, "SELECT digipay_pay($bill, 'table-4')", %bounded);
like("$error->{sqlstate} $error->{message}", qr/^(55P03|PY003) (?!$stuck)/, 'the inquiries are locked: an error');
cmp_ok(time - $began, '<', 30, 'in bounded time');
$session->query_safe('ROLLBACK');
is_deeply(standing('table-4'), [ undef, 0, 0 ], 'nothing was sent');

# during: whoever wants the table waits for what is in flight
$provider->hold;
$handle = pay_in_flight('table-5');
my $locker = DigipayTest::async($node,
	q{BEGIN; LOCK TABLE digipay_payment IN ACCESS EXCLUSIVE MODE; SELECT state FROM digipay_payment WHERE ref_id = 'table-5'; COMMIT});
ok(wait_for_wait('%LOCK TABLE%', 'relation'), 'who wants the journal while a payment is in flight waits');
$provider->release;
$began = time;
is($handle->out, 'succeeded', 'locked while in flight: the outcome is written and returned');
cmp_ok(time - $began, '<', 30, 'in bounded time');
is($locker->out, 'succeeded', 'before the locker has the table');
is_deeply(standing('table-5'), [ 'succeeded', 1, 1 ], 'paid once');

# one who reads the journal in his transaction, and one who waits to lock it
$session->query_safe('BEGIN; SELECT count(*) FROM digipay_payment');
$locker = DigipayTest::async($node,
	'BEGIN; LOCK TABLE digipay_payment IN ACCESS EXCLUSIVE MODE; COMMIT');
ok(wait_for_wait('%LOCK TABLE%', 'relation'), 'a reader in the way of one who wants the journal');
$began = time;
$text = $session->query("SELECT digipay_pay($bill, 'table-6')");
my $paid = $text =~ /,succeeded,/;
ok($paid || $session->{stderr} =~ /ERROR:  (55P03|40P01|PY003): (?!$stuck)/,
	'a reader pays while somebody waits to lock the journal');
cmp_ok(time - $began, '<', 30, 'answered in bounded time');
$session->{stderr} = '';
$session->query_safe('ROLLBACK');
$locker->finish;
is_deeply(standing('table-6'), $paid ? [ 'succeeded', 1, 1 ] : [ undef, 0, 0 ],
	'an error means that nothing was sent');

is($node->safe_psql('postgres', "SELECT state FROM digipay_pay($bill, 'after-all')"),
	'succeeded', 'after all that, it pays as ever');
$_->quit for @sessions;

# --------------------------------- known ones among new ones in one statement

# After a new payment the next one is expected to be new, too.
sub submitted
{
	return 'SELECT string_agg((digipay_submit(\'pln\', customer_no, ref_id)).state::text, \' \' ORDER BY n)'
	  . ' FROM (VALUES ' . join(', ', map { "($_, '530000000001', '$_[$_]')" } 0 .. $#_) . ') v (n, customer_no, ref_id)';
}

$node->safe_psql('postgres', q{INSERT INTO digipay_payment (ref_id, state, code, customer_no, testing, requested_at,
	next_check_at, server, account, requested_by, origin)
	SELECT 'bulk-elsewhere', 'queued', 'pln', '530000000001', false, now(), now(), 'digipay', 'demo@127.0.0.1', 'postgres',
	gen_random_uuid()});
not_sent('bulk-not-sent');
my $quiet = "SET client_min_messages = error;\n";
is( $node->safe_psql('postgres',
		$quiet . submitted(qw(bulk-1 thirty bulk-2 bulk-2 bulk-3 bulk-elsewhere bulk-4 bulk-not-sent manual-1))),
	'queued succeeded queued queued queued queued queued queued ' . standing('manual-1')->[0],
	'what is known is returned as it stands, though what came before was new');
for my $ref_id (map { "bulk-$_" } 1 .. 4, 'not-sent')
{
	eval { DigipayTest::wait_for_state($node, $ref_id, 'succeeded', seconds => 60) };
	is_deeply(standing($ref_id), [ 'succeeded', 1, 1 ], "$ref_id is paid once");
}
is_deeply(standing('bulk-elsewhere'), [ 'queued', 0, 0 ], 'what another database has queued is left to that');
$node->safe_psql('postgres', q{DELETE FROM digipay_payment WHERE ref_id = 'bulk-elsewhere'});
DigipayTest::fails_with($node, submitted(qw(bulk-5 thirty)) =~ s/(530000000001)', 'thirty'/530000000002', 'thirty'/r, 'PY002',
	'another bill after a new payment', before => $quiet);
is_deeply(standing('bulk-5'), [ undef, 0, 0 ], 'takes that with it');

for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	my $reader = DigipayTest::session($node);
	my $younger = lc "bulk-$level" =~ s/ /-/gr;
	$reader->query_safe("$quiet BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM digipay_payment");
	$node->safe_psql('postgres', "SELECT digipay_pay($bill, '$younger')");
	is($reader->query(submitted('bulk-6', $younger)), 'queued succeeded', "$level: after a new payment one that is younger than that")
	  or diag($reader->{stderr});
	$reader->query('ROLLBACK');
	$reader->quit;
}

# -------------------------------------------------------------- in the end

my $books = $provider->books;
my %state = map { $_->{ref_id} => $_->{state} }
  DigipayTest::rows($node, q{SELECT ref_id, state FROM digipay_payment WHERE account = 'demo@127.0.0.1'});
is_deeply([ grep { $books->{refs}{$_}{pay_requests} > 1 } sort keys %{ $books->{refs} } ],
	[], 'no ref_id was asked to be paid twice');
is_deeply(
	[ grep { $books->{refs}{$_}{booked} && ($state{$_} // '') ne 'succeeded' }
		  sort keys %{ $books->{refs} } ],
	[], 'the journal knows all that is booked');
is_deeply([ grep { $state{$_} eq 'sending' } sort keys %state ], [], 'nothing is left in sending');

# ------------------------------- two inquiries at once with one ref_id

# each caller gets its own bill or an error, never the other one's
$node->safe_psql('postgres', 'CREATE TABLE mixed_up (asked text, got text)');
my @askers = map {
	DigipayTest::async($node, qq{
		DO \$body\$
		DECLARE
			got text;
		BEGIN
			FOR i IN 1 .. 100 LOOP
				BEGIN
					SELECT customer_no INTO got FROM digipay_inquire('pln', '$_', 'asked-by-two');
					IF got <> '$_' THEN
						INSERT INTO mixed_up VALUES ('$_', got);
					END IF;
				EXCEPTION WHEN SQLSTATE 'PY002' THEN
				END;
			END LOOP;
		END \$body\$})
} qw(530000000001 530000000002);
is($_->status, 0, 'an asker goes through all of them') for @askers;
is($node->safe_psql('postgres', 'SELECT count(*) FROM mixed_up'), 0, 'nobody got the other bill');

$node->stop('fast');
done_testing();
