# The queue: what digipay_submit puts into the caller's transaction is paid
# after COMMIT, once, and nothing is after ROLLBACK.

use strict;
use warnings;

use DigipayTest;
use IO::Socket::INET;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = DigipayTest::new_node('queue',
	max_prepared_transactions => 5, max_connections => 60, deadlock_timeout => '100ms');
my $provider = DigipayTest::start_provider();
my $shaky = DigipayTest::start_provider(username => 'shaky');
DigipayTest::create_account($node, $provider);
DigipayTest::create_account($node, $provider, server => 'paused', paused => 'true');
DigipayTest::create_account($node, $provider, server => 'short', queue_ttl => 1500, paused => 'true');
DigipayTest::create_account($node, $provider, server => 'asleep', paused => 'true');	# for good
DigipayTest::create_account($node, $provider, server => 'busy85');
DigipayTest::create_account($node, $provider, server => 'busy429');
DigipayTest::create_account($node, $shaky, server => 'shaky', username => 'shaky');

# somebody who takes connections, and says nothing
my $mute = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1', LocalPort => 0);
DigipayTest::create_account($node, $provider, server => 'mute', connect_timeout => 2500,
	endpoint => 'https://127.0.0.1:' . $mute->sockport . $DigipayTest::PATH);

my $bill = q{'pln', '530000000001'};

sub sql { return $node->safe_psql('postgres', $_[0]) }

# a call of digipay_submit
sub submit
{
	my ($ref_id, $more) = @_;
	return "digipay_submit($bill, '$ref_id'" . ($more ? ", $more" : '') . ')';
}

sub state
{
	my $row = DigipayTest::payment($node, $_[0]);
	return $row ? $row->{state} : 'none';
}

