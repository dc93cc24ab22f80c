# A payment is found while it is updated all the time: a row that gets a new place
# in the middle of a look must not seem to be gone.

use strict;
use warnings;

use DigipayTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $LOOKS = 4000;				# of each session

my $node = DigipayTest::new_node('lookup_race', fsync => 'off', synchronous_commit => 'off');
my $provider = DigipayTest::start_provider();
DigipayTest::create_account($node, $provider);

my $dir = PostgreSQL::Test::Utils::tempdir();

# Begin to run a script so many times in so many sessions, each a transaction.
sub bench
{
	my ($name, $sql, $sessions, $times) = @_;
	append_to_file("$dir/$name.sql", $sql);
	local %ENV = $node->_get_env();
	my $out = '';
	my $run = IPC::Run::start(
		[ $node->installed_command('pgbench'), '-n', '-M', 'prepared', '-c', $sessions, '-j', $sessions, '-t', $times,
			'-f', "$dir/$name.sql", $node->connstr('postgres') ],
		'>', \$out, '2>', \$out, IPC::Run::timeout(600));
	return { run => $run, out => \$out };
}

is($node->safe_psql('postgres', q{SELECT state FROM digipay_pay('pln', '530000000001', 'busy')}), 'succeeded', 'a payment');
# open, so that an index has it that changes with each update
$node->safe_psql('postgres', q{UPDATE digipay_payment SET state = 'pending', next_check_at = now() + interval '1 day'});

# the state of a payment as digipay_cancel finds it, which it cannot take back
$node->safe_psql('postgres', q{
	CREATE FUNCTION cancel(ref_id text) RETURNS TABLE (state text) LANGUAGE plpgsql AS $$
	BEGIN
		SELECT c.state::text INTO state FROM digipay_cancel(ref_id) c;
		RAISE EXCEPTION '% was taken back', ref_id;
	EXCEPTION WHEN object_not_in_prerequisite_state THEN
		state := SQLERRM;
		RETURN NEXT;
	END $$});

my $update = bench('update', q{UPDATE digipay_payment SET next_check_at = next_check_at + interval '1 us' WHERE ref_id = 'busy';}, 1, 1_000_000);
for my $function (q{digipay_status('busy')}, q{digipay_wait('busy', timeout => interval '0')}, q{cancel('busy')})
{
	my $looks = bench('look', "SELECT state FROM $function;\n", 3, $LOOKS);
	$looks->{run}->finish;
	is(join(' ', ${ $looks->{out} } =~ /ERROR: .*/g), '', "$function finds it");
	like(${ $looks->{out} }, qr{processed: (\d+)/\1$}m, '... each time');
	unlink "$dir/look.sql";
}
# (what it has said is seen by a pump, its end by another one)
for (1 .. 3)
{
	$update->{run}->pump_nb if $update->{run}->pumpable;
}
ok($update->{run}->pumpable, 'and it was being updated until the end');
$update->{run}->kill_kill;

$node->stop;
$provider->stop;
done_testing();
