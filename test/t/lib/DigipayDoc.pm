# Documents that keep their word: the statements that a Markdown file shows are
# run, and what it shows as a result is compared with the real one.
#
#	my $text = slurp_file('README.md');
#	my @blocks = DigipayDoc::blocks($text);
#	DigipayDoc::run($node, \@blocks, clean => sub { ... });
#	DigipayDoc::check($_) for @blocks;
#	DigipayDoc::save_changed('README.md', $text, @blocks);
#
# How a document marks its blocks:
#
#	```sql		is run; the ```text block directly behind it, if there is one, is
#				what psql answers
#	<!-- error: PY002 -->	before a block: its last statement fails so
#	<!-- WORD -->			before a block: for the test that reads the document

package DigipayDoc;

use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

# The sql blocks in the order of the file: { sql, section, result, WORD... },
# sql and result being { text, line, from, to, indent }.  section is the
# heading of the second level that the block is under.
sub blocks
{
	my @lines = split /\n/, $_[0], -1;
	my (@blocks, %mark, $fence);
	my $section = '';

	for my $i (0 .. $#lines)
	{
		my $line = $lines[$i];
		if ($fence)
		{
			if ($line =~ /^\s*```$/)
			{
				$fence->{to} = $i;
				$fence = undef;
			}
			else
			{
				$line =~ s/^$fence->{indent}//;
				$fence->{text} .= "$line\n";
			}
		}
		elsif ($line =~ /^<!-- (\w+)(?:: (\w+))? -->$/)
		{
			$mark{$1} = $2 // 1;
		}
		elsif ($line =~ /^(\s*)```(\w*)$/)
		{
			$fence = { indent => $1, text => '', from => $i, line => $i + 1 };
			if ($2 eq 'sql')
			{
				push @blocks, { sql => $fence, section => $section, %mark };
			}
			elsif ($2 eq 'text' && $blocks[-1] && !$blocks[-1]{closed})
			{
				$blocks[-1]{result} = $fence;
			}
			%mark = ();
		}
		else
		{
			$section = $1 if $line =~ /^## (.*)$/;
			# a result stands directly behind its statements
			$blocks[-1]{closed} = 1 if $line =~ /\S/ && @blocks;
		}
	}
	return @blocks;
}

# What may differ from one run to the next, and blanks and rules, whose length
# depends on it.  So may the place of a notice, which comes when it comes.
sub masked
{
	my ($text) = @_;
	my @notices;
	push @notices, $1 while $text =~ s/^(Asynchronous notification .*\n)//m;
	$text .= join '', @notices;
	for ($text)
	{
		s/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?[+-]\d\d/<time>/g;
		s/\d{4}-\d\d-\d\d/<date>/g;
		s/\b\d\d-\d\d-\d{4} \d\d:\d\d\b/<time>/g;
		s/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/<uuid>/g;
		s/\bprocess \d+/process <pid>/g;
		s/\bPID \d+/PID <pid>/g;
		s/\b\d+\.\d+\.\d+\.\d+\b/<address>/g;
		s/-{2,}/--/g;
		s/[ \t]+/ /g;
		s/ $//mg;
	}
	return $text;
}

# Runs the blocks in one session, as a reader does; each then has what was
# answered, the SQLSTATE of its last statement, and how many errors there were.
# How many blocks were answered.  Options:
#	db => 'postgres'		the database
#	statement => sub		what a block's text becomes before it is run
#	clean => sub			what the answers become
sub run
{
	my ($node, $blocks, %options) = @_;
	my $statement = $options{statement} // sub { $_[0] };
	my $clean = $options{clean} // sub { $_[0] };
	my $output = '';

	# A line behind each block ends its answer and tells how its last statement
	# ended.
	my $script = "SET TimeZone = 'Asia/Jakarta';\n";
	$script .= $statement->($_->{sql}{text}) . "\\echo :SQLSTATE <<end>>\n" for @$blocks;
	{
		local %ENV = $node->_get_env();
		IPC::Run::run(
			[
				$node->installed_command('psql'), '-X', '-q',
				'-d', $node->connstr($options{db} // 'postgres')
			],
			'<', \$script, '>&', \$output,
			IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	}
	my @answers = split /(?<=<<end>>\n)/, $clean->($output);
	for my $i (0 .. $#$blocks)
	{
		my $answer = $answers[$i] // '';
		my $block = $blocks->[$i];
		$block->{sqlstate} = $answer =~ s/^(\w{5}) <<end>>\n\z//m ? $1 : 'none';
		$block->{errors} = () = $answer =~ /^(?:ERROR|FATAL|PANIC):/mg;
		# of notices, only those of this block's own payments: others may come late
		$answer =~ s/^(Asynchronous notification .*"ref_id":"([^"]*)".*\n)/index($block->{sql}{text}, "'$2'") < 0 ? '' : $1/gme;
		$answer =~ s/[ \t]+$//mg;
		$answer =~ s/\n+\z/\n/;
		$block->{answer} = $answer;
	}
	diag($output) if @answers != @$blocks;
	return scalar @answers;
}

# The tests of one block: it ended as it should, and answered what is shown.
sub check
{
	my ($block) = @_;
	my $name = "line $block->{sql}{line}";
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is("$block->{sqlstate}, $block->{errors}", $block->{error} ? "$block->{error}, 1" : '00000, 0',
		"$name: " . ($block->{error} ? 'the last statement fails as it should' : 'no error'))
	  or diag($block->{answer});
	if ($block->{result})
	{
		is(masked($block->{answer}), masked($block->{result}{text}),
			"$name: the result is the one shown")
		  or $block->{changed} = 1;
	}
	elsif (!$block->{error})
	{
		unlike($block->{answer}, qr/^(?:WARNING|NOTICE):/m, "$name: no warning that is not shown");
	}
	return;
}

# When a result has changed, the log directory has a document with what psql
# answers now.
sub save_changed
{
	my ($name, $text, @blocks) = @_;
	return unless grep { $_->{changed} } @blocks;
	my @lines = split /\n/, $text, -1;
	for my $block (sort { $b->{result}{from} <=> $a->{result}{from} }
		grep { $_->{result} && defined $_->{answer} } @blocks)
	{
		my $shown = $block->{result};
		splice @lines, $shown->{from} + 1, $shown->{to} - $shown->{from} - 1,
		  map { "$shown->{indent}$_" } split /\n/, $block->{answer};
	}
	my $file = "$PostgreSQL::Test::Utils::log_path/$name";
	unlink $file;
	append_to_file($file, join("\n", @lines));
	diag("$file has the results as they are now");
	return;
}

1;
