# A provider that takes half a minute or more for each of 200 callers (P08), and
# meanwhile, through the same worker, 10,000 calls in one session, half of them
# errors (P06): nobody is held up by the others, and nothing grows.

use strict;
use warnings;

use DigipayTest;
use IPC::Run ();
use List::Util qw(max min);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $CALLS = 10_000;
# or for as long as the calls take, should that be more
my $SECONDS = $ENV{DIGIPAY_FEW} ? 15 : 30;
my $SLOW = 200;			# callers that wait for that long
my $LATE = 20;			# and callers for whom the slow provider has no place left
my $WARM = 1000;		# calls after which nothing may grow any more

my $node = DigipayTest::new_node('endurance', max_connections => $SLOW + $LATE + 20,
	fsync => 'off', max_wal_size => '2GB');
my $provider = DigipayTest::start_provider();
my $slow = DigipayTest::start_provider(username => 'slow');
DigipayTest::create_account($node, $provider);
DigipayTest::create_account($node, $provider, server => 'raw', port => $provider->raw_port);
DigipayTest::create_account($node, $provider, server => 'down', port => 9);
# however long it takes, nothing of this is due to be looked into
DigipayTest::create_account($node, $slow, server => 'slow', username => 'slow', max_in_flight => $SLOW,
	timeout => 800_000, status_interval => 3_600_000);

# the one session: a psql, and what it reads
my ($session, $input) = (undef, '');
my $dir = "$PostgreSQL::Test::Utils::tmp_check/endurance";
mkdir $dir or die "$dir: $!";

sub sql { return $node->safe_psql('postgres', $_[0]) }

# ------------------------------------------------------------------ callers

# So many sessions, all connected before the first begins, each of which pays
# through the slow server and fails unless the answer is a success.
sub start_callers
{
	my ($prefix, $count) = @_;
	my $file = "$dir/$prefix.sql";
	PostgreSQL::Test::Utils::append_to_file($file,
		"SELECT 1 / (p.state = 'succeeded')::int FROM digipay_pay('pln', '530000000001', '$prefix-' || :client_id, server => 'slow') p;\n");
	my $self = { out => '', err => '' };
	$self->{run} = IPC::Run::start(
		[ $node->installed_command('pgbench'), '-n', '-c', $count, '-t', 1, '-f', $file, '-d', $node->connstr('postgres') ],
		'>', \$self->{out}, '2>', \$self->{err}, IPC::Run::timeout(800));
	return $self;
}

# One test: all of them have had their answer.
sub all_answered
{
	my ($self, $name) = @_;
	$self->{run}->finish;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($self->{run}->full_result(0), 0, $name) or diag($self->{err});
	return;
}

# What the slow provider's books say of those callers.
sub slow_books
{
	my ($prefix) = @_;
	my $refs = $slow->books->{refs};
	return map { $refs->{$_} } grep { /^\Q$prefix\E-/ } keys %$refs;
}

# ----------------------------------------------------------------- one session

# Has the session make its calls from one number to another, a statement each,
# and waits for them: every other one a payment that is made, the rest a quarter
# each of four errors.  psql writes down the answer and the SQLSTATE of each.
sub make_calls
{
	my ($from, $to) = @_;
	my $file = "$dir/calls-$from.sql";
	my $text = "\\o $dir/states-$from\nSELECT pg_backend_pid();\n";
	for my $i ($from .. $to)
	{
		my $call =
		    $i % 2 == 0 ? "digipay_pay('pln', '530000000001', 'call-$i')"
		  # the inquiry was for another bill
		  : $i % 8 == 1 ? q{digipay_pay('pln', '530000000002', 'inquired')}
		  # there is no inquiry
		  : $i % 8 == 3 ? "digipay_pay('pln', '530000000001', 'call-$i', max_price => 1)"
		  # the connection closes, and there was no answer
		  : $i % 8 == 5 ? "digipay_inquire('pln', '530000000001', 'inq-close-$i', server => 'raw')"
		  # nobody listens
		  : "digipay_pay('pln', '530000000001', 'call-$i', server => 'down')";
		$text .= 'SELECT ' . ($call =~ /inquire/ ? 'rc' : 'state') . " FROM $call;\n\\qecho :SQLSTATE\n";
	}
	PostgreSQL::Test::Utils::append_to_file($file, "$text\\o $dir/done-$from\n\\o\n");
	$input .= "\\i $file\n";
	DigipayTest::wait_until { $session->pump_nb; -e "$dir/done-$from" } 600;
	return;
}

