# doc/faults.md names a test for each case: is each case there, and each test?

use strict;
use warnings;
use utf8;

use Cwd ();
use Encode qw(decode encode);
use File::Basename ();
use PostgreSQL::Test::Utils;
use Test::More;

my $top = File::Basename::dirname(Cwd::abs_path(__FILE__)) . '/../..';
my @places = map { "$top/test/$_" } qw(t sql pgtap isolation/specs);
my $most_absent = 8;

# the cases: how many of each letter, and the numbers that are not used
my %cases = (N => [ 40, 37 ], H => [16], J => [20], S => [ 25, 19, 20 ], T => [ 40, 34 ], X => [ 18, 10 ], P => [8]);

my %row;
my @broken;
for my $line (split /\n/, decode('UTF-8', PostgreSQL::Test::Utils::slurp_file("$top/doc/faults.md")))
{
	my ($id) = $line =~ /^\| ([A-Z]\d\d) \|/ or next;
	push @broken, "$id is there twice" if $row{$id};
	# a bar that is no border is escaped
	my (undef, undef, $fault, $expected, $test) = map { s/^\s+|\s+$//gr } split /(?<!\\)\|/, $line;
	push @broken, "$id has an empty cell" if grep { !defined || $_ eq '' } $fault, $expected, $test;
	$row{$id} = $test // '';
}
is(join(', ', @broken), '', 'each case has one row, and the row says all');

my @wanted;
for my $letter (sort keys %cases)
{
	my ($most, @unused) = @{ $cases{$letter} };
	push @wanted, map { sprintf '%s%02d', $letter, $_ } grep { my $number = $_; !grep { $_ == $number } @unused } 1 .. $most;
}
is(join(' ', sort keys %row), join(' ', sort @wanted), 'the cases of the catalogue, all of them and no other');

# the text of a test file, undef when there is none
my %text;
sub text_of
{
	my ($name) = @_;
	if (!exists $text{$name})
	{
		my ($file) = grep { -f } map { "$_/$name" } @places, $name =~ m{/} ? $top : ();
		$text{$name} = defined $file ? decode('UTF-8', PostgreSQL::Test::Utils::slurp_file($file)) : undef;
	}
	return $text{$name};
}

my ($count, @absent, @open) = (0);
for my $id (sort keys %row)
{
	my @wrong;
	for my $entry (split /<br>/, $row{$id})
	{
		if ($entry =~ /TODO-LEAD/)
		{
			push @open, $id;
		}
		elsif ($entry =~ /^absent: .*`[^`]+`/)
		{
			push @absent, $id;
		}
		elsif (my ($name, $part) = $entry =~ /^`([\w.\/-]+)` “(.+)”$/)
		{
			my $text = text_of($name);
			$count++;
			if (!defined $text)
			{
				push @wrong, "no file $name";
			}
			# a quote inside of quotes has a backslash there
			elsif (index($text, $part) < 0 && index($text =~ s/\\'/'/gr, $part) < 0)
			{
				push @wrong, "$name has no $part";
			}
		}
		else
		{
			push @wrong, "not understood: $entry";
		}
	}
	is(encode('UTF-8', join('; ', @wrong)), '', "$id: its tests are there");
}
cmp_ok($count, '>', 200, "$count tests are named");
is(join(' ', @open), '', 'nothing is left to be filled in');
cmp_ok(scalar(grep { /^[NHJSX]/ } @absent), '<=', $most_absent, "of what can be sent at most $most_absent cases are absent: @absent");
ok(!grep({ /^[^\n]*\.\.\/shared/ } PostgreSQL::Test::Utils::slurp_file("$top/doc/faults.md")), 'the table refers to nothing outside of this project');

done_testing();
