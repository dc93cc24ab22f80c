# The provider's own ways: it may insist on an inquiry first, have each ref_id
# but once, want a deposit, and take its time.

use strict;
use warnings;

use DigipayTest;
use Test::More;
use Time::HiRes ();

my $BILL = q{'pln', '530000000001'};

my $node = DigipayTest::new_node('modes');
my $provider = DigipayTest::start_provider(insist_on_inquiry => 1);
DigipayTest::create_account($node, $provider);

sub pay
{
	my ($ref_id, $bill) = @_;
	$bill //= $BILL;
	return DigipayTest::row($node, "SELECT * FROM digipay_pay($bill, '$ref_id')");
}

sub inquire
{
	my ($ref_id, $bill) = @_;
	$bill //= $BILL;
	return DigipayTest::row($node, "SELECT * FROM digipay_inquire($bill, '$ref_id')");
}

# ---------------------------------------------------------------------------
# It insists on an inquiry

my $row = pay('first-1');
is("$row->{state} $row->{rc}", 'rejected 62', 'a payment without an inquiry is rejected, as the provider says');
is($row->{message}, 'Belum ada inquiry hari ini', 'in its words');
is($provider->booked('first-1'), 0, 'nothing is booked');
ok(defined $row->{final_at} && !defined $row->{next_check_at}, 'that is final');
is(inquire('first-1')->{rc}, '00', 'an inquiry of the same ref_id all the same');
is(pay('first-1')->{state}, 'rejected', 'does not change what was said: digipay_pay never sends it again');
is($provider->books('first-1')->{pay_requests}, 1, 'it was sent once');

my $bill = inquire('asked-1');
is("$bill->{status} $bill->{price} $bill->{selling_price}", 'Sukses 10000 11000', 'an inquiry says what is owed');
is($provider->books('asked-1')->{inquiries}, 1, 'the provider was asked');
is($provider->booked('asked-1'), 0, 'and no money moved');
is(DigipayTest::payment($node, 'asked-1'), undef, 'nor is there a payment');
is(pay('asked-1')->{state}, 'succeeded', 'after the inquiry the same ref_id is paid');
is($provider->booked('asked-1'), 1, 'and booked once');

DigipayTest::fails_with($node, q{SELECT digipay_pay('pln', '530000000002', 'asked-1')}, 'PY002',
	'another bill under the ref_id of a payment');
inquire('asked-2');
DigipayTest::fails_with($node, q{SELECT digipay_pay('pln', '530000000002', 'asked-2')}, 'PY002',
	'another bill under the ref_id of an inquiry', hint => qr/new ref_id/);
DigipayTest::fails_with($node, qq{SELECT digipay_pay($BILL, 'asked-2', true)}, 'PY002',
	'a test under the ref_id of a real inquiry');
is($provider->books('asked-2')->{pay_requests}, 0, 'neither was sent');
DigipayTest::fails_with($node, q{SELECT digipay_inquire('pln', '530000000002', 'asked-1')}, 'PY002',
	'an inquiry under the ref_id of another bill\'s payment');
is($provider->books('asked-1')->{inquiries}, 1, 'nor was that asked');

# the inquiry itself fails
$bill = inquire('asked-3', q{'pln', '530000000003'});
is("$bill->{status} $bill->{rc}", 'Gagal 60', 'there is no bill: an answer');
is(pay('asked-3', q{'pln', '530000000003'})->{state}, 'rejected', 'paid all the same: the provider has no inquiry, and says so');
is($provider->booked('asked-3'), 0, 'nothing is booked');

# a later answer takes the place of an earlier one
inquire('asked-4');
my $second = inquire('asked-4', q{'pln', '530000000002'});
is("$second->{customer_no} $second->{price}", '530000000002 23000', 'before a payment a ref_id may be asked about anew');
is($node->safe_psql('postgres', q{SELECT count(*) FROM digipay_inquiry WHERE ref_id = 'asked-4'}), '1', 'there is one row, the last answer');

# max_price holds the inquiry against the money
for my $case ([ '9999', 'PY006' ], [ '10000', undef ])
{
	my ($limit, $sqlstate) = @$case;
	my $error = DigipayTest::error_of($node, "SELECT digipay_pay($BILL, 'asked-2', NULL, NULL, $limit)");
	is($error->{sqlstate}, $sqlstate, "max_price $limit for a bill of 10000");
}
is($provider->booked('asked-2'), 1, 'paid once the limit allowed it');
DigipayTest::fails_with($node, "SELECT digipay_pay($BILL, 'not-asked', NULL, NULL, 10000)", 'PY006',
	'max_price without an inquiry', hint => qr/digipay_inquire/);
