/*-------------------------------------------------------------------------
 *
 * fuzz.c
 *	  libFuzzer inside a server: a reply's way from bytes to outcome.
 *
 * src/reply.c is written against the server (its JSON parser, its memory, its
 * encodings), so the fuzzer runs there, as a function that SQL calls in a
 * single-user server of its own:
 *
 *	CREATE FUNCTION digipay_fuzz(text[]) RETURNS void AS '.../fuzz' LANGUAGE C
 *	SELECT digipay_fuzz('{-max_total_time=60,CORPUS}')
 *
 * The arguments are libFuzzer's: options, directories of inputs, or the files
 * that alone are to be run.  It ends the process when it is done.
 *
 * An input is two characters and the reply's body.  The first has the command
 * in its bits 0 and 1 (pay, inquire, status, webhook); bit 2 says that the reply
 * did not come whole, bit 3 that cJSON runs out of memory, bit 6 that the dialect
 * is digiflazz, bit 7 that it is a call about the account (balance, deposit, price
 * list, and that again).  The second chooses the HTTP status.  So "00" before a body is a
 * payment, answered with 200, and "p0" is the same in the other dialect.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <cjson/cJSON.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "charset.h"
#include "fuzz.h"
#include "reply.h"
#include "state.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(digipay_fuzz);

/* libFuzzer's entry, and what it calls for every input. */
extern int	LLVMFuzzerRunDriver(int *argc, char ***argv,
								int (*callback) (const uint8_t *data, size_t size));

#define BODY_MAX	(1024 * 1024)

static const DpCommand commands[4] = {DP_PAY, DP_INQUIRE, DP_STATUS, DP_WEBHOOK};

static const DpCommand calls[4] = {DP_BALANCE, DP_DEPOSIT, DP_PRICE_LIST, DP_PRICE_LIST};

/* '0' is the first, so '0' to '?' are all of them. */
static const int http_statuses[16] = {
	200, 201, 299, 300, 302, 400, 401, 404, 408, 422, 425, 429, 500, 503, 0, 200
};

/* What all the replies ought to be about. */
static const char ask_ref_id[] = "fuzz/1";
static const char ask_customer_no[] = "530000000001";
static const char ask_code[] = "pln";

static MemoryContext run_context;
static char *body_end;			/* here the page begins that nobody may read */

/* How many replies became what, by state; the last: not trusted. */
static uint64 outcomes[DP_REVIEW + 2];

static long json_pieces;		/* of cJSON's, that it has not freed */
static long json_left;			/* how many it may still have; -1: any number */
static bool json_refused;

/* Report a finding: libFuzzer catches the signal, and keeps the input. */
void
fuzz_found(const char *format,...)
{
	va_list		args;

	fprintf(stderr, "FINDING (%s): ", GetDatabaseEncodingName());
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	abort();
}

static void *
json_malloc(size_t size)
{
	void	   *piece = NULL;

	if (json_left != 0)
		piece = malloc(size);
	else
		json_refused = true;
	if (json_left > 0)
		json_left--;
	if (piece != NULL)
		json_pieces++;
	return piece;
}

static void
json_free(void *piece)
{
	if (piece != NULL)
		json_pieces--;
	free(piece);
}

static void
print_outcomes(void)
{
	fprintf(stderr, "outcomes (%s):", GetDatabaseEncodingName());
	for (int i = 0; i <= DP_REVIEW; i++)
	{
		if (outcomes[i] > 0)
			fprintf(stderr, " %s " UINT64_FORMAT, dp_state_name((DpState) i), outcomes[i]);
	}
	fprintf(stderr, " untrusted " UINT64_FORMAT "\n", outcomes[DP_REVIEW + 1]);
}

/* Does the list, read by jsonb, have rows with a code each, none of them twice? */
static bool
is_good_list(DpDialect dialect, Jsonb *list)
{
	const char *key = dialect == DP_DIGIFLAZZ ? "buyer_sku_code" : "code";
	uint32		rows = JsonContainerSize(&list->root);
	JsonbValue **codes = palloc((rows + 1) * sizeof(JsonbValue *));

	if (!JB_ROOT_IS_ARRAY(list) || JB_ROOT_IS_SCALAR(list) || rows == 0)
		return false;
	for (uint32 i = 0; i < rows; i++)
	{
		JsonbValue *row = getIthJsonbValueFromContainer(&list->root, i);

		if (row->type != jbvBinary || !JsonContainerIsObject(row->val.binary.data))
			return false;
		codes[i] = getKeyJsonValueFromContainer(row->val.binary.data, key, strlen(key), NULL);
		if (codes[i] == NULL || codes[i]->type != jbvString || codes[i]->val.string.len == 0)
			return false;
		for (uint32 j = 0; j < i; j++)
		{
			if (codes[j]->val.string.len == codes[i]->val.string.len &&
				memcmp(codes[j]->val.string.val, codes[i]->val.string.val,
					   codes[i]->val.string.len) == 0)
				return false;
		}
	}
	return true;
}

