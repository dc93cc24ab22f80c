/*-------------------------------------------------------------------------
 *
 * health.c
 *	  digipay_health: everything that a payment needs, looked at in the order in
 *	  which a newcomer meets it, each with what to do about it.
 *
 * The first thing that is missing hides what depends on it, so the list ends
 * there.  The question to the provider is an inquiry of a documented test
 * number with "testing" set: it moves no money.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "compat.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "client.h"
#include "credential.h"
#include "digipay.h"
#include "fence.h"
#include "guc.h"
#include "launch.h"
#include "mailbox.h"
#include "objects.h"
#include "option.h"
#include "problem.h"
#include "situation.h"
#include "srf.h"
#include "state.h"
#include "url.h"

PG_FUNCTION_INFO_V1(digipay_health);

/* The documented test number of one PLN bill. */
#define PROBE_CODE			"pln"
#define PROBE_CUSTOMER_NO	"530000000001"

/* Add a line to the list; returns ok.  detail and hint may be NULL. */
static bool
line(ReturnSetInfo *list, const char *item, bool ok, const char *detail, const char *hint)
{
	Datum		values[4];
	bool		nulls[4] = {false};

	values[0] = CStringGetTextDatum(item);
	values[1] = BoolGetDatum(ok);
	nulls[2] = detail == NULL || detail[0] == '\0';
	values[2] = nulls[2] ? (Datum) 0 : CStringGetTextDatum(detail);
	nulls[3] = hint == NULL || hint[0] == '\0';
	values[3] = nulls[3] ? (Datum) 0 : CStringGetTextDatum(hint);
	tuplestore_putvalues(list->setResult, list->setDesc, values, nulls);
	return ok;
}

/* Do library and extension belong together? */
static bool
look_at_extension(ReturnSetInfo *list)
{
	char	   *version = dp_extension_version();
	bool		same = version != NULL && strcmp(version, DIGIPAY_VERSION) == 0;

	return line(list, "extension", same,
				psprintf("extension %s, library %s", version ? version : "none", DIGIPAY_VERSION),
				same ? NULL : "Run ALTER EXTENSION digipay UPDATE.");
}

/* Is digipay in shared_preload_libraries, and this database in its list? */
static void
look_at_preload(ReturnSetInfo *list)
{
	bool		listed = dp_launch_is_listed();

	line(list, "preload", true,
		 listed ? "the worker of this database starts with the server" :
		 "the worker of this database starts at the first call",
		 listed ? NULL : "To start it with the server, set shared_preload_libraries and digipay.databases.");
}

/* Is this queue ours? */
static void
look_at_fence(ReturnSetInfo *list)
{
	DpFence		fence;

	dp_fence_read(&fence);
	if (fence.state == DP_FENCE_OPEN)
		line(list, "fence", true,
			 fence.ask_first ?
			 "this queue is ours, taken over; older payments are asked about before they are sent" :
			 "this queue is ours", NULL);
	else
		line(list, "fence", false,
			 fence.state == DP_FENCE_UP ? fence.reason :
			 "there are payments, but no mark; they were restored from a dump",
			 "When the other database pays no more, call digipay_take_over().");
}

/* Is there a server, and may we use it? */
static bool
look_at_server(ReturnSetInfo *list, const char *name, Oid *server)
{
	ForeignServer *fs = GetForeignServerByName(name, true);

	if (fs == NULL)
		return line(list, "server", false, psprintf("there is no server \"%s\"", name),
					psprintf("CREATE SERVER %s FOREIGN DATA WRAPPER digipay OPTIONS (endpoint 'https://...');",
							 quote_identifier(name)));
	if (strcmp(GetForeignDataWrapper(fs->fdwid)->fdwname, "digipay") != 0)
		return line(list, "server", false,
					psprintf("server \"%s\" is not of foreign-data wrapper digipay", name),
					"Name another one.");
	if (dp_server_aclcheck(fs->serverid, GetUserId()) != ACLCHECK_OK)
		return line(list, "server", false,
					psprintf("role \"%s\" may not use server \"%s\"",
							 GetUserNameFromId(GetUserId(), false), name),
					psprintf("GRANT USAGE ON FOREIGN SERVER %s TO %s;", quote_identifier(name),
							 quote_identifier(GetUserNameFromId(GetUserId(), false))));
	*server = fs->serverid;
	return line(list, "server", true, psprintf("server \"%s\"", name), NULL);
}

/* Are the options such that something can be paid? */
static bool
look_at_account(ReturnSetInfo *list, Oid server, DpAccount *account)
{
	DpProblem	problem;

	if (!dp_account_load(server, false, account, &problem))
		return line(list, "account", false, problem.message, problem.hint);
	line(list, "account", true, account->account, NULL);
	line(list, "options", !account->paused,
		 psprintf("endpoint %s%s%s%s%s", account->endpoint,
				  account->dialect == DP_DIGISWITCH ? "" : ", dialect ",
				  account->dialect == DP_DIGISWITCH ? "" : dp_dialect_name(account->dialect),
				  account->testing ? ", testing" : "",
				  account->paused ? ", paused" : ""),
		 account->paused ? "ALTER SERVER ... OPTIONS (SET paused 'false');" :
		 account->testing ? "Payments are tests unless the call says otherwise." : NULL);
	return true;
}

