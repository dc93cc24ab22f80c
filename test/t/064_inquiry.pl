# The inquiry before the payment: what it may say (year, amount, SAMSAT's two
# parts), and the server option require_inquiry, by which nothing leaves without
# a good inquiry of the same day in Jakarta.  The judge is the double, which
# insists on one as well: it must never have had to say so.

use strict;
use warnings;

use DigipayPeer;
use DigipayShim;
use DigipayTest;
use IO::Select;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time);

my $BILL = q{'pln', '530000000001'};
my $NO_INQUIRY = qr/^there is no good inquiry of today$/;

DigipayShim::available() or plan skip_all => 'no C compiler for test/t/lib/shim.c';

# one clock for both, and a certificate that lasts for as long as it goes on
my ($cert, $key) = DigipayTest::certificate('localhost', days => 30);
my ($node, $provider);
DigipayShim::under(sub {
	$node = DigipayTest::new_node('inquiry');
	$provider = DigipayTest::start_provider(insist_on_inquiry => 1, cert => $cert, key => $key);
});
my %wanted = (require_inquiry => 'true', status_interval => 400, queue_ttl => 20 * 86_400_000);
DigipayTest::create_account($node, $provider, %wanted, paused => 'false');
DigipayTest::create_account($node, $provider, %wanted, server => 'waiting', paused => 'true');
DigipayTest::create_account($node, $provider, %wanted, server => 'late', https => 1, connect_timeout => 80_000);
DigipayTest::create_account($node, $provider, %wanted, server => 'free', require_inquiry => 'false', paused => 'true');

sub value { return $node->safe_psql('postgres', "SET client_min_messages = error; $_[0]") }

# Sets the clock to so many seconds after midnight in Jakarta, of a day that is
# each time a later one than before.
my $day = 0;

sub set_clock
{
	my ($seconds, %params) = @_;
	$day++ if $params{new_day};
	DigipayShim::jump(86400 - (time + 7 * 3600) % 86400 + $day * 86400 + $seconds);
	return;
}

sub inquire
{
	my ($ref_id, %params) = @_;
	my $bill = $params{bill} // $BILL;
	my $server = $params{server} // 'digipay';
	return value("SELECT rc FROM digipay_inquire($bill, '$ref_id', server => '$server')");
}

# A call, and that it is refused with nothing sent.  What the journal has of the
# payment stays as it is.
sub is_refused
{
	my ($call, $ref_id, $name, %params) = @_;
	my $requests = $provider->books->{requests};
	my $row = DigipayTest::payment($node, $ref_id);
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	DigipayTest::fails_with($node, "SELECT $call", 'PY006', "$name: PY006",
		message => $params{message} // $NO_INQUIRY, detail => $params{detail} // qr/./, hint => $params{hint} // qr/digipay_inquire/,
		before => $params{before});
	is_deeply(DigipayTest::payment($node, $ref_id), $row, "$name: nothing is written");
	is($provider->books->{requests}, $requests, "$name: nothing is sent");
	return;
}

# Neither paid at once nor queued.
sub pays_not
{
	my ($ref_id, $name, %params) = @_;
	my $bill = $params{bill} // $BILL;
	my $server = $params{server} // 'digipay';
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is_refused("$_($bill, '$ref_id', server => '$server')", $ref_id, "$name, $_", %params) for qw(digipay_pay digipay_submit);
	return;
}

sub pay
{
	my ($ref_id, %params) = @_;
	my $bill = $params{bill} // $BILL;
	my $server = $params{server} // 'digipay';
	return value("SELECT state FROM digipay_pay($bill, '$ref_id', server => '$server')");
}

sub submit
{
	my ($ref_id, $server) = @_;
	return value("SELECT state FROM digipay_submit($BILL, '$ref_id', server => '$server')");
}

