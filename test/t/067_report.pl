# The page of script/report: what a browser shows is what the views say, names
# from outside stay text, and there is a whole page or none.

use strict;
use warnings;
use utf8;

use DigipayTest;
use Encode qw(decode encode);
use IPC::Run ();
use JSON::PP ();
use List::Util qw(first max sum0);
use PostgreSQL::Test::Utils;
use Test::More;

my ($browser) = grep { -x } map { ("$_/chromium", "$_/chromium-headless-shell") } split /:/, $ENV{PATH};
ok($browser, 'there is a headless Chromium') or BAIL_OUT('the package chromium is needed');

my $SCRIPT = 'script/report';
my $DB = q{R&D <b>"Kas"</b> 'é};
my $HOSTILE = q{<script>document.title='x'</script>&amp;"'};
my $dir = PostgreSQL::Test::Utils::tempdir('digipay_report');
my $node = DigipayTest::new_node('report');

sub sql { my ($db, $query) = @_; return $node->safe_psql($db, "SET client_encoding = 'UTF8';\n" . encode('UTF-8', $query)) }
sub name { my ($name) = @_; return '"' . $name =~ s/"/""/gr . '"' }
sub rows { my ($db, $query) = @_; return DigipayTest::rows($node, encode('UTF-8', $query), db => $db) }

# Runs script/report: exit status, standard output, standard error.
sub report
{
	my ($connection, @arguments) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'sh', $SCRIPT, @arguments, defined $connection ? $connection : () ],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(180));
	return ($? >> 8, decode('UTF-8', $out), $err);
}

# ------------------------------------------------------------------ the data

# Payments of every family and state, of five days and two servers, with what
# a reply may hold at its worst; some of them tests, which nothing may count.
my $FILL = q[
	INSERT INTO digipay_product VALUES ('LISTRIK', 'pln', ''), ('own', 'tv', $t$cabang <i>&"'é$t$);
	CREATE TEMP TABLE place AS
	SELECT *, sum(CASE WHEN booked THEN price ELSE 0 END) OVER (PARTITION BY server ORDER BY n) AS spent
	FROM (
		SELECT *, row_number() OVER (ORDER BY at, no) AS n, state IN ('succeeded', 'refunded') AS booked,
			round(bill * CASE WHEN ago = 3 THEN 1.5 ELSE 0.9 END, 2) AS price
		FROM (
			SELECT s.state, c.code, v.server, d.ago, row_number() OVER () AS no,
				10000 + 137.5 * (hashtext(s.state || c.code || v.server || d.ago || k.k) & 1023) AS bill,
				(timezone('Asia/Jakarta', now())::date - d.ago)::timestamp AT TIME ZONE 'Asia/Jakarta'
					+ interval '1 min' * (hashtext(c.code || k.k || d.ago) & 255) AS at
			FROM unnest('{succeeded,succeeded,succeeded,failed,rejected,refunded,cancelled,not_sent}'::text[])
					WITH ORDINALITY s (state, k)
				CROSS JOIN unnest('{pln,pdam,hp,internet,bpjs,multifinance,pbb,pgas,tv,plnnontaglis,emoney,samsat,
					bpjstk,bpjstkpu,pdl,LISTRIK,own,nobody}'::text[] || $t$HOSTILE$t$::text) c (code)
				CROSS JOIN unnest(ARRAY['digipay', $t$cabang <i>&"'é$t$]) v (server)
				CROSS JOIN generate_series(0, 4) d (ago)
				CROSS JOIN generate_series(0, 2) k (k)
			WHERE (hashtext(c.code || s.k || v.server || d.ago || k.k || 'x') & 3) <> 0
		) AS a
	) AS b;
	INSERT INTO digipay_payment (ref_id, state, code, customer_no, price, selling_price, admin, balance, rc, "desc", testing,
		requested_at, sent_at, replied_at, final_at, server, account, requested_by, status_checks, origin)
	SELECT 'r' || n || CASE WHEN n % 20 = 0 THEN $t$HOSTILE$t$ ELSE '' END, state::digipay_state, code, '1', price, bill, 2500,
		CASE WHEN booked THEN 500000000 - spent + CASE WHEN n > 1000 THEN 70000000.5 ELSE 0 END - CASE WHEN n > 1500 THEN 1234567 ELSE 0 END END,
		CASE state WHEN 'succeeded' THEN '00' WHEN 'failed' THEN '02' WHEN 'rejected' THEN '4' || n % 3
			WHEN 'refunded' THEN '74' END,
		jsonb_build_object('detail', jsonb_build_array(jsonb_build_object('periode', '202601', 'nilai_tagihan',
			CASE WHEN n % 10 = 0 THEN 'none' ELSE (bill - 2500 - CASE WHEN n % 7 = 0 THEN 11.25 ELSE 0 END)::text END))),
		false, at, at, CASE WHEN state NOT IN ('cancelled', 'not_sent') THEN at + interval '17 ms' * n END,
		at + interval '17 ms' * n * CASE WHEN code = 'samsat' THEN 3000 WHEN code = 'pbb' THEN 5 ELSE 1 END, server,
		CASE server WHEN 'digipay' THEN 'ayu@host' ELSE $t$b<u>di&"'é@host$t$ END, 'me', CASE WHEN n % 9 = 0 THEN 1 ELSE 0 END,
		'00000000-0000-0000-0000-000000000001'
	FROM place;
	INSERT INTO digipay_payment (ref_id, state, code, customer_no, testing, requested_at, server, account, requested_by, next_check_at, origin)
	SELECT s.state || a.n || k.k, s.state::digipay_state, 'pln', '1', false, now() - a.age, 'digipay', 'ayu@host', 'me',
		CASE WHEN s.state = 'review' THEN 'infinity' ELSE now() END::timestamptz, '00000000-0000-0000-0000-000000000001'
	FROM unnest('{queued,sending,pending,unknown,review}'::text[]) WITH ORDINALITY s (state, n)
		CROSS JOIN unnest('{-1 h,5 min,30 min,3 h,12 h,3 d,30 d,100 d 30 min}'::interval[]) WITH ORDINALITY a (age, n)
		CROSS JOIN generate_series(1, 3) k (k)
	WHERE (s.n + a.n * 3 + k.k) % 4 = 0 AND a.n <> 5;
	INSERT INTO digipay_payment (ref_id, state, code, customer_no, price, selling_price, admin, balance, rc, testing,
		requested_at, replied_at, final_at, server, account, requested_by, next_check_at, origin)
	SELECT 'test' || t.ref_id, state, code, customer_no, price, 9 * selling_price, 0, 1, coalesce(rc, 'ZZ'), true,
		requested_at, replied_at, final_at, server, account, requested_by, next_check_at, origin
	FROM digipay_payment t;
	ANALYZE digipay_payment;
];
$FILL =~ s/HOSTILE/$HOSTILE/g;
sql('postgres', 'CREATE DATABASE ' . name($DB) . '; CREATE DATABASE regress_empty; CREATE DATABASE regress_none; '
	  . q{CREATE DATABASE regress_latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0});
sql($_, 'CREATE EXTENSION digipay') for encode('UTF-8', $DB), 'regress_empty';
sql('regress_latin', 'CREATE SCHEMA "Kas & Co"; CREATE EXTENSION digipay SCHEMA "Kas & Co"');
my $db = encode('UTF-8', $DB);
sql($db, $FILL);
my $day = sql($db, q{SELECT timezone('Asia/Jakarta', now())::date});
my $since = sql($db, "SELECT DATE '$day' - 29");
my $WHERE = "day BETWEEN '$since' AND '$day'";

# --------------------------------------------------- how figures are written

sub number { my ($n) = @_; my ($whole, $rest) = split /\./, $n; 1 while $whole =~ s/^(-?\d+)(\d{3})/$1.$2/; return defined $rest ? "$whole,$rest" : $whole }
sub rupiah { my ($n) = @_; return 'Rp ' . number($n =~ /\.0*\z/ || $n !~ /\./ ? $n =~ s/\..*//r : sprintf('%.2f', $n)) }
sub money { return defined $_[0] ? rupiah($_[0]) : '–' }
sub percent { my ($ratio, $digits) = @_; return sprintf("%.${digits}f", 100 * $ratio + 1e-9) =~ tr/./,/r . ' %' }
sub date { my ($date, $format) = @_; return sql('postgres', "SELECT to_char(DATE '$date', '$format')") }
sub listed { my ($row, %words) = @_; return join ', ', map { number($row->{$_}) . ' ' . ($words{$_} // $_) } grep { $row->{$_} > 0 } @{ $words{-of} } }
sub duration
{
	my ($s) = @_;
	return '–' unless defined $s;
	return sprintf('%.1f s', $s) =~ tr/./,/r if $s < 10;
	return sprintf('%.0f s', $s) if sprintf('%.0f', $s) < 60;
	return sprintf('%.0f min', $s / 60) if sprintf('%.0f', $s / 60) < 60;
	return sprintf('%d h %d min', $s / 3600, $s % 3600 / 60) if $s < 86400;
	return sprintf('%d d %d h', $s / 86400, $s % 86400 / 3600);
}

# ------------------------------------------------------ how a page is looked at

# What looks at a page from within: the layout, and what the bars measure.
my $PROBE = <<'JS';
<script>
addEventListener('load', function () {
	var root = document.documentElement, at = parent.document.documentElement, box = e => e.getBoundingClientRect(), all = s => [...document.querySelectorAll(s)];
	at.dataset.probe = JSON.stringify({
		width: innerWidth, overflow: root.scrollWidth - root.clientWidth, scripts: document.scripts.length,
		clipped: all('h1, h2, h3, p, li, dt, dd').filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent),
		paper: getComputedStyle(document.body).backgroundColor, loaded: performance.getEntriesByType('resource').length,
		bars: all('#bars .day').map(g => ['ok', 'bad', 'open', 'off'].map(c => { var r = g.querySelector('rect.' + c); return r ? r.getBBox().height : 0; })),
		margins: all('#margin circle').map(c => c.getBBox().y + 3.5), height: box(document.querySelector('#bars') || root).height,
		points: all('#balance circle').map(c => c.getBBox().y + 3.5)
	});
});
</script>
JS

# Lets the browser work on a file; what it says on standard output.
sub browse
{
	my ($file, @options) = @_;
	my ($out, $err) = ('', '');
	my $profile = PostgreSQL::Test::Utils::tempdir('digipay_chromium');
	local $ENV{HOME} = $profile;
	IPC::Run::run([ $browser, qw(--headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run
			--disable-background-networking --disable-component-update --disable-dev-shm-usage),
			"--user-data-dir=$profile", @options, "file://$file" ],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(180))
	  or diag($err);
	return decode('UTF-8', $out);
}

# The page as the browser has it, at this width, and what the probe says of it.
# A window is never as narrow as a phone, but a frame is.
sub look
{
	my ($page, $width, @options) = @_;
	my $file = "$dir/probed.html";
	$page =~ s/<meta http-equiv[^>]*>//;
	$page =~ s/<\/body>/$PROBE<\/body>/;
	if ($width < 500)
	{
		$page =~ s/([&"])/$1 eq '&' ? '&amp;' : '&quot;'/ge;
		$page = qq{<!DOCTYPE html><meta charset="utf-8"><meta name="color-scheme" content="light dark">}
		  . qq{<iframe style="width: ${width}px; height: 800px; border: 0" srcdoc="$page"></iframe>};
	}
	open my $fh, '>:encoding(UTF-8)', $file or die $!;
	print $fh $page;
	close $fh;
	my $dom = browse($file, '--window-size=' . max($width, 500) . ',900', @options, '--dump-dom');
	my ($probe) = $dom =~ /<html[^>]* data-probe="([^"]*)"/;
	$dom =~ s/<script>(?:(?!<script).)*<\/script>\s*\z//s;
	return ($dom, $probe ? JSON::PP->new->decode(text($probe)) : {});
}

# What is read of a piece of HTML.
sub text
{
	my ($html) = @_;
	my %of = (amp => '&', lt => '<', gt => '>', quot => '"', nbsp => ' ');
	$html =~ s/<small/ <small/g;
	$html =~ s/<[^>]*>//g;
	$html =~ s/&(\w+);/$of{$1} \/\/ "&$1;"/ge;
	return $html =~ s/^\s+|\s+$//gr;
}

# The rows of a table as lists of texts, head and foot too; those of its bars
# left out.
sub table
{
	my ($dom, $id) = @_;
	my ($table) = $dom =~ /<table id="\Q$id\E">(.*?)<\/table>/s or return [ ["no table $id"] ];
	return [ map { [ map { text($_) } /<t[hd](?! class="bar)[^>]*>(.*?)<\/t[hd]>/gs ] } $table =~ /<tr>(.*?)<\/tr>/gs ];
}

# One test: the table has these rows below its head.
sub table_is
{
	my ($dom, $id, $rows, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my (undef, @got) = @{ table($dom, $id) };
	cmp_ok(scalar @$rows, '>', 0, "$name: there are rows");
	return is_deeply(\@got, $rows, $name);
}

sub element { my ($dom, $id) = @_; return $dom =~ /id="\Q$id\E"[^>]*>(.*?)<\/(?:dd|small|span|ul|h3)>/s ? text($1) : undef }

# ------------------------------------------------------------ the page itself

my ($status, $page, $err) = report($node->connstr($db), '--day', $day);
is($status, 0, 'a page is written');
is($err, '', '... without a word');
like($page, qr/\A<!DOCTYPE html>\n.*<\/html>\n\z/s, '... a whole one');
unlike($page, qr/<script/i, '... with no script');
ok($page !~ /\b(?:src|href|action|data|srcset)\s*=\s*["']?+(?!#)|url\((?!#)|\@import|<(?:link|iframe|img|object|embed)\b/i, '... that loads nothing');
like($page, qr/<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">/,
	'... and says so');
unlike($page, qr/<i>|<b>|<u>/, 'no name becomes a tag');

my ($dom, $probe) = look($page, 1280);
is($probe->{scripts}, 1, 'the browser sees no script but ours');
is($probe->{loaded}, 0, '... and loads nothing');
is($probe->{width}, 1280, 'on a wide screen');
is($probe->{overflow}, 0, '... nothing sticks out');
is_deeply($probe->{clipped}, [], '... and no text is cut');
my ($title) = $dom =~ /<title>(.*?)<\/title>/;
is(text($title), 'Payments of ' . date($day, 'FMDD Month YYYY') . " – $DB", 'the title');
like($dom, qr/<h1>Payments of @{[ date($day, 'FMDay, FMDD FMMonth YYYY') ]}<\/h1>/, 'the day');
like(text($dom =~ /<p class="soft">(Database.*?)<\/p>/s),
	qr/^Database \Q$DB\E · as of \d+ \w{3} \d{4} \d\d:\d\d:\d\d Asia\/Jakarta \(WIB\) · charts and tables: the 30 days from @{[ date($since, 'FMDD Mon YYYY') ]}$/,
	'database, time and zone');

# --------------------------------------------------------------- the figures

my @STATES = qw(succeeded failed rejected refunded cancelled not_sent queued sending pending unknown review);
my $SUMS = join(', ', map { "coalesce(sum($_), 0) AS $_" } 'payments', @STATES, qw(paid charged margin));
sub groups
{
	my ($row) = @_;
	return ($row->{succeeded}, sum0(@$row{qw(failed rejected refunded)}),
		sum0(@$row{qw(queued sending pending unknown review)}), sum0(@$row{qw(not_sent cancelled)}));
}

my ($today) = rows($db, "SELECT $SUMS FROM digipay_daily WHERE day = '$day'");
my ($before) = rows($db, "SELECT sum(payments) AS payments, sum(margin) AS margin FROM digipay_daily WHERE $WHERE AND day <> '$day'");
my ($ok, $bad, $open, $off) = groups($today);
my $OPEN = [qw(queued sending pending unknown review)];
my %tile = (
	payments => [ number($today->{payments}), '∅ ' . number(sprintf '%.0f', $before->{payments} / 29) . ' a day before' ],
	succeeded => [ number($ok), percent($ok / ($ok + $bad), 1) . ' of the decided' ],
	bad => [ number($bad), listed($today, -of => [qw(failed rejected refunded)]) ],
	open => [ number($open), listed($today, -of => $OPEN, review => 'in review') ],
	off => [ number($off), listed($today, -of => [qw(not_sent cancelled)], not_sent => 'not sent') ],
	charged => [ rupiah($today->{charged}), 'selling price of what succeeded' ],
	paid => [ rupiah($today->{paid}), 'price of what succeeded' ],
	margin => [ rupiah($today->{margin}), '∅ ' . rupiah(sprintf '%.0f', $before->{margin} / 29) . ' a day before' ]);
is_deeply([ element($dom, "today-$_"), element($dom, "note-$_") ], $tile{$_}, "today: $_") for sort keys %tile;
table_is($dom, 'servers', [ map { [ $_->{server}, (map { number($_) } @$_{qw(payments succeeded)}), map { rupiah($_) } @$_{qw(charged paid margin)} ] }
	  rows($db, "SELECT * FROM digipay_daily WHERE day = '$day' ORDER BY server") ], 'today by server');

my @days = rows($db, qq{SELECT $SUMS, to_char(s.day, 'Dy FMDD Mon') AS label FROM generate_series('$since'::timestamp, '$day', '1 day') s (day)
	LEFT JOIN digipay_daily d ON d.day = s.day GROUP BY s.day ORDER BY s.day DESC});
my ($all) = rows($db, "SELECT $SUMS FROM digipay_daily WHERE $WHERE");
$all->{label} = 'All';
table_is($dom, 'daily', [ map { my $d = $_; [ $d->{label}, (map { number($_) } $d->{payments}, groups($d)), map { rupiah($_) } @$d{qw(charged paid margin)} ] } @days, $all ],
	'day by day');
is(text($dom =~ /<h2>Day by day<\/h2>\s*<p[^>]*>(.*?)<\/p>/s), number($all->{payments}) . ' payments from ' . date($since, 'FMDD Mon YYYY') . ' to '
	  . date($day, 'FMDD Mon YYYY') . ', charged ' . rupiah($all->{charged}) . ', margin ' . rupiah($all->{margin}) . '.', '... in words');

# what is drawn: as high as it is many, on an axis that says how high that is
sub ticks
{
	my ($dom, $svg) = @_;
	my ($ticks) = $dom =~ /<div class="ticks"[^>]*>((?:(?!<div).)*?)<\/div>\s*<svg id="\Q$svg\E"/s;
	return map { tr/.//dr } map { /(-?[\d.]+)$/ } map { text($_) } $ticks =~ /<span[^>]*>(.*?)<\/span>/g;
}
my ($top, $half) = ticks($dom, 'bars');
cmp_ok($top, '>=', max(map { $_->{payments} } @days), 'the axis holds the highest bar');
is($half * 2, $top, '... and its half is half');
my $wrong = 0;
for my $i (0 .. 29)
{
	my @n = groups($days[ 29 - $i ]);
	$wrong += abs($probe->{bars}[$i][$_] - $n[$_] / $top * $probe->{height}) > 0.5 for 0 .. 3;
}
is(scalar @{ $probe->{bars} }, 30, 'a bar for each day');
is($wrong, 0, '... each part as high as it is many');
my ($high, $zero, $low) = ticks($dom, 'margin');
cmp_ok($low, '<', 0, 'a day with a loss is below zero');
is(scalar(grep { abs($probe->{margins}[$_] - ($high - $days[ 29 - $_ ]{margin}) / ($high - $low) * 96) > 0.5 } 0 .. 29), 0,
	'the line is where the margins are');

my @ages = rows($db, 'SELECT *, extract(epoch FROM oldest) AS seconds FROM digipay_pending_age ORDER BY older_than');
my $in_all = sum0(map { $_->{payments} } @ages);
table_is($dom, 'ages', [ map { [ $_->{bucket}, number($_->{payments}), listed($_, -of => $OPEN, review => 'in review') ] } @ages ], 'open outcomes by age');
is(element($dom, 'open-all'), number($in_all), '... in all');
like(text($dom =~ /<section id="open">(.*?)<\/p>/s), qr/the oldest for 100 d 0 h\./, '... the oldest');

my $rates = [ map { my $p = $_; [
		join(' ', $p->{code}, join ' · ', (!defined $p->{family} ? 'family not known' : $p->{family} ne $p->{code} ? $p->{family} : ()), $p->{server}),
		defined $p->{success_rate} ? percent($p->{success_rate}, 1) : '–', number($p->{payments}),
		(map { duration($_) } @$p{qw(s50 s95)}), map { rupiah($_) } @$p{qw(charged margin)} ] }
	rows($db, "SELECT *, extract(epoch FROM p50) AS s50, extract(epoch FROM p95) AS s95 FROM digipay_product_stats('$since', '$day') ORDER BY payments DESC, code, server") ];
table_is($dom, 'rates', $rates, 'success rate by product');
ok((first { $_->[0] =~ /^\Q$HOSTILE\E/ } @$rates), '... of a product with a name to be careful with, too');

table_is($dom, 'answers', [ map { [ $_->{rc} // '–', $_->{meaning}, number($_->{payments}), percent($_->{payments} / $all->{payments}, 2) ] }
	  rows($db, "SELECT rc, meaning, sum(payments) AS payments FROM digipay_response_stats
		WHERE $WHERE AND rc IS DISTINCT FROM '00' GROUP BY rc, meaning ORDER BY 3 DESC, rc") ], 'answers other than 00');

my @accounts = map { $_->{account} } rows($db, "SELECT DISTINCT account FROM digipay_balance_trend WHERE $WHERE ORDER BY account");
is(scalar @accounts, 2, 'two accounts');
my @drawn = @{ $probe->{points} };
for my $i (0 .. $#accounts)
{
	my $n = $i + 1;
	my @trend = rows($db, "SELECT *, to_char(day, 'Dy FMDD Mon') AS label, to_char(day, 'FMDD Mon YYYY') AS written FROM digipay_balance_trend
		WHERE $WHERE AND account = " . DigipayTest::literal($accounts[$i]) . ' ORDER BY day DESC');
	table_is($dom, "balance-$n-table", [ map { my $t = $_; [ $t->{label}, map { rupiah($_) } @$t{qw(opening lowest highest closing paid)} ] } @trend ],
		"account $n: the balance");
	my ($head, $words) = $dom =~ /.*<h3>((?:(?!<h3).)*?)<\/h3>\s*<p class="soft">((?:(?!<h3).)*?)<\/p>(?:(?!<h3).)*id="balance-$n"/s;
	is(text($head), $accounts[$i], '... whose');
	my ($sums) = rows($db, "SELECT min(lowest) AS lowest, sum(paid) AS paid FROM digipay_balance_trend WHERE $WHERE AND account = " . DigipayTest::literal($accounts[$i]));
	is(text($words), rupiah($trend[0]{closing}) . " after the last reply, of $trend[0]{written}; the least was "
		  . rupiah($sums->{lowest}) . '; paid ' . rupiah($sums->{paid}) . '.', '... in words');
	my ($high) = ticks($dom, "balance-$n");
	my @y = splice @drawn, 0, scalar @trend;
	is(scalar(grep { abs($y[$_] - ($high - $trend[ $#trend - $_ ]{closing}) / $high * 150) > 0.5 } 0 .. $#trend), 0, '... as it is drawn');
}

# the longest lists are cut, and say so
my $last = sub { my ($n, $rows) = @_; return [ grep { defined } @$rows[ 0 .. $n - 1 ] ] };
my @gaps = rows($db, "SELECT *, to_char(replied_at AT TIME ZONE 'Asia/Jakarta', 'FMDD Mon HH24:MI:SS') AS reply
	FROM digipay_balance_gap WHERE $WHERE ORDER BY replied_at DESC, account, ref_id");
table_is($dom, 'gap-list', [ map { [ $_->{reply}, $_->{ref_id}, $_->{account}, money($_->{expected}), money($_->{found}), money($_->{difference}),
			($_->{difference} // 0) < 0 ? 'went out' : 'came in' ] } @{ $last->(50, \@gaps) } ], 'gaps of the balance');
my @mismatches = rows($db, "SELECT *, to_char(day, 'FMDD Mon') AS label FROM digipay_amount_mismatch WHERE $WHERE ORDER BY day DESC, server, ref_id");
cmp_ok(scalar @mismatches, '>', 50, 'more than 50 amounts do not add up');
table_is($dom, 'amount-list', [ map { [ $_->{label}, @$_{qw(ref_id server code)}, money($_->{selling_price}),
			defined $_->{expected} ? rupiah($_->{expected}) : 'a period has none', money($_->{difference}) ] } @{ $last->(50, \@mismatches) } ],
	'amounts that do not add up');
like($dom, qr/These are the last 50 of @{[ number(scalar @mismatches) ]}\./, '... the last 50 of them, it says');

my $review = sum0(map { $_->{review} } @ages);
my $old = sum0(map { $_->{payments} - $_->{review} } grep { $_->{older_than} !~ /^00:[0-5]/ } @ages);
my $out = grep { ($_->{difference} // 0) < 0 } @gaps;
cmp_ok($out, '>', 0, 'money has left by other ways');
is_deeply([ map { text($_) =~ s/^!//r } $dom =~ /<li>(<span class="mark.*?)<\/li>/gs ], [ "$review payments wait for a person", "$old outcomes are open for over an hour",
		number($out) . ($out == 1 ? ' gap' : ' gaps') . ' where money has left a balance', number(scalar @mismatches) . ' amounts do not add up' ], 'what needs a person');

# ---------------------------------------------------- the phone, and the night

my (undef, $narrow) = look($page, 390, '--blink-settings=preferredColorScheme=0');
is($narrow->{width}, 390, 'on a phone');
is($narrow->{overflow}, 0, '... nothing sticks out');
is_deeply($narrow->{clipped}, [], '... and no text is cut');
isnt($narrow->{paper}, $probe->{paper}, 'dark where that is preferred');
unlike(join(' ', $narrow->{paper}, $probe->{paper}), qr/rgba\(0, 0, 0, 0\)/, '... on a paper of its own in both');

my $file = "$dir/page.html";
umask 027;
is((report($node->connstr($db), '--day', $day, '-o', $file))[0], 0, 'into a file');
is(sprintf('%o', (stat $file)[2] & 0777), '640', '... with the rights that the umask leaves');
umask 022;
browse($file, '--window-size=1280,900', "--screenshot=$dir/page.png");
my $png = PostgreSQL::Test::Utils::slurp_file("$dir/page.png");
is_deeply([ unpack 'x16 N2', $png ], [ 1280, 900 ], 'a picture of it has the size that was asked for');
cmp_ok(length $png, '>', 40_000, '... and something in it');

# ------------------------------------------------------- roles, and no half page

my (undef, $help) = report(undef, '--help');
my ($grants) = $help =~ /^(    GRANT .*?EXECUTE.*?;)$/ms;
my @rights = ($grants =~ /\b(digipay_\w+)\b/g);
is(scalar @rights, 8, '--help has the grants');
sql($db, 'CREATE ROLE regress_bi LOGIN; ' . $grants =~ s/TO role;/TO regress_bi;/gr);
my $bi = $node->connstr($db) . ' user=regress_bi';
my ($bi_status, $bi_page) = report($bi, '--day', $day);
s/<time.*?<\/time>//s for $page, $bi_page;
is($bi_status, 0, 'they are enough');
is($bi_page, $page, '... for the same page');
DigipayTest::fails_with($node, 'SELECT name FROM digipay_product_payment', '42501', '... and customers are not seen by them',
	db => $db, role => 'regress_bi');
my $was = PostgreSQL::Test::Utils::slurp_file($file);

# One test: no page, a reason, and the file of before.
sub refused
{
	my ($connection, $reason, $name, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($status, $out, $err) = report($connection, @arguments);
	my ($again) = report($connection, @arguments, '-o', $file);
	my @left = grep { $_ ne $file } glob "$dir/page.html*";
	return ok($status != 0 && $out eq '' && $err =~ $reason && $again != 0 && !@left && PostgreSQL::Test::Utils::slurp_file($file) eq $was, $name)
	  || diag("status $status, $again; @left; $err");
}
for my $right (@rights)
{
	my $what = $right eq 'digipay_product_stats' ? "EXECUTE ON FUNCTION $right(date, date)" : "SELECT ON $right";
	sql($db, "REVOKE $what FROM regress_bi");
	refused($bi, qr/role regress_bi lacks (?:SELECT|EXECUTE) on (?:function )?\Q$right\E/, "not without $right");
	sql($db, "GRANT $what TO regress_bi");
}
refused($node->connstr('regress_none'), qr/digipay is not installed in database regress_none/, 'not without digipay');
refused("host=$dir port=1 dbname=x", qr/report: psql failed/, 'not without a server');
refused($node->connstr($db), qr/out of range|psql failed/, 'not of a day that there is not', '--day', '2026-02-31');
refused($node->connstr($db), qr/not a day such as/, 'nor of a word', '--day', "'; SELECT");
refused($node->connstr($db), qr/from 1 to 366/, "not of $_ days", '--days', $_) for qw(0 367 x 1e9), '';
refused($node->connstr($db), qr/no such option: --command/, 'no options of psql that do something', '--command=SELECT 1');
for my $end (3, 0)
{
	mkdir "$dir/bin";
	PostgreSQL::Test::Utils::append_to_file("$dir/bin/psql", "#!/bin/sh\necho '<!DOCTYPE html>'\nexit $end\n");
	chmod 0755, "$dir/bin/psql";
	local $ENV{PATH} = "$dir/bin:$ENV{PATH}";
	refused(undef, qr/no page/, "no half page of a psql that ends with $end");
	unlink "$dir/bin/psql";
}

# -------------------------------------------------------------- other databases

($status, my $empty) = report($node->connstr('regress_empty'));
is($status, 0, 'an empty database has a page');
is((look($empty, 390))[1]{overflow}, 0, '... that fits a phone');
like($empty, qr/\Q$_\E/, "... and says: $_") for 'Nothing needs a person.', 'There is no payment of this day.', 'There is no payment from', 'Nothing is open: every payment has its outcome.',
  'There is no payment in these days.', 'No reply of these days tells of a balance.', 'There is no balance to look into.', 'None: every selling price is the sum';
unlike($empty, qr/<table|<figure/, '... and has no table or chart of nothing');
is(element($empty, 'today-payments') . ' ' . element($empty, 'today-margin'), '0 Rp 0', '... with its noughts');

# an account that something else uses as well
sql('regress_empty', q{INSERT INTO digipay_payment (ref_id, state, code, customer_no, price, selling_price, balance, rc,
		testing, requested_at, replied_at, final_at, server, account, requested_by, origin)
	SELECT 'r' || n, 'succeeded', 'hp', '1', 1000, 1500, 900000 - n * n * 1000, '00', false, now(), now() + n * interval '1 ms', now(), 'd', 'u@host', 'me',
		'00000000-0000-0000-0000-000000000001' FROM generate_series(1, 60) n});
my (undef, $shared) = report($node->connstr('regress_empty'));
is(scalar @{ table($shared, 'gap-list') }, 51, 'of many gaps the list has 50');
is((table($shared, 'gap-list'))->[1][1], 'r60', '... the last ones');
like($shared, qr/These are the last 50 of 59\./, '... and says of how many');
my (undef, $below) = look($shared, 390);
is($below->{overflow}, 0, '... it fits a phone');
($high, $zero, $low) = ticks($shared, 'balance-1');
cmp_ok(abs($below->{points}[0] - ($high + 2_700_000) / ($high - $low) * 150), '<', 0.5, 'a balance below zero is drawn below zero');

sql('regress_latin', q{SET search_path = "Kas & Co"; INSERT INTO digipay_payment (ref_id, state, code, customer_no, price, selling_price, balance, rc,
		testing, requested_at, replied_at, final_at, server, account, requested_by, origin)
	SELECT 'r' || n, 'succeeded', 'hp', '1', 1000, 1500, 90000 - n * 1000, '00', false, now(), now() + n * interval '1 s', now() + interval '72 s', 'd', 'café@host', 'me',
		'00000000-0000-0000-0000-000000000001' FROM generate_series(1, 3) n});
($status, my $latin, $err) = report($node->connstr('regress_latin'), '--days=1');
is($status, 0, 'a LATIN1 database, digipay in a schema of its own') or diag($err);
like($latin, qr/<h3>café\@host<\/h3>/, '... its words in UTF-8');
like($latin, qr/id="today-margin">Rp 1\.500</, '... its money');
like($latin, qr/None: every payment of these days was answered with 00\./, '... every answer good');
like($latin, qr/None: every balance is explained/, '... every balance explained');
like($latin, qr/<td>1&nbsp;min<\/td>/, '... and a minute is called so');

done_testing();
