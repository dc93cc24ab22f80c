# Memory runs out in the worker, at each allocation in turn that a payment makes:
# in cJSON, in libcurl, in digipay's own callbacks and in PostgreSQL.  Each
# payment ends, in a state that the books agree with.  (T38)

use strict;
use warnings;

use DigipayFault;
use DigipayTest;
use PostgreSQL::Test::Utils;
use Test::More;

DigipayFault::need_points($ENV{DIGIPAY_FAULT_POINTS});

my $node = DigipayTest::new_node('memory', start => 0, restart_after_crash => 'on');
my $provider = DigipayTest::start_provider();
my $shim = DigipayFault::shim();
$shim->start($node);
DigipayTest::create_account($node, $provider, status_interval => 86_400_000);
# libcurl may lose a request when it has no memory, and never tell
DigipayTest::create_account($node, $provider, status_interval => 86_400_000, server => 'short',
	timeout => 500, connect_timeout => 500);
DigipayFault::recover($node);

# What fails, and at least how often; digipay itself allocates a transfer and the
# room for a reply, for which a worker has to be new.
my %modules = (
	cJSON => { number => 1, least => 30 },
	libcurl => { number => 2, least => 30, may_crash => 1, server => 'short' },
	digipay => { number => 3, least => 2, new_worker => 1 },
	PostgreSQL => { number => 4, least => 5 },);

# How many processes have crashed so far.
sub crashes
{
	return scalar(() = slurp_file($node->logfile) =~ /was terminated by signal|PANIC:/g);
}

# What has become of a payment, as its caller sees it: a state, an SQLSTATE, or
# "lost" where the connection broke.
my $number = 0;
sub pay
{
	my ($ref_id, $server) = @_;
	my $error = '';
	$server //= 'digipay';
	my (undef, $out) = eval { $node->psql('postgres',
		"SET statement_timeout = '20s';\n\\set VERBOSITY verbose\nSELECT state FROM digipay_pay('pln', '530000000001', '$ref_id', server => '$server')",
		stderr => \$error) };
	return $out if ($out // '') ne '';
	return $error =~ /ERROR:\s+(\w{5})/ ? $1 : 'lost';
}

for my $name (sort keys %modules)
{
	my $module = $modules{$name};
	my $crashes = crashes();
	my (%outcome, @wrong);
	my ($struck, $quiet) = (0, 0);

	# until it has as many as it wants
	for (my $n = 1; $n <= 1000 && $quiet < 5; $n++)
	{
		my $ref_id = 'memory-' . ++$number;

		DigipayFault::try_sql($node, 'SELECT digipay_worker_stop()') if $module->{new_worker};
		DigipayTest::wait_until {
			defined DigipayFault::try_sql($node, 'SELECT digipay_worker_start()') };
		$shim->set(malloc_pid => DigipayTest::worker_pid($node) // 0,
			malloc_module => $module->{number}, malloc_countdown => $n, strikes => 0);
		# after trouble the worker rests for a second or more, and says so
		my ($outcome, $hit);
		DigipayTest::wait_until {
			$outcome = pay($ref_id, $module->{server});
			$hit = $shim->get('strikes');
			$hit || $outcome ne 'PY003';
		} 60;
		$shim->set(malloc_countdown => 0);
		# it may have had too little time, which is not what is looked for here
		$outcome = pay("$ref_id-again") if $module->{server} && !$hit && $outcome =~ /^(?:unknown|PY001)$/;
		$struck += $hit;
		$quiet = $hit || $outcome eq 'lost' ? 0 : $quiet + 1;
		$outcome{$outcome}++ if $hit;

		# an error says that nothing was sent
		push @wrong, "$n: $outcome, and it was received"
		  if $outcome !~ /^(?:succeeded|unknown|sending|lost)$/ && $provider->books($ref_id)->{pay_requests};
		push @wrong, "$n: $outcome"
		  if $outcome eq 'lost' ? !$module->{may_crash}
		  : $hit ? $outcome !~ /^(?:succeeded|unknown|sending|PY001|PY003|53200|HV00D)$/
		  : $outcome ne 'succeeded';
	}
	note("$name: $struck allocations failed: " . join(', ', map { "$outcome{$_} $_" } sort keys %outcome));
	cmp_ok($struck, '>=', $module->{least}, "$name: allocations have failed");
	is($quiet, 5, "$name: all of them");
	is_deeply(\@wrong, [], "$name: each payment ends as it may");
	$crashes = crashes() - $crashes;
	if ($module->{may_crash})
	{
		# 7.88 does, dividing by the size of a table that it could not make
		note("$name has crashed $crashes times by itself");
	}
	else
	{
		is($crashes, 0, "$name: nothing has crashed");
	}
	DigipayFault::recover($node);
	is_deeply([ DigipayFault::violations($node, $provider) ], [], "$name: the books agree");
	is(pay("after-$name"), 'succeeded', "$name: payments go on");
}

$node->stop('fast');
done_testing();
