# The journal goes with a dump: what was paid stays paid in the restored database.

use strict;
use warnings;

use DigipayTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $BILL = q{'pln', '530000000001'};
my @TABLES = qw(digipay_payment digipay_inquiry digipay_event digipay_product);

my $node = DigipayTest::new_node('dump', max_worker_processes => 16);
# what is open stays so, however long all this takes
my $provider = DigipayTest::start_provider(pending => 3_600_000);
$node->safe_psql('postgres', 'CREATE DATABASE regress_source');
# not in the first place that a search_path leads to
$node->safe_psql('regress_source', 'CREATE SCHEMA "Kas"; CREATE EXTENSION digipay SCHEMA "Kas"; '
	  . 'ALTER DATABASE regress_source SET search_path = "Kas", public');
DigipayTest::create_account($node, $provider, db => 'regress_source', status_interval => 3_600_000);

sub value
{
	my ($db, $query) = @_;
	return $node->safe_psql($db, $query);
}

# One row in each state that a payment can reach.
my %state_of = (
	'd-succeeded' => 'succeeded', 'd-failed' => 'failed', 'd-pending' => 'pending', 'd-unknown' => 'unknown',
	'd-rejected' => 'rejected', 'd-review' => 'review', 'd-refunded' => 'refunded', 'd-not-sent' => 'not_sent',
	'd-testing' => 'succeeded');
my %customer_of = ('d-failed' => '530000000006', 'd-pending' => '630000000001');
sub refusal
{
	my ($ref_id, $rc) = @_;
	return qq({"data":{"ref_id":"$ref_id","customer_no":"530000000001","code":"pln","rc":"$rc","status":"Gagal","message":"Maaf"}});
}
$provider->control(script => { ref_id => 'd-unknown', body => "\x01not JSON \\ '", book => JSON::PP::true() });
$provider->control(script => { ref_id => "d-$_->[0]", body => refusal("d-$_->[0]", $_->[1]) })
  for [ rejected => '44' ], [ review => '49' ], [ refunded => '74' ];
sub call
{
	my ($ref_id) = @_;
	my $customer = $customer_of{$ref_id} // '530000000001';
	my $testing = $ref_id eq 'd-testing' ? 'true' : 'NULL';
	return "digipay_pay('pln', '$customer', '$ref_id', $testing)";
}
for my $ref_id (sort grep { $_ ne 'd-not-sent' } keys %state_of)
{
	value('regress_source', "SELECT digipay_inquire($BILL, '$ref_id')") if $ref_id eq 'd-succeeded';
	is(value('regress_source', 'SELECT state FROM ' . call($ref_id)), $state_of{$ref_id}, "$ref_id: $state_of{$ref_id}");
}
value('regress_source', "SELECT digipay_inquire($BILL, 'd-inquiry')");
$provider->stop;
DigipayTest::fails_with($node, 'SELECT ' . call('d-not-sent'), 'PY001', 'd-not-sent: not sent', db => 'regress_source');
$provider->start;

# product codes of one's own: new ones, and one that means something else than is documented
value('regress_source', q{INSERT INTO digipay_product VALUES ('garut', 'pbb', ''), ('pln', 'plnnontaglis', 'other'), ('dspln', 'pdl', '')});
my $FAMILIES = q{SELECT string_agg(concat_ws(' ', code, server, family, built_in), ', ' ORDER BY code COLLATE "C", server) FROM digipay_product_family};
my $families = value('regress_source', $FAMILIES);
like($families, qr/\bdspln  pdl f, .*\bgarut  pbb f, .*\bpln  pln t, pln other plnnontaglis f\b/, 'the codes are joined with the documented ones');
my $READ = q{SELECT string_agg(ref_id, ' ' ORDER BY ref_id) FROM digipay_pln WHERE daya = 1300};
is(value('regress_source', $READ), 'd-succeeded', 'the typed views read the journal');

my %source;
for my $table (@TABLES)
{
	$source{$table} = value('regress_source', "SELECT t FROM $table t ORDER BY t::text");
	isnt($source{$table}, '', "$table has rows");
}
my $origin = value('regress_source', 'SELECT origin FROM digipay_fence');
my $last_event = value('regress_source', 'SELECT max(id) FROM digipay_event');

# ---------------------------------------------------------------------------

my $dir = PostgreSQL::Test::Utils::tempdir('digipay_dump');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/all.dump", $node->connstr('regress_source') ], 'pg_dump, custom format');
$node->command_ok([ 'pg_dump', '--create', '-f', "$dir/all.sql", $node->connstr('regress_source') ], 'pg_dump, plain');
my $plain = PostgreSQL::Test::Utils::slurp_file("$dir/all.sql");
unlike($plain, qr/COPY \S*digipay_fence|INSERT INTO \S*digipay_fence|\Q$origin\E.*since/, 'the fence is not dumped');
like($plain, qr/COPY "Kas"\.$_ /, "$_ is") for @TABLES;
unlike($plain, qr/CREATE (?:VIEW|TABLE|FUNCTION|INDEX)/, 'what the extension makes is not');

# the provider has forgotten, so whatever is sent from now on shows in new books
$provider->reset;

