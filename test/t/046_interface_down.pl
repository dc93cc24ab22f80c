# The network goes down in the middle of a payment, and comes back.  What was on its
# way is unknown when its time is over; it is not sent again, not even by the kernel's
# hand to a provider who has it already.  Judged by the double's books.
#
# All of it runs in a network namespace of its own, made by unshare as an ordinary
# user; where the system does not allow that there is no such test:
#	unshare -Un --map-current-user --keep-caps true
#
# The numbers are those of doc/faults.md.

use strict;
use warnings;

use Socket qw(PF_INET SOCK_DGRAM);
use Test::More;

BEGIN
{
	my @inside = qw(unshare -Un --map-current-user --keep-caps);
	if (!$ENV{DIGIPAY_TEST_INSIDE})
	{
		if (system("@inside true 2>/dev/null") != 0)
		{
			plan skip_all => "no network namespace to be had: @inside true fails";
		}
		$ENV{DIGIPAY_TEST_INSIDE} = 1;
		# an identity that postgres does not refuse, with the right to the namespace
		exec(@inside, $^X, (map { "-I$_" } @INC), $0, @ARGV) or die "exec: $!";
	}
	delete $ENV{DIGIPAY_TEST_INSIDE};
}

# Switches the loopback interface, all the network that there is here.
sub network
{
	my ($up) = @_;
	socket(my $socket, PF_INET, SOCK_DGRAM, 0) or die "socket: $!";
	my $request = pack('a16 s x22', 'lo', 0);
	ioctl($socket, 0x8913, $request) or die "SIOCGIFFLAGS: $!";
	my (undef, $flags) = unpack('a16 s', $request);
	$flags = $up ? $flags | 1 : $flags & ~1;
	ioctl($socket, 0x8914, pack('a16 s x22', 'lo', $flags)) or die "SIOCSIFFLAGS: $!";
	return;
}

BEGIN { network(1) }

use DigipayTest;
use Time::HiRes qw(sleep time);

my $BILL = q{'pln', '530000000001'};

my $node = DigipayTest::new_node('interface_down');
my $provider = DigipayTest::start_provider();
DigipayTest::create_account($node, $provider);
# Where no answer comes: time enough for the request to arrive, were a process stopped
# for a while; and less of it, where it need not arrive.
my $PATIENCE = 3.5;
DigipayTest::create_account($node, $provider, server => 'patient', timeout => 1000 * $PATIENCE);
DigipayTest::create_account($node, $provider, server => 'hasty', timeout => 1500, connect_timeout => 1000);

sub pay
{
	my ($ref_id) = @_;
	return DigipayTest::row($node, "SELECT * FROM digipay_pay($BILL, '$ref_id')");
}

sub standing
{
	my ($ref_id) = @_;
	my $books = $provider->books($ref_id);
	return ($books->{pay_requests} // 0) . ' ' . ($books->{booked} // 0);
}

is(pay('up')->{state}, 'succeeded', 'N39 the network is up: paid');

# received, and the answer cannot come back
$provider->hold;
my $call = DigipayTest::async($node, "SELECT state, extract(epoch FROM clock_timestamp() - requested_at)
	FROM digipay_pay($BILL, 'middle', server => 'patient')");
DigipayTest::wait_until { standing('middle') eq '1 1' };
network(0);
my ($state, $seconds) = split /\|/, $call->out;
is($state, 'unknown', 'N39 down while the answer is awaited: unknown');
cmp_ok($seconds, '>=', $PATIENCE, 'N39: when the time is over');
# the kernel would go on for a quarter of an hour
cmp_ok($seconds, '<', 60, 'N39: and not much later');

# nothing can be reached: neither over the kept connection nor a new one
my $begun = time;
my $down = DigipayTest::error_of($node, "SELECT digipay_pay($BILL, 'down', server => 'hasty')");
my $row = DigipayTest::payment($node, 'down');
is("$down->{sqlstate} $row->{state}", 'PY001 not_sent', 'N39 all the while down: not sent');
# of its own accord the kernel gives up a connection after two minutes
cmp_ok(time - $begun, '<', 60, 'N39: which is said in time');
network(1);
$provider->release;
is(standing('down'), '0 0', 'N39 up again: of that the provider knows nothing');
is(standing('middle'), '1 1', 'N39: and of the other one what it knew');
is(pay('middle')->{state}, 'unknown', 'N39: which is unknown still');
is(standing('middle'), '1 1', 'N39: and not sent again');
is(pay('down')->{state} . ' ' . standing('down'), 'succeeded 1 1', 'N39: what was not sent is paid, once');

# the request leaves over a kept connection into a network that is down: the kernel
# takes it, and brings it later, when nobody waits for it any more
is(pay('kept')->{state}, 'succeeded', 'N39 a connection to be kept');
network(0);
$call = DigipayTest::async($node, "SELECT state FROM digipay_pay($BILL, 'swallowed', server => 'hasty')");
$call->finish;
$row = DigipayTest::payment($node, 'swallowed');
like($row->{state}, qr/^(?:unknown|not_sent)$/, "N39 down before the request leaves: $row->{state}");
is($row->{state} eq 'unknown', defined $row->{sent_at}, 'N39: unknown, if it may have left');
network(1);
sleep 3;
my ($received, $booked) = split / /, standing('swallowed');
note("swallowed: received $received, booked $booked");
cmp_ok($received, '<=', $row->{state} eq 'unknown' ? 1 : 0, 'N39: received once at most, and not at all if it is called not sent');
if ($row->{state} eq 'unknown')
{
	is(pay('swallowed')->{state}, 'unknown', 'N39: asked for again, it is unknown');
	is(standing('swallowed'), "$received $booked", 'N39: and not sent again');
}
is(pay('after')->{state} . ' ' . standing('after'), 'succeeded 1 1', 'N39: and life goes on');

done_testing();
