# The fence: a copy of the queue, however it was made, pays nothing until it is
# taken over, and then nothing that was paid elsewhere.  The one provider of all
# the copies keeps the books.

use strict;
use warnings;

use DigipayTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $BILL = q{'pln', '530000000001'};
my $LATER = q{'pln', '630000000001'};		# Pending first
my $DEAF = 'http://127.0.0.1:9/v1/user/api/transaction';
my $dir = PostgreSQL::Test::Utils::tempdir('digipay_fence');

my $home = DigipayTest::new_node('home', init => [ has_archiving => 1, allows_streaming => 'logical' ],
	max_worker_processes => 20, 'digipay.shutdown_grace' => '200ms', shared_preload_libraries => 'digipay',
	'digipay.databases' => 'postgres');
my $provider = DigipayTest::start_provider(pending => 1_000_000);
DigipayTest::create_account($home, $provider, status_interval => 400);
# what waits here is not paid at home: each copy has rows of its own
DigipayTest::create_account($home, $provider, server => 'later', status_interval => 400, paused => 'true');

sub value
{
	my ($node, $query, $db) = @_;
	return $node->safe_psql($db // 'postgres', "SET client_min_messages = error;\n$query");
}

sub sent { return $provider->books($_[0])->{pay_requests} // 0 }
sub asked { return $provider->books($_[0])->{status_requests} // 0 }
sub state_of { my ($node, $ref_id, $db) = @_; my $row = DigipayTest::payment($node, $ref_id, db => $db); return $row ? $row->{state} : 'none' }
sub log_of { return PostgreSQL::Test::Utils::slurp_file($_[0]->logfile) }
sub fence_line
{
	my ($node, $db) = @_;
	return value($node, q{SELECT ok || ': ' || detail FROM digipay_health() WHERE item = 'fence'}, $db);
}

# ---------------------------------------------------------------------------
# At home: a row of each state that could be paid, for the copies.

my @COPIES = qw(cold pitr standby auto dump other lost);
like(fence_line($home), qr/^true/, 'at home the fence is open');
my $origin = value($home, 'SELECT origin FROM digipay_fence');
$provider->control(script => { ref_id => 'u-home', body => 'x', book => JSON::PP::true() });
is(value($home, "SELECT state FROM digipay_pay($BILL, 'done')"), 'succeeded', 'a payment');
is(value($home, "SELECT state FROM digipay_pay($LATER, 'p-home')"), 'pending', 'one that is pending');
value($home, q{ALTER SERVER digipay OPTIONS (ADD paused 'true')});
value($home, "SELECT digipay_submit($BILL, 'q-home')");
value($home, join ';', map { "SELECT digipay_submit($BILL, 'q-$_', server => 'later')" } @COPIES);
# not_sent: the provider is not there
value($home, qq{ALTER SERVER digipay OPTIONS (SET paused 'false', SET endpoint '$DEAF')});
for my $ref_id ('n-home', map { "n-$_" } @COPIES)
{
	$home->psql('postgres', "SELECT digipay_pay($BILL, '$ref_id')");
}
value($home, "ALTER SERVER digipay OPTIONS (SET paused 'true', SET endpoint '" . $provider->endpoint . "')");
is(state_of($home, 'n-home'), 'not_sent', 'one that could not leave');

$home->backup('idle');
# on its way while it is copied: the request is there, the answer is not
value($home, q{ALTER SERVER digipay OPTIONS (SET paused 'false', SET status_interval '60000')});
$provider->hold;
my $payer = DigipayTest::async($home, "SELECT digipay_pay($BILL, 's-home')");
DigipayTest::wait_until(sub { sent('s-home') == 1 });
$payer->cancel->finish;
value($home, q{UPDATE digipay_payment SET next_check_at = 'infinity' WHERE ref_id = 'q-home'});	# not yet
value($home, q{ALTER SERVER digipay OPTIONS (SET paused 'true', SET status_interval '400')});
value($home, q{UPDATE digipay_payment SET next_check_at = now() WHERE ref_id = 'q-home'});
is(state_of($home, 's-home'), 'sending', 'one on its way');
$home->backup('busy');
is(state_of($home, 's-home'), 'sending', '... during all of the backup');
value($home, q{SELECT pg_create_restore_point('before')});
$home->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", $home->connstr('postgres') ], 'a dump');

# Dump: the fence does not travel.
my ($text) = PostgreSQL::Test::Utils::run_command([ $home->installed_command('pg_restore'), '-f', '-', "$dir/dump" ]);
unlike($text, qr/COPY \S*digipay_fence|INSERT INTO \S*digipay_fence/, 'digipay_fence is not in it');
like($text, qr/COPY \S*digipay_payment/, 'the journal is');

# The same place stays the same place.
$home->stop('fast');
$provider->release;
$home->backup_fs_cold('cold');
$home->start;
like(fence_line($home), qr/^true/, 'a restart leaves the fence open');
DigipayTest::crash($home);
$home->start;
like(fence_line($home), qr/^true/, 'a crash as well');
is(value($home, 'SELECT origin FROM digipay_fence'), $origin, '... with the same mark');

# Business goes on there: what the copies still have to pay is paid.
value($home, q{ALTER SERVER digipay OPTIONS (SET paused 'false')});
is(value($home, "SELECT state FROM digipay_pay($BILL, 'q-home')"), 'succeeded', 'at home, the queue is paid');
is(value($home, "SELECT state FROM digipay_pay($BILL, 'n-home')"), 'succeeded', '... and what could not leave');
is(value($home, "SELECT state FROM digipay_pay($BILL, 'after')"), 'succeeded', '... and something new');
$provider->control(pending => 0);
value($home, q{UPDATE digipay_payment SET status_checks = 0 WHERE state IN ('unknown', 'pending')});
for my $ref_id (qw(s-home p-home))
{
	DigipayTest::wait_until(sub { value($home, "SELECT state FROM digipay_status('$ref_id')") eq 'succeeded' }, 60);
}
my @PAID = qw(done q-home n-home s-home p-home after);

# ---------------------------------------------------------------------------
# What is expected of every copy.

sub check_fenced
{
	my ($name, $node, $why, %params) = @_;
	my $db = $params{db} // 'postgres';
	my $requests = $provider->books->{requests};

	# a worker that could do something
	value($node, 'SELECT digipay_worker_start()', $db);
	DigipayTest::wait_until(sub { log_of($node) =~ /WARNING:  digipay pays nothing.*\n.*DETAIL:.*$why/ }, 60);
	pass("$name: the log warns");
	like(fence_line($node, $db), qr/^false: .*$why/, "$name: digipay_health says so");
	value($node, q{ALTER SERVER later OPTIONS (SET paused 'false')}, $db);
	value($node, q{ALTER SERVER digipay OPTIONS (SET paused 'false')}, $db);
	$requests = $provider->books->{requests};		# health asks, too
	for my $call ("digipay_pay($BILL, 'new-$name')", "digipay_submit($BILL, 'new-$name')", "digipay_pay($BILL, 'n-$name')",
		"digipay_pay($BILL, 'n-home')", "digipay_retry('n-$name')", "digipay_pay($BILL, 'q-$name', server => 'later')")
	{
		my $error = DigipayTest::error_of($node, "SELECT $call", db => $db);
		is($error->{sqlstate}, 'PY004', "$name: $call is refused") or diag($error->{text} // 'no error');
		like("$error->{message} $error->{detail} $error->{hint}", qr/digipay_take_over/, "$name: ... with the way out");
	}
	is(value($node, "SELECT state FROM digipay_pay($BILL, 'done')", $db), 'succeeded', "$name: what is known is returned");
	is(value($node, "SELECT state FROM digipay_wait('q-$name', '1200 ms', 'later')", $db), 'queued', "$name: the queue stays");
	is($provider->books->{requests}, $requests, "$name: nothing was sent, nor asked");
	is(state_of($node, 'new-' . $name, $db), 'none', "$name: nothing new was written");
	return;
}

# After the take-over: asked first, and then nothing twice.
sub check_taken
{
	my ($name, $node, %params) = @_;
	my $db = $params{db} // 'postgres';

	like(fence_line($node, $db), qr/^true/, "$name: the fence is open");
	is(value($node, "SELECT count(*) FROM digipay_event WHERE kind = 'taken_over'", $db), '1', "$name: that is an event");
	isnt(value($node, 'SELECT origin FROM digipay_fence', $db), $origin, "$name: a mark of its own");
	# no answer yet: nothing can go further than its question
	$provider->hold;
	is(value($node, "SELECT state FROM digipay_pay($BILL, 'new-$name')", $db), 'queued', "$name: something new is asked about first");
	is(value($node, "SELECT state FROM digipay_pay($BILL, 'n-$name')", $db), 'queued', "$name: not_sent: as well");
	like(value($node, "SELECT state FROM digipay_pay($BILL, 'n-home')", $db), qr/^(queued|succeeded)$/, "$name: not_sent here, and paid at home: as well");
	is(sent($_), 0, "$name: $_ has not been sent yet") for "new-$name", "n-$name";
	$provider->release;

	for my $ref_id (grep { state_of($node, $_, $db) ne 'none' } @PAID)
	{
		is(value($node, "SELECT state FROM digipay_wait('$ref_id', '60 s')", $db), 'succeeded', "$name: $ref_id, paid by the other one, becomes succeeded");
	}
	is(value($node, "SELECT string_agg(state::text, ' ') FROM digipay_wait_all('{new-$name,n-$name,q-$name}', '60 s', 'later')", $db),
		'succeeded succeeded succeeded', "$name: what nobody has paid is paid");
	for my $ref_id ("new-$name", "n-$name", "q-$name")
	{
		is($provider->booked($ref_id), 1, "$name: $ref_id is booked once");
		cmp_ok(asked($ref_id), '>=', 2, "$name: $ref_id was asked about twice");
		is(value($node, "SELECT count(*) FROM digipay_event WHERE kind = 'not_found' AND ref_id = '$ref_id'", $db), '2',
			"$name: ... and not found");
	}
	is(value($node, "SELECT count(*) FROM digipay_payment WHERE state IN ('queued', 'sending')
		AND ref_id !~ '^[nq]-'", $db), '0', "$name: nothing is left");
	return;
}

sub check_books
{
	my ($name) = @_;
	my $refs = $provider->books->{refs};
	is(join(' ', grep { $refs->{$_}{booked} > 1 || $refs->{$_}{pay_requests} > 1 } sort keys %$refs), '', "$name: nothing was sent twice");
	return;
}

# A copy has its own rows only: the others are for the other copies.
sub keep_own
{
	my ($name, $node, $db) = @_;
	value($node, join(';', map { "DELETE FROM digipay_payment WHERE ref_id IN ('q-$_', 'n-$_')" } grep { $_ ne $name } @COPIES), $db);
	return;
}

# ---------------------------------------------------------------------------
# A file copy.  take_over_on_promotion does not mean it.

my $cold = PostgreSQL::Test::Cluster->new('cold');
$cold->init_from_backup($home, 'cold');
$cold->append_conf('postgresql.conf', "digipay.take_over_on_promotion = on\narchive_mode = off");
$cold->start;
keep_own('cold', $cold);
check_fenced('cold', $cold, 'copy');
is(state_of($cold, 'p-home'), 'pending', 'cold: what was pending is not asked about');
# (rolled back, should it not be refused)
DigipayTest::fails_with($cold, q{BEGIN; SELECT digipay_cancel('q-home')}, 'PY004', 'cold: nor is called cancelled what the other one has paid');

# Taking it over, which not everybody may, and not while somebody has it locked.
value($cold, 'CREATE ROLE clerk; GRANT USAGE ON FOREIGN SERVER digipay TO clerk; GRANT EXECUTE ON FUNCTION digipay_pay TO clerk');
DigipayTest::fails_with($cold, 'SELECT digipay_take_over()', '42501', 'cold: not everybody may take over', role => 'clerk');
DigipayTest::fails_with($cold, 'BEGIN READ ONLY; SELECT digipay_take_over()', '25006', 'cold: nor does one in a read-only transaction');
my $locker = DigipayTest::session($cold);
$locker->query_safe(q{BEGIN; SELECT 1 FROM digipay_payment WHERE ref_id = 'q-cold' FOR UPDATE});
my $begun = time;
DigipayTest::fails_with($cold, 'SELECT digipay_take_over()', '55P03', 'cold: a locked payment: refused for now', hint => qr/again/);
# (the lock is held until that has come back)
cmp_ok(time - $begun, '<', 30, 'cold: ... soon');
like(fence_line($cold), qr/^false/, 'cold: ... and the fence is as it was');
DigipayTest::fails_with($cold, "SELECT digipay_pay($BILL, 'new-cold')", 'PY004', 'cold: ... really');
is(value($cold, 'SELECT origin FROM digipay_fence'), $origin, 'cold: ... with the mark');
$locker->query_safe('COMMIT');
value($cold, 'BEGIN; SELECT digipay_take_over(); ROLLBACK');
check_taken('cold', $cold);
check_books('cold');

# Again, and after a restart: nothing happens.
my $mark = value($cold, 'SELECT origin FROM digipay_fence');
$cold->restart;
like(fence_line($cold), qr/^true/, 'cold: a restart leaves it open');
DigipayTest::crash($cold);
$cold->start;
like(fence_line($cold), qr/^true/, 'cold: and a crash');
is(value($cold, 'SELECT origin FROM digipay_fence'), $mark, 'cold: with its mark');

# A second take-over, with a payment on its way and one not committed.
value($cold, 'SELECT digipay_take_over(true)');
$provider->hold;
$payer = DigipayTest::async($cold, "SELECT state FROM digipay_pay($BILL, 'again-1')");
DigipayTest::wait_until(sub { sent('again-1') == 1 });
$locker = DigipayTest::session($cold);
$locker->query("SET client_min_messages = error; BEGIN; SELECT digipay_submit($BILL, 'again-2')");
value($cold, 'SELECT digipay_take_over(true)');
$provider->release;
is($payer->out, 'succeeded', 'taken over again: a payment on its way has its own answer');
$locker->query('COMMIT');
is(value($cold, q{SELECT state FROM digipay_wait('again-2', '60 s')}), 'succeeded', 'taken over again: what was queued meanwhile is paid');
check_books('taken over again');

# A day later, what is older than the take-over is still asked about first.
value($cold, q{INSERT INTO digipay_payment (ref_id, state, code, customer_no, testing, server, account, requested_by, origin,
	requested_at, final_at, next_check_at, not_after) SELECT r, s::digipay_state, 'pln', '530000000001', false, 'digipay', p.account, 'x', p.origin,
	now() - interval '3 days', f::timestamptz, n::timestamptz, now() + interval '2 days'
	FROM digipay_payment p, (VALUES ('old-n', 'not_sent', 'now', NULL), ('old-c', 'cancelled', 'now', NULL),
	('old-q', 'queued', NULL, 'tomorrow'), ('old-r', 'review', NULL, 'infinity')) v (r, s, f, n) WHERE p.ref_id = 'done'});
value($cold, 'SELECT digipay_take_over()');
value($cold, q{UPDATE digipay_payment SET next_check_at = now() + interval '1 day' WHERE ref_id = 'old-q'});
# a person's verdict from now on is about our own payment
value($cold, q{SELECT digipay_settle('old-r', 'rejected', 'never there')});
is(DigipayTest::error_of($cold, q{SELECT digipay_retry('old-r')}), undef, 'what was in review at the take-over may be retried after the verdict');
value($cold, q{SELECT digipay_worker_stop(); UPDATE digipay_fence SET since = since - interval '25 hours'});
is(value($cold, "SELECT state FROM digipay_pay($BILL, 'next-day')"), 'succeeded', 'a day later: something new is sent at once');
is(asked('next-day'), 0, '... unasked');
value($cold, "SELECT digipay_pay($BILL, 'old-$_')") for qw(n q);
value($cold, q{SELECT digipay_retry('old-c')});
value($cold, q{UPDATE digipay_payment SET next_check_at = now() WHERE ref_id = 'old-q' AND state = 'queued'});
DigipayTest::wait_for_state($cold, "old-$_", 'succeeded', seconds => 60) for qw(n q c);
# (nothing is asked about what has succeeded)
cmp_ok(asked("old-$_"), '>=', 1, "a day later: old-$_ is asked about first") for qw(n q c);

$cold->stop('immediate');

# ---------------------------------------------------------------------------
# A recovery to an earlier point.

my $pitr = PostgreSQL::Test::Cluster->new('pitr');
$pitr->init_from_backup($home, 'busy', has_restoring => 1, standby => 0);
$pitr->append_conf('postgresql.conf', "recovery_target_name = 'before'\nrecovery_target_action = 'promote'\narchive_mode = off");
value($home, 'SELECT pg_switch_wal()');
$pitr->start;
$pitr->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
is(state_of($pitr, 'after'), 'none', 'pitr: it is the past');
is(state_of($pitr, 's-home'), 'sending', 'pitr: with a payment on its way');
keep_own('pitr', $pitr);
check_fenced('pitr', $pitr, 'earlier point|copy');
is(state_of($pitr, 's-home'), 'sending', 'pitr: which nobody calls lost');
DigipayTest::fails_with($pitr, "SELECT digipay_pay($BILL, 'after')", 'PY004', 'pitr: a payment that it does not know any more');
value($pitr, 'SELECT digipay_take_over()');
# (the answer may be there before the row is read back)
like(value($pitr, "SELECT state FROM digipay_pay($BILL, 'after')"), qr/^(?:queued|succeeded)$/, 'pitr: is asked about first');
check_taken('pitr', $pitr);
is(value($pitr, q{SELECT state FROM digipay_wait('after', '60 s')}), 'succeeded', 'pitr: and found');
check_books('pitr');
$pitr->stop('immediate');

# ---------------------------------------------------------------------------
# A standby: refuses everything, and is fenced once it is promoted.

sub make_standby
{
	my ($name, @conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init_from_backup($home, 'idle');
	$node->append_conf('postgresql.conf', join "\n", "archive_mode = off", "recovery_target_timeline = 'current'", @conf);
	$node->set_standby_mode;
	$node->start;
	return $node;
}

my $standby = make_standby('standby');
my @took;
for my $call ("digipay_pay($BILL, 'sb')", "digipay_submit($BILL, 'sb')", q{digipay_wait('q-home')}, q{digipay_wait('done')},
	q{digipay_wait_all('{q-home,done}')}, q{digipay_status('q-home')}, q{digipay_retry('n-home')}, q{digipay_cancel('q-home')},
	q{digipay_settle('q-home', 'failed', 'x')}, q{digipay_webhook('\x00', 'sha1=')}, 'digipay_take_over()', 'digipay_worker_start()')
{
	$begun = time;
	my $error = DigipayTest::error_of($standby, "SELECT * FROM $call");
	is($error->{sqlstate}, '25006', "standby: $call is refused");
	like("$error->{message} $error->{hint}", qr/during recovery.*primary/, 'standby: ... and why');
	push @took, time - $begun;
	# one that waits for a worker would do so for nine seconds
	cmp_ok($took[-1], '<', 8, 'standby: ... at once');
}
cmp_ok((sort { $a <=> $b } @took)[ @took / 2 ], '<', 1, 'standby: most of them at once, really');
is(value($standby, q{SELECT count(*) > 0 FROM digipay_unsettled}), 't', 'standby: it can be read');
is(value($standby, q{SELECT count(*) FROM digipay_stats()}), '0', 'standby: no worker, no counters');
$standby->promote;
keep_own('standby', $standby);
check_fenced('standby', $standby, 'promoted');
value($standby, 'SELECT digipay_take_over()');
check_taken('standby', $standby);
check_books('standby');
$standby->stop('immediate');

my $auto = make_standby('auto', 'digipay.take_over_on_promotion = on');
$auto->promote;
keep_own('auto', $auto);
value($auto, q{ALTER SERVER digipay OPTIONS (SET paused 'false'); ALTER SERVER later OPTIONS (SET paused 'false')});
DigipayTest::wait_until(sub { log_of($auto) =~ /taken over the queue after a promotion/ }, 60);
pass('auto: it takes over by itself');
check_taken('auto', $auto);
check_books('auto');
$auto->stop('immediate');

# ---------------------------------------------------------------------------
# A dump, in another database of the cluster and in another cluster; a database
# made of another one.

value($home, q{CREATE DATABASE regress_dump TEMPLATE template0});
$home->command_ok([ 'pg_restore', '--exit-on-error', '-d', $home->connstr('regress_dump'), "$dir/dump" ], 'dump: restored');
is(value($home, 'SELECT count(*) FROM digipay_fence', 'regress_dump'), '0', 'dump: no mark');
keep_own('dump', $home, 'regress_dump');
check_fenced('dump', $home, 'restored', db => 'regress_dump');
# older than the queue's time to live, but paid by the other one: not cancelled
value($home, q{UPDATE digipay_payment SET requested_at = now() - interval '2 hours' WHERE ref_id = 'q-home'}, 'regress_dump');
value($home, 'SELECT digipay_take_over()', 'regress_dump');
check_taken('dump', $home, db => 'regress_dump');
value($home, q{SELECT digipay_worker_stop(); UPDATE digipay_fence SET since = since - interval '25 hours'}, 'regress_dump');
$home->psql('regress_dump', q{SELECT digipay_retry('q-home')});
is($provider->booked('q-home'), 1, 'dump: a day later, trying again what the other one has paid does not pay it twice');
check_books('dump');

value($home, q{SELECT digipay_worker_stop()}, 'regress_dump');
value($home, q{CREATE DATABASE regress_made TEMPLATE regress_dump});
like(fence_line($home, 'regress_made'), qr/^false: .*another database/, 'a database made of another one has its fence up');
DigipayTest::fails_with($home, "SELECT digipay_pay($BILL, 'new-made')", 'PY004', 'and pays nothing', db => 'regress_made');
value($home, q{DROP DATABASE regress_made});

my $other = DigipayTest::new_node('other', init => [ allows_streaming => 'logical' ], max_worker_processes => 20);
value($other, q{CREATE DATABASE regress_other TEMPLATE template0});
$other->command_ok([ 'pg_restore', '--no-owner', '--exit-on-error', '-d', $other->connstr('regress_other'), "$dir/dump" ], 'other: restored');
keep_own('lost', $other, 'regress_other');
check_fenced('lost', $other, 'restored', db => 'regress_other');

# A planned switch: nothing is asked, everything goes at once.
value($other, q{UPDATE digipay_payment SET state = 'succeeded', next_check_at = NULL WHERE ref_id LIKE '%-home'}, 'regress_other');
value($other, 'SELECT digipay_take_over(lost_nothing => true)', 'regress_other');
is(value($other, "SELECT state FROM digipay_pay($BILL, 'new-lost')", 'regress_other'), 'succeeded', 'lost nothing: something new is sent at once');
is(value($other, "SELECT state FROM digipay_pay($BILL, 'n-lost')", 'regress_other'), 'succeeded', 'lost nothing: not_sent, too');
is(value($other, q{SELECT state FROM digipay_wait('q-lost', '60 s', 'later')}, 'regress_other'), 'succeeded', 'lost nothing: and the queue');
is(asked($_) . $provider->booked($_), '01', "lost nothing: $_ was not asked about, and is booked once") for qw(new-lost n-lost q-lost);

# ---------------------------------------------------------------------------
# A logical subscriber: with nothing of its own, and with payments of its own.

value($home, q{CREATE PUBLICATION journal FOR TABLE digipay_payment; CREATE PUBLICATION everything FOR ALL TABLES});
value($home, q{ALTER SERVER later OPTIONS (SET paused 'true')});
value($home, qq{SELECT digipay_submit($BILL, 'sub-q', server => 'later')});
value($home, q{INSERT INTO digipay_payment (ref_id, state, code, customer_no, testing, server, account, requested_by, origin, requested_at, sent_at, next_check_at)
	SELECT v.r, v.s::digipay_state, 'pln', '530000000001', false, 'digipay', p.account, 'x', gen_random_uuid(), now(), now() - interval '1 hour', now()
	FROM digipay_payment p, (VALUES ('sub-s', 'sending'), ('sub-p', 'pending'), ('sub-u', 'unknown')) v (r, s) WHERE p.ref_id = 'done'});
for my $publication (qw(journal everything))
{
	my $db = "regress_$publication";
	value($other, "CREATE DATABASE $db TEMPLATE template0");
	DigipayTest::create_account($other, $provider, db => $db, status_interval => 400);
	DigipayTest::create_account($other, $provider, db => $db, status_interval => 400, server => 'later');
	if ($publication eq 'journal')
	{
		# it has a queue of its own
		is(value($other, "SELECT state FROM digipay_pay($BILL, 'own-1')", $db), 'succeeded', 'subscriber: a payment of its own');
	}
	value($other, "CREATE SUBSCRIPTION $db CONNECTION " . DigipayTest::literal($home->connstr('postgres')) . " PUBLICATION $publication", $db);
	$other->wait_for_subscription_sync($home, $db, $db);
	is(state_of($other, 'sub-q', $db), 'queued', "$publication: the rows have come");
}

my $requests = $provider->books->{requests};
value($home, qq{SELECT digipay_submit($BILL, 'sub-q2', server => 'later')});
$home->wait_for_catchup($_) for qw(regress_journal regress_everything);
value($other, 'SELECT digipay_worker_stop(); SELECT digipay_worker_start()', 'regress_journal');
is(value($other, "SELECT state FROM digipay_pay($BILL, 'own-2')", 'regress_journal'), 'succeeded', 'journal: its own payments go on');
is(value($other, "SELECT state FROM digipay_submit($BILL, 'own-3')", 'regress_journal'), 'queued', '... through its queue');
is(value($other, q{SELECT state FROM digipay_wait('own-3', '60 s')}, 'regress_journal'), 'succeeded', '... too');
sleep 1.5;
is($provider->books->{requests} - $requests, 2, 'journal: nothing else was sent, nor asked');
is(value($other, q{SELECT string_agg(state::text, ' ' ORDER BY ref_id) FROM digipay_payment WHERE ref_id LIKE 'sub-%'}, 'regress_journal'),
	'pending queued queued sending unknown', 'journal: and what came from there is as it came');
for my $call ("digipay_pay($BILL, 'sub-q', server => 'later')", "digipay_retry('n-auto')", "digipay_pay($BILL, 'n-auto')")
{
	DigipayTest::fails_with($other, "SELECT $call", 'PY004', "journal: $call is refused", db => 'regress_journal');
}
DigipayTest::fails_with($other, q{BEGIN; SELECT digipay_cancel('sub-q', 'later')}, 'PY004', 'journal: what the publisher will pay is not called cancelled',
	db => 'regress_journal');
like(fence_line($other, 'regress_journal'), qr/^true/, 'journal: its fence is open all the while');

value($other, q{SELECT digipay_worker_start()}, 'regress_everything');
like(fence_line($other, 'regress_everything'), qr/^false/, 'everything: the fence is up');
DigipayTest::fails_with($other, "SELECT $_", 'PY004', "everything: $_ is refused", db => 'regress_everything')
  for "digipay_pay($BILL, 'sub-new')", "digipay_submit($BILL, 'sub-new')", "digipay_pay($BILL, 'sub-q', server => 'later')";
is(sent($_), 0, "$_ was not sent by a subscriber") for qw(sub-q sub-q2 sub-new sub-s);
value($other, "ALTER SUBSCRIPTION $_ DISABLE; ALTER SUBSCRIPTION $_ SET (slot_name = NONE); DROP SUBSCRIPTION $_", $_) for qw(regress_journal regress_everything);

# ---------------------------------------------------------------------------

check_books('in the end');
for my $ref_id (@PAID)
{
	is($provider->booked($ref_id), 1, "$ref_id, in every copy: booked once");
}
unlike(log_of($_), qr/PANIC|TRAP|was terminated by signal (?!9)/, $_->name . ': nothing has crashed') for $home, $cold, $pitr, $standby, $auto, $other;

done_testing();