# What came of them: how often each answer or SQLSTATE, as text.
sub came_of
{
	my ($from) = @_;
	my (undef, @lines) = split /\n/, PostgreSQL::Test::Utils::slurp_file("$dir/states-$from");
	my %count;
	$count{$_}++ for @lines;
	return join ', ', map { "$_ $count{$_}" } sort keys %count;
}

# What has to come of so many calls.
sub should_come_of
{
	my ($count) = @_;
	return join ', ', '00000 ' . $count / 2, map({ "$_ " . $count / 8 } qw(PY001 PY002 PY005 PY006)), 'succeeded ' . $count / 2;
}

# --------------------------------------------------------------- what may grow

# What a process has in use of PostgreSQL's memory contexts, in kB: the caches of
# catalog rows and plans left out, which are filled and emptied when others
# change something.
sub contexts
{
	my ($pid) = @_;
	my $offset = -s $node->logfile;
	sql("SELECT pg_log_backend_memory_contexts($pid)");
	my @lines = DigipayTest::wait_until {
		my @all = grep { /\[$pid\]/ } split /\n/, PostgreSQL::Test::Utils::slurp_file($node->logfile, $offset);
		return (grep { /Grand total: / } @all) ? \@all : undef };
	my ($sum, $cache) = (0);
	for my $line (@{ $lines[0] })
	{
		my ($level, $name, $used) = $line =~ /level: (\d+); (\w*).* (\d+) used/ or next;
		undef $cache if defined $cache && $level <= $cache;
		$cache //= $level if $name eq 'CacheMemoryContext';
		$sum += $used unless defined $cache;
	}
	return int($sum / 1024);
}

# What a process has of its own, in kB except where it is a number of things.
# What libcurl and cJSON hold, and the caches, are in RssAnon alone.
sub sizes
{
	my ($pid) = @_;
	my $status = PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status");
	my ($anon) = $status =~ /^RssAnon:\s+(\d+)/m;
	my ($threads) = $status =~ /^Threads:\s+(\d+)/m;
	my @segments = PostgreSQL::Test::Utils::slurp_file("/proc/$pid/maps") =~ m{^(\S+) .*/dev/shm/PostgreSQL\.}mg;
	my $mapped = 0;
	for my $segment (@segments)
	{
		my ($begin, $end) = split /-/, $segment;
		$mapped += (hex($end) - hex $begin) / 1024;
	}
	my @descriptors = glob "/proc/$pid/fd/*";

	return { RssAnon => $anon, contexts => contexts($pid), descriptors => scalar @descriptors,
		threads => $threads, segments => scalar(@segments), mapped => $mapped };
}

# Whether the memory sanitizer is in a process; it keeps what is freed for a
# while, to see who still uses it.
sub is_sanitized { return PostgreSQL::Test::Utils::slurp_file("/proc/$_[0]/maps") =~ /libasan/ }

# digipay's part of the server's own shared memory, and all that has a name.
sub shared_memory
{
	return sql(q{SELECT count(*) || ' ' || sum(allocated_size) || ' ' || coalesce(sum(allocated_size) FILTER (WHERE name LIKE 'digipay%'), 0)
		FROM pg_shmem_allocations WHERE name <> '<anonymous>'});
}

# ------------------------------------------------------------------- the scene

# the slow server's connections and transfers exist before anything is measured
all_answered(start_callers('first', $SLOW + $LATE), "$SLOW callers and $LATE more are answered, as long as the provider is quick");

$slow->hold;
my $callers = start_callers('slow', $SLOW);
DigipayTest::wait_until { slow_books('slow') == $SLOW } 90;
my $arrived = max(map { $_->{arrived_at}[0] } slow_books('slow'));
# those who come later are answered at once, when they have a place
my $late = start_callers('late', $LATE);

