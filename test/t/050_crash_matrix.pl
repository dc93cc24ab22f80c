# The crash matrix: at each of eight points in a payment's life, each process
# that may die does, or the worker fails in another way.  Whatever happens, the
# provider's books and the journal must agree afterwards, and paying again with
# the same ref_id must not pay twice.  (T21, T22)

use strict;
use warnings;

use DigipayFault;
use DigipayTest;
use Test::More;

DigipayFault::need_points($ENV{DIGIPAY_FAULT_POINTS});

my $node = DigipayTest::new_node('crash_matrix', restart_after_crash => 'on',
	max_worker_processes => 32);
my $provider = DigipayTest::start_provider(witness => $node);
# no question shall come in between: it would pass the points as well
DigipayTest::create_account($node, $provider, status_interval => 86_400_000);
DigipayFault::recover($node);

# are open outcomes asked about?
my $asks = $node->safe_psql('postgres',
	q{SELECT count(*) FROM pg_proc WHERE proname = 'digipay_status'});

sub pid_of
{
	my ($where) = @_;
	return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE $where");
}

# Kills what the server cannot do without, while the worker is stuck; the worker goes on
# when it has heard of it.
sub kill_beside
{
	my ($pipe, $pid) = @_;
	my $worker = DigipayTest::worker_pid($node);
	($pid || 0) > 1 or die 'nobody is there to be killed';
	kill 'KILL', $pid;
	eval { DigipayTest::wait_until { DigipayFault::is_told_to_quit($worker) } };
	DigipayFault::let_go($pipe);
	return;
}

# The same for the postmaster, without which nobody is told anything.
sub kill_postmaster
{
	my ($pipe) = @_;
	my $pid = $node->{_pid};
	my $child = DigipayFault::let_go_when($pipe, sub { !kill 0, $pid });
	DigipayTest::crash($node);
	waitpid $child, 0;
	$node->start;
	return;
}

# What each victim does to the worker, or has done to itself while that is stuck.
my %victims = (
	'worker kill -9' => { order => 'kill' },
	'worker error' => { order => 'error' },
	'worker exit' => { order => 'exit' },
	'caller kill -9' => {
		kill => sub { kill_beside($_[0], pid_of("query LIKE '%$_[1]%' AND pid <> pg_backend_pid()")) }
	},
	'checkpointer kill -9' => { kill => sub { kill_beside($_[0], pid_of(q{backend_type = 'checkpointer'})) } },
	'postmaster kill -9' => { kill => \&kill_postmaster },);

# Prepares a point for a victim, and waits until it strikes; what the victim's kill wants.
sub prepare
{
	my ($point, $victim) = @_;
	return $victim->{kill} ? DigipayFault::block($node, $point) : DigipayFault::arm($node, $point, $victim->{order});
}

sub wait_until_it_strikes
{
	my ($point, $victim) = @_;
	return $victim->{kill} ? DigipayFault::wait_until_blocked($node, $point) : DigipayFault::wait_until_struck($node, $point);
}

# What is left: requests that reached the provider, and states.  A worker that is
# stuck inside libcurl has all signals blocked, and one whose postmaster has died
# notices when it next goes to sleep: both may still do what comes next.
my %open = (0 => qr/^(unknown|review)$/, 1 => qr/^(unknown|succeeded)$/);
my %left = (
	before_intent => [ qr/^0$/, qr/^none$/ ],
	after_intent => [ qr/^0$/, $open{0} ],
	in_prereq => [ qr/^0$/, $open{0} ],
	after_send => [ qr/^1$/, $open{1} ],
	after_headers => [ qr/^1$/, $open{1} ],
	after_body => [ qr/^1$/, $open{1} ],
	before_outcome => [ qr/^1$/, $open{1} ],
	after_outcome => [ qr/^1$/, qr/^succeeded$/ ],);
my $either = [ qr/^[01]$/, qr/^(unknown|review|succeeded)$/ ];
my %exception = (
	# a caller whose request was not begun hands it to the next worker
	'before_intent worker exit' => [ qr/^1$/, qr/^succeeded$/ ],
	'before_intent postmaster kill -9' => $either,
	'after_intent postmaster kill -9' => $either,
	# libcurl is told to stop, before it has sent anything
	'in_prereq worker error' => [ qr/^0$/, qr/^not_sent$/ ],
	'in_prereq caller kill -9' => $either,
	'in_prereq checkpointer kill -9' => $either,
	'in_prereq postmaster kill -9' => $either,
	# written at the next try
	'before_outcome worker error' => [ qr/^1$/, qr/^succeeded$/ ],);

