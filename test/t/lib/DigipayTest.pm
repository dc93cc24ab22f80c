# Fixture of the TAP tests: throwaway servers with the extension in them, and
# the provider's double beside them.
#
#	use DigipayTest;
#
#	my $node = DigipayTest::new_node('shop');		# started
#	my $provider = DigipayTest::start_provider();	# ports chosen by the kernel
#	DigipayTest::create_account($node, $provider);	# extension, server, key
#
#	my $row = DigipayTest::row($node, q{SELECT * FROM digipay_pay('pln', '530000000001', 'r1')});
#	is($row->{state}, 'succeeded');
#	is($provider->booked('r1'), 1);
#
#	my $error = DigipayTest::error_of($node, q{SELECT digipay_pay('pln', NULL, 'r2')});
#	is($error->{sqlstate}, '22023');
#
# From the environment, all with a default:
#	DIGIPAY_DESTDIR		where the extension was installed to by
#						make install DESTDIR=... (default: the system)
#	DIGIPAY_PROVIDER	the double's program (test/provider/provider)
#	PG_REGRESS			as PostgreSQL::Test::Cluster wants it
#	DIGIPAY_DIALECT		what the servers and the double speak with each other
#						(digiflazz where the test's name ends so, else digiswitch)
#
# A test is written in digiswitch.  What it dictates to the double or has a peer
# say is put into the run's dialect by spoken, which control and DigipayPeer do
# by themselves; what comes from digipay is put back by heard.

package DigipayTest;

use strict;
use warnings;

use Carp;
use File::Basename ();
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our $DIALECT = $ENV{DIGIPAY_DIALECT} // ($0 =~ /_digiflazz\.pl\z/ ? 'digiflazz' : 'digiswitch');
our $PATH = $DIALECT eq 'digiflazz' ? '/v1/transaction' : '/v1/user/api/transaction';

# what the dialects call by different names, as digiswitch has it
my %SPOKEN = $DIALECT eq 'digiflazz'
  ? (command => 'commands', code => 'buyer_sku_code', name => 'customer_name',
	balance => 'buyer_last_saldo')
  : ();
my %HEARD = reverse %SPOKEN;
my $SPOKEN_KEY = join('|', sort keys %SPOKEN);

my @providers;

# ----------------------------------------------------------------- dialects

# A JSON text of digiswitch's in the run's dialect: its keys are replaced,
# wherever they stand, and nothing else, so that it may be broken JSON as well.
sub spoken
{
	my ($text) = @_;
	return $text unless %SPOKEN && defined $text;
	return $text =~ s/"($SPOKEN_KEY)"(?=\s*:)/"$SPOKEN{$1}"/gr;
}

