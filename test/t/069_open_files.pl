# A worker may have as many connections as digipay.max_connections says, although
# the server was started with a lower limit on open files.

use strict;
use warnings;

use DigipayTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $MANY = 200;					# more than the limit leaves room for
my $LOW = 160;					# enough for PostgreSQL itself

my $provider = DigipayTest::start_provider();
my $node = DigipayTest::new_node('open_files', fsync => 'off', max_files_per_process => 100);
$node->append_conf('postgresql.conf', "digipay.max_connections = $MANY");

sub sql { return $node->safe_psql('postgres', $_[0]) }

# What this process starts from now on has these limits, soft and hard.
sub limit
{
	my ($soft, $hard) = @_;
	system_or_bail('prlimit', "--pid=$$", "--nofile=$soft:$hard");
	return;
}

# The worker's limits as the system sees them: soft, hard.
sub limits_of_worker
{
	my $line = (grep { /^Max open files/ } split /\n/, slurp_file('/proc/' . DigipayTest::worker_pid($node) . '/limits'))[0];
	return $line =~ /(\d+)\s+(\d+)\s+files/;
}

# Pay many at once; no reply comes before something is true.
sub pay_many
{
	my ($prefix, $enough) = @_;
	$provider->hold;
	sql("SELECT count(digipay_submit('pln', '530000000001', '$prefix-' || i)) FROM generate_series(1, $MANY) i");
	eval { DigipayTest::wait_until { $enough->() } 60 };
	$provider->release;
	$node->poll_query_until('postgres', "SELECT count(*) = $MANY FROM digipay_payment WHERE ref_id LIKE '$prefix-%' AND state = 'succeeded'")
	  or die "not all of $prefix are paid";
	return;
}

my (undef, undef, $hard) = split ' ', `prlimit --pid=$$ --nofile --output=RESOURCE,SOFT,HARD --noheadings`;
$hard = 4096 if $hard eq 'unlimited';

# ------------------------------------------------------ the soft limit is low

limit($LOW, $hard);
$node->restart;
DigipayTest::create_account($node, $provider, max_in_flight => $MANY);
pay_many('soft', sub { $provider->books->{in_flight} == $MANY });
my ($soft) = limits_of_worker();
cmp_ok($soft, '>=', 100 + $MANY, 'the worker has raised its own limit');
is(sql("SELECT count(*), max(note) FROM digipay_event WHERE kind = 'transport'"), '0|', 'no payment lacked a socket');
is($provider->books->{connections}, $MANY, 'and all of them were in flight at once');
unlike(slurp_file($node->logfile), qr/is sure of only/, 'nor is there anything to complain of');

# --------------------------------------------------- so is the hard limit

limit($LOW, $LOW);
my $offset = -s $node->logfile;
$node->restart;
my $LACKED = q{SELECT count(*) FROM digipay_event WHERE kind = 'transport' AND note LIKE 'too many files are open %'};
pay_many('hard', sub { sql($LACKED) > 0 });
is((limits_of_worker())[0], $LOW, 'the hard limit stays');
like(slurp_file($node->logfile, $offset), qr/LOG:  the digipay worker is sure of only 0 of $MANY connections/, 'the log tells that it is too low');
cmp_ok(sql($LACKED), '>', 0, 'what had no socket says why');
is(sql("SELECT count(*) FROM digipay_payment WHERE state <> 'succeeded'"), '0', 'and was paid a little later');
my $refs = $provider->books->{refs};
is(join(' ', grep { $refs->{$_}{booked} != 1 } keys %$refs), '', 'each once');

$node->stop;
$provider->stop;
done_testing();
