#!/bin/bash
#
# selftest.sh
#	Does the provider's double do what its README says?  TAP on stdout.
#
# Needs curl, jq, openssl and md5sum; touches loopback and a temporary
# directory only, and ends what it started by its process id.

here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
count=0
failures=0
pid=

finish()
{
	[ -n "$pid" ] && kill "$pid" 2>/dev/null
	rm -rf "$scratch"
}
trap finish EXIT

# ok NAME GOT WANTED
ok()
{
	count=$((count + 1))
	if [ "$2" == "$3" ]; then
		echo "ok $count - $1"
	else
		echo "not ok $count - $1"
		echo "#  got:    $2"
		echo "#  wanted: $3"
		failures=$((failures + 1))
	fi
}

# start OPTION...: sets http, https, raw, pid
start()
{
	: >"$scratch/ports"
	"$here/provider" "$@" >"$scratch/ports" 2>"$scratch/stderr" &
	pid=$!
	for _ in $(seq 600); do
		[ -s "$scratch/ports" ] && break
		sleep 0.05
	done
	https=$(sed 's/.*https=\([0-9]*\) .*/\1/' "$scratch/ports")
	http=$(cut -d' ' -f1 "$scratch/ports" | cut -d= -f2)
	raw=$(cut -d' ' -f3 "$scratch/ports" | cut -d= -f2)
}

stop()
{
	kill "$pid"
	wait "$pid"
	stopped=$?
	pid=
}

# body COMMAND REF_ID CODE CUSTOMER_NO [KEY]
body()
{
	local sign
	sign=$(printf 'demo%s%s' "${5:-demo-key}" "$2" | md5sum | cut -c1-32)
	jq -cn --arg c "$1" --arg r "$2" --arg p "$3" --arg n "$4" --arg s "$sign" \
		'{command: $c, username: "demo", code: $p, customer_no: $n, ref_id: $r, sign: $s}'
}

# the same in the dialect digiflazz
df_body()
{
	body "$@" | jq -c '.commands = .command | .buyer_sku_code = .code | del(.command, .code)'
}

# ask COMMAND REF_ID CODE CUSTOMER_NO: sets reply
ask()
{
	reply=$(curl -sS -m 10 -H 'Content-Type: application/json' -d "$(body "$@")" \
		"http://127.0.0.1:${port:-$http}/v1/user/api/transaction" 2>"$scratch/curl")
	exit_code=$?
}

# the same in the dialect digiflazz
df_ask()
{
	reply=$(curl -sS -m 10 -d "$(df_body "$@")" "http://127.0.0.1:${port:-$http}/v1/transaction" 2>"$scratch/curl")
}

get()
{
	jq -r "$1" <<<"$reply" 2>/dev/null
}

books()
{
	curl -sS "http://127.0.0.1:$http/books$1" | jq -c "$2"
}

# call NAME SUFFIX OBJECT: what is about the account, signed; the answer in $reply
call()
{
	reply=$(curl -sS -d "$(jq -cn --argjson o "$3" --arg s "$(printf "demodemo-key$2" | md5sum | cut -c1-32)" \
		'$o + {username: "demo", sign: $s}')" "http://127.0.0.1:$http/v1/user/api/$1")
}

control()
{
	curl -sS -d "$1" "http://127.0.0.1:$http/control" | jq -r '.ok // .error'
}

reset_books()
{
	curl -sS -X DELETE "http://127.0.0.1:$http/books" >/dev/null
}

# classes CODE SUCCESS INQUIRY_FAILS PAYMENT_FAILS PENDING_SUCCESS PENDING_FAILED
classes()
{
	local code=$1 said=
	ask inq-pasca "$code-1" "$code" "$2"; said+="$(get .data.status)/$(get .data.rc)/$(get .data.sn) "
	ask pay-pasca "$code-1" "$code" "$2"; said+="$(get .data.status)/$(get .data.rc) "
	ask inq-pasca "$code-2" "$code" "$3"; said+="$(get .data.status)/$(get .data.rc) "
	ask inq-pasca "$code-3" "$code" "$4"; said+="$(get .data.rc) "
	ask pay-pasca "$code-3" "$code" "$4"; said+="$(get .data.status)/$(get .data.rc) "
	ask pay-pasca "$code-4" "$code" "$5"; said+="$(get .data.status)/$(get .data.rc) "
	ask status-pasca "$code-4" "$code" "$5"; said+="$(get .data.rc) "
	ask pay-pasca "$code-5" "$code" "$6"; said+="$(get .data.status)/$(get .data.rc)"
	ok "$code: the five classes of test numbers" "$said" \
		"Sukses/00/ Sukses/00 Gagal/60 00 Gagal/02 Pending/03 03 Pending/03"
	ok "$code: a pending reply has six keys" "$(get '.data | keys | join(" ")')" \
		"code customer_no message rc ref_id status"
}

