# Whatever becomes of the caller's transaction, and however often a plan might
# want to run the call: a payment is made once, and stays.

use strict;
use warnings;

use DigipayTest;
use Test::More;

my $node = DigipayTest::new_node('transactions', max_prepared_transactions => 10);
my $provider = DigipayTest::start_provider();
DigipayTest::create_account($node, $provider);

my $bill = q{'pln', '530000000001'};

# The journal says succeeded, and the provider was asked once and booked once.
sub paid_once
{
	my ($ref_id, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $row = DigipayTest::payment($node, $ref_id);
	my $books = $provider->books($ref_id);

	return is_deeply(
		[ $row ? $row->{state} : undef, $books->{pay_requests}, $books->{booked} ],
		[ 'succeeded', 1, 1 ],
		"$name: paid once, and stays so");
}

# Nothing of that ref_id has reached the provider, or the journal.
sub not_paid
{
	my ($ref_id, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is_deeply([ DigipayTest::payment($node, $ref_id), $provider->books($ref_id) ],
		[ undef, {} ], "$name: nothing was sent");
}

# A script of SQL in one session, which may fail in between.
sub script
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	$node->psql('postgres', $sql, stdout => \$out, stderr => \$err, on_error_stop => 0,
		extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return ($out, $err);
}

my ($out, $err);

# ------------------------------------------------------------ it stays paid

($out) = script("BEGIN; SELECT state FROM digipay_pay($bill, 'rollback'); ROLLBACK;");
is($out, 'succeeded', 'ROLLBACK: the row was returned');
paid_once('rollback', 'ROLLBACK');

($out) = script(
	"BEGIN; SAVEPOINT s; SELECT state FROM digipay_pay($bill, 'savepoint'); ROLLBACK TO s;"
	  . " SELECT state FROM digipay_pay($bill, 'savepoint'); COMMIT;");
is($out, "succeeded\nsucceeded", 'ROLLBACK TO SAVEPOINT: the row, and again');
paid_once('savepoint', 'ROLLBACK TO SAVEPOINT');

($out) = script(<<'SQL');
CREATE TABLE note (text text);
DO $$
DECLARE
	p digipay_payment;
BEGIN
	BEGIN
		p := digipay_pay('pln', '530000000001', 'exception');
		INSERT INTO note VALUES ('in the block');
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
		INSERT INTO note SELECT 'caught, ' || (digipay_pay('pln', '530000000001', 'exception')).state;
	END;
END $$;
SELECT text FROM note;
SQL
is($out, 'caught, succeeded', 'EXCEPTION block: its work is undone, the payment is not');
paid_once('exception', 'EXCEPTION block');

# The order of evaluation is the target list's.
($out, $err) = script("SELECT digipay_pay($bill, 'before'), 1 / (SELECT count(*) FROM note WHERE false)");
like($err, qr/22012/, 'pay, then an error: the statement fails');
paid_once('before', 'pay, then an error in the same statement');
($out, $err) = script("SELECT 1 / (SELECT count(*) FROM note WHERE false), digipay_pay($bill, 'after')");
like($err, qr/22012/, 'an error, then pay: the statement fails');
not_paid('after', 'an error, then pay in the same statement');
# folded at plan time, so before everything
($out, $err) = script("SELECT digipay_pay($bill, 'folded'), 1 / 0");
like($err, qr/22012/, 'a constant error: the statement fails');
not_paid('folded', 'a constant error beside pay');

($out, $err) = script(
	"BEGIN; SELECT state FROM digipay_pay($bill, 'aborted-1'); SELECT 1 / 0;"
	  . " SELECT state FROM digipay_pay($bill, 'aborted-2'); ROLLBACK;");
like($err, qr/22012\b.*25P02/s, 'an aborted transaction pays no more');
paid_once('aborted-1', 'paid before the transaction was aborted');
not_paid('aborted-2', 'in an aborted transaction');

($out, $err) = script(
	"BEGIN; CREATE TABLE gone (i int); SELECT state FROM digipay_pay($bill, 'prepared');"
	  . " PREPARE TRANSACTION 'digipay';");
is($err, '', 'PREPARE TRANSACTION works after a payment');
is(DigipayTest::payment($node, 'prepared')->{state}, 'succeeded', 'and the payment is there');
script("ROLLBACK PREPARED 'digipay'");
is($node->safe_psql('postgres', "SELECT to_regclass('gone') IS NULL"),
	't', 'ROLLBACK PREPARED undoes the rest');
paid_once('prepared', 'ROLLBACK PREPARED');

# ---------------------------------------------------------- isolation levels

for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	(my $ref_id = lc "level $level") =~ s/ /-/g;
	my $session = DigipayTest::session($node);

	$session->query_safe("BEGIN ISOLATION LEVEL $level");
	# this is what fixes the snapshot
	$session->query_safe('SELECT count(*) FROM digipay_payment');
	my $first = $session->query_safe("SELECT digipay_pay($bill, '$ref_id')");
	like($first, qr/,succeeded,/, "$level: the caller gets the row");
	is($session->query_safe("SELECT digipay_pay($bill, '$ref_id')"),
		$first, "$level: and again in the same transaction");
	is( $session->query_safe("SELECT count(*) FROM digipay_payment WHERE ref_id = '$ref_id'"),
		$level eq 'READ COMMITTED' ? 1 : 0,
		"$level: what a query sees is as the level says");
	# somebody else's payment, made since
	$node->safe_psql('postgres', "SELECT digipay_pay($bill, '$ref_id-other')");
	like($session->query_safe("SELECT digipay_pay($bill, '$ref_id-other')"),
		qr/,succeeded,/, "$level: a payment that another session has made since");
	my $inquiry = $session->query_safe("SELECT digipay_inquire($bill, '$ref_id-inquiry')");
	like($inquiry, qr/^\($ref_id-inquiry,pln,/, "$level: an inquiry");
	$session->query_safe('COMMIT');
	$session->quit;
	paid_once($ref_id, $level);
	paid_once("$ref_id-other", "$level, by another session");
	is($provider->books("$ref_id-inquiry")->{inquiries}, 1, "$level: one inquiry");
}

# --------------------------------------- once, whatever the plan looks like

($out) = script("SELECT (digipay_pay($bill, 'star')).*");
like($out, qr/^star\|succeeded\|pln\|530000000001\|/, 'star expansion: the columns');
paid_once('star', '(digipay_pay(...)).*');
# the call stands there once for each column, but asks once
($out) = script("SELECT (digipay_inquire($bill, 'star-inquiry')).ref_id");
is($out, 'star-inquiry', 'one column of an inquiry');
is($provider->books('star-inquiry')->{inquiries}, 1, 'asked once');

script(<<'SQL');
CREATE TABLE bill (n int PRIMARY KEY, code text DEFAULT 'pln',
	customer_no text DEFAULT '530000000001', ref_id text);
INSERT INTO bill (n, ref_id) SELECT n, 'lateral-' || n FROM generate_series(1, 5) n;
SQL
($out, $err) = script(
	'SELECT b.n, p.state, d.periode FROM bill b'
	  . ' CROSS JOIN LATERAL digipay_pay(b.code, b.customer_no, b.ref_id) p'
	  . ' LEFT JOIN LATERAL digipay_detail(p) d ON true ORDER BY b.n');
is($out, join("\n", map { "$_|succeeded|201901" } 1 .. 5), 'LATERAL: a row for each bill');
paid_once("lateral-$_", "LATERAL, bill $_") for 1 .. 5;

($out, $err) = script(
	"WITH p AS (SELECT * FROM digipay_pay($bill, 'cte'))"
	  . ' SELECT a.state, b.rc, (SELECT price FROM p) FROM p a JOIN p b USING (ref_id)');
is($out, 'succeeded|00|10000', 'CTE used three times: one row');
paid_once('cte', 'CTE used three times');
# inlined where it may be: even then it is one payment
($out, $err) = script(
	"WITH p AS NOT MATERIALIZED (SELECT * FROM digipay_pay($bill, 'cte-inline'))"
	  . ' SELECT a.state, b.rc FROM p a JOIN p b USING (ref_id)');
is($out, 'succeeded|00', 'CTE that is not materialized: one row');
paid_once('cte-inline', 'CTE that is not materialized');

($out, $err) = script(
	"CREATE VIEW paying AS SELECT * FROM digipay_pay($bill, 'view');"
	  . ' SELECT a.state, b.state FROM paying a, paying b');
is($out, 'succeeded|succeeded', 'view used twice: one row');
paid_once('view', 'view used twice');

($out, $err) = script(
	"INSERT INTO bill (n, ref_id) VALUES (10, 'returning')"
	  . ' RETURNING (digipay_pay(code, customer_no, ref_id)).state');
is($out, 'succeeded', 'RETURNING');
paid_once('returning', 'RETURNING');

($out, $err) = script(
	"CREATE TABLE with_default (n int, state digipay_state DEFAULT (digipay_pay($bill, 'default')).state);"
	  . ' INSERT INTO with_default VALUES (1), (2); SELECT DISTINCT state FROM with_default');
is($out, 'succeeded', 'DEFAULT');
paid_once('default', 'DEFAULT of two rows');

($out, $err) = script(
	'CREATE TABLE receipt AS SELECT n, digipay_pay(code, customer_no, ref_id) AS p'
	  . " FROM (SELECT n, 'pln' AS code, '530000000001' AS customer_no, 'many-' || n AS ref_id"
	  . ' FROM generate_series(1, 20) n) b;'
	  . ' INSERT INTO receipt SELECT n + 20, digipay_pay(\'pln\', \'530000000001\', \'many-\' || n + 20)'
	  . ' FROM generate_series(1, 20) n;'
	  . " SELECT count(*) FROM receipt WHERE (p).state = 'succeeded'");
is($out, 40, 'CREATE TABLE AS and INSERT ... SELECT of twenty bills');
is_deeply(
	[ grep { my $b = $provider->books("many-$_"); $b->{pay_requests} != 1 || $b->{booked} != 1 }
		  1 .. 40 ],
	[], 'each paid once');

($out, $err) = script(
	'SELECT (digipay_pay(code, customer_no, ref_id)).state'
	  . " FROM (VALUES (1, 'pln', '530000000001', 'limit-1'), (2, 'pln', '530000000001', 'limit-2'))"
	  . ' b (n, code, customer_no, ref_id) LIMIT 1');
is($out, 'succeeded', 'LIMIT');
paid_once('limit-1', 'LIMIT, the row within');
not_paid('limit-2', 'LIMIT, the row behind');

($out, $err) = script(<<'SQL');
CREATE TABLE invoice (n int, ref_id text, state text);
CREATE FUNCTION pay_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.state := (digipay_pay('pln', '530000000001', NEW.ref_id)).state;
	RETURN NEW;
END $$;
CREATE TRIGGER pay_invoice BEFORE INSERT ON invoice FOR EACH ROW EXECUTE FUNCTION pay_invoice();
BEGIN;
INSERT INTO invoice SELECT n, 'trigger-' || n FROM generate_series(1, 10) n;
SELECT count(*) FROM invoice WHERE state = 'succeeded';
ROLLBACK;
SQL
is($out, 10, 'trigger: a payment for each row');
paid_once("trigger-$_", "trigger, row $_, rolled back") for 1, 10;

($out, $err) = script(<<'SQL');
INSERT INTO bill (n, ref_id) SELECT n, 'procedure-' || n FROM generate_series(101, 105) n;
CREATE TABLE log (n int, state digipay_state, xid xid8);
CREATE PROCEDURE pay_all() LANGUAGE plpgsql AS $$
DECLARE
	b bill;
BEGIN
	FOR b IN SELECT * FROM bill WHERE n > 100 ORDER BY n LOOP
		INSERT INTO log SELECT b.n, p.state, pg_current_xact_id()
			FROM digipay_pay(b.code, b.customer_no, b.ref_id) p;
		COMMIT;
	END LOOP;
	INSERT INTO log VALUES (1, NULL, NULL);
	ROLLBACK;
END $$;
CALL pay_all();
SELECT count(*), count(DISTINCT xid), min(state), max(state) FROM log;
SQL
is($out, '5|5|succeeded|succeeded', 'procedure with COMMIT in its loop');
is($err, '', 'without an error');
paid_once("procedure-$_", "procedure, bill $_") for 101, 105;

# ----------------------------------------------------- when a plan is shown

my $requests = $provider->books->{requests};
script("EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM digipay_pay($bill, 'explain')");
script("EXPLAIN SELECT digipay_pay($bill, 'explain')");
script("PREPARE p (text) AS SELECT digipay_pay($bill, \$1); EXPLAIN EXECUTE p ('explain')");
is($provider->books->{requests}, $requests, 'EXPLAIN pays nothing');
not_paid('explain', 'EXPLAIN');
script("EXPLAIN ANALYZE SELECT digipay_pay($bill, 'analyze')");
paid_once('analyze', 'EXPLAIN ANALYZE');

# a function that lies about itself may be called by the planner, too
($out, $err) = script(<<'SQL');
CREATE FUNCTION lies(ref_id text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
$$ BEGIN RETURN (digipay_pay('pln', '530000000001', ref_id)).state; END $$;
SELECT lies('immutable') FROM generate_series(1, 3) WHERE lies('immutable') = 'succeeded';
SQL
is($out, "succeeded\nsucceeded\nsucceeded", 'a wrapper that is marked IMMUTABLE');
paid_once('immutable', 'a wrapper that is marked IMMUTABLE');

# ------------------------------------------------------------------ cursors

($out, $err) = script(
	"BEGIN; DECLARE c CURSOR FOR SELECT (digipay_pay($bill, 'cursor-' || n)).state"
	  . ' FROM generate_series(1, 3) n; FETCH 1 FROM c; FETCH 1 FROM c; CLOSE c; COMMIT;');
is($out, "succeeded\nsucceeded", 'cursor: two rows fetched');
paid_once("cursor-$_", "cursor, row $_") for 1, 2;
not_paid('cursor-3', 'cursor, a row not fetched');

($out, $err) = script(
	"BEGIN; DECLARE h SCROLL CURSOR WITH HOLD FOR SELECT (digipay_pay($bill, 'hold-' || n)).state"
	  . ' FROM generate_series(1, 3) n; FETCH 1 FROM h; COMMIT; FETCH ALL FROM h; FETCH BACKWARD ALL FROM h');
is($out, join("\n", ('succeeded') x 6), 'cursor WITH HOLD, forward and backward');
paid_once("hold-$_", "cursor WITH HOLD, row $_") for 1 .. 3;

# ----------------------------------------- where it must not be called from

$requests = $provider->books->{requests};
DigipayTest::fails_with($node, "SELECT digipay_pay($bill, 'refused')",
	'25006', 'a read-only transaction', before => "BEGIN READ ONLY;\n");
DigipayTest::fails_with($node, "SELECT digipay_pay($bill, 'refused')",
	'55000', 'session_replication_role is replica',
	before => "SET session_replication_role = replica;\n");
DigipayTest::fails_with($node,
	"CREATE MATERIALIZED VIEW seen AS SELECT * FROM digipay_pay($bill, 'refused')",
	'0A000', 'a materialized view');
DigipayTest::fails_with($node, 'CREATE INDEX ON bill (lies(ref_id))', '0A000',
	'an index expression', before => "UPDATE bill SET ref_id = 'refused';\n");
is($provider->books->{requests}, $requests, 'refused calls send nothing');
not_paid('refused', 'refused calls');

# -------------------------------------------------------------- in the end

my $books = $provider->books;
my %state = map { $_->{ref_id} => $_->{state} }
  DigipayTest::rows($node, 'SELECT ref_id, state FROM digipay_payment');
is_deeply([ grep { $books->{refs}{$_}{pay_requests} > 1 } sort keys %{ $books->{refs} } ],
	[], 'no ref_id was asked to be paid twice');
is_deeply(
	[ grep { $books->{refs}{$_}{booked} && ($state{$_} // '') ne 'succeeded' }
		  sort keys %{ $books->{refs} } ],
	[], 'the journal knows all that is booked');

$node->stop('fast');
done_testing();
