# One bill, from an empty database to the provider's books.

use strict;
use warnings;

use DigipayTest;
use Test::More;

my $node = DigipayTest::new_node('smoke');
my $provider = DigipayTest::start_provider();
DigipayTest::create_account($node, $provider);

my @sick = grep { ($_->{ok} // 'null') eq 'false' }
  DigipayTest::rows($node, 'SELECT * FROM digipay_health()');
is_deeply([ map { "$_->{item}: $_->{detail}" } @sick ], [], 'nothing is amiss');

my $row = DigipayTest::row($node,
	q{SELECT * FROM digipay_pay('pln', '530000000001', 'smoke-1')});
is($row->{state}, 'succeeded', 'the payment succeeded');
is($row->{rc}, '00', 'with the response code of success');
is($row->{price}, '10000', 'and what it took from the deposit');
is_deeply(DigipayTest::payment($node, 'smoke-1'), $row,
	'the journal has the row that was returned');
is($provider->booked('smoke-1'), 1, 'the provider booked it once');

my $again = DigipayTest::row($node,
	q{SELECT * FROM digipay_pay('pln', '530000000001', 'smoke-1')});
is_deeply($again, $row, 'the same ref_id again gives the same row');
is($provider->booked('smoke-1'), 1, 'and is not booked again');

DigipayTest::fails_with($node,
	q{SELECT digipay_pay('pln', '530000000002', 'smoke-1')},
	'PY002', 'the same ref_id for another bill is an error');
DigipayTest::fails_with($node, q{SELECT digipay_pay('pln', '530000000001', NULL)},
	'22023', 'a NULL ref_id is an error');

$node->stop('fast');
$provider->stop;
ok(!$provider->running, 'the double ended');

done_testing();
