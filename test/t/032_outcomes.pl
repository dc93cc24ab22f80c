# What is pending or unknown is asked about until its outcome is known, at a
# pace that the provider can bear; and what a person or digipay_retry may do.

use strict;
use warnings;

use DigipayTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

# the first question after so many milliseconds
my $INTERVAL = 1000;

my $node = DigipayTest::new_node('outcomes', max_connections => 80, restart_after_crash => 'on');
my $provider = DigipayTest::start_provider(pending => 2500);
my $echo = DigipayTest::start_provider(username => 'echo', status_echoes_inquiry => 1);
DigipayTest::create_account($node, $provider, status_interval => $INTERVAL);
# (a question that hangs does so for long enough to look at it)
DigipayTest::create_account($node, $provider, server => 'faults', port => $provider->raw_port,
	username => 'demo', status_interval => $INTERVAL, timeout => 12_000);
my $calm = DigipayTest::start_provider(username => 'calm', pending => 3_600_000);
DigipayTest::create_account($node, $calm, server => 'slow', username => 'calm');
DigipayTest::create_account($node, $echo, server => 'echo', username => 'echo', status_interval => $INTERVAL);

# When each question was intended, and when the next one is due: by the worker's own
# clock, which no stall of it, of the double or of this test can falsify.
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE regress_asked (id bigserial, ref_id text, begun timestamptz, ended timestamptz, next timestamptz);
CREATE FUNCTION regress_note_asked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.regress_asked (ref_id, begun, ended, next) VALUES (NEW.ref_id, now(), clock_timestamp(), NEW.next_check_at);
	RETURN NULL;
END $$;
CREATE TRIGGER regress_note_asked AFTER UPDATE ON digipay_payment FOR EACH ROW
	WHEN (NEW.status_checks = OLD.status_checks + 1) EXECUTE FUNCTION regress_note_asked();
SQL

