# What the journal's owner can do to it: nothing of it makes a payment leave
# without its row, or loses an outcome.

use strict;
use warnings;

use DigipayTest;
use Test::More;

my $node = DigipayTest::new_node('journal');
my $provider = DigipayTest::start_provider();
DigipayTest::create_account($node, $provider);

my $bill = q{'pln', '530000000001'};

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub pay { return sql("SELECT state FROM digipay_pay($bill, '$_[0]')") }
sub requests { return $provider->books($_[0])->{pay_requests} // 0 }

is(pay('before'), 'succeeded', 'a payment to begin with');

# ---------------------------------------------------------------------------
# Triggers and rules that could change what is written: nothing leaves.

sql(q{CREATE FUNCTION change_it() RETURNS trigger LANGUAGE plpgsql
	AS $$ BEGIN NEW.ref_id := NEW.ref_id || 'x'; RETURN NEW; END $$});
sql(q{CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$});

my $number = 0;
for my $obstacle (
	[ 'a trigger that changes the row', 'CREATE TRIGGER t BEFORE INSERT ON digipay_payment FOR EACH ROW EXECUTE FUNCTION change_it()' ],
	[ 'a trigger that drops the row', 'CREATE TRIGGER t BEFORE INSERT ON digipay_payment FOR EACH ROW EXECUTE FUNCTION drop_it()' ],
	[ 'a trigger on the outcome', 'CREATE TRIGGER t BEFORE UPDATE ON digipay_payment FOR EACH ROW EXECUTE FUNCTION drop_it()' ],
	[ 'a rule', 'CREATE RULE t AS ON INSERT TO digipay_payment DO INSTEAD NOTHING' ])
{
	my ($name, $statement) = @$obstacle;
	my $ref_id = 'tampered-' . ++$number;

	sql($statement);
	DigipayTest::fails_with($node, "SELECT digipay_pay($bill, '$ref_id')",
		'PY003', $name, message => qr/trigger or rule/, hint => qr/Drop/);
	is(requests($ref_id), 0, "$name: nothing was sent");
	sql($statement =~ /RULE/ ? 'DROP RULE t ON digipay_payment' : 'DROP TRIGGER t ON digipay_payment');
	is(pay($ref_id), 'succeeded', "$name: without it the payment is made");
	is(requests($ref_id), 1, "$name: once");
}

# one that only looks on is nobody's business
sql(q{CREATE TABLE seen (ref_id text, state digipay_state)});
sql(q{CREATE FUNCTION look_on() RETURNS trigger LANGUAGE plpgsql
	AS $$ BEGIN INSERT INTO public.seen VALUES (NEW.ref_id, NEW.state); RETURN NULL; END $$});
sql('CREATE TRIGGER t AFTER UPDATE ON digipay_payment FOR EACH ROW EXECUTE FUNCTION look_on()');
is(pay('looked-on'), 'succeeded', 'an AFTER trigger does no harm');
is(sql("SELECT state FROM seen WHERE ref_id = 'looked-on'"), 'succeeded', 'and sees the outcome');
sql('DROP TRIGGER t ON digipay_payment');

# ---------------------------------------------------------------------------
# An outcome that the table refuses is kept, and written when it can be.

sql(q{ALTER TABLE digipay_payment ADD CONSTRAINT refuse
	CHECK (ref_id <> 'refused' OR state <> 'succeeded')});
is(pay('refused'), 'sending', 'the outcome cannot be written: the row as it stands');
is($provider->booked('refused'), 1, 'it was paid');
is(pay('others'), 'succeeded', 'others go on');
is(sql("SELECT count(*) FROM digipay_event WHERE ref_id = 'refused' AND kind = 'unstored' AND length(body) > 100"),
	1, 'the bytes of the answer are safe');
sql('ALTER TABLE digipay_payment DROP CONSTRAINT refuse');
DigipayTest::wait_for_state($node, 'refused', 'succeeded', seconds => 60);
is(requests('refused'), 1, 'the outcome is written later, without another request');

# ---------------------------------------------------------------------------
# A journal that cannot be written at all.

sql('ALTER TABLE digipay_payment RENAME COLUMN origin TO elsewhere');
DigipayTest::fails_with($node, "SELECT digipay_pay($bill, 'unwritable')",
	'PY003', 'the intent cannot be written', detail => qr/origin/);
is(requests('unwritable'), 0, 'nothing was sent');
sql('ALTER TABLE digipay_payment RENAME COLUMN elsewhere TO origin');
is(pay('unwritable'), 'succeeded', 'the same ref_id pays when it can be written');

# one outcome may be a matter of its row, several are not: nothing new leaves then
sql('ALTER TABLE digipay_payment RENAME COLUMN name TO elsewhere');
is(pay("stuck-$_"), 'sending', "outcome $_ cannot be written") for 1 .. 3;
DigipayTest::fails_with($node, "SELECT digipay_pay($bill, 'stuck-4')",
	'PY003', 'after three of them a payment is refused', message => qr/cannot write/);
is(requests('stuck-4'), 0, 'and not sent');
is(pay('stuck-1'), 'sending', 'but not called unsent where it was sent');
sql('ALTER TABLE digipay_payment RENAME COLUMN elsewhere TO name');
DigipayTest::wait_for_state($node, "stuck-$_", 'succeeded', seconds => 60) for 1 .. 3;
is(requests("stuck-$_"), 1, "payment $_ was sent once") for 1 .. 3;
is(pay('stuck-4'), 'succeeded', 'payments go on when the outcomes have been written');

# a column more changes nothing
sql('ALTER TABLE digipay_payment ADD COLUMN shop text');
is(pay('one-more-column'), 'succeeded', 'the journal may have columns of its owner');

# columns that come while payments are made: a call may be refused, but an error
# still means that nothing was sent
$provider->control(delay => 5);
my @clients = map {
	my $client = $_;
	DigipayTest::async($node, join ';', map { "SELECT state FROM digipay_pay($bill, 'add-$client-$_')" } 1 .. 40);
} 1 .. 6;
# (who is refused calls no more: begin when they are at it)
DigipayTest::wait_until { grep { /^add-/ } keys %{ $provider->books->{refs} } } 60;
for my $column (1 .. 8)
{
	sql("ALTER TABLE digipay_payment ADD COLUMN more$column text");
	select(undef, undef, undef, 0.02);
}
my $answered = 0;
$answered += () = $_->finish->{out} =~ /succeeded/g for @clients;
$provider->control(delay => 0);
is(sql(q{SELECT count(*) FROM digipay_payment WHERE ref_id LIKE 'add-%'}), $answered,
	"all that were sent were answered ($answered)");
cmp_ok($answered, '>', 0, 'which were some');

# another name for the schema
sql('ALTER SCHEMA public RENAME TO elsewhere');
is(sql("SET search_path = elsewhere; SELECT state FROM digipay_pay($bill, 'renamed')"),
	'succeeded', 'the schema may be renamed');
sql('ALTER SCHEMA elsewhere RENAME TO public');
is(pay('renamed-back'), 'succeeded', 'and renamed back');

# rewritten under load; who is told that a lock was in the way calls again
sql(qq{CREATE FUNCTION pay_after_all(ref_id text) RETURNS digipay_state LANGUAGE plpgsql AS \$\$
	BEGIN
		FOR try IN 1 .. 60 LOOP
			BEGIN
				RETURN (digipay_pay($bill, ref_id)).state;
			EXCEPTION WHEN lock_not_available THEN
			END;
		END LOOP;
		RETURN NULL;
	END \$\$});
my $load = DigipayTest::async($node,
	q{SELECT count(*) FROM generate_series(1, 200) i, pay_after_all('rewrite-' || i) state WHERE state = 'succeeded'});
sql('VACUUM FULL digipay_payment') for 1 .. 3;
sql('REINDEX TABLE digipay_payment');
is($load->out, 200, 'VACUUM FULL and REINDEX beside payments');
my $refs = $provider->books->{refs};
is(scalar(grep { /^rewrite-/ && $refs->{$_}{pay_requests} == 1 } keys %$refs), 200, 'each sent once');
is($provider->books->{complaint_count}, 0, 'the provider has no complaint');

done_testing();