/* The verdict on the answer to a call about the account. */
static DpState
judge_call(DpCommand command, DpDialect dialect, const DpResponse *response,
		   const DpReply *reply)
{
	bool		success = reply->trusted && reply->state == DP_SUCCEEDED;
	Datum		data;

	if (reply->trusted != (reply->reason == NULL))
		fuzz_found("trusted %d, reason %s", reply->trusted, reply->reason);
	if (reply->trusted && !response->complete)
		fuzz_found("a reply is trusted that did not come whole");
	if (reply->trusted && !success && (reply->rc == NULL || strcmp(reply->rc, "00") == 0))
		fuzz_found("a refusal without a code");
	if (!success)
		return reply->trusted ? DP_REJECTED : DP_UNKNOWN;
	if (response->http_status < 200 || response->http_status >= 300)
		fuzz_found("a success with HTTP status %d", response->http_status);
	if (command == DP_PRICE_LIST && dp_json_to_jsonb(reply->data, &data) &&
		!is_good_list(dialect, DatumGetJsonbP(data)))
		fuzz_found("a bad list is believed");
	if (command != DP_PRICE_LIST)
		(void) DirectFunctionCall3(numeric_in,
								   CStringGetDatum(command == DP_BALANCE ? reply->deposit : reply->amount),
								   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	return DP_SUCCEEDED;
}

/*
 * Have an input read, and the outcome judged; true, and the state that it speaks
 * of, if the reply is trusted.
 */
static bool
read_and_judge(const DpAsk *ask, DpDialect dialect, const DpResponse *response,
			   DpState *state)
{
	DpReply		reply;

	dp_reply_read(ask, dialect, response, &reply);
	if (json_pieces != 0)
		fuzz_found("cJSON's memory leaks");
	if (json_refused && reply.trusted)
		fuzz_found("a reply is trusted that cJSON could not read");
	json_left = -1;
	fuzz_guard_check();
	*state = ask->command >= DP_BALANCE ? judge_call(ask->command, dialect, response, &reply) :
		fuzz_judge(ask, dialect, response, &reply);
	fuzz_guard_check();
	outcomes[reply.trusted ? *state : DP_REVIEW + 1]++;
	return reply.trusted;
}

/* One input. */
static int
fuzz_one(const uint8_t *data, size_t size)
{
	DpAsk		ask = {0};
	DpResponse	response = {0};
	DpDialect	dialect;
	MemoryContext caller = CurrentMemoryContext;
	DpState		state;

	CHECK_FOR_INTERRUPTS();
	if (size < FUZZ_HEAD_SIZE || size - FUZZ_HEAD_SIZE > BODY_MAX)
		return 0;
	ask.command = (data[0] & 0x80) != 0 ? calls[data[0] & 3] : commands[data[0] & 3];
	dialect = (data[0] & 0x40) != 0 ? DP_DIGIFLAZZ : DP_DIGISWITCH;
	strcpy(ask.ref_id, ask_ref_id);
	strcpy(ask.customer_no, ask_customer_no);
	strcpy(ask.code, ask_code);

	response.departed = true;
	response.complete = (data[0] & 4) == 0;
	response.stage = DP_STAGE_SECURED;
	response.http_status = http_statuses[data[1] & 15];
	response.body_len = size - FUZZ_HEAD_SIZE;
	response.body = body_end - response.body_len;
	memcpy(body_end - response.body_len, data + FUZZ_HEAD_SIZE, response.body_len);
	json_left = (data[0] & 8) == 0 ? -1 : (long) (size % 61);
	json_refused = false;

	MemoryContextReset(run_context);
	fuzz_guard_reset();
	MemoryContextSwitchTo(run_context);
	PG_TRY();
	{
		if (read_and_judge(&ask, dialect, &response, &state))
			fuzz_keep(data, size, state);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(run_context);
		error = CopyErrorData();
		fuzz_found("an error was raised: %s", error->message);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return 0;
}

/* digipay_fuzz(arguments text[]) returns void, if it returns at all */
Datum
digipay_fuzz(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	cJSON_Hooks hooks = {json_malloc, json_free};
	size_t		page = sysconf(_SC_PAGESIZE);
	char	   *map = mmap(NULL, BODY_MAX + page, PROT_READ | PROT_WRITE,
						   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	int			argc;
	char	  **argv;

	if (map == MAP_FAILED || mprotect(map + BODY_MAX, page, PROT_NONE) != 0)
		elog(ERROR, "mmap: %m");
	body_end = map + BODY_MAX;
	run_context = AllocSetContextCreate(TopMemoryContext, "fuzz", ALLOCSET_DEFAULT_SIZES);
	json_left = -1;
	cJSON_InitHooks(&hooks);

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	argc = count + 1;
	argv = palloc0((argc + 1) * sizeof(char *));
	argv[0] = pstrdup("fuzz");
	for (int i = 0; i < count; i++)
		argv[i + 1] = TextDatumGetCString(elements[i]);

	/* libFuzzer takes no signal that somebody handles: its clock needs this */
	pqsignal(SIGALRM, SIG_DFL);
	atexit(print_outcomes);
	LLVMFuzzerRunDriver(&argc, &argv, fuzz_one);
	PG_RETURN_VOID();
}