# resolved CODE PENDING_SUCCESS PENDING_FAILED
resolved()
{
	local said=
	ask status-pasca "$1-4" "$1" "$2"; said+="$(get .data.status)/$(get .data.rc)/$(get .data.price) "
	ask status-pasca "$1-5" "$1" "$3"; said+="$(get .data.status)/$(get .data.rc) "
	said+=$(books "?ref_id=$1-4" .booked)$(books "?ref_id=$1-5" .booked)$(books "?ref_id=$1-3" .booked)$(books "?ref_id=$1-1" .booked)
	ok "$1: pending ones resolve, and the books agree" "$said" \
		"Sukses/00/$(jq .data.price "$here/responses/$1.json") Gagal/02 1001"
}

# numbers FUNCTION: the table of test numbers
numbers()
{
	"$1" pln 530000000001 530000000003 530000000006 630000000001 630000000006
	"$1" pdam 1013226 1013227 1013230 2013226 2013230
	"$1" internet 6391601001 6391601002 6391601005 7391601001 7391601005
	"$1" bpjs 8801234560001 8801234560002 8801234560005 9801234560001 9801234560005
	"$1" multifinance 6391601201 6391601202 6391601205 7391601201 7391601205
	"$1" pbb 329801092375999991 329801092375999992 329801092375999995 429801092375999991 429801092375999995
	"$1" pgas 0110014601 0110014603 0110014605 1110014601 1110014605
	"$1" tv 127246500101 127246500102 127246500105 227246500101 227246500105
	"$1" plnnontaglis 3225030005921 3225030005922 3225030005923 4225030005921 4225030005923
	"$1" emoney 082100000001 082100000002 082100000003 082110000001 082110000003
	"$1" samsat 9658548523568701,0212502110170100 9658548523568702,0212502110170100 \
		9658548523568705,0212502110170100 0658548523568701,0212502110170100 0658548523568705,0212502110170100
	"$1" hp 081234554320 081234554321 081234554324 081244554320 081244554324
}

resolved_row()
{
	resolved "$1" "$5" "$6"
}

