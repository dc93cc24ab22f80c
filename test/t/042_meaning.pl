# What a payment means to the provider, where that hangs on the day: it may insist on
# an inquiry of the same day, which ends at midnight in Jakarta.  What single replies
# mean is in 022_replies.pl, what becomes of open outcomes in 044_open_outcomes.pl.
#
# The numbers are those of doc/faults.md.

use strict;
use warnings;

use DigipayShim;
use DigipayTest;
use Test::More;

my $BILL = q{'pln', '530000000001'};

DigipayShim::available() or plan skip_all => 'no C compiler for test/t/lib/shim.c';

# one clock for both
my ($node, $provider);
DigipayShim::under(sub {
	$node = DigipayTest::new_node('meaning');
	$provider = DigipayTest::start_provider(insist_on_inquiry => 1);
});
DigipayTest::create_account($node, $provider);

# Sets the clock to so many seconds after a midnight in Jakarta, always the same
# one: the next after the test's begin.
my $midnight = time + 86400 - (time + 7 * 3600) % 86400;

sub set_clock
{
	my ($seconds) = @_;
	DigipayShim::jump($midnight - time + $seconds);
	return;
}

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

my $row = pay('never');
is("$row->{state} $row->{rc} " . standing('never'), 'rejected 62 1 0', 'S18 without an inquiry: rejected, not booked');

set_clock(-1800);
$node->safe_psql('postgres', "SELECT digipay_inquire($BILL, '$_')") for qw(today tomorrow late);
my $before = pay('today');
is("$before->{state} $before->{rc} " . standing('today'), 'succeeded 00 1 1', 'S18 half an hour before midnight, inquired about today: paid');

set_clock(1800);
$row = pay('tomorrow');
is("$row->{state} $row->{rc} " . standing('tomorrow'), 'rejected 62 1 0', 'S18 half an hour after midnight, inquired about yesterday: rejected');
is($row->{message}, 'Belum ada inquiry hari ini', 'S18: in the provider\'s words');
ok(defined $row->{final_at} && !defined $row->{next_check_at}, 'S18: that is final');
is_deeply(pay('tomorrow'), $row, 'S18: asked for again, the same row');
is(standing('tomorrow'), '1 0', 'S18: and nothing is sent again');
is($node->safe_psql('postgres', "SELECT '$row->{day}'::date - '$before->{day}'::date"), '1',
	'S18: the day of the two payments is that of Jakarta, where it has changed');

# inquired about anew, what has never left is paid
is(DigipayTest::row($node, "SELECT * FROM digipay_inquire($BILL, 'late')")->{rc}, '00', 'S18: an inquiry of the new day');
$row = pay('late');
is("$row->{state} $row->{rc} " . standing('late'), 'succeeded 00 1 1', 'S18: and the payment is made');
# an answer of yesterday's is still held against the limit that the caller sets
set_clock(86400 + 1800);
$node->safe_psql('postgres', "SELECT digipay_inquire($BILL, 'limit')");
set_clock(2 * 86400 + 1800);
DigipayTest::fails_with($node, "SELECT digipay_pay($BILL, 'limit', max_price => 9999)", 'PY006',
	'S18: max_price is held against yesterday\'s inquiry');
is(standing('limit'), '0 0', 'S18: and nothing is sent');

# ---------------------------------------------------------------------------
# Another bill under a known ref_id, in either direction, is refused before it leaves

$provider->control(insist_on_inquiry => 0);
DigipayShim::jump(0);
for my $testing ('false', 'true')
{
	my $other = $testing eq 'true' ? 'false' : 'true';
	my $ref_id = "testing-$testing";

	is(DigipayTest::row($node, "SELECT * FROM digipay_pay($BILL, '$ref_id', $testing)")->{state}, 'succeeded', "S21 testing $testing: paid");
	DigipayTest::fails_with($node, "SELECT digipay_pay($BILL, '$ref_id', $other)", 'PY002', "S21 then with testing $other: PY002");
	DigipayTest::fails_with($node, "SELECT digipay_inquire($BILL, '$ref_id', $other)", 'PY002', "S21 and an inquiry with testing $other: PY002");
	is(standing($ref_id) . ' ' . $provider->books($ref_id)->{inquiries}, '1 1 0', "S21 testing $testing: one request");
}

my $refs = $provider->books->{refs};
is(join(' ', grep { $refs->{$_}{pay_requests} > 1 || $refs->{$_}{booked} > 1 } sort keys %$refs), '', 'nothing was received or booked twice');

done_testing();
