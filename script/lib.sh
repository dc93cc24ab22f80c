# Shell functions shared by script/demo and script/test.  Sourced, not run.
#
# Everything happens in a throwaway directory: a copy of the tree is built
# there, installed there, and served by a PostgreSQL server of its own that
# listens on nothing but a socket in it.  The checkout and the system's
# clusters are left alone.
#
# Kept from the environment: PG_CONFIG, to build for another PostgreSQL.

set -eu
umask 022
export LC_ALL=C.UTF-8
PACKAGES_OF_POSTGRES='postgresql-15 postgresql-server-dev-15'
PACKAGES_TO_BUILD='gcc libc6-dev make pkg-config libcurl4-openssl-dev libcjson-dev ca-certificates'
PACKAGES_OF_PROVIDER='libmicrohttpd-dev nettle-dev libpq-dev openssl curl'
PACKAGES_OF_TESTS='perl jq libipc-run-perl postgresql-15-pgtap libtap-parser-sourcehandler-pgtap-perl
	postgresql-15-cron chromium patch'
PACKAGES_OF_FUZZER='clang-14 libclang-rt-14-dev'

[ -n "${PG_CONFIG:-}" ] || debian_postgres=yes
PG_CONFIG=${PG_CONFIG:-/usr/lib/postgresql/15/bin/pg_config}
export PG_CONFIG

work=			# the throwaway directory
child=			# the command that run_limited waits for
servers=		# data directories of the servers started here
providers=		# process ids of the provider's doubles started here
at_end=:		# what to call last; it may change $status

# Say something to the person who watches, on standard error.
say()
{
	printf '%s\n' "$*" >&2
}

# Give up.
die()
{
	say "$(basename "$0"): $*"
	exit 1
}

# ---------------------------------------------------------------- packages

# Run a command as root.
as_root()
{
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Those of the given packages that are not installed.
missing_packages()
{
	for package in "$@"; do
		case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
			installed) ;;
			*) printf '%s ' "$package" ;;
		esac
	done
}

# Install what is missing of the given packages, and start nothing.
install_missing()
{
	command -v dpkg-query >/dev/null || return 0
	missing=$(missing_packages "$@")
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
		die "these packages are needed, and installing them takes root: $missing"
	fi
	say "Installing $missing"
	as_root sh -s "$missing" <<'ROOT' || die "could not install: $missing"
		set -eu
		no_cluster=/etc/postgresql-common/createcluster.d/digipay-script.conf
		no_start=/usr/sbin/policy-rc.d
		output=$(mktemp)
		made=$output

		# leave the system as it was found, but for the packages
		restore()
		{
			rm -f $made
			for directory in ${made_directory:-}; do
				rmdir "$directory" 2>/dev/null || :
			done
		}
		trap restore EXIT
		trap 'exit 1' INT TERM HUP

		# PostgreSQL's packages make a cluster when they are new, and start
		# services: neither is wanted
		if ! dpkg-query -W -f '${db:Status-Status}' postgresql-15 2>/dev/null |
			grep -q '^installed$'
		then
			for directory in /etc/postgresql-common "${no_cluster%/*}"; do
				[ -d "$directory" ] && continue
				mkdir "$directory"
				made_directory="$directory ${made_directory:-}"
			done
			if [ ! -e $no_cluster ]; then
				made="$made $no_cluster"
				echo 'create_main_cluster = false' >$no_cluster
			fi
		fi
		if [ ! -e $no_start ]; then
			made="$made $no_start"
			printf '#!/bin/sh\nexit 101\n' >$no_start
			chmod 755 $no_start
		fi

		# another apt may hold the lists, which apt-get does not wait for;
		# a source that cannot be had is no reason to stop
		try=0
		until apt-get update </dev/null >"$output" 2>&1; do
			try=$((try + 1))
			if [ $try -lt 30 ] && grep -q 'Could not get lock' "$output"; then
				sleep 2
				continue
			fi
			sed 's/^/apt-get update: /' "$output" >&2
			break
		done
		DEBIAN_FRONTEND=noninteractive apt-get \
			-o DPkg::Lock::Timeout=600 \
			-o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef \
			install -y --no-install-recommends --no-remove $1 \
			</dev/null >"$output" 2>&1 || { tail -40 "$output" >&2; exit 1; }
ROOT
}