# State of the row, "none" without one, and the requests that have arrived.
sub standing
{
	my ($ref_id) = @_;
	my $row = DigipayTest::payment($node, $ref_id);
	return ($row ? $row->{state} : 'none', $provider->books($ref_id)->{pay_requests} // 0);
}

my %count;
CASE: for my $point (@DigipayFault::POINTS)
{
	for my $name (sort keys %victims)
	{
		my $victim = $victims{$name};
		(my $ref_id = "$point-$name") =~ tr/ _/--/;
		my $pay = "SELECT state FROM digipay_pay('pln', '530000000001', '$ref_id')";

		my $stuck;
		prepare($point, $victim);
		my $caller = DigipayTest::async($node, $pay);
		ok(eval { $stuck = wait_until_it_strikes($point, $victim); 1 }, "$point, $name: it strikes");
		$victim->{kill}->($stuck, $ref_id) if $stuck;
		eval { $caller->finish };
		DigipayFault::recover($node);
		DigipayFault::disarm($node);

		my ($state, $requests) = standing($ref_id);
		my ($wanted_requests, $wanted_state) = @{ $exception{"$point $name"} // $left{$point} };
		like($requests, $wanted_requests, "$point, $name: requests received");
		like($state, $wanted_state, "$point, $name: the state");
		ok($requests == 0 || $caller->{err} !~ /nothing was sent/i,
			"$point, $name: what the caller was told is true") or diag($caller->{err});

		# what comes next
		my $next = DigipayFault::try_sql($node, $pay) // 'an error';
		if ($state eq 'none' || $state eq 'not_sent')
		{
			is($next, 'succeeded', "$point, $name: not begun, it can be paid");
		}
		elsif ($requests == 0)
		{
			is($next, 'unknown', "$point, $name: perhaps begun, it is not paid again");
		}
		else
		{
			like($next, $open{1}, "$point, $name: begun, it is not paid again");
		}
		# what is wrong now stays so
		is_deeply([ DigipayFault::violations($node, $provider) ], [], "$point, $name: the books agree")
		  or last CASE;
		$count{$next}++;
	}
}

note('outcomes: ' . join(', ', map { "$count{$_} $_" } sort keys %count));

# ---------------------------------------------------------------------------
# A worker with many payments in its hands dies, when some of them have passed
# the point already.

my $batch = 10;
for my $point (@DigipayFault::POINTS)
{
	my @ref_ids = map { "batch-$point-$_" =~ tr/_/-/r } 1 .. $batch;

	$provider->control(delay => 20);
	DigipayFault::arm($node, $point, 'skip ' . $batch / 2 . ' kill');
	# it may strike before the last of them has a connection
	my @callers = map {
		eval { DigipayTest::async($node, "SELECT state FROM digipay_pay('pln', '530000000001', '$_')") } // ()
	} @ref_ids;
	ok(eval { DigipayFault::wait_until_struck($node, $point); 1 }, "$point, many: it strikes");
	eval { $_->finish } for @callers;
	$provider->control(delay => 0);
	DigipayFault::recover($node);
	DigipayFault::disarm($node);

	is_deeply([ DigipayFault::violations($node, $provider) ], [], "$point, many: the books agree")
	  or last;
	my %paid = map { $_ => DigipayFault::try_sql($node,
		"SELECT state FROM digipay_pay('pln', '530000000001', '$_')") // 'an error' } @ref_ids;
	my @odd = grep { $paid{$_} !~ /^(?:succeeded|unknown|review)$/ } @ref_ids;
	is_deeply([ map { "$_ $paid{$_}" } @odd ], [], "$point, many: each has a state");
	is_deeply([ DigipayFault::violations($node, $provider) ], [], "$point, many: none is paid again")
	  or last;
	my %sum;
	$sum{$_}++ for values %paid;
	note("$point, many: " . join(', ', map { "$sum{$_} $_" } sort keys %sum));
}

# ---------------------------------------------------------------------------
# The same for payments that are queued: nobody waits for them, and what has not
# begun is paid by the next worker.

my $queues = $node->safe_psql('postgres',
	q{SELECT count(*) FROM pg_proc WHERE proname = 'digipay_submit'});
my %queued_left = (%left,
	before_intent => [ qr/^1$/, qr/^succeeded$/ ],);
my %queued_exception = (
	# it could not leave this time, and will be tried again
	'in_prereq worker error' => [ qr/^[01]$/, qr/^(queued|sending|succeeded)$/ ],
	'before_intent postmaster kill -9' => $either,
	(map { $_ => $exception{$_} } grep { !/^before_intent|^in_prereq worker error/ } keys %exception),);

CASE: for my $point ($queues ? @DigipayFault::POINTS : ())
{
	for my $name (grep { !/caller|checkpointer/ } sort keys %victims)
	{
		my $victim = $victims{$name};
		(my $ref_id = "queued-$point-$name") =~ tr/ _/--/;

		my $stuck;
		prepare($point, $victim);
		# the session may still be there when it strikes
		DigipayFault::try_sql($node, "SELECT digipay_submit('pln', '530000000001', '$ref_id')");
		ok(eval { $stuck = wait_until_it_strikes($point, $victim); 1 },
			"queued, $point, $name: it strikes");
		$victim->{kill}->($stuck, $ref_id) if $stuck;
		DigipayFault::recover($node);
		DigipayFault::disarm($node);
		# what goes back to the queue has its next time
		eval { DigipayTest::wait_until { (standing($ref_id))[0] !~ /^(?:queued|sending)$/ } 60 };

		my ($state, $requests) = standing($ref_id);
		my ($wanted_requests, $wanted_state) =
		  @{ $queued_exception{"$point $name"} // $queued_left{$point} };
		like($requests, $wanted_requests, "queued, $point, $name: requests received");
		like($state, $wanted_state, "queued, $point, $name: the state");
		is_deeply([ DigipayFault::violations($node, $provider) ], [],
			"queued, $point, $name: the books agree")
		  or last CASE;
		# not in the next case's way
		DigipayFault::try_sql($node, "SELECT digipay_cancel('$ref_id')") if $state eq 'queued';
	}
}

# ---------------------------------------------------------------------------
# What is open after all this is asked about: what was booked is succeeded in the
# end, and what the provider has never heard of is for a person to say.

SKIP:
{
	skip 'nothing is asked', 6 unless $asks;

	$node->safe_psql('postgres', q{ALTER SERVER digipay OPTIONS (SET status_interval '300')});
	my @open = map { $_->{ref_id} } DigipayTest::rows($node,
		q{SELECT ref_id FROM digipay_payment WHERE state = 'unknown'});
	cmp_ok(scalar @open, '>', 20, 'some outcomes are open (' . @open . ')');
	$node->safe_psql('postgres', "SELECT count(digipay_status(ref_id)) FROM digipay_payment WHERE state = 'unknown'");
	eval {
		DigipayTest::wait_until {
			$node->safe_psql('postgres', q{SELECT count(*) FROM digipay_payment WHERE state = 'unknown'}) eq '0'
		} 120;
	};
	my $books = $provider->books->{refs};
	my (@wrong, %sum);
	for my $ref_id (@open)
	{
		my $state = DigipayTest::payment($node, $ref_id)->{state};
		my $wanted = $books->{$ref_id} && $books->{$ref_id}{booked} ? 'succeeded' : 'review';
		push @wrong, "$ref_id is $state" if $state ne $wanted;
		$sum{$state}++;
	}
	note('open outcomes became: ' . join(', ', map { "$sum{$_} $_" } sort keys %sum));
	is_deeply(\@wrong, [], 'each becomes what the provider knows of it');
	is_deeply([ DigipayFault::violations($node, $provider) ], [], 'the books agree');

	# An answer that kills the worker, each time it comes: the question that brings
	# it is asked at its pace, and not at each of the worker's starts.  The interval
	# is longer than any of this takes; when it is over is for us to say.
	$node->safe_psql('postgres', q{ALTER SERVER digipay OPTIONS (SET status_interval '3600000')});
	my $questions = sub { $provider->books('poison')->{status_requests} // 0 };

	DigipayFault::arm($node, 'after_body', 'kill');
	DigipayFault::try_sql($node, q{SELECT digipay_pay('pln', '530000000001', 'poison')});
	DigipayFault::recover($node);
	is($questions->(), 0, 'a payment whose answer has killed the worker');
	# the next worker looks at once at what is due
	$node->safe_psql('postgres', 'SELECT digipay_worker_stop()');
	$node->safe_psql('postgres', q{UPDATE digipay_payment SET sent_at = sent_at - interval '2 hours' WHERE ref_id = 'poison'});
	DigipayFault::arm($node, 'after_body', 'kill');
	DigipayFault::try_sql($node, 'SELECT digipay_worker_start()');
	DigipayFault::wait_until_struck($node, 'after_body');
	DigipayFault::recover($node);
	sleep 2;
	is($questions->(), 1, 'an answer that kills the worker is not asked for again at once');
	my $row = DigipayTest::payment($node, 'poison');
	is("$row->{state} $row->{status_checks}", 'unknown 1',
		'the question is counted, though its answer was never read');
}

# ---------------------------------------------------------------------------

my @complaints = grep { !/could not be read|says unknown/ } $provider->complaints;
is_deeply(\@complaints, [], 'the witness has seen an intent before each request');

$node->stop('fast');
done_testing();