for my $way ([ 'regress_restored', 'pg_restore' ], [ 'regress_plain', 'psql' ])
{
	my ($db, $how) = @$way;
	if ($how eq 'pg_restore')
	{
		$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0");
		$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr($db), "$dir/all.dump" ], "$how restores");
		value('postgres', qq{ALTER DATABASE $db SET search_path = "Kas", public});
	}
	else
	{
		(my $renamed = $plain) =~ s/\bregress_source\b/$db/g;
		PostgreSQL::Test::Utils::append_to_file("$dir/renamed.sql", $renamed);
		$node->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/renamed.sql", $node->connstr('postgres') ],
			"$how restores");
	}

	for my $table (@TABLES)
	{
		is(value($db, "SELECT t FROM $table t ORDER BY t::text"), $source{$table}, "$how: $table is the same");
	}
	is(value($db, $FAMILIES), $families, "$how: the product codes mean what they did");
	is(value($db, $READ), 'd-succeeded', "$how: so does the typed view");
	is(value($db, 'SELECT count(*) FROM digipay_fence'), '0', "$how: there is no fence yet");
	is(value($db, q{SELECT string_agg(DISTINCT day::text, ',') = string_agg(DISTINCT (requested_at AT TIME ZONE 'Asia/Jakarta')::date::text, ',') FROM digipay_payment}),
		't', "$how: the generated day came along");
	is(value($db, q{SELECT count(*) FROM pg_extension WHERE extname = 'digipay'}), '1', "$how: the extension is there");
	isnt(DigipayTest::error_of($node, 'DROP TABLE digipay_payment', db => $db), undef, "$how: and owns its journal");

	# what is known is known here, too: no request
	my $requests = $provider->books->{requests};
	for my $ref_id (sort grep { $_ ne 'd-not-sent' } keys %state_of)
	{
		my $row = DigipayTest::row($node, 'SELECT * FROM ' . call($ref_id), db => $db);
		is("$row->{state} $row->{origin}", "$state_of{$ref_id} $origin", "$how, $ref_id: still $state_of{$ref_id}");
	}
	is($provider->books->{requests}, $requests, "$how: nothing was sent for them");
	DigipayTest::fails_with($node, q{SELECT digipay_pay('pln', '530000000002', 'd-succeeded')}, 'PY002',
		"$how: another bill is still another one", db => $db);
	# what is not is not paid here, until this database takes over
	DigipayTest::fails_with($node, "SELECT digipay_pay($BILL, '$_')", 'PY004', "$how: $_ is not paid here", db => $db)
	  for 'd-not-sent', "new-$db";
	is($provider->books->{requests}, $requests, "$how: nothing was sent for them");
	value($db, 'SELECT digipay_take_over(lost_nothing => true)');
	DigipayTest::fails_with($node, qq{SELECT digipay_pay($BILL, 'd-inquiry', NULL, NULL, 9999)}, 'PY006',
		"$how: max_price is held against the restored inquiry", db => $db);
	is($provider->books->{requests}, $requests, "$how: nothing was sent for these either");

	# and business goes on
	my $row = DigipayTest::row($node, "SELECT * FROM digipay_pay($BILL, 'new-$db')", db => $db);
	is($row->{state}, 'succeeded', "$how: a new payment");
	is($provider->booked("new-$db"), 1, "$how: is booked once");
	isnt($row->{origin}, $origin, "$how: under a mark of its own");
	is(value($db, 'SELECT origin FROM digipay_fence'), $row->{origin}, "$how: which is this database's now");

	$provider->control(script => { ref_id => "odd-$db", body => 'x', book => JSON::PP::true() });
	value($db, "SELECT digipay_pay($BILL, 'odd-$db')");
	is(value($db, "SELECT id > $last_event, (SELECT count(*) FROM digipay_event WHERE id <= $last_event) > 0 FROM digipay_event WHERE ref_id = 'odd-$db'"),
		't|t', "$how: new events are numbered after the restored ones");
}

# not_sent may leave, from one of the two
is(value('regress_restored', 'SELECT state FROM ' . call('d-not-sent')), 'succeeded', 'not_sent is sent from the restored database');
is($provider->booked('d-not-sent'), 1, 'and booked once');
is(value('regress_source', 'SELECT t FROM digipay_payment t WHERE ref_id = ' . q{'d-succeeded'}),
	(grep { /d-succeeded/ } split /\n/, $source{digipay_payment})[0], 'the source is as it was');

# data alone, into a database that has the extension already
$node->safe_psql('postgres', 'CREATE DATABASE regress_data TEMPLATE template0');
$node->safe_psql('regress_data', 'CREATE SCHEMA "Kas"; CREATE EXTENSION digipay SCHEMA "Kas"');
$node->command_ok([ 'pg_restore', '--exit-on-error', '--data-only', '-d', $node->connstr('regress_data'), "$dir/all.dump" ],
	'data alone');
is(value('regress_data', qq{SELECT t FROM "Kas".$_ t ORDER BY t::text}), $source{$_}, "$_ is there")
  for qw(digipay_payment digipay_product);

done_testing();
