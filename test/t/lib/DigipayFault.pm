# Faults on demand, and the judge that looks at what they have left behind.
#
#	use DigipayFault;
#
#	DigipayFault::arm($node, 'after_send', 'kill');		# see src/fault.h
#	... a payment ...
#	ok(DigipayFault::struck($node, 'after_send'));
#	DigipayFault::recover($node);
#	is_deeply([ DigipayFault::violations($node, $provider) ], []);
#
# Fault points are in test builds only; who needs them begins with
# DigipayFault::need_points($ENV{DIGIPAY_FAULT_POINTS}).
#
# A shim, loaded into every process of a server, makes memory and disk run out:
#
#	my $shim = DigipayFault::shim();
#	{ local $ENV{LD_PRELOAD} = $shim->library; local $ENV{DIGIPAY_SHIM} = $shim->control;
#	  $node->start; }
#	$shim->set(full_data => 1);			# see digipay_shim.c

package DigipayFault;

use strict;
use warnings;

use Carp;
use DigipayTest;
use Fcntl qw(O_NONBLOCK O_WRONLY);
use File::Basename ();
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @POINTS = qw(before_intent after_intent in_prereq after_send
  after_headers after_body before_outcome after_outcome);

# Ends the test unless the library has fault points, which script/test says; it
# finds the tests that need them by the variable's name.
sub need_points
{
	my ($has) = @_;
	plan skip_all => 'the library has no fault points (script/test crash builds one that has)'
	  unless $has;
	return;
}

sub _file
{
	my ($node, $point) = @_;
	return $node->data_dir . "/digipay_fault/$point";
}

# Lets the next pass of a point fail.
sub arm
{
	my ($node, $point, $order) = @_;
	my $file = _file($node, $point);

	mkdir File::Basename::dirname($file);
	open my $fh, '>', "$file.new" or croak "$file.new: $!";
	print $fh $order;
	close $fh or croak "$file.new: $!";
	rename "$file.new", $file or croak "$file: $!";
	return;
}

# Whether it has.
sub struck
{
	my ($node, $point) = @_;
	return !-e _file($node, $point);
}

# Waits until it has.
sub wait_until_struck
{
	my ($node, $point) = @_;
	DigipayTest::wait_until { struck($node, $point) } 60;
	return;
}

# Puts a pipe in an order's place: whoever comes to the point waits there, until
# let_go.
sub block
{
	my ($node, $point) = @_;
	my $file = _file($node, $point);

	mkdir File::Basename::dirname($file);
	POSIX::mkfifo($file, 0600) or croak "$file: $!";
	return;
}

# Waits until somebody waits there; what let_go wants.
sub wait_until_blocked
{
	my ($node, $point) = @_;
	my $file = _file($node, $point);
	my $pipe;

	# it cannot be opened without a reader
	DigipayTest::wait_until { sysopen $pipe, $file, O_WRONLY | O_NONBLOCK } 60;
	unlink $file;
	return $pipe;
}

# Lets it go on.
sub let_go
{
	my ($pipe) = @_;

	# it may be gone
	local $SIG{PIPE} = 'IGNORE';
	syswrite $pipe, 'sleep 0';
	close $pipe;
	return;
}

# The same from a process of its own, which is returned, as soon as something is
# true.
sub let_go_when
{
	my ($pipe, $when) = @_;
	my $pid = fork() // croak "fork: $!";

	if ($pid == 0)
	{
		eval { DigipayTest::wait_until { $when->() } 60 };
		let_go($pipe);
		POSIX::_exit(0);
	}
	close $pipe;
	return $pid;
}

# Whether a process has been told to quit: it is gone, or will be as soon as it
# lets signals in.
sub is_told_to_quit
{
	my ($pid) = @_;

	open my $fh, '<', "/proc/$pid/status" or return 1;
	my $status = join '', <$fh>;
	return $status !~ /^State:\s+[^ZX]/m
	  || $status =~ /^ShdPnd:.*([0-9a-f]{8})$/m && (hex($1) & 1 << POSIX::SIGQUIT() - 1) != 0;
}

# Forgets what has not struck.
sub disarm
{
	my ($node) = @_;
	unlink glob(_file($node, '*'));
	return;
}

# The result of a query, or undef where the server is not up to it.
sub try_sql
{
	my ($node, $query) = @_;
	# psql may have gone before it has the query, which IPC::Run dies of
	my ($ret, $out) = eval { $node->psql('postgres', $query) };
	return defined $ret && $ret == 0 ? $out : undef;
}

