# The price list and the catalogue that is kept of it: one question in five
# minutes whoever asks, an error that is never an empty set and never empties the
# table, the history, cut-off times, and the family by brand.

use strict;
use warnings;

use DigipayPeer;
use DigipayTest;
use Digest::MD5 qw(md5_hex);
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep);

my $DIGIFLAZZ = $DigipayTest::DIALECT eq 'digiflazz';
(my $STEM = $DigipayTest::PATH) =~ s/transaction$//;
my ($NAME, $CODE) = $DIGIFLAZZ ? qw(product_name buyer_sku_code) : qw(name code);
my $JSON = JSON::PP->new->canonical;

my $node = DigipayTest::new_node('catalogue', 'digipay.shutdown_grace' => '300ms');
my $provider = DigipayTest::start_provider();
$provider->control(price_list_limit => 300000);
DigipayTest::create_account($node, $provider);

my $dir = PostgreSQL::Test::Utils::tempdir('digipay_answer');
my $peer = DigipayPeer::start(sub {
	my ($socket, $request) = @_;
	my ($status, $body) = split /\n/, PostgreSQL::Test::Utils::slurp_file("$dir/answer"), 2;
	return 0 if $status eq 'close';
	if ($status eq 'slow')
	{
		sleep 1.5;
		$status = 200;
	}
	return DigipayPeer::hold($socket) if $status eq 'hang';
	print $socket "HTTP/1.1 $status X\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
	return 1;
});
DigipayTest::create_account($node, $provider, server => 'peer', username => 'peer',
	endpoint => 'http://127.0.0.1:' . $peer->port . $DigipayTest::PATH);

sub value { return $node->safe_psql('postgres', $_[0]) }

