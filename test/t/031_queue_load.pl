# The queue under load: 100,000 payments in one statement, and rows that
# somebody has locked.

use strict;
use warnings;

use DigipayTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

# what a slow build can do in the time
my $MANY = $ENV{DIGIPAY_FEW} ? 5000 : 100_000;

my $node = DigipayTest::new_node('queue_load', max_connections => 60, fsync => 'off',
	max_wal_size => '2GB', shared_buffers => '256MB');
my $provider = DigipayTest::start_provider();
my $other = DigipayTest::start_provider(username => 'other');
DigipayTest::create_account($node, $provider, paused => 'true');
DigipayTest::create_account($node, $other, server => 'other', username => 'other');

my $bill = q{'pln', '530000000001'};

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub pause { return sql("ALTER SERVER digipay OPTIONS (SET paused '" . ($_[0] ? 'true' : 'false') . q{')}) }
sub count_of { return sql("SELECT count(*) FROM digipay_payment WHERE ref_id LIKE '$_[0]-%' AND state IN ($_[1])") }

sub submit_many
{
	my ($prefix, $count, $more) = @_;
	return "SELECT count(digipay_submit($bill, '$prefix-' || i" . ($more ? ", $more" : '')
	  . ")) FROM generate_series(1, $count) i";
}

# How long it takes until all payments of a prefix are made; undef if they are
# not within so many seconds.
sub drained
{
	my ($prefix, $count, $seconds) = @_;
	my $begun = time;
	while (count_of($prefix, q{'succeeded'}) < $count)
	{
		return undef if time - $begun > $seconds;
		sleep 0.1;
	}
	return time - $begun;
}

# Every payment of a prefix that the provider knows, and how often it has been
# asked for; more than once is what must not be.
sub twice
{
	my ($prefix, $from) = @_;
	my $refs = ($from // $provider)->books->{refs};
	return join ', ', grep { /^\Q$prefix\E-/ && ($refs->{$_}{pay_requests} != 1 || $refs->{$_}{booked} != 1) } keys %$refs;
}

# ------------------------------------------------- somebody's locks, and others

# A payment in flight, and somebody who has locked its row, and somebody who has
# queued one and does not commit.
pause(0);
$provider->hold;
my $idle = DigipayTest::session($node);
my $locker = DigipayTest::session($node);
$idle->query("BEGIN; SELECT digipay_submit($bill, 'idle-1')");
sql(submit_many('locked', 1));
DigipayTest::wait_until { $provider->books('locked-1')->{pay_requests} };
$locker->query(q{BEGIN; SELECT state FROM digipay_payment WHERE ref_id = 'locked-1' FOR UPDATE});
$provider->release;
# Many, so that it would take minutes if each waited for that lock, if only for
# a fifth of a second.
sql(submit_many('beside', 640));
my $took = drained('beside', 640, 120);
ok(defined $took, '640 payments beside a locked one in flight and one that is not committed') or diag(count_of('beside', q{'succeeded'}));
cmp_ok($took // 999, '<', 40, 'are not held up');
is(sql(q{SELECT state FROM digipay_payment WHERE ref_id = 'locked-1'}), 'sending', 'the locked one is where it was');
$locker->query('ROLLBACK');
DigipayTest::wait_for_state($node, 'locked-1', 'succeeded', seconds => 60);
is($provider->booked('locked-1'), 1, 'and is written when it can be, with one payment');
is($provider->books('idle-1')->{pay_requests}, undef, 'what is not committed is not sent');
$idle->query('ROLLBACK');

# Many queued rows that one session has locked: with FOR UPDATE, and by taking
# them back, and not yet committed.
pause(1);
sql(submit_many('held', 600));
sql(submit_many('free', 64));
$locker->query(q{BEGIN; SELECT count(*) FROM (SELECT FROM digipay_payment WHERE ref_id LIKE 'held-%' FOR UPDATE) x});
pause(0);
$took = drained('free', 64, 60);
ok(defined $took, '64 payments behind 600 locked ones in the queue are made')
  or diag(count_of('free', q{'succeeded'}) . ' are');
is(count_of('held', q{'queued'}), 600, 'the locked ones wait');
my $pay = DigipayTest::async($node, qq{SET statement_timeout = '60s'; SELECT state FROM digipay_pay($bill, 'direct-1')});
is($pay->out, 'succeeded', 'digipay_pay beside them') or diag($pay->err);
$locker->query('ROLLBACK');
$took = drained('held', 600, 60);
ok(defined $took, 'and are made when they are free');
is(twice('held'), '', 'each once');
is(twice('free'), '', 'and each of the others');

# The same with questions: rows whose outcome is unknown.
sql(q{ALTER SERVER digipay OPTIONS (ADD status_interval '1000')});
sql(qq{INSERT INTO digipay_payment (ref_id, state, code, customer_no, testing, requested_at, sent_at, next_check_at,
		server, account, requested_by, origin)
	SELECT 'ask-' || i, 'unknown', $bill, false, now() - interval '1 h', now() - interval '1 h', now() - interval '1 min' + i * interval '1 ms',
		'digipay', 'demo\@127.0.0.1', 'postgres', origin FROM generate_series(1, 310) i, digipay_fence});
$locker->query(q{BEGIN; SELECT count(*) FROM (SELECT FROM digipay_payment WHERE ref_id ~ '^ask-([12]?[0-9]?[0-9]|300)$' FOR UPDATE) x});
my $asked = eval { DigipayTest::wait_until { ($provider->books('ask-305')->{status_requests} // 0) > 0 } 60; 1 };
ok($asked, 'a question behind 300 locked ones is asked');
$locker->query('ROLLBACK');
sql(q{DELETE FROM digipay_payment WHERE ref_id LIKE 'ask-%'});
sql(q{ALTER SERVER digipay OPTIONS (DROP status_interval)});

# ------------------------------------------------------- 100,000 in one statement

$provider->reset;
my $rss_before = rss();
# a second for each answer, while it is seen to that others come before the rest
$provider->control(delay => 1000);
my $begun = time;
is(sql(submit_many('many', $MANY)), $MANY, "$MANY payments in one statement");
note sprintf('submitted in %.1f s', time - $begun);
$begun = time;
cmp_ok(sql('SELECT queue_length FROM digipay_stats()'), '>=', 0, 'digipay_stats while the queue is long');

# while they go: others, of other servers and of this one
my @times;
sub pay_beside
{
	my ($n) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $at = time;
	is(sql("SELECT state FROM digipay_pay($bill, 'quick-$n', server => 'other')"), 'succeeded', 'another server pays beside');
	push @times, time - $at;
	$at = time;
	is(sql("SELECT state FROM digipay_pay($bill, 'quick-here-$n')"), 'succeeded', 'and digipay_pay at this server');
	push @times, time - $at;
	return;
}
pay_beside(1);
sql(qq{SET client_min_messages = error; SELECT digipay_submit($bill, 'queued-other', server => 'other')});
my $row = eval { DigipayTest::wait_for_state($node, 'queued-other', 'succeeded', seconds => 60) };
ok($row, 'a payment queued for another server does not wait for those');
cmp_ok(count_of('many', q{'queued'}), '>', 0, 'for they are not made yet');
# and as fast as it goes
$provider->control(delay => 0);
@times = ();
for my $n (2 .. 5)
{
	pay_beside($n);
	sleep 0.3;
}
# (one may meet a machine that is busy with something else)
my $median = (sort { $a <=> $b } @times)[3];
cmp_ok($median, '<', 3, 'quickly') or diag("@times");

DigipayTest::wait_until { count_of('many', q{'succeeded'}) >= 2000 } 120;
my $done = count_of('many', q{'succeeded'});
note sprintf('%d made in %.1f s', $done, time - $begun);
cmp_ok($provider->call('GET', '/books?summary=1')->{max_in_flight}, '<=', 64, 'never more in flight than max_in_flight');
# reading the books takes a while, too
my $rest = 34 - (time - $^T);
my $all = $rest > 1 ? drained('many', $MANY, $rest) : undef;
$done = count_of('many', q{'succeeded'});
note sprintf('%d made in %.1f s', $done, time - $begun);
SKIP:
{
	skip 'the machine is too slow for all of them', 1 unless defined $all;
	is(count_of('many', q{'queued', 'sending'}), 0, 'all are made');
}
pause(1);
# the worker has seen the pause when nothing is on its way any more, nor has been meanwhile
my $summary;
DigipayTest::wait_until {
	$done = count_of('many', q{'succeeded'});
	$summary = $provider->call('GET', '/books?summary=1');
	sleep 0.5;
	return count_of('many', q{'sending'}) == 0 && count_of('many', q{'succeeded'}) == $done;
} 120;
is($summary->{bookings}, $done + 5, 'as many are booked as the journal calls succeeded');
is(twice('many'), '', 'none twice');
cmp_ok(rss() - $rss_before, '<', 60_000, 'the worker has not grown much') or diag($rss_before, ' ', rss());

# Memory of the worker, in kB, without what it shares with others.
sub rss
{
	my $pid = DigipayTest::worker_pid($node);
	return PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status") =~ /RssAnon:\s+(\d+)/ ? $1 : 0;
}

is($summary->{complaint_count}, 0, 'the provider has no complaints');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/PANIC|terminated by signal|TRAP/, 'nothing has crashed');
$_->quit for $idle, $locker;
done_testing();