# What became of it in the end: the state, and what the books have of it.
sub standing
{
	my ($ref_id) = @_;
	my $books = $provider->books($ref_id);
	my $row = DigipayTest::payment($node, $ref_id);
	return ($row ? $row->{state} : 'none') . ' ' . ($books->{pay_requests} // 0) . ' ' . ($books->{booked} // 0);
}

# The queue has taken it up, and says why it was not to be paid.
sub is_cancelled
{
	my ($ref_id, $name, $why) = @_;
	my $row = eval { DigipayTest::wait_for_state($node, $ref_id, 'cancelled') };
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(standing($ref_id), 'cancelled 0 0', "$name: cancelled, nothing sent");
	like($row ? $row->{error} : '', $why, "$name: and the row says why");
	ok($row && defined $row->{final_at} && !defined $row->{next_check_at}, "$name: that is final");
	return;
}

sub option { return value("ALTER SERVER $_[0] OPTIONS (SET $_[1])") }

# ---------------------------------------------------------------------------
# What an inquiry may say, as it arrives

my $peer = DigipayPeer::start(sub {
	my ($socket, $request) = @_;
	my $body = $request->{body};
	print $socket DigipayPeer::reply(200, 'application/json', JSON::PP->new->encode({ data => {
		rc => '00', status => 'Sukses', message => 'ok', map { $_ => $body->{$_} } qw(ref_id customer_no code) } }));
	return 1;
});
DigipayTest::create_account($node, $peer, server => 'peer', endpoint => $peer->endpoint);

my @said = (
	[ "'cimahi', '1'", 'year => 1900', { year => 1900 } ],
	[ "'cimahi', '1'", 'year => 2999', { year => 2999 } ],
	[ "'cimahi', '1'", 'year => NULL', {} ],
	[ "'emoney', '1'", 'amount => 1000', { amount => 1000 } ],
	[ "'emoney', '1'", 'amount => 25000.000', { amount => 25000 } ],
	[ "'emoney', '1'", 'amount => 1e6', { amount => 1000000 } ],
	[ "'emoney', '1'", 'amount => 9007199254741000', { amount => 9007199254741000 } ],
	[ "'emoney', '1'", 'amount => NULL', {} ],
	[ "'emoney', '1'", 'year => 2024, amount => 50000', { year => 2024, amount => 50000 } ]);
for my $i (0 .. $#said)
{
	my ($bill, $arguments, $expected) = @{ $said[$i] };
	is(value("SELECT rc FROM digipay_inquire($bill, 'said-$i', server => 'peer', $arguments)"), '00', "$arguments: answered");
	my ($request) = $peer->requests("said-$i");
	my %members = map { $_ => $request->{body}{$_} } grep { exists $request->{body}{$_} } qw(year amount);
	is(JSON::PP->new->canonical->encode(\%members), JSON::PP->new->canonical->encode($expected), "$arguments: arrives as whole numbers");
	for my $member (sort keys %$expected)
	{
		my $digits = $expected->{$member};
		like($request->{raw}, qr/"$member":$digits(?:,|\})/, "$arguments: without decimals, exponent or quotes");
	}
	is($request->{command}, 'inq-pasca', "$arguments: in an inquiry");
}
my $requests = () = $peer->requests;
for my $wrong ('year => 1899', 'year => 3000', 'year => 24', 'amount => 999', 'amount => 1500', 'amount => 1000.01', 'amount => 0',
	'amount => -1000', q{amount => 'NaN'}, q{amount => 'Infinity'})
{
	DigipayTest::fails_with($node, "SELECT digipay_inquire('emoney', '1', 'wrong', server => 'peer', $wrong)", '22023', "$wrong: refused",
		hint => qr/./);
}
is(scalar(() = $peer->requests), $requests, 'and nothing was sent');
$peer->stop;

# ---------------------------------------------------------------------------
# SAMSAT's two parts

is(value(q{SELECT digipay_samsat_no('9658548523568701', '0212502110170100')}), '9658548523568701,0212502110170100', 'samsat: a comma between');
is(value(q{SELECT digipay_samsat_no('a b', 'c-d')}), 'a b,c-d', 'samsat: blanks inside stay');
is(value(q{SELECT concat_ws('|', digipay_samsat_no(NULL, '1') IS NULL, digipay_samsat_no('1', NULL) IS NULL)}), 't|t', 'samsat: NULL gives NULL');
DigipayTest::fails_with($node, q{SELECT digipay_pay('samsat', digipay_samsat_no(NULL, '1'), 'samsat-null')}, '22023', 'samsat: which is not paid',
	message => qr/customer_no must not be NULL/);
is(value(q{SELECT length(digipay_samsat_no(repeat('1', 63), repeat('2', 64)))}), 128, 'samsat: as long as a customer_no');
for my $case (
	[ q{'', '1'}, qr/^payment_code must not be empty/ ], [ q{'1', ''}, qr/^identity_no must not be empty/ ],
	[ q{'1,2', '3'}, qr/^payment_code must not have a comma/ ], [ q{'1', '2,3'}, qr/^identity_no must not have a comma/ ],
	[ q{' 1', '2'}, qr/^payment_code must not begin or end with a space/ ], [ q{'1', '2 '}, qr/^identity_no must not begin or end/ ],
	[ qq{'1', E'2\\n'}, qr/^identity_no must be printable ASCII/ ], [ qq{'\x{c3}\x{a9}', '2'}, qr/^payment_code must be printable ASCII/ ],
	[ q{repeat('1', 64), repeat('2', 64)}, qr/^identity_no must fit into 128 characters/ ],
	[ q{repeat('1', 128), '2'}, qr/^identity_no must fit into 128 characters/ ], [ q{repeat('1', 129), '2'}, qr/^payment_code must not be longer than 128/ ])
{
	my ($arguments, $message) = @$case;
	DigipayTest::fails_with($node, "SELECT digipay_samsat_no($arguments)", '22023', "samsat: ($arguments) is refused", message => $message, hint => qr/./);
}

# ---------------------------------------------------------------------------
# Within a day

set_clock(-7200);
pays_not('never', 'no inquiry', detail => qr/^Server "digipay" has require_inquiry, and ref_id "never" has no inquiry\.$/);

is(inquire('no-bill', bill => q{'pln', '530000000003'}), '60', 'there is no bill');
pays_not('no-bill', 'an inquiry that failed', bill => q{'pln', '530000000003'}, detail => qr/answered with rc 60\./);

inquire('good');
DigipayTest::fails_with($node, qq{SELECT digipay_pay($_)}, 'PY002', "($_) after the inquiry of another bill")
  for q{'pln', '530000000002', 'good'}, q{'hp', '530000000001', 'good'}, qq{$BILL, 'good', true};
is(pay('good'), 'succeeded', 'after a good inquiry it is paid');
is(standing('good'), 'succeeded 1 1', '... once');
my $samsat = q{'samsat', digipay_samsat_no('9658548523568701', '0212502110170100')};
inquire('samsat', bill => $samsat);
is(pay('samsat', bill => $samsat), 'succeeded', 'vehicle tax, too');
is($provider->books('samsat')->{customer_no}, '9658548523568701,0212502110170100', '... of both parts');
value("SELECT digipay_inquire($BILL, 'test', true)");
is(value("SELECT state FROM digipay_pay($BILL, 'test', true)"), 'succeeded', 'and a test, after an inquiry that was one');
inquire('queued');
is(submit('queued', 'digipay'), 'queued', 'and it may be queued');
is(value(q{SELECT state FROM digipay_wait('queued', '60 s')}), 'succeeded', '... and is paid then');

# only the last answer counts, if it was one
inquire('worse');
$provider->control(script => { ref_id => 'worse', command => 'inq-pasca', body =>
	'{"data":{"ref_id":"worse","customer_no":"530000000001","code":"pln","status":"Gagal","rc":"60","message":"x"}}' });
is(inquire('worse'), '60', 'a later answer that there is no bill');
pays_not('worse', 'a later answer that there is no bill', detail => qr/rc 60/);
inquire('odd');
$provider->control(script => { ref_id => 'odd', command => 'inq-pasca', body => 'rubbish' });
DigipayTest::fails_with($node, "SELECT digipay_inquire($BILL, 'odd')", 'PY005', 'a later answer that is none');
is(pay('odd'), 'succeeded', '... leaves the first as it is');
$provider->control(script => undef);

# with max_price it is the same inquiry
is_refused("digipay_pay($BILL, 'never', max_price => 1000000)", 'never', 'max_price and no inquiry');
inquire('price');
is_refused("digipay_pay($BILL, 'price', max_price => 9999)", 'price', 'max_price is too low', message => qr/^the price is more than max_price/,
	hint => qr/higher max_price/);
is(value("SELECT state FROM digipay_pay($BILL, 'price', max_price => 10000)"), 'succeeded', 'max_price is enough');

# an inquiry under another account is none of this one's
inquire('account');
value(q{ALTER USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (SET username 'another')});
pays_not('account', 'an inquiry under another account', detail => qr/was made under account "demo\@/);
value(q{ALTER USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (SET username 'demo')});

# ---------------------------------------------------------------------------
# Over midnight

# queued today, with an inquiry of today; and what could not leave
set_clock(-1800);
inquire($_) for qw(yesterday again not-sent rejected back back-again);
inquire($_, server => 'waiting') for qw(turn turn-again);
is(submit($_, 'waiting'), 'queued', "$_ is queued") for qw(turn turn-again);
is(submit('switched', 'free'), 'queued', 'without the option no inquiry is needed');

$provider->control(script => { ref_id => 'rejected', command => 'pay-pasca', body =>
	'{"data":{"ref_id":"rejected","customer_no":"530000000001","code":"pln","status":"Gagal","rc":"44","message":"Saldo tidak cukup"}}' });
is(pay('rejected'), 'rejected', 'one is rejected');
is(value(q{SELECT state FROM digipay_retry('rejected')}), 'rejected', '... and again: on the same day its inquiry still counts');
$provider->control(script => undef);

my $closed = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => 0);
my $nowhere = 'http://127.0.0.1:' . $closed->sockport . $DigipayTest::PATH;
close $closed;
option('digipay', "endpoint '$nowhere'");
DigipayTest::fails_with($node, "SELECT digipay_pay($BILL, 'not-sent')", 'PY001', 'one cannot leave');
is(submit($_, 'digipay'), 'queued', "$_ cannot leave either") for qw(back back-again);
DigipayTest::poll_until($node, qq{SELECT count(DISTINCT ref_id) = 2 FROM digipay_event WHERE kind = 'transport' AND ref_id LIKE 'back%'});
# in the middle of its next try it is not in the queue
is(eval { DigipayTest::wait_for_state($node, $_, 'queued')->{state} } . ' ' . (standing($_) =~ s/^\w+ //r), 'queued 0 0',
	"$_ has come back to the queue") for qw(back back-again);
is(standing('not-sent'), 'not_sent 0 0', 'the other is not_sent');

set_clock(1800);
my $yesterday = value(q{SELECT (now() AT TIME ZONE 'Asia/Jakarta')::date - 1});
option('digipay', 'endpoint ' . DigipayTest::literal($provider->endpoint));
pays_not('yesterday', 'an inquiry of yesterday', detail => qr/is of $yesterday in Jakarta\./);
pays_not('yesterday', 'wherever the session is', before => q{SET TimeZone = 'America/Los_Angeles';});
is_refused("digipay_pay($BILL, 'yesterday', max_price => 10000)", 'yesterday', 'an inquiry of yesterday, and max_price');
is_cancelled('back', 'what could not leave until midnight', qr/no good inquiry of today: .* is of $yesterday/);
is_cancelled('back-again', '... the other one', qr/no good inquiry of today/);
pays_not('not-sent', 'not_sent, and the inquiry of yesterday');
is_refused("digipay_retry('$_')", $_, "$_, sent again with the inquiry of yesterday") for qw(not-sent rejected back);

# asked about in time, the queue pays; else it does not
inquire('turn-again', server => 'waiting');
option('waiting', "paused 'false'");
is_cancelled('turn', 'queued until midnight', qr/has require_inquiry, and the inquiry of ref_id "turn" is of $yesterday/);
is(eval { DigipayTest::wait_for_state($node, 'turn-again', 'succeeded')->{state} } // standing('turn-again'), 'succeeded',
	'queued until midnight, and inquired about after it: paid');
# what was queued before the option was set
option('free', "require_inquiry 'true'");
option('free', "paused 'false'");
is_cancelled('switched', 'queued before the option was set', qr/ref_id "switched" has no inquiry/);

# with a new inquiry all of them may leave
for my $case ([ 'again', "digipay_pay($BILL, 'again')" ], [ 'not-sent', "digipay_pay($BILL, 'not-sent')" ],
	[ 'rejected', q{digipay_retry('rejected')} ], [ 'back', q{digipay_retry('back')} ])
{
	my ($ref_id, $call) = @$case;
	is(inquire($ref_id), '00', "$ref_id: inquired about again");
	is(value("SELECT state FROM $call"), 'succeeded', "$ref_id: $call pays it");
}
is($provider->booked($_), 1, "$_: booked once") for qw(again not-sent rejected back turn-again);
inquire('turn', server => 'waiting');
is(value(q{SELECT state FROM digipay_retry('turn', 'waiting')}), 'succeeded', 'what was cancelled is sent by digipay_retry');

# the day is that of Jakarta, not of Greenwich
set_clock(7 * 3600 - 600, new_day => 1);
inquire('greenwich');
set_clock(7 * 3600 + 600);
is(pay('greenwich'), 'succeeded', 'midnight in Greenwich is none');

# ---------------------------------------------------------------------------
# Midnight while something is on its way

# the inquiry: it counts for the day on which it was asked
set_clock(-600, new_day => 1);
$provider->hold;
my $slow = DigipayTest::async($node, "SELECT rc FROM digipay_inquire($BILL, 'crossing')");
DigipayTest::wait_until { $provider->books('crossing')->{inquiries} };
set_clock(5);
$provider->release;
is($slow->finish->out, '00', 'an inquiry that is answered after midnight');
pays_not('crossing', 'an inquiry that is answered after midnight', detail => qr/ is of /);

# the payment: it does not leave any more.  Its connection takes so long.
set_clock(-600, new_day => 1);
is(inquire('slow', server => 'late'), '00', 'an inquiry just before midnight');
my $relay = IO::Socket::INET->new(Listen => 4, LocalAddr => '127.0.0.1', LocalPort => 0);
option('late', "endpoint 'https://localhost:" . $relay->sockport . "$DigipayTest::PATH'");
my $paying = DigipayTest::async($node, "SELECT state FROM digipay_pay($BILL, 'slow', server => 'late')");
DigipayTest::wait_for_state($node, 'slow', 'sending');
set_clock(5);
relay($relay, $provider->https_port, sub { $paying->done });
my $error = $paying->finish->error // {};
is($error->{sqlstate} // $paying->out, 'PY001', 'a payment that could leave after midnight only: PY001');
like($error->{detail} // '', qr/the day of its inquiry was over before it could leave/, '... which says why');
is(standing('slow'), 'not_sent 0 0', '... and it has not left');
option('late', "endpoint 'https://localhost:" . $provider->https_port . "$DigipayTest::PATH'");
pays_not('slow', 'then it is an inquiry of yesterday', server => 'late');
inquire('slow', server => 'late');
is(pay('slow', server => 'late'), 'succeeded', 'with a new one it is paid');

# Takes what has connected, and passes on what both sides say until it is over.
sub relay
{
	my ($listener, $port, $over) = @_;
	my $deadline = time + 120;
	my $select = IO::Select->new($listener);
	my %other;

	while (!$over->() && time < $deadline)
	{
		for my $socket ($select->can_read(0.1))
		{
			next unless $socket->opened;	# it was the other one's
			if ($socket == $listener)
			{
				my $from = $listener->accept;
				my $to = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die "relay: $!";
				@other{ $from, $to } = ($to, $from);
				$select->add($from, $to);
			}
			elsif (sysread($socket, my $bytes, 65536))
			{
				syswrite($other{$socket}, $bytes);
			}
			else
			{
				$select->remove($socket, $other{$socket});
				close $_ for $socket, $other{$socket};
			}
		}
	}
	return;
}

# ---------------------------------------------------------------------------
# After a take-over, when all is asked about before it leaves

set_clock(-3600, new_day => 1);
inquire($_) for qw(taken-1 taken-2 taken-3);
option('digipay', "endpoint '$nowhere'");
DigipayTest::fails_with($node, "SELECT digipay_pay($BILL, 'taken-3')", 'PY001', 'one is not_sent');
option('digipay', 'endpoint ' . DigipayTest::literal($provider->endpoint));
value('SELECT digipay_take_over()');
is_refused("digipay_pay($BILL, 'taken-0')", 'taken-0', 'after a take-over, without an inquiry');
option('digipay', "paused 'true'");
is(submit('taken-2', 'digipay'), 'queued', 'after a take-over, with one: queued');
option('digipay', "paused 'false'");
is(pay('taken-1'), 'queued', '... and by digipay_pay, too');
is(eval { DigipayTest::wait_for_state($node, 'taken-1', 'succeeded')->{state} } // standing('taken-1'), 'succeeded', '... and paid on the same day');
ok($provider->books('taken-1')->{status_requests} >= 2, '... once it was asked about');
# so that nothing leaves any more beside what follows
is(eval { DigipayTest::wait_for_state($node, 'taken-2', 'succeeded')->{state} } // standing('taken-2'), 'succeeded', '... as is the other one');
option('digipay', "paused 'true'");
inquire($_) for qw(taken-4 taken-5);
is(submit('taken-4', 'digipay'), 'queued', 'one more is queued');
set_clock(3600);
is(inquire('taken-5'), '00', 'inquiries go on meanwhile');
option('digipay', "paused 'false'");
is_cancelled('taken-4', 'after a take-over, asked about until midnight', qr/no good inquiry of today/);
is_refused("$_", 'taken-3', "after a take-over, not_sent, inquired about yesterday: $_") for "digipay_pay($BILL, 'taken-3')", q{digipay_retry('taken-3')};

# ---------------------------------------------------------------------------
# The judge

my $books = $provider->books->{refs};
is(value(q{SELECT string_agg(ref_id, ' ') FROM digipay_payment WHERE rc = '62' OR message LIKE 'Belum ada inquiry%'}), '',
	'the provider has refused no payment for want of an inquiry');
is(join(' ', grep { $books->{$_}{pay_requests} && !$books->{$_}{inquiries} } sort keys %$books), '', 'nor was one sent without');
is(join(' ', grep { $books->{$_}{booked} > 1 } sort keys %$books), '', 'nothing is booked twice');
is(join(' ', grep { $_->{state} eq 'succeeded' xor $books->{ $_->{ref_id} }{booked} }
		DigipayTest::rows($node, q{SELECT ref_id, state FROM digipay_payment})), '', 'what is booked has succeeded, and nothing else');

done_testing();
