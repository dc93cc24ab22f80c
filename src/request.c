/*-------------------------------------------------------------------------
 *
 * request.c
 *	  What is sent: the signed JSON body, by a table for each dialect.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <cjson/cJSON.h>

#include "compat.h"
#include "utils/timestamp.h"

#include "endpoint.h"
#include "guc.h"
#include "problem.h"
#include "request.h"

/* A call that is about the account, not about a bill. */
typedef struct Call
{
	const char *command_key;	/* NULL: none */
	const char *command;		/* NULL: the kind of products */
	const char *suffix;			/* what is signed, where a bill has its ref_id */
} Call;

/* How a dialect calls things. */
typedef struct Dialect
{
	const char *command_key;
	const char *code_key;
	const char *pay;
	const char *inquire;
	const char *status;
	Call		balance;
	Call		deposit;
	Call		price_list;
} Dialect;

static const Dialect dialects[DP_DIALECT_COUNT] = {
	[DP_DIGISWITCH] = {
		.command_key = "command",
		.code_key = "code",
		.pay = "pay-pasca",
		.inquire = "inq-pasca",
		.status = "status-pasca",
		/* not documented for this dialect: taken from the parent service */
		.balance = {"cmd", "deposit", "depo"},
		.deposit = {NULL, NULL, "depo"},
		.price_list = {"command", NULL, "pricelist"},
	},
	[DP_DIGIFLAZZ] = {
		.command_key = "commands",
		.code_key = "buyer_sku_code",
		.pay = "pay-pasca",
		.inquire = "inq-pasca",
		.status = "status-pasca",
		.balance = {"cmd", "deposit", "depo"},
		.deposit = {NULL, NULL, "deposit"},
		.price_list = {"cmd", NULL, "pricelist"},
	},
};

/*
 * The signature, as 32 lower-case hex digits: md5(username + api_key + suffix).
 * False, with a problem, where the server's OpenSSL forbids MD5.
 */
static bool
sign(const DpAccount *account, const char *suffix, char *hex, DpProblem *problem)
{
	char	   *text = psprintf("%s%s%s", account->username, account->api_key, suffix);
	const char *why = NULL;
	bool		done = dp_md5_hex(text, strlen(text), hex, &why);

	explicit_bzero(text, strlen(text));
	pfree(text);
	if (!done)
	{
		dp_problem_set(problem, ERRCODE_FEATURE_NOT_SUPPORTED, "could not sign the request");
		dp_problem_detail(problem, "MD5: %s.", why);
		dp_problem_hint(problem, "The provider's signature needs MD5; allow it in the OpenSSL configuration of the server.");
	}
	return done;
}

/* The word for what is asked. */
static const char *
command_word(const Dialect *dialect, DpCommand command)
{
	switch (command)
	{
		case DP_PAY:
			return dialect->pay;
		case DP_STATUS:
			return dialect->status;
		default:
			return dialect->inquire;
	}
}

/* The call that is asked for; NULL where it is about a bill. */
static const Call *
find_call(const Dialect *dialect, DpCommand command)
{
	switch (command)
	{
		case DP_BALANCE:
			return &dialect->balance;
		case DP_DEPOSIT:
			return &dialect->deposit;
		case DP_PRICE_LIST:
			return &dialect->price_list;
		default:
			return NULL;
	}
}

/* Add what a call about the account says; false when memory ran out. */
static bool
add_call(cJSON *body, const Call *call, const DpAsk *ask, const DpAccount *account)
{
	const char *command = call->command != NULL ? call->command :
		ask->prepaid ? "prepaid" : "pasca";

	return (call->command_key == NULL ||
			cJSON_AddStringToObject(body, call->command_key, command)) &&
		cJSON_AddStringToObject(body, "username", account->username) &&
		(ask->code[0] == '\0' || cJSON_AddStringToObject(body, "code", ask->code)) &&
		(ask->amount[0] == '\0' || cJSON_AddRawToObject(body, "amount", ask->amount)) &&
		(ask->bank[0] == '\0' || cJSON_AddStringToObject(body, "bank", ask->bank)) &&
		(ask->owner_name[0] == '\0' ||
		 cJSON_AddStringToObject(body, "owner_name", ask->owner_name));
}

