EXTENSION   = digipay
EXTVERSION  = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" digipay.control)
MODULE_big  = digipay
OBJS        = \
	src/account.o \
	src/address.o \
	src/amount.o \
	src/answer.o \
	src/api.o \
	src/api_account.o \
	src/api_queue.o \
	src/argument.o \
	src/backlog.o \
	src/bill.o \
	src/calendar.o \
	src/cast.o \
	src/catalogue.o \
	src/charset.o \
	src/client.o \
	src/credential.o \
	src/detail.o \
	src/digipay.o \
	src/endpoint.o \
	src/event.o \
	src/fault.o \
	src/fence.o \
	src/guc.o \
	src/health.o \
	src/job.o \
	src/journal.o \
	src/launch.o \
	src/lookup.o \
	src/mailbox.o \
	src/objects.o \
	src/option.o \
	src/pace.o \
	src/payment.o \
	src/place.o \
	src/problem.o \
	src/purge.o \
	src/record.o \
	src/reply.o \
	src/request.o \
	src/situation.o \
	src/sql.o \
	src/srf.o \
	src/state.o \
	src/statement.o \
	src/submit.o \
	src/ticket.o \
	src/transport.o \
	src/transport_transfer.o \
	src/transport_url.o \
	src/turn.o \
	src/verdict.o \
	src/watch.o \
	src/webhook.o \
	src/worker.o
PGFILEDESC  = "digipay - pays Indonesian bills from SQL"
DATA        = $(wildcard sql/*--*.sql)
DOCS        = README.md doc/cookbook.md

CURL_CFLAGS  ?= $(shell pkg-config --cflags libcurl)
CURL_LIBS    ?= $(shell pkg-config --libs libcurl)
CJSON_CFLAGS ?= $(shell pkg-config --cflags libcjson)
CJSON_LIBS   ?= $(shell pkg-config --libs libcjson)
PG_CPPFLAGS = -I$(srcdir)/src $(CURL_CFLAGS) $(CJSON_CFLAGS) -DDIGIPAY_VERSION='"$(EXTVERSION)"'
SHLIB_LINK  = $(CURL_LIBS) $(CJSON_LIBS)

# test/sql/NAME.sql against expected/NAME.out, on every version: pg_regress
# looks under --outputdir first, then at the top level
REGRESS        = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS   = --outputdir=test --load-extension=digipay
# (defined only where there are specs: PGXS would run, and report, none of them)
ifneq ($(wildcard test/isolation/specs/*.spec),)
ISOLATION      = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --outputdir=test/isolation --load-extension=digipay
endif
EXTRA_CLEAN    = test/results test/regression.* test/isolation/results \
	test/isolation/regression.* test/log test/isolation/log tmp_check

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# a change of a header rebuilds what may include it
$(OBJS): $(wildcard src/*.h)

# The TAP tests start servers of their own and talk to the provider's double,
# so they are not part of installcheck: script/test runs them.
prove_installcheck: provider
	rm -rf $(CURDIR)/tmp_check
	mkdir -p $(CURDIR)/tmp_check
	cd $(srcdir) && TESTDIR='$(CURDIR)' PATH="$(bindir):$(CURDIR):$$PATH" \
	  PGPORT='6$(DEF_PGPORT)' PG_REGRESS='$(top_builddir)/src/test/regress/pg_regress' \
	  $(PROVE) -I $(top_srcdir)/src/test/perl -I test/t/lib $(PROVE_FLAGS) \
	  $(if $(PROVE_TESTS),$(PROVE_TESTS),test/t/*.pl)

provider:
	$(MAKE) -C test/provider

.PHONY: prove_installcheck provider