# What one key is called in the run's dialect, and an object with such keys.
sub spoken_key { return $SPOKEN{ $_[0] } // $_[0] }

sub spoken_object { my (%object) = @_; return { map { spoken_key($_) => $object{$_} } keys %object } }

# A decoded object of the run's dialect with digiswitch's keys.  A key that the
# run's dialect does not have shows as such.
sub heard
{
	my ($object) = @_;
	return { map { ($HEARD{$_} // ($SPOKEN{$_} ? "$_, in $DIALECT" : $_)) => $object->{$_} } keys %$object };
}

# The option that has a server speak the run's dialect, for OPTIONS.
sub dialect_option { return $DIALECT eq 'digiswitch' ? () : (dialect => $DIALECT) }

# ------------------------------------------------------------------ servers

# A server, initialized and started.  Settings beyond what it needs may be
# given as name => value; further:
#	conf => text		lines for postgresql.conf
#	init => [...]		arguments for PostgreSQL::Test::Cluster's init
#	start => 0			leave it stopped
sub new_node
{
	my ($name, %settings) = @_;
	my $conf = delete $settings{conf} // '';
	my $init = delete $settings{init} // [];
	my $start = delete $settings{start} // 1;

	my $node = PostgreSQL::Test::Cluster->new($name);
	my %init = @$init;
	$init{extra} //= [ '--locale=C.UTF-8', '-E', 'UTF8' ];
	$node->init(%init);
	configure_node($node, %settings);
	$node->append_conf('postgresql.conf', $conf) if $conf ne '';
	$node->start if $start;
	return $node;
}

# The settings by which a node finds the extension, and given ones.  For nodes
# that new_node has not made: clones, standbys, restored backups.
sub configure_node
{
	my ($node, %settings) = @_;

	if (my $root = $ENV{DIGIPAY_DESTDIR})
	{
		my $libdir = $node->config_data('--pkglibdir');
		$settings{dynamic_library_path} //= "$root$libdir:\$libdir";
		if ($node->pg_version >= 18)
		{
			my $sharedir = $node->config_data('--sharedir');
			$settings{extension_control_path} //= "$root$sharedir:\$system";
		}
		else
		{
			$settings{extension_destdir} //= $root;
		}
	}
	for my $name (sort keys %settings)
	{
		(my $value = $settings{$name}) =~ s/'/''/g;
		$node->append_conf('postgresql.conf', "$name = '$value'");
	}
	return;
}

# Kills the server's main process and waits until the rest of it is gone too,
# so that it can be started again at once.
sub crash
{
	my ($node) = @_;
	my $pid = $node->{_pid};
	my @others;

	# its children end when they notice
	for my $file (glob '/proc/[0-9]*/stat')
	{
		open my $fh, '<', $file or next;
		push @others, $1 if (<$fh> // '') =~ /^(\d+) \(.*\) \w $pid /;
	}
	$node->kill9;
	wait_until(sub { !grep { kill(0, $_) } $pid, @others }, 60);
	return;
}

# What a newcomer does: the extension, the server, the PUBLIC mapping.
# Options:
#	db => 'postgres'		the database
#	server => 'digipay'		the server's name
#	username, api_key		of the mapping (demo, demo-key)
#	mapping => {...}		further options of the mapping
#	https => 1				through TLS (the provider was started with https => 1)
#	port => N				another port than the provider's own
#	endpoint => URL			another one altogether
# Whatever else is given is an option of the server.
sub create_account
{
	my ($node, $provider, %options) = @_;
	my $db = delete $options{db} // 'postgres';
	my $server = delete $options{server} // 'digipay';
	my $https = delete $options{https};
	my $port = delete $options{port};
	my %mapping = (
		username => delete $options{username} // 'demo',
		api_key => delete $options{api_key} // 'demo-key',
		%{ delete $options{mapping} // {} });

	$options{endpoint} //= $https
	  ? 'https://localhost:' . ($port // $provider->https_port) . $PATH
	  : 'http://127.0.0.1:' . ($port // $provider->http_port) . $PATH;
	$options{allow_private_address} //= 'true';
	$options{ca_file} //= $provider->ca_file if $https;

	# log_statement: the key would be in the server's log, where a test may
	# look for what digipay itself lets slip
	$node->safe_psql($db,
		"SET log_statement = 'none';\n"
		  . "SET client_min_messages = warning;\n"
		  . "CREATE EXTENSION IF NOT EXISTS digipay;\n"
		  . "CREATE SERVER \"$server\" FOREIGN DATA WRAPPER digipay OPTIONS ("
		  . option_list(%options) . ");\n"
		  . "CREATE USER MAPPING FOR PUBLIC SERVER \"$server\" OPTIONS ("
		  . option_list(%mapping) . ");");
	return;
}

# name => value pairs as SQL's OPTIONS wants them; a server's speak the run's
# dialect unless they say otherwise
sub option_list
{
	my (%options) = @_;
	%options = (dialect_option(), %options) if exists $options{endpoint};
	return join(', ', map { "$_ " . literal($options{$_}) } sort keys %options);
}

# A value as an SQL literal.
sub literal
{
	my ($value) = @_;
	return 'NULL' unless defined $value;
	$value =~ s/'/''/g;
	return $value =~ /\\/ ? " E'" . $value =~ s/\\/\\\\/gr . "'" : "'$value'";
}

# ------------------------------------------------------------------ queries

# The rows of a query as hashes, values as text, NULL as undef.
sub rows
{
	my ($node, $query, %params) = @_;
	my $db = $params{db} // 'postgres';
	my @rows;

	$query =~ s/;\s*\z//;
	# every value as text in JSON: numeric keeps its digits, NULL stays NULL
	my $out = $node->safe_psql($db,
		"SET client_encoding = 'UTF8';\n"
		  . "SELECT coalesce(j.agg, '[]') FROM (SELECT pg_catalog.jsonb_agg((SELECT "
		  . "pg_catalog.jsonb_object_agg(e.key, e.value) FROM pg_catalog.jsonb_each_text("
		  . "pg_catalog.to_jsonb(q)) e)) AS agg FROM ($query) q) j");
	return @{ JSON::PP->new->utf8->decode($out) };
}

# The one row of a query, as a hash.
sub row
{
	my ($node, $query, %params) = @_;
	my @rows = rows($node, $query, %params);
	croak scalar(@rows) . " rows where one was wanted: $query" if @rows != 1;
	return $rows[0];
}

# The payment of a ref_id as the journal has it, or undef.
sub payment
{
	my ($node, $ref_id, %params) = @_;
	my @rows =
	  rows($node, 'SELECT * FROM digipay_payment WHERE ref_id = ' . literal($ref_id), %params);
	return $rows[0];
}

# psql's words to have everything about an error
my @VERBOSE = ('-v', 'VERBOSITY=verbose', '-v', 'SHOW_CONTEXT=always');

# The first error of a statement that fails, taken apart: severity, sqlstate,
# message, detail, hint, context, location, statement, and text, which is all
# that psql has said.  undef where nothing fails.
# Options: db, role (SET ROLE before), before (SQL that runs before).
sub error_of
{
	my ($node, $query, %params) = @_;
	my $db = $params{db} // 'postgres';
	my $before = $params{before} // '';
	$before .= "SET ROLE \"$params{role}\";\n" if defined $params{role};

	my $err = '';
	$node->psql($db, "$before$query", stderr => \$err, on_error_stop => 1,
		extra_params => \@VERBOSE);
	return parse_error($err);
}

# The first error in what psql has written with VERBOSITY verbose.
sub parse_error
{
	my ($text) = @_;
	my %error;
	my $field;

	for my $line (split /\n/, $text // '')
	{
		if (!%error)
		{
			next
			  unless $line =~
			  /^(?:psql:[^:]*:(?:\d+:)? )?(ERROR|FATAL|PANIC):\s+(\w{5}): (.*)$/;
			@error{qw(severity sqlstate message)} = ($1, $2, $3);
			$field = 'message';
		}
		elsif ($line =~ /^(DETAIL|HINT|CONTEXT|LOCATION|STATEMENT|QUERY|SCHEMA NAME|TABLE NAME|COLUMN NAME|DATATYPE NAME|CONSTRAINT NAME):\s+(.*)$/)
		{
			$field = lc $1;
			$error{$field} = $2;
		}
		elsif ($line =~ /^(?:psql:[^:]*:(?:\d+:)? )?(?:ERROR|FATAL|PANIC|WARNING|NOTICE|INFO|LOG):\s/)
		{
			last;
		}
		else
		{
			$error{$field} .= "\n$line";
		}
	}
	return undef unless %error;
	$error{text} = $text;
	return \%error;
}

# One test: the statement fails with this SQLSTATE, and, where given, with a
# message, detail, hint or context like that.
sub fails_with
{
	my ($node, $query, $sqlstate, $name, %params) = @_;
	my %like = map { $_ => delete $params{$_} }
	  grep { exists $params{$_} } qw(message detail hint context);
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	my $error = error_of($node, $query, %params);
	my $good = $error && $error->{sqlstate} eq $sqlstate;
	for my $field (keys %like)
	{
		$good &&= ($error->{$field} // '') =~ $like{$field};
	}
	ok($good, $name)
	  or diag($error ? $error->{text} : "it did not fail: $query");
	return $error;
}

# A session in the background: an instance of PostgreSQL::Test::BackgroundPsql
# (query, query_safe, query_until, quit) that goes on after an error.
sub session
{
	my ($node, %params) = @_;
	my $db = delete $params{db} // 'postgres';
	return $node->background_psql($db, on_error_stop => 0,
		extra_params => \@VERBOSE, %params);
}

# A statement in a session of its own, in the background.  The handle has
#	finish	waits for the end; the handle again
#	done	whether it has ended
#	cancel	what Ctrl-C does
#	kill	ends psql at once: the connection is lost
#	out, err, status, error		what came of it, after finish
sub async
{
	my ($node, $query, %params) = @_;
	my $db = $params{db} // 'postgres';
	my $self = bless { out => '', err => '' }, 'DigipayTest::Async';

	local %ENV = $node->_get_env();
	$self->{in} = "$query\n;\n\\q\n";
	$self->{run} = IPC::Run::start(
		[
			$node->installed_command('psql'), '-XAtq', '-v', 'ON_ERROR_STOP=1',
			@VERBOSE, '-d', $node->connstr($db), '-f', '-'
		],
		'<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err},
		IPC::Run::timeout($params{timeout} // $PostgreSQL::Test::Utils::timeout_default));
	# see to it that psql has the statement
	$self->{run}->pump while $self->{in} ne '' && $self->{run}->pumpable;
	return $self;
}

# Waits until a code reference returns something true, which is returned, or
# fails after so many seconds (30).
sub wait_until(&;$)
{
	my ($test, $seconds) = @_;
	my $deadline = time + ($seconds // 30);
	while (1)
	{
		my $value = $test->();
		return $value if $value;
		croak 'waited in vain' if time > $deadline;
		sleep 0.05;
	}
}

# Waits until a query returns t, or the value given as expected.
sub poll_until
{
	my ($node, $query, %params) = @_;
	return $node->poll_query_until($params{db} // 'postgres', $query,
		$params{expected} // 't');
}

# Waits until the payment is in one of these states; returns its row.
sub wait_for_state
{
	my ($node, $ref_id, $states, %params) = @_;
	my %wanted = map { $_ => 1 } ref $states ? @$states : $states;
	my $row;
	eval {
		wait_until(sub {
			$row = payment($node, $ref_id, %params);
			return $row && $wanted{ $row->{state} };
		}, $params{seconds});
		1;
	} or croak "payment $ref_id is " . ($row ? $row->{state} : 'not there');
	return $row;
}

# Waits until so many sessions wait, as they do for the worker, in statements that
# are LIKE that.  False if they do not within a minute.
sub wait_for_waiters
{
	my ($node, $count, $like) = @_;
	my $waiting = 'SELECT count(*) FROM pg_stat_activity WHERE query LIKE ' . literal($like)
	  . q{ AND wait_event_type = 'Extension' AND pid <> pg_backend_pid()};
	return eval { wait_until(sub { $node->safe_psql('postgres', $waiting) == $count }, 60) };
}

# The middle one of some numbers.
sub median
{
	my @sorted = sort { $a <=> $b } @_;
	return $sorted[ $#sorted / 2 ];
}

# Process id of the database's worker, or undef.
sub worker_pid
{
	my ($node, $db) = @_;
	$db //= 'postgres';
	my $pid = $node->safe_psql($db,
		'SELECT pid FROM pg_catalog.pg_stat_activity WHERE datname = '
		  . literal($db) . q{ AND backend_type LIKE 'digipay%'});
	return $pid eq '' ? undef : $pid;
}

# ---------------------------------------------------------------- the double

# Starts the provider's double.  Options are those of its command line, with
# underscores: delay => 500, pending => 2000, insist_on_inquiry => 1,
# http_port => N, ...; further
#	https => 1		with a certificate for localhost, see ca_file
#	witness => $node	looks into that server's journal at every payment
sub start_provider
{
	my (%options) = @_;
	my $self = bless { options => {%options}, pid => undef }, 'DigipayTest::Provider';
	$self->start;
	push @providers, $self;
	return $self;
}

# Certificate and key for a name, made once: (certificate file, key file).
my %certificates;

sub certificate
{
	my ($name, %params) = @_;
	$name //= 'localhost';
	my $days = $params{days} // 2;
	return @{ $certificates{"$name $days"} //= do
		{
			my $dir = PostgreSQL::Test::Utils::tempdir('digipay_tls');
			my $alt = "DNS:$name" . ($name eq 'localhost' ? ',IP:127.0.0.1' : '');
			PostgreSQL::Test::Utils::system_or_bail(
				'openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes',
				'-keyout', "$dir/key.pem", '-out', "$dir/cert.pem",
				'-days', $days, '-subj', "/CN=$name",
				'-addext', "subjectAltName=$alt");
			[ "$dir/cert.pem", "$dir/key.pem" ];
		}
	};
}

END
{
	# what is still running ends here; the test's verdict stays
	my $status = $?;
	$_->kill for grep { defined $_->{pid} } @providers;
	$? = $status;
}

# --------------------------------------------------------------------------
package DigipayTest::Provider;

use strict;
use warnings;

use Carp;
use HTTP::Tiny;
use MIME::Base64 ();
use POSIX ();
use Time::HiRes qw(sleep time);

# what is true or false, on the command line (an option without a value) and
# for control
my %FLAG = map { $_ => 1 } qw(insist_on_inquiry status_echoes_inquiry unique_ref_id
  malaysian error_objects);
my $count = 0;

# Starts the program; the ports of an earlier start are kept.
sub start
{
	my ($self) = @_;
	my %options = %{ $self->{options} };
	my $program = $ENV{DIGIPAY_PROVIDER} // 'test/provider/provider';

	if (delete $options{https})
	{
		@options{qw(cert key)} = DigipayTest::certificate('localhost');
	}
	if (ref $options{witness})
	{
		$options{witness} = $options{witness}->connstr('postgres');
	}
	$self->{ca_file} = $options{cert};
	for my $port (qw(http_port https_port raw_port))
	{
		$options{$port} //= $self->{$port} if $self->{$port};
	}
	my @command = ($program, '--until-eof');
	for my $name (sort keys %options)
	{
		(my $option = "--$name") =~ tr/_/-/;
		next unless defined $options{$name};
		if ($FLAG{$name})
		{
			push @command, $option if $options{$name};
		}
		else
		{
			push @command, $option, $options{$name};
		}
	}

	# It ends with its standard input, so it cannot outlive us.
	my $log = sprintf('%s/provider_%s_%d.log',
		$PostgreSQL::Test::Utils::log_path, File::Basename::basename($0, '.pl'), ++$count);
	pipe(my $in, my $hold) or croak "pipe: $!";
	pipe(my $out, my $tell) or croak "pipe: $!";
	my $pid = fork() // croak "fork: $!";
	if ($pid == 0)
	{
		POSIX::dup2(fileno($in), 0);
		POSIX::dup2(fileno($tell), 1);
		my $fd = POSIX::open($log, POSIX::O_WRONLY | POSIX::O_CREAT | POSIX::O_APPEND, 0644);
		POSIX::dup2($fd, 2) if defined $fd;
		POSIX::close($_) for 3 .. 63;
		$SIG{PIPE} = 'DEFAULT';
		{ no warnings 'exec'; exec { $command[0] } @command; }
		POSIX::_exit(127);
	}
	close $in;
	close $tell;
	@$self{qw(pid hold log)} = ($pid, $hold, $log);

	my $line = '';
	my $deadline = time + 20;
	while ($line !~ /\n/)
	{
		my $bits = '';
		vec($bits, fileno($out), 1) = 1;
		my $ready = select($bits, undef, undef, 1);
		my $got = $ready && $ready > 0 ? sysread($out, $line, 4096, length $line) : undef;
		if ((defined $got && $got == 0) || time > $deadline)
		{
			$self->kill;
			croak "the provider's double did not start: @command\n"
			  . PostgreSQL::Test::Utils::slurp_file($log);
		}
	}
	close $out;
	for my $name (qw(http https raw))
	{
		$self->{"${name}_port"} = $1 if $line =~ /\b$name=(\d+)/;
	}
	croak "not understood: $line" unless $self->{http_port};
	Test::More::note("provider $pid: $line");
	return $self;
}

sub http_port { return $_[0]->{http_port} }
sub https_port { return $_[0]->{https_port} }
sub raw_port { return $_[0]->{raw_port} }
sub ca_file { return $_[0]->{ca_file} }
sub pid { return $_[0]->{pid} }
sub log { return $_[0]->{log} }
sub running { return defined $_[0]->{pid} }

# The transaction call's URL, on the plain port or on another one.
sub endpoint
{
	my ($self, $port) = @_;
	return 'http://127.0.0.1:' . ($port // $self->{http_port}) . $DigipayTest::PATH;
}

# One HTTP call to the double, and its JSON decoded.
sub call
{
	my ($self, $method, $path, $body) = @_;
	my $reply = HTTP::Tiny->new(timeout => 20, proxy => undef, http_proxy => undef)->request(
		$method,
		"http://127.0.0.1:$self->{http_port}$path",
		defined $body
		? {
			headers => { 'Content-Type' => 'application/json' },
			content => JSON::PP->new->utf8->canonical->encode($body)
		  }
		: {});
	croak "$method $path: $reply->{status} $reply->{content}" unless $reply->{success};
	return undef unless defined $reply->{content} && $reply->{content} =~ /\S/;
	return JSON::PP->new->utf8->allow_nonref->decode($reply->{content});
}

# The provider's books: of one ref_id, or all of them.
sub books
{
	my ($self, $ref_id) = @_;
	return $self->call('GET', '/books') unless defined $ref_id;
	return $self->call('GET', '/books?ref_id=' . HTTP::Tiny->_uri_escape($ref_id));
}

# How often the provider has booked a ref_id.
sub booked
{
	my ($self, $ref_id) = @_;
	return $self->books($ref_id)->{booked} // 0;
}

# What the witness has complained about.
sub complaints
{
	my ($self) = @_;
	return @{ $self->books->{complaints} // [] };
}

# Tells the double how to behave.  A dictated reply is in digiswitch; with
# verbatim => 1 it is not put into the run's dialect.
sub control
{
	my ($self, %orders) = @_;
	if (ref $orders{script})
	{
		my %script = %{ $orders{script} };
		if (!delete $script{verbatim})
		{
			$script{body} = DigipayTest::spoken($script{body}) if defined $script{body};
			$script{body_base64} = MIME::Base64::encode_base64(
				DigipayTest::spoken(MIME::Base64::decode_base64($script{body_base64})), '')
			  if defined $script{body_base64};
		}
		$orders{script} = \%script;
	}
	for my $name (grep { $FLAG{$_} } keys %orders)
	{
		$orders{$name} = $orders{$name} ? JSON::PP::true() : JSON::PP::false();
	}
	return $self->call('POST', '/control', \%orders);
}

# Holds every answer of the HTTP ports back, so that payments stay on their way
# for as long as the test looks at them; release sends what was held.
sub hold { $_[0]->control(delay => undef); return }
sub release { $_[0]->control(delay => 0); return }

# Empties the books.
sub reset
{
	my ($self) = @_;
	return $self->call('DELETE', '/books');
}

# Ends it in an orderly way; start begins anew on the same ports.
sub stop
{
	my ($self) = @_;
	return unless defined $self->{pid};
	close $self->{hold};
	return if $self->_gone(5);
	CORE::kill('TERM', $self->{pid});
	return if $self->_gone(5);
	return $self->kill;
}

# Ends it at once.
sub kill
{
	my ($self) = @_;
	return unless defined $self->{pid};
	CORE::kill('KILL', $self->{pid});
	waitpid($self->{pid}, 0);
	close $self->{hold} if $self->{hold};
	$self->{pid} = undef;
	return;
}

# Stops it without an end, as a hung provider would be; resume lets it go on.
sub freeze { CORE::kill('STOP', $_[0]->{pid}); return }
sub resume { CORE::kill('CONT', $_[0]->{pid}); return }

# Whether it has ended within so many seconds.
sub _gone
{
	my ($self, $seconds) = @_;
	my $deadline = time + $seconds;
	while (1)
	{
		if (waitpid($self->{pid}, POSIX::WNOHANG()) == $self->{pid})
		{
			$self->{pid} = undef;
			return 1;
		}
		return 0 if time > $deadline;
		sleep 0.02;
	}
}

# --------------------------------------------------------------------------
package DigipayTest::Async;

use strict;
use warnings;

# Waits for the end of the statement.
sub finish
{
	my ($self) = @_;
	if (my $run = delete $self->{run})
	{
		$run->finish;
		$self->{status} = $run->full_result(0);
		chomp $self->{out};
	}
	return $self;
}

# Whether it has ended.
sub done
{
	my ($self) = @_;
	# the end is seen by the call after that which has read the last output
	for (1 .. 2)
	{
		return 1 unless $self->{run} && $self->{run}->pumpable;
		$self->{run}->pump_nb;
	}
	return !$self->{run}->pumpable;
}

sub cancel { my ($self) = @_; $self->{run}->signal('INT') if $self->{run}; return $self }
sub kill { my ($self) = @_; $self->{run}->signal('KILL') if $self->{run}; return $self }
sub out { return $_[0]->finish->{out} }
sub err { return $_[0]->finish->{err} }
sub status { return $_[0]->finish->{status} }
sub error { return DigipayTest::parse_error($_[0]->finish->{err}) }

1;
