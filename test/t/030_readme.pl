# README.md keeps its word: every statement that it shows is run, in order, in
# one session of a fresh server beside the provider's double, and what it shows
# as a result is compared with the real one.  And everything that there is in
# the code is in it.
#
# How README.md marks its blocks is told in DigipayDoc.pm; here there is one
# more:
#
#	<!-- last -->	before a block: it is run when all others have been

use strict;
use warnings;

use DigipayDoc;
use DigipayTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $HOST = 'nobutopup.api.digiswitch.id';
my $readme = slurp_file('README.md');

# What a statement becomes where the double stands in for the provider.
sub for_the_double
{
	my ($sql, %options) = @_;
	my $options = DigipayTest::option_list(%options);
	$sql =~ s{endpoint 'https://\Q$HOST\E/v1/user/api/transaction'}{$options}g;
	# a reader sleeps until the notice has come; here it may take longer
	$sql =~ s/\bpg_sleep\(2\) IS NULL AS slept\b/regress_slept('queue-4') IS NULL AS slept/;
	return $sql;
}

# ------------------------------------------------------------------ the scene

my $secrets = PostgreSQL::Test::Utils::tempdir();
my $key = 'dev-7d2c9e41';
my $node = DigipayTest::new_node('readme', 'digipay.secret_dir' => $secrets);
my $provider =
  DigipayTest::start_provider(https => 1, username => 'toko-ayu', api_key => $key);

append_to_file("$secrets/toko-ayu.key", "$key\n");
chmod 0600, "$secrets/toko-ayu.key" or die "chmod: $!";