/* Add what a request about a bill says; false when memory ran out. */
static bool
add_bill(cJSON *body, const Dialect *dialect, const DpAsk *ask, const DpAccount *account)
{
	return cJSON_AddStringToObject(body, dialect->command_key,
								   command_word(dialect, ask->command)) &&
		cJSON_AddStringToObject(body, "username", account->username) &&
		cJSON_AddStringToObject(body, dialect->code_key, ask->code) &&
		cJSON_AddStringToObject(body, "customer_no", ask->customer_no) &&
		cJSON_AddStringToObject(body, "ref_id", ask->ref_id) &&
		(!ask->testing || cJSON_AddTrueToObject(body, "testing")) &&
		(ask->year == 0 || cJSON_AddNumberToObject(body, "year", ask->year)) &&
		(ask->amount[0] == '\0' || cJSON_AddRawToObject(body, "amount", ask->amount));
}

/* The body as a JSON tree, NULL when memory ran out. */
static cJSON *
make_body(const Dialect *dialect, const Call *call, const DpAsk *ask,
		  const DpAccount *account, const char *signature)
{
	cJSON	   *body = cJSON_CreateObject();

	if ((call != NULL ? add_call(body, call, ask, account) :
		 add_bill(body, dialect, ask, account)) &&
		cJSON_AddStringToObject(body, "sign", signature))
		return body;
	cJSON_Delete(body);
	return NULL;
}

/* When the day of the provider's calendar ends: midnight in Jakarta. */
static TimestampTz
end_of_day(void)
{
	int64		day = (GetCurrentTimestamp() + DP_JAKARTA_AHEAD) / USECS_PER_DAY;

	return (day + 1) * USECS_PER_DAY - DP_JAKARTA_AHEAD;
}

/*
 * Build the request, its body in the current memory context.  The account must
 * have its key.  False, with a problem, when it cannot be built; nothing has
 * been sent then.
 */
bool
dp_request_build(const DpAsk *ask, const DpAccount *account,
				 DpRequest *request, DpProblem *problem)
{
	const Dialect *dialect = &dialects[account->dialect];
	const Call *call = find_call(dialect, ask->command);
	char		signature[33];
	cJSON	   *body;
	char	   *text;

	memset(request, 0, sizeof(*request));
	request->endpoint = dp_endpoint(account, ask->command, problem);
	if (request->endpoint == NULL ||
		!sign(account, call != NULL ? call->suffix : ask->ref_id, signature, problem))
		return false;
	body = make_body(dialect, call, ask, account, signature);
	text = body != NULL ? cJSON_PrintUnformatted(body) : NULL;
	cJSON_Delete(body);
	if (text == NULL)
	{
		dp_problem_set(problem, ERRCODE_OUT_OF_MEMORY, "out of memory");
		return false;
	}
	request->body_len = strlen(text);
	request->body = pstrdup(text);
	explicit_bzero(text, request->body_len);
	cJSON_free(text);

	request->ca_file = account->ca_file;
	request->allow_private_address = account->allow_private_address;
	request->connect_timeout = account->connect_timeout;
	request->timeout = account->timeout;
	request->max_response_size = (size_t) dp_guc_max_response_size * 1024;
	if (ask->command == DP_PAY && account->require_inquiry)
		request->leave_before = end_of_day();
	return true;
}

/* Overwrite the body, which holds the signature. */
void
dp_request_wipe(DpRequest *request)
{
	if (request->body != NULL)
	{
		explicit_bzero(request->body, request->body_len);
		pfree(request->body);
		request->body = NULL;
	}
}