is(sql(q{SELECT rc FROM digipay_inquire('pln', '530000000001', 'inquired')}), '00', 'P06: an inquiry');
$session = IPC::Run::start(
	[ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'), '-f', '-' ],
	'<', \$input, '>', '/dev/null', '2>', '/dev/null', IPC::Run::timeout(800));
make_calls(0, -1);
my ($pid) = split /\n/, PostgreSQL::Test::Utils::slurp_file("$dir/states-0");
my $worker = DigipayTest::worker_pid($node);

# By how much a process may grow; a hundred bytes lost at each call are 900 kB.
my %may_grow = (RssAnon => 512, contexts => 64, descriptors => 2, threads => 0, segments => 0, mapped => 0);

make_calls(1, $WARM);
my %before = (worker => sizes($worker), session => sizes($pid));
my $shared = shared_memory();
my $begun = time;
make_calls($WARM + 1, $CALLS);
my $took = time - $begun;
my %after = (worker => sizes($worker), session => sizes($pid));

# --------------------------------------------------------- P06: nothing grows

is(came_of(1), should_come_of($WARM), "P06: $WARM calls, half of them errors");
is(came_of($WARM + 1), should_come_of($CALLS - $WARM), "P06: and the rest of $CALLS, in the same session");
is(DigipayTest::worker_pid($node), $worker, 'P06: with one worker');
note(sprintf 'the rest took %.1f s', $took);
for my $who ('worker', 'session')
{
	for my $what (sort keys %may_grow)
	{
		my ($from, $to) = map { $_->{$who}{$what} } \%before, \%after;
		note("$who: $what $from -> $to");
	  SKIP:
		{
			skip 'the memory sanitizer keeps what is freed', 1 if $what eq 'RssAnon' && is_sanitized($worker);
			cmp_ok($to - $from, '<=', $may_grow{$what}, "P06: the $who does not grow, $what");
		}
	}
}
is(shared_memory(), $shared, "P06: nor does the server's shared memory");

# ------------------------------------------------------- P08: nobody is held up

# half a minute, even if nothing else takes so long
my $left = $arrived + $SECONDS - time;
sleep $left if $left > 0;
$slow->release;
all_answered($callers, "P08: all $SLOW callers of a provider that takes $SECONDS s are answered");
all_answered($late, "P08: so are $LATE that came when it had no place left");
my @slow = slow_books('slow');
my @late = slow_books('late');

# The session's calls follow each other without a pause, so the time between two
# of its payments is what the second one and the error between them took, with
# all waiting for a place.  Now and then one is long because some process did not
# run for a while.  One that waited for the slow provider would have come back after
# its answers.
my $first = min(map { $_->{answered_at}[0] } @slow);
my ($among, $all, $most) = split /\|/, sql(qq{
	SELECT count(*) FILTER (WHERE replied_at < to_timestamp($first)), count(*),
		round(1000 * percentile_disc(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM took)))
	FROM (SELECT replied_at, replied_at - lag(replied_at) OVER (ORDER BY replied_at) AS took
		  FROM digipay_payment WHERE server = 'digipay' AND ref_id LIKE 'call-%' AND state = 'succeeded') p});
is("$among of $all", "@{[ $CALLS / 2 ]} of @{[ $CALLS / 2 ]}", 'P08: through another server payments are made while the slow provider has answered nobody');
cmp_ok($most || 1e9, '<', 2000, "P08: none of them waits for it: 99 of 100 took $most ms at most");

is(scalar(grep { $_->{pay_requests} == 1 && $_->{booked} == 1 } @slow), $SLOW, 'P08: each is paid once');
is(scalar(grep { $_->{pay_requests} == 1 && $_->{booked} == 1 } @late), $LATE, 'P08: as are the late ones');
cmp_ok(min(map { $_->{answered_at}[0] - $_->{arrived_at}[0] } @slow), '>=', $SECONDS - 1, "P08: it did take $SECONDS s for each");
cmp_ok(max(map { $_->{arrived_at}[0] } @slow), '<', min(map { $_->{answered_at}[0] } @slow), 'P08: all of them at once');
cmp_ok(min(map { $_->{arrived_at}[0] } @late), '>=', min(map { $_->{answered_at}[0] } @slow), 'P08: and nobody beyond its max_in_flight');

is($provider->books->{complaint_count} // 0, 0, 'the books have no complaint');
is(scalar(grep { $_->{pay_requests} > 1 || $_->{booked} > 1 } values %{ $provider->books->{refs} }), 0, 'no ref_id was received or booked twice');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/PANIC|terminated by signal/, 'nothing has crashed');

$input .= "\\q\n";
$session->finish;
$node->stop;
done_testing();
