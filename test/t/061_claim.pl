# The indexes of the reports cost the worker nothing: taking a payment from the
# queue stays an update in place, without a new entry in any index.

use strict;
use warnings;

use DigipayTest;
use Test::More;

my $node = DigipayTest::new_node('claim', autovacuum => 'off');
my $provider = DigipayTest::start_provider();
DigipayTest::create_account($node, $provider);

my $count = 100;
$node->safe_psql('postgres',
	"SELECT digipay_submit('pln', '530000000001', 'c-' || i) FROM generate_series(1, $count) AS i");
DigipayTest::poll_until($node, qq{SELECT count(*) = $count FROM digipay_payment WHERE state = 'succeeded'});

# one update for the claim and one for the outcome, which leaves the worker's
# index; the worker tells its figures about once a second
DigipayTest::poll_until($node, qq{SELECT n_tup_upd >= 2 * $count FROM pg_stat_user_tables WHERE relname = 'digipay_payment'});
my ($updates, $in_place) = split /\|/,
  $node->safe_psql('postgres', q{SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'digipay_payment'});
is($updates, 2 * $count, 'two updates each');
# a page may be full before its last row is updated
cmp_ok($in_place, '>=', 0.9 * $count, 'and the claim in place');

done_testing();