test_products()
{
	local file code
	for file in "$here"/responses/*.json; do
		code=$(basename "$file" .json)
		ask pay-pasca "all-$code" "$code" 999
		ok "$code: the sample with our ref_id, customer_no and code" "$(get '.|tojson')" \
			"$(jq -c --arg c "$code" '.data.ref_id = "all-" + $c | .data.customer_no = "999" | .data.code = $c' "$file")"
	done
	for code in dspln BPLN Dspln bbpjs cimahi; do
		ask pay-pasca "code-$code" "$code" 1
		ok "code $code is known and echoed" "$(get .data.rc) $(get .data.code)" "00 $code"
	done
	control '{"pending": 600000}' >/dev/null
	numbers classes
	control '{"pending": 0}' >/dev/null
	numbers resolved_row
	ask pay-pasca two-pln pln 530000000002
	ok "two bills of pln" "$(get '[.data.admin, .data.price, .data.selling_price, (.data.desc.detail | map(.periode, .nilai_tagihan, .denda))] | tojson')" \
		'[5000,23000,25000,["201901","8000","500","201902","11500","0"]]'
	ask pay-pasca two-pgas pgas 0110014602
	ok "two bills of pgas" "$(get '.data.desc.detail | map(.periode) | join(" ")')" "0320 0420"
	port=$raw ask pay-pasca raw-1 pln 1
	ok "the raw port answers the same" "$(get .data.rc)" "00"
}

test_refusals()
{
	local url=http://127.0.0.1:$http/v1/user/api/transaction
	reply=$(curl -sS -w '\n%{http_code}' -d 'no json' "$url")
	ok "not JSON" "$(tail -1 <<<"$reply") $(head -1 <<<"$reply" | jq -r .data.rc)" "400 40"
	reply=$(curl -sS -d "$(body pay-pasca no-sign pln 1 | jq -c 'del(.sign)')" "$url")
	ok "a field missing" "$(get '.data.rc + " " + .data.ref_id')" "40 no-sign"
	reply=$(curl -sS -d "$(body pay-pasca who pln 1 | jq -c '.username = "x"')" "$url")
	ok "unknown username" "$(get .data.rc)" "42"
	reply=$(curl -sS -w '\n%{http_code}' -d "$(body pay-pasca bad-sign pln 1 wrong)" "$url")
	ok "wrong signature" "$(tail -1 <<<"$reply") $(head -1 <<<"$reply" | jq -c '.data')" \
		'400 {"ref_id":"bad-sign","customer_no":"1","code":"pln","message":"Signature tidak valid","status":"Gagal","rc":"41"}'
	ask pay-pasca bad-code nothing 1
	ok "unknown code" "$(get .data.rc)" "43"
	ask status-pasca never-seen pln 1
	ok "unknown ref_id" "$(get '.data.rc + " " + .data.message')" "50 Data belum ada"
	ok "refused requests are counted, not booked" \
		"$(books '?ref_id=bad-sign' '[.pay_requests, .booked]')" "[1,0]"
	ok "a ref_id the books do not know" "$(books '?ref_id=nobody' .)" "{}"
}

test_modes()
{
	reset_books
	ask pay-pasca twice pln 1; ask pay-pasca twice pln 1
	ok "paid twice is booked twice" "$(books '?ref_id=twice' '[.pay_requests, .booked, .price]')" "[2,2,10000]"
	control '{"unique_ref_id": true}' >/dev/null
	ask pay-pasca twice pln 1
	ok "unique_ref_id" "$(get .data.rc) $(books '?ref_id=twice' .booked)" "49 2"
	control '{"unique_ref_id": false, "insist_on_inquiry": true}' >/dev/null
	ask pay-pasca ask-1 pln 1
	ok "insist_on_inquiry refuses" "$(get .data.rc)" "62"
	ask inq-pasca ask-1 pln 2; ask pay-pasca ask-1 pln 1
	ok "an inquiry for another bill is none" "$(get .data.rc)" "62"
	ask inq-pasca ask-1 pln 1; ask pay-pasca ask-1 pln 1
	ok "with the inquiry it pays" "$(get .data.rc) $(books '?ref_id=ask-1' .booked)" "00 1"
	control '{"insist_on_inquiry": false}' >/dev/null
	ask inq-pasca echo-1 pln 1; ask status-pasca echo-1 pln 1
	ok "an inquiry is no payment" "$(get .data.rc)" "50"
	control '{"status_echoes_inquiry": true}' >/dev/null
	ask status-pasca echo-1 pln 1
	ok "status_echoes_inquiry" "$(get '.data.status + .data.sn')" "Sukses"
	control '{"status_echoes_inquiry": false, "balance": 25000}' >/dev/null
	ask inq-pasca money pln 1; said=$(get .data.balance)
	ask pay-pasca money-1 pln 1; said+=" $(get .data.balance)"
	ask pay-pasca money-2 pln 1; said+=" $(get .data.balance)"
	ask pay-pasca money-3 pln 1; said+=" $(get .data.rc)"
	ok "a running balance" "$said" "25000 15000 5000 44"
	reply=$(curl -sS -d "$(jq -cn --arg s "$(printf demodemo-keydepo | md5sum | cut -c1-32)" \
		'{cmd: "deposit", username: "demo", sign: $s}')" "http://127.0.0.1:$http/v1/user/api/cek-saldo")
	ok "cek-saldo" "$(get .data.deposit)" "5000"
	call price-list pricelist '{"command": "pasca"}'
	ok "price-list" "$(get '(.data | length | tostring) + .data[0].brand')" "12PLN PASCABAYAR"
	call price-list pricelist '{"command": "prepaid", "code": "tsel10"}'
	ok "price-list of a prepaid code" "$(get .data[0].end_cut_off)" "0:15"
	control '{"price_list_limit": 60000}' >/dev/null
	call price-list pricelist '{"command": "pasca"}'
	ok "price-list, too soon" "$(get .data.rc)" "83"
	control '{"price_list_limit": 0}' >/dev/null
	call deposit depo '{"amount": 200000, "bank": "BCA", "owner_name": "Ayu"}'
	ok "deposit" "$(get '.data.rc + (.data.amount > 200000 | tostring)')" "00true"
	call deposit deposit '{"amount": 200000, "bank": "BCA", "owner_name": "Ayu"}'
	ok "deposit, with the other dialect's signature" "$(get .data.rc)" "41"
	control '{"script": {"ref_id": "deposit", "command": "call", "body": "dictated"}}' >/dev/null
	call deposit depo '{"amount": 200000, "bank": "BCA", "owner_name": "Ayu"}'
	ok "a call's dictated answer" "$reply" "dictated"
	control '{"script": null}' >/dev/null
	ok "calls are counted" "$(books '?summary=1' '.calls | [.["cek-saldo"], .["price-list"], .deposit] | map(tostring) | join(" ")')" '"1 3 3"'
	control '{"balance": null, "delay": 300}' >/dev/null
	ask pay-pasca slow-1 pln 1
	ok "a delayed answer" "$(books '?ref_id=slow-1' '(.answered_at[0] - .arrived_at[0]) >= 0.3')" "true"
	control '{"delay": null}' >/dev/null
	for i in 1 2 3 4 5; do ask pay-pasca "held-$i" pln 1 & waiting[i]=$!; done
	for i in $(seq 300); do
		[ "$(books '?summary=1' .in_flight)" = 5 ] && break
		sleep 0.1
	done
	ok "answers are held" "$(books '?summary=1' .in_flight)" "5"
	control '{"delay": 0}' >/dev/null
	wait "${waiting[@]}"
	ok "until there is a delay again" "$(books '?summary=1' '.in_flight, .max_in_flight' | tr '\n' ' ')" "0 5 "
	ask pay-pasca held-6 pln 1
	ok "and no longer" "$(get .data.rc)" "00"
	ok "an unknown key is refused" "$(control '{"nonsense": 1}')" "unknown key or bad value"
}

test_scripts()
{
	control '{"script": {"ref_id": "s-1", "http_status": 502, "content_type": "text/html", "body": "<html>", "book": true}}' >/dev/null
	reply=$(curl -sS -w ' %{http_code} %{content_type}' -d "$(body pay-pasca s-1 pln 1)" "http://127.0.0.1:$http/x")
	ok "a dictated reply" "$reply $(books '?ref_id=s-1' .booked)" "<html> 502 text/html 1"
	ask status-pasca s-1 pln 1
	ok "its status is in the books" "$(get .data.rc)" "00"
	control '{"script": {"ref_id": "s-2", "body_base64": "AAH/", "book": false, "headers": {"Retry-After": "7"}}}' >/dev/null
	reply=$(curl -sS -D "$scratch/head" -d "$(body pay-pasca s-2 pln 1)" "http://127.0.0.1:$http/x" | od -An -tx1)
	ok "dictated bytes and headers" "$reply $(grep -c '^Retry-After: 7' "$scratch/head") $(books '?ref_id=s-2' .booked)" " 00 01 ff 1 0"
	control '{"script": {"ref_id": "s-2", "command": "status-pasca", "body": "{}"}}' >/dev/null
	ask status-pasca s-2 pln 1
	ok "a dictated status" "$reply" "{}"
	control '{"script": null}' >/dev/null
	ask pay-pasca s-1 pln 1
	ok "scripts are forgotten" "$(get .data.rc)" "00"
}

# books_when_in REF_ID FILTER: its books once its payment has come in, which may be
# after curl has given up
books_when_in()
{
	for _ in $(seq 100); do
		[ "$(books "?ref_id=$1" .pay_requests)" != null ] && break
		sleep 0.1
	done
	books "?ref_id=$1" "$2"
}

# gather PATTERN N: what comes over descriptor 3 until PATTERN has come N times
gather()
{
	local got=
	for _ in $(seq 40); do
		got+=$(timeout 0.25 cat <&3)
		[ "$(grep -o "$1" <<<"$got" | wc -l)" -lt "$2" ] || break
	done
	printf %s "$got"
}

# fault NAME [CURL_EXIT_CODE]: without a code, curl may think of it what it likes
fault()
{
	local limit=20
	[ "$2" != 28 ] || limit=1
	reply=$(curl -sS -m "$limit" -d "$(body pay-pasca "$1-1" pln 1)" "http://127.0.0.1:$raw/x" 2>/dev/null)
	exit_code=$?
	[ -z "$2" ] || ok "$1: curl's exit code" "$exit_code" "$2"
	ok "$1: booked, not answered" "$(books_when_in "$1-1" '[.booked, (.answered_at | length)]')" "[1,0]"
	curl -sS -m "$limit" -d "$(body pay-pasca "$1-nobook-1" pln 1)" "http://127.0.0.1:$raw/x" >/dev/null 2>&1
	ok "$1: with nobook" "$(books_when_in "$1-nobook-1" '[.pay_requests, .booked]')" "[1,0]"
	port=$raw ask status-pasca "$1-1" pln 1; said=$(get .data.rc)
	port=$raw ask status-pasca "$1-nobook-1" pln 1
	ok "$1: its status" "$said $(get .data.rc)" "00 50"
}

# dump REF_ID [OPTION...]: the answer of the raw port as it came, headers and all
dump()
{
	local ref_id=$1
	shift
	curl -sS -m 20 -i --raw "$@" -d "$(body pay-pasca "$ref_id" pln 1)" "http://127.0.0.1:$raw/x" 2>/dev/null
}

# Answers that are whole, in other words
altered()
{
	local name usual
	for name in chunked toclose hints http10; do
		port=$raw ask pay-pasca "$name-1" pln 1
		ok "$name: the answer arrives, booked and answered" \
			"$(get .data.rc) $(books "?ref_id=$name-1" '[.booked, (.answered_at | length)]')" "00 [1,1]"
	done
	ok "chunked: in sevens" "$(dump chunked-2 | sed -n '5,7p' | tr '\r\n' '|')" '7||{"data"||7||'
	ok "badchunk: a size is no number" "$(($(dump badchunk-2 | grep -c '^x7') > 1))" "1"
	ok "toclose: no length" "$(dump toclose-2 | grep -ci content-length)" "0"
	ok "hints: before the answer" "$(dump hints-2 | grep '^HTTP' | cut -d' ' -f2 | tr '\n' ' ')" "100 103 200 "
	ok "http10: by that name" "$(dump http10-2 | head -1 | tr -d '\r')" "HTTP/1.0 200 OK"
	ok "http09: nothing but the body" "$(dump http09-2 --http0.9 | head -c 8)" '{"data":'
	exec 3<>"/dev/tcp/127.0.0.1/$raw"
	send "$(body pay-pasca abc-1 pln 1)"
	ok "abc: in place of a status" "$(timeout 20 cat <&3 | head -1 | tr -d '\r') $(books '?ref_id=abc-1' .booked)" "HTTP/1.1 abc 1"
	exec 3<>"/dev/tcp/127.0.0.1/$raw"
	send "$(body pay-pasca headers-2 pln 1)"
	ok "headers: ten thousand" "$(timeout 20 cat <&3 | grep -c '^X-Header')" "10000"
	exec 3<>"/dev/tcp/127.0.0.1/$raw"
	send "$(body pay-pasca bighead-2 pln 1)"
	ok "bighead: a megabyte" "$(timeout 20 cat <&3 | sed -n 2p | wc -c)" "1000012"
	usual=$(curl -sS -d "$(body pay-pasca xxxxxxxx pln 1)" "http://127.0.0.1:$raw/x")
	ok "cut-N: so many bytes" "$(curl -sS -d "$(body pay-pasca cut-17-1 pln 1)" "http://127.0.0.1:$raw/x")" \
		"$(head -c 17 <<<"${usual/xxxxxxxx/cut-17-1}")"
	ok "cut-N: whole when there is no more" "$(curl -sS -d "$(body pay-pasca cut-9999 pln 1)" "http://127.0.0.1:$raw/x")" \
		"${usual/xxxxxxxx/cut-9999}"
	exec 3<>"/dev/tcp/127.0.0.1/$raw"
	send "$(body pay-pasca long-1 pln 1)"
	ok "long: more than was promised" "$(gather 'more of it' 1 | tail -c 16)" '}}and more of it'
	exec 3>&-
	exec 3<>"/dev/tcp/127.0.0.1/$raw"
	send "$(body pay-pasca twice-1 pln 1)"
	ok "twice: two answers, one booking" "$(gather 'HTTP/1.1 200' 2 | grep -o 'HTTP/1.1 200' | wc -l) $(books '?ref_id=twice-1' .booked)" "2 1"
	exec 3>&-
	reply=$(curl -sS -m 2 -d "$(body pay-pasca drip-1 pln 1)" "http://127.0.0.1:$raw/x" 2>/dev/null)
	ok "drip: some bytes in two seconds" "$? $((${#reply} > 1 && ${#reply} < 30)) $(books '?ref_id=drip-1' '[.booked, (.answered_at | length)]')" "28 1 [1,0]"
	reply=$(curl -sS -m 5 --max-filesize 100000000 -o /dev/null -w '%{size_download}' \
		-d "$(body pay-pasca flood-1 pln 1)" "http://127.0.0.1:$raw/x" 2>/dev/null)
	ok "flood: more than anybody wants" "$((reply > 10000000)) $(books '?ref_id=flood-1' .booked)" "1 1"
}

# send BODY: one request over descriptor 3
send()
{
	printf 'POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s' "${#1}" "$1" >&3
}

test_faults()
{
	reset_books
	fault reset 56
	fault close 52
	fault half 18
	fault hang 28
	fault hdr 28
	fault tail 28
	fault torn 56
	fault halfhead
	fault badchunk 56
	fault nolast 18
	fault http09 1
	fault headers
	fault bighead
	altered
	exec 3<>"/dev/tcp/127.0.0.1/$raw"
	send "$(body pay-pasca dead-first pln 1)"
	sleep 0.2
	send "$(body pay-pasca dead-second pln 1)"
	ok "dead: one answer for two requests" "$(timeout 20 cat <&3 2>/dev/null | grep -c '^HTTP/1.1')" "1"
	exec 3>&-
	ok "dead: both booked once" "$(books '?ref_id=dead-first' .booked) $(books '?ref_id=dead-second' '[.booked, (.answered_at | length)]')" "1 [1,0]"
	port=$raw ask inq-pasca inq-reset-1 pln 1
	ok "inq-reset-: a fault in the inquiry" "$exit_code" "56"
	curl -sS -m 20 -d "$(body pay-pasca early pln 1)" "http://127.0.0.1:$raw/early-reset/x" >/dev/null 2>&1
	ok "/early-reset/: reset after the headers" "$? $(books '?ref_id=early' .)" "56 {}"
	for how in reset close hang hello-reset hello-torn; do
		control "{\"accept_fault\": \"$how\"}" >/dev/null
		reply=$(curl -sS -m 1 -d "$(body pay-pasca at-accept pln 1)" "http://127.0.0.1:$raw/x" 2>/dev/null)
		ok "accept_fault $how" "$(($? != 0)) $(books '?ref_id=at-accept' .)" "1 {}"
	done
	reply=$(curl -sS -m 20 "https://127.0.0.1:$raw/x" 2>&1)
	ok "accept_fault hello-torn: TLS does not come about" "$?" "35"
	control '{"accept_fault": null}' >/dev/null
	port=$raw ask pay-pasca after pln 1
	ok "and off again" "$(get .data.rc)" "00"
	for _ in $(seq 100); do
		[ "$(books '?summary=1' .in_flight)" = 0 ] && break
		sleep 0.1
	done
	ok "nothing is left in flight" "$(books '?summary=1' .in_flight)" "0"
}

test_dialect()
{
	local file code
	df_ask pay-pasca df-1 pln 530000000001
	ok "digiflazz at /v1/transaction" \
		"$(get '[.data.buyer_sku_code, .data.customer_name, .data.buyer_last_saldo, .data.code] | tojson')" \
		'["pln","Nama Pelanggan Pertama",100000,null]'
	for file in "$here"/responses/*.json "$here"/responses/documented/*.json; do
		code=$(basename "$file" .json)
		df_ask pay-pasca "df-all-$code" "$code" 999
		ok "digiflazz, $code: the sample in its words" "$(get '.data | (.desc.detail[]? |= del(.usage)) | to_entries | map([.key, .value]) | tojson')" \
			"$(jq -c --arg c "$code" '.data.ref_id = "df-all-" + $c | .data.customer_no = "999" | .data.code = $c | .data | to_entries
				| map([({code: "buyer_sku_code", name: "customer_name", balance: "buyer_last_saldo"}[.key] // .key), .value])' "$file")"
	done
	df_ask pay-pasca df-pgas pgas 0110014602
	ok "digiflazz, pgas: usage in each period" "$(get '.data.desc.detail | map(.usage) | join(" ")')" "000035 000037"
	ask pay-pasca pgas-2 pgas 0110014602
	ok "and not in the other dialect" "$(get '.data.desc.detail | map(has("usage")) | any')" "false"
	df_ask status-pasca df-1 pln 530000000001; said="$(get .data.rc) "
	df_ask inq-pasca df-2 pln 530000000003; said+="$(get '.data | keys | join(" ")') "
	port=$raw df_ask inq-pasca df-3 bpjstk 1; said+=$(get '.data.desc | [.jkk, .jkm, .jht] | tojson')
	ok "status, refusal, the raw port" "$said" "00 buyer_sku_code customer_no message rc ref_id status [10000,6800,80700]"
	reply=$(curl -sS -d "$(body pay-pasca df-4 pln 1)" "http://127.0.0.1:$http/v1/transaction"); said="$(get .data.rc) "
	reply=$(curl -sS -d "$(df_body pay-pasca df-5 pln 1)" "http://127.0.0.1:$http/v1/user/api/transaction"); said+=$(get .data.rc)
	ok "what is said in the other dialect is not understood" "$said $(books '?ref_id=df-4' .booked)$(books '?ref_id=df-5' .booked)" "40 40 00"
	control '{"error_objects": true}' >/dev/null
	reply=$(curl -sS -w '\n%{http_code}' -d "$(df_body pay-pasca df-6 pln 1 wrong)" "http://127.0.0.1:$http/v1/transaction")
	ok "an error object" "$(tr '\n' ' ' <<<"$reply")" '{"data":{"rc":"41","message":"Signature tidak valid"}} 400 '
	df_ask pay-pasca df-7 pln 530000000006
	ok "a failure is none" "$(get '.data.rc + " " + .data.ref_id')" "02 df-7"
	control '{"error_objects": false, "malaysian": true, "balance": 25000, "pending": 600000}' >/dev/null
	df_ask pay-pasca my-1 pln 530000000001
	ok "the Malaysian branch: decimals" "$(get '[.data.status, .data.price, .data.admin, .data.selling_price, .data.buyer_last_saldo] | tojson') $(books '?ref_id=my-1' .price)" \
		'["Success",10000.25,2500.5,11000.5,14999.75] 10000.25'
	df_ask pay-pasca my-2 pln 530000000006; said="$(get .data.status)/$(get .data.rc) "
	df_ask pay-pasca my-3 pln 630000000001; said+="$(get .data.status)/$(get .data.rc)"
	ask pay-pasca my-4 nothing 1; said+=" $(get .data.status)/$(get .data.rc)"
	ok "its words" "$said" "Failed/02 Processing/03 Failed/43"
	control '{"malaysian": false, "balance": null, "pending": 0}' >/dev/null
	ask pay-pasca my-5 pln 1
	ok "and back" "$(get '[.data.status, .data.price, .data.balance] | tojson')" '["Sukses",10000,100000]'
}

test_tls()
{
	ok "https answers" "$(curl -sS --cacert "$scratch/cert.pem" -d "$(body pay-pasca tls-1 pln 1)" \
		"https://localhost:$https/v1/user/api/transaction" --resolve "localhost:$https:127.0.0.1" | jq -r .data.rc)" "00"
	curl -sS -d "$(body pay-pasca tls-2 pln 1)" "https://127.0.0.1:$https/" >/dev/null 2>&1
	ok "an unknown authority is refused" "$? $(books '?ref_id=tls-2' .)" "60 {}"
}

test_witness()
{
	start --witness 'host=/nonexistent dbname=none'
	ask pay-pasca seen-1 pln 1
	ok "a witness that cannot see complains" "$(books '?summary=1' '.complaints | map(startswith("pay-pasca for ref_id seen-1 arrived while the journal")) | tojson')" '"[true]"'
	stop
}

openssl req -x509 -newkey rsa:2048 -nodes -keyout "$scratch/key.pem" -out "$scratch/cert.pem" \
	-days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>/dev/null

start --cert "$scratch/cert.pem" --key "$scratch/key.pem"
ok "one line with ports and pid" "$(grep -cE '^http=[1-9][0-9]* https=[1-9][0-9]* raw=[1-9][0-9]* pid='"$pid"'$' "$scratch/ports")" "1"
test_products
test_refusals
test_modes
test_scripts
test_faults
test_dialect
test_tls
reset_books
ok "emptied books" "$(books '' '[.requests, .bookings, .refs]')" "[0,0,{}]"
stop
ok "SIGTERM ends it with 0" "$stopped" "0"
test_witness
"$here/provider" --until-eof </dev/null >"$scratch/ports"
ok "--until-eof ends with standard input" "$?" "0"

echo "1..$count"
[ "$failures" -eq 0 ]