# Install what both scripts need, and the given packages.
install_needed()
{
	# shellcheck disable=SC2086	# lists of words
	install_missing ${debian_postgres:+$PACKAGES_OF_POSTGRES} \
		$PACKAGES_TO_BUILD $PACKAGES_OF_PROVIDER "$@"
	[ -x "$PG_CONFIG" ] || PG_CONFIG=$(command -v "$PG_CONFIG") ||
		die "no pg_config at $PG_CONFIG; set PG_CONFIG to the one to build for"
	bindir=$("$PG_CONFIG" --bindir)
	pkglibdir=$("$PG_CONFIG" --pkglibdir)
	sharedir=$("$PG_CONFIG" --sharedir)
	major=$("$PG_CONFIG" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
}

# ------------------------------------------------- the throwaway directory

# Make the throwaway directory, and see to it that nothing outlives us.
# The path is short because a socket's path holds 107 bytes at most.
make_work()
{
	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP
	work=$(mktemp -d /tmp/digipay.XXXXXX)
	chmod 711 "$work"
}

# End everything that was started, remove everything that was made, and exit
# with the status of what came before.
clean_up()
{
	status=$?
	trap - EXIT
	trap '' INT TERM HUP
	set +e
	if [ -n "$child" ]; then
		kill "$child" 2>/dev/null
		wait "$child" 2>/dev/null
	fi
	for pid in $providers; do
		kill "$pid" 2>/dev/null
	done
	for data in $servers; do
		stop_server "$data"
	done
	if [ -n "$work" ]; then
		end_orphans
		cd / && rm -rf "$work"
	fi
	$at_end
	exit $status
}

# End the servers that a killed test has left in the throwaway directory.
end_orphans()
{
	find "$work" -name postmaster.pid 2>/dev/null | while read -r file; do
		pid=$(head -1 "$file")
		if [ "$(readlink "/proc/$pid/cwd")" = "${file%/*}" ]; then
			kill -QUIT "$pid"
			sleep 1
		fi
	done
}

# Run a command for so many seconds at most, in a process group of its own
# that ends with us.
run_limited()
{
	limit=$1
	shift
	timeout -k 10 "$limit" "$@" &
	child=$!
	status=0
	wait $child || status=$?
	child=
	if [ $status = 124 ] || [ $status = 137 ]; then
		say "ended after $limit seconds: $*"
	fi
	return $status
}

# Run a command as the user whom a server may run as: never root.
as_server_user()
{
	if [ "$(id -u)" = 0 ]; then
		(cd "$work" && exec runuser -u postgres -- "$@")
	else
		(cd "$work" && exec "$@")
	fi
}

# The same as words to put before a command.
server_user_words()
{
	[ "$(id -u)" != 0 ] || echo runuser -u postgres --
}

# Make a directory in the throwaway directory that only the server's user reads.
make_private_directory()
{
	mkdir -p "$1"
	chmod 700 "$1"
	[ "$(id -u)" != 0 ] || chown postgres: "$1"
}

# ---------------------------------------------------------------- building

# Copy the tree to a directory, without what an earlier build has left in it.
copy_tree()
{
	mkdir -p "$2"
	tar -C "$1" -cf - --exclude=./.git --exclude='*.o' --exclude='*.bc' \
		--exclude='*.so' --exclude=./test/provider/provider --exclude=./test/sim/sim \
		--exclude='tmp_check*' --exclude=results . | tar -C "$2" -xf - --no-same-owner
}

# Build the extension in tree $1, and install it under $2; the rest are
# arguments of make.
build_extension()
{
	tree=$1
	destdir=$2
	shift 2
	run_limited 600 make -s -C "$tree" -j2 "$@" all &&
		run_limited 60 make -s -C "$tree" "$@" install DESTDIR="$destdir"
}

# Build the provider's double in tree $1.
build_provider()
{
	provider_program=$1/test/provider/provider
	run_limited 300 make -s -C "$1/test/provider" -j2
}

# The settings by which a server finds the extension installed under $1.
extension_settings()
{
	echo "dynamic_library_path = '$1$pkglibdir:\$libdir'"
	if [ "$major" -ge 18 ]; then
		echo "extension_control_path = '$1$sharedir:\$system'"
	else
		echo "extension_destdir = '$1'"	# Debian's own
	fi
}

# ----------------------------------------------------------------- servers

# What a server finds in its environment besides: NAME=VALUE words.
server_environment=

# Start a server in directory $1 with the extension installed under $2 and
# further settings from standard input, and make it libpq's default.
start_server()
{
	make_private_directory "$1"
	as_server_user "$bindir/initdb" -D "$1/data" -U postgres -A trust -N \
		--locale=C.UTF-8 -E UTF8 >"$1.initdb" 2>&1 ||
		{ cat "$1.initdb" >&2; return 1; }
	{
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$1'"
		extension_settings "$2"
		cat
	} | as_server_user tee -a "$1/data/postgresql.conf" >/dev/null
	servers="$1/data $servers"
	# shellcheck disable=SC2086	# words
	as_server_user env $server_environment "$bindir/pg_ctl" \
		-D "$1/data" -w -t 60 -l "$1/log" start >/dev/null ||
		{ tail -40 "$1/log" >&2; return 1; }
	export PGHOST="$1" PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
}

# Stop the server with data directory $1.
stop_server()
{
	if [ -e "$1/postmaster.pid" ]; then
		as_server_user "$bindir/pg_ctl" -D "$1" -m fast -w -t 30 stop >/dev/null 2>&1 ||
			as_server_user "$bindir/pg_ctl" -D "$1" -m immediate -w -t 10 stop >/dev/null 2>&1 ||
			:
	fi
	[ ! -e "$1/postmaster.pid" ]
}

# Run psql against the server, quietly and without anybody's psqlrc.
sql()
{
	"$bindir/psql" -X -q -v ON_ERROR_STOP=1 "$@"
}

# ---------------------------------------------------- the provider's double

# Make a certificate and its key for localhost: $1.crt and $1.key.
make_certificate()
{
	openssl req -x509 -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.crt" \
		-days 2 -subj /CN=localhost \
		-addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>/dev/null
}

# Start the provider's double with the given arguments.  Sets provider_pid,
# http_port and https_port, and what tests look for in the environment.
start_provider()
{
	out=$(mktemp "$work/provider.XXXXXX")
	"$provider_program" "$@" </dev/null >"$out" 2>"$out.log" &
	provider_pid=$!
	providers="$provider_pid $providers"
	try=0
	until grep -q '^http=.* pid=' "$out"; do
		try=$((try + 1))
		if [ $try -gt 100 ] || ! kill -0 $provider_pid 2>/dev/null; then
			say "the provider's double did not start"
			cat "$out" "$out.log" >&2
			return 1
		fi
		sleep 0.1
	done
	http_port=$(sed -n 's/.*http=\([0-9]*\).*/\1/p' "$out")
	https_port=$(sed -n 's/.*https=\([0-9]*\).*/\1/p' "$out")
	provider_url=http://127.0.0.1:$http_port
	export DIGIPAY_ENDPOINT="$provider_url/v1/user/api/transaction"
	export DIGIPAY_BOOKS="$provider_url/books"
}

# Stop the provider's double that was started last.
stop_provider()
{
	kill "$provider_pid" 2>/dev/null || :
	wait "$provider_pid" 2>/dev/null || :
	providers=${providers#"$provider_pid "}
}

# ------------------------------------------------------------ the simulator

# Build the simulator in tree $1.
build_simulator()
{
	simulator_program=$1/test/sim/sim
	run_limited 300 make -s -C "$1/test/sim" PG_CONFIG="$PG_CONFIG"
}

# Run the simulator in directory $1 with the extension installed under $2; the
# rest are its arguments.  Its words are in $1/out as well.
simulate()
{
	scene=$1
	destdir=$2
	shift 2
	make_private_directory "$scene"
	as_server_user "$bindir/initdb" -D "$scene/data" -U postgres -A trust -N \
		--locale=C.UTF-8 -E UTF8 >"$scene.initdb" 2>&1 ||
		{ cat "$scene.initdb" >&2; return 1; }
	{
		echo "listen_addresses = ''"
		extension_settings "$destdir"
		# what is not flushed by somebody is lost in a crash
		cat <<-'CONF'
			fsync = off
			wal_writer_delay = 10s
			wal_writer_flush_after = 1GB
			shared_preload_libraries = 'digipay'
			digipay.databases = 'postgres'
			restart_after_crash = on
			max_prepared_transactions = 64
			shared_buffers = 16MB
			log_min_messages = debug1
		CONF
	} | as_server_user tee -a "$scene/data/postgresql.conf" >/dev/null
	servers="$scene/data $servers"
	[ ! -e "$here/src/fault.h" ] || set -- --fault-points "$@"
	run_limited 600 $(server_user_words) env -C "$scene" "$simulator_program" \
		--seed "${DIGIPAY_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}" \
		--bindir "$bindir" --data "$scene/data" --socket-dir "$scene" --log "$scene/log" \
		--provider "$provider_program" "$@" >"$scene/out" 2>&1
	status=$?
	cat "$scene/out" >&2
	return $status
}
