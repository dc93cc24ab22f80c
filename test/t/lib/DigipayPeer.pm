# A peer that says whatever a test makes it say, byte by byte: for replies that
# the provider's double cannot give because its HTTP library would not.  It
# keeps no books beyond the list of requests that reached it.
#
#	use DigipayPeer;
#
#	my $peer = DigipayPeer::start(sub {
#		my ($socket, $request) = @_;
#		print $socket "HTTP/1.1 abc\r\n\r\n";
#		return 0;					# 1: read the connection's next request
#	});
#	... 'http://127.0.0.1:' . $peer->port . '/any/path' ...
#	is(scalar($peer->requests), 1);
#
# $request has ref_id, command, body (decoded, as in digiswitch), raw, head and number, which
# counts the requests of its connection from 1.  The code runs in a process of
# its own for each connection.

package DigipayPeer;

use strict;
use warnings;

use DigipayTest;
use IO::Handle;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Utils;
use Socket qw(SOL_SOCKET SO_LINGER);

my @peers;

sub start
{
	my ($answer) = @_;
	my $self = bless {}, 'DigipayPeer';
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0,
		Proto => 'tcp', Listen => 64)
	  or die "listen: $!";
	my $log = PostgreSQL::Test::Utils::tempdir('digipay_peer') . '/requests';

	$self->{port} = $listener->sockport;
	$self->{log} = $log;
	$self->{pid} = fork() // die "fork: $!";
	if ($self->{pid} == 0)
	{
		# a group of its own, so that all its connections end together
		setpgrp(0, 0);
		$SIG{CHLD} = 'IGNORE';
		$SIG{TERM} = 'DEFAULT';
		$SIG{PIPE} = 'IGNORE';
		alarm 900;	# not even a killed test leaves it behind
		# What the test holds open, a double's standard input for one, must not
		# stay open here.  The numbers stay taken: Perl counts the uses of each,
		# and would not really close a new socket that got one of them.
		my $nothing = POSIX::open('/dev/null', POSIX::O_RDWR);
		for my $fd (3 .. 255)
		{
			next if $fd == fileno($listener) || $fd == $nothing;
			my $probe = POSIX::dup($fd) // next;
			POSIX::close($probe);
			POSIX::dup2($nothing, $fd);
		}
		while (my $socket = $listener->accept)
		{
			my $child = fork();
			if (defined $child && $child == 0)
			{
				close $listener;
				alarm 900;
				serve($socket, $answer, $log);
				POSIX::_exit(0);
			}
			close $socket;
		}
		POSIX::_exit(0);
	}
	close $listener;
	push @peers, $self;
	return $self;
}

# One connection.
sub serve
{
	my ($socket, $answer, $log) = @_;
	my $buffer = '';
	my $number = 0;

	binmode $socket;
	$socket->autoflush(1);
	while (1)
	{
		while ($buffer !~ /\r\n\r\n/)
		{
			return unless sysread($socket, $buffer, 65536, length $buffer);
		}
		my ($head, $body) = split /\r\n\r\n/, $buffer, 2;
		my $length = $head =~ /^content-length:\s*(\d+)/mi ? $1 : 0;
		while (length $body < $length)
		{
			return unless sysread($socket, $body, 65536, length $body);
		}
		$buffer = substr($body, $length);
		my $raw = substr($body, 0, $length);
		my $asked = eval { JSON::PP->new->utf8->decode($raw) };
		$asked = ref $asked eq 'HASH' ? DigipayTest::heard($asked) : {};
		my %request = (
			head => $head, raw => $raw, body => $asked, number => ++$number,
			ref_id => $asked->{ref_id} // '', command => $asked->{command} // '');
		open my $out, '>>', $log or die "$log: $!";
		syswrite($out, JSON::PP->new->ascii->canonical->encode(\%request) . "\n");
		close $out;
		return unless $answer->($socket, \%request);
	}
}

# A whole HTTP reply; the body is in digiswitch, and goes out in the run's
# dialect.
sub reply
{
	my ($status, $type, $body) = @_;
	$body = DigipayTest::spoken($body);
	return "HTTP/1.1 $status\r\nContent-Type: $type\r\nContent-Length: "
	  . length($body) . "\r\n\r\n$body";
}

# Ends a connection by RST.
sub reset_connection
{
	my ($socket) = @_;
	setsockopt($socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
	close $socket;
	return 0;
}

# Keeps a connection until the other side ends it.
sub hold
{
	my ($socket) = @_;
	my $junk = '';
	1 while sysread($socket, $junk, 4096);
	return 0;
}

sub port { return $_[0]->{port} }

sub endpoint
{
	my ($self) = @_;
	return "http://127.0.0.1:$self->{port}$DigipayTest::PATH";
}

# The requests that reached it, of one ref_id or all.
sub requests
{
	my ($self, $ref_id) = @_;
	return () unless -e $self->{log};
	my @requests = map { JSON::PP->new->utf8->decode($_) }
	  split /\n/, PostgreSQL::Test::Utils::slurp_file($self->{log});
	return grep { !defined $ref_id || $_->{ref_id} eq $ref_id } @requests;
}

sub stop
{
	my ($self) = @_;
	my $pid = delete $self->{pid} // return;
	kill 'KILL', -$pid, $pid;
	waitpid($pid, 0);
	return;
}

END
{
	my $status = $?;
	$_->stop for @peers;
	$? = $status;
}

1;