sub requests { return $provider->books($_[0])->{pay_requests} // 0 }

# The payment is made, once.
sub is_paid
{
	my ($ref_id, $name, %params) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $row = eval { DigipayTest::wait_for_state($node, $ref_id, 'succeeded', seconds => 60, %params) };
	my $books = ($params{at} // $provider)->books($ref_id);
	is_deeply([ $row ? $row->{state} : state($ref_id), $books->{pay_requests}, $books->{booked} ],
		[ 'succeeded', 1, 1 ], $name);
	return $row;
}

# There is no such payment, and there was no request.
sub is_nothing
{
	my ($ref_id, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_deeply([ state($ref_id), requests($ref_id) ], [ 'none', 0 ], $name);
}

# What a listening session has heard: ref_id => [ states ].
sub heard
{
	my ($session) = @_;
	my %heard;
	my $out = $session->query(q{SELECT 'heard'});
	while ($out =~ /notification "digipay" with payload "(.*)" received/g)
	{
		my $news = JSON::PP->new->decode($1);
		push @{ $heard{ $news->{ref_id} } }, $news->{state};
		is(join(' ', sort keys %$news), 'ref_id server state', 'a notice has these keys')
		  if join(' ', sort keys %$news) ne 'ref_id server state';
	}
	return \%heard;
}

my $listener = DigipayTest::session($node);
$listener->query('LISTEN digipay');

# ------------------------------------------------------------ the transaction

my $one = DigipayTest::session($node);
is($one->query('BEGIN; SELECT state, sent_at IS NULL, requested_by FROM ' . submit('tx-1')),
	'queued|t|' . sql('SELECT current_user'), 'digipay_submit returns the queued row');
like($one->{stderr}, qr/WARNING: .*after a restart of the server, queued payments wait/,
	'and warns, since the library is not preloaded');
like($one->{stderr}, qr/HINT: .*shared_preload_libraries/, 'with the remedy');
$one->{stderr} = '';
is($one->query('SELECT state FROM ' . submit('tx-1')), 'queued', 'once more in the same transaction: the same row');
is($one->{stderr}, '', 'the warning comes once a session');
is($one->query("SELECT count(*) FROM digipay_payment WHERE ref_id = 'tx-1'"), 1, 'its own transaction sees it');
for my $own (
	[ "SELECT digipay_pay($bill, 'tx-1')", '55000', qr/COMMIT|Commit/, 'digipay_pay' ],
	[ "SELECT digipay_wait('tx-1')", '55000', qr/Commit first/, 'digipay_wait' ],
	[ "SELECT digipay_wait_all(ARRAY['tx-1'])", '55000', qr/Commit first/, 'digipay_wait_all' ],
	[ "SELECT digipay_wait('tx-1', '0 s')", '55000', qr/Commit first/, 'digipay_wait with no time' ],
	[ "SELECT digipay_submit('pln', '530000000002', 'tx-1')", 'PY002', qr/new ref_id/, 'another bill' ])
{
	my ($query, $sqlstate, $hint, $name) = @$own;
	$one->{stderr} = '';
	$one->query("SAVEPOINT s; $query; ROLLBACK TO s");
	my $error = DigipayTest::parse_error($one->{stderr});
	is($error->{sqlstate}, $sqlstate, "$name of what this transaction has queued");
	like($error->{hint} // '', $hint, "$name: the hint");
	$one->{stderr} = '';
}
is(state('tx-1'), 'none', 'nobody else does');
DigipayTest::fails_with($node, "SELECT digipay_wait('tx-1', '100 ms')", '42704',
	'for others there is nothing to wait for');
sleep 1.5;
is(requests('tx-1'), 0, 'nothing is sent before COMMIT');
$one->query('COMMIT');
is_paid('tx-1', 'it is paid after COMMIT');

$one->query('BEGIN; SELECT ' . submit('tx-2') . '; ROLLBACK');
$one->query('BEGIN; SELECT ' . submit('tx-3') . '; SAVEPOINT s; SELECT ' . submit('tx-4')
	  . '; ROLLBACK TO s; SELECT ' . submit('tx-5') . '; SAVEPOINT t; SELECT ' . submit('tx-6')
	  . '; RELEASE t; COMMIT');
$one->query('BEGIN; SELECT ' . submit('tx-7') . q{; SELECT digipay_cancel('tx-7'); COMMIT});
$one->query('BEGIN; SELECT ' . submit('tx-8') . q{; SAVEPOINT s; SELECT digipay_cancel('tx-8'); ROLLBACK TO s; COMMIT});
sql('DO $$ BEGIN
	BEGIN PERFORM ' . submit('tx-9') . '; PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN NULL; END;
	BEGIN PERFORM ' . submit('tx-10') . '; PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN PERFORM ' . submit('tx-10') . '; END;
	END $$');
is_paid($_, "$_: paid") for qw(tx-3 tx-5 tx-6 tx-8 tx-10);
is_nothing($_, "$_: rolled back, and nothing is left") for qw(tx-2 tx-4 tx-9);
is_deeply([ state('tx-7'), requests('tx-7') ], [ 'cancelled', 0 ], 'queued and taken back in one transaction');

# Woken at COMMIT, not at the next look: that is five seconds away where something
# is queued.
sql('SELECT ' . submit('anchor', "server => 'asleep'"));
my @late;
for my $n (1 .. 6)
{
	$one->query('SELECT ' . submit("latency-$n"));
	my $row = is_paid("latency-$n", "payment $n in a row");
	push @late, sql("SELECT extract(epoch FROM final_at - requested_at) FROM digipay_payment WHERE ref_id = 'latency-$n'");
	sleep 0.1 * $n;
}
# (one may meet a machine that is busy with something else)
my $median = (sort { $a <=> $b } @late)[2];
cmp_ok($median, '<', 1.5, 'the worker is woken at COMMIT') or diag("@late");
sql(q{SELECT digipay_cancel('anchor', 'asleep')});

# --------------------------------------------------------- prepared, and so on

$one->query('BEGIN; SELECT ' . submit('prepared-1') . q{; PREPARE TRANSACTION 'p1'});
$one->query('BEGIN; SELECT ' . submit('prepared-2') . q{; PREPARE TRANSACTION 'p2'});
$one->query('BEGIN; SELECT ' . submit('prepared-3') . q{; PREPARE TRANSACTION 'p3'});
DigipayTest::fails_with($node, 'SELECT ' . submit('prepared-3'), '57014',
	'whoever submits the same ref_id waits for the prepared transaction', before => "SET statement_timeout = '700ms';\n");
DigipayTest::fails_with($node, "SELECT digipay_pay($bill, 'prepared-3')", '57014',
	'so does digipay_pay', before => "SET statement_timeout = '300ms';\n");
is_nothing('prepared-1', 'a prepared transaction is no committed one');
sql(q{COMMIT PREPARED 'p1'});
sql(q{ROLLBACK PREPARED 'p2'});
is_paid('prepared-1', 'COMMIT PREPARED: paid');
is_nothing('prepared-2', 'ROLLBACK PREPARED: nothing');

sql(q{CREATE TABLE orders (id text PRIMARY KEY, how text);
	CREATE FUNCTION order_it() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN PERFORM digipay_submit('pln', '530000000001', NEW.id); RETURN NULL; END $$;
	CREATE TRIGGER now AFTER INSERT ON orders FOR EACH ROW WHEN (NEW.how = 'now') EXECUTE FUNCTION order_it();
	CREATE CONSTRAINT TRIGGER later AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW WHEN (NEW.how = 'later') EXECUTE FUNCTION order_it();
	CREATE PROCEDURE order_many(n integer) LANGUAGE plpgsql AS
		$$ BEGIN
			FOR i IN 1 .. n LOOP
				PERFORM digipay_submit('pln', '530000000001', 'proc-' || i);
				IF i % 2 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
			END LOOP;
			PERFORM digipay_submit('pln', '530000000001', 'proc-last');
			PERFORM digipay_wait('proc-1');
		END $$});
sql(q{INSERT INTO orders VALUES ('order-1', 'now'), ('order-2', 'later'), ('order-3', 'none')});
sql(q{BEGIN; INSERT INTO orders VALUES ('order-4', 'now'), ('order-5', 'later'); ROLLBACK});
DigipayTest::error_of($node, q{INSERT INTO orders VALUES ('order-6', 'now'), ('order-1', 'now')});
sql('CALL order_many(4)');
sql(q{INSERT INTO orders SELECT (digipay_submit('pln', '530000000001', 'select-' || i)).ref_id, 'none' FROM generate_series(1, 20) i});
sql(q{WITH s AS (SELECT digipay_submit('pln', '530000000001', 'cte-1') p) UPDATE orders SET how = (p).state::text FROM s WHERE id = 'order-3'});
sql(q{BEGIN; DECLARE c CURSOR FOR SELECT digipay_submit('pln', '530000000001', 'cursor-' || i) FROM generate_series(1, 3) i;
	FETCH 1 FROM c; COMMIT});
sql(q{DO $$ BEGIN PERFORM digipay_submit('pln', '530000000001', 'do-1'); END $$});
is_paid($_, "$_: paid") for qw(order-1 order-2 proc-1 proc-3 proc-last select-1 select-20 cte-1 cursor-1 do-1);
is_nothing($_, "$_: nothing") for qw(order-3 order-4 order-5 order-6 proc-2 proc-4 cursor-2);
is(sql(q{SELECT count(*) FROM digipay_payment WHERE ref_id LIKE 'select-%'}), 20, 'INSERT ... SELECT queues each row');

# ------------------------------------------------------------ roles, and traps

sql(q{CREATE ROLE clerk LOGIN; CREATE ROLE outsider LOGIN; CREATE ROLE seller LOGIN;
	GRANT EXECUTE ON FUNCTION digipay_submit, digipay_wait, digipay_wait_all, digipay_cancel TO clerk, outsider;
	GRANT USAGE ON FOREIGN SERVER digipay, paused TO clerk;
	GRANT INSERT, SELECT ON orders TO seller;
	GRANT CREATE ON SCHEMA public TO clerk;
	ALTER FUNCTION order_it() SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp;
	ALTER FUNCTION order_it() OWNER TO clerk});
DigipayTest::fails_with($node, 'SELECT ' . submit('role-1'), '42501', 'no EXECUTE', role => 'seller',
	message => qr/function digipay_submit/);
DigipayTest::fails_with($node, 'SELECT ' . submit('role-1'), '42501', 'EXECUTE without USAGE', role => 'outsider',
	message => qr/foreign server/);
DigipayTest::fails_with($node, q{SELECT digipay_cancel('tx-1')}, '42501', 'cancel: no USAGE', role => 'outsider');
DigipayTest::fails_with($node, q{SELECT digipay_wait('tx-1')}, '42501', 'wait: no USAGE', role => 'outsider');
DigipayTest::fails_with($node, q{SELECT * FROM digipay_payment}, '42501', 'the journal is not the clerk\'s to read', role => 'clerk');
is( sql('SET client_min_messages = error; SET ROLE clerk; SELECT state, requested_by FROM ' . submit('role-2')
		  . q{; SELECT state FROM digipay_wait('role-2'); SELECT count(*) FROM digipay_wait_all(ARRAY['role-2', 'tx-1'])}),
	"queued|clerk\nsucceeded\n2", 'EXECUTE and USAGE are enough to submit and to wait');
sql(q{SET client_min_messages = error; SET SESSION AUTHORIZATION seller; INSERT INTO orders VALUES ('definer-1', 'now')});
is(is_paid('definer-1', 'by a SECURITY DEFINER trigger')->{requested_by}, 'clerk', 'in the name of its owner');

# what a caller's search_path could put in the place of PostgreSQL's own
sql(q{CREATE SCHEMA AUTHORIZATION clerk});
sql(q{SET ROLE clerk;
	CREATE TABLE clerk.trap (sprung text);
	CREATE FUNCTION clerk.spring() RETURNS void LANGUAGE sql AS $$ INSERT INTO clerk.trap VALUES (current_user) $$;
	CREATE FUNCTION clerk.texteq2(a text, b text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM clerk.spring(); RETURN true; END $$;
	CREATE OPERATOR clerk.= (LEFTARG = text, RIGHTARG = text, FUNCTION = clerk.texteq2);
	CREATE FUNCTION clerk.booleq2(a boolean, b boolean) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM clerk.spring(); RETURN true; END $$;
	CREATE OPERATOR clerk.= (LEFTARG = boolean, RIGHTARG = boolean, FUNCTION = clerk.booleq2);
	CREATE FUNCTION clerk.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM clerk.spring(); RETURN 'infinity'; END $$;
	CREATE FUNCTION clerk.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM clerk.spring(); RETURN 'infinity'; END $$;
	CREATE FUNCTION clerk.timezone(text, timestamptz) RETURNS timestamp LANGUAGE plpgsql AS $$ BEGIN PERFORM clerk.spring(); RETURN '2000-01-01'; END $$;
	RESET ROLE;
	CREATE TABLE clerk.digipay_payment (LIKE public.digipay_payment);
	CREATE TABLE clerk.digipay_fence (LIKE public.digipay_fence);
	CREATE TABLE clerk.digipay_inquiry (LIKE public.digipay_inquiry);
	GRANT ALL ON ALL TABLES IN SCHEMA clerk TO PUBLIC; GRANT ALL ON SCHEMA clerk TO PUBLIC});
is( sql(q{SET client_min_messages = error; SET SESSION AUTHORIZATION clerk; SET search_path = clerk, pg_catalog, public;
		SELECT state FROM } . submit('path-1') . q{;
		SELECT state FROM } . submit('path-2', "server => 'paused'") . q{;
		SELECT state FROM digipay_cancel('path-2', 'paused');
		SELECT state FROM digipay_wait('path-1');
		SHOW search_path}),
	"queued\nqueued\ncancelled\nsucceeded\nclerk, pg_catalog, public", 'a caller with traps on his search_path');
is(sql('SELECT count(*) FROM clerk.trap'), 0, 'springs none of them');
is(sql('SELECT count(*) FROM clerk.digipay_payment'), 0, 'and his own table stays empty');
is_paid('path-1', 'the payment is made');

# ------------------------------------------------------ not_after, ttl, paused

DigipayTest::fails_with($node, 'SELECT ' . submit('late-0', q{not_after => now() - interval '1 s'}), '22023',
	'not_after in the past');
for my $bad ([ 'NULL', q{'530000000001'}, q{'null-1'} ], [ q{'pln'}, 'NULL', q{'null-2'} ], [ q{'pln'}, q{'530000000001'}, 'NULL' ])
{
	DigipayTest::fails_with($node, 'SELECT digipay_submit(' . join(', ', @$bad) . ')', '22023', 'an argument is NULL');
}
DigipayTest::fails_with($node, 'SELECT ' . submit('ro-1'), '25006', 'a read-only transaction',
	before => "SET default_transaction_read_only = on;\n");
DigipayTest::fails_with($node, 'SELECT ' . submit('replica-1'), '55000', 'session_replication_role = replica',
	before => "SET session_replication_role = replica;\n");
sql('SELECT ' . submit('late-1', q{server => 'paused', not_after => clock_timestamp() + interval '3 s'}));
sql('SELECT ' . submit('late-2', q{server => 'short'}));
sql('SELECT ' . submit('late-3', q{server => 'paused'}));
sql('SELECT ' . submit('late-4', q{server => 'paused'}));
DigipayTest::fails_with($node, "SELECT digipay_pay($bill, 'late-5', server => 'paused')", 'PY004', 'paused: digipay_pay',
	message => qr/paused/);
is(state('late-5'), 'none', 'leaves no row');

# ------------------------------------------------------------- a minute's rest

# Seconds since 1970 of the first request, or of its answer, by the provider's books.
sub when { my ($ref_id, $what) = @_; return ($provider->books($ref_id)->{$what} // [])->[0] }

# What waits for the end of the rest has not left before, by the provider's clock:
# it is queued still, or this here has taken more than a minute.
sub rests
{
	my ($what, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $queued = state("rest-$what-3") eq 'queued';
	my $left = when("rest-$what-3", 'arrived_at');
	ok(defined $left ? $left - when("rest-$what", 'answered_at') > 59 : $queued, $name);
	return;
}

$provider->control(script => { ref_id => 'rest-85', http_status => 200, book => 0,
	body => '{"data":{"ref_id":"rest-85","customer_no":"530000000001","code":"pln","rc":"85","status":"Gagal","message":"limit"}}' });
$provider->control(script => { ref_id => 'rest-429', http_status => 429, body => 'slow down', book => 0, command => 'pay-pasca' });
for my $busy ([ '85', 'failed' ], [ '429', 'unknown' ])
{
	my ($what, $state) = @$busy;
	sql('SELECT ' . submit("rest-$what", "server => 'busy$what'"));
	eval { DigipayTest::wait_for_state($node, "rest-$what", $state); 1 };
	is(state("rest-$what"), $state, "$what: the payment that met it");
	my $error = DigipayTest::fails_with($node, "SELECT digipay_pay($bill, 'rest-$what-2', server => 'busy$what')",
		'PY004', "$what: digipay_pay is refused at once", message => qr/rests/, detail => qr/in ([2-5]\d|60) seconds/);
	is(state("rest-$what-2"), 'none', "$what: and leaves no row");
	sql('SELECT ' . submit("rest-$what-3", "server => 'busy$what'"));
}
is(sql("SELECT state FROM digipay_pay($bill, 'rest-other')"), 'succeeded', 'other servers pay');

# ---------------------------------------------------------- what cannot leave

my $port = $shaky->http_port;
$shaky->kill;
sql('SELECT ' . submit("shaky-$_", "server => 'shaky'")) for 1 .. 3;
my $waiting = eval { DigipayTest::wait_until {
	my $row = DigipayTest::payment($node, 'shaky-1');
	$row->{state} eq 'queued' && $row->{error} && $row;
} 60 };
ok($waiting, 'what could not leave is queued again') and do {
	like($waiting->{error}, qr/connect/i, 'with the reason');
	is($waiting->{sent_at}, undef, 'not sent');
};
# (unless just now somebody looks whether it goes again, which is ever more seldom)
ok($node->poll_query_until('postgres', q{SELECT state = 'queued' AND next_check_at > now() AND next_check_at < now() + interval '90 s'
		FROM digipay_payment WHERE ref_id = 'shaky-1'}), 'and its next time is later');
ok($node->poll_query_until('postgres', q{SELECT state || ' ' || why ~* '^queued .*connect' FROM digipay_unsettled WHERE ref_id = 'shaky-1'}),
	'digipay_unsettled says why');
DigipayTest::fails_with($node, "SELECT digipay_pay($bill, 'shaky-2', server => 'shaky')", 'PY001',
	'digipay_pay of a queued payment that cannot leave');
is(state('shaky-2'), 'not_sent', 'is not sent');
sleep 3;
# (the statements are ours)
cmp_ok(scalar(grep { /shaky/ && !/statement: /i } split /\n/, PostgreSQL::Test::Utils::slurp_file($node->logfile)), '<', 50,
	'no storm in the log');
$shaky->start;

# ------------------------------------------- pay joins what is about to leave

sql('SELECT ' . submit('mute-1', "server => 'mute'"));
DigipayTest::wait_for_state($node, 'mute-1', 'sending');
my @joined = map { DigipayTest::async($node, "SELECT state FROM digipay_pay($bill, 'mute-1', server => 'mute')") } 1 .. 2;

# ------------------------------------------------------------ a notify failure

# The notices' pages cannot be written any more: what fills the queue up stands
# for a queue that is full.
my $notify_dir = $node->data_dir . '/pg_notify';
my $before_break = heard($listener);
is_deeply($before_break->{'tx-1'}, ['succeeded'], 'NOTIFY digipay tells of an outcome, once');
is_deeply($before_break->{'tx-7'}, ['cancelled'], 'and of what was taken back');
is($before_break->{'tx-2'}, undef, 'not of what was rolled back');
ok(!grep({ @{ $before_break->{$_} } > 1 } keys %$before_break), 'of none twice');
$listener->quit;
sql(q{SELECT pg_notify('elsewhere', repeat('x', 7900)) FROM generate_series(1, 1)}) for 1 .. 30;
chmod 0, $notify_dir or die;
my $notify_error = DigipayTest::error_of($node, q{SELECT pg_notify('elsewhere', repeat('x', 7900))});
ok($notify_error, 'no notice can be sent') or diag('the queue could not be broken');
$one->query('SELECT ' . submit("deaf-$_")) for 1 .. 5;
is_paid("deaf-$_", "payment $_ beside a broken notify queue") for 1 .. 5;
is(sql("SELECT state FROM digipay_pay($bill, 'deaf-6')"), 'succeeded', 'digipay_pay as well');
chmod 0700, $notify_dir or die;
like(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/digipay could not notify/, 'the log has it');
$listener = DigipayTest::session($node);
$listener->query('LISTEN digipay');
$one->query('SELECT ' . submit('deaf-7'));
is_paid('deaf-7', 'and later');
my $again;
eval { DigipayTest::wait_until { $again = heard($listener)->{'deaf-7'} } 60 };
is_deeply($again, ['succeeded'], 'notices are sent again');

# ------------------------------------------------------------- digipay_cancel

my $row = DigipayTest::row($node, q{SELECT * FROM digipay_cancel('late-4', 'paused')});
is_deeply([ @$row{qw(state next_check_at sent_at)} ], [ 'cancelled', undef, undef ], 'digipay_cancel');
ok($row->{final_at} && $row->{error} =~ /taken back by/, 'says when and by whom');
is(sql(q{SELECT state FROM digipay_cancel('late-4', 'paused')}), 'cancelled', 'once more: the row');
is(sql('SELECT state FROM ' . submit('late-4')), 'cancelled', 'digipay_submit leaves it cancelled');
is(sql("SELECT state FROM digipay_pay($bill, 'late-4')"), 'cancelled', 'so does digipay_pay');
DigipayTest::fails_with($node, q{SELECT digipay_cancel('tx-1')}, '55000', 'what is paid is not taken back');
DigipayTest::fails_with($node, q{SELECT digipay_cancel('nobody')}, '42704', 'digipay_cancel of none');
DigipayTest::fails_with($node, q{SELECT digipay_wait('nobody')}, '42704', 'digipay_wait of none');
DigipayTest::fails_with($node, q{SELECT digipay_wait_all(ARRAY['tx-1', 'nobody'])}, '42704', 'digipay_wait_all of none');
DigipayTest::fails_with($node, q{SELECT digipay_cancel(NULL)}, '22023', 'digipay_cancel of NULL');
is(sql(q{SELECT count(*) FROM digipay_wait_all('{}')}), 0, 'digipay_wait_all of nothing');

# one who cancels in an open transaction, while the server goes on
sql('SELECT ' . submit("race-$_", "server => 'paused'")) for 1 .. 3;
$one->query(q{BEGIN; SELECT digipay_cancel('race-1', 'paused')});
my $two = DigipayTest::session($node);
$two->query(q{BEGIN; SELECT digipay_cancel('race-2', 'paused')});
my $snapshot = DigipayTest::session($node);
$snapshot->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM digipay_payment');
sql('SELECT ' . submit('race-4', "server => 'paused'"));
$snapshot->{stderr} = '';
is($snapshot->query(q{SELECT state FROM digipay_cancel('race-4', 'paused')}), 'cancelled',
	'a REPEATABLE READ transaction takes back what came after its snapshot')
  or diag($snapshot->{stderr});
$snapshot->query('ROLLBACK');

# what the time has cancelled: never paid, even when the server goes on
eval { DigipayTest::wait_for_state($node, $_, 'cancelled', seconds => 60); 1 } for qw(late-1 late-2);
is_deeply([ map { state($_) } qw(late-1 late-2) ], [ 'cancelled', 'cancelled' ], 'not_after and queue_ttl: cancelled');
like(DigipayTest::payment($node, 'late-1')->{error}, qr/in time/, 'with the reason');
is_deeply([ state('late-3'), requests('late-3') ], [ 'queued', 0 ], 'paused: queued');
rests($_, "$_: the queued payment rests still") for qw(85 429);
sql(q{ALTER SERVER paused OPTIONS (SET paused 'false')});
sql(q{ALTER SERVER short OPTIONS (SET paused 'false')});
is_paid('late-3', 'paused no more: paid');
is_paid('race-3', 'and the one beside');
is_deeply([ requests('race-1'), requests('race-2') ], [ 0, 0 ], 'what an open transaction has taken back does not leave');
is_deeply([ requests('late-1'), requests('late-2') ], [ 0, 0 ], 'nor what is too late');
$one->query('ROLLBACK');
$two->query('COMMIT');
is_paid('race-1', 'ROLLBACK of digipay_cancel: paid');
is_deeply([ state('race-2'), requests('race-2') ], [ 'cancelled', 0 ], 'COMMIT of digipay_cancel: not paid');

# a cancel is no reason against two-phase commit
sql('SELECT ' . submit('race-5', "server => 'asleep'"));
$one->{stderr} = '';
$one->query(q{BEGIN; SELECT digipay_cancel('race-5', 'asleep'); PREPARE TRANSACTION 'p4'});
is(sql(q{SELECT count(*) FROM pg_prepared_xacts WHERE gid = 'p4'}), 1, 'a digipay_cancel may be prepared')
  or diag($one->{stderr});
$one->query('ROLLBACK');
DigipayTest::error_of($node, q{ROLLBACK PREPARED 'p4'});

# ------------------------------------------------ the mute, and the shaky again

for my $handle (@joined)
{
	is(($handle->error // {})->{sqlstate}, 'PY001', 'digipay_pay that joined a queued payment shares its answer');
}
is(state('mute-1'), 'not_sent', 'which is not_sent, since somebody was told so');
sleep 1.5;
is(state('mute-1'), 'not_sent', 'and stays so');
is_paid("shaky-$_", "shaky-$_: paid once, when the provider is up", at => $shaky, seconds => 120) for qw(1 3);
is_deeply([ state('shaky-2'), $shaky->books('shaky-2')->{pay_requests} ], [ 'not_sent', undef ],
	'but not what digipay_pay has reported as not sent');
is(sql('SELECT state FROM ' . submit('shaky-2', "server => 'shaky'")), 'queued', 'until it is submitted again');
is_paid('shaky-2', 'then it is paid', at => $shaky);

# ---------------------------------------------------------------- digipay_wait

$provider->hold;
$one->query('SELECT ' . submit("wait-$_")) for 1 .. 3;
my @waiters = map {
	DigipayTest::async($node, "BEGIN ISOLATION LEVEL $_; SELECT count(*) FROM digipay_payment;"
		  . q{ SELECT string_agg(state::text, ' ') FROM digipay_wait_all(ARRAY['wait-1', 'wait-2', 'wait-3']);}
		  . q{ SELECT state FROM digipay_wait('wait-2'); COMMIT})
} ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE', 'REPEATABLE READ READ ONLY', 'SERIALIZABLE READ ONLY');

# Against waits that would otherwise last for a minute and a half, or two.
my $begun = time;
my $timed = DigipayTest::async($node, q{SELECT state FROM digipay_wait('wait-1', '300 ms')});
like($timed->out, qr/^(queued|sending)$/, 'digipay_wait returns the row as it stands when its time is over');
cmp_ok(time - $begun, '<', 40, 'in time');
DigipayTest::wait_for_waiters($node, 5, '%wait-3%');
$begun = time;
$provider->release;
for my $waiter (@waiters)
{
	like($waiter->out, qr/succeeded succeeded succeeded\nsucceeded$/, 'digipay_wait sees what others commit')
	  or diag($waiter->err);
}
cmp_ok(time - $begun, '<', 40, 'and comes back with the outcome');
my $ASLEEP = 60;
sql("SELECT count(digipay_submit($bill, 'asleep-' || i, server => 'asleep')) FROM generate_series(1, $ASLEEP) i");
my $cancelled = DigipayTest::async($node, q{SELECT digipay_wait('asleep-1', '120 s', 'asleep')});
DigipayTest::wait_for_waiters($node, 1, '%asleep-1%');
$begun = time;
$cancelled->cancel;
is($cancelled->error->{sqlstate}, '57014', 'digipay_wait is cancelled');
cmp_ok(time - $begun, '<', 40, 'at once');
DigipayTest::fails_with($node, q{SELECT digipay_wait('asleep-1', '120 s', 'asleep')}, '57014', 'or by statement_timeout',
	before => "SET statement_timeout = '200ms';\n");
$begun = time;
is(sql("SELECT count(*) FROM digipay_wait_all(ARRAY(SELECT 'asleep-' || i FROM generate_series(1, $ASLEEP) i) || 'tx-1'::text, '500 ms')"),
	$ASLEEP + 1, 'digipay_wait_all has one time for all');
cmp_ok(time - $begun, '<', $ASLEEP * 0.5 - 5, 'not for each');
for my $bad (q{'-1 s'}, 'NULL')
{
	my $error = DigipayTest::error_of($node, "SELECT digipay_wait('asleep-1', $bad)");
	ok($error && $error->{sqlstate} eq '22023', "timeout $bad") or diag($error ? $error->{text} : 'no error');
}
rests($_, "$_: and rests for a minute") for qw(85 429);

sql(q{ROLLBACK PREPARED 'p3'});
is_nothing('prepared-3', 'nothing of the last prepared one');
is(join(',', $provider->complaints, $shaky->complaints), '', 'the providers have no complaints');
my $bad = sql(q{SELECT string_agg(ref_id || ' ' || state, ', ') FROM digipay_payment WHERE state IN ('sending', 'review')});
is($bad, '', 'and nothing is left on its way');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/PANIC|terminated by signal|TRAP/, 'nothing has crashed');

$_->quit for $one, $two, $snapshot, $listener;
done_testing();
