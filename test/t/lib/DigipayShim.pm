# Servers whose clock jumps and whose names are ours: by a library that is loaded
# before all others (shim.c), and a name server that says what a test wants.
#
#	use DigipayShim;
#
#	DigipayShim::available() or plan skip_all => 'no C compiler';
#	my $names = DigipayShim::start_names(
#		'pay.digipay.test' => ['127.0.0.1'],			# addresses, in this order
#		'servfail.digipay.test' => 'SERVFAIL',			# NXDOMAIN, EMPTY, SILENT
#	);
#	my $node = DigipayShim::under(sub { DigipayTest::new_node('x') });
#	DigipayShim::jump(3600);		# their clock: an hour ahead of ours
#	DigipayShim::forbid_md5(1);		# as a FIPS-minded OpenSSL would
#
# What is started in DigipayShim::under has the shim, with all its children.

package DigipayShim;

use strict;
use warnings;

use Cwd ();
use File::Basename ();
use IO::Socket::INET;
use POSIX ();
use PostgreSQL::Test::Utils;
use Socket qw(inet_aton);

my ($library, $clock, $names_port, @children);

# Builds the library, once; false where that cannot be.
sub available
{
	return 1 if $library;
	my $dir = PostgreSQL::Test::Utils::tempdir('digipay_shim');
	my $source = File::Basename::dirname(Cwd::abs_path(__FILE__)) . '/shim.c';
	return 0
	  if system(($ENV{CC} // 'cc') . " -O1 -Wall -shared -fPIC -o $dir/shim.so $source -ldl -lresolv >$dir/log 2>&1") != 0;
	$clock = "$dir/clock";
	$library = "$dir/shim.so";
	jump(0);
	return 1;
}

# Sets how many seconds their clock is ahead of ours; less than none: behind.
sub jump
{
	my ($seconds) = @_;
	open my $out, '+>>', $clock or die "$clock: $!";
	close $out;
	# in place: it is mapped
	open $out, '+<', $clock or die "$clock: $!";
	syswrite($out, pack('q', $seconds)) == 8 or die "$clock: $!";
	close $out;
	return;
}

# Makes MD5 fail for them, or no more.
sub forbid_md5
{
	my ($forbidden) = @_;
	unlink "$clock.no_md5";
	PostgreSQL::Test::Utils::append_to_file("$clock.no_md5", '') if $forbidden;
	return;
}

# Calls a code reference that starts programs; they have the shim.
sub under
{
	my ($code) = @_;
	local $ENV{LD_PRELOAD} = join(':', grep { defined && length } $ENV{LD_PRELOAD}, $library);
	local $ENV{DIGIPAY_SHIM_CLOCK} = $clock;
	local $ENV{DIGIPAY_SHIM_NO_MD5} = "$clock.no_md5";
	local $ENV{DIGIPAY_SHIM_DNS} = $names_port // 0;
	return $code->();
}

my %RCODE = (SERVFAIL => 2, NXDOMAIN => 3);

# A name server for names that end in .test, over UDP.  Names it does not know
# do not exist.  Returns an object with
#	asked	the names that were asked for, in order
sub start_names
{
	my (%names) = @_;
	my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Proto => 'udp')
	  or die "udp: $!";
	my $log = PostgreSQL::Test::Utils::tempdir('digipay_names') . '/asked';

	$names_port = $socket->sockport;
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		alarm 900;
		$SIG{TERM} = 'DEFAULT';
		# nothing that the test holds open shall stay open here
		my $nothing = POSIX::open('/dev/null', POSIX::O_RDWR);
		POSIX::dup2($nothing, $_) for grep { $_ != fileno($socket) && $_ != $nothing } 3 .. 63;
		while (defined $socket->recv(my $question, 4096))
		{
			my ($id, undef, $count) = unpack('nnn', $question);
			my ($at, @labels) = (12);
			while (my $length = ord substr($question, $at, 1))
			{
				push @labels, substr($question, $at + 1, $length);
				$at += $length + 1;
			}
			my $type = unpack('n', substr($question, $at + 1, 2));
			my $name = lc join('.', @labels);
			my $answer = $names{$name} // 'NXDOMAIN';

			open my $out, '>>', $log or next;
			syswrite($out, "$name\n");
			close $out;
			next if $answer eq 'SILENT';
			my @records = ref $answer ? grep { (/:/ ? 28 : 1) == $type } @$answer : ();
			my $reply = pack('nnnnnn', $id, 0x8580 | ($RCODE{$answer} // 0), 1, scalar(@records), 0, 0)
			  . substr($question, 12, $at + 5 - 12);
			for my $address (@records)
			{
				my $bytes = $type == 28 ? Socket::inet_pton(Socket::AF_INET6(), $address) : inet_aton($address);
				$reply .= pack('nnnNn', 0xC00C, $type, 1, 0, length $bytes) . $bytes;
			}
			$socket->send($reply);
		}
		POSIX::_exit(0);
	}
	close $socket;
	push @children, $pid;
	return bless { log => $log }, 'DigipayShim';
}

sub asked
{
	my ($self) = @_;
	return () unless -e $self->{log};
	return split /\n/, PostgreSQL::Test::Utils::slurp_file($self->{log});
}

END
{
	my $status = $?;
	for my $pid (@children)
	{
		kill 'KILL', $pid;
		waitpid($pid, 0);
	}
	$? = $status;
}

1;