inquire('asked-5', q{'pln', '530000000003'});
DigipayTest::fails_with($node, q{SELECT digipay_pay('pln', '530000000003', 'asked-5', NULL, NULL, 1000000)}, 'PY006',
	'max_price with an inquiry that failed');
is($provider->books('asked-5')->{pay_requests}, 0, 'was not sent');

# the products with arguments of their own
is(inquire('year-1', q{'cimahi', '329801092375999991'})->{rc}, '00', 'property tax');
is(DigipayTest::row($node, q{SELECT * FROM digipay_inquire('cimahi', '329801092375999991', 'year-2', year => 2019)})->{rc}, '00',
	'property tax of a year');
is(DigipayTest::row($node, q{SELECT * FROM digipay_inquire('emoney', '082100000001', 'amount-1', amount => 50000)})->{rc}, '00', 'e-money');
DigipayTest::fails_with($node, q{SELECT digipay_inquire('emoney', '082100000001', 'amount-2', amount => 50001)}, '22023',
	'e-money of an odd amount');
is(pay('amount-1', q{'emoney', '082100000001'})->{state}, 'succeeded', 'and is paid');

$provider->control(insist_on_inquiry => 0);

# ---------------------------------------------------------------------------
# Every ref_id but once

$provider->control(unique_ref_id => 1);
is(pay('unique-1')->{state}, 'succeeded', 'the first time');
# as if our journal had lost it
$node->safe_psql('postgres', q{DELETE FROM digipay_payment WHERE ref_id = 'unique-1'});
$row = pay('unique-1');
is("$row->{state} $row->{rc}", 'review 49', 'a ref_id that the provider has already is for a person to look at');
like($row->{error}, qr/already/, 'and the row says why');
is($row->{next_check_at} . (defined $row->{final_at} ? ' final' : ''), 'infinity', 'it is parked');
is($provider->booked('unique-1'), 1, 'it is still booked once');
is_deeply(pay('unique-1'), $row, 'and is not sent again');
is($provider->books('unique-1')->{pay_requests}, 2, 'as the books show');
$provider->control(unique_ref_id => 0);

# ---------------------------------------------------------------------------
# The deposit

$provider->control(balance => 25_000);
is(pay('deposit-1')->{balance}, '15000', 'what is left is in the row');
is(pay('deposit-2')->{balance}, '5000', 'less each time');
$row = pay('deposit-3');
is("$row->{state} $row->{rc}", 'rejected 44', 'too little: rejected');
is($provider->booked('deposit-3'), 0, 'not booked');
is($provider->books->{balance}, 5000, 'and nothing taken');
$provider->control(balance => undef);

# ---------------------------------------------------------------------------
# It takes its time

my %late = ('630000000001' => 'then success', '630000000006' => 'then failure');
for my $customer (sort keys %late)
{
	my $ref_id = "late-$customer";
	$row = pay($ref_id, "'pln', '$customer'");
	is("$row->{state} $row->{rc} $row->{status}", 'pending 03 Pending', "pending, $late{$customer}: pending");
	ok(defined $row->{next_check_at} && !defined $row->{final_at}, "pending, $late{$customer}: open");
	is_deeply(pay($ref_id, "'pln', '$customer'"), $row, "pending, $late{$customer}: the row as it stands");
	is($provider->books($ref_id)->{pay_requests}, 1, "pending, $late{$customer}: one request");
}
$row = pay('failed-1', q{'pln', '530000000006'});
is("$row->{state} $row->{rc}", 'failed 02', 'a payment that fails');
is($provider->booked('failed-1'), 0, 'is not booked');

$provider->control(delay => 300);
my $begun = Time::HiRes::time();
is(pay('slow-1')->{state}, 'succeeded', 'a slow answer is waited for');
cmp_ok(Time::HiRes::time() - $begun, '>', 0.25, 'as long as it takes');
$provider->control(delay => 0);

# ---------------------------------------------------------------------------

my $refs = $provider->books->{refs};
my %state = map { $_->{ref_id} => $_->{state} } DigipayTest::rows($node, 'SELECT ref_id, state FROM digipay_payment');
is(join(' ', grep { $refs->{$_}{booked} > 1 } sort keys %$refs), '', 'nothing is booked twice');
is(join(' ', grep { $refs->{$_}{booked} && $state{$_} =~ /not_sent|rejected|cancelled|failed/ } sort keys %$refs), '',
	'nor booked where the journal denies it');
is(scalar($provider->complaints), 0, 'and nobody complains');

done_testing();