sub answers
{
	my ($status, $body) = @_;
	open my $fh, '>', "$dir/answer.new" or die;
	print $fh "$status\n" . ($body // '');
	close $fh;
	rename "$dir/answer.new", "$dir/answer" or die;
	return;
}

# A row as the provider has it: code, then what is different from an active product
sub product
{
	my ($code, %more) = @_;
	my $active = delete $more{active} // JSON::PP::true();
	my $name = delete $more{name} // "Produk $code";
	return { $NAME => $name, category => 'Pascabayar', brand => 'PDAM', admin => 2500, commission => 1000, $CODE => $code,
		($DIGIFLAZZ ? (seller_name => 'Toko', buyer_product_status => $active, seller_product_status => JSON::PP::true()) : (status => $active)),
		desc => '-', %more };
}

sub lists { return answers(200, $JSON->encode({ data => [@_] })) }

# Five minutes later
sub later { value(q{UPDATE digipay_price_list_call SET called_at = called_at - interval '301 s'}); return }

sub catalogue { return value(q{SELECT string_agg(code || CASE WHEN active THEN '+' ELSE '-' END, ' ' ORDER BY code) FROM digipay_catalogue WHERE server = 'peer'}) }
sub sync { return value(q{SELECT concat_ws(' ', products, added, changed, gone, back) FROM digipay_sync_products('peer')}) }

sub fails { local $Test::Builder::Level = $Test::Builder::Level + 1; return DigipayTest::fails_with($node, @_) }

# ---------------------------------------------------------------------------
# The list

is(value('SELECT count(*) FROM digipay_price_list()'), 12, 'the price list');
my $row = DigipayTest::row($node, q{SELECT * FROM digipay_price_list(code => 'pln')});
is(join(' | ', map { $row->{$_} // '-' } qw(name category brand admin commission code active desc extra price type start_cut_off)),
	'Pln Postpaid | Pascabayar | PLN PASCABAYAR | 2750 | 2000 | pln | true | - | - | - | - | -', 'a row of it');
is(join(' ', map { $row->{$_} // '-' } qw(buyer_active seller_active seller_name status)),
	$DIGIFLAZZ ? 'true true Toko Pusat -' : '- - - true', 'in the words of the dialect');
is($provider->books->{calls}{'price-list'}, 1, 'asked once: the answer serves again');
is(value('SELECT count(*) FROM digipay_price_list(); SELECT count(*) FROM digipay_price_list()'), "12\n12", 'in any session');
value('SELECT digipay_worker_stop()');
is(value('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; SELECT count(*) FROM digipay_price_list(); ROLLBACK'), "1\n12", 'whatever the worker and the isolation level');
is($provider->books->{calls}{'price-list'}, 1, 'and still once');
fails(q{SELECT * FROM digipay_price_list(code => 'nothing')}, 'PY005', 'what is not in the list is no empty set', detail => qr/no product "nothing"/);
fails(q{SELECT * FROM digipay_price_list('prepaid')}, 'PY005', 'another question has to wait', message => qr/less than five minutes ago/,
	detail => qr/may leave in (?:2\d|30)\d seconds.*for pasca: it was answered/);
is($provider->books->{calls}{'price-list'}, 1, 'and is not asked');
later();
fails(q{SELECT * FROM digipay_price_list('prepaid')}, 'PY005', 'the provider counts for himself', detail => qr/rc 83, "Anda telah mencapai limitasi/,
	hint => qr/five minutes/);
fails(q{SELECT * FROM digipay_price_list('prepaid')}, 'PY005', 'which we remember', detail => qr/for prepaid: rc 83/);
is($provider->books->{calls}{'price-list'}, 2, 'and do not ask again');
$provider->control(price_list_limit => 0);
later();
$row = DigipayTest::row($node, q{SELECT * FROM digipay_price_list('prepaid', 'tsel10')});
is(join(' | ', map { $row->{$_} // '-' } qw(name brand type price active unlimited_stock stock multi start_cut_off end_cut_off seller_name extra)),
	'Telkomsel 10.000 | TELKOMSEL | Umum | 10250 | true | true | 0 | true | 23:45:00 | 00:15:00 | Toko Pusat | -', 'a prepaid product');
fails('SELECT * FROM digipay_price_list()', 'PY005', 'the other kind has to wait', detail => qr/for prepaid tsel10: it was answered/);
fails('SELECT * FROM digipay_sync_products()', 'PY005', 'and so has the catalogue');
fails(q{SELECT * FROM digipay_price_list('x')}, '22023', 'there are two kinds');
fails('SELECT * FROM digipay_price_list(NULL)', '22023', 'and no third');
fails(q{SELECT * FROM digipay_price_list(code => '')}, '22023', 'no code is NULL');

# what is said
lists(product('a'));
value(q{SELECT count(*) FROM digipay_price_list('pasca', 'a', 'peer')});
my ($request) = ($peer->requests)[-1];
like($request->{head}, qr{^POST \Q${STEM}price-list\E HTTP}, 'beside the transactions');
is_deeply($JSON->decode($request->{raw}), { ($DIGIFLAZZ ? 'cmd' : 'command') => 'pasca', username => 'peer', code => 'a',
	sign => md5_hex('peerdemo-keypricelist') }, 'with these members and no others');
later();

# what a row says, and what it says besides
lists(product('odd', admin => '1000.50', commission => 'banyak', ($DIGIFLAZZ ? 'buyer_product_status' : 'status') => 'aktif',
	start_cut_off => '25:00', end_cut_off => '0:0', unlimited_stock => 'mungkin', baru => { x => 1 }, kosong => undef, stock => ''));
$row = DigipayTest::row($node, q{SELECT * FROM digipay_price_list(server => 'peer')});
is(join(' ', map { $row->{$_} // '-' } qw(admin commission active start_cut_off end_cut_off unlimited_stock stock)), '1000.50 - true - - - -', 'odd values');
is_deeply($JSON->decode($row->{extra}), { commission => 'banyak', start_cut_off => '25:00', unlimited_stock => 'mungkin', baru => { x => 1 }, kosong => undef },
	'are in extra, with the keys that nobody knows');
later();
lists(product('off', active => JSON::PP::false()), product('what', ($DIGIFLAZZ ? 'seller_product_status' : 'status') => 'entah'));
is(value(q{SELECT string_agg(code || ' ' || coalesce(active::text, '?'), ', ' ORDER BY code) FROM digipay_price_list(server => 'peer')}), 'off false, what ?',
	'not active, and not understood');

# ---------------------------------------------------------------------------
# The catalogue

later();
lists(product('a'), product('b', active => JSON::PP::false()), product('c'));
is(sync(), '3 3 0 0 0', 'the first time');
is(catalogue(), 'a+ b- c+', 'all are there');
is(sync(), '3 0 0 0 0', 'nothing is new in the same list');
is(value(q{SELECT string_agg(what || ' ' || code || ' ' || (before IS NULL) || ' ' || (after->>'name'), ', ' ORDER BY id) FROM digipay_catalogue_change}),
	'added a true Produk a, added b true Produk b, added c true Produk c', 'the history');
later();
lists(product('a', admin => 3000), product('b'), product('d'));
is(sync(), '3 1 2 1 0', 'changes');
is(catalogue(), 'a+ b+ c- d+', 'what is gone stays, but is not active');
is(value(q{SELECT string_agg(what || ' ' || code || ' ' || coalesce(before->>'admin', '-') || ' ' || coalesce(after->>'admin', '-'), ', ' ORDER BY id)
	FROM digipay_catalogue_change WHERE id > 3 AND code <> 'b'}), 'changed a 2500 3000, gone c 2500 -, added d - 2500', 'and their history');
is(value(q{SELECT (before ? 'active') AND (after->>'active') = 'true' AND NOT before ? 'name' FROM digipay_catalogue_change WHERE code = 'b' AND what = 'changed'}), 't',
	'of a change, what is different');
is(value(q{SELECT listed || ' ' || (synced_at < (SELECT synced_at FROM digipay_catalogue WHERE code = 'a')) FROM digipay_catalogue WHERE code = 'c'}), 'false true',
	'when it was seen last');
later();
lists(product('a', admin => 3000.0), product('b'), product('c'), product('d'));
is(sync(), '4 0 0 0 1', 'and one comes back');
is(catalogue(), 'a+ b+ c+ d+', 'active again');
my $changes = value('SELECT count(*) FROM digipay_catalogue_change');
later();
is(sync(), '4 0 0 0 0', 'the same again');
is(value('SELECT count(*) FROM digipay_catalogue_change'), $changes, 'is no history');
later();
lists(product('z'));
is(value(q{BEGIN; SELECT gone FROM digipay_sync_products('peer'); ROLLBACK; SELECT count(*) FROM digipay_catalogue WHERE NOT listed}), "4\n0", 'ROLLBACK undoes it');
later();

# an error changes nothing
my $good = value(q{SELECT md5(string_agg(c::text, '' ORDER BY code)) FROM digipay_catalogue c});
for my $bad (
	[ 400, '{"data":{"rc":"83","message":"Anda telah mencapai limitasi"}}', qr/rc 83, "Anda telah/ ],
	[ 200, '{"data":{"rc":"41","message":"Signature tidak valid"}}', qr/Signature tidak valid/ ],
	[ 200, '{"data":{"rc":83,"message":"Terlalu cepat"}}', qr/Terlalu cepat/ ],
	[ 200, '{"data":{"message":"Maaf"}}', qr/no list.*Maaf/ ],
	[ 200, '{"data":[]}', qr/empty/ ],
	[ 200, '{"data":null}', qr/no object "data"/ ],
	[ 200, '{"data":"x"}', qr/no object "data"/ ],
	[ 200, '[]', qr/not JSON|no object "data"/ ],
	[ 200, '{"data":[1,2]}', qr/has no code/ ],
	[ 200, '{"data":[{}]}', qr/has no code/ ],
	[ 200, '{"data":[[{"' . $CODE . '":"a"}]]}', qr/has no code/ ],
	[ 200, $JSON->encode({ data => [ product('a'), { x => 1 } ] }), qr/has no code/ ],
	[ 200, $JSON->encode({ data => [ product('a'), product('') ] }), qr/has no code/ ],
	[ 200, $JSON->encode({ data => [ product('a', $CODE => 5) ] }), qr/has no code/ ],
	[ 200, $JSON->encode({ data => [ { x => { $CODE => 'a' } } ] }), qr/has no code/ ],
	[ 200, $JSON->encode({ data => [ { ($DIGIFLAZZ ? 'code' : 'buyer_sku_code') => 'a' } ] }), qr/has no code/ ],
	[ 200, $JSON->encode({ data => [ product('a'), product('b'), product('a') ] }), qr/code twice/ ],
	[ 200, '{"data":[{"' . $CODE . '":"a","' . $CODE . '":"b"}]}', qr/key twice/ ],
	[ 200, '{"data":[{"' . $CODE . '":"a"}', qr/not JSON/ ],
	[ 500, $JSON->encode({ data => [ product('a') ] }), qr/HTTP status/ ],
	[ 429, $JSON->encode({ data => [ product('a') ] }), qr/HTTP status/ ],
	[ 'close', '', qr/The reason: / ])
{
	my ($status, $body, $why) = @$bad;
	my $asked = scalar $peer->requests;
	answers($status, $body);
	fails(q{SELECT * FROM digipay_sync_products('peer')}, 'PY005', "no list: $status $body", detail => $why);
	answers(200, $JSON->encode({ data => [ product('a') ] }));
	fails(q{SELECT * FROM digipay_price_list(server => 'peer')}, 'PY005', 'nor a moment later', message => qr/less than five minutes/, detail => $why == qr/The reason/ ? qr/pasca: \S/ : qr/pasca: /);
	is(scalar($peer->requests), $asked + 1, 'asked once');
	later();
}
is(value(q{SELECT md5(string_agg(c::text, '' ORDER BY code)) FROM digipay_catalogue c}), $good, 'the catalogue is as it was');
is(value('SELECT count(*) FROM digipay_catalogue_change'), $changes, 'and so is its history');
is(value(q{SELECT state FROM digipay_pay('pln', '530000000001', 'p1')}), 'succeeded', 'payments go on');

# what did not leave may be asked at once
value("ALTER SERVER peer OPTIONS (ADD price_list_endpoint 'http://127.0.0.1:1/x')");
fails(q{SELECT * FROM digipay_price_list(server => 'peer')}, 'PY005', 'nobody listens', detail => qr/connect/i, hint => qr/^Call again;/) for 1, 2;
value('ALTER SERVER peer OPTIONS (DROP price_list_endpoint)');
lists(product('a'));
is(value(q{SELECT count(*) FROM digipay_price_list(server => 'peer')}), 1, 'an option, and then the question');
later();

# many at once: one question
answers('slow', $JSON->encode({ data => [ product('a'), product('b') ] }));
my $asked = scalar $peer->requests;
my @many = map { DigipayTest::async($node, $_ % 2 ? q{SELECT count(*) FROM digipay_price_list(server => 'peer')}
	: q{SELECT products FROM digipay_sync_products('peer')}) } 1 .. 8;
is(join(' ', map { $_->out } @many), '2 ' x 7 . '2', 'many sessions at once');
is(scalar($peer->requests), $asked + 1, 'one question');
is(catalogue(), 'a+ b+ c- d-', 'one change');
later();

# it is written down before it leaves: a lost worker's question counts
answers('hang');
my $lost = DigipayTest::async($node, q{SELECT * FROM digipay_price_list(server => 'peer')});
DigipayTest::wait_until { scalar($peer->requests) > $asked + 1 };
is(value(q{SELECT called_at > now() - interval '1 min' FROM digipay_price_list_call WHERE account LIKE 'peer@%'}), 't', 'written down before it leaves');
DigipayTest::crash($node);
$lost->finish;
$node->start;
lists(product('a'));
fails(q{SELECT * FROM digipay_price_list(server => 'peer')}, 'PY005', 'after a crash', detail => qr/it has no answer/);
is(scalar($peer->requests), $asked + 2, 'it is not asked again');
value(q{UPDATE digipay_price_list_call SET called_at = now() + interval '1 h'});
is(value(q{SELECT count(*) FROM digipay_price_list(server => 'peer')}), 1, 'a clock that was set back blocks nobody');
# another account has its own five minutes
later();
{
	my $holder = DigipayTest::session($node);
	$holder->query_safe('BEGIN; LOCK TABLE digipay_price_list_call');
	fails(q{SELECT * FROM digipay_price_list(server => 'peer')}, '55P03', 'where it cannot be written down', detail => qr/Nothing was sent/);
	$holder->query_safe('ROLLBACK');
	$holder->quit;
}

# ---------------------------------------------------------------------------
# Cut-off times, in Asia/Jakarta

lists(product('plain'), product('zero', start_cut_off => '0:0', end_cut_off => '00:00'), product('none', start_cut_off => '', end_cut_off => undef),
	product('night', start_cut_off => '23:45', end_cut_off => '0:15'), product('day', start_cut_off => '12:00', end_cut_off => '13:00'),
	product('late', start_cut_off => '23:30', end_cut_off => '00:00'), product('early', start_cut_off => '0:0', end_cut_off => '1:5'),
	product('same', start_cut_off => '10:00', end_cut_off => '10:00'), product('off', active => JSON::PP::false()),
	product('dunno', ($DIGIFLAZZ ? 'buyer_product_status' : 'status') => 'entah', start_cut_off => '12:00', end_cut_off => '13:00'));
sync();
value(q{SET TimeZone = 'UTC'});
my %open = (
	'12:30' => 'plain zero none night late early same',
	'12:00' => 'plain zero none night late early same',
	'13:00' => 'plain zero none night day late early same',
	'11:59:59.999' => 'plain zero none night day late early same',
	'23:44:59' => 'plain zero none night day early same',
	'23:45' => 'plain zero none day early same',
	'00:00' => 'plain zero none day late same',
	'00:14:59' => 'plain zero none day late same',
	'00:15' => 'plain zero none night day late same',
	'01:05' => 'plain zero none night day late early same',
	'23:30' => 'plain zero none night day early same',
	'10:00' => 'plain zero none night day late early same');
for my $at (sort keys %open)
{
	is(join(' ', split /\n/, value("SELECT p FROM unnest('{plain,zero,none,night,day,late,early,same,off}'::text[]) p
		WHERE digipay_is_open(p, '2026-03-02 $at+07', 'peer')")), $open{$at}, "open at $at");
}
is(value(q{SELECT digipay_is_open('off', server => 'peer')}), 'f', 'what is not active is not open');
is(value(q{SELECT digipay_is_open('nothing', server => 'peer') IS NULL}), 't', 'what is not in the catalogue is not known');
is(value(q{SELECT digipay_is_open('plain') IS NULL}), 't', 'nor what another server has');
is(value(q{SELECT digipay_is_open('plain', server => 'peer')}), 't', 'now');
is(value(q{SELECT concat_ws(' ', digipay_is_open('dunno', '2026-03-02 12:30+07', 'peer'), digipay_is_open('dunno', '2026-03-02 14:00+07', 'peer') IS NULL)}), 'f t',
	'what is not understood');

# ---------------------------------------------------------------------------
# The family by brand

later();
my @brands = ([ 'x1', 'PLN PASCABAYAR', 'pln' ], [ 'x2', 'pdam', 'pdam' ], [ 'x3', 'HP PASCABAYAR', 'hp' ], [ 'x4', 'INTERNET PASCABAYAR', 'internet' ],
	[ 'x5', 'BPJS KESEHATAN', 'bpjs' ], [ 'x6', 'MULTIFINANCE', 'multifinance' ], [ 'x7', 'PBB', 'pbb' ], [ 'x8', 'GAS NEGARA', 'pgas' ],
	[ 'x9', 'TV PASCABAYAR', 'tv' ], [ 'xa', 'PLN NONTAGLIS', 'plnnontaglis' ], [ 'xb', 'E-MONEY', 'emoney' ], [ 'xc', 'SAMSAT', 'samsat' ],
	[ 'xd', 'BPJS KETENAGAKERJAAN', 'bpjstk' ], [ 'xe', 'BYU', undef ]);
lists((map { product($_->[0], brand => $_->[1]) } @brands), product('xf', brand => 'Kota Bandung', category => 'PDAM'),
	product('tv', brand => 'PDAM'), product('mine', brand => 'PDAM'));
sync();
is_deeply({ map { $_->{code} => $_->{family} } DigipayTest::rows($node, q{SELECT code, family FROM digipay_product_family
	WHERE server = 'peer' AND code ~ '^(x|tv|mine)'}) },
	{ (map { $_->[0] => $_->[2] } grep { defined $_->[2] } @brands), xf => 'pdam', mine => 'pdam' }, 'brands and categories');
for my $code (qw(x2 xe tv mine))
{
	value("INSERT INTO digipay_payment (ref_id, state, code, customer_no, testing, requested_at, server, account, requested_by, origin)
		SELECT 'fam-$code', 'succeeded', '$code', '1', false, now(), 'peer', 'peer\@127.0.0.1', 'me', origin FROM digipay_fence");
}
my $families = q{SELECT string_agg(code || ' ' || coalesce(family, '-'), ', ' ORDER BY code COLLATE "C") FROM digipay_product_payment WHERE server = 'peer'};
is(value($families), 'mine pdam, tv tv, x2 pdam, xe -', 'a payment has the family: a documented code goes first');
value(q{INSERT INTO digipay_product VALUES ('mine', 'pgas', ''), ('x2', 'pln', 'peer')});
is(value($families), 'mine pgas, tv tv, x2 pln, xe -', 'and one of yours before all');
is(value(q{SELECT count(*) FROM (SELECT code, server FROM digipay_product_family GROUP BY 1, 2 HAVING count(*) > 1) d}), 0, 'each once');
is(value(q{SELECT count(*) FROM digipay_pdam WHERE server = 'peer'}), 0, 'in the views as well');

# ---------------------------------------------------------------------------
# A database that cannot hold all that the provider may say

value(q{CREATE DATABASE latin1 TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'});
DigipayTest::create_account($node, $provider, db => 'latin1', server => 'peer', username => 'latin1',
	endpoint => 'http://127.0.0.1:' . $peer->port . $DigipayTest::PATH);
answers(200, '{"data":[{"' . $CODE . '":"a","' . $NAME . '":"\ud83d\ude00"}]}');
fails(q{SELECT * FROM digipay_sync_products('peer')}, 'PY005', 'LATIN1: a list that cannot be held', db => 'latin1', detail => qr/cannot hold the price list/);
$node->safe_psql('latin1', 'UPDATE digipay_price_list_call SET called_at = NULL');
answers(200, '{"data":[{"' . $CODE . '":"a","' . $NAME . '":"Al\u00e9"}]}');
is($node->safe_psql('latin1', q{SELECT added FROM digipay_sync_products('peer')}), 1, 'LATIN1: and one that can');
is($node->safe_psql('latin1', q{SELECT encode(textsend(name), 'hex') FROM digipay_catalogue}), '416ce9', 'as it is');

# ---------------------------------------------------------------------------
# Who may

value('CREATE ROLE clerk LOGIN');
fails('SELECT * FROM digipay_price_list()', '42501', 'not everybody', role => 'clerk');
fails('SELECT * FROM digipay_sync_products()', '42501', 'not everybody', role => 'clerk');
fails(q{SELECT digipay_is_open('pln')}, '42501', 'not everybody', role => 'clerk');
value('GRANT EXECUTE ON FUNCTION digipay_price_list, digipay_sync_products TO clerk; GRANT USAGE ON FOREIGN SERVER peer, digipay TO clerk');
is(value(q{SET ROLE clerk; SELECT count(*) FROM digipay_price_list(server => 'peer')}), 17, 'no right on the tables is needed');
is(value(q{SET ROLE clerk; SELECT products FROM digipay_sync_products('peer')}), 17, 'nor for the catalogue');
fails('BEGIN READ ONLY; SELECT * FROM digipay_price_list()', '25006', 'not in a read-only transaction');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/demo-key|@{[ md5_hex('peerdemo-keypricelist') ]}/, 'no key and no signature in the log');

is(scalar($provider->complaints), 0, 'nobody complains');
$node->stop('fast');
done_testing();