my %CUSTOMER = (good => '530000000001', fails => '530000000006', pending => '630000000001', pending_fails => '630000000006');
my $bill = "'pln', '$CUSTOMER{good}'";

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub pay
{
	my ($ref_id, $customer, %more) = @_;
	return sql("SELECT state FROM digipay_pay('pln', '" . ($CUSTOMER{ $customer // 'good' }) . "', '$ref_id'"
		  . ($more{server} ? ", server => '$more{server}'" : '') . ')');
}

sub state { my $row = DigipayTest::payment($node, $_[0]); return $row ? $row->{state} : 'none' }
sub questions { my ($ref_id, $at) = @_; return ($at // $provider)->books($ref_id)->{status_requests} // 0 }
sub payments { my ($ref_id) = @_; return $provider->books($ref_id)->{pay_requests} // 0 }
sub events { my ($ref_id, $kind) = @_; return sql("SELECT count(*) FROM digipay_event WHERE ref_id = '$ref_id' AND kind = '$kind'") }

# What the double answers to one command about a ref_id.
sub script
{
	my ($ref_id, $command, $rc, $status, %more) = @_;
	my $on = delete $more{on} // $provider;
	my %data = (ref_id => $ref_id, customer_no => $CUSTOMER{good}, code => 'pln', rc => $rc,
		status => $status, message => "says $rc", %{ delete $more{data} // {} });
	return $on->control(script => { ref_id => $ref_id, command => "$command-pasca", http_status => 200,
		book => JSON::PP::false(), body => JSON::PP->new->canonical->encode({ data => \%data }), %more });
}

# A row as a payment leaves it whose answer was lost so many seconds ago, with
# what else is given; $next is when it is asked about, in seconds from now.
sub plant
{
	my ($ref_id, $state, %columns) = @_;
	my $age = delete $columns{age} // 10;
	my $next = delete $columns{next} // 3600;
	my %row = (
		ref_id => "'$ref_id'", state => "'$state'", code => "'pln'", customer_no => "'$CUSTOMER{good}'",
		testing => 'false', requested_at => "now() - interval '$age s'", sent_at => "now() - interval '$age s'",
		next_check_at => $next eq 'NULL' || $next eq 'infinity' ? ($next eq 'NULL' ? 'NULL' : "'infinity'") : "now() + interval '$next s'",
		server => q{'digipay'}, account => q{'demo@127.0.0.1'}, requested_by => q{'postgres'},
		origin => '(SELECT origin FROM digipay_fence)', %columns);
	my @names = sort keys %row;
	sql('INSERT INTO digipay_payment (' . join(', ', @names) . ') VALUES (' . join(', ', @row{@names}) . ')');
	return;
}

# digipay_status with refresh, as if the payment and the last question were a
# minute ago.
sub refresh
{
	my ($ref_id, $server) = @_;
	sql("UPDATE digipay_event SET at = at - interval '70 s' WHERE ref_id = '$ref_id' AND kind = 'asked'");
	sql("UPDATE digipay_payment SET sent_at = sent_at - interval '70 s', replied_at = replied_at - interval '70 s',"
		  . " requested_at = requested_at - interval '70 s' WHERE ref_id = '$ref_id'");
	return sql("SELECT state FROM digipay_status('$ref_id', '" . ($server // 'digipay') . "', refresh => true)");
}

sub reaches
{
	my ($ref_id, $state, $name, $seconds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $row = eval { DigipayTest::wait_for_state($node, $ref_id, $state, seconds => $seconds // 60) };
	is($row ? $row->{state} : state($ref_id), $state, $name) or diag(explain(DigipayTest::payment($node, $ref_id)));
	return $row // DigipayTest::payment($node, $ref_id);
}

# ------------------------------------------------------------ begun beforehand

# Pending, then success and failure.
is(pay('pend-good', 'pending'), 'pending', 'a pending payment');
is(pay('pend-bad', 'pending_fails'), 'pending', 'another one');
# These never get an answer.
script('doubling', 'pay', '03', 'Pending');
script('doubling', 'status', '03', 'Pending');
is(pay('doubling'), 'pending', 'one that stays so');
is(pay('slow', 'pending', server => 'slow'), 'pending', 'one with the default interval');
# Sent, and no answer.
is(pay('reset-1', 'good', server => 'faults'), 'unknown', 'an answer that was lost');
is(pay('reset-nobook-1', 'good', server => 'faults'), 'unknown', 'a request that was lost');

my $row = DigipayTest::row($node, q{SELECT status_checks, next_check_at > sent_at AS later,
	extract(epoch FROM next_check_at - replied_at) AS pause FROM digipay_payment WHERE ref_id = 'slow'});
is($row->{status_checks}, 0, 'not asked yet');
cmp_ok($row->{pause}, '>=', 60, 'the first question is after status_interval');
cmp_ok($row->{pause}, '<', 70, 'and not much later');

# ------------------------------------------------------------ digipay_status

for my $n (1 .. 3)
{
	is(sql(q{SELECT state FROM digipay_status('slow', 'slow')}), 'pending', "digipay_status within the pace ($n)");
}
is(questions('slow', $calm), 0, 'returns the row, and asks nobody');
is(sql(q{SELECT state FROM digipay_status('slow', 'slow', refresh => true)}), 'pending', 'with refresh');
is(questions('slow', $calm), 0, 'as well');
sql(q{UPDATE digipay_payment SET sent_at = sent_at - interval '61 s', replied_at = replied_at - interval '61 s' WHERE ref_id = 'slow'});
my $begun = time;
$calm->hold;
my @asking = map { DigipayTest::async($node, q{SELECT state FROM digipay_status('slow', 'slow')}) } 1 .. 8;
DigipayTest::wait_for_waiters($node, 8, q{%digipay_status('slow', 'slow')%});
$calm->release;
$_->finish for @asking;
is(join(' ', map { $_->out . $_->err } @asking), join(' ', ('pending') x 8), 'eight sessions ask');
is(questions('slow', $calm), 1, 'with one question');
is(sql(q{SELECT state FROM digipay_status('slow', 'slow')}), 'pending', 'a ninth one');
is(questions('slow', $calm), 1, 'is within the pace again');
is(sql(q{SELECT status_checks FROM digipay_payment WHERE ref_id = 'slow'}), 1, 'and the row counts one');
$row = DigipayTest::row($node, q{SELECT extract(epoch FROM next_check_at) AS next FROM digipay_payment WHERE ref_id = 'slow'});
cmp_ok($row->{next} - $begun, '>=', 120, 'the second question is after twice the interval');
cmp_ok($row->{next} - $calm->books('slow')->{arrived_at}[-1], '<', 151, 'and a quarter at most');
DigipayTest::fails_with($node, q{SELECT digipay_status('nobody')}, '42704', 'digipay_status of none');
DigipayTest::fails_with($node, q{SELECT digipay_status(NULL)}, '22023', 'digipay_status of NULL');

is(pay('final-1'), 'succeeded', 'a payment that is final');
is(sql(q{SELECT state FROM digipay_status('final-1')}), 'succeeded', 'digipay_status of it');
is(questions('final-1'), 0, 'asks nobody');
# where the interval is not over before all have asked
is(pay('final-2', 'good', server => 'slow'), 'succeeded', 'another one');
is(refresh('final-2', 'slow'), 'succeeded', 'only with refresh');
sql(q{SELECT state FROM digipay_status('final-2', 'slow', refresh => true)}) for 1 .. 3;
my $refreshed = questions('final-2', $calm);
is(events('final-2', 'asked'), $refreshed, 'each question about what is final is an event');
is($refreshed, 1, 'and no more than one in the interval');
refresh('final-2', 'slow');
is(questions('final-2', $calm), $refreshed + 1, 'after it another one');
is(sql(q{SELECT state || ' ' || (next_check_at IS NULL) FROM digipay_payment WHERE ref_id = 'final-2'}), 'succeeded true', 'it stays final');

# ------------------------------------- committed before the question leaves

my $hung_at = time;
is(pay('status-hang-1', 'pending', server => 'faults'), 'pending', 'one whose questions get no answer');
DigipayTest::wait_until { questions('status-hang-1') };
# (due was the first one a second after the payment, and the second one is two seconds after that)
$row = DigipayTest::row($node, q{SELECT status_checks, next_check_at > replied_at + interval '2.9 s' AS later, state
	FROM digipay_payment WHERE ref_id = 'status-hang-1'});
is_deeply([ @$row{qw(status_checks later state)} ], [ 1, 'true', 'pending' ], 'while a question hangs, the row has it already')
  or diag(explain($row));
my $waiter = DigipayTest::async($node, q{SELECT state FROM digipay_status('status-hang-1', 'faults')});
DigipayTest::wait_for_waiters($node, 1, q{%digipay_status('status-hang-1'%});
is(sql(q{SELECT status_checks FROM digipay_payment WHERE ref_id = 'status-hang-1'}) . questions('status-hang-1'), '11',
	'digipay_status beside it has no question of its own');

# ------------------------------------------------------------- what came of it

reaches('pend-good', 'succeeded', 'pending, then success');
reaches('pend-bad', 'failed', 'pending, then failure');
$row = reaches('reset-1', 'succeeded', 'unknown, but the provider has it');
ok(defined $row->{sn} && $row->{price} && $row->{reply} && $row->{final_at} && !defined $row->{next_check_at} && !defined $row->{error},
	'and the row is filled') or diag(explain($row));
is(payments('reset-1'), 1, 'paid once');
is($provider->booked('reset-1'), 1, 'booked once');

# ---------------------------------------------- bad answers change nothing

my %bad = (
	'bad-41' => [ rc => '41', status => 'Gagal' ],
	'bad-40' => [ rc => '40', status => 'Gagal' ],
	'bad-44' => [ rc => '44', status => 'Gagal' ],
	'bad-49' => [ rc => '49', status => 'Gagal' ],
	'bad-50' => [ rc => '50', status => 'Gagal' ],
	'bad-02x' => [ rc => '02', status => 'Gagal', data => { message => 'Data belum ada' } ],
	'bad-html' => [ body => '<html>502</html>', content_type => 'text/html' ],
	'bad-500' => [ http_status => 500, body => '{"data":{"rc":"02","status":"Gagal","ref_id":"bad-500"}}' ],
	'bad-500b' => [ http_status => 503, rc => '00', status => 'Sukses' ],
	'bad-empty' => [ body => '' ],
	'bad-id' => [ rc => '02', status => 'Gagal', data => { ref_id => 'another' } ],
	'bad-customer' => [ rc => '00', status => 'Sukses', data => { customer_no => '530000000002' } ],
	'bad-contra' => [ rc => '00', status => 'Gagal' ],
	'bad-twice' => [ body => '{"data":{"ref_id":"bad-twice","customer_no":"530000000001","code":"pln","rc":"00","status":"Sukses","rc":"00"}}' ]);
for my $ref_id (sort keys %bad)
{
	my %answer = @{ $bad{$ref_id} };
	script($ref_id, 'status', delete $answer{rc} // '00', delete $answer{status} // 'Sukses', %answer);
	# the question after this one is in eight minutes
	plant($ref_id, 'unknown', next => -1, status_checks => 8);
}
eval { DigipayTest::wait_until { sql(q{SELECT count(DISTINCT ref_id) FROM digipay_event WHERE ref_id LIKE 'bad-%'}) == keys %bad } 60 };
for my $ref_id (sort keys %bad)
{
	my $row = DigipayTest::payment($node, $ref_id);
	is_deeply([ @$row{qw(state rc sn final_at)} ], [ 'unknown', undef, undef, undef ], "$ref_id: an answer that changes nothing")
	  or diag(explain($row));
	is(sql("SELECT count(*) FROM digipay_event WHERE ref_id = '$ref_id'"), 1, "$ref_id: is an event");
	is(questions($ref_id), 1, "$ref_id: to one question");
}
is(events('bad-50', 'not_found') >= 1 && events('bad-02x', 'not_found') >= 1, 1, 'not found is one of its own');
is(sql(q{SELECT count(*) FROM digipay_event WHERE ref_id = 'bad-html' AND body = '<html>502</html>'}) >= 1, 1, 'the bytes are kept');

# ------------------------------------------------------------------- review

# rc 49 to a payment
script('review-49', 'pay', '49', 'Gagal');
is(pay('review-49'), 'review', 'rc 49: for a person');
is(sql(q{SELECT next_check_at FROM digipay_payment WHERE ref_id = 'review-49'}), 'infinity', 'parked');
is(sql(q{SELECT state FROM digipay_pay('pln', '530000000001', 'review-49')}), 'review', 'digipay_pay returns it');
is(sql(q{SET client_min_messages = error; SELECT state FROM digipay_submit('pln', '530000000001', 'review-49')}), 'review', 'so does digipay_submit');
DigipayTest::fails_with($node, q{SELECT digipay_retry('review-49')}, '55000', 'digipay_retry refuses');
is(payments('review-49'), 1, 'and nothing is sent');
like(sql(q{SELECT next || '|' || why FROM digipay_unsettled WHERE ref_id = 'review-49'}), qr/digipay_settle\|./, 'digipay_unsettled knows what to do');

# not found: twice, fifteen intervals apart; they are of a minute each
plant($_, 'unknown', age => 3600, next => -1, server => q{'slow'}, account => q{'calm@127.0.0.1'}) for qw(lost-1 lost-2);
DigipayTest::wait_until { events('lost-1', 'not_found') && events('lost-2', 'not_found') } 60;
is(state('lost-1'), 'unknown', 'not found once: unknown');
sql(q{UPDATE digipay_event SET at = at - CASE ref_id WHEN 'lost-1' THEN interval '16 min' ELSE interval '13 min' END WHERE ref_id LIKE 'lost-%'});
sql(q{UPDATE digipay_payment SET next_check_at = now() - interval '1 s' WHERE ref_id LIKE 'lost-%'});
reaches('lost-1', 'review', 'twice, fifteen intervals apart: for a person');
eval { DigipayTest::wait_until { events('lost-2', 'not_found') >= 2 } 60 };
is(events('lost-2', 'not_found'), 2, 'the other one is not found again, either');
is(state('lost-2'), 'unknown', 'twice within fifteen intervals: unknown');

# 90 days
plant('old-1', 'pending', age => 90 * 86400 + 3600, next => -1, status_checks => 2000);
plant('old-2', 'unknown', age => 90 * 86400 - 3600, next => -1, status_checks => 2000);
$row = reaches('old-1', 'review', '90 days over: for a person');
like($row->{error}, qr/90 days/, 'says why');
DigipayTest::wait_until { questions('old-2') } 60;
is_deeply([ state('old-2'), questions('old-1') ], [ 'unknown', 0 ], 'a day earlier it is still asked about');

# the same doubtful answer for a day
for my $ref_id ('doubt-1', 'doubt-2')
{
	script($ref_id, 'status', '70', 'Gagal');
	plant($ref_id, 'unknown', age => 200_000, next => 3600, status_checks => 5);
	sql(qq{INSERT INTO digipay_event (server, ref_id, kind, note, at) SELECT 'digipay', '$ref_id', 'doubtful',
		'the provider does not know the outcome', now() - i * interval '13 h' FROM generate_series(1, 2) i});
}
sql(q{UPDATE digipay_event SET at = at + interval '3 h' WHERE ref_id = 'doubt-2'});
sql(q{UPDATE digipay_payment SET next_check_at = now() - interval '1 s' WHERE ref_id LIKE 'doubt-%'});
reaches('doubt-1', 'review', 'the same doubtful answer, three times over a day: for a person');
DigipayTest::wait_until { events('doubt-2', 'doubtful') >= 3 } 60;
is(state('doubt-2'), 'unknown', 'within a day: unknown');

# a review that no contradiction led to follows a trustworthy answer
script('lost-1', 'status', '02', 'Gagal', on => $calm);
is(refresh('lost-1', 'slow'), 'failed', 'a review follows a trustworthy status');
is(sql(q{SELECT next_check_at IS NULL AND final_at IS NOT NULL FROM digipay_payment WHERE ref_id = 'lost-1'}), 't', 'and is final');

# a final state contradicted
is(pay('contra-1'), 'succeeded', 'a success');
script('contra-1', 'status', '02', 'Gagal');
is(refresh('contra-1'), 'review', 'contradicted: for a person');
$row = DigipayTest::payment($node, 'contra-1');
like($row->{error}, qr/succeeded.*02/, 'says by what');
is($row->{rc}, '00', 'what was said first is kept');
is(events('contra-1', 'contradiction'), 1, 'an event');
script('contra-1', 'status', '00', 'Sukses');
is(refresh('contra-1'), 'review', 'the provider cannot talk itself out of it');
is(pay('contra-2', 'fails'), 'failed', 'a failure');
script('contra-2', 'status', '00', 'Sukses', data => { customer_no => $CUSTOMER{fails} });
is(refresh('contra-2'), 'review', 'contradicted the other way');

# refunded, and late Pending
is(pay('refund-1'), 'succeeded', 'a success');
script('refund-1', 'status', '74', 'Gagal');
is(refresh('refund-1'), 'refunded', 'and its refund');
script('refund-1', 'status', '00', 'Sukses');
is(refresh('refund-1'), 'refunded', 'is the last word');
is(pay('late-1'), 'succeeded', 'a success');
script('late-1', 'status', '03', 'Pending');
is(refresh('late-1'), 'succeeded', 'a late Pending does not undo it');
is(events('late-1', 'ignored'), 1, 'but is an event');

# a status that echoes the inquiry
is(sql(q{SELECT rc FROM digipay_inquire('pln', '530000000001', 'echo-1', server => 'echo')}), '00', 'an inquiry');
plant('echo-1', 'unknown', next => -1, server => q{'echo'}, account => q{'echo@127.0.0.1'});
$row = reaches('echo-1', 'review', 'a success that may be the echo of the inquiry: for a person');
like($row->{error}, qr/echo/, 'says why');
is($echo->booked('echo-1'), 0, 'and nothing was booked');
$echo->control(balance => 1_000_000);
is(sql(q{SELECT rc FROM digipay_inquire('pln', '530000000001', 'reset-echo', server => 'echo')}), '00', 'an inquiry, with a balance that moves');
is(pay('reset-echo', 'good', server => 'echo'), 'succeeded', 'and its payment');
sql(q{UPDATE digipay_payment SET state = 'unknown', final_at = NULL, next_check_at = now(), sent_at = sent_at - interval '5 s' WHERE ref_id = 'reset-echo'});
reaches('reset-echo', 'succeeded', 'a success that has taken something is one');

# ------------------------------------------------------------- digipay_settle

DigipayTest::fails_with($node, q{SELECT digipay_settle('final-1', 'failed', 'because')}, '55000', 'digipay_settle of what is final');
DigipayTest::fails_with($node, q{SELECT digipay_settle('doubling', 'failed', 'because')}, '55000', 'of what is open');
DigipayTest::fails_with($node, q{SELECT digipay_settle('nobody', 'failed', 'because')}, '42704', 'of none');
for my $outcome ("'queued'", "'sending'", "'not_sent'", "'pending'", "'unknown'", "'cancelled'", "'review'", 'NULL')
{
	DigipayTest::fails_with($node, "SELECT digipay_settle('review-49', $outcome, 'because')", '22023', "as $outcome");
}
for my $note ('NULL', q{''}, q{'  '})
{
	DigipayTest::fails_with($node, "SELECT digipay_settle('review-49', 'failed', $note)", '22023', "with the note $note");
}
sql(q{CREATE ROLE judge LOGIN; GRANT EXECUTE ON FUNCTION digipay_settle, digipay_retry, digipay_status TO judge});
DigipayTest::fails_with($node, q{SELECT digipay_settle('review-49', 'failed', 'because')}, '42501', 'without USAGE', role => 'judge');
DigipayTest::fails_with($node, "SELECT digipay_$_", '42501', "digipay_$_ without USAGE", role => 'judge')
  for q{retry('late-1')}, q{status('late-1')};
sql(q{GRANT USAGE ON FOREIGN SERVER digipay TO judge});
sql(q{BEGIN; SELECT digipay_settle('review-49', 'failed', 'on second thoughts'); ROLLBACK});
is_deeply([ state('review-49'), events('review-49', 'settled') ], [ 'review', 0 ], 'rolled back: nothing');
is(sql(q{SET ROLE judge; SELECT state FROM digipay_settle('review-49', 'rejected', 'they say: never seen; call no. 7')}), 'rejected', 'a verdict');
$row = DigipayTest::payment($node, 'review-49');
ok($row->{final_at} && !defined $row->{next_check_at}, 'is final');
like(sql(q{SELECT note FROM digipay_event WHERE ref_id = 'review-49' AND kind = 'settled'}), qr/judge.*rejected.*never seen; call no\. 7/, 'an event says who, what and why');
is(sql(q{SELECT state FROM digipay_settle('contra-1', 'succeeded', 'they were wrong')}), 'succeeded', 'a contradiction is settled');

# -------------------------------------------------------------- digipay_retry

script('review-49', 'pay', '00', 'Sukses', book => JSON::PP::true());
is(sql(q{SELECT state FROM digipay_retry('review-49')}), 'succeeded', 'digipay_retry of what a person has called rejected');
is_deeply([ payments('review-49'), $provider->booked('review-49'), events('review-49', 'retried') ], [ 2, 1, 1 ], 'booked once');
script('retry-1', 'pay', '68', 'Gagal');
is(pay('retry-1'), 'rejected', 'rejected');
is(pay('retry-1'), 'rejected', 'digipay_pay does not send it again');
is(sql(q{SELECT state FROM digipay_retry('retry-1')}), 'rejected', 'digipay_retry does, and it is rejected again');
is(payments('retry-1'), 2, 'two requests');
$provider->control(script => undef);
is(sql(q{SELECT state FROM digipay_retry('retry-1')}), 'succeeded', 'and once more');
is_deeply([ payments('retry-1'), $provider->booked('retry-1') ], [ 3, 1 ], 'booked once');
for my $refused ([ 'retry-1', 'succeeded' ], [ 'pend-bad', 'failed' ], [ 'refund-1', 'refunded' ], [ 'doubling', 'pending' ],
	[ 'lost-2', 'unknown', 'slow' ], [ 'old-1', 'review' ])
{
	my ($ref_id, $state, $server) = @$refused;
	DigipayTest::fails_with($node, "SELECT digipay_retry('$ref_id'" . ($server ? ", '$server'" : '') . ')', '55000', "digipay_retry of $state");
}
is(state('doubling'), 'pending', 'the pending one is as it was');
sql(q{ALTER SERVER slow OPTIONS (ADD paused 'true')});
sql(q{SET client_min_messages = error; SELECT digipay_submit('pln', '530000000001', 'retry-2', server => 'slow')});
DigipayTest::fails_with($node, q{SELECT digipay_retry('retry-2', 'slow')}, '55000', 'digipay_retry of queued');
DigipayTest::fails_with($node, q{SELECT digipay_retry('nobody')}, '42704', 'of none');
is(sql(q{SELECT state FROM digipay_cancel('retry-2', 'slow')}), 'cancelled', 'taken back');
DigipayTest::fails_with($node, q{SELECT digipay_retry('retry-2', 'slow')}, 'PY004', 'digipay_retry at a paused server');
is(state('retry-2'), 'cancelled', 'leaves it as it was');
sql(q{ALTER SERVER slow OPTIONS (SET paused 'false')});
my @retries = map { DigipayTest::async($node, q{SELECT state FROM digipay_retry('retry-2', 'slow')}) } 1 .. 6;
$_->finish for @retries;
is($calm->booked('retry-2'), 1, 'six sessions retry what was cancelled: paid once');
is($calm->books('retry-2')->{pay_requests}, 1, 'by one request');
ok((grep { $_->out eq 'succeeded' } @retries) >= 1, 'and are told');
ok(!(grep { $_->out ne 'succeeded' && ($_->error // {})->{sqlstate} !~ /^(55000|55P03)$/ } @retries), 'or that it is not theirs to retry')
  or diag(map { $_->err } @retries);

# ------------------------------------------------------------ another account

script('moved-1', 'status', '00', 'Sukses');
plant('moved-1', 'unknown', account => q{'former@127.0.0.1'}, next => -10);
sleep 1.5;
is_deeply([ state('moved-1'), questions('moved-1') ], [ 'unknown', 0 ], 'what was sent under another account is not asked about under this one');
DigipayTest::fails_with($node, q{SELECT digipay_status('moved-1')}, '42704', 'nor by digipay_status');

# --------------------------------------- two servers of one account, two paces

DigipayTest::create_account($node, $provider, server => 'sibling', status_interval => 600_000);
script($_, 'status', '03', 'Pending') for map { ("pace-$_", "sibling-$_") } 1 .. 4;
plant("pace-$_", 'unknown', next => -1, age => 900) for 1 .. 4;
plant("sibling-$_", 'unknown', next => -1, age => 900, server => q{'sibling'}) for 1 .. 4;
DigipayTest::wait_until { !grep { !questions($_) } map { ("pace-$_", "sibling-$_") } 1 .. 4 } 60;
is(sql(q{SELECT count(*) FROM digipay_payment WHERE ref_id LIKE 'pace-%' AND next_check_at > now() + interval '300 s'}), 0,
	'two servers of one account: a payment is asked about at the pace of its own');
is(sql(q{SELECT count(*) FROM digipay_payment WHERE ref_id LIKE 'sibling-%' AND next_check_at < now() + interval '1100 s'}), 0,
	'and so is the one of the other');
sql(q{UPDATE digipay_payment SET next_check_at = now() + interval '1 h' WHERE ref_id ~ '^(pace|sibling)-'});

# jitter: what has gone wrong together is not asked about together
script("jitter-$_", 'status', '03', 'Pending', on => $calm) for 1 .. 12;
plant("jitter-$_", 'unknown', server => q{'slow'}, account => q{'calm@127.0.0.1'}, age => 100) for 1 .. 12;
sql(q{UPDATE digipay_payment SET next_check_at = now() WHERE ref_id LIKE 'jitter-%'});
DigipayTest::wait_until { sql(q{SELECT count(*) FROM digipay_payment WHERE ref_id LIKE 'jitter-%' AND status_checks > 0}) eq '12' } 60;
my $spread = DigipayTest::row($node, q{SELECT extract(epoch FROM max(next - ended) - min(next - ended)) AS spread,
	extract(epoch FROM min(next - begun)) AS least, extract(epoch FROM max(next - ended)) AS most FROM regress_asked WHERE ref_id LIKE 'jitter-%'});
cmp_ok($spread->{spread}, '>', 3, 'next times are spread') or diag(explain($spread));
cmp_ok($spread->{least}, '>=', 120, 'none is too early');
cmp_ok($spread->{most}, '<', 150.1, 'none too late');

# --------------------------------------------------------- paused: questions go on

script('paused-1', 'status', '02', 'Gagal');
sql(q{ALTER SERVER digipay OPTIONS (ADD paused 'true')});
plant('paused-1', 'unknown', next => -1);
reaches('paused-1', 'failed', 'a paused server answers questions');
sql(q{ALTER SERVER digipay OPTIONS (DROP paused)});

# ------------------------------------------------- the worker dies while asking

is($waiter->out, 'pending', 'digipay_status beside a question that hangs comes back');
cmp_ok((questions('status-hang-1') - 1) * 12, '<=', time - $hung_at, 'the next ones are the worker\'s, one after the other');
is(pay('status-hang-2', 'pending', server => 'faults'), 'pending', 'another one whose questions get no answer');
DigipayTest::wait_until { questions('status-hang-2') } 60;
my $pid = DigipayTest::worker_pid($node);
sub starts { return scalar(() = PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /database system is ready to accept connections/g) }
my $starts = starts();
kill 'KILL', $pid;
# (the postmaster may be slow to notice)
DigipayTest::wait_until { starts() > $starts && eval { sql('SELECT 1'); 1 } } 60;
my $asked = questions('status-hang-2');
is(sql(q{SELECT state || ' ' || (status_checks >= 1) || ' ' || (next_check_at > sent_at) FROM digipay_payment WHERE ref_id = 'status-hang-2'}),
	'pending true true', 'the worker is killed while it asks: the row counts the question');
sql('SELECT digipay_worker_start()');
sleep 0.5;
cmp_ok(questions('status-hang-2'), '<=', $asked + 1, 'and the question is not asked in a loop');
is(payments('status-hang-2'), 1, 'nor paid again');

# ---------------------------------------------------------- doubling, and jitter

DigipayTest::wait_until { sql(q{SELECT count(*) FROM regress_asked WHERE ref_id = 'doubling'}) >= 3 } 60;
my @pauses = DigipayTest::rows($node, q{SELECT extract(epoch FROM begun) AS begun, extract(epoch FROM ended) AS ended,
	extract(epoch FROM next) AS next FROM regress_asked WHERE ref_id = 'doubling' ORDER BY id});
my $due = $provider->books('doubling')->{arrived_at}[0] + $INTERVAL / 1000;
my @late;
cmp_ok(scalar @pauses, '>=', 3, 'a pending payment has been asked about several times');
for my $n (1 .. (@pauses < 5 ? @pauses : 5))
{
	my $pause = $pauses[ $n - 1 ];
	my $least = $INTERVAL / 1000 * 2**$n;
	cmp_ok($pause->{ended}, '>=', $due, "question $n is not before its time");
	push @late, $pause->{begun} - $due;
	$due = $pause->{next};
	cmp_ok($due - $pause->{begun}, '>=', $least - 0.002, "the pause after question $n is not too short");
	cmp_ok($due - $pause->{ended}, '<', $least * 1.25 + 0.1, "the pause after question $n is not too long");
}
note("late by @late");
# the kill above may have delayed one, and whatever else the machine has to do another
cmp_ok((sort { $a <=> $b } @late)[ $#late / 2 ], '<', 2.5, 'nor are most of them long after their time');
my $short = { map { $_->{ref_id} => $_->{pause} } DigipayTest::rows($node, "SELECT ref_id, min(pause) AS pause
	FROM (SELECT ref_id, ended - lag(begun) OVER (PARTITION BY ref_id ORDER BY id) AS pause FROM regress_asked) x
	WHERE pause < interval '$INTERVAL ms' AND ref_id !~ '^(contra|refund|late|retry|final|review|lost|doubt|old|bad)' GROUP BY 1") };
is_deeply($short, {}, 'no payment has been asked about twice within the interval');
my %received = map { my $refs = $_->books->{refs}; map { $_ => $refs->{$_}{status_requests} // 0 } keys %$refs } $provider, $calm, $echo;
my %intended = map { $_->{ref_id} => $_->{count} } DigipayTest::rows($node, 'SELECT ref_id, count(*) FROM regress_asked GROUP BY 1');
is(join(' ', grep { $received{$_} > ($intended{$_} // 0) } sort keys %received), '', 'nor without writing that down before');

is(join(',', $provider->complaints), '', 'the provider has no complaints');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/PANIC|TRAP|signal 11|signal 6/, 'nothing has crashed but what was killed');
done_testing();