# Waits until the server is up, its worker is there, and has cleaned up, if it
# does.
sub recover
{
	my ($node) = @_;

	DigipayTest::wait_until {
		defined try_sql($node, 'SELECT digipay_worker_start()') };
	eval {
		DigipayTest::wait_until {
			(try_sql($node, q{SELECT count(*) FROM digipay_payment WHERE state = 'sending'}) // '') eq '0'
		} 60;
	};
	return;
}

# What contradicts the promises, judged by the provider's books; call it when all
# is quiet.  The numbers are those of doc/faults.md.
sub violations
{
	my ($node, $provider) = @_;
	my %row = map { $_->{ref_id} => $_ } DigipayTest::rows($node, 'SELECT * FROM digipay_payment');
	my $books = $provider->books;
	my @found;

	for my $ref_id (sort keys %{ $books->{refs} })
	{
		my $book = $books->{refs}{$ref_id};
		my $row = $row{$ref_id};
		my $state = $row ? $row->{state} : 'not there';

		push @found, "I1: $ref_id was asked to be paid $book->{pay_requests} times"
		  if $book->{pay_requests} > 1;
		push @found, "I1: $ref_id was booked $book->{booked} times" if $book->{booked} > 1;
		push @found, "I2: $ref_id was received, and the journal has no row"
		  if $book->{pay_requests} && !$row;
		push @found, "I3: $ref_id was booked, and is $state"
		  if $book->{booked} && $state =~ /^(?:queued|not_sent|rejected|cancelled|failed)$/;
	}
	for my $ref_id (sort keys %row)
	{
		my $row = $row{$ref_id};
		my $book = $books->{refs}{$ref_id};

		if ($row->{state} eq 'succeeded')
		{
			push @found, "I4: $ref_id is succeeded, and was not booked" unless $book && $book->{booked};
			push @found, "I4: $ref_id is another bill than was booked"
			  if $book && (lc $book->{code} ne lc $row->{code} || $book->{customer_no} ne $row->{customer_no});
			push @found, "I4: $ref_id has another price than was booked"
			  if $book && $book->{price} != ($row->{price} // -1);
		}
		push @found, "I7: $ref_id is sending, and nobody is sending it" if $row->{state} eq 'sending';
	}
	push @found, "I2: $_" for grep { /while the journal says (?!unknown)/ } @{ $books->{complaints} // [] };
	return @found;
}

# ------------------------------------------------------------------- the shim

# The library and its control block; compiled at the first call.
my $library;

sub shim
{
	my $dir = PostgreSQL::Test::Utils::tempdir('digipay_shim');
	if (!$library)
	{
		my $source = File::Basename::dirname(__FILE__) . '/digipay_shim.c';
		PostgreSQL::Test::Utils::system_or_bail('cc', '-shared', '-fPIC', '-O1', '-Wall', '-Werror',
			'-o', "$dir/digipay_shim.so", $source, '-ldl');
		$library = "$dir/digipay_shim.so";
	}
	my $self = bless { control => "$dir/control" }, 'DigipayFault::Shim';
	open my $fh, '>', $self->{control} or croak "$self->{control}: $!";
	print $fh "\0" x 4096;
	close $fh;
	return $self;
}

# --------------------------------------------------------------------------
package DigipayFault::Shim;

use strict;
use warnings;

use Carp;

# in the order of struct Control in digipay_shim.c
my %FIELD = (full_data => 0, full_wal => 1, malloc_pid => 2, malloc_module => 3,
	malloc_countdown => 4, strikes => 5);

sub library { return $library }
sub control { return $_[0]->{control} }

# Starts a server with the shim in it.
sub start
{
	my ($self, $node) = @_;
	local $ENV{LD_PRELOAD} = $library;
	local $ENV{DIGIPAY_SHIM} = $self->{control};
	$node->start;
	return;
}

sub set
{
	my ($self, %orders) = @_;
	open my $fh, '+<', $self->{control} or croak "$self->{control}: $!";
	for my $name (sort { $FIELD{$a} <=> $FIELD{$b} } keys %orders)
	{
		sysseek $fh, 4 * $FIELD{$name}, 0;
		syswrite $fh, pack('i', $orders{$name});
	}
	close $fh;
	return;
}

sub get
{
	my ($self, $name) = @_;
	open my $fh, '<', $self->{control} or croak "$self->{control}: $!";
	sysseek $fh, 4 * $FIELD{$name}, 0;
	sysread $fh, my $bytes, 4;
	close $fh;
	return unpack 'i', $bytes;
}

1;