/*
 * Start the worker if need be.  An error becomes a line; the subtransaction
 * undoes what it leaves behind.
 */
static bool
look_at_worker(ReturnSetInfo *list)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool ok = false;
	ErrorData  *error;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		(void) dp_launch_ensure();
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		ok = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode != DP_ERRCODE_NO_WORKER)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		line(list, "worker", false, error->detail, error->hint);
	}
	PG_END_TRY();
	if (ok)
		line(list, "worker", true, psprintf("process %d", dp_mailbox_worker_pid()), NULL);
	return ok;
}

/* What to do about a connection that does not come about. */
static bool
look_at_connection(ReturnSetInfo *list, const DpAccount *account, const DpProbe *probe)
{
	DpUrl		url;

	(void) dp_url_read(account->endpoint, &url);
	if (probe->stage < DP_STAGE_RESOLVED)
		return line(list, "name", false, probe->message,
					"Check the endpoint and this server's name resolution.");
	line(list, "name", true, psprintf("%s is known", url.host), NULL);
	if (probe->stage < DP_STAGE_CONNECTED)
		return line(list, "connection", false, probe->message,
					"Check that this server may connect to the endpoint: firewall, port, allow_private_address.");
	line(list, "connection", true,
		 probe->address[0] ? psprintf("connected to %s", probe->address) : "connected", NULL);
	if (!probe->tls)
		line(list, "TLS", true, "none: plain http to a loopback address", NULL);
	else if (probe->stage < DP_STAGE_SECURED)
		return line(list, "TLS", false, probe->message,
					"Check the provider's certificate and the option ca_file.");
	else
		line(list, "TLS", true, "the provider's certificate is good", NULL);
	return true;
}

/* Does the provider answer, and accept who we are? */
static void
look_at_answer(ReturnSetInfo *list, const DpAccount *account, const DpProbe *probe)
{
	const char *advice = NULL;
	const char *call = "";

	if (!probe->complete || !probe->trusted)
	{
		line(list, "provider", false,
			 psprintf("%s (HTTP status %d)", probe->message, probe->http_status),
			 "Check the path of the endpoint; if it is right, ask the provider.");
		return;
	}
	line(list, "provider", true, psprintf("answers, HTTP status %d", probe->http_status), NULL);
	/* that it does not sell PLN, or that the deposit is empty, is no refusal of us */
	if (strcmp(probe->rc, "43") != 0 && strcmp(probe->rc, "44") != 0)
		advice = dp_refusal_advice(probe->rc);
	if ((strcmp(probe->rc, "41") == 0 || strcmp(probe->rc, "42") == 0) &&
		account->api_key_file == NULL)
		call = psprintf("  Use ALTER USER MAPPING FOR PUBLIC SERVER %s OPTIONS (SET api_key '...').",
						quote_identifier(account->server_name));
	line(list, "signature", advice == NULL, psprintf("rc %s: %s", probe->rc, probe->message),
		 advice == NULL ? NULL :
		 psprintf("%c%s.%s", pg_toupper((unsigned char) advice[0]), advice + 1, call));
}

/* Ask the provider a question that moves no money. */
static void
look_at_provider(ReturnSetInfo *list, const DpAccount *account)
{
	DpAsk		ask;
	DpAnswer	answer;
	uint64		number;

	memset(&ask, 0, sizeof(ask));
	ask.command = DP_PROBE;
	ask.server = account->server;
	ask.testing = true;
	strlcpy(ask.code, PROBE_CODE, sizeof(ask.code));
	strlcpy(ask.customer_no, PROBE_CUSTOMER_NO, sizeof(ask.customer_no));
	if (!pg_strong_random(&number, sizeof(number)))
		number = (uint64) GetCurrentTimestamp();
	snprintf(ask.ref_id, sizeof(ask.ref_id), "digipay-health-" UINT64_FORMAT, number);
	namestrcpy(&ask.requested_by, GetUserNameFromId(GetUserId(), false));

	if (dp_client_ask(&ask, &answer) == DP_WAITED_LOST)
	{
		line(list, "provider", false, "the worker ended while the answer was awaited",
			 "See the server's log; then call again.");
		return;
	}
	if (answer.kind == DP_ANSWER_PROBLEM)
	{
		line(list, "key", false,
			 answer.problem.detail[0] ? answer.problem.detail : answer.problem.message,
			 answer.problem.hint);
		return;
	}
	line(list, "key", true, account->api_key_file != NULL ?
		 psprintf("in file \"%s\"", account->api_key_file) : "in the user mapping for PUBLIC", NULL);
	if (look_at_connection(list, account, &answer.probe))
		look_at_answer(list, account, &answer.probe);
}

/*
 * digipay_health(server) returns a row for each thing that a payment needs, in the
 * order in which they are needed.
 */
Datum
digipay_health(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *list = dp_srf_begin(fcinfo);
	const char *name = PG_ARGISNULL(0) ? dp_guc_server : NameStr(*PG_GETARG_NAME(0));
	DpAccount	account;
	Oid			server = InvalidOid;

	dp_refuse_wrong_situation("digipay_health");
	(void) look_at_extension(list);
	look_at_preload(list);
	if (!look_at_worker(list))
		return (Datum) 0;
	look_at_fence(list);
	if (look_at_server(list, name, &server) &&
		look_at_account(list, server, &account))
		look_at_provider(list, &account);
	return (Datum) 0;
}