# Until the payment is made and the worker has nothing more to do about it.
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION regress_slept(ref_id text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM digipay_wait(ref_id);
	WHILE NOT EXISTS (SELECT FROM pg_stat_activity
			WHERE backend_type = 'digipay worker' AND wait_event_type = 'Extension')
	LOOP
		PERFORM pg_stat_clear_snapshot(), pg_sleep(0.05);
	END LOOP;
	RETURN true;
END $$;
SQL
like($readme, qr/\bpg_sleep\(2\) IS NULL AS slept\b/, 'README.md sleeps for a notice');

my @blocks = DigipayDoc::blocks($readme);
cmp_ok(scalar @blocks, '>=', 20, 'README.md has statements');
my @in_order = ((grep { !$_->{last} } @blocks), grep { $_->{last} } @blocks);

# One session for all, as a reader has it; the double's address is shown as the
# provider's.
my $answered = DigipayDoc::run($node, \@in_order,
	statement => sub
	{
		return for_the_double($_[0],
			endpoint => 'https://localhost:' . $provider->https_port . $DigipayTest::PATH,
			ca_file => $provider->ca_file,
			allow_private_address => 'true');
	},
	clean => sub { return $_[0] =~ s/\blocalhost(?::\d+)?\b/$HOST/gr });
is($answered, scalar @blocks, 'each block was answered');
DigipayDoc::check($_) for @in_order;
DigipayDoc::save_changed('README.md', $readme, @blocks);

# PostgreSQL logged every statement, but not the one with the key.
my $log = slurp_file($node->logfile);
like($log, qr/statement: CREATE SERVER digipay/, 'the server logs statements');
unlike($log, qr/\Q$key\E/, 'the key is not in the log');

# The provider booked what the journal calls succeeded, once each.
my $refs = $provider->books->{refs};
my @paid = map { $_->{ref_id} } DigipayTest::rows($node,
	q{SELECT ref_id FROM digipay_payment WHERE state = 'succeeded' ORDER BY ref_id});
cmp_ok(scalar @paid, '>', 5, 'bills were paid');
is_deeply([ grep { $refs->{$_}{booked} != 1 } @paid ], [], 'each was booked once');

# ------------------------------------------------------- everything is in it

# Each of these words stands in README.md as code.
sub all_mentioned
{
	my ($what, @words) = @_;
	my @missing = grep { $readme !~ /`(?:[^`\n]*[^`\w\n.])?\Q$_\E(?:[^`\w\n][^`\n]*)?`/ } @words;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	cmp_ok(scalar @words, '>', 2, "there are $what");
	is_deeply(\@missing, [], "README.md mentions all $what");
	return;
}

# The first column of a query.
sub column
{
	my ($query) = @_;
	return split /\n/, $node->safe_psql('postgres', "LOAD 'digipay'; $query");
}

my $member = q{JOIN pg_depend d ON d.objid = o.oid AND d.deptype = 'e'
	JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'digipay'};
all_mentioned('functions', column("SELECT proname FROM pg_proc o $member
	AND d.classid = 'pg_proc'::regclass"));
all_mentioned('tables, views and composite types',
	column("SELECT relname FROM pg_class o JOIN pg_type t ON t.oid = o.reltype
	JOIN pg_depend d ON d.deptype = 'e' AND d.objid IN (o.oid, t.oid)
	JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'digipay'"));
all_mentioned('columns', column("SELECT DISTINCT attname FROM pg_attribute
	JOIN pg_class ON pg_class.oid = attrelid
	WHERE relname LIKE 'digipay%' AND relkind IN ('r', 'v', 'c') AND attnum > 0 AND attname <> 'desc'"));
all_mentioned('states', column('SELECT unnest(enum_range(NULL::digipay_state))'));
all_mentioned('settings', column("SELECT name FROM pg_settings WHERE name LIKE 'digipay.%'"));

# the wrapper tells its options itself
for my $place (
	[ 'server', q{CREATE SERVER nothing FOREIGN DATA WRAPPER digipay OPTIONS (nonsense '')} ],
	[ 'mapping', q{CREATE USER MAPPING FOR postgres SERVER digipay OPTIONS (nonsense '')} ])
{
	my $hint = DigipayTest::error_of($node, $place->[1] =~ s/postgres/CURRENT_USER/r)->{hint};
	$hint =~ s/^Valid options in this context are: (.*)\.$/$1/ or die "not understood: $hint";
	all_mentioned("options of a $place->[0]", split /, /, $hint);
}

# SQLSTATEs: our own class, and those of errcodes.h that the code names
my %sqlstate;
{
	my $header = slurp_file($node->config_data('--includedir-server') . '/utils/errcodes.h');
	while ($header =~ /^#define (ERRCODE_\w+) MAKE_SQLSTATE\('(.)','(.)','(.)','(.)','(.)'\)/mg)
	{
		$sqlstate{$1} = "$2$3$4$5$6";
	}
}
my %used;
my $source = '';
for my $file (glob 'src/*.c src/*.h')
{
	next if $file eq 'src/fault.c';	# no build has it but that of the tests
	my $text = slurp_file($file);
	$source .= $text;
	$used{"$1$2$3$4$5"} = 1
	  while $text =~ /MAKE_SQLSTATE\('(.)', '(.)', '(.)', '(.)', '(.)'\)/g;
	# what raises, not what only logs or compares
	while ($text =~ /(?:ereport\(ERROR,\s*\(errcode\(|dp_problem_set\([^;,]*,\s*)(ERRCODE_\w+)/g)
	{
		$used{ $sqlstate{$1} // die "unknown: $1" } = 1;
	}
}
all_mentioned('SQLSTATEs', sort keys %used);

# and the other way round, in the tables of errors and of messages
my ($errors) = $readme =~ /^### Errors\n(.*?)^### /ms;
my ($trouble) = $readme =~ /^## Troubleshooting\n(.*?)^## /ms;
$used{$_} = 1 for qw(57014 57P01);	# PostgreSQL's own
my %shown = map { $_ => 1 } "$errors$trouble" =~ /`([0-9A-Z]{5})`/g;
is_deeply([ grep { !$used{$_} } sort keys %shown ],
	[], 'the SQLSTATEs in its tables are those of the code');

# And what the troubleshooting tables quote is what the code says: the words
# of each message between the parts that vary.
my @messages = $trouble =~ /^\| ((?!message|---)[^|]+) \|/mg;
cmp_ok(scalar @messages, '>', 30, 'there are messages to look up');
(my $literals = $source) =~ s/"\s*\n\s*"//g;
$literals =~ s{/\*.*?\*/}{}gs;
my $arguments = join '|', qw(ref_id ref_ids year amount payment_code identity_no max_price not_after outcome note timeout body before kind);
my @stale;
for my $message (@messages)
{
	next if $message =~ /^(?:permission denied for function|unrecognized configuration)/;	# PostgreSQL's
	# an argument's name stands before what is wrong with it
	(my $text = $message) =~ s/^(?:$arguments) (?=must|is larger)//;
	push @stale, $message
	  if grep { $_ ne '' && index($literals =~ s/\\"/"/gr, $_) < 0 } split /…/, $text;
}
is_deeply(\@stale, [], 'the messages under Troubleshooting are those of the code');

# The other way round: each message of the code is there, but for those that a
# user never sees.
my @said;
push @said, $1 while $literals =~ /\berrmsg\("((?:[^"\\]|\\.)+)"/g;
push @said, $1, $2 // ()
  while $literals =~ /\berrmsg_plural\("((?:[^"\\]|\\.)+)",\s*"((?:[^"\\]|\\.)+)"/g;
push @said, $1
  while $literals =~ /\bdp_problem_set\([^;"]*"((?:[^"\\]|\\.)+)"/g;
push @said, $1
  while $literals =~ /\bdp_bad_argument\([^;"]*"\w+",\s*(?:psprintf\()?"((?:[^"\\]|\\.)+)"/g;
push @said, $1
  while $literals =~ /\bdp_bad_argument\(name,\s*(?:psprintf\()?"((?:[^"\\]|\\.)+)"/g;
cmp_ok(scalar @said, '>', 70, 'the code has messages');
my %never = map { $_ => 1 } (
	'%s %s',	# an argument and what is wrong with it
	'could not stat file "%s": %m', 'out of memory',
	'invalid list syntax in parameter "%s"',
	'set-valued function called in context that cannot accept a set',
	# an error of the worker's, logged behind "could not write to the journal"
	'the outcome of payment "%s" was not taken by its row');
my @unsaid;
for my $message (@said)
{
	$message =~ s/\\"/"/g;
	next if $never{$message};
	my $pattern = join '.+', map { quotemeta } split /%[a-z]+/, $message, -1;
	push @unsaid, $message if $trouble !~ /$pattern/;
}
is_deeply(\@unsaid, [], 'each message of the code is under Troubleshooting');

# And the kinds of events.
my ($events) = $readme =~ /^### Events\n(.*?)^## /ms;
my @kinds = $events =~ /^\| `(\w+)` \|/mg;
my %kind;
for my $call ($literals =~ /\bdp_event_write\((.*?)\);/gs)
{
	# a kind is a word behind a comma, or on either side of a colon
	$kind{$1} = 1 while $call =~ /(?:,|\?|:)\s*"([a-z_]+)"\s*(?=,|:)/g;
}
# and those that a statement writes by itself
$kind{$1} = 1 while $literals =~ /INSERT INTO \$S\.digipay_event \([^)]*\) SELECT (?:server, ref_id|'', ''), '(\w+)'/g;
is_deeply([ sort @kinds ], [ sort keys %kind ], 'README.md has the kinds of events of the code');

# The architecture's table has each source file.
my $architecture = slurp_file('doc/architecture.md');
is_deeply([ grep { $architecture !~ /`\Q$_\E`/ } glob 'src/*.c' ],
	[], 'doc/architecture.md names each source file');

$node->stop;
$provider->stop;
done_testing();
